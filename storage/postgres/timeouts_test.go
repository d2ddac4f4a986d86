package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// limited returns a store like s whose connections have a setting of the server.
func limited(t *testing.T, s *Store, setting, value string) *Store {
	t.Helper()
	u, err := url.Parse(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery += "&" + setting + "=" + value
	o := s.options
	o.ListenDSN = dsn(t)
	for { // a timeout may be shorter than what Open takes on a busy machine
		s, err := Open(t.Context(), u.String(), &o)
		switch {
		case err == nil:
			t.Cleanup(func() { s.Close() })
			return s
		case !strings.Contains(err.Error(), "timeout"):
			t.Fatal(err)
		}
	}
}

// TestSettingsOfTheServer: the store works where the server, the database or the role has other settings than
// usual, also with a pool that prepares nothing.
func TestSettingsOfTheServer(t *testing.T) {
	free := resolving(t, true)
	for setting, value := range map[string]string{"default_transaction_isolation": "serializable", "bytea_output": "escape"} {
		for _, mode := range []string{"cache_statement", "exec"} {
			s := limited(t, free, setting, value+"&default_query_exec_mode="+mode)
			if r, err := s.Get(t.Context(), numbered(1).ID); err != nil || !r.Equal(numbered(1)) {
				t.Errorf("%s in the mode %s: Get = %v, %v", setting, mode, r, err)
			}
			var level string // an Update that waits for another one would fail in any other
			if err := s.pool.QueryRow(t.Context(), "SHOW transaction_isolation").Scan(&level); err != nil || level != "read committed" {
				t.Errorf("%s in the mode %s: the transactions are %s, %v; want read committed", setting, mode, level, err)
			}
		}
	}
}

// TestRights: where the role or the server lets the store do less than it needs, each error says what to change.
func TestRights(t *testing.T) {
	free := resolving(t, true)
	admin := adminPool(t)
	if _, err := admin.Exec(t.Context(), "DROP OWNED BY reader; DROP ROLE reader"); err != nil && code(err) != "42704" { // undefined_object
		t.Fatal(err)
	}
	if _, err := admin.Exec(t.Context(), "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA resolve TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA resolve TO reader"); err != nil {
		t.Fatal(err)
	}
	roles, err := url.Parse(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	roles.User = url.User("reader")
	for _, row := range []struct {
		name, says string
		s          *Store
	}{
		{"a role that may only read", "grant", openedAt(t, roles.String(), &free.options)},
		{"read-only transactions", "default_transaction_read_only", limited(t, free, "default_transaction_read_only", "on")},
	} {
		for _, verb := range patientVerbs {
			err := verb.do(t.Context(), row.s)
			if writes := verb.name != "get"; writes && (!errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), row.says)) || !writes && err != nil {
				t.Errorf("%s, %s: %v; want ErrUnavailable that says %q", row.name, verb.name, err, row.says)
			}
		}
	}
	err = Migrate(t.Context(), poolOf(t, roles.String()), &Options{Schema: "of the reader"})
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "grant") {
		t.Errorf("Migrate = %v; want ErrUnavailable that says what to grant", err)
	}
	if _, err := admin.Exec(t.Context(), "ALTER ROLE reader CONNECTION LIMIT 0"); err != nil {
		t.Fatal(err)
	}
	if _, err = Open(t.Context(), roles.String(), &free.options); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "max_connections") {
		t.Errorf("Open without a free connection = %v; want ErrUnavailable that says what to raise", err)
	}
}

// locked begins a transaction of another client, which is idle once it has a lock, and returns what ends it.
func locked(t *testing.T, sql string) (end func()) {
	t.Helper()
	hold, err := adminPool(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	return func() { hold.Rollback(context.Background()) }
}

// whole describes all records of s.
func whole(t *testing.T, s *Store) (text string) {
	t.Helper()
	for r, err := range s.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintln(r.ID, r.Name, r.EndReason, r.ExpiresAt)
	}
	return text
}

