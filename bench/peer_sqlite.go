package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", in Go alone
)

// sqlitePeer keeps tokens in a table of SQLite. A commit is in the write-ahead log and
// synced before it returns. The one connection belongs to all callers in turn, and each
// call is a transaction of its own: SQLite has one writer, and a second connection would
// only wait for the first one's lock.
type sqlitePeer struct {
	turn   sync.Mutex // database/sql queues callers too, at a higher price
	db     *sql.DB
	insert *sql.Stmt
	raise  *sql.Stmt
	live   int
	next   atomic.Uint64 // the number of the next new token
}

// The table has the fields of a record. The IDs are in order of time, and a row lies in
// the tree of its key: with a rowid each write would change two trees. There is no index
// by subject, which a user of the table would need to end all tokens of a subject.
const sqliteTable = `CREATE TABLE tokens (
	id BLOB NOT NULL PRIMARY KEY, algorithm INTEGER NOT NULL, digest BLOB NOT NULL,
	prefix TEXT NOT NULL, subject TEXT NOT NULL, name TEXT NOT NULL, scope TEXT NOT NULL, data TEXT NOT NULL,
	issued INTEGER NOT NULL, used INTEGER NOT NULL, expires INTEGER NOT NULL, most INTEGER NOT NULL,
	ttl INTEGER NOT NULL, ended INTEGER NOT NULL, reason INTEGER NOT NULL
) WITHOUT ROWID`

const (
	sqliteInsert = `INSERT INTO tokens VALUES (?, 1, ?, 'lapse', ?, '', ?, '', ?, ?, ?, 0, ?, 0, 0)`
	sqliteRaise  = `UPDATE tokens SET used = ?1, expires = max(expires, ?2) WHERE id = ?3 AND digest = ?4 AND ended = 0 AND expires > ?1`
)

var errNoSuchToken = errors.New("sqlite: no live token has this ID and this secret")

// sqlite returns n tokens in a file of SQLite.
func (w *world) sqlite(n int) (*sqlitePeer, error) {
	return once(w, fmt.Sprintf("SQLite, %s tokens", grouped(n)), func() (*sqlitePeer, error) {
		db, err := sql.Open("sqlite", w.file("sqlite.db"))
		if err != nil {
			return nil, err
		}
		w.atRelease(db.Close)
		db.SetMaxOpenConns(1)
		s := &sqlitePeer{db: db, live: n}
		s.next.Store(uint64(n))
		if err := s.load(w.ctx, n); err != nil {
			return nil, err
		}
		if s.insert, err = db.PrepareContext(w.ctx, sqliteInsert); err != nil {
			return nil, err
		}
		s.raise, err = db.PrepareContext(w.ctx, sqliteRaise)
		return s, err
	})
}

// load makes the table and n tokens, and turns the syncs on afterwards.
func (s *sqlitePeer) load(ctx context.Context, n int) error {
	for _, p := range []string{
		"PRAGMA journal_mode = WAL", "PRAGMA busy_timeout = 5000",
		"PRAGMA cache_size = -524288", // in KiB: the whole file
		"PRAGMA synchronous = OFF", sqliteTable,
	} {
		if _, err := s.db.ExecContext(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	const step = 10_000
	for from := 0; from < n; from += step {
		if err := s.loadSome(ctx, from, min(n, from+step)); err != nil {
			return err
		}
	}
	for _, p := range []string{"PRAGMA synchronous = FULL", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := s.db.ExecContext(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return s.durable(ctx)
}

// loadSome makes tokens in one transaction.
func (s *sqlitePeer) loadSome(ctx context.Context, from, to int) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert, err := tx.PrepareContext(ctx, sqliteInsert)
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		id := timeKey(uint64(i))
		if err := insertToken(insert, id, secretOf(id), subject(i)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// durable returns an error unless commits are synced to a write-ahead log.
func (s *sqlitePeer) durable(ctx context.Context) error {
	var mode string
	var level int
	err := errors.Join(
		s.db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode),
		s.db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level))
	if err == nil && (mode != "wal" || level != 2) {
		err = fmt.Errorf("sqlite: the journal mode is %s and synchronous is %d; want wal and 2, which is FULL", mode, level)
	}
	return err
}

// secretOf returns the secret of a token that load made.
func secretOf(id [16]byte) [32]byte { return sha256.Sum256(id[:]) }

// proofOf returns the digest of a token.
func proofOf(id [16]byte, secret [32]byte) [32]byte {
	return sha256.Sum256(append(append(make([]byte, 0, 48), id[:]...), secret[:]...))
}

func insertToken(insert *sql.Stmt, id [16]byte, secret [32]byte, subject string) error {
	proof, now := proofOf(id, secret), time.Now()
	_, err := insert.Exec(id[:], proof[:], subject, scope,
		now.UnixMilli(), now.UnixMilli(), now.Add(longLife).UnixMilli(), longLife.Milliseconds())
	return err
}

// issue draws a secret and inserts a token.
func (s *sqlitePeer) issue(subject func(i int) string) func(i int) error {
	return func(i int) error {
		var secret [32]byte
		if _, err := rand.Read(secret[:]); err != nil {
			return err
		}
		s.turn.Lock()
		defer s.turn.Unlock()
		return insertToken(s.insert, timeKey(s.next.Add(1)-1), secret, subject(i))
	}
}

// renew raises the expiry of a token that exists, another one for each i.
func (s *sqlitePeer) renew(i int) error {
	id := scatteredKey(i, s.live)
	return s.renewBy(id, secretOf(id))
}

// renewBy raises the expiry of a live token. errNoSuchToken: the ID, the secret or the
// token is no good.
func (s *sqlitePeer) renewBy(id [16]byte, secret [32]byte) error {
	proof, now := proofOf(id, secret), time.Now()
	s.turn.Lock()
	res, err := s.raise.Exec(now.UnixMilli(), now.Add(longLife).UnixMilli(), id[:], proof[:])
	s.turn.Unlock()
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, errNoSuchToken)
	}
	return nil
}
