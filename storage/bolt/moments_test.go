package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// state is what a store shows.
type state struct {
	records map[storage.ID]storage.Record
	mark    storage.Mark
}

func (s state) equal(to state) bool {
	return s.mark == to.mark && maps.EqualFunc(s.records, to.records, storage.Record.Equal)
}

// stateOf returns the state of s, in which no record should be damaged.
func stateOf(t *testing.T, s *Store) (state, error) {
	t.Helper()
	records, damaged := contents(t, s)
	if len(damaged) > 0 {
		return state{}, fmt.Errorf("%d records are damaged", len(damaged))
	}
	return state{records, s.Marks().Mark()}, nil
}

// moment is a write that is on its way to the disk: that may hold some of the sectors in
// which to differs from from, and the rest is durable.
type moment struct {
	name     string
	from, to []byte
	allowed  []state // what was acknowledged, and, of a frame, what would be
}

// crash returns what a disk may hold after m.
func (m *moment) crash(r *rand.Rand) []byte {
	image := bytes.Clone(m.from)
	if grown := len(m.to) - len(m.from); grown > 0 {
		image = append(image, make([]byte, grown)...)
	}
	often := r.IntN(5) // of four: from nothing to all
	for at := 0; at < len(m.to); at += sector {
		if !bytes.Equal(image[at:at+sector], m.to[at:at+sector]) && r.IntN(4) < often {
			copy(image[at:at+sector], m.to[at:])
		}
	}
	return image
}

// recorder looks at every write of a store to its file, and at what a crash would leave
// of it. Nobody merges but who takes from merges, or cannot wait.
type recorder struct {
	t      *testing.T
	r      *rand.Rand
	s      *Store
	path   string
	dir    string // for what a crash leaves
	merges chan *merging
	during func() // called before each transaction

	last      []byte // the file as it is
	now, next state  // acknowledged, and once what is under way is
	frame     *moment

	counts map[string]int
	looked map[string]int
	wrong  []string
	plant  string        // what is wrong with the store, if anything
	judge  func(*moment) // crashes, unless a test does something else with it
}

// What may be wrong with a store.
const (
	nowhere    = "frames are not written"
	unmirrored = "a merge leaves the older meta page as it was"
	tooEarly   = "a half is written over before it was merged"
)

// watchWrites opens a store with the records 0 to 9, and watches it.
func watchWrites(t *testing.T) *recorder {
	t.Helper()
	dir := quickDir(t)
	path := filepath.Join(dir, "watched.db")
	s := open(t, path, nil)
	putAnas(t, s, 0, 10, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r := &recorder{
		t: t, r: chance(drawn(t), 0), s: open(t, path, &lazy), path: path, dir: dir,
		merges: make(chan *merging, 1), last: readFile(t, path), counts: make(map[string]int), looked: make(map[string]int),
	}
	r.judge = r.crashes
	var err error
	if r.now, err = stateOf(t, r.s); err != nil {
		t.Fatal(err)
	}
	r.next = r.now
	r.s.turn.Take()
	defer r.s.turn.Give()
	r.s.log.merges, r.s.log.journal.write, r.s.log.tree.commitTx = r.merges, r.write, r.commit
	return r
}

// write writes a frame.
func (r *recorder) write(j *journal, b []byte, at int64) error {
	r.mirrored()
	err := error(nil)
	if r.plant != nowhere {
		err = j.writeThrough(b, at)
	}
	if r.plant == tooEarly { // nobody waits for the merge, and nobody does it
		r.s.log.merging = nil
		select {
		case <-r.merges:
		default:
		}
	}
	r.frame = r.seen("frame", readFile(r.t, r.path), r.now, r.next)
	return err
}

// seen judges the write that has made the file what it is.
func (r *recorder) seen(name string, file []byte, allowed ...state) *moment {
	m := &moment{name, r.last, file, allowed}
	r.last = file
	r.judge(m)
	return m
}

// mirrored judges the meta page that was written since the last look, if one was.
func (r *recorder) mirrored() {
	file := readFile(r.t, r.path)
	switch {
	case bytes.Equal(file, r.last):
	case r.plant == unmirrored:
		if err := writeMetas(r.path, r.last); err != nil {
			r.t.Error(err)
		}
	default:
		r.seen("mirror", file, r.now)
	}
}

// writeMetas gives the file at path the meta pages of another one.
func writeMetas(path string, from []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(from[:2*os.Getpagesize()], 0)
	return errors.Join(err, f.Close())
}

// commit commits btx, of which the pages are synced before the meta page is.
func (r *recorder) commit(btx *bbolt.Tx) error {
	r.mirrored()
	r.frame = nil
	if r.during != nil {
		r.during()
	}
	err := btx.Commit()
	file := readFile(r.t, r.path)
	metas := 2 * os.Getpagesize()
	pages := append(bytes.Clone(r.last[:metas]), file[metas:]...)
	if r.frame != nil {
		r.judge(&moment{"frame and pages", r.frame.from, pages, r.frame.allowed})
	}
	r.seen("pages", pages, r.now)
	r.seen("meta", file, r.now)
	return err
}

// crashes looks at what a crash may leave of m, and at that once more with a meta page
// lost.
func (r *recorder) crashes(m *moment) {
	if r.looked[m.name]++; raceEnabled && r.plant == "" && r.looked[m.name] > 6 {
		return // what is looked at does not race
	}
	for range *crashes {
		image := m.crash(r.r)
		r.open(m, "", image, nil)
		how, page := damagesOfMeta[r.r.IntN(len(damagesOfMeta))], r.r.IntN(2)
		lost := bytes.Clone(image)
		how.damage(metaPage(lost, page))
		if bytes.Equal(lost, image) {
			continue
		}
		name := fmt.Sprintf(", meta page %d %s", page, how.name)
		if _, err := r.try(lost, nil); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "Options.Repair") {
			r.fault(m, name, fmt.Sprintf("Open: %v; want ErrCorrupt that names Options.Repair", err))
		}
		r.open(m, name, lost, &Options{Repair: true})
	}
}

