package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// fixture is a Manager with everything around it that a test looks at.
type fixture struct {
	*lapse.Manager
	t     *testing.T
	ctx   context.Context
	clock *lapsetest.StepClock
	store *storagetest.Faulty

	mu       sync.Mutex    // of what Observe keeps: a goroutine of the Manager tells of the ends of holds
	events   []lapse.Event // told returns them while such a goroutine runs
	failures []lapse.Event // of calls that could not tell
}

// newFixture makes a Manager on memory; cfg's clock and observer are the
// fixture's.
func newFixture(t *testing.T, cfg lapse.Config) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: context.Background(), clock: lapsetest.NewClock(), store: storagetest.NewFaulty(memory.New())}
	f.Manager = f.manager(cfg)
	return f
}

// observe keeps e. Of every event it leaves out what that tells of the call, which the tests of
// event.go look at. It leaves out the cuts, which a goroutine of the Manager tells of at some time.
func (f *fixture) observe(_ context.Context, e lapse.Event) {
	e.Verb, e.Prefix, e.Before = 0, "", nil
	f.mu.Lock()
	defer f.mu.Unlock()
	switch e.Kind {
	case lapse.EventCut:
	case lapse.EventCouldNotTell:
		f.failures = append(f.failures, e)
	default:
		f.events = append(f.events, e)
	}
}

// told returns a copy of the events.
func (f *fixture) told() []lapse.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events)
}

// manager makes another Manager on the same store and clock.
func (f *fixture) manager(cfg lapse.Config) *lapse.Manager {
	f.t.Helper()
	cfg.Clock = f.clock
	cfg.Observe = f.observe
	m, err := lapse.New(f.store, cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (f *fixture) issue(g lapse.Grant) lapse.Issued {
	f.t.Helper()
	i, err := f.Issue(f.ctx, g)
	if err != nil {
		f.t.Fatalf("Issue: %v", err)
	}
	return i
}

func (f *fixture) token(id lapse.ID) lapse.Token {
	f.t.Helper()
	tok, err := f.Token(f.ctx, id)
	if err != nil {
		f.t.Fatalf("Token: %v", err)
	}
	return tok
}

// calls returns what do asked of the store.
func (f *fixture) calls(do func()) []storagetest.Op {
	f.store.Reset()
	do()
	return f.store.Calls()
}

var (
	opGet, opTouch, opUpdate = storagetest.OpGet, storagetest.OpTouch, storagetest.OpUpdate
	noCalls                  []storagetest.Op
)

func TestIssue(t *testing.T) {
	f := newFixture(t, lapse.Config{Prefix: "app"})
	got := f.issue(lapse.Grant{Subject: "ana", Name: "laptop", Scope: "read write", Data: "\x00\xff"})
	want := lapse.Token{
		ID: got.ID, Prefix: "app", Subject: "ana", Name: "laptop", Scope: "read write", Data: "\x00\xff",
		IssuedAt: lapsetest.StartMilli, ExpiresAt: lapsetest.StartMilli.Add(30 * time.Minute), MaxExpiresAt: lapsetest.StartMilli.Add(30 * 24 * time.Hour),
		AuthenticatedAt: lapsetest.StartMilli,
	}
	lapsetest.WantDiff(t, "issued", want, got.Token)
	lapsetest.WantDiff(t, "stored", want, f.token(got.ID))
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventIssued, At: lapsetest.StartMilli, Token: want}}, f.events)
	if tok, err := f.Peek(f.ctx, got.Bearer); err != nil || tok != want {
		t.Errorf("Peek: %+v, %v; want what was issued", tok, err)
	}
}

// TestLifeBoundaries asks at the edges of a life that ended in each way.
func TestLifeBoundaries(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration
		want  error
	}{
		{"1 ms before", 30*time.Minute - time.Millisecond, nil},
		{"1 ns before", 30*time.Minute - 456_790*time.Nanosecond, nil}, // expiry is at whole milliseconds
		{"at", 30*time.Minute - 456_789*time.Nanosecond, lapse.ErrExpired},
		{"1 ns after", 30*time.Minute - 456_788*time.Nanosecond, lapse.ErrExpired},
		{"1 ms after", 30*time.Minute + time.Millisecond, lapse.ErrExpired},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewNever}})
			i := f.issue(lapse.Grant{Subject: "ana"})
			f.clock.Add(row.after)
			_, err := f.Authenticate(f.ctx, i.Bearer)
			lapsetest.WantIs(t, "Authenticate", err, row.want)
			_, err = f.Peek(f.ctx, i.Bearer)
			lapsetest.WantIs(t, "Peek", err, row.want)
			if live := f.token(i.ID).Live(f.clock.Now()); live != (row.want == nil) {
				t.Errorf("Token.Live: %v", live)
			}
			ended, err := f.Expire(f.ctx, i.ID)
			if ended != (row.want == nil) || err != nil {
				t.Errorf("Expire: %v, %v; want true only of a live token", ended, err)
			}
		})
	}
}

