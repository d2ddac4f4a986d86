// Package bolt keeps tokens in one file of go.etcd.io/bbolt: the default of programs that
// run on one machine. One process has the file open at a time. A table in its memory answers
// every read. An Update that returned nil is on the disk; a Touch is there within
// Options.FlushEvery.
//
// The file is an ordinary bbolt file, changed only through bbolt. The first groups of writes after
// Open go into the file at once. Then the store makes a log beside the file, under the name of the
// file and "-lapse". The log makes writes fast: a group of writes usually becomes durable by one
// durable write to the log, and a checkpoint merges the groups into the file from time to time. Close
// merges the last groups and removes the log. A store that can make no log, or must not by
// Options.NoLog, goes on writing into the file. So the file alone is the whole store while no
// process has it open; after a crash, file and log belong together.
//
// # Damage
//
// Every record carries a checksum that is bound to its ID. Open reads the whole file and compares
// all records with a sum that the last transaction wrote. A damaged record is denied with
// ErrCorrupt, and all other records go on working, if the rest of the file is as it was written
// last. Open cannot tell that where an ID is damaged, or where both checksums and other bytes are
// damaged, of one record or of several: the file looks as if a page were older than the others.
// Then Open refuses the file with ErrCorrupt, and Options.Repair opens it. Other damage, as of a
// page or of the log, refuses the file, too; docs/operating.md says for each error what
// Options.Repair does.
//
// The file holds no index: Open builds all of them.
//
// # When writing fails
//
// Where the disk is full, read-only or gone, writes fail with ErrUnavailable and reads go on.
// Writing goes on as soon as the cause is gone. Where the disk does not say whether a write
// reached it, the error is ErrOutcomeUnknown. Then this process treats the ends, the deletions
// and the replaced secrets of the write as done, and writes them before it writes anything else.
package bolt

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/turn"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/feed"
)

var (
	_ storage.Store   = (*Store)(nil)
	_ storage.Watcher = (*Store)(nil)
	_ storage.Marker  = (*Store)(nil)
)

// Options says how to open a file. The zero Options are usable.
type Options struct {
	// LockTimeout is how long Open waits for another process to close the file; 0 means half
	// a second. Negative: an error.
	LockTimeout time.Duration

	// FlushEvery is the pause before the store writes the Touches that it has deferred, all
	// together: a crash loses the renewals by use of about that time. 0 means a second; with
	// FlushAtOnce each Touch is on the disk before it returns. Another negative value, or a
	// positive one under a millisecond: an error.
	FlushEvery time.Duration

	// MaxTokens is the largest number of records that the store holds, including dead ones that
	// were not swept; 0 means 10 million, which take some 2 GB of memory. Negative: an error.
	MaxTokens int

	// ReadOnly opens the file to read it, also on a medium that cannot be written. Open
	// reads the log of a crashed process, too, and leaves both files as they are. Several
	// processes can have the file open with ReadOnly at the same time. Every write fails with
	// ErrReadOnly.
	ReadOnly bool

	// NoLog makes no log: each group of writes goes into the file itself, with two syncs
	// in the place of one. Open merges a log that a crash has left into the file. Set NoLog where
	// the store must be a single file, for example in a folder that is synchronised with other
	// machines.
	NoLog bool

	// Repair opens a file that Open refuses as damaged, if its pages can be read: one meta page
	// is lost, the records are not those that lapse wrote last, or the log is missing, damaged
	// or of another store. Some writes may be missing then; the error of Open without Repair
	// says which. A log that cannot be used stays under another name. For a file without damage
	// Repair does nothing. Stats.Repaired reports whether Open has passed damage.
	Repair bool

	// Progress is told about a hundred times how many of the file's pages Open has read. Open
	// calls it in the goroutine of its caller, and not at all for a file of 4096 pages (16 MB)
	// or less.
	Progress func(done, total int)

	logAtOnce bool // the first group makes the log: for tests
}

// FlushAtOnce is the FlushEvery with which every Touch is on the disk before it returns.
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

// Store is a storage.Store in a file. It is safe for concurrent use. Open makes one; Close
// ends it.
//
// Get, and a Touch that is deferred, take no lock that a writer holds. Updates run one at a
// time. Updates that come while the disk is writing are written together afterwards. A call whose
// context cannot end, and that finds the disk idle, writes in its own goroutine. Three
// goroutines belong to a Store, from Open to Close: the committer writes all other groups, the
// checkpointer merges the log into the tree, and the flusher writes the deferred Touches. A
// read-only Store has no goroutine. A call whose context ends while the disk is writing leaves
// a goroutine behind until the disk has answered.
type Store struct {
	opts    Options
	table   *table.Table            // what reads see: the durable records with the Touches since, with ends of unknown outcome, and without swept records
	reader  table.Reader            // of the table; Close closes it first
	damaged map[storage.ID]struct{} // records that could not be read when the file was opened
	marks   *storage.Marks
	feed    feed.Feed
	closing atomic.Bool // Close has begun
	closed  chan struct{}
	once    sync.Once

	turn    *turn.Turn   // the lock of the fields up to tally; no holder waits for the disk
	stage   *table.Stage // writes that are not finished; the table shows some of them already
	next    *group       // the group that gathers ops
	writing *group       // the group that is being written; nil: none
	busy    bool         // a goroutine writes groups, until no op has gathered
	spare   *group       // for the place of next when a caller writes next; nil while a caller writes
	owed    []storage.ID // records that the next group writes first, as the table shows them
	shut    bool         // no op may be enqueued any more
	cause   error        // why the last group could not be written, or nil
	tally   struct{ commits, writes, failed int }

	repaired bool // Options.Repair has passed damage

	disk func(write func() error) error // calls write; tests replace it by a disk that fails

	revealing  sync.Mutex // guards Stage.Reveal, together with journal.add
	file       *os.File   // of a read-only store
	tree       *tree.Tree // nil: the store is read-only
	journal    journal
	committing sync.WaitGroup
	running    sync.WaitGroup // the flusher and the checkpointer
	copying    *turn.Turn     // held by a Backup or a Compact

	flushing  *turn.Turn   // held by a flush
	unflushed atomic.Int64 // renewals that a flush has taken from the table and that are not written yet
	timerRuns atomic.Bool  // the flusher's timer runs

	work  chan struct{} // there may be something to write
	alarm chan struct{} // there may be something to flush
	full  chan struct{} // the log wants a checkpoint
	quit  chan struct{} // closed when there will be no more work
}

// Format writes the name of the type and nothing of what it holds.
func (s *Store) Format(f fmt.State, _ rune) { fmt.Fprint(f, "bolt.Store") }

// acquire waits for t. After a nil error the caller holds t and may write. The errors are
// ErrClosed, that of ctx, and errReadOnlyOption.
func (s *Store) acquire(ctx context.Context, t *turn.Turn) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	if !t.TakeUnless(ctx, s.closed) {
		return cmp.Or(ctx.Err(), storage.ErrClosed)
	}
	err := s.ready(ctx)
	if err != nil {
		t.Give()
	}
	return err
}

// writable returns the error with which a call that writes cannot begin now, or nil.
func (s *Store) writable(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if s.tree == nil {
		return errReadOnlyOption
	}
	return nil
}

// ready returns the error with which a call cannot begin now, or nil.
func (s *Store) ready(ctx context.Context) error {
	if s.closing.Load() {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// wake sends to c unless a value waits in c already. The receiver looks for all work at once,
// so one value is enough.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