// open sees that image shows what m allows, and again when it is opened again.
func (r *recorder) open(m *moment, name string, image []byte, opts *Options) {
	first, err := r.try(image, opts)
	if err != nil {
		r.fault(m, name, err.Error())
		return
	}
	for i, allowed := range m.allowed {
		if first.equal(allowed) {
			r.counts[fmt.Sprintf("%s, %s", m.name, [2]string{"before", "after"}[i])]++
			return
		}
	}
	r.fault(m, name, fmt.Sprintf("%d records, marked %v; want the %d that were acknowledged, or with what was under way",
		len(first.records), first.mark.At, len(m.allowed[0].records)))
}

func (r *recorder) fault(m *moment, name, wrong string) {
	r.wrong = append(r.wrong, fmt.Sprintf("%s%s: %s", m.name, name, wrong))
}

// try opens image twice and returns what it shows.
func (r *recorder) try(image []byte, opts *Options) (got state, err error) {
	path := filepath.Join(r.dir, "tokens.db")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		return got, err
	}
	for i := range 2 {
		s, err := Open(path, opts)
		if err != nil {
			return got, err
		}
		was := got
		got, err = stateOf(r.t, s)
		if err := errors.Join(err, s.Close()); err != nil {
			return got, err
		}
		if i > 0 && !got.equal(was) {
			return got, errors.New("it shows something else when it is opened again")
		}
		opts = nil
	}
	return got, nil
}

// step does what changes the state as given.
func (r *recorder) step(change func(*state), do func() error) {
	r.t.Helper()
	r.next.records = maps.Clone(r.now.records)
	change(&r.next)
	if err := do(); err != nil {
		r.t.Fatal(err)
	}
	r.now = r.next
}

// put puts records, in one Update.
func (r *recorder) put(records ...storage.Record) {
	r.t.Helper()
	r.step(func(s *state) {
		for _, rec := range records {
			s.records[rec.ID] = rec
		}
	}, func() error { return putting(r.s, records...) })
}

// merge does the merge that was handed on, and does what is given before each of its
// transactions.
func (r *recorder) merge(during func()) (transactions int) {
	r.t.Helper()
	m := <-r.merges
	r.during = func() { transactions++; during() }
	if err := m.do(); err != nil {
		r.t.Fatal(err)
	}
	r.during = nil
	r.mirrored()
	return transactions
}
