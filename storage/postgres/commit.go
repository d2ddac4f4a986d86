package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage"
)

// errUntold: the commit is done, and its notices are not sent. They need a connection of the pool, and so the
// commit gives its own back first.
var errUntold = errors.New("postgres: the notices of a commit are not sent")

// errFull: a record that was put by PutIfFits unread does not fit, or something else is in its way.
var errFull = fmt.Errorf("%w: the record was put unread", errOvertaken)

// commit writes what the run wants, in one statement of its own. The error is errOvertaken or errFull if fn
// is to run again.
func (t *tx) commit() error {
	c, err := t.change()
	if err != nil || c.untouched {
		return err
	}
	conn, err := t.s.pool.Acquire(t.ctx) // nothing is sent yet: a caller may leave
	if err != nil {
		return classify(err)
	}
	return t.send(c, func(ctx context.Context) error {
		defer conn.Release()
		return confirmed(conn.Conn().PgConn(), t.s.commitAlone(ctx, t, c, conn))
	})
}

// send commits c by commit, and waits until that is over or the context of t ends.
func (t *tx) send(c *change, commit func(context.Context) error) error {
	perform := func() error { return t.s.perform(context.WithoutCancel(t.ctx), c, commit) }
	if t.ctx.Done() == nil {
		return t.s.tell(c, perform())
	}
	done := make(chan error, 1)
	go func() { done <- perform() }()
	select {
	case err := <-done:
		return t.s.tell(c, err)
	case <-t.ctx.Done():
	}
	return t.s.leave(t.ctx, c, done)
}

// leave returns the error of an Update whose context has ended while its commit is under way. Until that
// is over, what c ends counts as ended.
func (s *Store) leave(ctx context.Context, c *change, done <-chan error) error {
	select {
	case err := <-done: // both came at once
		return s.tell(c, err)
	default:
	}
	settled := s.doubts.add(c)
	s.calls.Add(1)
	go func() {
		defer s.calls.Done()
		err := <-done
		if !errors.Is(err, storage.ErrOutcomeUnknown) {
			settled()
		}
		_ = s.tell(c, err)
	}()
	for _, told := range c.told {
		s.feed.Tell(told.ID, told.Subject)
	}
	return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, ctx.Err())
}

// tell tells the watches of this process of c, unless nothing has happened, and returns err. It keeps a copy of
// what c has certainly written. If err does not say that other processes were told, tellLate has to do that.
func (s *Store) tell(c *change, err error) error {
	s.copies.keep(c.tag, nil)
	if err == nil {
		s.copies.keep(c.tag, c.copied)
	}
	unknown := errors.Is(err, storage.ErrOutcomeUnknown)
	if unknown && len(c.told) > 0 {
		s.untold.Store(true)
	}
	if err == nil || unknown {
		for _, told := range c.told {
			s.feed.Tell(told.ID, told.Subject)
		}
	}
	return err
}

// perform commits c by commit, tells other processes, and finds out what has become of it.
func (s *Store) perform(ctx context.Context, c *change, commit func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, s.patience.commit)
	defer cancel()
	err := commit(limited)
	switch {
	case err == errUntold:
		return s.notifyAgain(ctx, s.notices(c.told))
	case err == nil, err == errOvertaken, errors.Is(err, errFull), errors.Is(err, storage.ErrOutcomeUnknown):
		return err
	case again(err) && definite(err):
		if c.put != nil {
			return errFull
		}
		return errOvertaken
	case definite(err):
		return classify(err)
	}
	return s.resolve(ctx, c)
}

// commitAlone commits c in one statement, with the notices behind it in the same round trip.
func (s *Store) commitAlone(ctx context.Context, t *tx, c *change, conn *pgxpool.Conn) error {
	if c.put != nil {
		t.before = s.touches.ofTag(t.tag)
		return t.fitted(conn.Query(ctx, c.sql, c.args...))
	}
	payloads := s.notices(c.told)
	if len(payloads) > 0 && conn.Conn().Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		err := s.pipelined(ctx, conn, c, payloads)
		if code(err) == missingStatement { // pgx forgets the others by itself
			conn.Conn().DeallocateAll(ctx)
		}
		return err
	}
	err := headed(conn.QueryRow(ctx, c.sql, c.args...))
	if err == nil && len(payloads) > 0 { // a pooler keeps no prepared statements
		return errUntold
	}
	return err
}

// headed reads the answer to a commit: whether the header was as it was read.
func headed(answer pgx.Row) error {
	var heads, one int64
	if err := answer.Scan(&heads, &one); err != nil {
		return err
	}
	if heads == 0 {
		return errOvertaken
	}
	return nil
}

