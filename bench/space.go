package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// spaceExperiments measure memory, the collector and the file of the largest store.
// They come before anything else has filled the heap.
func spaceExperiments(p plan) []experiment {
	size := p.large()
	at := "/" + count(size)
	line := func(id, lapse, peer string, must bound) row {
		return row{id: id, lapse: lapse, peer: peer, must: must, allocs: uncounted}
	}
	return []experiment{&measurement{
		group: group{ID: "space" + at, Kind: "space", Tokens: size, Callers: 1,
			Title: fmt.Sprintf("What %s tokens without name, scope and data cost: memory by token, a full collection, the file, opening it", grouped(size))},
		lines: []row{
			line("memory"+at+"/memory/pointer-map", "memory", "pointer-map", itselfAtMost(160, "B")),
			line("memory"+at+"/memory-crowded/pointer-map", "memory-crowded", "pointer-map", itselfAtMost(160, "B")),
			line("memory"+at+"/bolt/pointer-map", "bolt", "pointer-map", itselfAtMost(160, "B")),
			line("memory"+at+"/memory/scs-memory", "memory", "scs-memory", bound{}),
			line("collect"+at+"/memory/pointer-map", "memory", "pointer-map", atMost(0.1)),
			line("collect"+at+"/bolt/pointer-map", "bolt", "pointer-map", atMost(0.1)),
			line("collect"+at+"/memory/scs-memory", "memory", "scs-memory", bound{}),
			line("disk"+at+"/bolt/record", "bolt", "record", atMost(1.5)),
			line("open"+at+"/bolt/bbolt-scan", "bolt", "bbolt-scan", itselfAtMost(1e9, "ns")),
		},
		measure: measureSpace,
	}}
}

// footprint is the cost of a store in memory.
type footprint struct {
	bytes    float64   // by token
	collects []float64 // full collections with nothing else in the heap, in nanoseconds
}

// spaces are the figures of measureSpace, by side.
type spaces struct {
	w     *world
	size  int
	foot  map[string]footprint
	disk  [2]float64   // bytes by token: file, encoded record
	opens [2][]float64 // times: lapse, reading everything with bbolt
}

func measureSpace(ctx context.Context, w *world, rows []row) ([]result, error) {
	s := &spaces{w: w, size: w.plan.large(), foot: map[string]footprint{}}
	wanted := map[string]bool{}
	for _, r := range rows {
		wanted[r.lapse], wanted[r.peer] = true, true
	}
	steps := []struct {
		sides []string
		f     func(context.Context) error
	}{
		{[]string{"memory", "pointer-map"}, s.inMemory},
		{[]string{"memory-crowded"}, s.crowded},
		{[]string{"scs-memory"}, s.scs},
		{[]string{"bolt"}, s.onBolt},
	}
	for _, step := range steps {
		if wanted[step.sides[0]] || wanted[step.sides[len(step.sides)-1]] {
			if err := step.f(ctx); err != nil {
				return nil, err
			}
		}
	}
	var all []result
	for _, r := range rows {
		all = append(all, r.judge(s.result(r)))
	}
	return all, nil
}

// result returns the result of one row.
func (s *spaces) result(r row) result {
	lapse, peer := s.foot[r.lapse], s.foot[r.peer]
	switch kind, _, _ := strings.Cut(r.id, "/"); kind {
	case "memory":
		return r.compare("B", []float64{lapse.bytes}, []float64{peer.bytes})
	case "collect":
		return r.compare("ns", lapse.collects, peer.collects)
	case "disk":
		return r.compare("B", s.disk[:1], s.disk[1:])
	}
	return r.compare("ns", s.opens[0], s.opens[1])
}

// weigh returns how many bytes by token a call of make has added to the memory in use, and
// how long full collections take while the result is there.
func (s *spaces) weigh(make func() (any, error)) (footprint, error) {
	before := inUse()
	thing, err := make()
	if err != nil {
		return footprint{}, err
	}
	f := footprint{bytes: inUse().since(before) / float64(s.size)}
	f.collects = collections(s.w.plan.collects)
	runtime.KeepAlive(thing)
	return f, nil
}

