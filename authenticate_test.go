package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

func TestBudgetCountsDown(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewNever}})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 10})
	if i.MaxUses != 10 || i.UsesLeft != 10 {
		t.Fatalf("issued with %d of %d", i.UsesLeft, i.MaxUses)
	}
	for left := 9; left >= 0; left-- {
		f.clock.Add(time.Second)
		f.events = nil
		want := f.token(i.ID)
		now := f.clock.Now().Truncate(time.Millisecond).UTC()
		want.UsesLeft, want.LastUsedAt = left, now
		var events []lapse.Event
		if left == 0 {
			want.EndedAt, want.EndReason = now, lapse.EndExhausted
			events = []lapse.Event{{Kind: lapse.EventEnded, At: now, Token: want}}
		}
		var got lapse.Token
		calls := f.calls(func() {
			var err error
			if got, err = f.Authenticate(f.ctx, i.Bearer); err != nil {
				t.Fatal(err)
			}
		})
		lapsetest.WantDiff(t, fmt.Sprint("with ", left, " left"), want, got)
		lapsetest.WantDiff(t, "stored", want, f.token(i.ID))
		lapsetest.WantDiff(t, "events", events, f.events)
		lapsetest.WantDiff(t, "calls", []storagetest.Op{opGet, opUpdate}, calls)
	}
}

// TestExhausted: every verb says so, of a token that would live for long, and also
// after that time.
func TestExhausted(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1}})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "one more while it can be used", err, lapse.ErrLimit)
	f.clock.Add(time.Minute)
	if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
		t.Fatal(err)
	}
	before := f.contents()
	for range 2 {
		for name, verb := range bearerVerbs(f.Manager) {
			if name == "ExpireBearer" {
				continue
			}
			f.events = nil
			err := verb(f.ctx, i.Bearer)
			lapsetest.WantIs(t, name, err, lapse.ErrExhausted)
			lapsetest.WantIs(t, name, err, lapse.ErrUnauthenticated)
			var r *lapse.Rejection
			if !errors.As(err, &r) || errors.Is(err, lapse.ErrExpired) {
				t.Fatalf("%s: %v", name, err)
			}
			lapsetest.WantDiff(t, name, lapse.Rejection{
				Err: lapse.ErrExhausted, ID: i.ID, Subject: "ana", At: lapsetest.StartMilli.Add(time.Minute), Reason: lapse.EndExhausted,
			}, *r, lapsetest.ErrorsIs)
			if len(f.events) != 1 || f.events[0].Kind != lapse.EventRejected {
				t.Errorf("%s: events %+v", name, f.events)
			}
		}
		f.clock.Add(time.Hour)
	}
	if ended, err := f.Expire(f.ctx, i.ID); ended || err != nil {
		t.Errorf("Expire: %v, %v", ended, err)
	}
	lapsetest.WantDiff(t, "contents", before, f.contents())
	f.issue(lapse.Grant{Subject: "ana"}) // there is room
}

// TestWhatSpendsNothing: Peek, Renew, a refusal, and what is not asked of the token.
func TestWhatSpendsNothing(t *testing.T) {
	refused := error(nil)
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error { return refused }})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	f.clock.Add(time.Minute)
	tampered := []byte(i.Bearer)
	tampered[40]++
	for name, do := range map[string]func() error{
		"Peek":    func() error { _, err := f.Peek(f.ctx, i.Bearer); return err },
		"Renew":   func() error { _, err := f.Renew(f.ctx, i.Bearer); return err },
		"Confirm": func() error { _, err := f.Confirm(f.ctx, i.Bearer); return err },
		"Token":   func() error { _, err := f.Token(f.ctx, i.ID); return err },
		"a wrong secret": func() error {
			_, err := f.Authenticate(f.ctx, string(tampered))
			return lapsetest.Ignore(err, lapse.ErrMalformed)
		},
		"another prefix": func() error {
			_, err := f.manager(lapse.Config{Prefix: "other"}).Authenticate(f.ctx, i.Bearer)
			return lapsetest.Ignore(err, lapse.ErrUnknown)
		},
		"a subject that is refused": func() error {
			refused = lapse.ErrRefused
			_, err := f.Authenticate(f.ctx, i.Bearer)
			refused = nil
			return lapsetest.Ignore(err, lapse.ErrRefused)
		},
		"a check that cannot tell": func() error {
			refused = errDisk
			_, err := f.Authenticate(f.ctx, i.Bearer)
			refused = nil
			return lapsetest.Ignore(err, errDisk)
		},
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tok := f.token(i.ID); tok.UsesLeft != 1 || !tok.EndedAt.IsZero() {
			t.Errorf("%s: %+v", name, tok)
		}
	}
	if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
		t.Error(err)
	}
}

