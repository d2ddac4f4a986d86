package near

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/internal/elapsed"
	"github.com/seed-55daa01a/lapse/storage"
)

var (
	_ storage.Store       = (*Store)(nil)
	_ storage.Cacher      = (*Store)(nil)
	_ storage.Watcher     = (*Store)(nil)
	_ storage.BatchGetter = (*Store)(nil)
	_ storage.Pager       = (*Store)(nil)
	_ storage.IDUpdater   = (*Store)(nil)
	_ storage.MarkSharer  = (*Store)(nil)
	_ storage.Timekeeper  = (*Store)(nil)
)

// Options are settings of a Store. The zero value of each field is usable.
type Options struct {
	// Lease is how long after the last proof of the store a copy may be used: from 100 milliseconds to
	// an hour; 0: five seconds. All processes of a store need the same Lease.
	Lease time.Duration

	// EndsWait has each call that takes something away return Lease later: then every process has seen
	// it. All processes need the same EndsWait, and the store must be one of storage.Settings.
	EndsWait bool

	// MaxTokens is how many copies are kept at most; 0: 100,000. A copy takes about 700 bytes.
	MaxTokens int
}

const (
	minLease     = 100 * time.Millisecond
	maxLease     = time.Hour
	defaultLease = 5 * time.Second
	defaultMax   = 100_000

	// MaxAge is how long a copy is used at most until its record is read again.
	MaxAge = 30 * time.Second
)

// ErrInvalidOptions: an option is out of its limits, another process uses other options, or the store
// lacks what an option needs. The error says which.
var ErrInvalidOptions = errors.New("near: invalid options")

// Store is a storage.Store with copies of records in front of another one. It is safe for concurrent
// use.
type Store struct {
	store storage.Store
	lease time.Duration
	wait  bool
	marks *storage.Marks

	copies copies
	until  atomic.Int64 // copies may be used before this instant of elapsed

	elapsed func() time.Duration                                  // storage.Elapsed
	after   func(d time.Duration) (<-chan time.Time, func() bool) // a timer

	stop    context.CancelFunc
	stopped chan struct{}
	closing sync.Once
}

// New returns a Store over store, which must be a storage.Watcher that proves what it has told, as that
// of storage/postgres is. New waits for the first proof, ten seconds at most. The error is
// ErrInvalidOptions, that of ctx, or one of the store. New starts a goroutine, which Close ends.
func New(ctx context.Context, store storage.Store, o Options) (*Store, error) {
	s := &Store{
		store: store, lease: cmp.Or(o.Lease, defaultLease), wait: o.EndsWait,
		elapsed: storage.Elapsed, after: elapsed.Timer, stopped: make(chan struct{}),
	}
	if s.lease < minLease || s.lease > maxLease {
		return nil, fmt.Errorf("%w: Lease: want %v to %v", ErrInvalidOptions, minLease, maxLease)
	}
	if o.MaxTokens < 0 {
		return nil, fmt.Errorf("%w: MaxTokens: want 0 for %d, or more", ErrInvalidOptions, defaultMax)
	}
	s.copies.init(cmp.Or(o.MaxTokens, defaultMax))
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// start agrees with the other processes on the lease, and begins to listen.
func (s *Store) start(ctx context.Context) error {
	watcher, ok := s.store.(storage.Watcher)
	if !ok {
		return fmt.Errorf("%w: the store is no storage.Watcher: nothing would tell of ends elsewhere", ErrInvalidOptions)
	}
	if err := s.agree(ctx); err != nil {
		return err
	}
	if sharer, ok := s.store.(storage.MarkSharer); ok {
		s.marks = sharer.SharedMarks()
	} else {
		s.marks = storage.NewMarks(storage.Mark{}, nil)
	}
	running, stop := context.WithCancel(context.Background())
	s.stop = stop
	first := make(chan struct{})
	go s.listen(running, watcher, sync.OnceFunc(func() { close(first) }))
	fires, end := s.after(provedWithin)
	defer end()
	select {
	case <-first:
		return nil
	case <-s.stopped:
		s.halt()
		return storage.ErrClosed
	case <-fires:
		s.halt()
		return fmt.Errorf("%w: the store has not proved within %v what it has told (Change.AsOf)", ErrInvalidOptions, provedWithin)
	case <-ctx.Done():
		s.halt()
		return ctx.Err()
	}
}

// provedWithin is how long New waits for the first proof.
const provedWithin = 10 * time.Second

// agree returns an error if another process uses another lease.
func (s *Store) agree(ctx context.Context) error {
	settings, ok := s.store.(storage.Settings)
	if !ok {
		if s.wait {
			return fmt.Errorf("%w: EndsWait: the store is no storage.Settings, so that other processes may have another Lease", ErrInvalidOptions)
		}
		return nil
	}
	mine := s.lease.String()
	if s.wait {
		mine += ", ends wait"
	}
	stored, err := settings.Setting(ctx, "near.lease", mine)
	if err == nil && stored != mine {
		err = fmt.Errorf("%w: Lease, EndsWait: the processes of this store have agreed on %q, and this one wants %q; to change that, stop all of them and delete the setting near.lease of the store",
			ErrInvalidOptions, stored, mine)
	}
	return err
}

// Cached implements storage.Cacher. The order of its steps is what makes a copy safe. The end of the
// lease is read first: all that was told by then has been acted on, so that the copy is as new as that
// proof. The clock is read last: a process that was stopped between the two finds the lease over.
func (s *Store) Cached(id storage.ID) (storage.Record, bool) {
	until := time.Duration(s.until.Load())
	rec, readAt, ok := s.copies.get(id)
	if !ok {
		return storage.Record{}, false
	}
	now := s.elapsed()
	if now >= until || now-readAt >= MaxAge {
		return storage.Record{}, false
	}
	return rec, true
}

// CachedFor implements storage.Cacher.
func (s *Store) CachedFor(store storage.Store) bool { return store == storage.Store(s) }

// Get implements storage.Store. It always asks the store, and keeps a copy of what that answers.
func (s *Store) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	f, readAt, read := s.copies.begin(id), s.elapsed(), false
	var rec storage.Record
	defer func() { s.copies.finish(f, &rec, readAt, read) }() // also where the store panics
	rec, err := s.store.Get(ctx, id)
	read = err == nil && kept(&rec)
	return rec, err
}