func TestSlidingRenewal(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(25 * time.Minute)
	got, err := f.Authenticate(f.ctx, i.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	now := lapsetest.StartMilli.Add(25 * time.Minute)
	want := i.Token
	want.LastUsedAt, want.ExpiresAt = now, now.Add(30*time.Minute)
	lapsetest.WantDiff(t, "returned", want, got)
	lapsetest.WantDiff(t, "what every other call answers", want, f.token(i.ID))
	lapsetest.WantDiff(t, "event", lapse.Event{Kind: lapse.EventRenewed, At: now, Token: want}, f.events[1])

	f.clock.Add(30*time.Minute - time.Millisecond)
	if _, err := f.Peek(f.ctx, i.Bearer); err != nil {
		t.Errorf("1 ms before 30 idle minutes: %v", err)
	}
	f.clock.Add(time.Millisecond)
	_, err = f.Peek(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "after 30 idle minutes", err, lapse.ErrExpired)
}

// TestWindowIsTheTokensOwn: a token of ten hours under a policy of thirty minutes
// is renewed by ten hours, and never shortened.
func TestWindowIsTheTokensOwn(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", TTL: 10 * time.Hour})
	f.clock.Add(time.Hour)
	tok, err := f.Authenticate(f.ctx, i.Bearer)
	if want := lapsetest.StartMilli.Add(11 * time.Hour); err != nil || !tok.ExpiresAt.Equal(want) {
		t.Errorf("renewed until %v, %v; want %v", tok.ExpiresAt, err, want)
	}
}

func TestCapEndsWhatIsUsedAllDay(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 8 * time.Hour}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	end := lapsetest.StartMilli.Add(8 * time.Hour)
	for f.clock.Add(20 * time.Minute); f.clock.Now().Before(end); f.clock.Add(20 * time.Minute) {
		tok, err := f.Authenticate(f.ctx, i.Bearer)
		if err != nil {
			t.Fatalf("at %v: %v", f.clock.Now(), err)
		}
		if tok.ExpiresAt.After(end) {
			t.Fatalf("renewed until %v, past the cap at %v", tok.ExpiresAt, end)
		}
	}
	f.clock.Set(end.Add(-time.Millisecond))
	if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
		t.Errorf("1 ms before the cap: %v", err)
	}
	f.clock.Set(end)
	_, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "at the cap", err, lapse.ErrExpired)
}

func TestRenewEvery(t *testing.T) {
	for _, row := range []struct {
		after time.Duration
		calls []storagetest.Op
	}{
		{time.Minute - time.Millisecond, []storagetest.Op{opGet}},
		{time.Minute, []storagetest.Op{opGet, opTouch}},
		{time.Minute + time.Millisecond, []storagetest.Op{opGet, opTouch}},
	} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{RenewEvery: time.Minute}})
		i := f.issue(lapse.Grant{Subject: "ana"})
		f.clock.Add(row.after)
		var tok lapse.Token
		calls := f.calls(func() { tok, _ = f.Authenticate(f.ctx, i.Bearer) })
		lapsetest.WantDiff(t, fmt.Sprintf("calls after %v", row.after), row.calls, calls)
		lapsetest.WantDiff(t, "returned is stored", f.token(i.ID), tok)
		if renewed := tok.ExpiresAt.After(i.ExpiresAt); renewed != slices.Contains(row.calls, opTouch) {
			t.Errorf("after %v: renewed %v", row.after, renewed)
		}
	}
}

func TestRenewalModes(t *testing.T) {
	for _, row := range []struct {
		mode          lapse.Renewal
		byUse, byCall bool
		renewErr      error
	}{
		{lapse.RenewOnUse, true, true, nil},
		{lapse.RenewOnRequest, false, true, nil},
		{lapse.RenewNever, false, false, lapse.ErrNotRenewable},
	} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: row.mode}})
		i := f.issue(lapse.Grant{Subject: "ana"})
		f.clock.Add(10 * time.Minute)
		used, err := f.Authenticate(f.ctx, i.Bearer)
		if err != nil {
			t.Fatal(err)
		}
		if got := used.ExpiresAt.After(i.ExpiresAt); got != row.byUse {
			t.Errorf("mode %d: use renews: %v; want %v", row.mode, got, row.byUse)
		}
		if want := lapsetest.StartMilli.Add(10 * time.Minute); !f.token(i.ID).LastUsedAt.Equal(want) {
			t.Errorf("mode %d: last use %v; want %v", row.mode, f.token(i.ID).LastUsedAt, want)
		}
		f.clock.Add(10 * time.Minute)
		_, err = f.Renew(f.ctx, i.Bearer)
		lapsetest.WantIs(t, "Renew", err, row.renewErr)
		if got := f.token(i.ID).ExpiresAt.Equal(lapsetest.StartMilli.Add(50 * time.Minute)); got != row.byCall {
			t.Errorf("mode %d: Renew renews: %v; want %v", row.mode, got, row.byCall)
		}
	}
}

// TestPeekWritesNothing: neither expiry nor last use move, however often.
func TestPeekWritesNothing(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(29 * time.Minute)
	calls := f.calls(func() {
		if tok, err := f.Peek(f.ctx, i.Bearer); err != nil || tok != i.Token {
			t.Errorf("Peek: %+v, %v", tok, err)
		}
	})
	lapsetest.WantDiff(t, "calls", []storagetest.Op{opGet}, calls)
	f.clock.Add(time.Minute)
	_, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Authenticate after a life of peeks", err, lapse.ErrExpired)
}

// TestEvictionIsTold: who makes room is told of first, as it is then.
func TestEvictionIsTold(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}})
	old := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(time.Minute)
	f.events = nil
	fresh := f.issue(lapse.Grant{Subject: "ana"})
	now := lapsetest.StartMilli.Add(time.Minute)
	want := old.Token
	want.EndedAt, want.EndReason = now, lapse.EndEvicted
	lapsetest.WantDiff(t, "events", []lapse.Event{
		{Kind: lapse.EventEnded, At: now, Token: want},
		{Kind: lapse.EventIssued, At: now, Token: fresh.Token},
	}, f.events)
}

// TestExpireMeetsSweep: a token that is swept once it was found had long been
// dead, and nothing is left to end.
func TestExpireMeetsSweep(t *testing.T) {
	for name, end := range map[string]func(f *fixture, i lapse.Issued) (any, error){
		"Expire":       func(f *fixture, i lapse.Issued) (any, error) { return f.Expire(f.ctx, i.ID) },
		"ExpireBearer": func(f *fixture, i lapse.Issued) (any, error) { return f.ExpireBearer(f.ctx, i.Bearer) },
	} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana"})
		want := map[string]any{"Expire": false, "ExpireBearer": i.Token}[name]
		f.store.Before(func(op storagetest.Op) {
			if op != opUpdate {
				return
			}
			f.store.Before(nil)
			f.clock.Add(30 * 24 * time.Hour)
			if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
				t.Errorf("Sweep in between: %d, %v", n, err)
			}
		})
		f.events = nil
		got, err := end(f, i)
		lapsetest.WantIs(t, name, err, nil)
		lapsetest.WantDiff(t, name, want, got)
		lapsetest.WantDiff(t, name+": events", []lapse.EventKind{lapse.EventSwept}, f.kinds())
	}
}

