package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestTakeDead asks at, before and after the death of a record for it, after all
// sorts of lives.
func TestTakeDead(t *testing.T) {
	last := time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	put := func(r storage.Record) func(*Table) { return func(table *Table) { table.Put(&r, storage.Use{}) } }
	expiring := func(at time.Time) func(*Table) { return put(storage.Record{Token: storage.Token{ExpiresAt: at}}) }
	ending := func(expires, ended time.Time) func(*Table) {
		return put(storage.Record{Token: storage.Token{ExpiresAt: expires, EndedAt: ended}})
	}
	sweep := func(before time.Time) func(*Table) {
		return func(table *Table) {
			table.Put(&storage.Record{Token: storage.Token{ID: storage.ID{9}, ExpiresAt: before.Add(-time.Millisecond)}}, storage.Use{})
			table.TakeDead(before, 100, func(id storage.ID) bool { return id == storage.ID{} })
		}
	}
	renew := func(to time.Time) func(*Table) {
		return func(table *Table) { table.Touch(storage.ID{}, storage.Use{ExpiresAt: to}) }
	}
	for _, row := range []struct {
		name string
		dead time.Time
		life []func(*Table)
	}{
		{"runs out", ms(100), []func(*Table){expiring(ms(100))}},
		{"runs out in year 1", time.Time{}.Add(time.Millisecond), []func(*Table){expiring(time.Time{}.Add(time.Millisecond))}},
		{"runs out in year 9999", last, []func(*Table){expiring(last)}},
		{"runs out before 1970", ms(-5_000_000_000), []func(*Table){expiring(ms(-5_000_000_000))}},
		{"ended first", ms(50), []func(*Table){ending(ms(100), ms(50))}},
		{"ended afterwards", ms(100), []func(*Table){ending(ms(100), ms(150))}},
		{"ended later, when filed", ms(50), []func(*Table){expiring(ms(1e12)), ending(ms(100), ms(50))}},
		{"ended later, when looked at", ms(50), []func(*Table){expiring(ms(1e12)), sweep(ms(1e12)), ending(ms(100), ms(50))}},
		{"renewed", ms(1e12), []func(*Table){expiring(ms(100)), renew(ms(1e12))}},
		{"renewed, and looked at", ms(1e12), []func(*Table){expiring(ms(100)), renew(ms(1e12)), sweep(ms(5000))}},
		{"renewed, and ended", ms(200), []func(*Table){expiring(ms(100)), renew(ms(1e12)), sweep(ms(5000)), ending(ms(1e12), ms(200))}},
		{"put behind the last sweep", ms(100), []func(*Table){sweep(ms(1e12)), expiring(ms(100))}},
		{"found busy", ms(100), []func(*Table){expiring(ms(100)), sweep(ms(101))}},
		{"found busy, and renewed", ms(1e12), []func(*Table){expiring(ms(100)), sweep(ms(101)), renew(ms(1e12))}},
		{"deleted, and put again", ms(100), []func(*Table){expiring(ms(50)), func(table *Table) { table.Delete(storage.ID{}) }, expiring(ms(100))}},
	} {
		for _, step := range []time.Duration{-time.Hour, -time.Millisecond, 0, 1, time.Millisecond, time.Hour} {
			if row.dead.Equal(last) && step == time.Hour {
				step = time.Millisecond
			}
			table := New()
			for _, f := range row.life {
				f(table)
			}
			before := row.dead.Add(step)
			if step > 0 && !table.AnyDue(before) {
				t.Errorf("%s, %v after: nothing is due", row.name, step)
			}
			listed := slices.Contains(table.Before(before), storage.ID{})
			gone, more := table.TakeDead(before, 1000, nil)
			var r storage.Record
			if took := slices.Contains(gone, storage.ID{}); took != (step > 0) || listed != took || table.Get(storage.ID{}, &r) == took || more {
				t.Errorf("%s, %v after: gone %v, listed %v, more %v", row.name, step, took, listed, more)
			}
			checkTable(t, table)
		}
	}
}

// TestTakeDeadInSteps counts how many records each call looks at, and that the busy
// ones make none of them run for ever.
func TestTakeDeadInSteps(t *testing.T) {
	for _, n := range []int{-1, 0, 1, 7, 100, 10_000} {
		for _, busyOf10 := range []int{0, 1, 9, 10} {
			table := New()
			for i := range 500 {
				table.Put(&storage.Record{Token: storage.Token{ID: numbered(i), ExpiresAt: ms(int64(i / 3))}}, storage.Use{})
			}
			busy := func(id storage.ID) bool { return int(id[7])%10 < busyOf10 }
			looked := 0
			counting := func(id storage.ID) bool { looked++; return busy(id) }
			all, calls := 0, 0
			for more := true; more && (n > 0 || calls < 3); calls++ {
				looked = 0
				var gone []storage.ID
				gone, more = table.TakeDead(ms(100), n, counting)
				all += len(gone)
				if looked > max(n, 0) || slices.ContainsFunc(gone, busy) || calls > 3000 {
					t.Fatalf("%d looked at in call %d", looked, calls)
				}
			}
			left := len(slices.DeleteFunc(table.Before(ms(100)), busy))
			if n > 0 && left != 0 || n < 1 && all != 0 || table.Len() != 500-all {
				t.Errorf("n %d, busy %d: %d left, %d gone", n, busyOf10, left, all)
			}
			if !table.AnyDue(ms(100)) != (n > 0 && busyOf10 == 0) {
				t.Errorf("n %d, busy %d: due %v", n, busyOf10, table.AnyDue(ms(100)))
			}
			for more := true; more; {
				_, more = table.TakeDead(ms(100), 10, nil)
			}
			if table.Len() != 200 || table.AnyDue(ms(100)) {
				t.Errorf("n %d, busy %d: %d left in the end", n, busyOf10, table.Len())
			}
			checkTable(t, table)
		}
	}
}

// TestTakeDeadOverYears sweeps often while time passes at all sorts of speeds, and
// backwards now and then, and finds every dead record each time.
func TestTakeDeadOverYears(t *testing.T) {
	for _, most := range []int64{1, 100, 60_000, 86_400_000, 31_536_000_000} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(most), 5))
			table, alive, now, next := New(), map[storage.ID]int64{}, int64(1_700_000_000_000), 0
			for range sample.Of(300, 100) {
				for range rng.IntN(40) {
					dies := now + rng.Int64N(20*most+1) - most
					table.Put(&storage.Record{Token: storage.Token{ID: numbered(next), ExpiresAt: ms(dies)}}, storage.Use{})
					alive[numbered(next)] = dies
					next++
				}
				for id, dies := range alive {
					if rng.IntN(5) == 0 {
						table.Touch(id, storage.Use{ExpiresAt: ms(dies + most)})
						alive[id] = dies + most
					}
				}
				at := now
				if rng.IntN(10) == 0 {
					at -= rng.Int64N(5 * most)
				}
				var got, want []storage.ID
				for more := true; more; {
					var gone []storage.ID
					gone, more = table.TakeDead(ms(at), 1+rng.IntN(100), nil)
					got = append(got, gone...)
				}
				for id, dies := range alive {
					if dies < at {
						want = append(want, id)
						delete(alive, id)
					}
				}
				slices.SortFunc(got, storage.ID.Compare)
				slices.SortFunc(want, storage.ID.Compare)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatal(diff)
				}
				now += rng.Int64N(most + 1)
			}
			checkTable(t, table)
		})
	}
}
