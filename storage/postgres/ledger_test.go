package postgres

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

var crashes = flag.Int("crashes", 2, "how often TestCrashes has the server crash, or stop, in each way")

// ledger is what callers know of their tokens.
type ledger struct {
	mu      sync.Mutex
	live    map[string]lapse.ID // bearer texts of tokens that were issued and not ended
	ended   map[string]lapse.ID // of tokens whose end was acknowledged
	unsure  map[string]lapse.ID // of tokens whose end is not known
	known   map[lapse.ID]bool   // every token that a caller has
	unknown int                 // issues whose outcome was not known
	failed  int                 // issues that failed
	wrong   []string

	patience time.Duration // after which the context of the calls ends
	kept     []string      // of live, those that no caller will end
	ends     []ending      // of ended, in their order
}

// ending is an end that was acknowledged at an instant.
type ending struct {
	bearer string
	at     time.Time
}

func newLedger(patience time.Duration) *ledger {
	return &ledger{
		live: map[string]lapse.ID{}, ended: map[string]lapse.ID{}, unsure: map[string]lapse.ID{}, known: map[lapse.ID]bool{},
		patience: patience,
	}
}

// late is how long after its context has ended a call may return on a busy machine. It is less than what a store
// waits for by itself.
const late = 6 * time.Second

// work issues, checks and ends tokens of a subject of its own until ctx ends.
func (l *ledger) work(ctx context.Context, m *lapse.Manager, subject string) {
	for n := 0; ctx.Err() == nil; n++ {
		begin := time.Now()
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.patience)
		issued, err := m.Issue(call, lapse.Grant{Subject: subject})
		switch {
		case errors.Is(err, storage.ErrOutcomeUnknown):
			l.note(func() { l.unknown++; l.failed++ })
		case err == nil:
			l.note(func() { l.known[issued.ID], l.live[issued.Bearer] = true, issued.ID })
			l.use(call, m, issued, n%2 == 0)
		default:
			l.note(func() { l.failed++ })
		}
		cancel()
		if took := time.Since(begin); took > l.patience+late {
			l.note(func() { l.wrong = append(l.wrong, fmt.Sprintf("calls within %v took %v", l.patience, took)) })
		}
	}
}

// use checks a token, and ends it if that is wanted.
func (l *ledger) use(ctx context.Context, m *lapse.Manager, issued lapse.Issued, end bool) {
	if _, err := m.Authenticate(ctx, issued.Bearer); errors.Is(err, lapse.ErrUnauthenticated) {
		l.note(func() { l.wrong = append(l.wrong, fmt.Sprint("a good token is refused: ", err)) })
	}
	if !end {
		l.note(func() { l.kept = append(l.kept, issued.Bearer) })
		return
	}
	_, err := m.Expire(ctx, issued.ID)
	l.note(func() {
		switch {
		case err == nil:
			l.ended[issued.Bearer] = issued.ID
			l.ends = append(l.ends, ending{issued.Bearer, time.Now()})
		case errors.Is(err, storage.ErrOutcomeUnknown):
			l.unsure[issued.Bearer] = issued.ID
		default:
			return
		}
		delete(l.live, issued.Bearer)
	})
}

func (l *ledger) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// audit compares the ledger with a store: how many tokens are lost, how many live again, and how many
// live that no caller has.
func (l *ledger) audit(t *testing.T, m *lapse.Manager) (lost, revived, unowned int) {
	t.Helper()
	for bearer := range l.live {
		if _, err := m.Peek(t.Context(), bearer); err != nil {
			lost++
		}
	}
	for bearer := range l.ended {
		if _, err := m.Peek(t.Context(), bearer); !errors.Is(err, lapse.ErrRevoked) {
			revived++
		}
	}
	for tok, err := range m.List(t.Context(), lapse.Query{Live: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if !l.known[tok.ID] {
			unowned++
		}
	}
	return lost, revived, unowned
}

// startLedger begins eight callers, which take turns with the managers. stop ends them and waits for them.
func startLedger(t *testing.T, managers ...*lapse.Manager) (l *ledger, stop func()) {
	l = newLedger(20 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { l.work(ctx, managers[i%len(managers)], fmt.Sprint("subject ", i)) })
	}
	stop = func() { cancel(); all.Wait() }
	t.Cleanup(stop)
	return l, stop
}

// judge fails the test unless m has all that was acknowledged, and nothing else than what may be there.
func (l *ledger) judge(t *testing.T, m *lapse.Manager) {
	t.Helper()
	lost, revived, unowned := l.audit(t, m)
	t.Logf("%d live, %d ended, %d ends and %d issues of unknown outcome", len(l.live), len(l.ended), len(l.unsure), l.unknown)
	if lost+revived+len(l.wrong) > 0 || unowned > l.unknown {
		t.Errorf("%d lost, %d revived, %d live that no caller has; %q", lost, revived, unowned, l.wrong)
	}
}

// plant makes three faults of what l knows, and fails the test unless the audit finds each of them.
func (l *ledger) plant(t *testing.T, m *lapse.Manager) {
	t.Helper()
	lost, revived, unowned := l.audit(t, m)
	for bearer, id := range l.live {
		delete(l.known, id)
		l.ended[bearer] = id
		break
	}
	l.live["planted"] = lapse.ID{}
	lost1, revived1, unowned1 := l.audit(t, m)
	if lost1 != lost+1 || revived1 != revived+1 || unowned1 != unowned+1 {
		t.Errorf("with one fault more of each kind the audit finds %d, %d and %d, and %d, %d and %d before", lost1, revived1, unowned1, lost, revived, unowned)
	}
}

// manager returns a Manager without a limit.
func manager(t *testing.T, s storage.Store) *lapse.Manager {
	t.Helper()
	m, err := lapse.New(s, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCrashes has a server crash and stop amid commits, each of which waits for the disk. What was
// acknowledged is there, what was ended stays dead, and no token lives that no caller has.
func TestCrashes(t *testing.T) {
	server := started(t, pgtest.Options{Durable: true})
	pool := poolOf(t, server.DSN())
	m := manager(t, openedAt(t, server.DSN(), nil))
	l, stop := startLedger(t, m)
	for range *crashes {
		for _, how := range []func() error{server.Kill, func() error { return server.Stop("fast") }, func() error { return server.Stop("immediate") }, func() error { return killBackends(t.Context(), pool) }} {
			l.goOn(t, 50)
			if err := how(); err != nil {
				t.Fatal(err)
			}
			if _, err := server.PID(); err != nil {
				if err := server.Launch(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	l.goOn(t, 50)
	stop()
	l.judge(t, m)
	l.plant(t, m)
}

// started starts a server of the test's own, with tables.
func started(t *testing.T, o pgtest.Options) *pgtest.Server {
	t.Helper()
	dsn(t)
	server, err := pgtest.Start(t.Context(), filepath.Join(t.TempDir(), "server"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop("immediate") })
	if err := Migrate(t.Context(), poolOf(t, server.DSN()), nil); err != nil {
		t.Fatal(err)
	}
	return server
}

// goOn returns once n more tokens were issued.
func (l *ledger) goOn(t *testing.T, n int) {
	t.Helper()
	count := func() (n int) { l.note(func() { n = len(l.known) }); return n }
	begin := count()
	for deadline := time.Now().Add(60 * time.Second); count() < begin+n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no token is issued any more")
		}
	}
}
