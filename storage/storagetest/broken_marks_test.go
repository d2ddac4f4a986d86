package storagetest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// markedToy is a toy that is a storage.Marker, with places for flaws.
type markedToy struct {
	*toy
	marks *storage.Marks
	disk  *toyDisk
	kept  func(storage.Mark) storage.Mark

	writing atomic.Bool

	each, alone, mute bool // has marks for each call, writes none by itself, none at all with what is put
}

type toyDisk struct {
	mu   sync.Mutex
	mark storage.Mark
	user *markedToy
}

func newMarkedToy(t *toy, d *toyDisk, flaw func(*markedToy)) *markedToy {
	m := &markedToy{toy: t, disk: d, kept: func(m storage.Mark) storage.Mark { return m }}
	flaw(m)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = m
	m.marks = storage.NewMarks(d.mark, func() {
		if !m.alone && m.writing.CompareAndSwap(false, true) {
			go m.write()
		}
	})
	return m
}

func (m *markedToy) Marks() *storage.Marks {
	if m.each {
		return storage.NewMarks(m.marks.Mark(), nil)
	}
	return m.marks
}

func (m *markedToy) write() {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.disk.user != m { // somebody has opened it again
		return
	}
	m.writing.Store(false)
	mark := m.marks.Mark()
	m.disk.mark = m.kept(mark)
	m.marks.Saved(mark)
}

func (m *markedToy) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	err := m.toy.Update(ctx, subject, fn)
	if err == nil && !m.mute {
		m.write()
	}
	return err
}

func (m *markedToy) Close() error {
	if !m.alone && !m.mute {
		m.write()
	}
	return m.toy.Close()
}

func TestMarkFlawsAreFound(t *testing.T) {
	keeping := func(kept func(storage.Mark) storage.Mark) func(*markedToy) {
		return func(m *markedToy) { m.kept = kept }
	}
	for name, flaw := range map[string]struct {
		in     func(*markedToy)
		breaks string
	}{
		"none":                      {func(*markedToy) {}, ""},
		"one for each call":         {func(m *markedToy) { m.each = true }, "M1 M2 M3 M4"},
		"nothing":                   {keeping(func(storage.Mark) storage.Mark { return storage.Mark{} }), "M2 M3 M4"},
		"not with what is put":      {func(m *markedToy) { m.mute = true }, "M2 M3 M4"},
		"nothing by itself":         {func(m *markedToy) { m.alone = true }, "M4"},
		"in seconds":                {keeping(func(m storage.Mark) storage.Mark { m.At = m.At.Truncate(time.Second); return m }), "M2 M3 M4"},
		"only the instant":          {keeping(func(m storage.Mark) storage.Mark { return storage.Mark{At: m.At} }), "M3 M4"},
		"an epoch of 16 bits":       {keeping(func(m storage.Mark) storage.Mark { m.Epoch &= 1<<16 - 1; return m }), "M3"},
		"no quiet":                  {keeping(func(m storage.Mark) storage.Mark { m.Quiet = time.Time{}; return m }), "M3 M4"},
		"not that it is behind":     {keeping(func(m storage.Mark) storage.Mark { m.Behind = time.Time{}; return m }), "M3 M4"},
		"nothing from before 1970":  {keeping(func(m storage.Mark) storage.Mark { m.At = time.UnixMilli(max(0, m.At.UnixMilli())).UTC(); return m }), ""},
		"an epoch without its date": {keeping(func(m storage.Mark) storage.Mark { m.Since = time.Time{}; return m }), "M3 M4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := Backend{
				Open: func(testing.TB) storage.Store { return newMarkedToy(newToy(), new(toyDisk), flaw.in) },
				Reopen: func(_ testing.TB, s storage.Store) storage.Store {
					s.Close()
					old := s.(*markedToy)
					return newMarkedToy(old.toy.reopened(), old.disk, flaw.in)
				},
			}
			var failed []string
			for _, c := range markCases() {
				limit := patience
				if flaw.breaks != "" {
					limit = hanging
				}
				if err := c.run(t, b, limit); err != nil {
					if clause, _, _ := strings.Cut(c.name, "_"); len(failed) == 0 || failed[len(failed)-1] != clause {
						failed = append(failed, clause)
					}
				}
			}
			if diff := cmp.Diff(flaw.breaks, strings.Join(failed, " ")); diff != "" {
				t.Errorf("clauses that fail (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMarkCases: a store without marks is no worse for it, and one that outlives nothing
// has to show M1 alone.
func TestMarkCases(t *testing.T) {
	for _, c := range markCases() {
		if err := c.run(t, Backend{Open: func(testing.TB) storage.Store { return newToy() }}, patience); err != errNoMarker {
			t.Errorf("%s without marks: %v; want %v", c.name, err, errNoMarker)
		}
		want := errNoReopen
		if c.name == "M1_one_for_all" {
			want = nil
		}
		b := Backend{Open: func(testing.TB) storage.Store { return newMarkedToy(newToy(), new(toyDisk), func(*markedToy) {}) }}
		if err := c.run(t, b, patience); err != want {
			t.Errorf("%s without Reopen: %v; want %v", c.name, err, want)
		}
	}
}