// patientVerbs are calls on numbered(1), each with the locks that it waits for.
var patientVerbs = []struct {
	name, waits string
	updates     bool // it writes by Update
	do          func(ctx context.Context, s *Store) error
}{
	{"issue", "header tables", true, func(ctx context.Context, s *Store) error { return s.Update(ctx, "ana", issues(numbered(2))) }},
	{"end", "header row tables", true, func(ctx context.Context, s *Store) error { return s.Update(ctx, "ana", puts(revoked(numbered(1)))) }},
	{"end by ID", "header row tables", true, func(ctx context.Context, s *Store) error {
		return s.UpdateID(ctx, numbered(1).ID, puts(revoked(numbered(1))))
	}},
	{"touch at once", "row tables", false, func(ctx context.Context, s *Store) error {
		r := numbered(1)
		return s.Touch(ctx, r.ID, storage.Use{At: r.ExpiresAt.Add(-1), ExpiresAt: r.ExpiresAt.Add(time.Hour)})
	}},
	{"get", "tables", false, func(ctx context.Context, s *Store) error { _, err := s.Get(ctx, numbered(1).ID); return err }},
	{"sweep", "header tables", false, func(ctx context.Context, s *Store) error {
		_, err := s.Sweep(ctx, numbered(1).ExpiresAt.Add(24*time.Hour), 10)
		return err
	}},
}

// TestTimeoutsOfTheServer: a call that waits for a lock of another client, which is idle, ends with ErrUnavailable
// at a timeout of the server, or with its context. No answer says that a token is absent. An Update that ends so has
// written nothing, or says that its outcome is unknown. A call that needs no such lock is done meanwhile.
func TestTimeoutsOfTheServer(t *testing.T) {
	free, n := resolving(t, false), newNames("resolve")
	locks := map[string]string{
		"header": "SELECT FROM " + n.subject + " FOR UPDATE",
		"row":    "SELECT FROM " + n.token + " FOR UPDATE",
		"tables": "LOCK TABLE " + n.subject + ", " + n.token + " IN ACCESS EXCLUSIVE MODE",
	}
	for _, setting := range []string{"statement_timeout", "lock_timeout", "work_mem"} { // the last one ends nothing
		hasty := limited(t, free, setting, map[string]string{"statement_timeout": "150", "lock_timeout": "5", "work_mem": "4096"}[setting])
		patient := limited(t, free, setting, "30000")
		for lock, sql := range locks {
			for _, verb := range patientVerbs {
				t.Run(setting+"/"+lock+"/"+verb.name, func(t *testing.T) {
					_, err := adminPool(t).Exec(t.Context(), "DELETE FROM "+n.token)
					if err = errors.Join(err, free.Update(t.Context(), "ana", puts(numbered(1)))); err != nil {
						t.Fatal(err)
					}
					waits := strings.Contains(verb.waits, lock)
					before, end, s := whole(t, free), locked(t, sql), patient
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					if waits {
						s = hasty
						if setting == "work_mem" || lock == "row" && verb.name == "touch at once" {
							ctx, cancel = context.WithTimeout(ctx, shortPatience)
						}
					}
					defer cancel()
					err = verb.do(ctx, s)
					end()
					if waits && !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) || !waits && err != nil {
						t.Errorf("%v; waits for the lock: %t", err, waits)
					}
					if verb.name != "sweep" {
						eventually(t, "what was in doubt is settled", func() bool { _, err := s.Get(t.Context(), numbered(1).ID); return err == nil })
					}
					wrote := whole(t, free) != before
					if verb.updates && wrote != (err == nil) && !errors.Is(err, storage.ErrOutcomeUnknown) {
						t.Errorf("%v; written: %t", err, wrote)
					}
				})
			}
		}
	}
}

// TestTimeoutOfPrepare: a commit whose statement the server does not prepare in time says so. The connection is good.
func TestTimeoutOfPrepare(t *testing.T) {
	s := limited(t, resolving(t, false), "pool_max_conns", "1")
	if err := s.Update(t.Context(), "ana", puts(numbered(1))); err != nil { // and keeps a copy, so that the end reads nothing
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(t.Context(), "SET statement_timeout = 20"); err != nil {
		t.Fatal(err)
	}
	defer locked(t, "LOCK TABLE "+newNames("resolve").token+" IN ACCESS EXCLUSIVE MODE")()
	err := s.UpdateID(t.Context(), numbered(1).ID, puts(revoked(numbered(1))))
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "57014") {
		t.Errorf("UpdateID = %v; want ErrUnavailable with SQLSTATE 57014", err)
	}
}