// TestBudgetRenewals: a use of a budget renews when any use would, at the same pace.
func TestBudgetRenewals(t *testing.T) {
	const m = time.Minute
	for _, row := range []struct {
		name  string
		mode  lapse.Renewal
		every time.Duration
		until [6]time.Duration // after a use at each fourth minute
		used  [6]time.Duration
	}{
		{"each use", lapse.RenewOnUse, 0, [6]time.Duration{34 * m, 38 * m, 42 * m, 46 * m, 50 * m, 50 * m}, [6]time.Duration{4 * m, 8 * m, 12 * m, 16 * m, 20 * m, 24 * m}},
		{"by request", lapse.RenewOnRequest, 0, [6]time.Duration{30 * m, 30 * m, 30 * m, 30 * m, 30 * m, 30 * m}, [6]time.Duration{4 * m, 8 * m, 12 * m, 16 * m, 20 * m, 24 * m}},
		{"never", lapse.RenewNever, 0, [6]time.Duration{30 * m, 30 * m, 30 * m, 30 * m, 30 * m, 30 * m}, [6]time.Duration{4 * m, 8 * m, 12 * m, 16 * m, 20 * m, 24 * m}},
		{"each use, every 8 minutes", lapse.RenewOnUse, 8 * m, [6]time.Duration{30 * m, 38 * m, 38 * m, 46 * m, 46 * m, 46 * m}, [6]time.Duration{0, 8 * m, 8 * m, 16 * m, 16 * m, 24 * m}},
		{"each use, every 8 minutes and a millisecond", lapse.RenewOnUse, 8*m + 1e6, [6]time.Duration{30 * m, 30 * m, 42 * m, 42 * m, 42 * m, 42 * m}, [6]time.Duration{0, 0, 12 * m, 12 * m, 12 * m, 24 * m}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: row.mode, RenewEvery: row.every}})
			i, plain := f.issue(lapse.Grant{Subject: "ana", MaxUses: 6}), f.issue(lapse.Grant{Subject: "ana"})
			for n, until := range row.until {
				f.clock.Add(4 * m)
				got, err := f.Authenticate(f.ctx, i.Bearer)
				if err != nil {
					t.Fatal(err)
				}
				used := time.Time{}
				if row.used[n] > 0 {
					used = lapsetest.StartMilli.Add(row.used[n])
				}
				if want := lapsetest.StartMilli.Add(until); !got.ExpiresAt.Equal(want) || !got.LastUsedAt.Equal(used) {
					t.Errorf("use %d: until %v, used %v; want %v, %v", n+1, got.ExpiresAt, got.LastUsedAt, want, used)
				}
				other, err := f.Authenticate(f.ctx, plain.Bearer)
				if err != nil {
					t.Fatal(err)
				}
				if n < 5 && (!other.ExpiresAt.Equal(got.ExpiresAt) || !other.LastUsedAt.Equal(got.LastUsedAt)) {
					t.Errorf("use %d: %+v; one without a budget says %+v", n+1, got, other)
				}
			}
		})
	}
}

// TestBudgetBoundary: a token that has run out spends nothing, and says that.
func TestBudgetBoundary(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration
		want  error
	}{
		{"1 ms before", 30*time.Minute - time.Millisecond, nil},
		{"at", 30 * time.Minute, lapse.ErrExpired},
		{"1 ms after", 30*time.Minute + time.Millisecond, lapse.ErrExpired},
	} {
		for _, inTurn := range []bool{false, true} {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewNever}})
			i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
			if inTurn { // it runs out while its use waits for its turn
				f.store.Before(func(op storagetest.Op) {
					if op == opUpdate {
						f.store.Before(nil)
						f.clock.Set(lapsetest.StartMilli.Add(row.after))
					}
				})
			} else {
				f.clock.Set(lapsetest.StartMilli.Add(row.after))
			}
			tok, err := f.Authenticate(f.ctx, i.Bearer)
			lapsetest.WantIs(t, row.name, err, row.want)
			if (tok != lapse.Token{}) != (err == nil) {
				t.Errorf("%s: %+v with %v", row.name, tok, err)
			}
			if left := f.token(i.ID).UsesLeft; left != map[bool]int{true: 0, false: 1}[row.want == nil] {
				t.Errorf("%s: %d left", row.name, left)
			}
		}
	}
}

func TestMaxUsesLimits(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for _, uses := range []int{0, 1, math.MaxInt32} {
		if i := f.issue(lapse.Grant{Subject: "ana", MaxUses: uses}); i.MaxUses != uses || f.token(i.ID) != i.Token {
			t.Errorf("%d: %+v", uses, i)
		}
	}
	bad := []int{-1, math.MinInt}
	if over := math.MaxInt32; math.MaxInt > over {
		bad = append(bad, over+1, math.MaxInt)
	}
	for _, uses := range bad {
		_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana", MaxUses: uses})
		lapsetest.WantIs(t, fmt.Sprint(uses), err, lapse.ErrInvalidGrant)
		if !strings.Contains(err.Error(), "MaxUses") || !strings.Contains(err.Error(), fmt.Sprint(uses)) {
			t.Errorf("%d: %v; want the field and its value", uses, err)
		}
	}
}

// TestBudgetOutlivesReopening: what was spent stays spent, also the last use.
func TestBudgetOutlivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	ctx, clock := context.Background(), lapsetest.NewClock()
	var bearer string
	for left := 2; left >= -1; left-- {
		s, err := bolt.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := lapse.New(s, lapse.Config{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		if bearer == "" {
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: 3})
			if err != nil {
				t.Fatal(err)
			}
			bearer = i.Bearer
		}
		tok, err := m.Authenticate(ctx, bearer)
		if left < 0 {
			lapsetest.WantIs(t, "after the last use", err, lapse.ErrExhausted)
		} else if err != nil || tok.UsesLeft != left || tok.MaxUses != 3 {
			t.Errorf("%d left: %+v, %v", left, tok, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostEndOfLastUse: in a store that kept the last use and lost the end with it, the
// token is as good as ended.
func TestLostEndOfLastUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 2})
	for _, left := range []int{0, -1} {
		m, err := lapse.New(&bent{f.store, func(_ storage.ID, r storage.Record) storage.Record {
			r.UsesLeft = left
			return r
		}}, lapse.Config{Clock: f.clock})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Authenticate(f.ctx, i.Bearer)
		lapsetest.WantIs(t, "Authenticate", err, lapse.ErrExhausted)
		_, err = m.Peek(f.ctx, i.Bearer)
		lapsetest.WantIs(t, "Peek", err, lapse.ErrExhausted)
	}
	if tok := f.token(i.ID); tok.UsesLeft != 2 {
		t.Errorf("%+v", tok)
	}
}

