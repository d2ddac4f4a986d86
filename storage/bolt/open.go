package bolt

import (
	"fmt"
	"os"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/turn"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// Open opens the store in the file at path, or makes a file, of 40 KB and with mode 0600
// whatever the umask. Open follows a link, also one that leads to nothing yet. nil opts are the
// zero Options. Open reads the whole file before it trusts the file, every record into memory,
// and the log of a process that crashed.
//
// One process has a file open, and opens it once: share the Store. Only stores with
// Options.ReadOnly may have a file open at the same time. Programs that must share tokens ask one
// process that has the store.
//
// ErrLocked: the file is open elsewhere, after LockTimeout. ErrCorrupt: the file is empty,
// damaged as a whole, or misses writes; the error says whether Options.Repair opens it.
// ErrNotStore, ErrNewerSchema, ErrTooMany: see there. ErrUnavailable: the operating system
// refused; its error is wrapped too. In all these cases file and log are as they were, except
// that after ErrUnavailable a file that was to be repaired, or brought over from an earlier
// version, may be that already.
func Open(path string, opts *Options) (*Store, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	real, err := localfile.Resolve(path)
	if err == nil && !o.ReadOnly {
		err = ensure(real)
	}
	var l *loaded
	if err == nil {
		l, err = load(real, o)
	}
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, notBegun(err))
	}
	s := newStore(o, l)
	if s.tree != nil {
		s.committing.Go(s.commitLoop)
		s.running.Go(s.flushLoop)
		s.running.Go(s.checkpointLoop)
	}
	return s, nil
}

func newStore(o Options, l *loaded) *Store {
	s := &Store{
		opts: o, table: l.table, damaged: l.damaged, file: l.file, closed: make(chan struct{}),
		turn: turn.New(), stage: table.NewStage(l.table), next: newGroup(), copying: turn.New(), flushing: turn.New(), tree: l.tree,
		work: make(chan struct{}, 1), alarm: make(chan struct{}, 1), full: make(chan struct{}, 1), quit: make(chan struct{}),
		disk: func(write func() error) error { return write() }, repaired: l.repaired,
		journal: journal{log: l.log, known: l.mark, dirty: l.dirty, number: l.last},
	}
	s.reader.Open(l.table)
	s.stage.Damaged = s.isDamaged
	var due func()
	if s.tree != nil {
		due = func() { ring(s.alarm) }
	}
	s.marks = storage.NewMarks(l.believable(), due)
	return s
}

// load opens the file at path, with its lock, reads it and its log, and has bbolt open it unless
// o.ReadOnly is set. After an error everything is closed.
func load(path string, o Options) (*loaded, error) {
	f, err := localfile.OpenLocked(path, o.ReadOnly, o.LockTimeout)
	if err != nil {
		return nil, err
	}
	return loadFile(f, path, o)
}

// loadFile is load for a file that is open, with its lock. Its log is the one of path.
func loadFile(f *os.File, path string, o Options) (*loaded, error) {
	l := &loaded{opts: o, path: path, file: f, tree: newTree(f, path)}
	if err := l.open(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// open reads the file, and has bbolt open it unless the store is read-only. Where only bbolt can
// take the lock, bbolt opens the file first, after readMetas has found the meta pages sound.
func (l *loaded) open() error {
	steps := []func() error{l.read, l.tree.open}
	switch {
	case l.opts.ReadOnly:
		steps, l.tree = steps[:1], nil
	case !localfile.LocksEarly:
		steps = []func() error{l.readMetas, l.tree.open, l.read}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if l.tree == nil {
		return nil
	}
	l.tree.state = l.state
	return l.settle()
}

// close closes log, bbolt and file, and writes nothing.
func (l *loaded) close() {
	if l.log != nil {
		l.log.Close()
	}
	if l.tree != nil {
		l.tree.release()
	}
	l.file.Close() // bbolt may have closed it
}

// settle makes the file ready for use: it brings an old file over, makes a repaired one whole,
// and removes a log that the tree does not need.
func (l *loaded) settle() error {
	switch {
	case l.old, l.repaired, l.logCounts() && l.opts.NoLog:
		if err := l.rewrite(); err != nil {
			return err
		}
	case l.logCounts():
		return nil
	}
	return l.dropLog()
}

// logCounts reports whether there is a log that the tree asks for, or that has what the tree does
// not have.
func (l *loaded) logCounts() bool { return l.log != nil && (l.state.Open || l.last > l.state.Merged) }

// rewrite makes the tree one of today's schema that says what it holds, together with what the
// log had: an old file, or one that Options.Repair has passed.
func (l *loaded) rewrite() error {
	changes, err := l.changes()
	if err != nil {
		return err
	}
	st := &l.tree.state
	st.Sum, st.Open, st.Merged = l.found, false, max(l.last, st.Merged)
	if l.log == nil { // one that turns up later must not join on
		st.Log, st.Merged = log.NewID(), 0
	}
	l.dirty = nil
	return l.tree.write(changes, *st, &l.mark)
}

// changes returns what the log has changed, as it is now, to be written with the mark, which has
// to say so if what was found cannot be believed.
func (l *loaded) changes() ([]wire.Entry, error) {
	l.mark, l.believed = l.believable(), true
	return changesOf(l.table, l.dirty)
}

// dropLog closes and removes the log, if there is one. A log that cannot be used gets another
// name.
func (l *loaded) dropLog() error {
	drop := l.drop
	if l.log, l.drop = nil, nil; drop == nil {
		return nil
	}
	return drop()
}
