package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-55daa01a/lapse/storage"
)

// resolve finds out what became of c, whose commit was sent and not answered. It returns nil if c has
// happened, storage.ErrUnavailable if c never will, and storage.ErrOutcomeUnknown if the server cannot
// be asked, if the header was changed so often since that it does not tell, or if other processes cannot
// be told of c. If the server cannot be asked, c stays in doubt.
func (s *Store) resolve(ctx context.Context, c *change) error {
	limited, cancel := context.WithTimeout(ctx, s.patience.resolve)
	defer cancel()
	for {
		err := s.settle(limited, c, true)
		if err == nil && len(c.told) > 0 {
			err = s.notifyAgain(limited, s.notices(c.told))
		}
		if err == nil || errors.Is(err, errNeverWritten) || errors.Is(err, storage.ErrOutcomeUnknown) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-limited.Done():
			s.doubts.add(c)
			return fmt.Errorf("%w: the server cannot be reached", storage.ErrOutcomeUnknown)
		}
	}
}

// errNeverWritten: the connection broke before the write, which was made impossible since.
var errNeverWritten = fmt.Errorf("%w: the connection to the server broke before the write; try again", storage.ErrUnavailable)

// settle asks the server what became of c, and makes sure that c cannot happen later if it has not
// happened. The error is nil if c has happened, errNeverWritten if not, and storage.ErrOutcomeUnknown if
// the header was changed several times since. Any other error says that the server could not be asked.
// With synced, nil says that a synchronous standby has c, too; without synced no standby is waited for.
func (s *Store) settle(ctx context.Context, c *change, synced bool) error {
	conn, free, err := s.apart(ctx)
	if err != nil {
		return err
	}
	defer free()
	if c.put != nil {
		err = s.settleFit(ctx, conn, c)
	} else {
		err = s.settleHeader(ctx, conn, c)
	}
	if err != nil || !synced {
		return err
	}
	return s.follow(ctx, conn, c)
}

// apart returns a new connection, since those of the pool may be lost without a word, and what frees it. Where
// the server takes no more connections, it is one of the pool all the same.
func (s *Store) apart(ctx context.Context) (conn *pgx.Conn, free func(), err error) {
	cfg, err := connConfig(ctx, s.pool)
	if err != nil {
		return nil, nil, err
	}
	cfg.OnNotice = noteWarning
	conn, err = pgx.ConnectConfig(ctx, cfg)
	if code(err) == tooManyConnections {
		pooled, err := s.pool.Acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		return pooled.Conn(), pooled.Release, nil
	}
	if after := s.pool.Config().AfterConnect; err == nil && after != nil {
		if err = after(ctx, conn); err != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}
	return conn, func() { conn.Close(context.WithoutCancel(ctx)) }, err
}

// settleHeader is settle for a change that has read the header. The header gets a rev that no write in
// flight expects, unless the header has changed. Where Sweep has deleted the header since, all that c may
// have changed is dead and gone, and c counts as never made.
func (s *Store) settleHeader(ctx context.Context, conn *pgx.Conn, c *change) error {
	fence, err := newRev()
	if err != nil {
		return err
	}
	err = conn.QueryRow(ctx, s.sql.fence, c.key, fence, c.old).Scan(&fence)
	if err == nil {
		return errNeverWritten
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	var rev, prev int64
	if err := conn.QueryRow(ctx, s.sql.header, c.key).Scan(&rev, &prev); err != nil {
		return err
	}
	switch {
	case rev == c.rev, prev == c.rev:
		return nil
	case prev == c.old: // another write has come where c would have
		return errNeverWritten
	}
	return fmt.Errorf("%w: the subject was changed several times since", storage.ErrOutcomeUnknown)
}

// settleFit is settle for a record that was put unread. A record of that ID with an end takes its
// place, where it has not come. This fence may stand there already, by a settle whose answer was lost.
func (s *Store) settleFit(ctx context.Context, conn *pgx.Conn, c *change) error {
	if _, err := conn.Exec(ctx, s.sql.fenceFit, c.fence...); err != nil {
		return err
	}
	r, err := scanRow(conn.QueryRow(ctx, s.sql.get, uuid(c.put.ID), tagOf(c.put.ID)))
	switch {
	case errors.Is(err, pgx.ErrNoRows): // it has been swept, and so it was dead
		return errNeverWritten
	case err != nil:
		return err
	case r.err == nil && r.rec.EndedAt.Equal(c.put.IssuedAt) && r.rec.EndReason == storage.EndRevoked:
		return errNeverWritten
	}
	return nil
}

// doubts are the changes whose outcome is not known, because the server could not be asked.
type doubts struct {
	count atomic.Int64
	mu    sync.Mutex
	all   []*change
}

// add adds c, unless it takes nothing away, and returns a function that removes it.
func (d *doubts) add(c *change) (remove func()) {
	if len(c.grave) == 0 {
		return func() {}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, c)
	d.count.Add(1)
	return func() { d.remove(c) }
}

func (d *doubts) remove(c *change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.all, c); i >= 0 {
		d.all = slices.Delete(d.all, i, i+1)
		d.count.Add(-1)
	}
}

func (d *doubts) list() []*change {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

// settleDoubts finds out what became of each change in doubt, before anything is read: nothing that such
// a change has taken away may be read as if it were there (S28). It hardly ever has anything to do.
func (s *Store) settleDoubts(ctx context.Context) error {
	if s.doubts.count.Load() == 0 {
		return nil
	}
	for _, c := range s.doubts.list() {
		err := s.settle(ctx, c, false)
		if err != nil && !errors.Is(err, errNeverWritten) && !errors.Is(err, storage.ErrOutcomeUnknown) {
			return fmt.Errorf("%w: the outcome of an earlier write is not known yet", classify(err))
		}
		s.doubts.remove(c) // whatever has happened, it is over, and the tables show it
	}
	return nil
}

// tellLate sends a gap to other processes if they were not told of some change whose outcome was unknown. First
// it settles what is in doubt, since the gap must come behind whatever happens.
func (s *Store) tellLate(ctx context.Context) {
	if !s.untold.Swap(false) {
		return
	}
	err := s.settleDoubts(ctx)
	if err == nil {
		_, err = s.pool.Exec(ctx, notifySQL, s.channel(), fmt.Sprintf("%016x gap", s.self))
	}
	if err != nil {
		s.untold.Store(true) // the next time
	}
}
