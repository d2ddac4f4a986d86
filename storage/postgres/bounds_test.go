package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

// behind returns an empty store, whose pool goes through the proxy, and a store that has a good network. Both
// know the record of numbered(1).
func behind(t *testing.T, schema string) (p *pgtest.Proxy, s, other *Store) {
	t.Helper()
	p = proxied(t)
	o := &Options{Schema: schema, FlushEvery: 20 * time.Millisecond}
	emptied(t, o)
	other = opened(t, o)
	if err := other.Update(t.Context(), "ana", puts(numbered(1))); err != nil {
		t.Fatal(err)
	}
	faulty := *o
	faulty.ListenDSN = dsn(t)
	s, err := Open(t.Context(), p.DSN(), &faulty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return p, s, other
}

// within returns the error of call, whose context ends soon after call has called begin. It fails the test if
// call returns late.
func within(t *testing.T, name string, call func(ctx context.Context, begin func()) error) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- call(ctx, func() { time.AfterFunc(shortPatience, cancel) }) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(late):
		t.Fatalf("%s: the call outlasts its context", name)
		return nil
	}
}

// contended returns a function for an Update which other overtakes until it locks the subject. Then the
// function calls locked, and returns what that returns.
func contended(t *testing.T, other *Store, locked func(storage.Tx) error) func(storage.Tx) error {
	runs := 0
	return func(x storage.Tx) error {
		if runs++; runs > lockedFrom {
			return locked(x)
		}
		for _, err := range x.Records() {
			if err != nil {
				return err
			}
		}
		if err := other.Update(t.Context(), "ana", puts(numbered(byte(10+runs)))); err != nil {
			t.Error(err)
		}
		return x.Put(revoked(numbered(1)))
	}
}

// TestLockedUpdateOnABadNetwork: an Update that has locked its subject returns when its context ends, too,
// wherever the network fails.
func TestLockedUpdateOnABadNetwork(t *testing.T) {
	ours := errors.New("ours")
	for _, row := range []struct {
		name  string
		fault func(p *pgtest.Proxy)
		fn    func(ctx context.Context, x storage.Tx) error
		want  error
	}{
		{"frozen before the commit", (*pgtest.Proxy).Freeze, func(_ context.Context, x storage.Tx) error { return x.Put(revoked(numbered(1))) }, storage.ErrOutcomeUnknown},
		{"half-open before the commit", (*pgtest.Proxy).Silence, func(_ context.Context, x storage.Tx) error { return x.Put(revoked(numbered(1))) }, storage.ErrOutcomeUnknown},
		{"frozen before the rollback", (*pgtest.Proxy).Freeze, func(context.Context, storage.Tx) error { return ours }, ours},
		{"frozen until the context ends", (*pgtest.Proxy).Freeze, func(ctx context.Context, x storage.Tx) error { <-ctx.Done(); return nil }, context.Canceled},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, s, other := behind(t, "locked, "+row.name)
			err := within(t, row.name, func(ctx context.Context, begin func()) error {
				return s.Update(ctx, "ana", contended(t, other, func(x storage.Tx) error {
					if _, err := x.Get(numbered(1).ID); err != nil {
						return err
					}
					row.fault(p)
					begin()
					return row.fn(ctx, x)
				}))
			})
			if !errors.Is(err, row.want) {
				t.Errorf("Update = %v; want %v", err, row.want)
			}
			p.Thaw()
			p.Reset()
			if err := other.Update(t.Context(), "ana", puts(numbered(3))); err != nil {
				t.Errorf("the subject stays locked: %v", err)
			}
			for ; ; time.Sleep(time.Millisecond) { // a commit that was on its way is settled
				r, err := s.Get(t.Context(), numbered(1).ID)
				if err != nil {
					continue
				}
				if there, err := other.Get(t.Context(), r.ID); err != nil || !there.Equal(r) {
					t.Errorf("%v, %v elsewhere; want %v", there, err, r)
				}
				return
			}
		})
	}
}

// TestForgottenConnection: a flush whose connection was forgotten on the way, without a word, gives up. It
// keeps no Sweep past the context, and the renewal is written once there are connections.
func TestForgottenConnection(t *testing.T) {
	t.Parallel()
	p, s, other := behind(t, "forgotten")
	id := numbered(1).ID
	if _, err := s.Get(t.Context(), id); err != nil { // Touch waits only where the expiry is known
		t.Fatal(err)
	}
	p.Silence()
	use := storage.Use{At: numbered(1).IssuedAt.Add(time.Minute)}
	if err := s.Touch(t.Context(), id, use); err != nil {
		t.Fatal(err)
	}
	for range 20 { // the flush of every 20 ms has begun
		time.Sleep(5 * time.Millisecond)
	}
	err := within(t, "Sweep", func(ctx context.Context, begin func()) error { begin(); _, err := s.Sweep(ctx, use.At, 1); return err })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Sweep = %v", err)
	}
	p.Thaw()
	eventually(t, "the renewal is written", func() bool {
		r, err := other.Get(t.Context(), id)
		return err == nil && r.LastUsedAt.Equal(use.At)
	})
}

