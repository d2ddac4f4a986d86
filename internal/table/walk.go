package table

// subjectWalk is a walk through the lists of a subject: the main one, what has run out, what has
// an end. It may pause wherever it has looked at a record that stays where it is.
type subjectWalk struct {
	table   *Table
	hash    uint64
	subject string

	pausedAt uint32 // the last record that it looked at and that stayed, 0 before the first one
	list     uint64 // the flag of the list that it is in
	leader   uint32 // while the lock is held
	returns  uint64 // when it began
}

// outcome is what becomes of a record that was looked at.
type outcome int

const (
	stays  outcome = iota
	leaves         // its list
	stop           // the walk is over
)

// step looks at no more than budget records, and reports whether the walk is over. Unless
// it is valid it has to begin again: the record where it paused has left its list, or
// another one may have come back to a list that the walk is through with. look is called
// with the table locked, and may take the record out of its list but no other one.
func (w *subjectWalk) step(budget int, look func(list uint64, slot uint32, c *cell) outcome) (over, valid bool) {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	return w.stepLocked(budget, look)
}

func (w *subjectWalk) stepLocked(budget int, look func(list uint64, slot uint32, c *cell) outcome) (over, valid bool) {
	x := &w.table.subjects
	if w.leader = x.leader(w.hash, w.subject, &w.table.texts); w.leader == 0 {
		return true, true
	}
	slot, list, ok := w.resume(x)
	if !ok {
		w.pausedAt = 0
		return false, false
	}
	for ; ; budget-- {
		for slot == 0 {
			switch list {
			case 0:
				slot, list = x.dead[w.leader].expired, inExpired
			case inExpired:
				slot, list = x.dead[w.leader].ended, inEnded
			default:
				return true, true
			}
		}
		if budget == 0 {
			return false, true
		}
		c := x.slabs.cell(slot)
		next := c.subjectLink.next
		switch look(list, slot, c) {
		case stays:
			w.pausedAt, w.list = slot, list
		case stop:
			return true, true
		}
		slot = next
	}
}

// resume returns what to look at next, and in which list that is.
func (w *subjectWalk) resume(x *subjectIndex) (slot uint32, list uint64, ok bool) {
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
	stepSize    = 1024 // records that one hold of the lock looks at
	maxRestarts = 3    // restarts of a walk before it is made in one piece
)

// all makes the walk in steps, and begins again where it has to: reset is called before
// each beginning. What keeps coming between gets no chance after a few times.
func (w *subjectWalk) all(reset func(), look func(list uint64, slot uint32, c *cell) outcome) {
	for restarts := 0; ; restarts++ {
		budget := stepSize
		if restarts >= maxRestarts {
			budget = -1
		}
		reset()
		over, valid := false, true
		for !over && valid {
			over, valid = w.step(budget, look)
		}
		if valid {
			return
		}
	}
}
