package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// queue stands for the server's queue of notices, which takes 8 GB to fill: connections by its DSN call a
// pg_notify that fails as the server's own does when the queue is full.
type queue struct {
	t      *testing.T
	schema string
}

func queueOf(t *testing.T, schema string) *queue {
	t.Helper()
	q := &queue{t, schema}
	q.exec(`DROP SCHEMA IF EXISTS $ CASCADE`)
	q.exec(`CREATE SCHEMA $`)
	q.exec(`CREATE TABLE $.queue (filled bool)`)
	q.exec(`INSERT INTO $.queue VALUES (false)`)
	q.exec(`CREATE FUNCTION $.pg_notify(channel text, payload text) RETURNS void LANGUAGE plpgsql AS '
		BEGIN
			IF (SELECT filled FROM $.queue) THEN
				RAISE EXCEPTION ''too many notifications in the NOTIFY queue'' USING ERRCODE = ''54000'';
			END IF;
			PERFORM pg_catalog.pg_notify(channel, payload);
		END'`)
	return q
}

func (q *queue) exec(sql string) {
	q.t.Helper()
	if _, err := adminPool(q.t).Exec(context.Background(), strings.ReplaceAll(sql, "$", q.schema)); err != nil {
		q.t.Fatal(err)
	}
}

func (q *queue) fill(filled bool) { q.exec(fmt.Sprintf("UPDATE $.queue SET filled = %t", filled)) }

// dsn returns the address of the server for those who get the queue's pg_notify.
func (q *queue) dsn() string { return dsn(q.t) + "&search_path=" + q.schema + ",pg_catalog" }

// TestFullQueue: while the server takes no notice of any process, an end is done and its outcome counts as unknown.
// Here the token is refused at once, and by the copies of another process after the lease. No watch proves
// anything. Once there is room again all is well.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	q := queueOf(t, "full_queue")
	o := &Options{Schema: "full queue", ProbeEvery: shortProbe}
	emptied(t, o)
	open := func() *Store {
		s, err := Open(t.Context(), q.dsn(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	s, other := open(), open()
	t.Cleanup(func() { q.fill(false) })
	copies, there := withCopies(t, other)
	here, err := lapse.New(s, lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var tokens []lapse.Issued
	for range 2 {
		issued, err := here.Issue(t.Context(), lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := there.Authenticate(t.Context(), issued.Bearer); err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, issued)
	}
	kept, ended := tokens[0], tokens[1]
	w := hears(t, other)
	q.fill(true)
	full := storage.Elapsed()
	if w.until(t, func(c storage.Change) bool { return c.AsOf > full }); !errors.Is(w.err, storage.ErrUnavailable) {
		t.Errorf("a watch of the other process ended with %v", w.err)
	}
	err = within(t, "Expire", func(ctx context.Context, begin func()) error {
		go func() {
			for { // until the end is written, and the notice alone is missing
				if r, err := other.Get(ctx, ended.ID); err != nil || !r.EndedAt.IsZero() {
					break
				}
			}
			begin()
		}()
		_, err := here.Expire(ctx, ended.ID)
		return err
	})
	if !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Expire = %v; want ErrOutcomeUnknown", err)
	}
	if _, err := here.Authenticate(t.Context(), ended.Bearer); !errors.Is(err, lapse.ErrRevoked) {
		t.Errorf("here the ended token gets %v", err)
	}
	for storage.Elapsed() <= full+shortLease {
		time.Sleep(time.Millisecond)
	}
	if _, ok := copies.Cached(kept.ID); ok {
		t.Error("a copy is used after the lease")
	}
	if _, err := there.Authenticate(t.Context(), ended.Bearer); !errors.Is(err, lapse.ErrRevoked) {
		t.Errorf("after the lease the ended token gets %v", err)
	}
	for name, m := range map[string]*lapse.Manager{"here": here, "there": there} {
		if _, err := m.Authenticate(t.Context(), kept.Bearer); err != nil {
			t.Errorf("%s the other token gets %v", name, err)
		}
	}
	if _, err := here.Issue(t.Context(), lapse.Grant{Subject: "ana"}); err != nil {
		t.Errorf("Issue, which takes nothing away: %v", err)
	}
	saysQueue(t, "Open", func() error { _, err := Open(t.Context(), q.dsn(), o); return err }())
	q.fill(false)
	hears(t, other).until(t, func(c storage.Change) bool { return c.AsOf != 0 })
	if _, err := here.Expire(t.Context(), kept.ID); err != nil {
		t.Errorf("Expire once there is room: %v", err)
	}
}

// saysQueue checks that err says what to do about a full queue.
func saysQueue(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "LISTEN") || !strings.Contains(err.Error(), "54000") {
		t.Errorf("%s: %v; want an error that says what fills the queue", name, err)
	}
}

// refused is called when the server has refused a statement, or a notice.
type refused func()

func (refused) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (f refused) TraceQueryEnd(_ context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if data.Err != nil {
		f()
	}
}

// TestUntold: where the server takes no notices of this process alone, an end is done and its outcome counts as
// unknown, and the error says why. As soon as notices can be sent, other processes hear of it without a further
// call here.
func TestUntold(t *testing.T) {
	t.Parallel()
	q := queueOf(t, "untold_queue")
	o := &Options{Schema: "untold", ProbeEvery: shortProbe, FlushEvery: shortProbe}
	emptied(t, o)
	cfg, err := pgxpool.ParseConfig(q.dsn())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg.ConnConfig.Tracer = refused(cancel) // instead of resolvePatience
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	direct := *o
	direct.ListenDSN = dsn(t)
	s, err := New(t.Context(), pool, &direct)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	other := opened(t, o)
	if err := s.Update(t.Context(), "ana", puts(numbered(1))); err != nil {
		t.Fatal(err)
	}
	w := hears(t, other)
	q.fill(true)
	t.Cleanup(func() { q.fill(false) })
	x, c := prepare(t, s, puts(revoked(numbered(1))))
	err = s.tell(c, s.perform(ctx, c, func(context.Context) error { return send(t, s, x, c) }))
	if !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("%v; want ErrOutcomeUnknown", err)
	}
	saysQueue(t, "the end", err)
	q.fill(false)
	if !w.until(t, func(c storage.Change) bool { return c.Gap || c.ID == numbered(1).ID }) {
		t.Fatalf("the other process does not hear of it: %v", w.err)
	}
	if r, err := other.Get(t.Context(), numbered(1).ID); err != nil || r.EndedAt.IsZero() {
		t.Errorf("%v, %v; want the record with its end", r, err)
	}
}
