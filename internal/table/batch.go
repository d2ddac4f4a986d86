package table

// batchLen is how many records are put while somebody who wants to know of a subject
// waits.
const batchLen = 16

// putAll is Put for many, and Delete. Where each of them goes lies anywhere in memory. It looks there
// first, for one after the other, and so the processor waits for many at once; then it
// puts them.
func (t *Table) putAll(writes []*Write) {
	if len(writes) == 1 && writes[0].barrier == nil {
		t.Put(&writes[0].Record, writes[0].seen)
		return
	}
	var places [batchLen]place
	for n := 0; len(writes) > 0; writes = writes[n:] {
		n = min(len(writes), batchLen)
		for i, w := range writes[:n] {
			places[i] = t.place(&w.Record)
		}
		t.mu.Lock()
		t.lookAt(places[:n])
		for i, w := range writes[:n] {
			if w.Deletes {
				t.delete(places[i].id)
			} else {
				t.put(places[i], &w.Record, w.seen)
			}
			w.barrier.reveal()
		}
		t.mu.Unlock()
	}
}

// lookAt looks at the first thing that there is at each of the places, and then at what
// that leads to.
func (t *Table) lookAt(places []place) {
	var cells [2 * batchLen]uint32
	for i := range places {
		cells[2*i], cells[2*i+1] = t.glimpse(places[i].id), t.subjects.glimpse(places[i].subject)
	}
	for _, slot := range cells[:2*len(places)] {
		if slot != 0 {
			t.slabs.cell(slot).load(wMeta)
		}
	}
}

// glimpse returns the cell that the record of k may be in, by the first word there, or 0.
func (t *Table) glimpse(k key) uint32 {
	p := t.ids.shard(k).words.Load()
	if p == nil {
		return 0
	}
	w := (*p)[home(k.tag(), len(*p))]
	if uint32(w>>32) != k.tag() {
		return 0
	}
	return uint32(w)
}

// glimpse returns the first leader of the bucket, if one there may have the hash, or 0.
func (x *subjects) glimpse(hash uint64) uint32 {
	if !x.perhaps(hash) {
		return 0
	}
	first, _ := x.bucket(x.bucketOf(hash))
	return *first
}
