package table

// Reserve makes room for n records in the indexes, so that they need not grow step by step while
// the table is filled. The table may hold more records than n, or fewer.
func (t *Table) Reserve(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.ids {
		p := t.ids[i].words.Load()
		if size := wordsFor(n/len(t.ids), 0); p == nil || len(*p) < size {
			t.ids[i].rebuild(size)
		}
	}
	if t.subjects.buckets == 0 {
		t.subjects.buckets, t.subjects.pieces = bucketsPiece, append(t.subjects.pieces, new(piece))
	}
	for t.subjects.buckets < uint32(min(n, 1<<(2*hashBits-1))) {
		t.subjects.split()
	}
}