// TestOneInstantPerUse: a use is recorded at the instant by which the token was
// judged, however long Admit takes.
func TestOneInstantPerUse(t *testing.T) {
	var f *fixture
	f = newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error {
		f.clock.Add(10 * time.Minute)
		return nil
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(time.Minute)
	now := lapsetest.StartMilli.Add(time.Minute)
	want := i.Token
	want.LastUsedAt, want.ExpiresAt = now, now.Add(30*time.Minute)
	got, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Authenticate", err, nil)
	lapsetest.WantDiff(t, "returned", want, got)
	lapsetest.WantDiff(t, "stored", want, f.token(i.ID))
	lapsetest.WantDiff(t, "event", lapse.Event{Kind: lapse.EventRenewed, At: now, Token: want}, f.events[1])
}

// TestRenewalKeepsWhatCameBefore: a use that was stored while Renew waited for its
// turn is not undone, although the clock of Renew's turn is behind it.
func TestRenewalKeepsWhatCameBefore(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	var want lapse.Token
	f.store.Before(func(op storagetest.Op) {
		if op != opUpdate {
			return
		}
		f.store.Before(nil)
		f.clock.Add(10 * time.Minute)
		var err error
		if want, err = f.Authenticate(f.ctx, i.Bearer); err != nil {
			t.Error(err)
		}
		f.clock.Add(-5 * time.Minute)
	})
	got, err := f.Renew(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Renew", err, nil)
	lapsetest.WantDiff(t, "renewed", want, got)
	lapsetest.WantDiff(t, "stored", want, f.token(i.ID))
}

// TestCheckSubjectsReason: what Admit said is what the Rejection holds.
func TestCheckSubjectsReason(t *testing.T) {
	reason := errors.New("on holiday until Monday")
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error {
		return fmt.Errorf("%w: %w", lapse.ErrRefused, reason)
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	_, err := f.Peek(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Peek", err, lapse.ErrRefused)
	lapsetest.WantIs(t, "Peek", err, reason)
	var r *lapse.Rejection
	if !errors.As(err, &r) || !errors.Is(r.Err, reason) {
		t.Errorf("the rejection: %+v; want the reason in it", r)
	}
}

// TestForeignVerdictsKeepTheirCause: what is not a verdict is found in an error
// that holds one of somebody else's.
func TestForeignVerdictsKeepTheirCause(t *testing.T) {
	cause := &fs.PathError{Op: "dial", Path: "directory", Err: errDirectory}
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error {
		return fmt.Errorf("%w: %w", cause, lapse.ErrExpired)
	}})
	_, err := f.Peek(f.ctx, f.issue(lapse.Grant{Subject: "ana"}).Bearer)
	var path *fs.PathError
	if !errors.As(err, &path) || path != cause || !errors.Is(err, errDirectory) {
		t.Errorf("%v: its cause cannot be found", err)
	}
	var r *lapse.Rejection
	if errors.Is(err, lapse.ErrUnauthenticated) || errors.As(err, &r) {
		t.Errorf("%v reads as a bad token", err)
	}
}

type callersKey struct{}

// TestFault21HooksGetTheCallersContext: what a caller has in its context, Admit and Observe
// find there, whatever the verb.
func TestFault21HooksGetTheCallersContext(t *testing.T) {
	var admitted, observed, strange, all int
	count := func(ctx context.Context, n *int) {
		*n, all = *n+1, all+1
		if ctx.Value(callersKey{}) != "mine" {
			strange++
		}
	}
	cfg := lapse.Config{
		Admit:   func(ctx context.Context, _ lapse.Token) error { count(ctx, &admitted); return nil },
		Observe: func(ctx context.Context, _ lapse.Event) { count(ctx, &observed) },
	}
	for _, verb := range verbs {
		s := newScene(t)
		cfg.Clock, cfg.Policy, cfg.Keys = s.clock, scenePolicy, sceneConfig(scenePolicy, 1).Keys
		s.Manager = lapsetest.Must(lapse.New(s.store, cfg))
		admitted, observed, strange = 0, 0, 0
		verb.do(context.WithValue(s.ctx, callersKey{}, "mine"), s)
		if strange != 0 {
			t.Errorf("%s: %d of %d calls of Admit and %d of Observe have another context", verb.name, strange, admitted, observed)
		}
	}
	cfg.Policy, cfg.Keys = lapse.Policy{}, nil
	for _, verb := range pairVerbs {
		s := newPairScene(t, nil)
		cfg.Clock = s.clock
		s.Pairs = lapsetest.Must(lapse.NewPairs(s.store, lapse.PairConfig{Access: cfg}))
		admitted, observed, strange = 0, 0, 0
		verb.do(context.WithValue(s.ctx, callersKey{}, "mine"), s)
		if strange != 0 {
			t.Errorf("Pairs, %s: %d of %d calls of Admit and %d of Observe have another context", verb.name, strange, admitted, observed)
		}
	}
	if all < len(verbs)+len(pairVerbs) {
		t.Errorf("%d calls by %d verbs", all, len(verbs)+len(pairVerbs))
	}
}

// Time travel without a Clock: a nil one is the system's, and in a bubble that is
// the bubble's. Sleeping there takes no time.
func TestBubbleTimeTravel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := managerOn(t, lapse.Config{})
		issued := granted(t, m, lapse.Grant{Subject: "ana"})

		time.Sleep(30*time.Minute - time.Millisecond)
		if _, err := m.Peek(t.Context(), issued.Bearer); err != nil {
			t.Errorf("a millisecond before its time: %v", err)
		}
		time.Sleep(time.Millisecond)
		if _, err := m.Authenticate(t.Context(), issued.Bearer); !errors.Is(err, lapse.ErrExpired) {
			t.Errorf("at its time: got %v, want %v", err, lapse.ErrExpired)
		}
	})
}

