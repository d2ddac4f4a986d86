package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/near"
)

// trips counts the round trips of a pool: its queries and pipelines.
type trips struct{ n atomic.Int64 }

func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}

func (c *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// counted returns a store whose statements are counted. A commit with notices is a pipeline, which no
// tracer sees: it counts as the notices that another store hears.
func counted(t *testing.T, o *Options) (*Store, *trips) {
	t.Helper()
	emptied(t, o)
	cfg, err := pgxpool.ParseConfig(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	c := new(trips)
	cfg.ConnConfig.Tracer = c
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	all := *o
	all.ListenDSN = dsn(t) // the listener's own statements are not counted
	s, err := New(t.Context(), pool, &all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); pool.Close() })
	return s, c
}

// TestRoundTrips: how many statements each verb waits for. A commit that tells others is a pipeline,
// which is one more round trip.
func TestRoundTrips(t *testing.T) {
	s, c := counted(t, &Options{Schema: "trips"})
	m, err := lapse.New(s, lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := lapse.NewPairs(s, lapse.PairConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	var issued lapse.Issued
	var pair lapse.TokenPair
	issue := func() error { issued, err = m.Issue(ctx, lapse.Grant{Subject: "ana"}); return err }
	carl := func() error { _, err := m.Issue(ctx, lapse.Grant{Subject: "carl"}); return err }
	login := func() error { pair, err = p.Issue(ctx, lapse.Grant{Subject: "bob"}); return err }
	for _, row := range []struct {
		name   string
		before func() error
		do     func() error
		most   int64
		tells  int64 // the commits among them that are pipelines, which the tracer does not count
	}{
		{"Issue within the limit", nil, issue, 1, 0},
		{"Authenticate", nil, func() error { _, err := m.Authenticate(ctx, issued.Bearer); return err }, 2, 0}, // and the first use is due: its expiry is not known here
		{"Authenticate again", nil, func() error { _, err := m.Authenticate(ctx, issued.Bearer); return err }, 1, 0},
		{"Expire", nil, func() error { _, err := m.Expire(ctx, issued.ID); return err }, 0, 1},
		{"ExpireBearer", issue, func() error { _, err := m.ExpireBearer(ctx, issued.Bearer); return err }, 0, 1},
		{"ExpireSubject", issue, func() error { _, err := m.ExpireSubject(ctx, "ana"); return err }, 1, 1},
		{"Issue at the limit", func() error { return errors.Join(carl(), carl(), carl()) }, carl, 1, 1},
		{"Refresh", login, func() error { _, err := p.Refresh(ctx, pair.Refresh.Bearer); return err }, 0, 1},
	} {
		if row.before != nil {
			if err := row.before(); err != nil {
				t.Fatal(err)
			}
		}
		begin := c.n.Load()
		if err := row.do(); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if n := c.n.Load() - begin; n > row.most {
			t.Errorf("%s: %d statements besides %d pipelines; want %d at most", row.name, n, row.tells, row.most)
		}
	}
}

// TestLimitOfTwoHandles: of many issuers through two stores exactly as many get a token as may.
func TestLimitOfTwoHandles(t *testing.T) {
	o := &Options{Schema: "limits"}
	emptied(t, o)
	const limit, racers = 5, 32
	var managers []*lapse.Manager
	for range 2 {
		m, err := lapse.New(opened(t, o), lapse.Config{Policy: lapse.Policy{MaxTokens: limit, AtLimit: lapse.LimitRefuse}})
		if err != nil {
			t.Fatal(err)
		}
		managers = append(managers, m)
	}
	var got, refused atomic.Int64
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() {
			<-gate
			switch _, err := managers[i%2].Issue(t.Context(), lapse.Grant{Subject: "ana"}); {
			case err == nil:
				got.Add(1)
			case errors.Is(err, lapse.ErrLimit):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	close(gate)
	all.Wait()
	if got.Load() != limit || refused.Load() != racers-limit {
		t.Errorf("%d got a token and %d were refused; want %d and %d", got.Load(), refused.Load(), limit, racers-limit)
	}
}

// TestLimitOfSharedHeader: two subjects that share a number, which a client who chooses subjects can find, share a
// header. A count by an Update of one lets the other have no more tokens than its limit.
func TestLimitOfSharedHeader(t *testing.T) {
	s := resolving(t, true)
	if err := s.Update(t.Context(), "ana", puts(numbered(2))); err != nil {
		t.Fatal(err)
	}
	bob := numbered(3)
	bob.Subject = "bob"
	x := s.newTx(t.Context(), s.pool, "bob")
	x.key = subjectKey("ana") // as if the hashes began alike
	err := s.attempt(t.Context(), x, func(tx storage.Tx) error {
		for range tx.Living(bob.IssuedAt) {
		}
		return tx.Put(bob)
	})
	if err != nil {
		t.Fatal(err)
	}
	var fits bool
	err = s.Update(t.Context(), "ana", func(tx storage.Tx) error {
		r := numbered(4)
		fits = tx.(storage.Fitter).PutIfFits(&r, 1, r.IssuedAt)
		return nil
	})
	if err != nil || fits {
		t.Errorf("a third token fits where one may live besides it: %t, %v", fits, err)
	}
}

// TestEndsElsewhere: an end through one store is refused at another one with copies, and cuts the
// connections that are held there.
func TestEndsElsewhere(t *testing.T) {
	o := &Options{Schema: "elsewhere"}
	emptied(t, o)
	here, err := lapse.New(opened(t, o), lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	copies, err := near.New(t.Context(), opened(t, o), near.Options{Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer copies.Close()
	there, err := lapse.New(copies, lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := here.Issue(t.Context(), lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	hold, err := there.Hold(t.Context(), issued.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	if _, ok := copies.Cached(issued.ID); !ok {
		t.Error("there is no copy of a token that was used")
	}
	if _, err := here.Expire(t.Context(), issued.ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-hold.Context().Done():
		if cause := context.Cause(hold.Context()); !errors.Is(cause, lapse.ErrRevoked) {
			t.Errorf("the connection was cut by %v", cause)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the connection was not cut")
	}
	for {
		_, err := there.Authenticate(t.Context(), issued.Bearer)
		if errors.Is(err, lapse.ErrRevoked) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestConcurrentMigrate: many processes may call Migrate at once, also where there is nothing yet.
func TestConcurrentMigrate(t *testing.T) {
	pool := adminPool(t)
	if _, err := pool.Exec(t.Context(), `DROP SCHEMA IF EXISTS "many" CASCADE`); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := Migrate(t.Context(), pool, &Options{Schema: "many"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	opened(t, &Options{Schema: "many"})
}

// TestMigrateSeesTheOtherOne: a connection that knew of no schema waits for another Migrate, and then sees
// the tables of that one. The server tells a session what others have changed only when the session locks a
// table.
func TestMigrateSeesTheOtherOne(t *testing.T) {
	o, first := &Options{Schema: "seen"}, adminPool(t)
	config := first.Config()
	config.MaxConns = 1
	config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable" // which sees nothing later than its first statement
	second, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := Migrate(t.Context(), second, o); err != nil { // the session has looked at every catalog
		t.Fatal(err)
	}
	if _, err := second.Exec(t.Context(), `DROP SCHEMA "seen" CASCADE`); err != nil {
		t.Fatal(err)
	}
	if version, err := versionOf(t.Context(), second, o.Schema); version != 0 || err != nil {
		t.Fatal(version, err)
	}
	done := make(chan error, 1)
	err = pgx.BeginFunc(t.Context(), first, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), migrateLock); err != nil {
			return err
		}
		go func() { done <- Migrate(t.Context(), second, o) }()
		eventually(t, "the other Migrate waits", says(t, dsn(t), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'advisory')"))
		_, err := tx.Exec(t.Context(), Schema(o))
		return err
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Error(err)
	}
}

// TestOpenSays: each error says what to do and holds neither the password nor the DSN.
func TestOpenSays(t *testing.T) {
	address := dsn(t)
	pool := adminPool(t)
	if _, err := pool.Exec(t.Context(), `DROP SCHEMA IF EXISTS "newer" CASCADE; CREATE SCHEMA "newer"; CREATE TABLE "newer".setting (name text, value text); INSERT INTO "newer".setting VALUES ('version', '99')`); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		dsn    string
		schema string
		says   string
	}{
		"no DSN":          {"postgres://ana:hunter2@[::/x", "lapse", "form"},
		"no server":       {"postgres://ana:hunter2@127.0.0.1:1/x", "lapse", "no connection"},
		"no tables":       {address, "nowhere", "Migrate"},
		"tables too new":  {address, "newer", "newer version"},
		"long schema":     {address, strings.Repeat("s", 58), "57 bytes"},
		"strange address": {"host=127.0.0.1 port=1 password=hunter2 user=ana", "lapse", "no connection"},
	} {
		s, err := Open(t.Context(), row.dsn, &Options{Schema: row.schema})
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), row.says) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v; want ErrUnavailable that says %q", name, err, row.says)
		}
	}
}

// TestLongestSchema: the longest name that Migrate takes serves a store.
func TestLongestSchema(t *testing.T) {
	for n := 56; n < 65; n++ {
		o := &Options{Schema: strings.Repeat("s", n)}
		made := Migrate(t.Context(), adminPool(t), o)
		s, err := Open(t.Context(), dsn(t), o)
		if err == nil {
			s.Close()
		}
		if (made == nil) != (n <= 57) || (err == nil) != (n <= 57) {
			t.Errorf("%d bytes: Migrate = %v, Open = %v", n, made, err)
		}
	}
}

// TestInvalidOptions: Open refuses options that cannot work, and says which.
func TestInvalidOptions(t *testing.T) {
	emptied(t, &Options{})
	for name, o := range map[string]*Options{
		"FlushEvery": {FlushEvery: -1},
		"ProbeEvery": {ProbeEvery: time.Millisecond - 1},
	} {
		s, err := Open(t.Context(), dsn(t), o)
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("%s: %v; want ErrUnavailable that names it", name, err)
		}
	}
}

// TestTimekeeper: the server's clock is known at once, with its uncertainty.
func TestTimekeeper(t *testing.T) {
	o := &Options{Schema: "clock"}
	emptied(t, o)
	s := opened(t, o)
	before := time.Now()
	at, within, ok := s.Time()
	after := time.Now()
	within += 2 * time.Second // the clock of the machine may be set meanwhile
	if !ok || at.Add(within).Before(before) || at.Add(-within).After(after) {
		t.Errorf("%v within %v, %t; want it between %v and %v, by the clock of the same machine", at, within, ok, before, after)
	}
}

// TestExhaustedPool: a caller whose context ends while it waits for a connection has changed nothing, and
// is told so.
func TestExhaustedPool(t *testing.T) {
	o := &Options{Schema: "exhausted"}
	emptied(t, o)
	cfg, err := pgxpool.ParseConfig(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 1
	s := openedOn(t, cfg, o)
	m, err := lapse.New(s, lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = m.Issue(ctx, lapse.Grant{Subject: "ana"})
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Issue without a connection: %v", err)
	}
	taken.Release()
	if n, err := m.Count(t.Context(), lapse.Query{Subject: "ana"}); err != nil || n != 0 {
		t.Errorf("%d tokens, %v; want none", n, err)
	}
}

// TestWithoutPreparedStatements: a pool that prepares nothing, as one to a pooler does, serves every verb.
func TestWithoutPreparedStatements(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		o := &Options{Schema: "pooler"}
		emptied(t, o)
		cfg, err := pgxpool.ParseConfig(dsn(t))
		if err != nil {
			t.Fatal(err)
		}
		var named int
		cfg.MaxConns, cfg.ConnConfig.DefaultQueryExecMode = 1, mode
		pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		s, err := New(t.Context(), pool, o)
		if err != nil {
			t.Fatal(err)
		}
		m, err := lapse.New(s, lapse.Config{})
		if err != nil {
			t.Fatal(err)
		}
		issued, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatalf("%v: %v", mode, err)
		}
		if _, err := m.Expire(t.Context(), issued.ID); err != nil {
			t.Errorf("%v: %v", mode, err)
		}
		if _, err := m.Authenticate(t.Context(), issued.Bearer); !errors.Is(err, lapse.ErrRevoked) {
			t.Errorf("%v: %v", mode, err)
		}
		if n, err := m.Count(t.Context(), lapse.Query{}); n != 1 || err != nil {
			t.Errorf("%v: Count = %d, %v", mode, n, err)
		}
		if err := s.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_prepared_statements").Scan(&named); named != 0 || err != nil {
			t.Errorf("%v: %d statements stay prepared by name, %v; want none", mode, named, err)
		}
		if n, err := m.ForgetSubject(t.Context(), "ana"); n != 1 || err != nil {
			t.Errorf("%v: ForgetSubject = %d, %v", mode, n, err)
		}
		s.Close()
	}
}
