// Package bolt keeps tokens in one file, on go.etcd.io/bbolt: the default of
// programs that run on one machine. What is acknowledged is on disk. One process
// has the file open at a time.
//
// The file holds records and nothing derived from them: bbolt's lock is exclusive,
// so the indexes live in memory, are rebuilt when the file is opened and cannot
// disagree with it. Every record carries a checksum bound to its key; a damaged
// one is denied as ErrCorrupt and everything else goes on working.
package bolt

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/seed-55daa01a/lapse/internal/index"
	"github.com/seed-55daa01a/lapse/storage"
)

var _ storage.Store = (*Store)(nil)

// Errors of Open that say what the file is instead of a store. The file is left
// as it was, to the byte.
var (
	// ErrNotStore: not a regular file, or a bbolt file that another program
	// made. Name another path.
	ErrNotStore = errors.New("not a lapse store; name another path")

	// ErrNewerSchema: a later version of lapse wrote the file in a way this one
	// does not know. Upgrade lapse.
	ErrNewerSchema = errors.New("written by a newer version of lapse; upgrade this one")
)

// Options says how to open a file. The zero Options are usable.
type Options struct {
	// LockTimeout is how long Open waits for another process to let go of the
	// file; 0 means half a second. Negative: an error.
	LockTimeout time.Duration
}

const defaultLockTimeout = 500 * time.Millisecond

// Store is a storage.Store in a file. It is safe for concurrent use. Open makes
// one; Close ends it.
//
// Every Update that puts something, and every Touch that raises something, is one
// bbolt transaction and on disk before it returns.
type Store struct {
	db     *bbolt.DB
	file   *os.File      // bbolt's own
	broken atomic.Bool   // bbolt has panicked and may hold its locks for ever
	turn   chan struct{} // held by the one writer
	closed chan struct{} // closed when Close begins
	once   sync.Once

	mu    sync.RWMutex // guards index; only the writer changes it
	index index.Index
}

// Open opens the store in the file at path, or makes one, with mode 0600 whatever
// the umask. nil opts are the zero Options. It reads the file twice: as a file,
// before it trusts it, and record by record.
//
// ErrLocked: the file is open elsewhere, after LockTimeout. ErrCorrupt: the file
// is empty, damaged as a whole, or not a bbolt file. ErrNotStore, ErrNewerSchema:
// see there. ErrUnavailable: the operating system refused; its error is wrapped
// too. In all these cases the file is as it was.
func Open(path string, opts *Options) (*Store, error) {
	timeout := defaultLockTimeout
	if opts != nil && opts.LockTimeout != 0 {
		timeout = opts.LockTimeout
	}
	if timeout < 0 {
		return nil, fmt.Errorf("bolt: Options.LockTimeout: %v is negative", timeout)
	}
	if err := ensure(path); err != nil {
		return nil, err
	}
	db, file, err := open(path, timeout)
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	s := &Store{db: db, file: file, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	if err := s.guardEdge(s.load); err != nil {
		s.release()
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	return s, nil
}

// load checks that the file is a store of ours and fills the index. A record that
// is damaged belongs to no subject and is never swept.
func (s *Store) load() error {
	return s.db.View(func(btx *bbolt.Tx) error {
		if err := checkSchema(btx); err != nil {
			return err
		}
		err := btx.Bucket(tokensBucket).ForEach(func(k, v []byte) error {
			if r, err := decode(k, v); err == nil {
				s.index.Load(r)
			}
			return nil
		})
		s.index.Ready()
		return err
	})
}

// Close implements storage.Store. It waits for the calls that are under way; those
// that wait for their turn to write get ErrClosed. Nothing is deferred, so there
// is nothing to flush.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		s.turn <- struct{}{}
		err = classify(s.release())
	})
	return err
}

// release lets go of the file, through bbolt if that can still be asked.
func (s *Store) release() error {
	if s.broken.Load() {
		return errors.Join(unlock(s.file), s.file.Close())
	}
	return s.guardEdge(s.db.Close)
}

// classify gives an error of bbolt the class that the contract has for it.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, storage.ErrCorrupt), errors.Is(err, ErrNotStore):
		return err
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return storage.ErrClosed
	case errors.Is(err, berrors.ErrTimeout):
		return storage.ErrLocked
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}
