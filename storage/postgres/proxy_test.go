package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/near"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

// lasting faults go on until they are lifted. A cut happens a few times.
var networkFaults = []struct {
	name    string
	lasting bool
	deaf    bool // nothing that is sent is answered
	begin   func(p *pgtest.Proxy)
	lift    func(p *pgtest.Proxy)
}{
	{"freeze", true, true, (*pgtest.Proxy).Freeze, (*pgtest.Proxy).Thaw},
	{"half-open", true, true, (*pgtest.Proxy).Silence, func(p *pgtest.Proxy) { p.Thaw(); p.Reset() }},
	{"delay", true, false, func(p *pgtest.Proxy) { p.Delay(200 * time.Millisecond) }, func(p *pgtest.Proxy) { p.Delay(0) }},
	{"reset", false, false, (*pgtest.Proxy).Reset, nil},
	{"reset before", false, false, cuts(pgtest.CutBefore), nil},
	{"reset between send and answer", false, false, cuts(pgtest.CutBetween), nil},
	{"reset at answer", false, false, cuts(pgtest.CutAnswered), nil},
}

// cuts returns a fault that breaks three connections, one after the other.
func cuts(where pgtest.Cut) func(p *pgtest.Proxy) {
	return func(p *pgtest.Proxy) {
		for range 3 {
			<-p.CutNext(where)
		}
	}
}

// processes are two processes: "here" has the faulty network, and "there" a good one. Each has copies at
// hand.
type processes struct {
	proxy       *pgtest.Proxy
	store       *Store // here
	copies      *near.Store
	here, there *lapse.Manager
	ledger      *ledger
}

// shortLease is that of processes, and calls have shortPatience.
const (
	shortLease    = 100 * time.Millisecond
	shortPatience = 250 * time.Millisecond
	shortProbe    = 20 * time.Millisecond
)

// twoProcesses returns processes, whose pool or listener here goes through a proxy.
func twoProcesses(t *testing.T, schema string, listener bool) *processes {
	t.Helper()
	o := &Options{Schema: schema, ProbeEvery: shortProbe, FlushEvery: shortProbe}
	emptied(t, o)
	p := &processes{proxy: proxied(t), ledger: newLedger(shortPatience)}
	faulty, address := *o, p.proxy.DSN()
	if faulty.ListenDSN = dsn(t); listener {
		address, faulty.ListenDSN = faulty.ListenDSN, address
	}
	s, err := Open(t.Context(), address, &faulty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	p.store = s
	p.copies, p.here = withCopies(t, s)
	_, p.there = withCopies(t, opened(t, o))
	return p
}

// withCopies returns a Manager over copies of s.
func withCopies(t *testing.T, s *Store) (*near.Store, *lapse.Manager) {
	t.Helper()
	copies, err := near.New(t.Context(), s, near.Options{Lease: shortLease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { copies.Close() })
	m, err := lapse.New(copies, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	if err != nil {
		t.Fatal(err)
	}
	return copies, m
}

// load has callers work in both processes, and witnesses watch both, until the returned function is called.
func (p *processes) load(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i, m := range []*lapse.Manager{p.here, p.here, p.there} {
		all.Go(func() { p.ledger.work(ctx, m, fmt.Sprint("subject ", i)) })
	}
	for _, m := range []*lapse.Manager{p.here, p.there} {
		all.Go(func() { p.ledger.witness(ctx, m) })
	}
	return func() { cancel(); all.Wait() }
}

// witness checks, until ctx ends, that m refuses no good token, and no later than the lease refuses one whose
// end was acknowledged, by whichever process.
func (l *ledger) witness(ctx context.Context, m *lapse.Manager) {
	for seen := 0; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		var good, bad string
		begin := time.Now()
		l.note(func() {
			if len(l.kept) > 0 {
				good = l.kept[len(l.kept)-1]
			}
			if seen < len(l.ends) && begin.Sub(l.ends[seen].at) > shortLease {
				bad, seen = l.ends[seen].bearer, seen+1
			}
		})
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.patience)
		if _, err := m.Authenticate(call, good); good != "" && errors.Is(err, lapse.ErrUnauthenticated) {
			l.note(func() { l.wrong = append(l.wrong, fmt.Sprint("a good token is refused by a witness: ", err)) })
		}
		if _, err := m.Authenticate(call, bad); bad != "" && err == nil {
			l.note(func() { l.wrong = append(l.wrong, "an ended token is accepted after the lease") })
		}
		cancel()
		if took := time.Since(begin); took > l.patience+late {
			l.note(func() { l.wrong = append(l.wrong, fmt.Sprintf("checks within %v took %v", l.patience, took)) })
		}
	}
}

// fails returns once n more issues have failed.
func (l *ledger) fails(t *testing.T, n int) {
	t.Helper()
	count := func() (n int) { l.note(func() { n = l.failed }); return n }
	begin := count()
	for deadline := time.Now().Add(20 * time.Second); count() < begin+n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("every issue works")
		}
	}
}

