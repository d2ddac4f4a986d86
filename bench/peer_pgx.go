package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage/postgres"
)

// pgPool returns connections to the server of the run, for one side.
func (w *world) pgPool(name string) (*pgxpool.Pool, error) {
	return once(w, "connections for "+name, func() (*pgxpool.Pool, error) {
		dsn, err := w.postgres()
		if err != nil {
			return nil, err
		}
		cfg, err := pgxpool.ParseConfig(dsn)
		if err != nil {
			return nil, err
		}
		cfg.MaxConns = 40
		postgres.Configure(cfg) // the same for all sides
		pool, err := pgxpool.NewWithConfig(w.ctx, cfg)
		if err != nil {
			return nil, err
		}
		w.atRelease(func() error { pool.Close(); return nil })
		return pool, nil
	})
}

// barePG is the bare statements on a table with the fields of a record and an index by subject, which
// a user of the table would need to end all tokens of a subject.
type barePG struct {
	pool *pgxpool.Pool
	live int
	next atomic.Uint64
}

const (
	barePGTable = `CREATE TABLE bare_tokens (id uuid PRIMARY KEY, digest bytea NOT NULL, subject text NOT NULL, scope text NOT NULL,
			issued bigint NOT NULL, used bigint NOT NULL, expires bigint NOT NULL, ended bigint NOT NULL);
		CREATE INDEX ON bare_tokens (subject)`
	barePGSelect = `SELECT digest, subject, scope, issued, used, expires, ended FROM bare_tokens WHERE id = $1`
	barePGInsert = `INSERT INTO bare_tokens VALUES ($1, $2, $3, $4, $5, $6, $7, 0)`
	barePGEnd    = `UPDATE bare_tokens SET ended = $2 WHERE id = $1`
	barePGNotify = `SELECT set_config('synchronous_commit', 'off', true), pg_notify('bare_tokens', $1)`
	barePGRaise  = `UPDATE bare_tokens SET used = $2, expires = greatest(expires, $3) WHERE id = $1`
)

var errNoSuchRow = errors.New("postgres: no such row")

// barePG returns n rows.
func (w *world) barePG(n int) (*barePG, error) {
	return once(w, fmt.Sprintf("bare rows in PostgreSQL, %s", grouped(n)), func() (*barePG, error) {
		pool, err := w.pgPool("bare statements")
		if err != nil {
			return nil, err
		}
		if _, err := pool.Exec(w.ctx, "DROP TABLE IF EXISTS bare_tokens"); err != nil {
			return nil, err
		}
		if _, err := pool.Exec(w.ctx, barePGTable); err != nil {
			return nil, err
		}
		b := &barePG{pool: pool, live: n}
		b.next.Store(uint64(n))
		_, err = pool.CopyFrom(w.ctx, pgx.Identifier{"bare_tokens"},
			[]string{"id", "digest", "subject", "scope", "issued", "used", "expires", "ended"},
			pgx.CopyFromSlice(n, func(i int) ([]any, error) {
				id := timeKey(uint64(i))
				secret := secretOf(id)
				proof := proofOf(id, secret)
				now := time.Now()
				return []any{id, proof[:], subject(i), scope, now.UnixMilli(), now.UnixMilli(), now.Add(longLife).UnixMilli(), int64(0)}, nil
			}))
		if err == nil {
			_, err = pool.Exec(w.ctx, "VACUUM ANALYZE bare_tokens")
		}
		return b, err
	})
}

// read selects a row by its key.
func (b *barePG) read(i int) error {
	var digest []byte
	var subject, scope string
	var issued, used, expires, ended int64
	err := b.pool.QueryRow(context.Background(), barePGSelect, scatteredKey(i, b.live)).Scan(&digest, &subject, &scope, &issued, &used, &expires, &ended)
	if err == nil && subject == "" {
		err = errNoSuchRow
	}
	return err
}

// insert draws a secret and inserts a row.
func (b *barePG) insert(subject func(i int) string) func(i int) error {
	return func(i int) error {
		var secret [32]byte
		if _, err := rand.Read(secret[:]); err != nil {
			return err
		}
		id, now := timeKey(b.next.Add(1)-1), time.Now()
		proof := proofOf(id, secret)
		_, err := b.pool.Exec(context.Background(), barePGInsert, id, proof[:], subject(i), scope, now.UnixMilli(), now.UnixMilli(), now.Add(longLife).UnixMilli())
		return err
	}
}

// listening returns b once a connection hears its notices.
func (w *world) listening(b *barePG) (*barePG, error) {
	return once(w, "a connection that listens", func() (*barePG, error) {
		conn, err := b.pool.Acquire(w.ctx)
		if err != nil {
			return nil, err
		}
		if _, err := conn.Exec(w.ctx, "LISTEN bare_tokens"); err != nil {
			return nil, err
		}
		ctx, stop := context.WithCancel(w.ctx)
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			for {
				if _, err := conn.Conn().WaitForNotification(ctx); err != nil {
					return
				}
			}
		}()
		w.atRelease(func() error { stop(); <-heard; conn.Release(); return nil })
		return b, nil
	})
}

// logOut inserts a row, reads and ends the row, and notifies other processes of the end, in a transaction of
// its own behind that of the end and in the same round trip.
func (b *barePG) logOut(subject func(i int) string) func(i int) error {
	insert := b.insert(subject)
	return func(i int) error {
		if err := insert(i); err != nil {
			return err
		}
		if err := b.read(i); err != nil {
			return err
		}
		key := scatteredKey(i, b.live)
		var end pgx.Batch
		end.Queue("BEGIN")
		end.Queue(barePGEnd, key, time.Now().UnixMilli())
		end.Queue("COMMIT")
		end.Queue(barePGNotify, fmt.Sprintf("%x", key))
		return b.pool.SendBatch(context.Background(), &end).Close()
	}
}

// scsOnPG returns n sessions of scs in PostgreSQL, in the table that its store asks for.
func (w *world) scsOnPG(n int) (*scsPeer, error) {
	return once(w, fmt.Sprintf("scs in PostgreSQL, %s sessions", grouped(n)), func() (*scsPeer, error) {
		pool, err := w.pgPool("scs")
		if err != nil {
			return nil, err
		}
		if _, err := pool.Exec(w.ctx, `DROP TABLE IF EXISTS sessions;
			CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL);
			CREATE INDEX sessions_expiry_idx ON sessions (expiry)`); err != nil {
			return nil, err
		}
		tokens := randomTexts(n)
		_, err = pool.CopyFrom(w.ctx, pgx.Identifier{"sessions"}, []string{"token", "data", "expiry"},
			pgx.CopyFromSlice(n, func(i int) ([]any, error) {
				value, err := gobSession(subject(i), map[string]any{"scope": scope}, longLife)
				return []any{tokens.at(i), value, time.Now().Add(longLife)}, err
			}))
		if err == nil {
			_, err = pool.Exec(w.ctx, "VACUUM ANALYZE sessions")
		}
		return newSCS(pgxstore.NewWithCleanupInterval(pool, 0), tokens), err
	})
}
