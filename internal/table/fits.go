package table

import "github.com/seed-55daa01a/lapse/storage"

// Fits reports whether there surely is no record of id, nor a damaged one, and no more
// than n records of the subject that can be read. It costs less than to Get the one and
// count the others, and says false where it would have to look at many.
func (t *Tx) Fits(id storage.ID, n int) bool {
	s := t.stage
	n -= len(t.writes) + s.created[t.subject].n
	if _, read := t.find(id); read || n < 0 || s.held[id] != nil || s.Damaged != nil && s.Damaged(id) {
		return false
	}
	return s.table.fits(&id, t.subject, n)
}

// fits reports whether there is no record of id and surely no more than n of the
// subject. Either may have to be looked for far away in memory: so it looks where the
// subject's would be before it waits for what there is of id.
func (t *Table) fits(id *storage.ID, subject string, n int) bool {
	k, hash := t.key(id), t.subjectHash(subject)
	t.mu.Lock()
	defer t.mu.Unlock()
	perhaps := t.subjects.perhaps(hash)
	if _, c := t.find(k); c != nil {
		return false
	}
	if !perhaps || n >= t.Len() {
		return true
	}
	slot := t.subjects.leader(hash, subject, &t.texts)
	for n = min(n, stepSize); slot != 0 && n > 0; n-- {
		slot = t.slabs.cell(slot).subject.next
	}
	return slot == 0
}
