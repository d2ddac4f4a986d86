package table

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// model is what a table must be: a map, a set of marks, and every question answered by
// looking at all of it.
type model struct {
	records map[storage.ID]storage.Record
	unsaved map[storage.ID]bool
}

func (m *model) put(r storage.Record, seen storage.Use) {
	old, ok := m.records[r.ID]
	ok = ok && r.EndedAt.IsZero() // an end comes after every Touch
	if ok && old.LastUsedAt.After(seen.At) {
		m.unsaved[r.ID] = true
		if old.LastUsedAt.After(r.LastUsedAt) {
			r.LastUsedAt = old.LastUsedAt
		}
	}
	if ok && old.ExpiresAt.After(seen.ExpiresAt) {
		m.unsaved[r.ID] = true
		storage.Use{ExpiresAt: old.ExpiresAt}.Raise(&r) // no further than its cap
	}
	m.records[r.ID] = r
}

func (m *model) touch(id storage.ID, use storage.Use) bool {
	r, ok := m.records[id]
	if !ok || !use.Raise(&r) {
		return false
	}
	m.records[id], m.unsaved[id] = r, true
	return true
}

func (m *model) remove(id storage.ID) bool {
	_, ok := m.records[id]
	delete(m.records, id)
	delete(m.unsaved, id)
	return ok
}

// which returns the IDs of the records that are wanted, in order.
func (m *model) which(wanted func(storage.Record) bool) (ids []storage.ID) {
	for id, r := range m.records {
		if wanted(r) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, storage.ID.Compare)
	return ids
}

// asked is what the model is asked too. Planted faults stand in for a Table.
type asked interface {
	Get(storage.ID, *storage.Record) bool
	Touch(storage.ID, storage.Use) bool
	Put(*storage.Record, storage.Use)
	Fill([]storage.Record)
	Delete(storage.ID) bool
	Len() int
	Subject([]storage.ID, string) []storage.ID
	Living([]storage.ID, string, time.Time, func(storage.ID) bool) []storage.ID
	Before(time.Time) []storage.ID
	All() []storage.ID
	TakeDead(time.Time, int, func(storage.ID) bool) ([]storage.ID, bool)
	AnyDue(time.Time) bool
	TakeUnsaved(int, *atomic.Int64) []storage.ID
	MarkUnsaved(storage.ID)
	Unsaved() int
}

// step does one random thing to both and compares what they say.
func (w *world) step() {
	t := w.t
	t.Helper()
	id, at := w.id(), w.instant()
	switch w.rng.IntN(15) {
	case 0, 1, 2, 3:
		r := w.record(id)
		old := w.model.records[id]
		seen := storage.Use{At: old.LastUsedAt, ExpiresAt: old.ExpiresAt}
		switch w.rng.IntN(4) {
		case 0:
			seen = storage.Use{At: w.instant(), ExpiresAt: w.instant()}
		case 1:
			r.Subject, r.Prefix, r.Name, r.Scope, r.Data = old.Subject, old.Prefix, old.Name, old.Scope, old.Data
		}
		w.table.Put(&r, seen)
		w.model.put(r, seen)
	case 4, 5, 6:
		use := storage.Use{At: w.instant(), ExpiresAt: w.instant()}
		if got, want := w.table.Touch(id, use), w.model.touch(id, use); got != want {
			t.Fatalf("Touch %v", got)
		}
	case 7:
		if got, want := w.table.Delete(id), w.model.remove(id); got != want {
			t.Fatalf("Delete %v", got)
		}
	case 8:
		if w.rng.IntN(8) == 0 {
			w.takeDead(at)
		}
	case 9:
		w.takeUnsaved(w.rng.IntN(100))
	case 10:
		w.table.MarkUnsaved(id)
		if _, ok := w.model.records[id]; ok {
			w.model.unsaved[id] = true
		}
	case 11:
		w.lists(at)
	case 12, 13:
		w.living(at)
	case 14:
		if w.rng.IntN(8) == 0 {
			w.fill(w.rng.IntN(3 * FillStep))
		}
	}
	w.one(w.id())
	w.one(id)
	if got := w.table.Unsaved(); got != len(w.model.unsaved) || w.table.Len() != len(w.model.records) {
		t.Fatalf("%d records, %d unsaved; want %d and %d", w.table.Len(), got, len(w.model.records), len(w.model.unsaved))
	}
}

// fill puts n records at once.
func (w *world) fill(n int) {
	records := make([]storage.Record, n)
	for i := range records {
		records[i] = w.record(w.id())
		w.model.put(records[i], storage.Use{})
	}
	w.table.Fill(records)
	for i := range records {
		w.one(records[i].ID)
	}
}

func (w *world) one(id storage.ID) {
	w.t.Helper()
	var got storage.Record
	want, found := w.model.records[id]
	if ok := w.table.Get(id, &got); ok != found || !got.Equal(want) {
		w.t.Fatalf("Get found %v, wanted %v (-want +got):\n%s", ok, found, cmp.Diff(want.Token, got.Token))
	}
}