// sweepHourly is the loop that an application runs in a goroutine of its own.
func sweepHourly(ctx context.Context, m *lapse.Manager, report func(deleted int, err error)) {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			report(m.Sweep(ctx))
		}
	}
}

func TestBubbleHourlySweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := managerOn(t, lapse.Config{})
		start := time.Now()
		short := granted(t, m, lapse.Grant{Subject: "ana"})                    // dead from 0:30
		long := granted(t, m, lapse.Grant{Subject: "ana", TTL: 7 * time.Hour}) // dead from 7:00
		live := granted(t, m, lapse.Grant{Subject: "ana", TTL: 99 * time.Hour})

		var got []string
		go sweepHourly(t.Context(), m, func(deleted int, err error) {
			if err != nil {
				t.Error(err)
			}
			if deleted > 0 {
				got = append(got, fmt.Sprint(time.Since(start), " ", deleted))
			}
		})
		time.Sleep(48 * time.Hour)
		synctest.Wait() // for the tick of this very hour

		// 24 hours dead is not yet longer than Retention: the next tick has it.
		if diff := cmp.Diff([]string{"25h0m0s 1", "32h0m0s 1"}, got); diff != "" {
			t.Errorf("sweeps that deleted (-want +got):\n%s", diff)
		}
		for _, gone := range []lapse.ID{short.ID, long.ID} {
			if _, err := m.Token(t.Context(), gone); !errors.Is(err, lapse.ErrNotFound) {
				t.Errorf("token %v: got %v, want %v", gone, err, lapse.ErrNotFound)
			}
		}
		if _, err := m.Peek(t.Context(), live.Bearer); err != nil {
			t.Errorf("the live token: %v", err)
		}
	})
}

// handClock is a Clock in three lines, for programs that want no dependency.
type handClock struct{ now time.Time }

func (c *handClock) Now() time.Time                       { return c.now }
func (c *handClock) After(time.Duration) <-chan time.Time { return nil } // nobody here waits

// dayPolicy leaves no decision to its default but the length of a life.
var dayPolicy = lapse.Policy{MaxTTL: 2 * time.Hour, RenewEvery: 5 * time.Minute, Retention: time.Hour}

// The same day gives the same decisions whoever tells the time.
func TestClocksAgree(t *testing.T) {
	start := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC) // of every bubble
	want := []string{
		"00:00 issued: until 00:30",
		"00:04 used: until 00:30", // too soon to renew
		"00:05 used: until 00:35",
		"00:34 peeked: until 00:35",
		"00:34 renewed: until 01:04",
		"00:59 used: until 01:29",
		"01:29 used: expired at 01:29",
		"01:29 issued: until 01:59",
		"01:54 used: until 02:24",
		"02:19 used: until 02:49",
		"02:44 used: until 03:14",
		"03:09 used: until 03:29", // the cap
		"03:29 renewed: expired at 03:29",
		"03:29 issued: until 03:59",
		"03:39 ended: until 03:59",
		"03:39 used: expired at 03:39 revoked",
		"03:39 swept 1", // the one that died at 01:29
		"04:29 swept 0", // an hour dead is not longer than Retention
		"04:30 swept 1",
	}

	mock := clock.NewMock()
	mock.Set(start)
	m := managerOn(t, lapse.Config{Policy: dayPolicy, Clock: mock})
	if diff := cmp.Diff(want, liveADay(t, m, mock.Now, mock.Add)); diff != "" {
		t.Errorf("under *clock.Mock (-want +got):\n%s", diff)
	}

	hand := &handClock{start}
	m = managerOn(t, lapse.Config{Policy: dayPolicy, Clock: hand})
	turn := func(d time.Duration) { hand.now = hand.now.Add(d) }
	if diff := cmp.Diff(want, liveADay(t, m, hand.Now, turn)); diff != "" {
		t.Errorf("under a clock of three lines (-want +got):\n%s", diff)
	}

	synctest.Test(t, func(t *testing.T) {
		m := managerOn(t, lapse.Config{Policy: dayPolicy})
		if diff := cmp.Diff(want, liveADay(t, m, time.Now, time.Sleep)); diff != "" {
			t.Errorf("in the bubble (-want +got):\n%s", diff)
		}
	})
}

// liveADay goes through what time decides, and notes each decision. Three tokens
// die one after the other: of idleness, at the cap, by Expire.
func liveADay(t *testing.T, m *lapse.Manager, now func() time.Time, wait func(time.Duration)) []string {
	t.Helper()
	d := diary{t: t, m: m, now: func() time.Time { return now().UTC() }}
	for _, step := range []struct {
		wait time.Duration
		do   func()
	}{
		{0, d.issue}, {4 * time.Minute, d.use}, {1 * time.Minute, d.use}, {29 * time.Minute, d.peek}, {0, d.renew},
		{25 * time.Minute, d.use}, {30 * time.Minute, d.use},
		{0, d.issue}, {25 * time.Minute, d.use}, {25 * time.Minute, d.use}, {25 * time.Minute, d.use},
		{25 * time.Minute, d.use}, {20 * time.Minute, d.renew},
		{0, d.issue}, {10 * time.Minute, d.end}, {0, d.use},
		{0, d.sweep}, {50 * time.Minute, d.sweep}, {1 * time.Minute, d.sweep},
	} {
		wait(step.wait)
		step.do()
	}
	return d.lines
}

// diary does something with the token issued last, and notes what came of it.
type diary struct {
	t     *testing.T
	m     *lapse.Manager
	now   func() time.Time
	tok   lapse.Issued
	lines []string
}