// TestBudgetUnder64Callers: as many succeed as there are uses, each with another number
// left, and the rest are told that none is.
func TestBudgetUnder64Callers(t *testing.T) {
	const callers = 64
	for _, uses := range []int{1, 5, callers} {
		for _, gate := range []storagetest.Op{opGet, opUpdate} {
			lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
				ctx := context.Background()
				m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
				i, err := m.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: uses})
				if err != nil {
					t.Fatal(err)
				}
				lefts := make([]int, callers)
				lapsetest.Arrivals(store, callers, gate)
				errs := lapsetest.Together(callers, func(n int) error {
					tok, err := m.Authenticate(ctx, i.Bearer)
					lefts[n] = tok.UsesLeft
					return err
				})
				store.Before(nil)
				seen := make(map[int]int)
				for n, err := range errs {
					if err == nil {
						seen[lefts[n]]++
					} else if !errors.Is(err, lapse.ErrExhausted) {
						t.Errorf("Authenticate: %v", err)
					}
				}
				for left := range uses {
					if seen[left] != 1 {
						t.Errorf("%d callers were told that %d of %d uses are left", seen[left], left, uses)
					}
				}
				if len(seen) != uses {
					t.Errorf("%d succeeded; want %d", len(seen), uses)
				}
				_, err = m.Peek(ctx, i.Bearer)
				lapsetest.WantIs(t, "Peek", err, lapse.ErrExhausted)
			})
		}
	}
}

// TestRenewAgainstLastUse: a Renew that was judged before the last use is refused after
// it, and told of, and gives no use back.
func TestRenewAgainstLastUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	f.clock.Add(time.Minute)
	f.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			f.store.Before(nil)
			if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
				t.Error(err)
			}
		}
	})
	f.events = nil
	_, err := f.Renew(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Renew", err, lapse.ErrExhausted)
	var kinds []lapse.EventKind
	for _, e := range f.events {
		kinds = append(kinds, e.Kind)
	}
	lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventEnded, lapse.EventRejected}, kinds)
	if tok := f.token(i.ID); tok.UsesLeft != 0 || tok.EndReason != lapse.EndExhausted {
		t.Errorf("%+v", tok)
	}
}

// TestSpentAfterSweep: a use that finds nothing any more is refused.
func TestSpentAfterSweep(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	f.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			f.store.Before(nil)
			f.clock.Add(30 * 24 * time.Hour)
			if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
				t.Errorf("Sweep: %d, %v", n, err)
			}
		}
	})
	f.events = nil
	_, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Authenticate", err, lapse.ErrUnknown)
	lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventSwept, lapse.EventRejected}, f.kinds())
}

// TestBudgetFaults: a use that failed before its effect is not spent and can be tried
// again; one of which that cannot be told says so, and is spent at most once.
func TestBudgetFaults(t *testing.T) {
	for _, row := range []struct {
		call  int
		mode  storagetest.Mode
		err   error
		want  error
		spent int
	}{
		{1, storagetest.FailBefore, storage.ErrUnavailable, lapse.ErrUnavailable, 0},
		{1, storagetest.FailAfter, errDisk, errDisk, 0}, // a read has no effect
		{1, storagetest.Hang, nil, context.DeadlineExceeded, 0},
		{2, storagetest.FailBefore, storage.ErrUnavailable, lapse.ErrUnavailable, 0},
		{2, storagetest.FailBefore, storage.ErrConflict, lapse.ErrConflict, 0},
		{2, storagetest.FailBefore, storage.ErrClosed, lapse.ErrClosed, 0},
		{2, storagetest.Hang, nil, context.DeadlineExceeded, 0},
		{2, storagetest.FailAfter, storage.ErrOutcomeUnknown, lapse.ErrOutcomeUnknown, 1},
	} {
		for _, uses := range []int{1, 2} {
			t.Run(fmt.Sprintf("call %d/%v %v/%d uses", row.call, row.mode, row.err, uses), func(t *testing.T) {
				f := newFixture(t, lapse.Config{})
				i := f.issue(lapse.Grant{Subject: "ana", MaxUses: uses})
				f.clock.Add(time.Minute)
				f.events = nil
				f.store.Reset()
				f.store.Inject(row.call, row.mode, row.err)
				tok, err := f.Authenticate(lateAt(f.ctx, f.store, row.call, row.mode), i.Bearer)
				if !f.store.Fired() {
					t.Fatal("the fault did not happen")
				}
				lapsetest.WantIs(t, "error", err, row.want)
				if errors.Is(err, lapse.ErrUnauthenticated) || tok != (lapse.Token{}) || len(f.events) != 0 {
					t.Errorf("%+v, %v, told of %+v", tok, err, f.events)
				}
				left := uses - row.spent
				if got := f.token(i.ID).UsesLeft; got != left {
					t.Errorf("%d left; want %d", got, left)
				}
				tok, err = f.Authenticate(f.ctx, i.Bearer)
				if left == 0 {
					lapsetest.WantIs(t, "again", err, lapse.ErrExhausted)
				} else if err != nil || tok.UsesLeft != left-1 {
					t.Errorf("again: %+v, %v", tok, err)
				}
			})
		}
	}
}