// takeDead takes all the dead in steps, some of them being busy all the while.
func (w *world) takeDead(at time.Time) {
	t := w.t
	t.Helper()
	n := 1 + w.rng.IntN(50)
	busy := func(id storage.ID) bool { return false }
	if w.rng.IntN(2) == 0 {
		busy = func(id storage.ID) bool { return (id[7]^id[15])%4 == 0 }
	}
	dead := w.model.which(func(r storage.Record) bool { return r.DeadFrom().Before(at) })
	if len(dead) > 0 && !w.table.AnyDue(at) {
		t.Fatal("nothing is due, but much is dead")
	}
	var got []storage.ID
	for calls := 0; ; calls++ {
		gone, more := w.table.TakeDead(at, n, busy)
		if len(gone) > n {
			t.Fatalf("%d gone of at most %d", len(gone), n)
		}
		got = append(got, gone...)
		if !more {
			break
		}
		if calls > 40*len(w.model.records)+40 {
			t.Fatal("it never ends")
		}
	}
	slices.SortFunc(got, storage.ID.Compare)
	want := slices.DeleteFunc(dead, busy)
	if !slices.Equal(got, want) {
		t.Fatalf("%d are gone; want %d", len(got), len(want))
	}
	for _, id := range got {
		w.model.remove(id)
	}
}

func (w *world) takeUnsaved(n int) {
	t := w.t
	t.Helper()
	got := w.table.TakeUnsaved(n, new(atomic.Int64))
	if len(got) != min(n, len(w.model.unsaved)) {
		t.Fatalf("%d taken, of %d at most %d", len(got), len(w.model.unsaved), n)
	}
	for _, id := range got {
		if !w.model.unsaved[id] {
			t.Fatal("taken twice, or never marked")
		}
		delete(w.model.unsaved, id)
	}
}

// living asks for what lives of a few subjects at an instant, and of the dead for those
// that are kept, which may be there or not.
func (w *world) living(now time.Time) {
	t := w.t
	t.Helper()
	keep := func(storage.ID) bool { return false }
	switch w.rng.IntN(3) {
	case 0:
		keep = nil
	case 1:
		keep = func(id storage.ID) bool { return (id[7]^id[15])%4 == 0 }
	}
	for range 4 {
		subject := fmt.Sprint("subject ", w.rng.IntN(40))
		got := w.table.Living([]storage.ID{{1}}, subject, now, keep)[1:]
		if !slices.IsSortedFunc(got, storage.ID.Compare) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatal("not in order, or some twice")
		}
		kept := 0
		for _, id := range got {
			if r := w.model.records[id]; !r.Live(now) && keep != nil && keep(id) && r.Subject == subject {
				kept++
			}
		}
		want := w.model.which(func(r storage.Record) bool { return r.Subject == subject && r.Live(now) })
		for _, id := range want {
			if !slices.Contains(got, id) {
				t.Fatal("one that lives is missing")
			}
		}
		if len(got) != len(want)+kept {
			t.Fatalf("%d live, and %d are kept; want %d that live", len(got)-kept, kept, len(want))
		}
	}
}

func (w *world) lists(at time.Time) {
	t := w.t
	t.Helper()
	all := w.table.All()
	if want := w.model.which(func(storage.Record) bool { return true }); !slices.Equal(all, want) {
		t.Fatal(cmp.Diff(want, all))
	}
	subject := fmt.Sprint("subject ", w.rng.IntN(40))
	before := []storage.ID{{1}}
	want := append(before, w.model.which(func(r storage.Record) bool { return r.Subject == subject })...)
	if got := w.table.Subject(before[:1:1], subject); !slices.Equal(got, want) {
		t.Fatalf("%q has %d; want %d", subject, len(got), len(want))
	}
	got := w.table.Before(at)
	if !slices.IsSortedFunc(got, storage.ID.Compare) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Fatal("not in order, or some twice")
	}
	for _, id := range w.model.which(func(r storage.Record) bool { return r.DeadFrom().Before(at) || r.ExpiresAt.Before(at) }) {
		if _, found := slices.BinarySearchFunc(got, id, storage.ID.Compare); !found {
			t.Fatal("Before misses one")
		}
	}
}

func TestModel(t *testing.T) {
	for _, how := range slices.Sorted(maps.Keys(choosers)) {
		seeds := sample.Of(8, 1)
		if how == planted {
			seeds = sample.Of(8, plantedSeeds)
		}
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprint(how, "/", seed), func(t *testing.T) {
				t.Parallel()
				table := New()
				w := newWorld(t, table, how, seed)
				for range 1500 {
					w.step()
				}
				checkTable(t, table)
				w.takeDead(time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC))
				w.takeDead(time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC))
				checkTable(t, table)
			})
		}
	}
}

// TestMain leaves the many small heaps of these tests more garbage.
func TestMain(m *testing.M) {
	sample.Garbage()
	m.Run()
}