func (d *diary) note(what string) {
	d.lines = append(d.lines, d.now().Format("15:04 ")+what)
}

func (d *diary) noteToken(what string, tok lapse.Token, err error) {
	var r *lapse.Rejection
	switch {
	case err == nil:
		d.note(what + ": until " + tok.ExpiresAt.Format("15:04"))
	case errors.As(err, &r) && (r.Err == lapse.ErrExpired || r.Err == lapse.ErrRevoked):
		d.note(strings.TrimSpace(what + ": expired at " + r.At.Format("15:04 ") + r.Reason.String()))
	default:
		d.t.Fatalf("%s: %v", what, err)
	}
}

func (d *diary) issue() {
	d.tok = granted(d.t, d.m, lapse.Grant{Subject: "ana"})
	d.noteToken("issued", d.tok.Token, nil)
}

func (d *diary) use() {
	tok, err := d.m.Authenticate(d.t.Context(), d.tok.Bearer)
	d.noteToken("used", tok, err)
}

func (d *diary) peek() {
	tok, err := d.m.Peek(d.t.Context(), d.tok.Bearer)
	d.noteToken("peeked", tok, err)
}

func (d *diary) renew() {
	tok, err := d.m.Renew(d.t.Context(), d.tok.Bearer)
	d.noteToken("renewed", tok, err)
}

func (d *diary) end() {
	tok, err := d.m.ExpireBearer(d.t.Context(), d.tok.Bearer)
	d.noteToken("ended", tok, err)
}