// TestFault15_RenewIsNoUse of a budget, and gives an exhausted token no life.
func TestFault15_RenewIsNoUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	for range 3 {
		f.clock.Add(time.Minute)
		tok, err := f.Renew(f.ctx, i.Bearer)
		if want := f.clock.Now().UTC().Truncate(time.Millisecond).Add(30 * time.Minute); err != nil || tok.UsesLeft != 1 || !tok.ExpiresAt.Equal(want) {
			t.Errorf("Renew: %+v, %v; want one use left, until %v", tok, err, want)
		}
	}
	_, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "the one use", err, nil)
	_, err = f.Renew(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Renew after it", err, lapse.ErrExhausted)
}

// answerLink is a link that may be clicked uses times, and twice within 10 seconds.
func answerLink(uses int) lapse.Grant {
	return lapse.Grant{Subject: "ana", MaxUses: uses, UseGrace: 10 * time.Second}
}

// TestFault15_ADoubleClickIsTold: within the grace, and while the token would live, the last use
// is good again. That changes nothing.
func TestFault15_ADoubleClickIsTold(t *testing.T) {
	for _, row := range []struct {
		name  string
		ttl   time.Duration
		after time.Duration
		want  error
	}{
		{"at once", 0, 0, nil},
		{"just within", 0, 10*time.Second - time.Millisecond, nil},
		{"at its end", 0, 10 * time.Second, lapse.ErrExhausted},
		{"after it", 0, time.Minute, lapse.ErrExhausted},
		{"before it runs out", 5 * time.Second, 5*time.Second - time.Millisecond, nil},
		{"when it runs out", 5 * time.Second, 5 * time.Second, lapse.ErrExhausted},
	} {
		f := newFixture(t, lapse.Config{})
		g := answerLink(2)
		g.TTL = row.ttl
		i := f.issue(g)
		for left := 1; left >= 0; left-- {
			if tok, err := f.Authenticate(f.ctx, i.Bearer); err != nil || tok.UsesLeft != left || tok.Repeated() {
				t.Fatalf("%s: %+v, %v", row.name, tok, err)
			}
		}
		want := f.token(i.ID)
		f.clock.Add(row.after)
		f.events = nil
		calls := f.calls(func() {
			for name, do := range map[string]func(context.Context, string) (lapse.Token, error){"Authenticate": f.Authenticate, "Peek": f.Peek, "again": f.Authenticate} {
				tok, err := do(f.ctx, i.Bearer)
				lapsetest.WantIs(t, row.name+", "+name, err, row.want)
				if row.want == nil && (!tok.Repeated() || tok.UsesLeft != -1 || !tok.EndedAt.IsZero() || !tok.ExpiresAt.Equal(want.ExpiresAt)) {
					t.Errorf("%s, %s: %+v", row.name, name, tok)
				}
			}
		})
		if slices.Contains(calls, opUpdate) || slices.Contains(calls, opTouch) {
			t.Errorf("%s: %v; want nothing written", row.name, calls)
		}
		if row.want == nil {
			lapsetest.WantDiff(t, row.name+": events of two uses", []lapse.EventKind{lapse.EventRepeated, lapse.EventRepeated}, f.kinds())
		}
		if got := f.token(i.ID); got != want || got.Repeated() {
			t.Errorf("%s: it became %+v", row.name, got)
		}
	}
}

// TestFault15_NoGrace: a token that another reason ended, or that keeps no grace, or whose last
// use was held, is not good again; nor is any other verb.
func TestFault15_NoGrace(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	use := func(bearer string) {
		t.Helper()
		_, err := f.Authenticate(f.ctx, bearer)
		lapsetest.WantIs(t, "use", err, nil)
	}
	for name, row := range map[string]struct {
		grant lapse.Grant
		do    func(i lapse.Issued)
		want  error
	}{
		"no UseGrace": {lapse.Grant{Subject: "ana", MaxUses: 1}, func(i lapse.Issued) { use(i.Bearer) }, lapse.ErrExhausted},
		"revoked":     {answerLink(2), func(i lapse.Issued) { use(i.Bearer); f.Expire(f.ctx, i.ID) }, lapse.ErrRevoked},
		"revoked within it, by its ID": {answerLink(1), func(i lapse.Issued) {
			use(i.Bearer)
			ended, err := f.Expire(f.ctx, i.ID)
			if !ended || err != nil {
				t.Errorf("Expire within the grace: %v, %v", ended, err)
			}
		}, lapse.ErrRevoked},
		"revoked within it, by its text": {answerLink(1), func(i lapse.Issued) { use(i.Bearer); f.ExpireBearer(f.ctx, i.Bearer) }, lapse.ErrRevoked},
		"revoked within it, by its subject": {answerLink(1), func(i lapse.Issued) {
			use(i.Bearer)
			if n, err := f.ExpireSubject(f.ctx, "ana"); n < 1 || err != nil {
				t.Errorf("ExpireSubject within the grace: %d, %v", n, err)
			}
		}, lapse.ErrRevoked},
		"its secret was replaced": {answerLink(2), func(i lapse.Issued) {
			use(i.Bearer)
			r, _ := f.Rotate(f.ctx, i.Bearer, 0)
			use(r.Bearer)
		}, lapse.ErrReplaced},
	} {
		i := f.issue(row.grant)
		row.do(i)
		_, err := f.Authenticate(f.ctx, i.Bearer)
		lapsetest.WantIs(t, name, err, row.want)
	}
	for _, on := range holdStores { // a use that is held is not clicked
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(answerLink(1))
			_, release := h.released(i.Bearer)
			_, err := h.Authenticate(h.ctx, i.Bearer)
			lapsetest.WantIs(t, "while it is held", err, lapse.ErrExhausted)
			release()
			h.left("released", i.ID, 0, lapse.EndExhausted)
			_, err = h.Authenticate(h.ctx, i.Bearer)
			lapsetest.WantIs(t, "once it was released", err, lapse.ErrExhausted)
		})
	}
	i := f.issue(answerLink(1))
	use(i.Bearer)
	use(i.Bearer)
	for name, do := range map[string]func() error{
		"Renew":   func() error { _, err := f.Renew(f.ctx, i.Bearer); return err },
		"Confirm": func() error { _, err := f.Confirm(f.ctx, i.Bearer); return err },
		"Rotate":  func() error { _, err := f.Rotate(f.ctx, i.Bearer, 0); return err },
		"Hold":    func() error { _, err := f.Hold(f.ctx, i.Bearer); return err },
	} {
		lapsetest.WantIs(t, name, do(), lapse.ErrExhausted)
	}
}

