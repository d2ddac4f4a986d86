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

// fits reports whether PutIfFits puts a new record of ana's.
func fits(tx *Tx, n, limit int) bool {
	r := record(n, "ana")
	return tx.PutIfFits(&r, limit, at(50))
}

// TestPutIfFits: a new record fits if nobody has its ID and the subject has no more than
// so many, wherever they are. Then it is put, and otherwise not.
func TestPutIfFits(t *testing.T) {
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
		want := row.here
		if row.want {
			want++
		}
		if got := fits(tx, row.id, limit); got != row.want || tx.Created() != want || len(tx.Writes()) != want {
			t.Errorf("%s: %v, %d created; want %v, %d", row.name, got, tx.Created(), row.want, want)
		}
		if !row.want {
			continue
		}
		if got, err := tx.Get(id(row.id)); err != nil || !got.Equal(record(row.id, "ana")) {
			t.Errorf("%s: Get: %+v, %v", row.name, got, err)
		}
		if fits(tx, row.id, 100) {
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
		if got := fits(s.Begin("ana"), n+2, limit); got != want {
			t.Errorf("%d of %d, limit %d: %v; want %v", n, s.table.Len(), limit, got, want)
		}
	}
	few := stageOf(append(numbersOf(1, stepSize, "ana"), numbersOf(stepSize+1, 2, "bob")...)...)
	for limit, want := range map[int]bool{stepSize - 1: false, stepSize: true, stepSize + 1: true} {
		if got := fits(few.Begin("ana"), n+2, limit); got != want {
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
		r := record(1_000_000, fmt.Sprint("s", i))
		if !s.Begin(r.Subject).PutIfFits(&r, 2, at(50)) || s.Begin(r.Subject).PutIfFits(&r, 1, at(50)) {
			t.Fatalf("subject %d does not seem to have two records", i)
		}
	}
}

// TestPutIfFitsOfAnother: what Put would refuse is not put.
func TestPutIfFitsOfAnother(t *testing.T) {
	tx := stageOf().Begin("ana")
	if r := record(1, "bob"); tx.PutIfFits(&r, 100, at(50)) || len(tx.Writes()) > 0 {
		t.Error("a record of another subject is put")
	}
}

// TestPutIfFitsAmongTheDead: the dead do not count, whether they are known to be or not,
// and which record leads; what a held write or the update itself may have brought back does.
func TestPutIfFitsAmongTheDead(t *testing.T) {
	const live = 4
	for _, dead := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {30, 30}, {stepSize - live - 2, 0}} {
		for limit, want := range map[int]bool{live - 1: false, live: true, live + 1: true} {
			table := deadAnd(dead[0], dead[1], live)
			other := record(90_000, "bob") // or there would be no need to count
			other2, other3 := other, other
			other2.ID, other3.ID = id(90_001), id(90_002)
			for _, r := range []storage.Record{other, other2, other3} {
				table.Put(&r, storage.Use{})
			}
			for range 2 { // the second time the dead are aside
				r := record(100_000, "ana")
				if got := NewStage(table).Begin("ana").PutIfFits(&r, limit, at(1000)); got != want {
					t.Errorf("%v dead, limit %d of %d: %v; want %v", dead, limit, live, got, want)
				}
			}
			checkTable(t, table)
		}
	}
	s := NewStage(deadAnd(30, 0, live))
	numbersLiving(s.Begin("ana"), 1000)
	hold(s, "ana", func(tx *Tx) { putAll(t, tx, with(record(3, "ana"), 0, 2000, 0)) })
	for limit, want := range map[int]bool{live: false, live + 1: true} {
		r := record(100_000, "ana")
		if got := s.Begin("ana").PutIfFits(&r, limit, at(1000)); got != want {
			t.Errorf("with one that is held, limit %d: %v; want %v", limit, got, want)
		}
	}
	for limit, want := range map[int]bool{50: true, 24: false} { // by an earlier now
		r := record(100_000, "ana")
		if got := s.Begin("ana").PutIfFits(&r, limit, at(150)); got != want {
			t.Errorf("at an earlier instant, limit %d: %v; want %v", limit, got, want)
		}
	}
}