func (d *diary) sweep() {
	deleted, err := d.m.Sweep(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	d.note(fmt.Sprint("swept ", deleted))
}

// managerOn returns a Manager in memory.
func managerOn(t *testing.T, cfg lapse.Config) *lapse.Manager {
	t.Helper()
	m, err := lapse.New(memory.New(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func granted(t *testing.T, m *lapse.Manager, g lapse.Grant) lapse.Issued {
	t.Helper()
	issued, err := m.Issue(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// dialClock says what its tests set.
type dialClock struct{ t time.Time }

func (c *dialClock) Now() time.Time                       { return c.t }
func (c *dialClock) After(time.Duration) <-chan time.Time { return nil }

// configStart is where the hand of a dialClock stands first.
var configStart = time.Date(2026, time.March, 1, 8, 0, 0, 0, time.UTC)

// configured returns a Manager on store whose clock stands at configStart, unless
// cfg has one.
func configured(t *testing.T, store storage.Store, cfg lapse.Config) (*lapse.Manager, *dialClock) {
	t.Helper()
	clock := &dialClock{configStart}
	if cfg.Clock == nil {
		cfg.Clock = clock
	}
	m, err := lapse.New(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m, clock
}

// issueFor issues a token that must be possible.
func issueFor(t *testing.T, m *lapse.Manager, g lapse.Grant) lapse.Issued {
	t.Helper()
	issued, err := m.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// stored returns every record of store.
func stored(t *testing.T, store storage.Store) (all []storage.Record) {
	t.Helper()
	for rec, err := range store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all
}

// TestNewNamesTheField of the first contradiction it finds.
func TestNewNamesTheField(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cfg   lapse.Config
		field string
	}{
		{"TTL negative", lapse.Config{Policy: lapse.Policy{TTL: -time.Hour}}, "Policy.TTL"},
		{"TTL without limit", lapse.Config{Policy: lapse.Policy{TTL: lapse.NoLimit}}, "Policy.TTL"},
		{"TTL under a millisecond", lapse.Config{Policy: lapse.Policy{TTL: time.Microsecond}}, "Policy.TTL"},
		{"MaxTTL below TTL", lapse.Config{Policy: lapse.Policy{TTL: 2, MaxTTL: 1}}, "Policy.TTL"},
		{"MaxTTL below a valid TTL", lapse.Config{Policy: lapse.Policy{TTL: 2e6, MaxTTL: 1e6}}, "Policy.MaxTTL"},
		{"MaxTokens -1", lapse.Config{Policy: lapse.Policy{MaxTokens: -1}}, "Policy.MaxTokens"},
		{"RenewEvery negative", lapse.Config{Policy: lapse.Policy{RenewEvery: -1}}, "Policy.RenewEvery"},
		{"Retention negative", lapse.Config{Policy: lapse.Policy{Retention: -1}}, "Policy.Retention"},
		{"no such Renewal", lapse.Config{Policy: lapse.Policy{Renewal: 9}}, "Policy.Renewal"},
		{"no such AtLimit", lapse.Config{Policy: lapse.Policy{AtLimit: 9}}, "Policy.AtLimit"},
		{"prefix of 17 bytes", lapse.Config{Prefix: "seventeen_letters"}, "Prefix"},
		{"prefix in upper case", lapse.Config{Prefix: "Lapse"}, "Prefix"},
		{"nil pointer for a clock", lapse.Config{Clock: (*dialClock)(nil)}, "Clock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := memory.New()
			m, err := lapse.New(store, tt.cfg)
			if m != nil || !errors.Is(err, lapse.ErrInvalidConfig) || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Fatalf("New = %v, %v, want nil, ErrInvalidConfig", m, err)
			}
			if !strings.Contains(err.Error(), tt.field+":") && !strings.Contains(err.Error(), tt.field+" ") {
				t.Errorf("%q does not name %s", err, tt.field)
			}
			if n := len(stored(t, store)); n != 0 {
				t.Errorf("%d records are stored", n)
			}
		})
	}
}

// TestConfigIsNeverReadAgain: New took a copy.
func TestConfigIsNeverReadAgain(t *testing.T) {
	clock := &dialClock{configStart}
	told := 0
	cfg := lapse.Config{
		Policy:  lapse.Policy{TTL: time.Hour, MaxTokens: 1},
		Prefix:  "before",
		Clock:   clock,
		Observe: func(context.Context, lapse.Event) { told++ },
	}
	m, err := lapse.New(memory.New(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Policy = lapse.Policy{TTL: time.Minute, MaxTokens: 100}
	cfg.Prefix, cfg.Clock = "after", &dialClock{configStart.Add(24 * time.Hour)}
	cfg.Admit = func(context.Context, lapse.Token) error { return lapse.ErrRefused }
	cfg.Observe = func(context.Context, lapse.Event) { t.Error("the observer given later was told") }

	issued := issueFor(t, m, lapse.Grant{Subject: "ana"})
	want := lapse.Token{
		ID: issued.ID, Prefix: "before", Subject: "ana", IssuedAt: configStart,
		ExpiresAt: configStart.Add(time.Hour), MaxExpiresAt: configStart.Add(30 * 24 * time.Hour),
		AuthenticatedAt: configStart,
	}
	if diff := cmp.Diff(want, issued.Token); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
	if _, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"}); !errors.Is(err, lapse.ErrLimit) {
		t.Errorf("second Issue = %v, want ErrLimit", err)
	}
	if _, err := m.Peek(t.Context(), issued.Bearer); err != nil || told != 1 {
		t.Errorf("Peek = %v; observer told %d times, want 1", err, told)
	}
}

// TestTwoPoliciesOnOneStore: each token keeps the numbers it was issued with,
// whichever Manager reads it.
func TestTwoPoliciesOnOneStore(t *testing.T) {
	store, clock := memory.New(), &dialClock{configStart}
	short, _ := configured(t, store, lapse.Config{Clock: clock, Policy: lapse.Policy{TTL: 10 * time.Minute, MaxTTL: time.Hour}})
	long, _ := configured(t, store, lapse.Config{Clock: clock, Policy: lapse.Policy{TTL: 10 * time.Hour, MaxTTL: 100 * time.Hour}})
	fromShort := issueFor(t, short, lapse.Grant{Subject: "ana"})
	fromLong := issueFor(t, long, lapse.Grant{Subject: "ana"})

	clock.t = configStart.Add(5 * time.Minute)
	for _, tt := range []struct {
		name           string
		m              *lapse.Manager
		bearer         string
		expires, limit time.Duration
	}{
		{"the short one's own", short, fromShort.Bearer, 15 * time.Minute, time.Hour},
		{"the short one's by the long one", long, fromShort.Bearer, 15 * time.Minute, time.Hour},
		{"the long one's own", long, fromLong.Bearer, 10*time.Hour + 5*time.Minute, 100 * time.Hour},
		{"the long one's by the short one", short, fromLong.Bearer, time.Hour, time.Hour}, // the lower cap applies at once
		{"the long one's own, afterwards", long, fromLong.Bearer, 10*time.Hour + 5*time.Minute, 100 * time.Hour},
	} {
		tok, err := tt.m.Renew(t.Context(), tt.bearer)
		if err != nil {
			t.Fatal(err)
		}
		if !tok.ExpiresAt.Equal(configStart.Add(tt.expires)) || !tok.MaxExpiresAt.Equal(configStart.Add(tt.limit)) {
			t.Errorf("%s: expires at %v, cap %v", tt.name, tok.ExpiresAt, tok.MaxExpiresAt)
		}
	}
}

// TestPolicyCountsFromEachIssue, not from when the Manager was made.
func TestPolicyCountsFromEachIssue(t *testing.T) {
	m, clock := configured(t, memory.New(), lapse.Config{})
	clock.t = configStart.Add(45 * time.Minute)
	issued := issueFor(t, m, lapse.Grant{Subject: "ana"})
	if diff := cmp.Diff(configStart.Add(75*time.Minute), issued.ExpiresAt); diff != "" {
		t.Errorf("expiry (-want +got):\n%s", diff)
	}
}

// TestLimitIsPerSubjectAndPrefix.
func TestLimitIsPerSubjectAndPrefix(t *testing.T) {
	store, clock := memory.New(), &dialClock{configStart}
	one := lapse.Policy{MaxTokens: 1}
	web, _ := configured(t, store, lapse.Config{Clock: clock, Policy: one, Prefix: "web"})
	cli, _ := configured(t, store, lapse.Config{Clock: clock, Policy: one, Prefix: "cli"})
	for _, m := range []*lapse.Manager{web, cli} {
		for _, subject := range []string{"ana", "bob"} {
			issueFor(t, m, lapse.Grant{Subject: subject})
			if _, err := m.Issue(t.Context(), lapse.Grant{Subject: subject}); !errors.Is(err, lapse.ErrLimit) {
				t.Errorf("second token of %s = %v, want ErrLimit", subject, err)
			}
		}
	}
	if n := len(stored(t, store)); n != 4 {
		t.Errorf("%d records are stored, want 4", n)
	}
}

// TestLimitLeavesOutTheDead: what ran out or was ended is no longer there, swept
// or not.
func TestLimitLeavesOutTheDead(t *testing.T) {
	store := memory.New()
	m, clock := configured(t, store, lapse.Config{Policy: lapse.Policy{MaxTokens: 3}})
	issueFor(t, m, lapse.Grant{Subject: "ana", TTL: time.Minute}) // runs out
	ended := issueFor(t, m, lapse.Grant{Subject: "ana"})
	issueFor(t, m, lapse.Grant{Subject: "ana"})
	if _, err := m.Expire(t.Context(), ended.ID); err != nil {
		t.Fatal(err)
	}
	clock.t = configStart.Add(time.Minute)
	issueFor(t, m, lapse.Grant{Subject: "ana"})
	issueFor(t, m, lapse.Grant{Subject: "ana"})
	before := stored(t, store)
	if _, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"}); !errors.Is(err, lapse.ErrLimit) {
		t.Errorf("fourth live token = %v, want ErrLimit", err)
	}
	if diff := cmp.Diff(before, stored(t, store), cmp.Comparer(storage.Digest.Equal)); diff != "" {
		t.Errorf("a refused Issue changed what is stored (-want +got):\n%s", diff)
	}
}

// TestSubjectsAreComparedByteForByte: ending the tokens of one ends those of no
// other, however alike they look to people or to a database.
func TestSubjectsAreComparedByteForByte(t *testing.T) {
	for name, subjects := range map[string][]string{
		"prefixes of each other": {"a", "ab", "a/", "a:b", "a:", "aa", "b"},
		"NFC and NFD":            {"caf\u00e9", "cafe\u0301", "cafe"},
		"case":                   {"user", "User", "USER"},
		"spaces":                 {"ana", "ana ", " ana", "ana\u00a0", "ana\u3000"},
		"folding":                {"stra\u00dfe", "strasse", "\u0130stanbul", "istanbul", "\u212a", "K", "k"},
		"wildcards":              {"a%", "a_", "a*", "ab", "a?"},
		"lengths at the limit":   {strings.Repeat("a", 254), strings.Repeat("a", 255), strings.Repeat("a", 254) + "b"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, ended := range subjects {
				endsOnly(t, subjects, ended)
			}
		})
	}
}

// endsOnly issues two tokens to each subject and ends those of one.
func endsOnly(t *testing.T, subjects []string, ended string) {
	t.Helper()
	m, _ := configured(t, memory.New(), lapse.Config{})
	bearers := map[string][]string{}
	for range 2 {
		for _, subject := range subjects {
			bearers[subject] = append(bearers[subject], issueFor(t, m, lapse.Grant{Subject: subject}).Bearer)
		}
	}
	if n, err := m.ExpireSubject(t.Context(), ended); n != 2 || err != nil {
		t.Errorf("ExpireSubject(%q) = %d, %v, want 2", ended, n, err)
	}
	for _, subject := range subjects {
		for _, bearer := range bearers[subject] {
			tok, err := m.Authenticate(t.Context(), bearer)
			if subject == ended && !errors.Is(err, lapse.ErrRevoked) {
				t.Errorf("token of %q after its end = %v, want ErrRevoked", subject, err)
			}
			if subject != ended && (err != nil || tok.Subject != subject) {
				t.Errorf("token of %q after the end of %q = %q, %v", subject, ended, tok.Subject, err)
			}
		}
	}
}

// TestTokensListsOneSubject, without a neighbour's, in the order of their IDs.
func TestTokensListsOneSubject(t *testing.T) {
	m, _ := configured(t, memory.New(), lapse.Config{})
	var want []lapse.Token
	for _, subject := range []string{"a", "ab", "a", "a/", "a", "A"} {
		issued := issueFor(t, m, lapse.Grant{Subject: subject})
		if subject == "a" {
			want = append(want, issued.Token)
		}
	}
	slices.SortFunc(want, func(a, b lapse.Token) int { return a.ID.Compare(b.ID) })
	for range 2 {
		var got []lapse.Token
		for tok, err := range m.List(t.Context(), lapse.Query{Subject: "a"}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, tok)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("tokens (-want +got):\n%s", diff)
		}
	}
}

// TestUnknownSubject has no tokens, which is no error, and none afterwards.
func TestUnknownSubject(t *testing.T) {
	store := memory.New()
	m, _ := configured(t, store, lapse.Config{})
	if n, err := m.ExpireSubject(t.Context(), "nobody"); n != 0 || err != nil {
		t.Errorf("ExpireSubject = %d, %v, want 0, nil", n, err)
	}
	for tok, err := range m.List(t.Context(), lapse.Query{Subject: "nobody"}) {
		t.Errorf("List yields %v, %v", tok, err)
	}
	if n := len(stored(t, store)); n != 0 {
		t.Errorf("%d records are stored", n)
	}
}

// TestImpossibleSubjects are refused by every verb that takes one, and the empty
// one does not mean everybody.
func TestImpossibleSubjects(t *testing.T) {
	m, _ := configured(t, memory.New(), lapse.Config{})
	issued := issueFor(t, m, lapse.Grant{Subject: "a"})
	for _, subject := range []string{"", "a\x00", "a\x00b", "\xff", "a\n", strings.Repeat("a", 256)} {
		if n, err := m.ExpireSubject(t.Context(), subject); n != 0 || !errors.Is(err, lapse.ErrInvalidGrant) {
			t.Errorf("ExpireSubject(%.20q) = %d, %v, want 0, ErrInvalidGrant", subject, n, err)
		}
		if n, err := m.ForgetSubject(t.Context(), subject); n != 0 || !errors.Is(err, lapse.ErrInvalidGrant) {
			t.Errorf("ForgetSubject(%.20q) = %d, %v, want 0, ErrInvalidGrant", subject, n, err)
		}
	}
	if _, err := m.Peek(t.Context(), issued.Bearer); err != nil {
		t.Errorf("the token that is there: %v", err)
	}
}

// TestLimitUnder32Callers: a limit of five issues exactly five, or leaves exactly
// five alive.
func TestLimitUnder32Callers(t *testing.T) {
	const limit, callers = 5, 32
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx := context.Background()
			m, clock := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: limit, AtLimit: atLimit})
			lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
			errs := lapsetest.Together(callers, func(int) error {
				_, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
				return err
			})
			store.Before(nil)
			issued := 0
			for _, err := range errs {
				if err == nil {
					issued++
				} else if !errors.Is(err, lapse.ErrLimit) {
					t.Errorf("Issue: %v", err)
				}
			}
			live := 0
			for tok, err := range m.List(ctx, lapse.Query{Subject: "ana"}) {
				if err != nil {
					t.Fatal(err)
				}
				if tok.Live(clock.Now()) {
					live++
				}
			}
			want := callers
			if atLimit == lapse.LimitRefuse {
				want = limit
			}
			if issued != want || live != limit {
				t.Errorf("AtLimit %d: %d issued, %d alive; want %d and %d", atLimit, issued, live, want, limit)
			}
		})
	}
}

