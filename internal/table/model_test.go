package table

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		if old.ExpiresAt.After(r.ExpiresAt) {
			r.ExpiresAt = old.ExpiresAt
		}
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
	Delete(storage.ID) bool
	Len() int
	Subject([]storage.ID, string) []storage.ID
	Before(time.Time) []storage.ID
	All() []storage.ID
	TakeDead(time.Time, int, func(storage.ID) bool) ([]storage.ID, bool)
	AnyDue(time.Time) bool
	TakeUnsaved(int) []storage.ID
	MarkUnsaved(storage.ID)
	Unsaved() int
}

// world is the table and the model beside each other, and where random records for
// both come from.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	table asked
	model model
	ids   func(n uint64) storage.ID
	span  int64 // milliseconds over which instants are spread
}

// choosers are ways in which IDs come about; the table must not depend on any.
var choosers = map[string]func(n uint64) storage.ID{
	"random": func(n uint64) storage.ID {
		var id storage.ID
		rng := rand.New(rand.NewPCG(n, 77))
		binary.BigEndian.PutUint64(id[:8], rng.Uint64())
		binary.BigEndian.PutUint64(id[8:], rng.Uint64())
		return id
	},
	"counted, the zero ID too": func(n uint64) (id storage.ID) {
		binary.BigEndian.PutUint64(id[8:], n)
		return id
	},
	"counted at the front": func(n uint64) (id storage.ID) {
		binary.BigEndian.PutUint64(id[:8], n)
		return id
	},
	"equal halves": func(n uint64) (id storage.ID) {
		binary.BigEndian.PutUint64(id[:8], n<<32)
		binary.BigEndian.PutUint64(id[8:], n<<32)
		return id
	},
}

func (w *world) id() storage.ID { return w.ids(w.rng.Uint64N(400)) }

func (w *world) instant() time.Time {
	switch w.rng.IntN(30) {
	case 0:
		return time.Time{}
	case 1:
		return time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC)
	case 2:
		return time.Date(1, 1, 1, 0, 0, 0, int(time.Millisecond), time.UTC)
	}
	return time.UnixMilli(w.rng.Int64N(w.span) - w.span/3).UTC()
}

func (w *world) text(most int) string {
	switch w.rng.IntN(6) {
	case 0:
		return strings.Repeat(string(rune('a'+w.rng.IntN(26))), most)
	case 1, 2:
		return ""
	}
	return strings.Repeat("x", w.rng.IntN(20)) + fmt.Sprint(w.rng.IntN(1000))
}

func (w *world) record(id storage.ID) storage.Record {
	r := storage.Record{
		Token: storage.Token{
			ID: id, Prefix: fmt.Sprint("p", w.rng.IntN(500)), Subject: fmt.Sprint("subject ", w.rng.IntN(40)),
			Name: w.text(storage.MaxName), Scope: w.text(storage.MaxScope), Data: w.text(storage.MaxData),
			IssuedAt: w.instant(), LastUsedAt: w.instant(), ExpiresAt: w.instant(), MaxExpiresAt: w.instant(),
		},
		TTL:    time.Duration(w.rng.Int64N(1<<43)-1<<42) * time.Millisecond,
		Digest: storage.NewDigest(byte(w.rng.IntN(256)), [32]byte{byte(w.rng.IntN(256)), 31: byte(w.rng.IntN(256))}),
	}
	if w.rng.IntN(8) == 0 {
		r.Subject = strings.Repeat("s", w.rng.IntN(storage.MaxSubject+1))
	}
	if w.rng.IntN(3) == 0 {
		r.EndedAt, r.EndReason = w.instant(), storage.EndReason(w.rng.IntN(256))
	}
	return r
}

// step does one random thing to both and compares what they say.
func (w *world) step() {
	t := w.t
	t.Helper()
	id, at := w.id(), w.instant()
	switch w.rng.IntN(12) {
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
	}
	w.one(w.id())
	w.one(id)
	if got := w.table.Unsaved(); got != len(w.model.unsaved) || w.table.Len() != len(w.model.records) {
		t.Fatalf("%d records, %d unsaved; want %d and %d", w.table.Len(), got, len(w.model.records), len(w.model.unsaved))
	}
}

func (w *world) one(id storage.ID) {
	w.t.Helper()
	var got storage.Record
	want, found := w.model.records[id]
	if ok := w.table.Get(id, &got); ok != found || got != want {
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
	got := w.table.TakeUnsaved(n)
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

func (w *world) lists(at time.Time) {
	t := w.t
	t.Helper()
	if diff := cmp.Diff(w.model.which(func(storage.Record) bool { return true }), w.table.All()); diff != "" {
		t.Fatal(diff)
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

func newWorld(t testing.TB, table asked, how string, seed uint64) *world {
	return &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), table: table, ids: choosers[how],
		model: model{map[storage.ID]storage.Record{}, map[storage.ID]bool{}},
		span:  []int64{50, 5000, 5_000_000, 5_000_000_000_000}[seed%4],
	}
}

func TestModel(t *testing.T) {
	for _, how := range slices.Sorted(maps.Keys(choosers)) {
		for seed := range uint64(8) {
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
