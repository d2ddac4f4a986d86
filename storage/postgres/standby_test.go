package postgres

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/near"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

// replicated starts a primary with tables, an asynchronous standby of it, and a proxy that leads to the primary.
func replicated(t *testing.T) (primary, standby *pgtest.Server, p *pgtest.Proxy) {
	t.Helper()
	primary = started(t, pgtest.Options{})
	standby, err := primary.Standby(t.Context(), filepath.Join(t.TempDir(), "standby"), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.Stop("immediate") })
	if p, err = pgtest.StartProxy(primary.DSN()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return primary, standby, p
}

// eventually waits until done.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 30 seconds: ", what)
		}
	}
}

// says reports whether a query of one boolean is answered by true.
func says(t *testing.T, dsn, sql string) func() bool {
	pool := poolOf(t, dsn)
	return func() (yes bool) {
		if err := pool.QueryRow(t.Context(), sql).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}
}

// cutOff has the standby receive nothing any more.
func cutOff(t *testing.T, primary, standby *pgtest.Server) {
	t.Helper()
	for _, sql := range []string{"ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()"} {
		if _, err := poolOf(t, standby.DSN()).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the standby receives nothing", says(t, primary.DSN(), "SELECT NOT EXISTS (SELECT FROM pg_stat_replication)"))
}

// failOver kills the primary and promotes the standby.
func failOver(t *testing.T, primary, standby *pgtest.Server, p *pgtest.Proxy) {
	t.Helper()
	if err := errors.Join(primary.Kill(), standby.Promote(t.Context()), p.Lead(standby.DSN())); err != nil {
		t.Fatal(err)
	}
}

// TestPromotionOfSynchronousStandby kills the primary amid commits, which the standby has not received, and
// promotes the standby. What was acknowledged is there, what was ended stays dead, and the same stores go on at the new primary: one finds
// it behind an address that has moved, and one with copies among several hosts.
func TestPromotionOfSynchronousStandby(t *testing.T) {
	primary, standby, p := replicated(t)
	if err := errors.Join(primary.Configure("synchronous_standby_names = 'standby'"), primary.Reload(t.Context())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the standby is synchronous", says(t, primary.DSN(), "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"))
	hosts := fmt.Sprintf("postgres://lapse@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write", primary.Port, standby.Port)
	copies, err := near.New(t.Context(), openedAt(t, hosts, nil), near.Options{})
	if err != nil {
		t.Fatal(err)
	}
	moved, among := manager(t, openedAt(t, p.DSN(), nil)), manager(t, copies)
	l, stop := startLedger(t, moved, among)
	l.goOn(t, 200)
	cutOff(t, primary, standby)
	eventually(t, "every caller waits for the standby", says(t, primary.DSN(), "SELECT count(*) >= 8 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
	failOver(t, primary, standby, p)
	l.goOn(t, 200)
	stop()
	for _, m := range []*lapse.Manager{moved, among} {
		if issued, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"}); err != nil {
			t.Error(err)
		} else {
			l.known[issued.ID], l.live[issued.Bearer] = true, issued.ID
		}
	}
	l.judge(t, moved)
}

// TestPromotionOfAsynchronousStandby shows what such a promotion loses: an acknowledged issue and an
// acknowledged end that the standby had not received. Before it the standby is not read, and after it copies
// at hand are dropped.
func TestPromotionOfAsynchronousStandby(t *testing.T) {
	primary, standby, p := replicated(t)
	s := openedAt(t, p.DSN(), nil)
	copies, err := near.New(t.Context(), s, near.Options{Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	m := manager(t, copies)
	issue := func() lapse.Issued {
		issued, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		return issued
	}
	early := issue()
	eventually(t, "the standby has it", says(t, primary.DSN(), "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication"))
	cutOff(t, primary, standby)
	late := issue()
	if _, err := m.Expire(t.Context(), early.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Authenticate(t.Context(), late.Bearer); err != nil {
		t.Fatal(err)
	}
	if _, ok := copies.Cached(late.ID); !ok {
		t.Error("there is no copy of a token that was used")
	}
	notRead(t, s, p, standby, late.ID)
	failOver(t, primary, standby, p)
	eventually(t, "a token that the standby lacks is unknown", func() bool {
		_, err := m.Authenticate(t.Context(), late.Bearer)
		return errors.Is(err, lapse.ErrUnknown)
	})
	if _, ok := copies.Cached(late.ID); ok {
		t.Error("a copy has outlived the promotion")
	}
	if _, err := m.Authenticate(t.Context(), early.Bearer); err != nil {
		t.Errorf("a token whose end the standby lacks: %v; want it to live, as the documents say", err)
	}
}

// notRead fails the test unless a store whose address comes to lead to a standby reads nothing there: a
// standby may lack a token that is good.
func notRead(t *testing.T, s *Store, p *pgtest.Proxy, standby *pgtest.Server, good storage.ID) {
	t.Helper()
	if err := p.Lead(standby.DSN()); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := s.Get(t.Context(), good); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Get at a standby that lacks the token: %v; want ErrUnavailable", err)
		}
	}
}

// TestCancelledWaitForStandby cancels the wait of a commit for a standby, which is absent. A standby that
// is promoted would lack the write, so the outcome is unknown, also where the role wants no warnings. The store goes on.
func TestCancelledWaitForStandby(t *testing.T) {
	s := limited(t, resolving(t, true), "client_min_messages", "error")
	s.patience.resolve = 300 * time.Millisecond
	n := byte(1)
	for _, how := range []string{"pg_cancel_backend", "pg_terminate_backend"} {
		for what, write := range map[string]func(storage.Record) func(storage.Tx) error{
			"issue": issues,
			"edit":  func(r storage.Record) func(storage.Tx) error { r.ID = numbered(1).ID; return puts(r) },
		} {
			t.Run(how+"/"+what, func(t *testing.T) {
				t.Cleanup(func() { waitFor(t, "") })
				waitFor(t, "absent")
				var err error
				var r storage.Record
				for cancelled := false; !cancelled; { // the server begins to wait a little after it has the setting
					n++
					r = numbered(n)
					r.Name = fmt.Sprint(how, n)
					cancelled, err = s.cancelWhileWaiting(t, how, write(r))
					if errors.Is(err, errNeverWritten) { // the pool had a connection that was cancelled late, and a fence waited
						cancelled = false
						if rec, err := s.Get(t.Context(), r.ID); err == nil && rec.Name == r.Name && rec.EndedAt.IsZero() {
							t.Errorf("%s was written, and Update said that it never will be", r.Name)
						}
					}
				}
				if !errors.Is(err, storage.ErrOutcomeUnknown) {
					t.Errorf("Update = %v, want ErrOutcomeUnknown", err)
				}
				if text := whole(t, s); !strings.Contains(text, r.Name) {
					t.Errorf("there is %s; want %s in it", text, r.Name)
				}
				waitFor(t, "")
				if err := s.Update(t.Context(), "ana", puts(numbered(1))); err != nil {
					t.Errorf("Update afterwards: %v", err)
				}
			})
		}
	}
}

// cancelWhileWaiting updates with fn, and calls the server's function how for each commit that waits for a
// standby. It reports whether there was one, and returns the error of Update.
func (s *Store) cancelWhileWaiting(t *testing.T, how string, fn func(storage.Tx) error) (cancelled bool, err error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Update(t.Context(), "ana", fn) }()
	for {
		tag, err := adminPool(t).Exec(t.Context(), "SELECT "+how+"(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		if err != nil {
			t.Fatal(err)
		}
		cancelled = cancelled || tag.RowsAffected() > 0
		select {
		case err := <-done:
			return cancelled, err
		default:
		}
	}
}

// waitFor sets for which standby all commits of the server wait; "" means none.
func waitFor(t *testing.T, standby string) {
	t.Helper()
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + standby + "'", "SELECT pg_reload_conf()"} {
		if _, err := adminPool(t).Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
}