// TestFaultsOfTheNetwork: whatever the network does to the pool or to the listener of a process, no call
// outlasts its context, no good token is refused, no ended one is accepted after the lease, and once the fault
// is over nothing is lost and nothing lives again.
func TestFaultsOfTheNetwork(t *testing.T) {
	dsn(t)
	for _, fault := range networkFaults {
		for _, listener := range []bool{false, true} {
			name := map[bool]string{false: "pool", true: "listener"}[listener] + ", " + fault.name
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := twoProcesses(t, name, listener)
				stop := sync.OnceFunc(p.load(t))
				defer stop()
				p.ledger.goOn(t, 10)
				w := hears(t, p.store)
				fault.begin(p.proxy)
				at := storage.Elapsed()
				switch {
				case listener:
					p.goesDeaf(t, w, at, fault.deaf)
				case fault.lasting:
					p.ledger.fails(t, 2)
				}
				if fault.lasting {
					fault.lift(p.proxy)
				}
				p.goesOn(t)
				stop()
				p.audit(t)
			})
		}
	}
}

// goesDeaf checks that w ends, that it proves nothing from after an instant at which a fault lets no answer
// through, and that no copy is used once the lease is over.
func (p *processes) goesDeaf(t *testing.T, w *watched, fault time.Duration, deaf bool) {
	t.Helper()
	var asOf time.Duration
	w.until(t, func(c storage.Change) bool { asOf = max(asOf, c.AsOf); return false })
	if !errors.Is(w.err, storage.ErrUnavailable) {
		t.Errorf("the watch ended with %v", w.err)
	}
	if !deaf {
		return
	}
	if asOf > fault {
		t.Errorf("a watch proves what it has told until %v after the fault", asOf-fault)
	}
	for storage.Elapsed() <= fault+shortLease {
		time.Sleep(time.Millisecond)
	}
	for id := range p.known() {
		if _, ok := p.copies.Cached(id); ok {
			t.Fatal("a copy is used after the lease")
		}
	}
	p.ledger.goOn(t, 3) // the pools still work
}

func (p *processes) known() map[lapse.ID]bool {
	known := map[lapse.ID]bool{}
	p.ledger.note(func() {
		for id := range p.ledger.known {
			known[id] = true
		}
	})
	return known
}

// goesOn checks that the process here works again: its calls, its watches and its copies.
func (p *processes) goesOn(t *testing.T) {
	t.Helper()
	begin := time.Now()
	for w := hears(t, p.store); !w.until(t, func(c storage.Change) bool { return c.AsOf != 0 }); w = hears(t, p.store) {
		if time.Since(begin) > time.Minute { // the watch may have heard the last of several cuts
			t.Fatalf("no watch proves anything: %v", w.err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	issued, err := p.here.Issue(ctx, lapse.Grant{Subject: "afterwards"})
	if err != nil {
		t.Fatalf("Issue after the fault: %v", err)
	}
	if _, err := p.there.Expire(ctx, issued.ID); err != nil {
		t.Fatalf("Expire after the fault: %v", err)
	}
	for ; ; time.Sleep(time.Millisecond) {
		if _, err := p.here.Authenticate(ctx, issued.Bearer); errors.Is(err, lapse.ErrRevoked) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	p.ledger.goOn(t, 10)
}

// audit audits the ledger in both processes. Nobody works any more.
func (p *processes) audit(t *testing.T) {
	t.Helper()
	l := p.ledger
	for name, m := range map[string]*lapse.Manager{"here": p.here, "there": p.there} {
		lost, revived, unowned := l.audit(t, m)
		if lost+revived > 0 || unowned > l.unknown {
			t.Errorf("%s: %d lost, %d revived, %d live that no caller has; %d issues of unknown outcome", name, lost, revived, unowned, l.unknown)
		}
	}
	if len(l.wrong) > 0 {
		t.Errorf("%q", l.wrong)
	}
	t.Logf("%d live, %d ended, %d ends and %d issues of unknown outcome, %d issues failed", len(l.live), len(l.ended), len(l.unsure), l.unknown, l.failed)
}