// TestRenewAgainstExpire lets renewals of both kinds and an end loose on one
// token at once: the end holds.
func TestRenewAgainstExpire(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{})
		for range 20 {
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana", TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			clock.Add(time.Second)
			lapsetest.Arrivals(store, 9, storagetest.OpGet)
			errs := lapsetest.Together(9, func(n int) error {
				switch n % 3 {
				case 0:
					_, err := m.Authenticate(ctx, i.Bearer)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				case 1:
					_, err := m.Renew(ctx, i.Bearer)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				default:
					_, err := m.Expire(ctx, i.ID)
					return err
				}
			})
			store.Before(nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			tok, err := m.Token(ctx, i.ID)
			if err != nil || tok.EndedAt.IsZero() {
				t.Fatalf("after the race: %+v, %v; want it ended", tok, err)
			}
			_, err = m.Authenticate(ctx, i.Bearer)
			lapsetest.WantIs(t, "Authenticate after the race", err, lapse.ErrRevoked)
		}
	})
}

// TestOneRenewalAtOneInstant: callers of the same token at the same instant all
// get in, and nobody shortens anything.
func TestOneRenewalAtOneInstant(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{})
		i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		clock.Add(time.Minute)
		lapsetest.Arrivals(store, 64, storagetest.OpGet)
		errs := lapsetest.Together(64, func(int) error {
			tok, err := m.Authenticate(ctx, i.Bearer)
			if err == nil && !tok.ExpiresAt.Equal(lapsetest.StartMilli.Add(31*time.Minute)) {
				t.Errorf("lives until %v", tok.ExpiresAt)
			}
			return err
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
}

// TestIssueAgainstExpireSubject: what was issued before the log-out everywhere is
// dead, what came later lives, and the order of the store decides which is which.
func TestIssueAgainstExpireSubject(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
		const issuers = 31
		before := make([]lapse.Issued, 5)
		for n := range before {
			var err error
			if before[n], err = m.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
				t.Fatal(err)
			}
		}
		bearers := make([]string, issuers)
		ended := 0
		lapsetest.Arrivals(store, issuers+1, storagetest.OpUpdate)
		errs := lapsetest.Together(issuers+1, func(n int) (err error) {
			if n == issuers {
				ended, err = m.ExpireSubject(ctx, "ana")
				return err
			}
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			bearers[n] = i.Bearer
			return err
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		live := 0
		for _, b := range bearers {
			if _, err := m.Peek(ctx, b); err == nil {
				live++
			}
		}
		for _, i := range before {
			_, err := m.Peek(ctx, i.Bearer)
			lapsetest.WantIs(t, "one issued before", err, lapse.ErrRevoked)
		}
		if ended+live != issuers+len(before) {
			t.Errorf("%d ended, %d alive of %d", ended, live, issuers+len(before))
		}
	})
}

