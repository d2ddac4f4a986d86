package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-55daa01a/lapse/storage"
)

// maxAttempts is how often an Update runs its function. From lockedFrom on it locks the subject first,
// so that no other Update overtakes it.
const (
	maxAttempts = 12
	lockedFrom  = 2
)

// Update implements storage.Store. One statement reads what fn asks for, and one writes. They are of
// different transactions: the write has no effect if another Update of the subject came between, and
// then fn runs again. The first PutIfFits of an Update needs no read.
func (s *Store) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	if err := s.settleDoubts(ctx); err != nil {
		return err
	}
	return s.attempts(ctx, subject, nil, fn)
}

// UpdateID implements storage.IDUpdater: the statement that reads the record of id finds its subject. None
// is needed while the store has the copy of a record that it wrote last.
func (s *Store) UpdateID(ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	if err := s.settleDoubts(ctx); err != nil {
		return err
	}
	if err := s.updateCopy(ctx, id, fn); err != errOvertaken {
		return err
	}
	t := s.newTx(ctx, s.pool, "")
	t.tag = tagBytes(id)
	if err := t.load(s.sql.loadOfID, uuid(id), tagOf(id)); err != nil {
		return err
	}
	r := t.rows[id]
	switch {
	case r == nil:
		return storage.ErrNotFound
	case r.err != nil:
		return r.err
	}
	t.subject, t.key = r.rec.Subject, subjectKey(r.rec.Subject)
	return s.attempts(ctx, t.subject, t, fn)
}

// UpdateIDFor implements storage.IDUpdater.
func (s *Store) UpdateIDFor(store storage.Store) bool { return store == storage.Store(s) }

// attempts runs fn until its writes are committed. The first run is on t, unless that is nil.
func (s *Store) attempts(ctx context.Context, subject string, t *tx, fn func(storage.Tx) error) error {
	fits := t == nil
	var err error
	for n := range maxAttempts {
		if n >= lockedFrom {
			err = s.attemptLocked(ctx, subject, n, fn)
		} else {
			if t == nil {
				t = s.newTx(ctx, s.pool, subject)
				t.mayFit = fits
			}
			err = s.attempt(ctx, t, fn)
		}
		full := errors.Is(err, errFull)
		if !full && !again(err) {
			return err
		}
		if t = t.after(full); t == nil {
			fits = false
		}
	}
	return classify(err)
}

// after returns the run that goes on with what t has read, where its record did not fit: the statement
// that found this has read the subject. Otherwise it returns nil.
func (t *tx) after(full bool) *tx {
	if !full {
		return nil
	}
	next := t.s.newTx(t.ctx, t.on, t.subject)
	next.read, next.head, next.rows, next.living, next.now = t.read, t.head, t.rows, t.living, t.now
	return next
}

// attempt runs fn once on t, and commits its writes.
func (s *Store) attempt(ctx context.Context, t *tx, fn func(storage.Tx) error) error {
	if err := t.run(fn); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.commit()
}

// run runs fn. The error is that of fn, or what kept the run from reading.
func (t *tx) run(fn func(storage.Tx) error) error {
	defer func() { t.done = true }()
	err := fn(t)
	if t.failed != nil && (again(t.failed) || err == nil) {
		return retryable(t.failed)
	}
	return err
}

// attemptLocked is attempt in a transaction that has locked the header of the subject.
func (s *Store) attemptLocked(ctx context.Context, subject string, n int, fn func(storage.Tx) error) error {
	if err := pause(ctx, n-lockedFrom); err != nil {
		return err
	}
	unlock, err := s.locks.lock(ctx, subjectKey(subject))
	if err != nil {
		return err
	}
	defer unlock()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return classify(err)
	}
	pgtx, err := conn.Begin(ctx)
	if err != nil {
		conn.Release()
		return classify(err)
	}
	sent := false
	free := func() { s.rollback(ctx, pgtx); conn.Release() }
	defer func() {
		if !sent {
			free()
		}
	}()
	t, c, err := s.runLocked(ctx, pgtx, subject, fn)
	if err != nil || c.untouched {
		return err
	}
	sent = true
	return t.send(c, func(ctx context.Context) error {
		defer free()
		return s.commitLocked(ctx, c, pgtx)
	})
}

// runLocked locks the header of the subject, runs fn once, and returns the run and what it wants to be written.
func (s *Store) runLocked(ctx context.Context, pgtx pgx.Tx, subject string, fn func(storage.Tx) error) (*tx, *change, error) {
	t := s.newTx(ctx, pgtx, subject)
	t.locked = true
	rev, err := newRev()
	if err != nil {
		return nil, nil, err
	}
	if _, err := pgtx.Exec(ctx, s.sql.makeHeader, t.key, rev, int64(never)); err != nil {
		return nil, nil, retryable(err)
	}
	if _, err := pgtx.Exec(ctx, s.sql.lock, t.key); err != nil {
		return nil, nil, retryable(err)
	}
	if err := t.run(fn); err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	c, err := t.change()
	return t, c, err
}

// rollback ends a transaction that was not committed. If the server does not answer before ctx ends, pgx
// closes the connection, and the server ends the transaction.
func (s *Store) rollback(ctx context.Context, pgtx pgx.Tx) {
	limited, cancel := context.WithTimeout(ctx, s.patience.commit)
	defer cancel()
	pgtx.Rollback(limited)
}

// retryable returns err as it is if the next attempt may not meet it, and as one of package storage
// otherwise.
func retryable(err error) error {
	if again(err) {
		return err
	}
	return classify(err)
}

// pause waits a random time that grows with n, so that those who met do not meet again.
func pause(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	timer := time.NewTimer(rand.N(time.Millisecond << min(n, 9)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// subjectLocks are locks of subjects in this process: of many Updates that were overtaken, one at a time
// takes a connection and waits for the lock in the server.
type subjectLocks struct {
	mu   sync.Mutex
	held map[int64]*subjectLock
}

type subjectLock struct {
	turn  chan struct{}
	users int
}

// lock waits for the lock of key, and returns the function that unlocks it. The error is that of ctx.
func (l *subjectLocks) lock(ctx context.Context, key int64) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[int64]*subjectLock{}
	}
	of := l.held[key]
	if of == nil {
		of = &subjectLock{turn: make(chan struct{}, 1)}
		l.held[key] = of
	}
	of.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if of.users--; of.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case of.turn <- struct{}{}:
		return func() { <-of.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
