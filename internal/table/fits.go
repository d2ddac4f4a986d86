package table

import "github.com/seed-55daa01a/lapse/storage"

// PutIfFits is Put of r if there surely is no record of its ID, nor a damaged one, and no
// more than n records of the subject that can be read. It costs less than to Get the one
// and to count the others. It reports false, and does nothing, where it would have to
// look at many, or where Put would fail. Nothing is kept of r.
func (t *Tx) PutIfFits(r *storage.Record, n int) bool {
	s := t.stage
	n -= len(t.writes) + s.created[t.subject].n
	at, read := t.find(r.ID)
	if read || n < 0 || r.Subject != t.subject || s.held[r.ID] != nil || s.Damaged != nil && s.Damaged(r.ID) {
		return false
	}
	if !s.table.fits(&r.ID, t.subject, n) {
		return false
	}
	t.create(at, r)
	return true
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
