package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// gate lets nobody through before all have arrived.
type gate struct {
	arrived sync.WaitGroup
	open    chan struct{}
}

// together runs every function in a goroutine of its own, all of them from the
// same moment on, and waits for them.
func together(fs ...func()) {
	g := gate{open: make(chan struct{})}
	var done sync.WaitGroup
	g.arrived.Add(len(fs))
	for _, f := range fs {
		done.Go(func() {
			g.arrived.Done()
			<-g.open
			f()
		})
	}
	g.arrived.Wait()
	close(g.open)
	done.Wait()
}

const usedBefore = 1000 * time.Hour // every LastUsedAt, before the ExpiresAt beside it

// version returns a record of which every field tells its number, and some the ID.
func version(id storage.ID, n int) storage.Record {
	at := epoch.Add(time.Duration(n) * time.Millisecond)
	text := strings.Repeat(fmt.Sprintf("%07d.", n), 1+n%25)
	return storage.Record{
		Token: storage.Token{
			ID: id, Prefix: fmt.Sprint("p", n%400), Subject: fmt.Sprint("s", id[15]) + text, Name: "n" + text, Scope: "c" + text, Data: "d" + text,
			IssuedAt: at, MaxExpiresAt: at.Add(2 * usedBefore), LastUsedAt: at, ExpiresAt: at.Add(usedBefore),
		},
		TTL:    time.Duration(n) * time.Millisecond,
		Digest: storage.NewDigest(byte(n), [32]byte{byte(n), 8: byte(n >> 8), 16: byte(n), 24: byte(n >> 8), 31: id[15]}),
	}
}

// whole says what is wrong with a record unless it is a version, perhaps with a
// later use.
func whole(id storage.ID, r storage.Record) string {
	want := version(id, int(r.TTL.Milliseconds()))
	if r.LastUsedAt.Before(want.LastUsedAt) || !r.ExpiresAt.Equal(r.LastUsedAt.Add(usedBefore)) {
		return fmt.Sprintf("of %v: used %v, expires %v", want.IssuedAt, r.LastUsedAt, r.ExpiresAt)
	}
	want.LastUsedAt, want.ExpiresAt = r.LastUsedAt, r.ExpiresAt
	if !r.Equal(want) {
		return fmt.Sprintf("%+v\nis not\n%+v", r, want)
	}
	return ""
}

// TestNeverTorn reads while everything else goes on: replacing, touching, deleting,
// the use of cells by one record after another, growth, and the moving of texts.
func TestNeverTorn(t *testing.T) {
	const ids, rounds = 64, 6000
	table := New()
	name := func(n int) storage.ID { return storage.ID{15: byte(n % ids)} }
	for n := range ids {
		r := version(name(n), n)
		table.Put(&r, storage.Use{})
	}
	var number, stopped atomic.Int64
	number.Store(1000)
	var seen atomic.Int64
	writer := func(seed uint64) func() {
		return func() {
			defer stopped.Add(1)
			rng := rand.New(rand.NewPCG(seed, 0))
			for range rounds {
				n := int(number.Add(1))
				id := name(rng.IntN(ids))
				switch rng.IntN(10) {
				case 0:
					table.Delete(id)
				case 1:
					table.TakeDead(epoch.Add(usedBefore+time.Duration(n-500)*time.Millisecond), 8, nil)
				default:
					r := version(id, n)
					table.Put(&r, storage.Use{})
				}
			}
		}
	}
	filler := func() {
		for n := range rounds {
			other := func(n int) storage.ID { return storage.ID{0: 1, 1: byte(n), 2: byte(n >> 8)} }
			r := storage.Record{Token: storage.Token{ID: other(n), Subject: fmt.Sprint(n), ExpiresAt: epoch.Add(usedBefore)}}
			table.Put(&r, storage.Use{})
			if n%4 == 0 {
				table.Delete(other(n / 2))
			}
		}
	}
	until := func(f func(rng *rand.Rand)) func() {
		return func() {
			rng := rand.New(rand.NewPCG(99, 0))
			for stopped.Load() < 2 {
				f(rng)
			}
		}
	}
	read := until(func(rng *rand.Rand) {
		var r storage.Record
		n := rng.IntN(ids)
		if table.Get(name(n), &r) {
			seen.Add(1)
			if fault := whole(name(n), r); fault != "" {
				t.Error(fault)
				stopped.Add(2)
			}
		}
	})
	touch := until(func(rng *rand.Rand) {
		at := epoch.Add(time.Duration(number.Load()+rng.Int64N(100)) * time.Millisecond)
		table.Touch(name(rng.IntN(ids)), storage.Use{At: at, ExpiresAt: at.Add(usedBefore)})
	})
	list := until(func(rng *rand.Rand) {
		table.TakeUnsaved(10, new(atomic.Int64))
		table.MarkUnsaved(name(rng.IntN(ids)))
		for _, got := range [][]storage.ID{table.All(), table.Before(epoch.Add(2 * usedBefore)), table.Subject(nil, "17")} {
			if !slices.IsSortedFunc(got, storage.ID.Compare) {
				t.Error("out of order")
			}
		}
	})
	together(writer(1), writer(2), filler, read, read, touch, list)
	if seen.Load() == 0 {
		t.Error("nothing was ever read")
	}
	checkTable(t, table)
}

