package table

import (
	"fmt"
	"slices"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/ratio"
	"github.com/seed-55daa01a/lapse/storage"
)

// deadAnd returns a table of ana's with so many records that have run out, so many that
// have an end, and so many that live from 1000 on; their numbers are in that order, and
// their instants, the dead ones' before 500, in none.
func deadAnd(ranOut, ended, live int) *Table {
	t := New()
	for n := range ranOut + ended + live {
		r := with(record(n, "ana"), 0, 100+n*7919%400, 0)
		switch {
		case n >= ranOut+ended:
			r.ExpiresAt = at(1001 + n)
		case n >= ranOut:
			r = with(r, 0, 2000, 50)
		}
		t.Put(&r, storage.Use{})
	}
	return t
}

// looks returns what lives of ana's at an instant, and how many records were looked at.
func looks(t *Table, ms int) (ids []storage.ID, n int) {
	c := t.newLivingWalk("ana", at(ms), nil)
	c.all(func() {}, func(list uint64, ref uint32, cell *cell) outcome {
		n++
		return c.collect(list, ref, cell)
	})
	sortByExpiry(c.expired)
	for len(c.expired) > 0 {
		n++
		c.moveExpired(1)
	}
	return c.ids, n
}

// TestLivingLooksAtTheDeadOnce: what lives is all that is looked at, except for one dead
// leader and one that has run out, and each newly dead record once.
func TestLivingLooksAtTheDeadOnce(t *testing.T) {
	const many, few = 3000, 5
	for name, table := range map[string]*Table{
		"run out": deadAnd(many, 0, few), "ended": deadAnd(0, many, few), "both": deadAnd(many/2, many/2, few), "dead alone": deadAnd(many, many, 0),
	} {
		live := len(table.Living(nil, "ana", at(1000), nil))
		for range 3 {
			if ids, n := looks(table, 1000); len(ids) != live || n > live+2 {
				t.Errorf("%s: %d live and %d were looked at; want %d and no more than two others", name, len(ids), n, live)
			}
		}
		for i := range 5 { // newly dead, and newly put
			r := with(record(10_000+i, "ana"), 0, 1000+i, 0)
			table.Put(&r, storage.Use{})
			ids, n := looks(table, 1000+i)
			if live = len(ids); n > live+6 {
				t.Errorf("%s, at %d: %d live and %d were looked at", name, 1000+i, live, n)
			}
		}
		checkTable(t, table)
	}
}

// TestLivingAtEarlierInstants: time that goes back brings back what lived then, and
// nothing else, at the cost of that.
func TestLivingAtEarlierInstants(t *testing.T) {
	table := deadAnd(2000, 100, 10)
	table.Living(nil, "ana", at(3000), nil)
	for _, ms := range []int{499, 498, 250, 100, 99, 3000, 450, 1005} {
		var want []storage.ID
		for _, id := range table.Subject(nil, "ana") {
			var r storage.Record
			if table.Get(id, &r); r.Live(at(ms)) {
				want = append(want, id)
			}
		}
		got, n := looks(table, ms)
		slices.SortFunc(got, storage.ID.Compare)
		if !slices.Equal(got, want) || n > len(want)+2 {
			t.Errorf("at %d: %d live, %d were looked at; want %d", ms, len(got), n, len(want))
		}
	}
	checkTable(t, table)
}

// TestLivingAfterTheLeader: the leader may be dead, and go; one record of those that are
// aside leads then.
func TestLivingAfterTheLeader(t *testing.T) {
	for _, order := range []string{"first to last", "last to first"} {
		table := deadAnd(40, 40, 3)
		table.Living(nil, "ana", at(1000), nil)
		ids := table.Subject(nil, "ana")
		if order == "last to first" {
			slices.Reverse(ids)
		}
		for i, id := range ids {
			if !table.Delete(id) {
				t.Fatal("one is missing")
			}
			if got := len(table.Subject(nil, "ana")); got != len(ids)-i-1 {
				t.Fatalf("%s: %d are left; want %d", order, got, len(ids)-i-1)
			}
			for _, ms := range []int{300, 1000} {
				want := 0
				for _, id := range table.Subject(nil, "ana") {
					var r storage.Record
					if table.Get(id, &r); r.Live(at(ms)) {
						want++
					}
				}
				if got := len(table.Living(nil, "ana", at(ms), nil)); got != want {
					t.Fatalf("%s, at %d: %d live; want %d", order, ms, got, want)
				}
			}
			checkTable(t, table)
		}
		if table.subjects.dead != nil {
			t.Errorf("%s: something is left aside of nothing", order)
		}
	}
}

