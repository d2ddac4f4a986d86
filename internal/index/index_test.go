package index

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func record(n uint64, subject string, expires int64) storage.Record {
	var r storage.Record
	binary.BigEndian.PutUint64(r.ID[:], n)
	r.Subject, r.ExpiresAt = subject, at(expires)
	return r
}

// TestAgainstScan does at random what stores do, and compares every answer with a
// scan of all records.
func TestAgainstScan(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		var x Index
		all := make(map[storage.ID]storage.Record)
		for step := range 400 {
			now := int64(step * 10)
			switch n := r.IntN(10); {
			case n < 4 || len(all) == 0:
				rec := record(r.Uint64(), fmt.Sprint("subject ", r.IntN(5)), now+r.Int64N(500))
				x.Put(nil, rec)
				all[rec.ID] = rec
			case n < 6: // a renewal, of which the index hears or not
				old := one(r, all)
				rec := old
				rec.ExpiresAt = rec.ExpiresAt.Add(time.Duration(r.IntN(300)) * time.Millisecond)
				if n == 4 {
					x.Put(&old, rec)
				}
				all[rec.ID] = rec
			case n < 7: // an end
				old := one(r, all)
				rec := old
				if rec.EndedAt.IsZero() {
					rec.EndedAt = at(now)
					x.Put(&old, rec)
				}
				all[rec.ID] = rec
			case n < 9:
				sweep(t, &x, all, at(now-r.Int64N(200)), 1+r.IntN(8))
			default:
				compare(t, &x, all, at(now))
			}
		}
		compare(t, &x, all, at(1<<40))
		for len(all) > 0 {
			sweep(t, &x, all, at(1<<40), 16)
		}
		if len(x.bySubject) != 0 || x.Any(at(1<<40)) {
			t.Fatalf("seed %d: something is left of nothing: %v", seed, x)
		}
	}
}

// one returns any of the records.
func one(r *rand.Rand, all map[storage.ID]storage.Record) storage.Record {
	ids := sorted(all, func(storage.Record) bool { return true })
	return all[ids[r.IntN(len(ids))]]
}

func sorted(all map[storage.ID]storage.Record, want func(storage.Record) bool) []storage.ID {
	var ids []storage.ID
	for id, rec := range all {
		if want(rec) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, storage.ID.Compare)
	return ids
}

// sweep does what a store does with Take, and expects to find what a scan finds.
func sweep(t *testing.T, x *Index, all map[storage.ID]storage.Record, before time.Time, n int) {
	t.Helper()
	dead := len(sorted(all, func(r storage.Record) bool { return r.DeadFrom().Before(before) }))
	var gone []storage.Record
	due := x.Take(before, n)
	for _, d := range due {
		rec, ok := all[d.ID]
		switch {
		case !ok:
		case rec.DeadFrom().Before(before):
			gone = append(gone, rec)
			delete(all, d.ID)
		default:
			x.Refile(rec)
		}
	}
	x.Remove(gone)
	if len(due) < n && len(gone) != dead {
		t.Fatalf("nothing more is due, but %d of %d dead were found", len(gone), dead)
	}
}

func compare(t *testing.T, x *Index, all map[storage.ID]storage.Record, before time.Time) {
	t.Helper()
	for n := range 5 {
		subject := fmt.Sprint("subject ", n)
		want := sorted(all, func(r storage.Record) bool { return r.Subject == subject })
		if diff := cmp.Diff(want, x.Subject(subject)); len(want) > 0 && diff != "" {
			t.Fatalf("%s (-want +got):\n%s", subject, diff)
		}
	}
	got := x.Before(before)
	if !slices.IsSortedFunc(got, storage.ID.Compare) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Fatalf("Before is not in order, each once: %v", got)
	}
	for _, id := range sorted(all, func(r storage.Record) bool { return r.DeadFrom().Before(before) }) {
		if !slices.Contains(got, id) {
			t.Fatalf("Before misses %v", id)
		}
	}
}

// TestGiveBack: what was taken out and not dealt with is found again.
func TestGiveBack(t *testing.T) {
	var x Index
	for n := range uint64(10) {
		x.Load(record(10-n, "ana", int64(10-n)))
	}
	x.Ready()
	due := x.Take(at(6), 100)
	if len(due) != 5 || x.Any(at(6)) {
		t.Fatalf("took %d; want the 5 before the instant, and no more there", len(due))
	}
	x.GiveBack(due...)
	if again := x.Take(at(6), 100); !slices.Equal(again, due) {
		t.Errorf("again: %v; want %v", again, due)
	}
}

// TestBeforeFindsWhatIsTaken: while a sweep deals with what it has taken out, those
// who list go on seeing it.
func TestBeforeFindsWhatIsTaken(t *testing.T) {
	var x Index
	dead, renewed := record(1, "ana", 1), record(2, "ana", 2)
	x.Put(nil, dead)
	x.Put(nil, renewed)
	x.Take(at(10), 5)
	if got := x.Before(at(2)); !slices.Equal(got, []storage.ID{dead.ID}) {
		t.Errorf("while it is taken: %v; want the one before the instant", got)
	}
	renewed.ExpiresAt = at(20)
	x.Refile(renewed)
	x.Remove([]storage.Record{dead})
	x.Settle()
	if got := x.Before(at(10)); len(got) != 0 {
		t.Errorf("afterwards, before the new expiry: %v", got)
	}
	if got := x.Before(at(21)); !slices.Equal(got, []storage.ID{renewed.ID}) {
		t.Errorf("afterwards: %v; want the renewed one", got)
	}
}

// TestBeforeCostsWhatItFinds: it looks at no more than what it finds and their
// children in the heap.
func TestBeforeCostsWhatItFinds(t *testing.T) {
	var x Index
	for n := range uint64(100_000) {
		x.Load(record(n+1, "ana", int64(n)))
	}
	x.Ready()
	if got := testing.AllocsPerRun(10, func() { x.Before(at(3)) }); got > 3 {
		t.Errorf("%v allocations for 3 of 100,000", got)
	}
}

// TestPutTwice: a write whose outcome was unknown may be filed as new again. Its
// subject has it once.
func TestPutTwice(t *testing.T) {
	var x Index
	want := []storage.ID{record(1, "ana", 5).ID, record(2, "ana", 5).ID, record(3, "ana", 5).ID}
	for _, n := range []uint64{2, 2, 3, 1, 3, 2, 1} {
		x.Put(nil, record(n, "ana", 5))
	}
	if diff := cmp.Diff(want, x.Subject("ana")); diff != "" {
		t.Errorf("of ana (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, x.Before(at(6))); diff != "" {
		t.Errorf("before the instant (-want +got):\n%s", diff)
	}
}

// TestPutOfTheSameDeath: what does not bring a death forward files nothing.
func TestPutOfTheSameDeath(t *testing.T) {
	var x Index
	r := record(1, "ana", 5)
	x.Put(nil, r)
	for range 10 {
		x.Put(&r, r)
	}
	if got := len(x.Take(at(6), 100)); got != 1 {
		t.Errorf("it is due %d times; want once", got)
	}
}