// TestFault15_ARepetitionIsAdmitted like any other, and a delegate's dies with what is above it.
func TestFault15_ARepetitionIsAdmitted(t *testing.T) {
	var refused error
	f := newFixture(t, lapse.Config{})
	m := f.manager(lapse.Config{Admit: f.checks(&refused)})
	i := f.issue(answerLink(1))
	parent := f.issue(lapse.Grant{Subject: "ana"})
	child, err := f.Delegate(f.ctx, parent.Bearer, answerLink(1))
	lapsetest.WantIs(t, "Delegate", err, nil)
	for range 2 {
		for _, bearer := range []string{i.Bearer, child.Bearer} {
			_, err := m.Authenticate(f.ctx, bearer)
			lapsetest.WantIs(t, "good", err, nil)
		}
	}
	refused = lapse.ErrRefused
	_, err = m.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "refused", err, lapse.ErrRefused)
	refused = nil
	f.Expire(f.ctx, parent.ID)
	_, err = m.Authenticate(f.ctx, child.Bearer)
	lapsetest.WantIs(t, "its parent ended", err, lapse.ErrRevoked)
}

// TestFault15_64Clicks at once: one is the use, and the others are told that they repeat it.
func TestFault15_64Clicks(t *testing.T) {
	const callers = 64
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m, err := lapse.New(store, lapse.Config{Clock: lapsetest.NewClock()})
		lapsetest.WantIs(t, "New", err, nil)
		i, err := m.Issue(t.Context(), answerLink(1))
		lapsetest.WantIs(t, "Issue", err, nil)
		got := make([]lapse.Token, callers)
		lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
		errs := lapsetest.Together(callers, func(n int) (err error) {
			got[n], err = m.Authenticate(t.Context(), i.Bearer)
			return err
		})
		store.Before(nil)
		lapsetest.WantIs(t, "Authenticate", errors.Join(errs...), nil)
		first := 0
		for _, tok := range got {
			if !tok.Repeated() {
				first++
			}
		}
		if first != 1 {
			t.Errorf("%d of them were the one use", first)
		}
	})
}

// TestFault15_UseGrace is refused by name where it has no meaning.
func TestFault15_UseGrace(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	p := memoryPairs(t, lapse.PairConfig{})
	for name, row := range map[string]struct {
		g  lapse.Grant
		ok bool
	}{
		"none":           {lapse.Grant{MaxUses: 1}, true},
		"a millisecond":  {lapse.Grant{MaxUses: 1, UseGrace: time.Millisecond}, true},
		"a minute":       {lapse.Grant{MaxUses: 1, UseGrace: time.Minute}, true},
		"over a minute":  {lapse.Grant{MaxUses: 1, UseGrace: time.Minute + time.Millisecond}, false},
		"a nanosecond":   {lapse.Grant{MaxUses: 1, UseGrace: 1}, false},
		"negative":       {lapse.Grant{MaxUses: 1, UseGrace: -time.Second}, false},
		"without budget": {lapse.Grant{UseGrace: time.Second}, false},
	} {
		row.g.Subject = "ana"
		_, issued := f.Issue(f.ctx, row.g)
		_, obtained := f.Obtain(f.ctx, row.g)
		row.g.MaxUses = 0
		_, paired := p.Pairs.Issue(p.ctx, row.g)
		for verb, err := range map[string]error{"Issue": issued, "Obtain": obtained, "Pairs.Issue": paired} {
			ok := row.ok
			if verb == "Pairs.Issue" {
				ok = row.g.UseGrace == 0
			}
			if (err == nil) != ok || !ok && (!errors.Is(err, lapse.ErrInvalidGrant) || !strings.Contains(err.Error(), "UseGrace")) {
				t.Errorf("%s, %s: %v; want an error that names UseGrace: %v", name, verb, err, !ok)
			}
		}
	}
}

var errDirectory = errors.New("directory is down")

