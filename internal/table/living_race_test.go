package table

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestTouchAgainstLiving lets a renewal meet a walk that takes its record for dead, be
// that put aside already or not. A walk that begins once the Touch is back finds it.
func TestTouchAgainstLiving(t *testing.T) {
	outcomes := map[bool]int{}
	for round := range sample.Of(3000, 1000) {
		table := deadAnd(3, 1, 1)
		if round%2 == 0 {
			table.Living(nil, "ana", at(600), nil)
		}
		var found bool
		together(
			func() {
				if !table.Touch(id(1), storage.Use{ExpiresAt: at(2000)}) {
					t.Error("it did not rise")
				}
				if !slices.Contains(table.Living(nil, "ana", at(1000), nil), id(1)) {
					t.Error("the walk that came after the Touch misses the record")
				}
			},
			func() { found = slices.Contains(table.Living(nil, "ana", at(1000), nil), id(1)) },
			func() { table.Living(nil, "ana", at(700), nil) },
		)
		if got := table.Living(nil, "ana", at(1000), nil); !slices.Equal(got, []storage.ID{id(1), id(4)}) {
			t.Fatalf("%v live", got)
		}
		checkTable(t, table)
		outcomes[found]++
	}
	t.Logf("found by the walk beside it or not: %v", outcomes)
}

// TestChangedWhileAWalkPauses: what comes back to the main list between two steps of a
// walk, which may be past it, makes it begin again, and so does what takes away the record
// where it paused. What else happens does not.
func TestChangedWhileAWalkPauses(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(table *Table, paused storage.ID)
		valid  bool
	}{
		{"nothing", func(*Table, storage.ID) {}, true},
		{"a Touch of what was aside", func(table *Table, _ storage.ID) { table.Touch(id(5), storage.Use{ExpiresAt: at(5000)}) }, false},
		{"a Touch of what is not", func(table *Table, _ storage.ID) { table.Touch(id(200), storage.Use{ExpiresAt: at(9000)}) }, true},
		{"a Put of what was aside", func(table *Table, _ storage.ID) {
			r := with(record(6, "ana"), 0, 5000, 0)
			table.Put(&r, storage.Use{})
		}, false},
		{"a Put of a new one", func(table *Table, _ storage.ID) {
			r := with(record(90_000, "ana"), 0, 5000, 0)
			table.Put(&r, storage.Use{})
		}, true},
		{"the end of another's", func(table *Table, _ storage.ID) { table.Delete(id(200)) }, true},
		{"the end of where it paused", func(table *Table, paused storage.ID) { table.Delete(paused) }, false},
	} {
		table := deadAnd(100, 0, 3*stepSize)
		table.Living(nil, "ana", at(1000), nil)
		c := table.newLivingWalk("ana", at(1000), nil)
		if over, valid := c.step(stepSize, c.collect); over || !valid {
			t.Fatalf("over %v, valid %v after one step", over, valid)
		}
		row.change(table, c.ids[len(c.ids)-1])
		if over, valid := c.step(stepSize, c.collect); over || valid != row.valid {
			t.Errorf("%s: over %v, valid %v; want %v", row.name, over, valid, row.valid)
		}
	}
}

// TestLivingNeverLoses walks a subject of many records in steps, while others touch, put
// and delete: what lives all the time is found by every walk.
func TestLivingNeverLoses(t *testing.T) {
	const many, rounds = 3 * stepSize, 40
	table := New()
	for n := range many {
		r := with(record(n, "ana"), 0, 100+n%1000, 0)
		if n%10 == 0 {
			r.ExpiresAt = at(1_000_000)
		}
		table.Put(&r, storage.Use{})
	}
	var done atomic.Bool
	var now atomic.Int64
	until := func(seed uint64, f func(rng *rand.Rand)) func() {
		return func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			for !done.Load() {
				f(rng)
			}
		}
	}
	other := func(rng *rand.Rand) storage.ID { return id(1 + 10*rng.IntN(many/10) + rng.IntN(9)) } // none that lives on
	together(
		func() {
			defer done.Store(true)
			for n := range rounds {
				now.Store(int64(n * 30))
				for _, ms := range []int{n * 30, n * 15} {
					got := table.Living(nil, "ana", at(ms), nil)
					if !slices.IsSortedFunc(got, storage.ID.Compare) {
						t.Error("out of order")
					}
					for i := 0; i < many; i += 10 {
						if _, found := slices.BinarySearchFunc(got, id(i), storage.ID.Compare); !found {
							t.Fatalf("at %d: record %d is missing among %d", ms, i, len(got))
						}
					}
				}
			}
		},
		until(1, func(rng *rand.Rand) {
			table.Touch(other(rng), storage.Use{ExpiresAt: at(int(now.Load()) + rng.IntN(100))})
		}),
		until(2, func(rng *rand.Rand) {
			r := with(record(0, "ana"), 0, int(now.Load())+rng.IntN(200)-100, 0)
			if r.ID = other(rng); rng.IntN(2) == 0 {
				r = with(r, 0, 500, 50)
			}
			table.Put(&r, storage.Use{ExpiresAt: at(1_000_000)})
		}),
		until(3, func(rng *rand.Rand) {
			if table.Delete(other(rng)); rng.IntN(50) == 0 {
				table.Subject(nil, "ana")
			}
		}),
	)
	checkTable(t, table)
}