// TestTouchOfALockedRow: a renewal that waits for a row asks the server less and less often.
func TestTouchOfALockedRow(t *testing.T) {
	o := &Options{Schema: "trips"}
	s, c := counted(t, o)
	if err := s.Update(t.Context(), "ana", puts(numbered(1))); err != nil {
		t.Fatal(err)
	}
	defer locked(t, "SELECT FROM "+newNames(o.Schema).token+" FOR UPDATE")()
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	begin := c.n.Load()
	if err := s.Touch(ctx, numbered(1).ID, storage.Use{At: numbered(1).IssuedAt}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if n := c.n.Load() - begin; n > 60 {
		t.Errorf("%d statements in 600 ms; want 60 at most", n)
	}
}

// TestTouchOfARowThatStaysLocked: a renewal gives up after a while, although its context never ends.
func TestTouchOfARowThatStaysLocked(t *testing.T) {
	s := resolving(t, true)
	s.patience.commit = shortPatience
	defer locked(t, "SELECT FROM "+newNames("resolve").token+" FOR UPDATE")()
	returns(t, 20*time.Second, "Touch", func() {
		err := s.Touch(context.Background(), numbered(1).ID, storage.Use{At: numbered(1).IssuedAt})
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Touch = %v; want ErrUnavailable", err)
		}
	})
}

// TestLostLock: an Update whose transaction the server ends while its function is slow, and which so has lost the
// lock of its subject, overwrites nothing that came meanwhile, and reads nothing that it has not read.
func TestLostLock(t *testing.T) {
	for name, meanwhile := range map[string]func(s *Store) error{
		"nothing":     func(*Store) error { return nil },
		"another end": func(s *Store) error { return s.Update(context.Background(), "ana", puts(revoked(numbered(1)))) },
	} {
		for _, reads := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/reads=%t", name, reads), func(t *testing.T) {
				free := resolving(t, true)
				s := limited(t, free, "idle_in_transaction_session_timeout", "30")
				runs := 0
				var before string
				fn := func(tx storage.Tx) error {
					runs++
					r, err := tx.Get(numbered(1).ID)
					if err != nil {
						return err
					}
					if runs <= lockedFrom { // another Update comes first
						r.Name = fmt.Sprint("run ", runs)
						return errors.Join(free.Update(t.Context(), "ana", puts(r)), tx.Put(r))
					}
					eventually(t, "the server ends the transaction", says(t, dsn(t), "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction')"))
					if err := meanwhile(free); err != nil {
						return err
					}
					before = whole(t, free)
					if reads {
						if _, err := tx.Get(numbered(7).ID); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrNotFound) {
							t.Errorf("Get in the transaction that was ended: %v; want ErrUnavailable", err)
						}
					}
					r.ExpiresAt = r.ExpiresAt.Add(time.Hour)
					return tx.Put(r)
				}
				var err error
				for before == "" { // on a busy machine the transaction may end before the function has read
					runs = 0
					err = s.Update(t.Context(), "ana", fn)
				}
				if runs != lockedFrom+1 || !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
					t.Errorf("Update = %v after %d runs; want ErrUnavailable alone", err, runs)
				}
				if after := whole(t, free); after != before {
					t.Errorf("there is %s, want %s", after, before)
				}
			})
		}
	}
}

// returns calls f, and fails the test at once unless f returns in time.
func returns(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s has not returned after %v", what, limit)
	}
}

// TestHungServer: where the server does not answer any more, an Update whose function refuses returns with its
// context, although it has a transaction to end, and Close gives up the renewals that wait.
func TestHungServer(t *testing.T) {
	free, p := resolving(t, true), proxied(t)
	s := openedAt(t, p.DSN(), &Options{Schema: "resolve", ListenDSN: dsn(t), FlushEvery: 5 * time.Millisecond})
	s.patience.close = 100 * time.Millisecond
	r := numbered(1)
	if _, err := s.Get(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	refused, runs := errors.New("refused"), 0
	returns(t, 10*time.Second, "Update", func() {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := s.Update(ctx, "ana", func(tx storage.Tx) error {
			if runs++; runs > lockedFrom {
				p.Freeze()
				time.AfterFunc(shortPatience, cancel)
				return refused
			}
			_, err := tx.Get(r.ID)
			return errors.Join(err, free.Update(t.Context(), "ana", puts(r)), tx.Put(r))
		})
		if err != refused {
			t.Errorf("Update = %v after %d runs; want the error of its function", err, runs)
		}
	})
	if err := s.Touch(t.Context(), r.ID, storage.Use{At: r.IssuedAt.Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a flush is under way", func() bool { return len(s.touches.flushing) == 1 })
	returns(t, 10*time.Second, "the end of the renewals", func() {
		if err := s.touches.close(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("the end of the renewals: %v; want ErrUnavailable", err)
		}
	})
	p.Thaw()
	s.patience.close = 10 * time.Second
	returns(t, 30*time.Second, "Close", func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