// TestForgottenListener: where the network forgets the connection that hears notices, and the one that is being
// made instead, without a word, the store hears again in some seconds.
func TestForgottenListener(t *testing.T) {
	t.Parallel()
	p := proxied(t)
	o := &Options{Schema: "forgotten listener", ProbeEvery: shortProbe, ListenDSN: p.DSN()}
	emptied(t, o)
	s := opened(t, o)
	w := hears(t, s)
	p.Silence()
	if w.until(t, func(storage.Change) bool { return false }); !errors.Is(w.err, storage.ErrUnavailable) {
		t.Errorf("the watch ended with %v", w.err)
	}
	for range 20 { // another connection is being made
		time.Sleep(5 * time.Millisecond)
	}
	p.Thaw()
	hears(t, s)
}

// TestEndsOnOneConnection: a pool without a free connection keeps no notice of an end, neither where the
// subject was locked nor where the notices are sent by statements of their own.
func TestEndsOnOneConnection(t *testing.T) {
	for name, mode := range map[string]pgx.QueryExecMode{"prepared": pgx.QueryExecModeCacheStatement, "unprepared": pgx.QueryExecModeDescribeExec} {
		t.Run(name, func(t *testing.T) {
			o := &Options{Schema: "one connection"}
			emptied(t, o)
			cfg, err := pgxpool.ParseConfig(dsn(t))
			if err != nil {
				t.Fatal(err)
			}
			cfg.MaxConns, cfg.ConnConfig.DefaultQueryExecMode = 1, mode
			s := openedOn(t, cfg, o)
			other := opened(t, o)
			for n, end := range []func(storage.Tx) error{
				puts(revoked(numbered(1))),
				contended(t, other, puts(revoked(numbered(2)))),
			} {
				if err := other.Update(t.Context(), "ana", puts(numbered(1), numbered(2))); n == 0 && err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), late)
				if err := s.Update(ctx, "ana", end); err != nil {
					t.Errorf("end %d: %v", n, err)
				}
				cancel()
			}
		})
	}
}

// TestOpenOnABadNetwork: Open returns when its context ends, whichever connection the network keeps.
func TestOpenOnABadNetwork(t *testing.T) {
	o := &Options{Schema: "open"}
	emptied(t, o)
	for name, fault := range map[string]func(p *pgtest.Proxy){
		"frozen":    (*pgtest.Proxy).Freeze,
		"half-open": (*pgtest.Proxy).Silence,
		"late":      func(p *pgtest.Proxy) { p.Delay(time.Minute) },
	} {
		for _, listener := range []bool{false, true} {
			p, through := proxied(t), *o
			address := p.DSN()
			if through.ListenDSN = dsn(t); listener {
				address, through.ListenDSN = through.ListenDSN, address
			}
			fault(p)
			err := within(t, name, func(ctx context.Context, begin func()) error {
				begin()
				s, err := Open(ctx, address, &through)
				if err == nil {
					s.Close()
				}
				return err
			})
			if !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s, listener %t: %v; want ErrUnavailable that wraps Canceled", name, listener, err)
			}
		}
	}
}

// TestConnectTimeout: an attempt to connect is limited by the store, unless the DSN has a limit.
func TestConnectTimeout(t *testing.T) {
	o := &Options{Schema: "open"}
	emptied(t, o)
	for more, want := range map[string]time.Duration{"": connectPatience, "&connect_timeout=77": 77 * time.Second} {
		s, err := Open(t.Context(), dsn(t)+more, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.pool.Config().ConnConfig.ConnectTimeout; got != want {
			t.Errorf("%q: %v; want %v", more, got, want)
		}
		s.Close()
	}
}

// TestOpenWithoutAnswer: Open returns when its context ends, too, where the network fails amid a statement.
func TestOpenWithoutAnswer(t *testing.T) {
	o := &Options{Schema: "open"}
	emptied(t, o)
	admin, p := adminPool(t), proxied(t)
	lock, err := admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback(context.WithoutCancel(t.Context()))
	if _, err := lock.Exec(t.Context(), "LOCK TABLE "+newNames(o.Schema).setting); err != nil {
		t.Fatal(err)
	}
	err = within(t, "Open", func(ctx context.Context, begin func()) error {
		go func() {
			for waits := 0; waits == 0 && t.Context().Err() == nil; {
				admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, $1) > 0 AND pid <> pg_backend_pid()", newNames(o.Schema).setting).Scan(&waits)
			}
			p.Freeze()
			begin()
		}()
		s, err := Open(ctx, p.DSN(), o)
		if err == nil {
			s.Close()
		}
		return err
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("%v; want ErrUnavailable that wraps Canceled", err)
	}
}

// TestDiscardedStatements: where another user of the pool has discarded the prepared statements of the session, an
// Update prepares its own again.
func TestDiscardedStatements(t *testing.T) {
	o := &Options{Schema: "discarded"}
	emptied(t, o)
	cfg, err := pgxpool.ParseConfig(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 1
	s := openedOn(t, cfg, o)
	for n := range byte(2) {
		for _, fn := range []func(storage.Tx) error{issues(numbered(n)), puts(revoked(numbered(n)))} {
			if err := s.Update(t.Context(), "ana", fn); err != nil {
				t.Errorf("Update after %d times DISCARD ALL = %v", n, err)
			}
		}
		if _, err := s.pool.Exec(t.Context(), "DISCARD ALL"); err != nil {
			t.Fatal(err)
		}
	}
}
