// Package bolt keeps tokens in one file, on go.etcd.io/bbolt: the default of
// programs that run on one machine. One process has the file open at a time, so a
// table in its memory answers every read, and the file is the log behind it: what
// an Update acknowledged is on disk, and a Touch is there within
// Options.FlushEvery.
//
// The file is one of bbolt, with a journal inside: what is written goes there first, with
// a single sync, and is merged into bbolt's tree later. It holds records and nothing
// derived from them: indexes are rebuilt when it is opened and cannot disagree with it.
// Every record carries a checksum bound to its key; a damaged one is denied as ErrCorrupt
// and everything else goes on working.
//
// # When writing fails
//
// A disk that is read-only or gone, or has been full for a while, makes writes fail with
// ErrUnavailable: nothing was written, reads go on, and so does writing once the cause is
// gone. If the disk fails where nobody can tell whether the write reached it, the error is
// ErrOutcomeUnknown. What the write would have ended or deleted, or whose secret it would
// have replaced at once, then counts as that in this process, and the store looks at its
// file again, and finishes those ends, before it writes again; until then writes are
// ErrUnavailable.
package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/turn"
	"github.com/seed-55daa01a/lapse/storage"
)

var (
	_ storage.Store   = (*Store)(nil)
	_ storage.Watcher = (*Store)(nil)
	_ storage.Marker  = (*Store)(nil)
)

// Options says how to open a file. The zero Options are usable.
type Options struct {
	// LockTimeout is how long Open waits for another process to let go of the
	// file; 0 means half a second. Negative: an error.
	LockTimeout time.Duration

	// FlushEvery is how long a Touch may wait before it is written, together with
	// all others: what a crash can take of the renewals by use. 0 means a second,
	// FlushAtOnce that each is on disk before Touch returns. Negative, or under a
	// millisecond: an error.
	FlushEvery time.Duration

	// MaxTokens is how many records the store holds at most, dead ones that were not
	// swept included; 0 means 10 million, which take some 2 GB of memory. Negative:
	// an error.
	MaxTokens int

	// Repair opens a file of which one of the two meta pages is lost, or as it was some
	// time ago. Nothing that was acknowledged is missing then; but look at the disk. A
	// file in order is opened as ever. Stats tells whether anything was repaired.
	Repair bool

	// Progress is told how far Open has come, as done of total pages of the file,
	// some hundred times in all; a file of less than 16 MB is opened without. It
	// runs in the goroutine of Open.
	Progress func(done, total int)
}

// FlushAtOnce is the FlushEvery that has every Touch on disk before it returns.
const FlushAtOnce time.Duration = -1

const (
	defaultLockTimeout = 500 * time.Millisecond
	defaultFlushEvery  = time.Second
	defaultMaxTokens   = 10_000_000
)

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	switch {
	case opts.LockTimeout < 0:
		return opts, fmt.Errorf("bolt: Options.LockTimeout: %v is negative", opts.LockTimeout)
	case opts.FlushEvery < 0 && opts.FlushEvery != FlushAtOnce:
		return opts, fmt.Errorf("bolt: Options.FlushEvery: %v is negative; FlushAtOnce defers nothing", opts.FlushEvery)
	case opts.FlushEvery > 0 && opts.FlushEvery < time.Millisecond:
		return opts, fmt.Errorf("bolt: Options.FlushEvery: %v is under a millisecond; FlushAtOnce defers nothing", opts.FlushEvery)
	case opts.MaxTokens < 0:
		return opts, fmt.Errorf("bolt: Options.MaxTokens: %d is negative", opts.MaxTokens)
	}
	opts.LockTimeout = cmp.Or(opts.LockTimeout, defaultLockTimeout)
	opts.FlushEvery = cmp.Or(opts.FlushEvery, defaultFlushEvery)
	opts.MaxTokens = cmp.Or(opts.MaxTokens, defaultMaxTokens)
	return opts, nil
}