// TestOrderOfAuthenticate walks through every way a token can be refused, with
// everything that would be refused later wrong as well: the first reason is the
// one that is given, and nothing behind it is asked or written.
func TestOrderOfAuthenticate(t *testing.T) {
	checked := 0
	refuse := func(context.Context, lapse.Token) error { checked++; return lapse.ErrRefused }
	f := newFixture(t, lapse.Config{Admit: refuse})
	pass := f.manager(lapse.Config{})
	other := f.manager(lapse.Config{Prefix: "other"})

	live := f.issue(lapse.Grant{Subject: "ana"})
	ended := f.issue(lapse.Grant{Subject: "ana"})
	foreign, err := other.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	short := f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	if _, err := f.Expire(f.ctx, ended.ID); err != nil {
		t.Fatal(err)
	}
	unknown := strangerTo(t, f)
	f.clock.Add(time.Minute)

	for _, row := range []struct {
		name    string
		m       *lapse.Manager
		bearer  string
		want    error
		calls   []storagetest.Op
		checked int
	}{
		{"malformed", f.Manager, live.Bearer[:len(live.Bearer)-1], lapse.ErrMalformed, noCalls, 0},
		{"foreign format", f.Manager, "ghp_" + strings.Repeat("x", 36), lapse.ErrMalformed, noCalls, 0},
		{"absent", f.Manager, unknown, lapse.ErrUnknown, []storagetest.Op{opGet}, 0},
		{"another prefix", f.Manager, foreign.Bearer, lapse.ErrUnknown, []storagetest.Op{opGet}, 0},
		{"ended", f.Manager, ended.Bearer, lapse.ErrRevoked, []storagetest.Op{opGet}, 0},
		{"ran out", f.Manager, short.Bearer, lapse.ErrExpired, []storagetest.Op{opGet}, 0},
		{"subject refused", f.Manager, live.Bearer, lapse.ErrRefused, []storagetest.Op{opGet}, 1},
		{"good", pass, live.Bearer, nil, []storagetest.Op{opGet, opTouch}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			checked, f.events = 0, nil
			var err error
			calls := f.calls(func() { _, err = row.m.Authenticate(f.ctx, row.bearer) })
			lapsetest.WantIs(t, "Authenticate", err, row.want)
			lapsetest.WantDiff(t, "calls", row.calls, calls)
			if checked != row.checked {
				t.Errorf("Admit was asked %d times; want %d", checked, row.checked)
			}
			if row.want != nil && (len(f.events) != 1 || f.events[0].Kind != lapse.EventRejected || !errors.Is(f.events[0].Err, row.want)) {
				t.Errorf("events: %+v; want one rejection", f.events)
			}
		})
	}
}

// strangerTo returns a well-formed token of f's prefix that f's store never saw.
func strangerTo(t *testing.T, f *fixture) string {
	t.Helper()
	return newFixture(t, lapse.Config{}).issue(lapse.Grant{Subject: "nobody"}).Bearer
}

// TestWrongSecret presents every token's ID with another token's secret: nothing
// is told of it or done to it, whatever state it is in.
func TestWrongSecret(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	victims := []lapse.Issued{f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})}
	thief := f.issue(lapse.Grant{Subject: "eve"})
	if _, err := f.Expire(f.ctx, victims[1].ID); err != nil {
		t.Fatal(err)
	}
	f.clock.Add(time.Minute)
	for i, v := range victims {
		forged := forge(v.Bearer, thief.Bearer)
		before := f.token(v.ID)
		for name, verb := range bearerVerbs(f.Manager) {
			f.events = nil
			var err error
			calls := f.calls(func() { err = verb(f.ctx, forged) })
			lapsetest.WantIs(t, name, err, lapse.ErrUnknown)
			var r *lapse.Rejection
			if !errors.As(err, &r) || r.Subject != "" || !r.At.IsZero() || r.Reason != 0 {
				t.Errorf("%s of victim %d tells %+v", name, i, r)
			}
			lapsetest.WantDiff(t, name+" calls", []storagetest.Op{opGet}, calls)
		}
		lapsetest.WantDiff(t, "the victim", before, f.token(v.ID))
	}
}

// forge puts the secret of one token behind the ID of another, with a checksum
// that is right.
func forge(id, secret string) string {
	under := strings.LastIndexByte(id, '_') + 1
	text := id[:under+22] + secret[under+22:under+66]
	return text + checksumOf(text)
}

// bearerVerbs are the verbs that take a bearer.
func bearerVerbs(m *lapse.Manager) map[string]func(context.Context, string) error {
	return map[string]func(context.Context, string) error{
		"Authenticate": func(ctx context.Context, b string) error { _, err := m.Authenticate(ctx, b); return err },
		"Peek":         func(ctx context.Context, b string) error { _, err := m.Peek(ctx, b); return err },
		"Renew":        func(ctx context.Context, b string) error { _, err := m.Renew(ctx, b); return err },
		"Confirm":      func(ctx context.Context, b string) error { _, err := m.Confirm(ctx, b); return err },
		"Rotate":       func(ctx context.Context, b string) error { _, err := m.Rotate(ctx, b, time.Second); return err },
		"Delegate": func(ctx context.Context, b string) error {
			_, err := m.Delegate(ctx, b, lapse.Grant{})
			return err
		},
		"ExpireBearer": func(ctx context.Context, b string) error { _, err := m.ExpireBearer(ctx, b); return err },
	}
}

