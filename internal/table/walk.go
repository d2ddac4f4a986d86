package table

// subjectWalk is a walk through the lists of a subject: the main list, the expired records, the
// ended ones. It can pause at a record that it has visited and that has stayed in its list.
type subjectWalk struct {
	table   *Table
	hash    uint64
	subject string

	pausedAt uint32 // the last visited record that stayed in its list, 0 at the beginning
	list     uint64 // the flag of the list that pausedAt is in
	leader   uint32 // valid while the lock is held
	returns  uint64 // when it began
}

// outcome says what happens to a record that was visited.
type outcome int

const (
	stays  outcome = iota
	leaves         // the record has left its list
	stop           // the walk is over
)

// step visits at most budget records and reports whether the walk is over. If it returns valid as
// false, the walk must start again: the record at which it had paused has left its list, or some
// record has moved back to a main list. visit is called with the table locked. It may take the
// record that it visits out of its list, but no other record.
func (w *subjectWalk) step(budget int, visit func(list uint64, ref uint32, c *cell) outcome) (over, valid bool) {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	return w.stepLocked(budget, visit)
}

// stepLocked is step for a caller that has locked the table.
func (w *subjectWalk) stepLocked(budget int, visit func(list uint64, ref uint32, c *cell) outcome) (over, valid bool) {
	x := &w.table.subjects
	if w.leader = x.leader(w.hash, w.subject, &w.table.texts); w.leader == 0 {
		return true, true
	}
	ref, list, ok := w.resume(x)
	if !ok {
		w.pausedAt = 0
		return false, false
	}
	for ; ; budget-- {
		for ref == 0 {
			switch list {
			case 0:
				ref, list = x.dead[w.leader].expired, inExpired
			case inExpired:
				ref, list = x.dead[w.leader].ended, inEnded
			default:
				return true, true
			}
		}
		if budget == 0 {
			return false, true
		}
		c := x.slabs.cell(ref)
		next := c.subjectLink.next
		switch visit(list, ref, c) {
		case stays:
			w.pausedAt, w.list = ref, list
		case stop:
			return true, true
		}
		ref = next
	}
}

// resume returns the record to visit next and the list that it is in. ok is false if the walk must
// start again.
func (w *subjectWalk) resume(x *subjectIndex) (ref uint32, list uint64, ok bool) {
	if w.pausedAt == 0 {
		w.returns = x.restored
		return w.leader, 0, true
	}
	c := x.slabs.cell(w.pausedAt)
	if w.returns != x.restored || c.load(wMeta)&(occupied|inDead) != occupied|w.list || !x.matches(w.pausedAt, w.hash, w.subject, &w.table.texts) {
		return 0, 0, false
	}
	return c.subjectLink.next, w.list, true
}

const (
	stepSize    = 1024 // records that a walk visits before it releases the lock
	maxRestarts = 3    // restarts of a walk before it keeps the lock to its end
)

// all visits all records in steps and starts again where step demands that. It calls reset before
// each start. After maxRestarts it keeps the lock to the end, so that writers cannot disturb it for
// ever.
func (w *subjectWalk) all(reset func(), visit func(list uint64, ref uint32, c *cell) outcome) {
	for restarts := 0; ; restarts++ {
		budget := stepSize
		if restarts >= maxRestarts {
			budget = -1
		}
		reset()
		over, valid := false, true
		for !over && valid {
			over, valid = w.step(budget, visit)
		}
		if valid {
			return
		}
	}
}
