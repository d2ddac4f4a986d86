package bolt

import (
	"fmt"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/turn"
	"github.com/seed-55daa01a/lapse/storage"
)

// Open opens the store in the file at path. If there is no file, Open makes one, of 40 KB and
// with mode 0600 under every umask. Open follows a link, also one that leads to nothing yet. nil
// opts are the zero Options. Open reads the whole file before it trusts the file, every record
// into memory, and the log of a process that crashed.
//
// One process has a file open, and opens it once: share the Store. Only stores with
// Options.ReadOnly may have a file open at the same time. Programs that must share tokens ask one
// process that has the store.
//
// ErrLocked: the file is still open elsewhere after LockTimeout. ErrCorrupt: the file is empty,
// damaged, or misses writes; the error says whether Options.Repair opens the file. ErrNotStore,
// ErrNewerSchema, ErrTooMany: see there. ErrUnavailable: the operating system refused; its error
// is wrapped too. In all these cases file and log are as they were. There is one exception: after
// ErrUnavailable a file that Open repairs, or converts from an earlier version, may be repaired or
// converted already.
func Open(path string, opts *Options) (*Store, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	r, err := recovery.Open(path, recovery.Options{
		LockTimeout: o.LockTimeout, MaxTokens: o.MaxTokens, ReadOnly: o.ReadOnly, NoLog: o.NoLog, Repair: o.Repair, Progress: o.Progress,
	})
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, fault.NotBegun(err))
	}
	s := newStore(o, r)
	if s.tree != nil {
		s.committing.Go(s.commitLoop)
		s.running.Go(s.flushLoop)
		s.running.Go(s.checkpointLoop)
	}
	return s, nil
}

func newStore(o Options, r *recovery.Recovered) *Store {
	s := &Store{
		opts: o, table: r.Table, damaged: r.Damaged, file: r.File, closed: make(chan struct{}),
		turn: turn.New(), stage: table.NewStage(r.Table), next: newGroup(), spare: newGroup(), copying: turn.New(), flushing: turn.New(), tree: r.Tree,
		work: make(chan struct{}, 1), alarm: make(chan struct{}, 1), full: make(chan struct{}, 1), quit: make(chan struct{}),
		disk: func(write func() error) error { return write() }, repaired: r.Repaired,
		journal: journal{log: r.Log, known: r.Mark, dirty: r.Dirty, number: r.Last},
	}
	s.reader.Open(r.Table)
	s.stage.Damaged = s.isDamaged
	var due func()
	if s.tree != nil {
		due = func() { wake(s.alarm) }
	}
	s.marks = storage.NewMarks(r.Believable(), due)
	return s
}
