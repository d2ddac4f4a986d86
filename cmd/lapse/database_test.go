package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/benbjohnson/clock"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage/postgres"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

// server is the PostgreSQL that TestMain has started, or why there is none.
var server struct {
	*pgtest.Server
	dsn string
	err error
}

// withServer runs f with a PostgreSQL of its own.
func withServer(f func() int) int {
	dir, err := os.MkdirTemp("", "lapse-postgres-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	s, err := pgtest.Start(context.Background(), dir, pgtest.Options{})
	if server.err = err; err == nil {
		server.Server, server.dsn = s, s.DSN()
		defer s.Stop("immediate")
	}
	return f()
}

var schemas atomic.Int64

// inDatabase are tokens in a schema of their own. No program serves a socket.
func inDatabase(t testing.TB) *world {
	if errors.Is(server.err, pgtest.ErrNotInstalled) && os.Getenv("LAPSE_REQUIRE_ALL") != "1" {
		t.Skip(server.err)
	}
	if server.err != nil {
		t.Fatal(server.err)
	}
	pool, err := pgxpool.New(t.Context(), server.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	o := &postgres.Options{Schema: fmt.Sprint("lapse_", schemas.Add(1))}
	if err := postgres.Migrate(t.Context(), pool, o); err != nil {
		t.Fatal(err)
	}
	store, err := postgres.Open(t.Context(), server.dsn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAPSE_DSN", server.dsn)
	w := &world{t: t, clock: clock.NewMock(), args: []string{"--schema", o.Schema}}
	w.clock.Set(start)
	w.open(store)
	return w
}

// TestDatabaseRefuses: what a database cannot do is said with what can.
func TestDatabaseRefuses(t *testing.T) {
	w := inDatabase(t)
	w.lapse("", "compact").wants(t, exitFailed, "VACUUM for compaction")
	w.lapse("", "backup", filepath.Join(t.TempDir(), "copy")).wants(t, exitFailed, "pg_dump for backups")
	w.lapse("", "issue", "ana").wants(t, exitNoProgram, "--socket")
}
