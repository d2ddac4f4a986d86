package table

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

const large = 10_000

// orders are those in which the large updates put their records.
func orders() map[string][]int {
	rising := make([]int, large)
	for n := range rising {
		rising[n] = n + 1
	}
	falling := slices.Clone(rising)
	slices.Reverse(falling)
	shuffled := slices.Clone(rising)
	rand.New(rand.NewPCG(1, 1)).Shuffle(large, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	return map[string][]int{"rising": rising, "falling": falling, "shuffled": shuffled}
}

// TestLargeUpdate creates, replaces and lists 10,000 records in one update, whatever
// their order, and allocates for each of them not more than a few times.
func TestLargeUpdate(t *testing.T) {
	for name, order := range orders() {
		s := stageOf()
		var writes []Write
		n := testing.AllocsPerRun(1, func() {
			tx := s.Begin("ana")
			for _, n := range order {
				if _, err := tx.Get(id(n)); err == nil {
					t.Errorf("%s: %d is there before it is put", name, n)
				}
				putAll(t, tx, record(n, "ana"))
			}
			for _, n := range order {
				r, err := tx.Get(id(n))
				if err != nil || r.ID != id(n) || r.Name != "" {
					t.Fatalf("%s: Get %d: %+v, %v", name, n, r, err)
				}
				r.Name = "again"
				putAll(t, tx, r)
			}
			next := 1
			for r := range tx.Records() {
				if r.ID != id(next) || r.Name != "again" {
					t.Fatalf("%s: number %d is %+v", name, next, r)
				}
				next++
			}
			if next != large+1 || len(tx.Writes()) != large || tx.Created() != large {
				t.Errorf("%s: listed %d, %d writes, created %d; want %d", name, next-1, len(tx.Writes()), tx.Created(), large)
			}
			writes = tx.Writes()
		})
		if n > large/10 {
			t.Errorf("%s: %v allocations", name, n)
		}
		s.Hold(writes)
		s.Show(writes)
		if s.table.Len() != large || s.Created() != 0 {
			t.Errorf("%s: the table has %d, %d are still created; want %d and 0", name, s.table.Len(), s.Created(), large)
		}
		shown := s.table.Subject(nil, "ana")
		if !slices.IsSortedFunc(shown, storage.ID.Compare) || len(shown) != large {
			t.Errorf("%s: the table's %d are not in order", name, len(shown))
		}
	}
}

// TestLargeReadsStayTheSame reads 10,000 records in no order, with a Touch of each
// afterwards, and reads the same again.
func TestLargeReadsStayTheSame(t *testing.T) {
	s := stageOf()
	s.Show(hold(s, "ana", func(tx *Tx) {
		for n := range large {
			putAll(t, tx, record(n+1, "ana"))
		}
	}))
	tx := s.Begin("ana")
	for range 2 {
		for _, n := range orders()["shuffled"] {
			if r, err := tx.Get(id(n)); err != nil || !r.Equal(record(n, "ana")) {
				t.Fatalf("Get %d: %+v, %v", n, r, err)
			}
			s.table.Touch(id(n), storage.Use{At: at(n)})
		}
	}
	for r := range tx.Records() {
		if n := int(binary.BigEndian.Uint64(r.ID[:])); !r.Equal(record(n, "ana")) {
			t.Fatalf("Records: %+v", r)
		}
	}
	if r, err := s.Begin("ana").Get(id(7)); err != nil || r.LastUsedAt != at(7) {
		t.Errorf("the next update: %+v, %v; want what was touched", r, err)
	}
}

// TestLargeUpdateIsForgotten: what a large update needed is not kept for the small
// ones after it, be it for reads or for writes.
func TestLargeUpdateIsForgotten(t *testing.T) {
	s := stageOf()
	writes := hold(s, "ana", func(tx *Tx) {
		for n := range large {
			putAll(t, tx, record(n+1, "ana"))
		}
	})
	s.Show(writes)
	for what, update := range map[string]func(){
		"writes": func() {
			tx := s.Begin("ana")
			for n := range large {
				putAll(t, tx, record(n+1, "ana"))
			}
		},
		"reads": func() { numbers(t, s.Begin("ana")) },
	} {
		update()
		tx := s.Begin("bob")
		if c := max(cap(tx.known), cap(tx.writes), cap(tx.ids), len(tx.index)); c > maxKept {
			t.Errorf("%s: room for %d is kept; want %d at most", what, c, maxKept)
		}
	}
}
