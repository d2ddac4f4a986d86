package table

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/ratio"
	"github.com/seed-55daa01a/lapse/storage"
)

const million = 1_000_000

var epoch = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// typical returns the i-th of many records that are alike: one for each subject,
// with random IDs and expiries over 30 days.
func typical(rng *rand.Rand, i int) storage.Record {
	var id storage.ID
	binary.BigEndian.PutUint64(id[:8], rng.Uint64())
	binary.BigEndian.PutUint64(id[8:], rng.Uint64())
	issued := epoch.Add(time.Duration(i) * time.Millisecond)
	return storage.Record{
		Token: storage.Token{
			ID: id, Prefix: "lapse", Subject: fmt.Sprintf("user-%07d", i), IssuedAt: issued,
			ExpiresAt: epoch.Add(time.Duration(rng.Int64N(30*24*3600*1000)) * time.Millisecond), MaxExpiresAt: issued.Add(30 * 24 * time.Hour),
		},
		TTL:    30 * time.Minute,
		Digest: storage.NewDigest(storage.SHA256, [32]byte{byte(i), byte(i >> 8), byte(i >> 16)}),
	}
}

func typicals(n int) []storage.Record {
	rng := rand.New(rand.NewPCG(1, 2))
	records := make([]storage.Record, n)
	for i := range records {
		records[i] = typical(rng, i)
	}
	return records
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func filled(records []storage.Record) *Table {
	t := New()
	for i := range records {
		t.Put(&records[i], storage.Use{})
	}
	return t
}

// mapped is what the table is measured against.
func mapped(records []storage.Record) map[storage.ID]*storage.Record {
	m := make(map[storage.ID]*storage.Record)
	for i := range records {
		r := records[i]
		m[r.ID] = &r
	}
	return m
}

// BenchmarkGet looks up what is there, in random order, beside a map of pointers
// from which the record is copied. Each look-up depends on the one before, as those
// of a server do that has other work between them.
func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1000, million} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			records := typicals(n)
			table, peer := filled(records), mapped(records)
			ids := make([]storage.ID, n)
			for i, at := range rand.Perm(n) {
				ids[i] = records[at].ID
			}
			runtime.GC()
			var r storage.Record
			ratio.Of(b, 100_000, func(i int) {
				if !table.Get(ids[(i+int(r.EndReason))%n], &r) {
					b.Fatal("absent")
				}
			}, func(i int) { r = *peer[ids[(i+int(r.EndReason))%n]] })
		})
	}
}

func BenchmarkTouch(b *testing.B) {
	for _, n := range []int{1000, million} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			records := typicals(n)
			table := filled(records)
			var r storage.Record
			ratio.Of(b, 100_000, func(i int) {
				table.Touch(records[i*7919%n].ID, storage.Use{At: epoch.Add(time.Duration(i) * time.Millisecond)})
			}, func(i int) { table.Get(records[i*7919%n].ID, &r) })
		})
	}
}

// BenchmarkTouchOne has 64 goroutines touch one record, which they lock in turn.
func BenchmarkTouchOne(b *testing.B) {
	records := typicals(1000)
	table := filled(records)
	var uses atomic.Int64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			table.Touch(records[0].ID, storage.Use{At: epoch.Add(time.Duration(uses.Add(1)) * time.Millisecond)})
		}
	})
}

// BenchmarkPut fills a table with a million records, beside a map of pointers.
func BenchmarkPut(b *testing.B) {
	records := typicals(million)
	var table *Table
	var peer map[storage.ID]*storage.Record
	ratio.Of(b, million, func(i int) {
		if i%million == 0 {
			table = New()
		}
		table.Put(&records[i%million], storage.Use{})
	}, func(i int) {
		if i%million == 0 {
			peer = make(map[storage.ID]*storage.Record)
		}
		r := records[i%million]
		peer[r.ID] = &r
	})
	runtime.KeepAlive(peer)
}

// BenchmarkTakeDead deletes the first tenth of a million to die, in steps, and says
// how long one of them took, in the middle and of a hundred the longest.
func BenchmarkTakeDead(b *testing.B) {
	records := typicals(million)
	var steps []time.Duration
	for b.Loop() {
		b.StopTimer()
		table := filled(records)
		runtime.GC()
		b.StartTimer()
		for more := true; more; {
			begin := time.Now()
			_, more = table.TakeDead(epoch.Add(3*24*time.Hour), 512, nil)
			steps = append(steps, time.Since(begin))
		}
		if left := table.Len(); left > 910_000 || left < 890_000 {
			b.Fatal(left)
		}
	}
	slices.Sort(steps)
	b.ReportMetric(float64(steps[len(steps)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(steps[len(steps)*99/100].Microseconds()), "p99-us")
}

// BenchmarkCollect is one collection with a million records alive, beside one with
// a map of them, and the bytes that each takes.
func BenchmarkCollect(b *testing.B) {
	var table, peer float64
	for b.Loop() {
		records := typicals(million)
		before := heap()
		t := filled(records)
		b.ReportMetric(float64(heap()-before)/million, "bytes/record")
		runtime.KeepAlive(records)
		records = nil
		table += collect()
		runtime.KeepAlive(t)
		t = nil
		m := mapped(typicals(million))
		runtime.GC()
		peer += collect()
		runtime.KeepAlive(m)
	}
	b.ReportMetric(table/float64(b.N)/1e6, "table-ms")
	b.ReportMetric(peer/float64(b.N)/1e6, "map-ms")
	b.ReportMetric(table/peer, "ratio")
}

func collect() float64 {
	runtime.GC()
	begin := time.Now()
	for range 5 {
		runtime.GC()
	}
	return float64(time.Since(begin)) / 5
}