// TestLivingComesBack: what has been put aside is found once it has another expiry, by
// whatever.
func TestLivingComesBack(t *testing.T) {
	for name, raise := range map[string]func(s *Stage, r storage.Record){
		"a Touch": func(s *Stage, r storage.Record) { s.table.Touch(r.ID, storage.Use{ExpiresAt: at(2000)}) },
		"a Put":   func(s *Stage, r storage.Record) { s.Show(hold(s, "ana", func(tx *Tx) { tx.Put(with(r, 0, 2000, 0)) })) },
		"a Put that is held": func(s *Stage, r storage.Record) {
			hold(s, "ana", func(tx *Tx) { tx.Put(with(r, 0, 2000, 0)) })
			numbersLiving(s.Begin("ana"), 2500) // has no reason to put it aside again
		},
		"a Put under a lower cap": func(s *Stage, r storage.Record) {
			s.table.Touch(r.ID, storage.Use{ExpiresAt: at(3000)})
			s.Show(hold(s, "ana", func(tx *Tx) { tx.Put(limited(with(r, 0, 2000, 0), 2000)) }))
		},
		"a Delete and another Put": func(s *Stage, r storage.Record) {
			hold(s, "ana", func(tx *Tx) { tx.Delete(r.ID) })
			hold(s, "ana", func(tx *Tx) { tx.Put(with(r, 0, 2000, 0)) })
		},
	} {
		s := NewStage(deadAnd(50, 5, 2))
		numbersLiving(s.Begin("ana"), 1000)
		var r storage.Record
		s.table.Get(id(20), &r)
		raise(s, r)
		for ms, want := range map[int][]int{1000: {20, 55, 56}, 1999: {20}, 2000: nil} {
			if got := numbersLiving(s.Begin("ana"), ms); !slices.Equal(got, want) {
				t.Errorf("%s: at %d live %v; want %v", name, ms, got, want)
			}
		}
		checkTable(t, s.table)
	}
}

func numbersLiving(tx *Tx, ms int) (all []int) {
	for r, err := range tx.Living(at(ms)) {
		if err != nil {
			panic(err)
		}
		all = append(all, int(r.ID[6])<<8|int(r.ID[7]))
	}
	return all
}

// TestLivingInTx: an update sees what it put, replaced and deleted itself, before that is
// shown, and what others hold.
func TestLivingInTx(t *testing.T) {
	s := NewStage(deadAnd(4, 0, 3)) // 4, 5 and 6 live until 1005, 1006, 1007
	hold(s, "ana", func(tx *Tx) {
		putAll(t, tx, with(record(4, "ana"), 0, 1005, 700), with(record(20, "ana"), 0, 1500, 0), with(record(21, "ana"), 0, 900, 0), with(record(2, "ana"), 0, 1200, 0))
	})
	tx := s.Begin("ana")
	for range 2 {
		if got, want := numbersLiving(tx, 1000), []int{2, 5, 6, 20}; !slices.Equal(got, want) {
			t.Fatalf("%v live; want %v", got, want)
		}
	}
	putAll(t, tx, with(record(3, "ana"), 0, 1100, 0), with(record(5, "ana"), 0, 1006, 800), with(record(22, "ana"), 0, 1001, 0), with(record(23, "ana"), 0, 1000, 0))
	deleteAll(t, tx, 6, 20)
	for _, row := range []struct {
		ms   int
		want []int
	}{{1000, []int{2, 3, 22}}, {1001, []int{2, 3}}, {1099, []int{2, 3}}, {1100, []int{2}}, {1200, nil}, {999, []int{2, 3, 22, 23}}, {850, []int{2, 3, 21, 22, 23}}} {
		if got := numbersLiving(tx, row.ms); !slices.Equal(got, row.want) {
			t.Errorf("at %d live %v; want %v", row.ms, got, row.want)
		}
	}
	checkTable(t, s.table)
}

// TestLivingInsideLiving: the loop body asks again, puts, ends, deletes and stops.
func TestLivingInsideLiving(t *testing.T) {
	s := NewStage(deadAnd(3, 3, 6)) // 6 to 11 live
	tx := s.Begin("ana")
	var outer []int
	for r := range tx.Living(at(1000)) {
		outer = append(outer, int(r.ID[7]))
		switch r.ID {
		case id(6):
			deleteAll(t, tx, 8)
			putAll(t, tx, with(record(9, "ana"), 0, 1010, 900), with(record(30, "ana"), 0, 1200, 0))
		case id(7):
			if got, want := numbersLiving(tx, 1000), []int{6, 7, 10, 11, 30}; !slices.Equal(got, want) {
				t.Errorf("inside: %v; want %v", got, want)
			}
		case id(10):
			deleteAll(t, tx, 10)
		}
	}
	if want := []int{6, 7, 10, 11}; !slices.Equal(outer, want) {
		t.Errorf("outside: %v; want %v", outer, want)
	}
	for range tx.Living(at(1000)) {
		break
	}
	if got, want := numbersLiving(tx, 1000), []int{6, 7, 11, 30}; !slices.Equal(got, want) {
		t.Errorf("in the end: %v; want %v", got, want)
	}
}

// BenchmarkLiving is Living, and PutIfFits, of a subject with 100,000 dead records beside
// one with none, both with five that live, among others.
func BenchmarkLiving(b *testing.B) {
	const many, live = 100_000, 5
	stage := func(ranOut, ended int) *Stage {
		t := deadAnd(ranOut, ended, live)
		for n := range 20_000 {
			r := record(many+live+n, fmt.Sprint("subject ", n))
			t.Put(&r, storage.Use{})
		}
		t.Living(nil, "ana", at(1000), nil) // the dead are not new any more
		return NewStage(t)
	}
	dead, none := stage(many/2, many/2), stage(0, 0)
	list := func(s *Stage) func(int) {
		return func(int) {
			n := 0
			for range s.Begin("ana").Living(at(1000)) {
				n++
			}
			if n != live {
				b.Fatalf("%d live", n)
			}
		}
	}
	put := func(s *Stage) func(int) {
		return func(i int) {
			r := record(1_000_000+i, "ana")
			if !s.Begin("ana").PutIfFits(&r, live, at(1000)) {
				b.Fatal("it does not fit")
			}
		}
	}
	b.Run("Living", func(b *testing.B) { ratio.Of(b, 1000, list(dead), list(none)) })
	b.Run("PutIfFits", func(b *testing.B) { ratio.Of(b, 1000, put(dead), put(none)) })
}