// fitted reads the answer to a commit that was made unread: nothing if the record was put, and else the
// subject.
func (t *tx) fitted(rows pgx.Rows, err error) error {
	if err != nil {
		return err
	}
	id, now := t.fit.rec.ID, t.fit.now.UnixMilli()
	if err := t.take(rows); err != nil {
		return err
	}
	if !t.read {
		return nil
	}
	if t.rows[id] == nil { // not looked for: if there is one, the insert of the next run fails, and the run after that reads
		t.rows[id] = nil
	}
	t.living, t.now = now, now
	for id := range t.s.touches.ofTag(t.tag) {
		if t.rows[id] == nil { // it may be alive by a renewal that waits
			t.living = math.MaxInt64
		}
	}
	return errFull
}

// pipelined sends the commit, and the notices in a transaction of their own behind it: a notice inside
// the commit would make all committers of the server wait for each other. Both are sent by one system call:
// a process that is killed has sent both or neither, and an error that says that nothing was sent is true of
// both.
func (s *Store) pipelined(ctx context.Context, conn *pgxpool.Conn, c *change, payloads []string) error {
	commit, err := prepared(ctx, conn.Conn(), c.sql, c.args)
	if err != nil {
		return err
	}
	queries := []*preparedQuery{commit}
	for _, payload := range payloads {
		notify, err := prepared(ctx, conn.Conn(), notifySQL, []any{s.channel(), payload})
		if err != nil {
			return err
		}
		queries = append(queries, notify)
	}
	p := conn.Conn().PgConn().StartPipeline(ctx)
	defer p.Close()
	for i, q := range queries {
		p.SendQueryPrepared(q.name, q.build.ParamValues, q.build.ParamFormats, q.build.ResultFormats)
		if i == 0 || i == len(payloads) {
			p.SendPipelineSync()
		}
	}
	if err := p.Flush(); err != nil {
		return err
	}
	var heads int64
	if err := readPipelined(p, func(values [][]byte) { heads = bigint(values[0]) }); err != nil {
		return err
	}
	unsent := readPipelined(p, nil)
	if heads == 0 {
		return errOvertaken
	}
	if unsent != nil {
		return errUntold
	}
	return nil
}

// bigint decodes a bigint in the server's binary form.
func bigint(value []byte) int64 { return int64(binary.BigEndian.Uint64(value)) }

// notifyAgain sends notices of a commit that could not be sent behind it. While the server does not take
// them, other processes may go on by what they had heard before: then the error is
// storage.ErrOutcomeUnknown, although the commit is done.
func (s *Store) notifyAgain(ctx context.Context, payloads []string) error {
	limited, cancel := context.WithTimeout(ctx, s.patience.resolve)
	defer cancel()
	var why error // of the last try that had time to fail
	for n := 0; len(payloads) > 0; n++ {
		_, err := s.pool.Exec(limited, notifySQL, s.channel(), payloads[0])
		if err == nil {
			payloads = payloads[1:]
			continue
		}
		if why == nil || limited.Err() == nil {
			why = err
		}
		if pause(limited, n+1) != nil {
			return fmt.Errorf("%w: it is written, and other processes could not be told of it: %v", storage.ErrOutcomeUnknown, classify(why))
		}
	}
	return nil
}

// preparedQuery is a prepared statement and its encoded arguments.
type preparedQuery struct {
	name  string
	build pgx.ExtendedQueryBuilder
}

// prepared prepares a statement, once for each connection.
func prepared(ctx context.Context, conn *pgx.Conn, sql string, args []any) (*preparedQuery, error) {
	d, err := conn.Prepare(ctx, sql, sql)
	switch {
	case err != nil && definite(err):
		return nil, err
	case err != nil: // which is definite, too, as that of no connection: the commit is not sent
		return nil, &pgconn.ConnectError{}
	}
	q := &preparedQuery{name: d.Name}
	return q, q.build.Build(conn.TypeMap(), d, args)
}

// readPipelined reads the answer to one statement and the Sync behind it.
func readPipelined(p *pgconn.Pipeline, take func(values [][]byte)) error {
	for {
		results, err := p.GetResults()
		if err != nil {
			return err
		}
		switch r := results.(type) {
		case *pgconn.ResultReader:
			for r.NextRow() {
				if take != nil {
					take(r.Values())
				}
			}
			if _, err := r.Close(); err != nil {
				return err
			}
		case *pgconn.PipelineSync, nil:
			return nil
		}
	}
}

// commitLocked commits c in the transaction that has locked the subject.
func (s *Store) commitLocked(ctx context.Context, c *change, pgtx pgx.Tx) error {
	if err := headed(pgtx.QueryRow(ctx, c.sql, c.args...)); err != nil {
		return err
	}
	err := confirmed(pgtx.Conn().PgConn(), pgtx.Commit(ctx))
	if err == nil && len(c.told) > 0 {
		return errUntold
	}
	return err
}