// Store is a storage.Store in a file. It is safe for concurrent use. Open makes
// one; Close ends it.
//
// Get and Touch wait for nobody. Updates run one at a time, and those that wait are
// written together. Two goroutines belong to a Store, from Open to Close: one
// writes, one flushes what Touch deferred and merges the journal.
type Store struct {
	opts    Options
	table   *table.Table // what is durable, and on top of it what Touch raised
	reader  table.Reader // of it; closed when Close begins
	damaged atomic.Pointer[map[storage.ID]struct{}]
	trouble atomic.Pointer[trouble] // why nothing is written, if so
	closing atomic.Bool             // Close has begun
	closed  chan struct{}           // closed then, too
	once    sync.Once

	turn  *turn.Turn   // held by whoever uses what follows
	log   *log         // also used by the committer, while a group is its
	stage *table.Stage // what is written but not durable
	queue []*group     // waiting to be written, or being written; the oldest first
	tally tally

	writing bool // somebody writes the oldest group
	flushed bool // by Close: nothing is staged any more
	crowded bool // the last group was several callers', or another one was waiting

	ops sync.Pool // of *op, as new

	leftovers []storage.ID // swept out of the table, but not yet deleted

	flushing  chan struct{} // held by whoever flushes
	unflushed atomic.Int64  // how many renewals it has in hand

	marks *storage.Marks

	merges chan *merging // to be done, for who keeps

	copies sync.RWMutex  // held by whoever reads the file to copy it; locked to replace it
	copied chan struct{} // copies may be free

	work  chan struct{} // there may be something in queue
	alarm chan struct{} // there may be something to flush, or to recover from
	timed atomic.Bool   // it is heard, and looked at before long
	quit  chan struct{} // closed when there will be no more work

	keeping, committing sync.WaitGroup
}

// Format writes the name of the type and nothing of what it holds.
func (s *Store) Format(f fmt.State, _ rune) { fmt.Fprint(f, "bolt.Store") }

// Open opens the store in the file at path, or makes one, with mode 0600 whatever
// the umask. nil opts are the zero Options. It reads the whole file before it
// trusts it, and every record into memory.
//
// ErrLocked: the file is open elsewhere, after LockTimeout. ErrCorrupt: the file
// is empty, damaged as a whole, or not a bbolt file. ErrNotStore, ErrNewerSchema,
// ErrTooMany: see there. ErrUnavailable: the operating system refused; its error is
// wrapped too. In all these cases the file is as it was.
func Open(path string, opts *Options) (*Store, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ensure(path); err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(path) // the working directory may change
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w: %w", path, storage.ErrUnavailable, err)
	}
	var in *intake
	l, err := openLog(absolute, o, func() visitor {
		in = newIntake(o)
		return in.visitor()
	})
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	s := &Store{
		opts: o, table: in.table, log: l, stage: table.NewStage(in.table), closed: make(chan struct{}),
		turn: turn.New(), work: make(chan struct{}, 1), alarm: make(chan struct{}, 1), quit: make(chan struct{}),
		copied: make(chan struct{}, 1), merges: l.merges, flushing: make(chan struct{}, 1),
	}
	s.reader.Open(in.table)
	s.stage.Damaged = s.isDamaged
	s.marks = storage.NewMarks(believe(l.marked, l.believed, in.epoch), func() { ring(s.alarm) })
	l.marks = s.marks
	s.setDamaged(in.damaged)
	s.committing.Go(s.commitWaiting)
	s.keeping.Go(s.keep)
	return s, nil
}

// Close implements storage.Store. It waits for the calls that are under way; those
// that wait for their turn to write get ErrClosed. It writes what Touch deferred: an
// error means that some of that, or an end of unknown outcome, may be lost.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.closing.Store(true)
		s.reader.Close()
		close(s.closed)
		s.stage.Feed.Close()
		s.keeping.Wait() // it gives the committer work, too
		s.drain()
		s.turn.Take()
		err = s.recover()
		s.turn.Give()
		if err == nil {
			err = s.flush()
		}
		if err == nil {
			s.lastMark()
			s.turn.Take()
			s.runAlone(func(l *log) (*log, error) { return nil, l.mergeAll() }) // or whoever opens the file does it
		}
		s.turn.Take()
		s.flushed = true
		s.turn.Give()
		s.drain()
		close(s.quit)
		s.committing.Wait()
		if t := s.trouble.Load(); t != nil && err == nil {
			err = t.err
		}
		s.turn.Take()
		err = errors.Join(err, s.log.close())
		s.turn.Give()
	})
	return err
}

// drain waits until all that is staged has been written. Nothing more is.
func (s *Store) drain() {
	for {
		s.turn.Take()
		n := len(s.queue)
		if n == 0 {
			s.turn.Give()
			return
		}
		last := s.queue[n-1]
		s.turn.Give()
		<-last.done
	}
}

// take waits for the turn to write.
func (s *Store) take(ctx context.Context) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	if s.turn.TakeUnless(ctx, s.closed) {
		return s.admitted(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return storage.ErrClosed
}

// admitted gives the turn back if it cannot be used any more.
func (s *Store) admitted(ctx context.Context) error {
	err := s.writable(ctx)
	if err != nil {
		s.turn.Give()
	}
	return err
}

// writable says why a call that writes cannot begin now, if so.
func (s *Store) writable(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if t := s.trouble.Load(); t != nil {
		return t.err
	}
	return nil
}

// ready says why a call cannot begin now, if so.
func (s *Store) ready(ctx context.Context) error {
	if s.closing.Load() {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// ring sends without waiting: whoever listens asks for everything that there is.
func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
