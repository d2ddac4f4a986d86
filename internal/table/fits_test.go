package table

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// numbersOf returns records of subject with the numbers from first on.
func numbersOf(first, n int, subject string) (all []storage.Record) {
	for i := range n {
		all = append(all, record(first+i, subject))
	}
	return all
}

// TestFits: a new record fits if nobody has its ID and the subject has no more than so
// many, wherever they are.
func TestFits(t *testing.T) {
	const taken, limit = 90, 3
	for _, row := range []struct {
		name              string
		shown, held, here int // of the subject
		id                int
		want              bool
	}{
		{"the first of all", 0, 0, 0, 9, true},
		{"shown, one below", limit - 1, 0, 0, 9, true},
		{"shown, as many", limit, 0, 0, 9, true},
		{"shown, one above", limit + 1, 0, 0, 9, false},
		{"held, as many", 0, limit, 0, 9, true},
		{"held, one above", 0, limit + 1, 0, 9, false},
		{"put here, as many", 0, 0, limit, 9, true},
		{"put here, one above", 0, 0, limit + 1, 9, false},
		{"some of each, as many", 1, 1, 1, 9, true},
		{"some of each, one above", 2, 1, 1, 9, false},
		{"shown already", 1, 1, 1, 100, false},
		{"held already", 1, 1, 1, 200, false},
		{"put here already", 1, 1, 1, 300, false},
		{"another subject's", 1, 1, 1, taken, false},
		{"another subject's that is held", 1, 1, 1, taken + 1, false},
		{"damaged", 0, 0, 0, 5, false},
	} {
		s := stageOf(append(numbersOf(100, row.shown, "ana"), record(taken, "bob"))...)
		s.Damaged = func(d storage.ID) bool { return d == id(5) }
		hold(s, "ana", func(tx *Tx) { putAll(t, tx, numbersOf(200, row.held, "ana")...) })
		hold(s, "bob", func(tx *Tx) { putAll(t, tx, numbersOf(taken+1, 5, "bob")...) })
		tx := s.Begin("ana")
		putAll(t, tx, numbersOf(300, row.here, "ana")...)
		if got := tx.Fits(id(row.id), limit); got != row.want {
			t.Errorf("%s: %v; want %v", row.name, got, row.want)
		}
		if !row.want {
			continue
		}
		if err := tx.Put(record(row.id, "ana")); err != nil || tx.Created() != row.here+1 {
			t.Errorf("%s: Put: %v, %d created; want one more", row.name, err, tx.Created())
		}
		if tx.Fits(id(row.id), 100) {
			t.Errorf("%s: it fits again", row.name)
		}
	}
}

// TestFitsLooksAtFew: it gives up counting a crowd, and need not count where the limit
// is above all that there are.
func TestFitsLooksAtFew(t *testing.T) {
	const n = stepSize + 2
	s := stageOf(append(numbersOf(1, n, "ana"), record(n+1, "bob"))...)
	for limit, want := range map[int]bool{n - 1: false, n: false, n + 1: true, n + 2: true, math.MaxInt: true, -1: false} {
		if got := s.Begin("ana").Fits(id(n+2), limit); got != want {
			t.Errorf("%d of %d, limit %d: %v; want %v", n, s.table.Len(), limit, got, want)
		}
	}
	few := stageOf(append(numbersOf(1, stepSize, "ana"), numbersOf(stepSize+1, 2, "bob")...)...)
	for limit, want := range map[int]bool{stepSize - 1: false, stepSize: true, stepSize + 1: true} {
		if got := few.Begin("ana").Fits(id(n+2), limit); got != want {
			t.Errorf("%d of %d, limit %d: %v; want %v", stepSize, few.table.Len(), limit, got, want)
		}
	}
}

// TestFitsAmongOthers: those whose hashes begin alike do not count.
func TestFitsAmongOthers(t *testing.T) {
	const subjects = 3000
	var all []storage.Record
	for i := range subjects {
		all = append(all, numbersOf(1+2*i, 2, fmt.Sprint("s", i))...)
	}
	s := stageOf(all...)
	for i := range subjects {
		tx := s.Begin(fmt.Sprint("s", i))
		if !tx.Fits(id(1_000_000), 2) || s.Begin(fmt.Sprint("s", i)).Fits(id(1_000_000), 1) {
			t.Fatalf("subject %d does not seem to have two records", i)
		}
	}
}
