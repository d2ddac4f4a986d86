package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// start has a part below the millisecond, so that rounding is exercised, and is
// not the zero of any count.
var start = time.Date(2026, 1, 5, 9, 0, 0, 123_456_789, time.UTC)

// startMilli is start as lapse sees it.
var startMilli = start.Truncate(time.Millisecond)

// stepClock is a clock that stands still until it is told to move. The mock of
// benbjohnson/clock would do, but sleeps a real millisecond for every step.
type stepClock struct{ nano atomic.Int64 }

func newClock() *stepClock {
	c := new(stepClock)
	c.set(start)
	return c
}

func (c *stepClock) Now() time.Time                       { return time.Unix(0, c.nano.Load()) }
func (c *stepClock) After(time.Duration) <-chan time.Time { return nil }
func (c *stepClock) set(t time.Time)                      { c.nano.Store(t.UnixNano()) }
func (c *stepClock) add(d time.Duration)                  { c.nano.Add(int64(d)) }

// fixture is a Manager with everything around it that a test looks at.
type fixture struct {
	*lapse.Manager
	t      *testing.T
	ctx    context.Context
	clock  *stepClock
	store  *storagetest.Faulty
	events []lapse.Event
}

// newFixture makes a Manager on memory; cfg's clock and observer are the
// fixture's.
func newFixture(t *testing.T, cfg lapse.Config) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: context.Background(), clock: newClock(), store: storagetest.NewFaulty(memory.New())}
	f.Manager = f.manager(cfg)
	return f
}

// manager makes another Manager on the same store and clock.
func (f *fixture) manager(cfg lapse.Config) *lapse.Manager {
	f.t.Helper()
	cfg.Clock = f.clock
	cfg.Observe = func(_ context.Context, e lapse.Event) { f.events = append(f.events, e) }
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

func wantIs(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v; want %v", what, got, want)
	}
}

func wantDiff(t *testing.T, what string, want, got any, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// errorsIs compares errors as their readers do.
var errorsIs = cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) || errors.Is(b, a) })

func TestIssue(t *testing.T) {
	f := newFixture(t, lapse.Config{Prefix: "app"})
	got := f.issue(lapse.Grant{Subject: "ana", Name: "laptop", Scope: "read write", Data: "\x00\xff"})
	want := lapse.Token{
		ID: got.ID, Prefix: "app", Subject: "ana", Name: "laptop", Scope: "read write", Data: "\x00\xff",
		IssuedAt: startMilli, ExpiresAt: startMilli.Add(30 * time.Minute), MaxExpiresAt: startMilli.Add(30 * 24 * time.Hour),
	}
	wantDiff(t, "issued", want, got.Token)
	wantDiff(t, "stored", want, f.token(got.ID))
	wantDiff(t, "events", []lapse.Event{{Kind: lapse.EventIssued, At: startMilli, Token: want}}, f.events)
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
			f.clock.add(row.after)
			_, err := f.Authenticate(f.ctx, i.Bearer)
			wantIs(t, "Authenticate", err, row.want)
			_, err = f.Peek(f.ctx, i.Bearer)
			wantIs(t, "Peek", err, row.want)
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
	f.clock.add(25 * time.Minute)
	got, err := f.Authenticate(f.ctx, i.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	now := startMilli.Add(25 * time.Minute)
	want := i.Token
	want.LastUsedAt, want.ExpiresAt = now, now.Add(30*time.Minute)
	wantDiff(t, "returned", want, got)
	wantDiff(t, "what every other call answers", want, f.token(i.ID))
	wantDiff(t, "event", lapse.Event{Kind: lapse.EventRenewed, At: now, Token: want}, f.events[1])

	f.clock.add(30*time.Minute - time.Millisecond)
	if _, err := f.Peek(f.ctx, i.Bearer); err != nil {
		t.Errorf("1 ms before 30 idle minutes: %v", err)
	}
	f.clock.add(time.Millisecond)
	_, err = f.Peek(f.ctx, i.Bearer)
	wantIs(t, "after 30 idle minutes", err, lapse.ErrExpired)
}

// TestWindowIsTheTokensOwn: a token of ten hours under a policy of thirty minutes
// is renewed by ten hours, and never shortened.
func TestWindowIsTheTokensOwn(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", TTL: 10 * time.Hour})
	f.clock.add(time.Hour)
	tok, err := f.Authenticate(f.ctx, i.Bearer)
	if want := startMilli.Add(11 * time.Hour); err != nil || !tok.ExpiresAt.Equal(want) {
		t.Errorf("renewed until %v, %v; want %v", tok.ExpiresAt, err, want)
	}
}

func TestCapEndsWhatIsUsedAllDay(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 8 * time.Hour}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	end := startMilli.Add(8 * time.Hour)
	for f.clock.add(20 * time.Minute); f.clock.Now().Before(end); f.clock.add(20 * time.Minute) {
		tok, err := f.Authenticate(f.ctx, i.Bearer)
		if err != nil {
			t.Fatalf("at %v: %v", f.clock.Now(), err)
		}
		if tok.ExpiresAt.After(end) {
			t.Fatalf("renewed until %v, past the cap at %v", tok.ExpiresAt, end)
		}
	}
	f.clock.set(end.Add(-time.Millisecond))
	if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
		t.Errorf("1 ms before the cap: %v", err)
	}
	f.clock.set(end)
	_, err := f.Authenticate(f.ctx, i.Bearer)
	wantIs(t, "at the cap", err, lapse.ErrExpired)
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
		f.clock.add(row.after)
		var tok lapse.Token
		calls := f.calls(func() { tok, _ = f.Authenticate(f.ctx, i.Bearer) })
		wantDiff(t, fmt.Sprintf("calls after %v", row.after), row.calls, calls)
		wantDiff(t, "returned is stored", f.token(i.ID), tok)
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
		f.clock.add(10 * time.Minute)
		used, err := f.Authenticate(f.ctx, i.Bearer)
		if err != nil {
			t.Fatal(err)
		}
		if got := used.ExpiresAt.After(i.ExpiresAt); got != row.byUse {
			t.Errorf("mode %d: use renews: %v; want %v", row.mode, got, row.byUse)
		}
		if want := startMilli.Add(10 * time.Minute); !f.token(i.ID).LastUsedAt.Equal(want) {
			t.Errorf("mode %d: last use %v; want %v", row.mode, f.token(i.ID).LastUsedAt, want)
		}
		f.clock.add(10 * time.Minute)
		_, err = f.Renew(f.ctx, i.Bearer)
		wantIs(t, "Renew", err, row.renewErr)
		if got := f.token(i.ID).ExpiresAt.Equal(startMilli.Add(50 * time.Minute)); got != row.byCall {
			t.Errorf("mode %d: Renew renews: %v; want %v", row.mode, got, row.byCall)
		}
	}
}

// TestPeekWritesNothing: neither expiry nor last use move, however often.
func TestPeekWritesNothing(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.add(29 * time.Minute)
	calls := f.calls(func() {
		if tok, err := f.Peek(f.ctx, i.Bearer); err != nil || tok != i.Token {
			t.Errorf("Peek: %+v, %v", tok, err)
		}
	})
	wantDiff(t, "calls", []storagetest.Op{opGet}, calls)
	f.clock.add(time.Minute)
	_, err := f.Authenticate(f.ctx, i.Bearer)
	wantIs(t, "Authenticate after a life of peeks", err, lapse.ErrExpired)
}
