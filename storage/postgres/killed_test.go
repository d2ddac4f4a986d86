package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/near"
)

// dying is a process that ends a token which another one, with copies, accepts.
type dying struct {
	ends, reads, plain *worker
	token              answer
}

const dyingLease = 150 * time.Millisecond

// newDying starts the processes. The process that ends the token connects by dsn.
func newDying(t *testing.T, schema, through string, lease time.Duration) *dying {
	t.Helper()
	c := workerConfig{DSN: dsn(t), Options: Options{Schema: schema, ProbeEvery: lease / 8, ListenDSN: dsn(t)}}
	emptied(t, &c.Options)
	d := &dying{plain: startedWorker(t, c)}
	c.Near = &near.Options{Lease: lease}
	d.reads = startedWorker(t, c)
	c.DSN = through
	d.ends = startedWorker(t, c)
	d.token = d.plain.must(t, command{Verb: "issue", Subject: "ana"})
	d.reads.must(t, command{Verb: "authenticate", Text: d.token.Text})
	return d
}

// says is what w answers to the token.
func (d *dying) says(w *worker) string {
	return w.do(command{Verb: "authenticate", Text: d.token.Text}).Outcome
}

// killWaiting has the process end the token, and kills it while the server waits for a lock in a statement of
// that process. It returns the process of the server.
func (d *dying) killWaiting(t *testing.T, waits string) (backend int) {
	t.Helper()
	d.ends.send(command{Verb: "expire", ID: d.token.ID})
	eventually(t, "the server waits", func() bool {
		return adminPool(t).QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = $1", waits).Scan(&backend) == nil
	})
	d.ends.signal(t, syscall.SIGKILL)
	<-d.ends.ended
	return backend
}

// TestKilledDuringCommit kills a process while the server waits with its commit. The end lands later, and its
// notice was sent together with it: the other process refuses the token, after its lease at the latest.
func TestKilledDuringCommit(t *testing.T) {
	const schema = "killed during commit"
	d := newDying(t, schema, dsn(t), dyingLease)
	hold, err := adminPool(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Rollback(context.WithoutCancel(t.Context()))
	if _, err := hold.Exec(t.Context(), "SELECT FROM "+newNames(schema).subject+" FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	d.killWaiting(t, "transactionid")
	if said := d.says(d.reads); said != "ok" {
		t.Errorf("before the end the other process says %s", said)
	}
	if err := hold.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end lands", func() bool { return d.says(d.plain) == "revoked" })
	eventually(t, "the other process refuses the token", func() bool { return d.says(d.reads) == "revoked" })
}

// TestKilledBeforeNotice plants the fault that TestKilledDuringCommit would find: the end is in the store, and
// its notice never comes. The other process proves meanwhile that it hears, and accepts the token past its
// lease, for near.MaxAge at most. A process without copies refuses the token at once.
func TestKilledBeforeNotice(t *testing.T) {
	for _, sql := range []string{
		"CREATE SCHEMA IF NOT EXISTS hung",
		"CREATE OR REPLACE FUNCTION hung.pg_notify(text, text) RETURNS void LANGUAGE sql VOLATILE AS 'SELECT pg_advisory_xact_lock(20); SELECT pg_catalog.pg_notify($1, $2)'",
	} {
		if _, err := adminPool(t).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	lease := dyingLease
	for !acceptsPastLease(t, lease) { // on a busy machine the proofs come so late that the process reads the store
		if lease *= 2; lease > 10*time.Second {
			t.Fatalf("a process that nothing has told says the truth of an end, with each lease up to %v", lease/2)
		}
	}
}

// acceptsPastLease has an end lose its notice, and reports whether another process with that lease accepts the token
// for two leases on end.
func acceptsPastLease(t *testing.T, lease time.Duration) bool {
	t.Helper()
	d := newDying(t, fmt.Sprint("killed before notice ", lease), dsn(t)+"&search_path=hung,pg_catalog", lease)
	hold, err := adminPool(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Rollback(context.WithoutCancel(t.Context()))
	if _, err := hold.Exec(t.Context(), "SELECT pg_advisory_xact_lock(20)"); err != nil {
		t.Fatal(err)
	}
	backend := d.killWaiting(t, "advisory")
	if _, err := adminPool(t).Exec(t.Context(), "SELECT pg_terminate_backend($1)", backend); err != nil {
		t.Fatal(err)
	}
	if said := d.says(d.plain); said != "revoked" {
		t.Errorf("without copies: %s", said)
	}
	for begin := time.Now(); time.Since(begin) < 2*lease; {
		switch said := d.says(d.reads); said {
		case "ok":
		case "revoked":
			return false
		default:
			t.Fatalf("a process that nothing has told says %s", said)
		}
	}
	return true
}

// sends is a connection that notes what is sent by each call of Write, and breaks after one if note says so.
type sends struct {
	net.Conn
	note func(b []byte) (breaks bool)
}

func (s *sends) Write(b []byte) (int, error) {
	breaks := s.note(b)
	n, err := s.Conn.Write(b)
	if breaks {
		s.Conn.Close()
	}
	return n, err
}

// noting opens a store whose connections are passed to note, and issues and ends a token, so that a connection
// is at hand with all statements prepared.
func noting(t *testing.T, schema string, note func(b []byte) (breaks bool)) *lapse.Manager {
	t.Helper()
	o := &Options{Schema: schema, ProbeEvery: time.Hour} // a probe would be noted
	emptied(t, o)
	cfg, err := pgxpool.ParseConfig(dsn(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // a ping would be noted, too
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &sends{conn, note}, err
	}
	s := openedOn(t, cfg, o)
	m, err := lapse.New(s, lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Expire(t.Context(), i.ID); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestNoticeIsSentWithItsCommit: the commit of an end and its notice are sent by one call of Write. So a process
// that is killed has sent both, or neither. A connection that breaks behind that call leaves no end in the store
// of which the caller is told that nothing was written.
func TestNoticeIsSentWithItsCommit(t *testing.T) {
	for _, breaks := range []bool{false, true} {
		t.Run(fmt.Sprint("breaks=", breaks), func(t *testing.T) {
			var mu sync.Mutex
			var ends bool   // the end is under way
			var syncs []int // in each call of Write since then
			m := noting(t, "sent together", func(b []byte) bool {
				mu.Lock()
				defer mu.Unlock()
				if ends {
					syncs = append(syncs, bytes.Count(b, []byte("S\x00\x00\x00\x04")))
				}
				return breaks && ends && len(syncs) == 1
			})
			i, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			ends = true
			mu.Unlock()
			_, err = m.Expire(t.Context(), i.ID)
			mu.Lock()
			ends = false
			mu.Unlock()
			if len(syncs) == 0 || syncs[0] != 2 || len(syncs) > 1 && !breaks {
				t.Errorf("an end of a copy sends %v statements at a time; want two", syncs)
			}
			if err != nil && !errors.Is(err, lapse.ErrOutcomeUnknown) {
				if _, lives := m.Authenticate(t.Context(), i.Bearer); lives != nil {
					t.Errorf("Expire says that nothing was written: %v; and the token is no good: %v", err, lives)
				}
			}
		})
	}
}