// sweeperAhead returns a Manager whose clock has passed the retention of what
// the others' clock is about to renew.
func sweeperAhead(t *testing.T, store storage.Store) *lapse.Manager {
	t.Helper()
	m, clock := lapsetest.GateManager(t, store, lapse.Policy{Retention: time.Millisecond})
	clock.Add(30*time.Minute + 2*time.Millisecond)
	return m
}

// TestSweepAgainstRenew sweeps tokens while half of them are renewed: each one is
// either deleted and counted, or there with its new expiry.
func TestSweepAgainstRenew(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
		const tokens, renewing = 40, 20
		issued := make([]lapse.Issued, tokens)
		for n := range issued {
			var err error
			if issued[n], err = m.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
				t.Fatal(err)
			}
		}
		clock.Add(30*time.Minute - time.Millisecond)
		sweeper := sweeperAhead(t, store)
		deleted := 0
		lapsetest.Arrivals(store, renewing+1, storagetest.OpTouch, storagetest.OpSweep)
		errs := lapsetest.Together(renewing+1, func(n int) (err error) {
			if n == renewing {
				deleted, err = sweeper.Sweep(ctx)
				return err
			}
			_, err = m.Authenticate(ctx, issued[n].Bearer)
			return lapsetest.Ignore(err, lapse.ErrUnknown)
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		left := 0
		for tok, err := range m.List(ctx, lapse.Query{Subject: "ana"}) {
			if err != nil || !tok.ExpiresAt.After(issued[0].ExpiresAt) {
				t.Errorf("%+v, %v survived without being renewed", tok, err)
			}
			left++
		}
		if deleted+left != tokens {
			t.Errorf("%d deleted, %d left of %d", deleted, left, tokens)
		}
	})
}

// TestSweepSparesTheRenewed is the race of above with its order fixed: the sweep
// has begun, the renewal comes, the sweep goes on.
func TestSweepSparesTheRenewed(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{Retention: time.Millisecond})
		renewed, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
			t.Fatal(err)
		}
		clock.Add(30*time.Minute - time.Millisecond)
		sweeper := sweeperAhead(t, store)
		store.Before(func(op storagetest.Op) {
			if op != storagetest.OpSweep {
				return
			}
			store.Before(nil)
			if _, err := m.Authenticate(ctx, renewed.Bearer); err != nil {
				t.Errorf("Authenticate: %v", err)
			}
		})
		if n, err := sweeper.Sweep(ctx); n != 1 || err != nil {
			t.Errorf("Sweep: %d, %v; want the other one alone", n, err)
		}
		var left []lapse.ID
		for tok := range m.List(ctx, lapse.Query{Subject: "ana"}) {
			left = append(left, tok.ID)
		}
		if !slices.Equal(left, []lapse.ID{renewed.ID}) {
			t.Errorf("left: %v; want the renewed one", left)
		}
	})
}

// TestMain leaves the many small heaps of these tests more garbage.
func TestMain(m *testing.M) {
	sample.Garbage()
	m.Run()
}
