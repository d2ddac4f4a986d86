package bolt

import "sync"

// merging is one half of the journal on its way into the tree. The committer has handed
// it on, and does it itself if it cannot wait.
type merging struct {
	run  func() error
	once sync.Once
	done chan struct{} // closed when err is set
	err  error
}

func newMerging(run func() error) *merging { return &merging{run: run, done: make(chan struct{})} }

// do returns when the merge is done, by the caller or somebody else.
func (m *merging) do() error {
	m.once.Do(func() {
		defer close(m.done)
		m.err = m.run()
	})
	return m.err
}

// room makes room in the journal for a frame of n bytes: in the half that is being filled,
// or in the other one.
func (l *log) room(n int) error {
	if l.merging != nil {
		select {
		case <-l.merging.done:
			if err := l.endMerge(); err != nil && l.uncertain() {
				return err
			}
		default:
		}
	}
	if l.journal.fits(n) {
		return nil
	}
	if err := l.endMerge(); err != nil {
		return err
	}
	half := l.journal.half
	if due := dueHalf(l.size); due >= 2*half || inBlocks(n) > half {
		err := l.resize(max(due, inBlocks(n)))
		if err != nil && (l.uncertain() || inBlocks(n) > half) {
			return err
		}
	}
	if !l.journal.fits(n) { // and all that is in the other half is merged
		l.turn()
	}
	return nil
}

// dueHalf returns how long the halves of the journal should be in a file of that size:
// the longer they are, the less is written twice.
func dueHalf(size int64) int {
	half := leastHalf
	for half < mostHalf && int64(2*half*halfShare) <= size {
		half *= 2
	}
	return half
}

// turn has the frames to come written to the other half, of which nothing is needed any
// more, and begins to merge what is in this one.
func (l *log) turn() {
	full, j, t := l.journal.in, l.journal, &l.tree
	l.journal.begin(1 - full)
	l.merging = newMerging(func() error { return t.mergeHalves(&j, full) })
	l.handOn(l.merging)
}

// handOn lets somebody else do m.
func (l *log) handOn(m *merging) {
	select {
	case <-l.merges: // which is done
	default:
	}
	select {
	case l.merges <- m:
	default:
	}
}

// mergeHalves merges what j has in halves, up to its last frame.
func (t *tree) mergeHalves(j *journal, halves ...int) error {
	frames, err := j.after(t.seq, halves...)
	if err != nil {
		return err
	}
	if n := len(frames); t.seq+uint64(n) != j.seq {
		return errGap
	}
	return t.merge(frames)
}

// endMerge waits for the merge that is under way, if there is one. Where it has failed
// it will be tried again, by the next call.
func (l *log) endMerge() error {
	m := l.merging
	if m == nil {
		return nil
	}
	err := m.do()
	l.merging = nil
	if l.heed(); err != nil && !l.unsure {
		l.merging = newMerging(m.run)
	}
	return err
}

// heed takes from the tree what those who write go by.
func (l *log) heed() {
	t := &l.tree
	l.least = t.size
	if t.lost || t.broken {
		l.unsure, l.cause = true, t.cause
	}
}

// mergeAll merges everything.
func (l *log) mergeAll() error {
	if l.uncertain() {
		return refusal(l.cause)
	}
	if err := l.endMerge(); err != nil {
		return err
	}
	if l.journal.seq == l.tree.seq {
		return nil
	}
	l.turn()
	return l.endMerge()
}

// resize makes the halves of the journal as long as given, and everything is merged then.
func (l *log) resize(half int) error {
	if err := l.mergeAll(); err != nil {
		return err
	}
	t := &l.tree
	err := t.update(func(w *writer) error { return putJournal(w.tx, half) })
	if err == nil {
		err = t.mirror()
	}
	if err == nil {
		if err = l.findJournal(); err != nil { // and where it was is no place for frames any more
			t.lost, t.cause = true, err
		}
	}
	l.heed()
	return err
}