// TestPrefixBinds presents a token under another Manager's prefix, checksum made
// right, in both directions.
func TestPrefixBinds(t *testing.T) {
	f := newFixture(t, lapse.Config{Prefix: "access"})
	refresh := f.manager(lapse.Config{Prefix: "refresh"})
	a := f.issue(lapse.Grant{Subject: "ana"})
	r, err := refresh.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	relabel := func(bearer, prefix string) string {
		text := prefix + bearer[strings.LastIndexByte(bearer, '_'):len(bearer)-6]
		return text + checksumOf(text)
	}
	if _, err := f.Authenticate(f.ctx, relabel(a.Bearer, "access")); err != nil {
		t.Fatalf("relabelling with the same prefix: %v; the test is wrong", err)
	}
	for name, verb := range bearerVerbs(f.Manager) {
		lapsetest.WantIs(t, name+" of a refresh token", verb(f.ctx, r.Bearer), lapse.ErrUnknown)
		lapsetest.WantIs(t, name+" of a relabelled one", verb(f.ctx, relabel(r.Bearer, "access")), lapse.ErrUnknown)
	}
	_, err = refresh.Authenticate(f.ctx, relabel(a.Bearer, "refresh"))
	lapsetest.WantIs(t, "the other way round", err, lapse.ErrUnknown)
}

func TestCheckSubject(t *testing.T) {
	var answer error
	f := newFixture(t, lapse.Config{Admit: func(_ context.Context, tok lapse.Token) error {
		if tok.Subject != "ana" {
			t.Errorf("asked about %q", tok.Subject)
		}
		return answer
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(time.Minute)
	for _, row := range []struct {
		name         string
		answer       error
		want         error
		unauthorized bool
	}{
		{"refused", lapse.ErrRefused, lapse.ErrRefused, true},
		{"refused with a reason", fmt.Errorf("on holiday: %w", lapse.ErrRefused), lapse.ErrRefused, true},
		{"could not tell", errDirectory, errDirectory, false},
		{"gave up", context.DeadlineExceeded, context.DeadlineExceeded, false},
	} {
		answer = row.answer
		for _, name := range []string{"Authenticate", "Peek", "Renew", "Rotate", "Delegate", "Confirm"} {
			err := bearerVerbs(f.Manager)[name](f.ctx, i.Bearer)
			lapsetest.WantIs(t, row.name+": "+name, err, row.want)
			if got := errors.Is(err, lapse.ErrUnauthenticated); got != row.unauthorized {
				t.Errorf("%s: %s: unauthenticated %v; want %v (%v)", row.name, name, got, row.unauthorized, err)
			}
		}
		lapsetest.WantDiff(t, row.name+": the token", i.Token, f.token(i.ID))
	}
	if _, err := f.ExpireBearer(f.ctx, i.Bearer); err != nil {
		t.Errorf("logging out while refused: %v", err)
	}
	answer = nil
	_, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "a Admit that lets everybody pass, on an ended token", err, lapse.ErrRevoked)
}

// TestSlowCheckSubject: a use that was in time is good, but it does not renew a
// token that has run out while Admit made up its mind.
func TestSlowCheckSubject(t *testing.T) {
	slow := time.Duration(0)
	var f *fixture
	f = newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error { f.clock.Add(slow); return nil }})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(30*time.Minute - time.Second)
	slow = 2 * time.Second
	calls := f.calls(func() {
		if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
			t.Errorf("a use in time: %v", err)
		}
	})
	lapsetest.WantDiff(t, "calls", []storagetest.Op{opGet}, calls)
	_, err := f.Peek(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "afterwards", err, lapse.ErrExpired)
	_, err = f.Renew(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Renew", err, lapse.ErrExpired)
}

// TestStoreAnswersWrongly: what a broken store says never opens anything.
func TestStoreAnswersWrongly(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	a, b := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "bob"})
	recA, _ := f.store.Get(f.ctx, a.ID)
	recB, _ := f.store.Get(f.ctx, b.ID)
	noExpiry, noDigest, noID := recA, recA, recA
	noExpiry.ExpiresAt = time.Time{}
	noDigest.Digest = storage.Digest{}
	noID.ID = lapse.ID{}
	for name, row := range map[string]struct {
		record storage.Record
		want   error
	}{
		"another record":        {recB, lapse.ErrCorrupt},
		"no record, no error":   {storage.Record{}, lapse.ErrCorrupt},
		"record without ID":     {noID, lapse.ErrCorrupt},
		"record without end":    {noExpiry, lapse.ErrExpired},
		"record without digest": {noDigest, lapse.ErrCorrupt},
	} {
		m, err := lapse.New(liar{f.store, row.record, nil}, lapse.Config{Clock: f.clock})
		if err != nil {
			t.Fatal(err)
		}
		for verb, do := range bearerVerbs(m) {
			if verb == "ExpireBearer" && row.want == lapse.ErrExpired {
				continue // ending what is dead is no error
			}
			lapsetest.WantIs(t, verb+" with "+name, do(f.ctx, a.Bearer), row.want)
		}
		if row.want == lapse.ErrCorrupt && name != "record without digest" { // needs none
			_, err := m.Expire(f.ctx, a.ID)
			lapsetest.WantIs(t, "Expire with "+name, err, row.want)
			_, err = m.Token(f.ctx, a.ID)
			lapsetest.WantIs(t, "Token with "+name, err, row.want)
		}
	}
}