// kept reports whether a copy of rec is worth having: a check of a token with a budget writes, and no
// check reads an alias alone.
func kept(rec *storage.Record) bool {
	return rec.MaxUses == 0 && rec.Kind != storage.KindAlias && rec.EndedAt.IsZero()
}

// Touch implements storage.Store.
func (s *Store) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	err := s.store.Touch(ctx, id, use)
	if err == nil {
		s.copies.raise(id, use)
	}
	return err
}

// Update implements storage.Store.
func (s *Store) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.writes(ctx, fn, func(fn func(storage.Tx) error) error { return s.store.Update(ctx, subject, fn) })
}

// UpdateID implements storage.IDUpdater.
func (s *Store) UpdateID(ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
	return s.writes(ctx, fn, func(fn func(storage.Tx) error) error {
		return s.store.(storage.IDUpdater).UpdateID(ctx, id, fn)
	})
}

// UpdateIDFor implements storage.IDUpdater.
func (s *Store) UpdateIDFor(store storage.Store) bool {
	u, ok := s.store.(storage.IDUpdater)
	return ok && u.UpdateIDFor(s.store) && store == storage.Store(s)
}

// writes runs an Update, drops the copies of all that its runs have put or deleted, and waits for the
// lease where it must. If ctx ends meanwhile, the error is storage.ErrOutcomeUnknown: the write is
// done, and other processes may not have seen it yet.
func (s *Store) writes(ctx context.Context, fn func(storage.Tx) error, update func(func(storage.Tx) error) error) error {
	var seen written
	err := update(func(tx storage.Tx) error {
		seen.takes = false
		return fn(seen.wrap(tx))
	})
	for _, id := range seen.ids {
		s.copies.drop(id)
	}
	if !s.wait || !seen.takes || err != nil && !errors.Is(err, storage.ErrOutcomeUnknown) {
		return err
	}
	if waiting := s.waitLease(ctx); waiting != nil && err == nil {
		err = fmt.Errorf("%w: the write is done, and other processes may not have seen it yet: %w", storage.ErrOutcomeUnknown, waiting)
	}
	return err
}

// waitLease returns after Lease, or with the error of ctx. It waits one part in 500 longer: the clocks of
// two machines may run apart by as much.
func (s *Store) waitLease(ctx context.Context) error {
	end := s.elapsed() + s.lease + s.lease/500
	for {
		left := end - s.elapsed()
		if left <= 0 {
			return nil
		}
		fires, stop := s.after(left)
		select {
		case <-fires:
		case <-ctx.Done():
			stop()
			return ctx.Err()
		}
	}
}

// Close implements storage.Store. It stops listening, drops all copies, and closes the store.
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		err = s.store.Close()
		s.halt()
	})
	return err
}

// halt ends the goroutine that listens.
func (s *Store) halt() {
	s.stop()
	<-s.stopped
	s.until.Store(0)
	s.copies.dropAll()
}

// Format writes the name of the type and nothing of the content.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, "near.Store") }
