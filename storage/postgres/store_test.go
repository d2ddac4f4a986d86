package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/near"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// server is what TestMain has started: the DSN of a server, or why there is none.
var server struct {
	dsn string
	err error
}

func TestMain(m *testing.M) {
	if config := os.Getenv(workerVariable); config != "" {
		os.Exit(runWorker(config, os.Stdin, os.Stdout))
	}
	os.Exit(withServer(m.Run))
}

// withServer runs f with the server that LAPSE_POSTGRES_DSN names, or with one that it starts.
func withServer(f func() int) int {
	if server.dsn = os.Getenv("LAPSE_POSTGRES_DSN"); server.dsn != "" {
		return f()
	}
	dir, err := os.MkdirTemp("", "lapse-postgres-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	s, err := pgtest.Start(context.Background(), dir, pgtest.Options{})
	if server.err = err; err == nil {
		server.dsn = s.DSN()
		defer s.Stop("immediate")
	}
	return f()
}

// dsn returns the address of the server. Without one the test is skipped, or fails under
// LAPSE_REQUIRE_ALL.
func dsn(tb testing.TB) string {
	tb.Helper()
	switch {
	case server.err == nil:
		return server.dsn
	case errors.Is(server.err, pgtest.ErrNotInstalled) && os.Getenv("LAPSE_REQUIRE_ALL") == "":
		tb.Skip(server.err)
	}
	tb.Fatal(server.err)
	return ""
}

var poolOnce struct {
	sync.Mutex
	pool *pgxpool.Pool
}

// adminPool returns a pool of the tests' own.
func adminPool(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	address := dsn(tb)
	poolOnce.Lock()
	defer poolOnce.Unlock()
	if poolOnce.pool == nil {
		pool, err := pgxpool.New(context.Background(), address)
		if err != nil {
			tb.Fatal(err)
		}
		poolOnce.pool = pool
	}
	return poolOnce.pool
}

// emptied makes the tables of o, or empties those that are there.
func emptied(tb testing.TB, o *Options) {
	tb.Helper()
	ctx, pool := context.Background(), adminPool(tb)
	if err := Migrate(ctx, pool, o); err != nil {
		tb.Fatal(err)
	}
	n := newNames(o.withDefaults().Schema)
	if _, err := pool.Exec(ctx, "TRUNCATE "+n.token+", "+n.subject); err != nil {
		tb.Fatal(err)
	}
}

// opened returns a store on the tables of o.
func opened(tb testing.TB, o *Options) *Store {
	tb.Helper()
	return openedAt(tb, dsn(tb), o)
}

func openedAt(tb testing.TB, dsn string, o *Options) *Store {
	tb.Helper()
	s, err := Open(context.Background(), dsn, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func backend(o *Options) storagetest.Backend {
	return storagetest.Backend{
		Open: func(tb testing.TB) storage.Store {
			emptied(tb, o)
			return opened(tb, o)
		},
		Reopen: func(tb testing.TB, s storage.Store) storage.Store {
			if err := s.Close(); err != nil {
				tb.Fatal(err)
			}
			return opened(tb, o)
		},
		Share: func(tb testing.TB, _ storage.Store) storage.Store { return opened(tb, o) },
	}
}

func TestContract(t *testing.T) {
	dsn(t)
	storagetest.Run(t, backend(&Options{Schema: "contract"}))
}

// TestContractOfCopies runs the contract on stores with copies at hand, in two processes where it needs
// two.
func TestContractOfCopies(t *testing.T) {
	dsn(t)
	b := backend(&Options{Schema: "contract of copies", ProbeEvery: 20 * time.Millisecond})
	open, reopen, share := b.Open, b.Reopen, b.Share
	over := func(tb testing.TB, s storage.Store) storage.Store {
		tb.Helper()
		copies, err := near.New(tb.Context(), s, near.Options{})
		if err != nil {
			tb.Fatal(err)
		}
		return copies
	}
	storagetest.Run(t, storagetest.Backend{
		Open:   func(tb testing.TB) storage.Store { return over(tb, open(tb)) },
		Reopen: func(tb testing.TB, s storage.Store) storage.Store { return over(tb, reopen(tb, s)) },
		Share:  func(tb testing.TB, s storage.Store) storage.Store { return over(tb, share(tb, s)) },
	})
}

func TestContractOfPartitions(t *testing.T) {
	dsn(t)
	storagetest.Run(t, backend(&Options{Schema: "contract partitioned", Partitions: 4}))
}

// poolOf returns a pool to another server than that of most tests.
func poolOf(tb testing.TB, dsn string) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// openedOn returns a store over a pool of that configuration.
func openedOn(t *testing.T, cfg *pgxpool.Config, o *Options) *Store {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s, err := New(t.Context(), pool, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// killBackends ends every other connection of the server.
func killBackends(ctx context.Context, pool *pgxpool.Pool) error {
	for range 5 { // the pool may still have connections of a server that has stopped
		if _, err := pool.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = current_user"); err == nil {
			return nil
		}
	}
	return nil
}