// TestRecordWithAnError: a record that comes with an error is none.
func TestRecordWithAnError(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	rec, _ := f.store.Get(f.ctx, i.ID)
	for _, row := range []struct{ says, want error }{
		{lapse.ErrNotFound, lapse.ErrUnknown},
		{lapse.ErrUnavailable, lapse.ErrUnavailable},
		{lapse.ErrCorrupt, lapse.ErrCorrupt},
	} {
		m, err := lapse.New(liar{f.store, rec, row.says}, lapse.Config{Clock: f.clock})
		if err != nil {
			t.Fatal(err)
		}
		for verb, do := range bearerVerbs(m) {
			lapsetest.WantIs(t, verb, do(f.ctx, i.Bearer), row.want)
		}
	}
}

// liar answers every Get with the same.
type liar struct {
	storage.Store
	record storage.Record
	err    error
}

func (l liar) Get(context.Context, lapse.ID) (storage.Record, error) { return l.record, l.err }

// TestRequire: every word that is missing is named, once for each time it was asked
// for, in that order, and no other.
func TestRequire(t *testing.T) {
	for _, tt := range []struct {
		name    string
		scope   string
		asked   []string
		missing string // "" if none is
	}{
		{"nothing is asked of a token with scope", "read write", nil, ""},
		{"nothing is asked of a token without", "", nil, ""},
		{"an empty list", "read", []string{}, ""},
		{"the only one", "read", []string{"read"}, ""},
		{"the first", "read write", []string{"read"}, ""},
		{"the last", "read write", []string{"write"}, ""},
		{"all, in another order", "read write admin", []string{"admin", "read", "write"}, ""},
		{"one, twice", "read", []string{"read", "read"}, ""},
		{"one that the token has twice", "read read", []string{"read"}, ""},
		{"another", "read", []string{"write"}, `["write"]`},
		{"one of two", "read", []string{"read", "write"}, `["write"]`},
		{"two of three", "read", []string{"write", "read", "admin"}, `["write" "admin"]`},
		{"a missing one, twice", "read", []string{"write", "write"}, `["write" "write"]`},
		{"of a token without scope", "", []string{"read"}, `["read"]`},
		{"part of a word", "read:all", []string{"read"}, `["read"]`},
		{"more than a word", "read", []string{"read:all"}, `["read:all"]`},
		{"another case", "read", []string{"Read"}, `["Read"]`},
		{"two words as one", "read write", []string{"read write"}, `["[10 bytes]"]`},
		{"the empty word", "read", []string{""}, `["[0 bytes]"]`},
		{"the empty word of a token without scope", "", []string{""}, `["[0 bytes]"]`},
		{"a space", "read write", []string{" "}, `["[1 bytes]"]`},
		{"no wildcard", "*", []string{"read"}, `["read"]`},
		{"a percent sign", "read", []string{"100%d", "%!s(MISSING)"}, `["100%d" "%!s(MISSING)"]`},
		{"what would break a line", "read", []string{"a\nb"}, `["[3 bytes]"]`},
		{"a quote", "read", []string{`a"b`}, `["[3 bytes]"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := append([]string(nil), tt.asked...)
			err := lapse.Require(lapse.Token{Scope: tt.scope}, tt.asked...)
			lapsetest.WantDiff(t, "what the caller asked with", asked, append([]string(nil), tt.asked...))
			if tt.missing == "" {
				if err != nil {
					t.Fatalf("Require: %v; want nil", err)
				}
				return
			}
			lapsetest.WantIs(t, "Require", err, lapse.ErrScope)
			if want := "lapse: insufficient scope: " + tt.missing + " is missing"; err == nil || err.Error() != want {
				t.Errorf("it says\n\t%v\nwant\n\t%s", err, want)
			}
		})
	}
}

// TestRequireIsNoVerdict on the token: 403, and never 401. It is about the scope
// alone, and a dead token has one too.
func TestRequireIsNoVerdict(t *testing.T) {
	err := fmt.Errorf("handler: %w", lapse.Require(lapse.Token{}, "read"))
	if errors.Is(err, lapse.ErrUnauthenticated) || errors.As(err, new(*lapse.Rejection)) {
		t.Errorf("%v reads as a bad token", err)
	}
	for _, other := range []error{lapse.ErrInvalidGrant, lapse.ErrUnavailable, lapse.ErrExpired} {
		if errors.Is(err, other) {
			t.Errorf("%v is a %v", err, other)
		}
	}
	ended := lapse.Token{Scope: "read", ExpiresAt: lapsetest.StartMilli, EndedAt: lapsetest.StartMilli.Add(-time.Second)}
	if err := lapse.Require(ended, "read"); err != nil {
		t.Errorf("of a dead token that has it: %v", err)
	}
}

// TestRequireOfWhatAuthenticateReturns, at the limit of what a scope can hold.
func TestRequireOfWhatAuthenticateReturns(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	words := strings.Fields(strings.Repeat("scope ", 170) + "last")
	i := f.issue(lapse.Grant{Subject: "ana", Scope: strings.Join(words, " ")})
	tok, err := f.Authenticate(context.Background(), i.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	if err := lapse.Require(tok, words...); err != nil {
		t.Errorf("all that was granted: %v", err)
	}
	if err := lapse.Require(tok, append(words, "more")...); !errors.Is(err, lapse.ErrScope) || strings.Contains(err.Error(), "last") {
		t.Errorf("one more than was granted: %v", err)
	}
}
