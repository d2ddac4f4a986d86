package bolt

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

var losses = flag.Int("losses", 80, "how many crashed stores TestLostMetaAfterACrash opens without their newest meta page")

// lossWays are what becomes of the newest meta page.
var lossWays = []string{"zeroed", "one bit flipped", "noise", "as before its last write"}

// losing is a campaign of crashed stores that lose their newest meta page besides.
type losing struct {
	path   string
	counts map[string]int
	wrong  []string
}

// newLosing lives through a life with a plant and tries n losses, or as many as it takes to
// find something wrong.
func newLosing(t *testing.T, plant string, n int) *losing {
	t.Helper()
	c := &losing{path: filepath.Join(quickDir(t), "tokens.db"), counts: make(map[string]int)}
	seed := drawn(t)
	all := liveThrough(t, chance(seed, 0), plant)
	for i := 0; i < n && len(c.wrong) == 0; i++ {
		r := chance(seed, i+1)
		m, how := all[r.IntN(len(all))], lossWays[r.IntN(len(lossWays))]
		outcome, err := c.lose(t, m, how, r)
		if c.counts[outcome]++; err != nil {
			c.wrong = append(c.wrong, fmt.Sprintf("loss %d, %s, the newest meta page %s: %v", i, m.name, how, err))
		}
	}
	return c
}

// spoil returns the file of m without its newest meta page, or nil if that cannot be lost so.
func (m *remains) spoil(how string, r *rand.Rand) []byte {
	file := bytes.Clone(m.file)
	at := newest(file)
	page := file[at : at+pageSize]
	switch how {
	case "zeroed":
		clear(page)
	case "noise":
		for i := range page {
			page[i] = byte(r.Uint32())
		}
	case "one bit flipped":
		bit := r.IntN(8 * metaLen)
		page[pageHeader+bit/8] ^= 1 << (bit % 8)
	default:
		if m.older[at/pageSize] == nil {
			return nil
		}
		copy(page, m.older[at/pageSize])
	}
	return file
}

// lose opens m after one loss. Open notices every page that cannot be read. It need not notice a
// page that is as before its last write: the other page leads to everything. Repair opens the file
// with all that was acknowledged, as recovery.ErrMetaLost promises.
func (c *losing) lose(t *testing.T, m *remains, how string, r *rand.Rand) (outcome string, wrong error) {
	t.Helper()
	file := m.spoil(how, r)
	if file == nil {
		return "none", nil
	}
	if err := m.place(c.path, file); err != nil {
		t.Fatal(err)
	}
	s, err := Open(c.path, nil)
	switch {
	case err == nil && how != "as before its last write":
		return "unnoticed", errors.Join(errors.New("opened as if nothing were the matter"), s.Close())
	case err == nil:
		return "stepped back", m.judge(t, s)
	case !errors.Is(err, storage.ErrCorrupt):
		return "another error", err
	case !bytes.Equal(file, readFile(t, c.path)):
		return "changed", errors.New("refused and changed")
	}
	if s, err = Open(c.path, &Options{Repair: true}); err != nil {
		return "beyond repair", fmt.Errorf("with Repair: %w", err)
	}
	return "repaired", m.judge(t, s)
}

// judge says what s, which it closes, has lost of m.
func (m *remains) judge(t *testing.T, s *Store) error {
	t.Helper()
	got, damaged := contents(t, s)
	if err := s.Close(); err != nil {
		return err
	}
	same := func(want records) bool {
		return maps.EqualFunc(want, got, func(a, b storage.Record) bool { return a.Equal(b) })
	}
	if len(damaged) == 0 && slices.ContainsFunc(m.holds, same) {
		return nil
	}
	missing := 0
	for id, want := range m.holds[0] {
		if r, ok := got[id]; !ok || !r.Equal(want) {
			missing++
		}
	}
	return fmt.Errorf("%d of %d records are lost or not as they were; there are %d, %d of them damaged",
		missing, len(m.holds[0]), len(got)+len(damaged), len(damaged))
}

// TestLostMetaAfterACrash: a process dies at any moment of the life of a store, also in the
// middle of a transaction, and the newest meta page is lost besides. Open refuses the file, and
// Repair finds all that was acknowledged.
func TestLostMetaAfterACrash(t *testing.T) {
	c := newLosing(t, lifeSound, *losses)
	for _, wrong := range c.wrong {
		t.Error(wrong)
	}
	t.Log(c.counts)
	for _, outcome := range []string{"repaired", "stepped back"} {
		if c.counts[outcome] == 0 && len(c.wrong) == 0 {
			t.Errorf("none was %s", outcome)
		}
	}
}

// TestLostMetaIsCaught: the same losses catch a store that leaves out the second commit, always or
// in the steps of checkpoints.
func TestLostMetaIsCaught(t *testing.T) {
	for _, plant := range []string{lifeNoSecond, lifeNoStepSecond} {
		t.Run(plant, func(t *testing.T) {
			n := 20 * *losses // it ends at the first one that is caught
			c := newLosing(t, plant, n)
			if len(c.wrong) == 0 {
				t.Fatalf("%d losses have not caught it: %v", n, c.counts)
			}
			t.Logf("%v: %s", c.counts, c.wrong[0])
		})
	}
}