// collections times full collections of what is in the heap now.
func collections(n int) []float64 {
	var times []float64
	for range n {
		begin := time.Now()
		runtime.GC()
		times = append(times, float64(time.Since(begin)))
	}
	return times
}

// bytesInUse returns the bytes of the heap after a collection. Where the system tells them,
// it adds the bytes that are mapped outside of the heap. The sum has a constant error.
type bytesInUse struct{ heap, past int64 }

func inUse() bytesInUse {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/self/status", "RssAnon"), " kB"), 10, 64)
	if err != nil {
		return bytesInUse{heap: int64(m.HeapAlloc)}
	}
	return bytesInUse{int64(m.HeapAlloc), kib<<10 - int64(m.Sys-m.HeapReleased)}
}

// since returns how many bytes are more than before.
func (b bytesInUse) since(before bytesInUse) float64 {
	return float64(b.heap - before.heap + max(0, b.past-before.past))
}

// fill returns a manager over store with s.size tokens of nothing but a subject, of
// which some share one.
func (s *spaces) fill(store storage.Store, workers, shared int) error {
	m, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit}})
	if err != nil {
		return err
	}
	return together(workers, s.size, func(i int) error {
		_, err := m.Issue(s.w.ctx, lapse.Grant{Subject: strings.Clone(subject(i / shared))})
		return err
	})
}

// inMemory weighs lapse in memory, then a map of pointers to the same records.
func (s *spaces) inMemory(ctx context.Context) error {
	s.w.say("weighing lapse in memory")
	var store *memory.Store
	f, err := s.weigh(func() (any, error) {
		store = memory.New()
		return store, s.fill(store, 2, 1)
	})
	if err != nil {
		return err
	}
	s.foot["memory"] = f
	before := inUse()
	records := make(map[storage.ID]*storage.Record, s.size)
	for rec, err := range store.List(ctx, storage.Filter{}) {
		if err != nil {
			return err
		}
		rec.Subject, rec.Prefix = strings.Clone(rec.Subject), "lapse"
		records[rec.ID] = &rec
	}
	s.foot["pointer-map"] = footprint{bytes: inUse().since(before) / float64(s.size)}
	err = store.Close()
	store = nil
	runtime.GC()
	s.foot["pointer-map"] = footprint{s.foot["pointer-map"].bytes, collections(s.w.plan.collects)}
	runtime.KeepAlive(records)
	return err
}

// crowded weighs lapse in memory where ten tokens share a subject.
func (s *spaces) crowded(context.Context) (err error) {
	s.w.say("weighing lapse in memory, ten tokens a subject")
	store := memory.New()
	s.foot["memory-crowded"], err = s.weigh(func() (any, error) { return store, s.fill(store, 2, 10) })
	return err
}

// scs weighs sessions of scs in memory.
func (s *spaces) scs(context.Context) (err error) {
	s.w.say("weighing scs in memory")
	s.foot["scs-memory"], err = s.weigh(func() (any, error) { return fillSCS(s.size, nil) })
	return err
}

// onBolt fills a file, looks at its size, times opening it, and weighs what is open.
func (s *spaces) onBolt(context.Context) error {
	s.w.say("weighing lapse on bolt")
	path := s.w.file("space.db")
	store, err := bolt.Open(path, nil)
	if err != nil {
		return err
	}
	if err := s.fill(store, s.w.plan.builders, 1); err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	if err := s.onDisk(path); err != nil {
		return err
	}
	if err := s.open(path); err != nil {
		return err
	}
	store = nil // otherwise its memory would be in the figure of the store that is opened again
	s.foot["bolt"], err = s.weigh(func() (any, error) {
		store, err = bolt.Open(path, nil)
		return store, err
	})
	if err != nil {
		return err
	}
	return store.Close()
}