// TestTouchAgainstTakeDead lets a renewal and the deletion of a record that ran out
// meet. Either the renewal came first and the record lives on, or it found none.
func TestTouchAgainstTakeDead(t *testing.T) {
	id := storage.ID{1}
	before := epoch.Add(time.Second)
	outcomes := map[bool]int{}
	for range sample.Of(3000, 1000) {
		table := New()
		table.Put(&storage.Record{Token: storage.Token{ID: id, ExpiresAt: epoch}}, storage.Use{})
		var gone []storage.ID
		var rose bool
		together(
			func() { rose = table.Touch(id, storage.Use{ExpiresAt: epoch.Add(time.Hour)}) },
			func() { gone, _ = table.TakeDead(before, 8, nil) },
		)
		var r storage.Record
		found := table.Get(id, &r)
		if found != rose || rose == (len(gone) == 1) || table.Unsaved() != len(gone)^1 {
			t.Fatalf("rose %v, found %v, %d gone, %d unsaved", rose, found, len(gone), table.Unsaved())
		}
		outcomes[rose]++
	}
	t.Logf("renewed or not: %v", outcomes)
}

// TestTouchAgainstPut lets a renewal meet the replacing of its record by a writer that
// knows nothing of it.
func TestTouchAgainstPut(t *testing.T) {
	id := storage.ID{1}
	used, expires := epoch.Add(time.Minute), epoch.Add(time.Hour)
	for range sample.Of(3000, 1000) {
		table := New()
		r := storage.Record{Token: storage.Token{ID: id, Subject: "ana", LastUsedAt: epoch, ExpiresAt: epoch}}
		table.Put(&r, storage.Use{})
		seen := storage.Use{At: epoch, ExpiresAt: epoch}
		r.Name, r.ExpiresAt = "renamed", epoch.Add(time.Second)
		rose := false
		together(
			func() { rose = table.Touch(id, storage.Use{At: used, ExpiresAt: expires}) },
			func() { table.Put(&r, seen) },
		)
		var got storage.Record
		table.Get(id, &got)
		r.LastUsedAt, r.ExpiresAt = used, expires
		if !rose || !got.Equal(r) || table.Unsaved() != 1 {
			t.Fatalf("rose %v, %d unsaved: %+v", rose, table.Unsaved(), got)
		}
	}
}

// TestCellOfAnother reads a cell that was found for a record which is gone by then,
// and whose cell another one has.
func TestCellOfAnother(t *testing.T) {
	table, id, other := New(), storage.ID{1}, storage.ID{2}
	k := table.key(&id)
	r := version(id, 1)
	table.Put(&r, storage.Use{})
	_, c := table.find(k)
	table.Delete(id)
	var got storage.Record
	if found, settled := table.read(c, k, &got); found || !settled {
		t.Errorf("deleted: found %v, settled %v", found, settled)
	}
	r = version(other, 2)
	table.Put(&r, storage.Use{})
	if found, settled := table.read(c, k, &got); found || settled {
		t.Errorf("another's: found %v, settled %v", found, settled)
	}
	if found, settled := table.read(c, table.key(&other), &got); !found || !settled {
		t.Errorf("its own: found %v, settled %v", found, settled)
	}
}
