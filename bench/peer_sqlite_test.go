package main

import (
	"errors"
	"testing"
	"time"
)

func sqliteOf(t *testing.T, n int) *sqlitePeer {
	t.Helper()
	s, err := quickWorld(t).sqlite(n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// one returns a number that SQLite answers.
func (s *sqlitePeer) one(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	if err := s.db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// TestSQLiteRenews wants the expiry of a live token raised, and nothing done for any other.
func TestSQLiteRenews(t *testing.T) {
	const n = 20
	s := sqliteOf(t, n)
	if _, err := s.db.ExecContext(t.Context(), "UPDATE tokens SET expires = expires - 1000"); err != nil {
		t.Fatal(err)
	}
	least := time.Now().Add(longLife).UnixMilli()
	for i := range n {
		if err := s.renew(i); err != nil {
			t.Fatalf("token %d: %v", i, err)
		}
	}
	if got := s.one(t, "SELECT count(*) FROM tokens WHERE expires >= ?", least); got != n {
		t.Errorf("%d of %d tokens are renewed", got, n)
	}
	ended, dead, good := timeKey(3), timeKey(4), timeKey(5)
	for _, change := range []struct {
		what string
		id   [16]byte
	}{{"ended = 1", ended}, {"expires = 1", dead}} {
		if _, err := s.db.ExecContext(t.Context(), "UPDATE tokens SET "+change.what+" WHERE id = ?", change.id[:]); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		id     [16]byte
		secret [32]byte
		want   error
	}{
		{"good", good, secretOf(good), nil},
		{"another secret", good, secretOf(ended), errNoSuchToken},
		{"absent", timeKey(n), secretOf(timeKey(n)), errNoSuchToken},
		{"ended", ended, secretOf(ended), errNoSuchToken},
		{"run out", dead, secretOf(dead), errNoSuchToken},
	} {
		if err := s.renewBy(c.id, c.secret); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestSQLiteIssues wants what many callers issue at once in the table.
func TestSQLiteIssues(t *testing.T) {
	const n, callers = 20, 16
	s := sqliteOf(t, n)
	if err := together(callers, 2*callers, s.issue(subject)); err != nil {
		t.Fatal(err)
	}
	got := s.one(t, "SELECT count(*) FROM tokens WHERE length(digest) = 32 AND length(id) = 16 AND scope = ? AND expires > ?", scope, time.Now().UnixMilli())
	if got != n+2*callers {
		t.Errorf("%d tokens are in the table, want %d", got, n+2*callers)
	}
}

// TestSQLiteDurable plants settings under which a commit is not on disk when it returns.
func TestSQLiteDurable(t *testing.T) {
	s := sqliteOf(t, 1)
	if err := s.durable(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ weaken, restore string }{
		{"PRAGMA synchronous = NORMAL", "PRAGMA synchronous = FULL"},
		{"PRAGMA synchronous = OFF", "PRAGMA synchronous = FULL"},
		{"PRAGMA journal_mode = DELETE", "PRAGMA journal_mode = WAL"},
	} {
		for _, p := range []struct {
			pragma string
			good   bool
		}{{c.weaken, false}, {c.restore, true}} {
			if _, err := s.db.ExecContext(t.Context(), p.pragma); err != nil {
				t.Fatal(err)
			}
			if err := s.durable(t.Context()); (err == nil) != p.good {
				t.Errorf("after %s: %v", p.pragma, err)
			}
		}
	}
}
