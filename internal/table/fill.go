package table

import (
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// FillStep is how many places of records Fill looks up before it puts the first of them.
const FillStep = 16

// Fill is Put for each of records, with a zero seen, while other writers wait. It reads the places
// of several records in the indexes first: the processor waits for these reads at the same time,
// and would wait for one after the other in Put. A store of a million tokens opens in 0.85 of the
// time that way (row open/1e6 of bench).
func (t *Table) Fill(records []storage.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var places [FillStep]location
	for len(records) > 0 {
		step := records[:min(FillStep, len(records))]
		for i := range step {
			places[i] = t.locate(&step[i])
			t.readAhead(places[i])
		}
		for i := range step {
			t.put(places[i], &step[i], storage.Use{})
		}
		records = records[len(step):]
	}
}

// readAhead reads what put reads of both indexes, so that it lies in the cache of the processor.
func (t *Table) readAhead(p location) {
	if words := t.ids.shard(p.id).words.Load(); words != nil {
		atomic.LoadUint64(&(*words)[home(p.id.tag(), len(*words))])
	}
	if t.subjects.buckets > 0 {
		first, _ := t.subjects.bucket(t.subjects.bucketOf(p.subject))
		atomic.LoadUint32(first)
	}
}
