package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// connect holds a connection by bearer until the bubble ends.
func (h *holder) connect(m *lapse.Manager, bearer string) *lapse.Hold {
	h.t.Helper()
	hold, err := m.Hold(h.ctx, bearer)
	if err != nil {
		h.t.Fatalf("Hold: %v", err)
	}
	return hold
}

// stored returns the token of id.
func (h *holder) stored(id lapse.ID) lapse.Token {
	h.t.Helper()
	tok, err := h.Token(context.Background(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return tok
}

// TestUseBoundary: a use by a connection records and renews what Authenticate does, to the
// millisecond, under every policy, and is refused as Authenticate refuses.
func TestUseBoundary(t *testing.T) {
	const every, ttl, limit = time.Minute, 10 * time.Minute, 25 * time.Minute
	for name, p := range map[string]lapse.Policy{
		"renewed by each use": {TTL: ttl, MaxTTL: limit},
		"renewed by use":      {TTL: ttl, MaxTTL: limit, RenewEvery: every},
		"renewed on request":  {TTL: ttl, MaxTTL: limit, RenewEvery: every, Renewal: lapse.RenewOnRequest},
		"never renewed":       {TTL: ttl, MaxTTL: limit, RenewEvery: every, Renewal: lapse.RenewNever},
		"seldom recorded":     {TTL: ttl, MaxTTL: limit, RenewEvery: ttl},
	} {
		for _, gaps := range [][]time.Duration{
			{every - time.Millisecond, time.Millisecond, time.Millisecond, every - time.Millisecond, every},
			{every + time.Millisecond, 0, every, every - 1, 1},
			{ttl - time.Millisecond, time.Millisecond}, {ttl}, {ttl + time.Millisecond},
			{ttl - time.Second, ttl - time.Second, 5*time.Minute + 2*time.Second - time.Millisecond, time.Millisecond, time.Millisecond},
		} {
			onMemory(t, fmt.Sprint(name, " after ", gaps), lapse.Config{Policy: p}, func(h *holder) {
				used, checked := h.issue(lapse.Grant{}), h.issue(lapse.Grant{})
				hold := h.connect(h.Manager, used.Bearer)
				_, err := h.Authenticate(h.ctx, checked.Bearer)
				lapsetest.WantIs(t, "Authenticate", err, nil)
				for n, gap := range gaps {
					time.Sleep(gap)
					got := hold.Use(h.ctx)
					_, want := h.Authenticate(h.ctx, checked.Bearer)
					wantSameRefusal(h.t, fmt.Sprint("use ", n), got, want)
					a, b := h.stored(used.ID), h.stored(checked.ID)
					if !a.LastUsedAt.Equal(b.LastUsedAt) || !a.ExpiresAt.Equal(b.ExpiresAt) {
						t.Errorf("use %d: used %v until %v; by Authenticate %v until %v", n, a.LastUsedAt, a.ExpiresAt, b.LastUsedAt, b.ExpiresAt)
					}
				}
			})
		}
	}
}

// wantSameRefusal: got refuses as want does, of another token.
func wantSameRefusal(t *testing.T, what string, got, want error) {
	t.Helper()
	var a, b *lapse.Rejection
	if errors.As(got, &a) != errors.As(want, &b) || (got == nil) != (want == nil) {
		t.Fatalf("%s: %v; want %v", what, got, want)
	}
	if a != nil && (!errors.Is(got, b.Err) || a.Reason != b.Reason || !a.At.Equal(b.At) || a.Subject != b.Subject || a.Generation != b.Generation) {
		t.Errorf("%s: %+v; want %+v", what, *a, *b)
	}
}

// TestUseAfterTheEnd: once the connection is over Use says why, as the context does, and
// changes nothing. Where the connection is not cut yet, it refuses as Authenticate does.
func TestUseAfterTheEnd(t *testing.T) {
	errGone := errors.New("the peer has gone")
	for name, row := range map[string]struct {
		end  func(h *holder, i lapse.Issued, hold *lapse.Hold, leave context.CancelCauseFunc)
		want error
	}{
		"revoked": {func(h *holder, i lapse.Issued, _ *lapse.Hold, _ context.CancelCauseFunc) { h.Expire(h.ctx, i.ID) }, lapse.ErrRevoked},
		"everywhere": {func(h *holder, _ lapse.Issued, _ *lapse.Hold, _ context.CancelCauseFunc) {
			h.ExpireSubject(h.ctx, "ana")
		}, lapse.ErrRevoked},
		"ran out": {func(*holder, lapse.Issued, *lapse.Hold, context.CancelCauseFunc) { time.Sleep(time.Hour) }, lapse.ErrExpired},
		"leaked": {func(h *holder, i lapse.Issued, _ *lapse.Hold, _ context.CancelCauseFunc) {
			h.Rotate(h.ctx, i.Bearer, 0)
		}, lapse.ErrReplaced},
		"forgotten": {func(h *holder, i lapse.Issued, _ *lapse.Hold, _ context.CancelCauseFunc) {
			err := h.store.Update(h.ctx, "ana", func(tx storage.Tx) error { return tx.Delete(i.ID) })
			lapsetest.WantIs(h.t, "Delete", err, nil)
		}, lapse.ErrUnknown},
		"released":  {func(_ *holder, _ lapse.Issued, hold *lapse.Hold, _ context.CancelCauseFunc) { hold.Release() }, context.Canceled},
		"left":      {func(_ *holder, _ lapse.Issued, _ *lapse.Hold, leave context.CancelCauseFunc) { leave(errGone) }, errGone},
		"closed":    {func(h *holder, _ lapse.Issued, _ *lapse.Hold, _ context.CancelCauseFunc) { h.store.Close() }, lapse.ErrClosed},
		"is no end": {func(h *holder, i lapse.Issued, _ *lapse.Hold, _ context.CancelCauseFunc) { h.Renew(h.ctx, i.Bearer) }, nil},
	} {
		for _, on := range holdStores {
			inBubble(t, name+"/"+on.name, on.open, lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				ctx, leave := context.WithCancelCause(h.ctx)
				defer leave(nil)
				hold, err := h.Hold(ctx, i.Bearer)
				lapsetest.WantIs(t, "Hold", err, nil)
				time.Sleep(time.Minute)
				row.end(h, i, hold, leave)
				before := h.all()
				lapsetest.WantIs(t, "at once", hold.Use(h.ctx), row.want)
				if row.want == nil {
					return
				}
				lapsetest.WantDiff(t, "records", before, h.all())
				h.cut(name, hold.Context(), 5*time.Second)
				if err := hold.Use(h.ctx); err != context.Cause(hold.Context()) || !errors.Is(err, row.want) {
					t.Errorf("after the cut: %v; want %v, %v", err, context.Cause(hold.Context()), row.want)
				}
			})
		}
	}
}

// TestUseAfterThePeerLeft counts as canceled, whatever the cause of the context of the connection is,
// and Observe is told of no such use: the cause may quote a secret.
func TestUseAfterThePeerLeft(t *testing.T) {
	for name, leave := range map[string]func(hold *lapse.Hold, leave context.CancelCauseFunc){
		"by itself": func(_ *lapse.Hold, leave context.CancelCauseFunc) { leave(errors.New("bearer " + bearerLike)) },
		"a failure": func(_ *lapse.Hold, leave context.CancelCauseFunc) { leave(lapse.ErrCorrupt) },
		"released":  func(hold *lapse.Hold, _ context.CancelCauseFunc) { hold.Release() },
	} {
		var told []lapse.Event
		cfg := lapse.Config{Observe: func(_ context.Context, e lapse.Event) { told = append(told, e) }}
		onMemory(t, name, cfg, func(h *holder) {
			i := h.issue(lapse.Grant{})
			ctx, cancel := context.WithCancelCause(h.ctx)
			defer cancel(nil)
			hold := lapsetest.Must(h.Hold(ctx, i.Bearer))
			leave(hold, cancel)
			synctest.Wait()
			told = nil
			if err := hold.Use(h.ctx); err == nil || err != context.Cause(hold.Context()) {
				t.Errorf("%v; want the cause %v", err, context.Cause(hold.Context()))
			}
			if n := h.Stats().Get(lapse.StatKey{Verb: lapse.VerbUse, Outcome: "canceled"}); n != 1 || len(told) != 0 {
				t.Errorf("%d uses count as canceled, told %v; want 1 and none", n, told)
			}
		})
	}
}

// bearerLike is a text with the form of a bearer.
const bearerLike = "lapse_08YYTYLU"

// all returns every record of the store, or none once it is closed.
func (h *holder) all() (rs []storage.Record) {
	for r, err := range h.store.List(context.Background(), storage.Filter{}) {
		if err == nil {
			rs = append(rs, r)
		}
	}
	return rs
}

// TestUseByAnOldSecret: a connection whose secret was replaced records nothing and is not
// cut, within the overlap and after it. One by the new secret counts, and only that makes
// Rotate give no second answer.
func TestUseByAnOldSecret(t *testing.T) {
	const overlap = 10 * time.Minute
	onMemory(t, "rotated", lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		old := h.connect(h.Manager, i.Bearer)
		time.Sleep(time.Minute)
		next := lapsetest.Must(h.Rotate(h.ctx, i.Bearer, overlap))
		rotated := h.stored(i.ID)
		previous := h.connect(h.Manager, i.Bearer)
		for _, wait := range []time.Duration{0, overlap - time.Millisecond, time.Millisecond, time.Millisecond} {
			time.Sleep(wait)
			for _, hold := range []*lapse.Hold{old, previous} {
				lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
				h.alive("rotated", hold.Context())
			}
			lapsetest.WantDiff(t, "token", rotated, h.stored(i.ID))
		}
		current := h.connect(h.Manager, next.Bearer)
		time.Sleep(time.Minute)
		lapsetest.WantIs(t, "Use by the new text", current.Use(h.ctx), nil)
		if tok := h.stored(i.ID); !tok.LastUsedAt.Equal(now()) || !tok.ExpiresAt.Equal(now().Add(time.Hour)) {
			t.Errorf("used %v until %v", tok.LastUsedAt, tok.ExpiresAt)
		}
	})
	onMemory(t, "rotated again meanwhile", lapse.Config{Policy: lapse.Policy{TTL: time.Hour, RenewEvery: time.Minute}}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		hold := h.connect(h.Manager, i.Bearer)
		lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
		lapsetest.Must(h.Rotate(h.ctx, i.Bearer, overlap))
		rotated := h.stored(i.ID)
		time.Sleep(time.Minute)
		lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
		lapsetest.WantDiff(t, "token", rotated, h.stored(i.ID))
		if again, err := h.Rotate(h.ctx, i.Bearer, overlap); err != nil || again.Generation != 1 {
			t.Errorf("Rotate again: %d, %v; want the same answer", again.Generation, err)
		}
		time.Sleep(time.Hour - time.Minute)
		h.cut("not renewed", hold.Context(), 0)
	})
}

// TestUseOfASession: every use counts, whichever access text opened the connection, moves
// LastUsedAt alone, as seldom as RenewEvery says, and never the end of the connection.
func TestUseOfASession(t *testing.T) {
	cfg := lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: 10 * time.Minute, RenewEvery: time.Minute}}}
	inSession(t, "session", func(*testing.T) storage.Store { return memory.New() }, cfg, func(s *sessions) {
		c := s.logIn()
		hold := s.connect(s.Manager, c.Access.Bearer)
		used := s.stored(c.Access.ID).LastUsedAt
		uses := func(what string, want time.Time) {
			t.Helper()
			lapsetest.WantIs(t, what, hold.Use(s.ctx), nil)
			if tok := s.stored(c.Access.ID); !tok.LastUsedAt.Equal(want) || !tok.ExpiresAt.Equal(c.Refresh.ExpiresAt) {
				t.Errorf("%s: used %v until %v; want %v until %v", what, tok.LastUsedAt, tok.ExpiresAt, want, c.Refresh.ExpiresAt)
			}
		}
		time.Sleep(time.Minute - time.Millisecond)
		uses("before", used)
		time.Sleep(time.Millisecond)
		uses("at", now())
		c = s.refresh(c)
		time.Sleep(5 * time.Minute)
		uses("by the replaced text, after the grace", now())
		time.Sleep(5*time.Minute - time.Millisecond)
		s.alive("the current access secret lives", hold.Context())
		uses("just before the end", now())
		time.Sleep(time.Millisecond)
		lapsetest.WantIs(t, "at the end", hold.Use(s.ctx), lapse.ErrExpired)
		lapsetest.WantIs(t, "cut", s.cut("ran out", hold.Context(), 0), lapse.ErrExpired)
	})
}

// TestUseOfABudget is refused, whether or not uses are left, and spends none.
func TestUseOfABudget(t *testing.T) {
	onMemory(t, "budget", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{MaxUses: 2})
		for left := 1; left >= 0; left-- {
			hold := h.connect(h.Manager, i.Bearer)
			for range 2 {
				err := hold.Use(h.ctx)
				if !errors.Is(err, lapse.ErrNotRenewable) || errors.Is(err, lapse.ErrUnauthenticated) {
					t.Errorf("Use with %d left: %v", left, err)
				}
				h.left("after Use", i.ID, left, 0)
			}
		}
		h.Expire(h.ctx, i.ID)
	})
}

// TestUseOfADelegate renews it up to the end of its parent, and ends with that.
func TestUseOfADelegate(t *testing.T) {
	onMemory(t, "delegate", lapse.Config{Policy: lapse.Policy{TTL: 10 * time.Minute}}, func(h *holder) {
		parent := h.issue(lapse.Grant{})
		child := lapsetest.Must(h.Delegate(h.ctx, parent.Bearer, lapse.Grant{}))
		hold := h.connect(h.Manager, child.Bearer)
		time.Sleep(5 * time.Minute)
		lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
		if tok := h.stored(child.ID); !tok.LastUsedAt.Equal(now()) || !tok.ExpiresAt.Equal(parent.ExpiresAt) {
			t.Errorf("used %v until %v; want now, until %v", tok.LastUsedAt, tok.ExpiresAt, parent.ExpiresAt)
		}
		lapsetest.Must(h.Renew(h.ctx, parent.Bearer))
		time.Sleep(6 * time.Minute)
		lapsetest.WantIs(t, "Use after the parent was renewed", hold.Use(h.ctx), nil)
		h.Expire(h.ctx, parent.ID)
		lapsetest.WantIs(t, "Use after the parent was ended", hold.Use(h.ctx), lapse.ErrRevoked)
	})
}

// TestUseAsksNoAdmit, however often it is called and whatever Admit says.
func TestUseAsksNoAdmit(t *testing.T) {
	dir := new(directory)
	onMemory(t, "none", lapse.Config{Admit: dir.check}, func(h *holder) {
		hold := h.connect(h.Manager, h.issue(lapse.Grant{}).Bearer)
		dir.say("ana", func(context.Context) error { return errHoliday })
		for range 3 {
			time.Sleep(time.Minute)
			lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
		}
		if n := dir.count("ana"); n != 0 {
			t.Errorf("Use asked %d times", n)
		}
	})
}

// usable are connections of a scene whose use writes, and the number of the call that does:
// 0 where none does.
var usable = map[string]struct {
	hold  func(s *scene) (*lapse.Hold, error)
	write int
}{
	"a token":    {func(s *scene) (*lapse.Hold, error) { return s.Hold(s.ctx, s.live.Bearer) }, 2},
	"a delegate": {func(s *scene) (*lapse.Hold, error) { return s.Hold(s.ctx, s.family[2].Bearer) }, 4},
	"a session":  {func(s *scene) (*lapse.Hold, error) { return s.Hold(s.ctx, s.session.Access.Bearer) }, 2},
	"a previous": {func(s *scene) (*lapse.Hold, error) { return s.Hold(s.ctx, s.before.Bearer) }, 0},
	"a secret whose first use was not stored": {func(s *scene) (*lapse.Hold, error) {
		s.store.InjectOp(storagetest.OpUpdate, 1, storagetest.FailBefore, storage.ErrUnavailable)
		return s.Hold(s.ctx, s.rotated.Bearer)
	}, 2},
}

// heldScene is a scene with a connection, a minute after that was opened. It is called in a bubble.
func heldScene(t *testing.T, open func(s *scene) (*lapse.Hold, error)) (*scene, *lapse.Hold) {
	t.Helper()
	s := newScene(t)
	hold, err := open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hold.Release)
	synctest.Wait() // what serves the connection may read the token once
	s.clock.Add(time.Minute)
	s.events = nil
	s.store.Reset()
	return s, hold
}

// TestUseFaults fails each call that Use makes, in each way: a use that could not be recorded
// is good, and Observe is told; otherwise Use could not tell, nothing has changed and the connection
// is held.
func TestUseFaults(t *testing.T) {
	for name, row := range usable {
		var calls int
		synctest.Test(t, func(t *testing.T) {
			s, hold := heldScene(t, row.hold)
			lapsetest.WantIs(t, name, hold.Use(s.ctx), nil)
			calls = len(s.store.Calls())
		})
		for n := 1; n <= calls; n++ {
			for _, fault := range []struct {
				mode      storagetest.Mode
				err, want error
			}{
				{storagetest.FailBefore, errDisk, lapse.ErrUnavailable},
				{storagetest.FailBefore, storage.ErrCorrupt, lapse.ErrCorrupt},
				{storagetest.FailBefore, lapse.ErrExpired, lapse.ErrUnavailable},
				{storagetest.FailAfter, storage.ErrOutcomeUnknown, lapse.ErrOutcomeUnknown},
				{storagetest.Hang, nil, lapse.ErrUnavailable},
			} {
				inBubbleOnly(t, fmt.Sprintf("%s/call %d/%v %v", name, n, fault.mode, fault.err), func(t *testing.T) {
					s, hold := heldScene(t, row.hold)
					before := s.contents()
					s.store.Reset()
					s.store.Inject(n, fault.mode, fault.err)
					err := hold.Use(lateAt(s.ctx, s.store, n, fault.mode))
					if !s.store.Fired() {
						t.Fatal("the fault did not happen")
					}
					if n == row.write {
						s.wantUseWithoutRenewal(t, before, "used", err, fault.want)
					} else {
						wantNoVerdict(t, "Use", err, fault.want)
						lapsetest.WantDiff(t, "contents", before, s.contents())
					}
					s.store.Reset()
					if err := hold.Use(s.ctx); err != nil || hold.Context().Err() != nil {
						t.Errorf("the next use: %v, %v", err, context.Cause(hold.Context()))
					}
				})
			}
		}
		for n := 1; n <= calls; n++ {
			inBubbleOnly(t, fmt.Sprint(name, "/panic in call ", n), func(t *testing.T) {
				s, hold := heldScene(t, row.hold)
				before := s.contents()
				s.store.Reset()
				s.store.Inject(n, storagetest.Panic, nil)
				if !panics(func() { hold.Use(s.ctx) }) {
					t.Errorf("call %d: the panic was swallowed", n)
				}
				lapsetest.WantDiff(t, "contents", before, s.contents())
				lapsetest.WantIs(t, "the next use", hold.Use(s.ctx), nil)
			})
		}
	}
}

// TestUseRecordsTheFirstUse: where Hold could not store that it used the new secret of a rotation,
// Use stores it, and the previous text is not given that secret again.
func TestUseRecordsTheFirstUse(t *testing.T) {
	for uses, want := range []error{nil, lapse.ErrRotated} {
		inBubbleOnly(t, fmt.Sprint(uses, " uses"), func(t *testing.T) {
			s, hold := heldScene(t, usable["a secret whose first use was not stored"].hold)
			for range uses {
				lapsetest.WantIs(t, "Use", hold.Use(s.ctx), nil)
			}
			_, err := s.Rotate(s.ctx, s.before.Bearer, 10*time.Minute)
			lapsetest.WantIs(t, "Rotate by the previous text", err, want)
		})
	}
}

// inBubbleOnly runs test in a bubble.
func inBubbleOnly(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// TestUseWithAnEndedContext says so, also where nothing is due, and changes nothing.
func TestUseWithAnEndedContext(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Minute} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{RenewEvery: time.Minute}})
		hold := lapsetest.Must(f.Hold(f.ctx, f.issue(lapse.Grant{Subject: "ana"}).Bearer))
		defer hold.Release()
		lapsetest.WantIs(t, "Use", hold.Use(f.ctx), nil)
		f.clock.Add(wait)
		before := f.contents()
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		err := hold.Use(ctx)
		if !errors.Is(err, context.Canceled) || errors.Is(err, lapse.ErrUnavailable) || hold.Context().Err() != nil {
			t.Errorf("after %v: %v", wait, err)
		}
		lapsetest.WantDiff(t, "contents", before, f.contents())
	}
}

// TestUseAgainstEnds: of many uses and an end that meet at the store, none revives the token
// or moves its expiry after the end has returned, and those afterwards are refused.
func TestUseAgainstEnds(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{TTL: time.Hour})
		for round := range 50 {
			i := lapsetest.Must(m.Issue(t.Context(), lapse.Grant{Subject: fmt.Sprint("ana ", round)}))
			hold := lapsetest.Must(m.Hold(t.Context(), i.Bearer))
			clock.Add(time.Second)
			lapsetest.Arrivals(store, 9, storagetest.OpTouch, storagetest.OpUpdate)
			var atEnd lapse.Token
			for n, err := range lapsetest.Together(9, func(n int) error {
				if n == 8 {
					_, err := m.Expire(t.Context(), i.ID)
					atEnd, _ = m.Token(t.Context(), i.ID)
					return err
				}
				return hold.Use(t.Context())
			}) {
				if err != nil && (n == 8 || !errors.Is(err, lapse.ErrRevoked)) {
					t.Fatalf("call %d: %v", n, err)
				}
			}
			store.Before(nil)
			clock.Add(time.Second)
			lapsetest.WantIs(t, "Use after the end", hold.Use(t.Context()), lapse.ErrRevoked)
			if tok := lapsetest.Must(m.Token(t.Context(), i.ID)); !tok.EndedAt.Equal(atEnd.EndedAt) || tok.EndedAt.IsZero() || !tok.ExpiresAt.Equal(atEnd.ExpiresAt) {
				t.Fatalf("after the end: %+v; want %+v", tok, atEnd)
			}
			hold.Release()
		}
	})
}

// calls counts the runs of a function, with the instant of each.
type calls struct {
	mu sync.Mutex
	at []time.Time
}

func (c *calls) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, now())
}

// want checks when c has run, after everything that is due has run.
func (c *calls) want(t *testing.T, what string, want ...time.Time) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.EqualFunc(c.at, want, time.Time.Equal) {
		t.Errorf("%s: it ran at %v; want %v", what, c.at, want)
	}
}

// TestWarnFunc runs once, to the millisecond, when so much is left as was asked for.
func TestWarnFunc(t *testing.T) {
	const ttl = time.Hour
	for _, on := range holdStores {
		for before, after := range map[time.Duration]time.Duration{ // how long after the hold it runs; -1: never
			math.MinInt64: -1, -time.Minute: -1, 0: -1, time.Millisecond - 1: -1,
			time.Millisecond: ttl - time.Millisecond, 10 * time.Minute: 50 * time.Minute, ttl - time.Millisecond: time.Millisecond,
			ttl: 0, ttl + time.Millisecond: 0, lapse.NoLimit: 0,
		} {
			inBubble(t, fmt.Sprint(on.name, "/", before), on.open, lapse.Config{Policy: lapse.Policy{TTL: ttl}}, func(h *holder) {
				begin := now()
				hold := h.connect(h.Manager, h.issue(lapse.Grant{}).Bearer)
				var ran calls
				stop := hold.WarnFunc(before, ran.run)
				var want []time.Time
				if after > 0 {
					time.Sleep(after - time.Millisecond)
					ran.want(t, "before its time")
					time.Sleep(time.Millisecond)
				}
				if after >= 0 {
					want = []time.Time{begin.Add(after)}
				}
				ran.want(t, "at its time", want...)
				if stop() != false {
					t.Error("stop says that it was in time")
				}
				h.cut("ran out", hold.Context(), ttl)
				ran.want(t, "after the cut", want...)
				if after := hold.WarnFunc(ttl, ran.run); after() {
					t.Error("stop of a function that never runs returned true")
				}
				ran.want(t, "set after the cut", want...)
			})
		}
	}
}

// TestStoppedWarning: after a warning that was stopped, or whose connection was released, the Manager
// holds and cuts connections as before.
func TestStoppedWarning(t *testing.T) {
	for name, stop := range map[string]func(hold *lapse.Hold, stop func() bool){
		"stopped":  func(_ *lapse.Hold, stop func() bool) { stop() },
		"released": func(hold *lapse.Hold, _ func() bool) { hold.Release() },
	} {
		for _, on := range holdStores {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				hold, other := h.connect(h.Manager, i.Bearer), h.hold(i.Bearer)
				stop(hold, hold.WarnFunc(10*time.Minute, func() { t.Error("it ran") }))
				time.Sleep(50*time.Minute + 2*time.Second)
				later := h.hold(h.issue(lapse.Grant{Subject: "bob"}).Bearer)
				h.end(i.ID, lapse.EndRevoked)
				h.cut("ended", other, 5*time.Second)
				h.alive("another token", later)
			})
		}
	}
}

// TestWarnFuncMoves: a renewal moves the warning with the end, told or not, and it runs once for
// each end.
func TestWarnFuncMoves(t *testing.T) {
	const ttl, before = time.Hour, 10 * time.Minute
	for _, on := range holdStores {
		for name, renew := range map[string]func(h *holder, hold *lapse.Hold, i lapse.Issued) error{
			"Use": func(h *holder, hold *lapse.Hold, _ lapse.Issued) error { return hold.Use(h.ctx) },
			"Authenticate": func(h *holder, _ *lapse.Hold, i lapse.Issued) error {
				_, err := h.Authenticate(h.ctx, i.Bearer)
				return err
			},
			"Renew": func(h *holder, _ *lapse.Hold, i lapse.Issued) error { _, err := h.Renew(h.ctx, i.Bearer); return err },
		} {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{Policy: lapse.Policy{TTL: ttl}}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				hold := h.connect(h.Manager, i.Bearer)
				var ran calls
				defer hold.WarnFunc(before, ran.run)()
				time.Sleep(30 * time.Minute)
				lapsetest.WantIs(t, name, renew(h, hold, i), nil)
				time.Sleep(ttl - before - time.Millisecond)
				ran.want(t, "the end has moved")
				time.Sleep(time.Millisecond)
				first := now()
				ran.want(t, "once", first)
				time.Sleep(5 * time.Minute)
				lapsetest.WantIs(t, name, renew(h, hold, i), nil)
				time.Sleep(ttl - before)
				second := now()
				ran.want(t, "for the new end", first, second)
				h.cut("ran out", hold.Context(), before)
				ran.want(t, "after the cut", first, second)
			})
		}
	}
}

// TestWarnFuncOfASession counts from the end of the current access secret, which a refresh moves.
func TestWarnFuncOfASession(t *testing.T) {
	cfg := lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: 15 * time.Minute}}}
	for _, on := range holdStores {
		inSession(t, on.name, on.open, cfg, func(s *sessions) {
			c := s.logIn()
			hold := s.connect(s.Manager, c.Access.Bearer)
			var warned, rotated calls
			defer hold.WarnFunc(time.Minute, warned.run)()
			defer hold.RotatedFunc(rotated.run)()
			time.Sleep(14 * time.Minute)
			first := now()
			warned.want(t, "of the first secret", first)
			c = s.refresh(c)
			refreshed := now()
			time.Sleep(on.late)
			rotated.want(t, "refreshed", refreshed.Add(on.late))
			time.Sleep(14*time.Minute - on.late)
			warned.want(t, "of the second secret", first, now())
			s.cut("ran out", hold.Context(), time.Minute)
		})
	}
}

// TestWarnFuncWhileTheStoreIsSilent: the warning comes by the end that is known.
func TestWarnFuncWhileTheStoreIsSilent(t *testing.T) {
	var store *storagetest.Faulty
	open := func(*testing.T) storage.Store { store = storagetest.NewFaulty(memory.New()); return store }
	for name, mode := range map[string]storagetest.Mode{"fails": storagetest.FailBefore, "hangs": storagetest.Hang, "panics": storagetest.Panic} {
		inBubble(t, name, open, lapse.Config{PollHolds: 24 * time.Hour, Policy: lapse.Policy{TTL: time.Hour}}, func(h *holder) {
			hold := h.connect(h.Manager, h.issue(lapse.Grant{}).Bearer)
			var ran calls
			defer hold.WarnFunc(time.Minute, ran.run)()
			store.InjectOp(storagetest.OpGet, 1, mode, errDisk)
			time.Sleep(59*time.Minute + 2*time.Second)
			synctest.Wait()
			ran.mu.Lock()
			defer ran.mu.Unlock()
			if len(ran.at) != 1 || ran.at[0].Before(now().Add(-2*time.Second)) {
				t.Errorf("it ran at %v", ran.at)
			}
		})
	}
}

// TestWarnFuncWhileAReadHangs: so it does while a store that heeds no context answers nothing.
func TestWarnFuncWhileAReadHangs(t *testing.T) {
	var store *storagetest.Faulty
	open := func(*testing.T) storage.Store { store = storagetest.NewFaulty(memory.New()); return store }
	inBubble(t, "hangs", open, lapse.Config{PollHolds: 24 * time.Hour, Policy: lapse.Policy{TTL: time.Hour}}, func(h *holder) {
		hold, back := h.connect(h.Manager, h.issue(lapse.Grant{}).Bearer), make(chan struct{})
		defer close(back)
		var ran calls
		defer hold.WarnFunc(time.Minute, ran.run)()
		store.Before(func(storagetest.Op) { <-back })
		time.Sleep(59 * time.Minute)
		ran.want(t, "while the read may be answered")
		time.Sleep(time.Second)
		ran.want(t, "a second later", now())
	})
}

// TestRotatedFunc runs once for each replacement since Hold, and for no overlap of 0, which cuts.
func TestRotatedFunc(t *testing.T) {
	onMemory(t, "rotated", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		hold := h.connect(h.Manager, i.Bearer)
		var ran, late, stopped calls
		defer hold.RotatedFunc(ran.run)()
		if stop := hold.RotatedFunc(stopped.run); !stop() || stop() {
			t.Error("the first stop, and no other, is in time")
		}
		time.Sleep(time.Second)
		h.Renew(h.ctx, i.Bearer)
		ran.want(t, "renewed")
		lapsetest.Must(h.Rotate(h.ctx, i.Bearer, time.Hour))
		first := now()
		ran.want(t, "rotated", first)
		stop := hold.RotatedFunc(late.run)
		late.want(t, "set after the rotation", first)
		if stop() {
			t.Error("stop is in time for a function that has run")
		}
		time.Sleep(time.Second)
		next := lapsetest.Must(h.RotateID(h.ctx, i.ID, time.Hour))
		second := now()
		ran.want(t, "rotated again", first, second)
		current := h.connect(h.Manager, next.Bearer)
		defer current.RotatedFunc(stopped.run)()
		lapsetest.Must(h.RotateID(h.ctx, i.ID, 0))
		lapsetest.WantIs(t, "cause", h.cut("leaked", hold.Context(), 0), lapse.ErrReplaced)
		ran.want(t, "cut", first, second)
		late.want(t, "stopped", first)
		stopped.want(t, "stopped, or cut")
	})
}

// TestNoticesFromWithin: a function may use its Hold in every way, and nil is one that does nothing.
func TestNoticesFromWithin(t *testing.T) {
	onMemory(t, "within", lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}, func(h *holder) {
		hold := h.connect(h.Manager, h.issue(lapse.Grant{}).Bearer)
		var ran calls
		var stop func() bool
		stop = hold.WarnFunc(10*time.Minute, func() {
			hold.WarnFunc(5*time.Minute, ran.run)
			hold.RotatedFunc(nil)
			stop()
			ran.run()
		})
		for _, never := range []func() bool{hold.WarnFunc(time.Minute, nil), hold.RotatedFunc(nil)} {
			if never() {
				t.Error("stop of nothing is in time")
			}
		}
		time.Sleep(50 * time.Minute)
		first := now()
		ran.want(t, "the first", first)
		time.Sleep(5 * time.Minute)
		ran.want(t, "the inner one", first, now())
		h.connect(h.Manager, h.issue(lapse.Grant{}).Bearer).WarnFunc(2*time.Hour, hold.Release)
		h.cut("released from within", hold.Context(), 0)
	})
}

// TestNoticesAgainstRelease: of functions that are set, stopped and due while the connection is
// released and cut, none starts once Release has returned and each runs at most once.
func TestNoticesAgainstRelease(t *testing.T) {
	m := managerOn(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour}})
	for round := range 200 {
		i := granted(t, m, lapse.Grant{Subject: fmt.Sprint("ana ", round)})
		hold := lapsetest.Must(m.Hold(t.Context(), i.Bearer))
		var runs, stops atomic.Int32
		gate := make(chan struct{})
		var all sync.WaitGroup
		for n := range 6 {
			all.Go(func() {
				<-gate
				switch n {
				case 0:
					hold.Release()
				case 1:
					m.Expire(t.Context(), i.ID)
				case 2:
					m.RotateID(t.Context(), i.ID, time.Minute)
				default:
					stop := hold.WarnFunc(2*time.Hour, func() { runs.Add(1) })
					if stop() {
						stops.Add(1)
					}
					if stop() {
						t.Error("a second stop is in time")
					}
				}
			})
		}
		close(gate)
		all.Wait()
		if n := hold.WarnFunc(2*time.Hour, func() { t.Error("it ran after the connection was over") }); n() {
			t.Error("stop after Release is in time")
		}
		if n := runs.Load() + stops.Load(); n > 3 {
			t.Errorf("%d ran and %d were stopped, of 3", runs.Load(), stops.Load())
		}
	}
}

// TestNoNoticeAfterRelease: a function that has not been started when Release returns never runs.
func TestNoNoticeAfterRelease(t *testing.T) {
	onMemory(t, "", lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}, func(h *holder) {
		var runs atomic.Int32
		held := lapsetest.Must(h.Hold(h.ctx, h.issue(lapse.Grant{}).Bearer))
		held.WarnFunc(time.Minute, func() { runs.Add(1) })
		held.RotatedFunc(func() { runs.Add(1) })
		time.Sleep(58 * time.Minute)
		synctest.Wait()
		held.Release()
		h.rotate(h.bearer, time.Minute)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := runs.Load(); n != 0 {
			t.Errorf("%d functions have run", n)
		}
	})
}

// TestOneBadRecordInABatch: a record that Gets never gets past, and Get cannot read, keeps no other
// token from being read.
func TestOneBadRecordInABatch(t *testing.T) {
	for name, gets := range map[string]*batchFault{"an error": {fail: errDisk}, "a panic": {spoil: func(*storage.Record) { panic("of a store") }}, "no answer": {hang: true}} {
		afterAGap(t, name, func(h *holder, s *gapStore) {
			bad := h.issue(lapse.Grant{Subject: "bob"})
			kept := h.hold(bad.Bearer)
			var held []context.Context
			for range 5 {
				held = append(held, h.hold(h.issue(lapse.Grant{}).Bearer))
			}
			synctest.Wait()
			s.fault.Store(gets)
			s.bad.Store(&bad.ID)
			h.ExpireSubject(h.ctx, "ana")
			s.gaps <- struct{}{}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			for _, held := range held {
				if !errors.Is(context.Cause(held), lapse.ErrRevoked) {
					t.Errorf("%s: a connection beside the bad record: %v", name, context.Cause(held))
				}
			}
			h.alive(name, kept)
		})
	}
}

// gapStore is a store that tells nothing except gaps, when it is told to, and counts its reads.
type gapStore struct {
	storage.Store
	getter    storage.BatchGetter
	gaps      chan struct{}
	gets, get atomic.Int64
	fault     atomic.Pointer[batchFault]
	bad       atomic.Pointer[storage.ID] // what Get fails for
}

// batchFault is what is wrong with Gets.
type batchFault struct {
	spoil      func(rec *storage.Record) // what Gets makes of each record
	fail, stop error                     // what Gets fails with at once, and after a record
	hang       bool                      // Gets waits for the end of its context, and then ends without a word
}

func (s *gapStore) GetsFor(store storage.Store) bool { return store == storage.Store(s) }

func (s *gapStore) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	s.get.Add(1)
	if bad := s.bad.Load(); bad != nil && *bad == id {
		return storage.Record{}, errDisk
	}
	return s.Store.Get(ctx, id)
}

func (s *gapStore) Gets(ctx context.Context, ids []storage.ID) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		s.gets.Add(1)
		f := s.fault.Load()
		if f.fail != nil {
			yield(storage.Record{}, f.fail)
			return
		}
		if f.hang {
			<-ctx.Done()
			return
		}
		for rec, err := range s.getter.Gets(ctx, ids) {
			if f.spoil != nil {
				f.spoil(&rec)
			}
			if !yield(rec, err) {
				return
			}
			if f.stop != nil {
				yield(storage.Record{}, f.stop)
				return
			}
		}
	}
}

func (s *gapStore) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		for yield(storage.Change{Gap: true}, nil) {
			select {
			case <-s.gaps:
			case <-ctx.Done():
				yield(storage.Change{}, ctx.Err())
				return
			}
		}
	}
}

// afterAGap runs test for a holder on a gapStore.
func afterAGap(t *testing.T, name string, test func(h *holder, s *gapStore)) {
	t.Helper()
	var s *gapStore
	inBubble(t, name, func(*testing.T) storage.Store {
		m := memory.New()
		s = &gapStore{Store: m, getter: m, gaps: make(chan struct{})}
		s.fault.Store(new(batchFault))
		return s
	}, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit, MaxDelegates: lapse.NoTokenLimit}}, func(h *holder) { test(h, s) })
}

// TestGapIsReadInBatches: after a gap 10,000 tokens are read with 10 calls, and what was ended
// meanwhile is cut. 3,000 delegates of two levels take two calls more for each thousand.
func TestGapIsReadInBatches(t *testing.T) {
	for name, row := range map[string]struct {
		tokens, delegates int
		calls             int64
	}{
		"tokens":    {10_001, 0, 10},
		"delegates": {2, 2999, 9},
	} {
		afterAGap(t, name, func(h *holder, s *gapStore) {
			var all []lapse.Issued
			for range row.tokens {
				all = append(all, h.issue(lapse.Grant{}))
			}
			child := lapsetest.Must(h.Delegate(h.ctx, all[0].Bearer, lapse.Grant{}))
			for range row.delegates {
				all = append(all, lapsetest.Must(h.Delegate(h.ctx, child.Bearer, lapse.Grant{})))
			}
			var held []context.Context
			for _, i := range all[1:] {
				held = append(held, h.hold(i.Bearer))
			}
			synctest.Wait()
			h.end(all[1].ID, lapse.EndRevoked)
			s.gets.Store(0)
			s.get.Store(0)
			s.gaps <- struct{}{}
			synctest.Wait()
			if gets, get := s.gets.Load(), s.get.Load(); gets != row.calls || get != 0 {
				t.Errorf("%d calls of Gets and %d of Get; want %d and 0", gets, get, row.calls)
			}
			for n, held := range held {
				if n != 0 {
					h.alive(fmt.Sprint("token ", n), held)
				}
			}
			lapsetest.WantIs(t, "cause", h.cut("ended", held[0], 0), lapse.ErrRevoked)
			h.end(all[0].ID, lapse.EndRevoked)
			s.gaps <- struct{}{}
			if last := held[len(held)-1]; row.delegates > 0 {
				lapsetest.WantIs(t, "cause", h.cut("its parent was ended", last, 0), lapse.ErrRevoked)
			} else {
				h.alive("another was ended", last)
			}
		})
	}
}

// TestBatchThatFails: a batch that could not be read, or whose answer cannot be right, cuts nothing,
// and the tokens are read again.
func TestBatchThatFails(t *testing.T) {
	for name, fault := range map[string]*batchFault{
		"at once":          {fail: errDisk},
		"as not found":     {fail: storage.ErrNotFound},
		"half way":         {stop: errDisk},
		"damaged, no ID":   {fail: storage.ErrCorrupt},
		"another's record": {spoil: func(rec *storage.Record) { rec.ID[15] ^= 1 }},
		"a panic":          {spoil: func(*storage.Record) { panic("of a store") }},
		"without a word":   {hang: true},
	} {
		afterAGap(t, name, func(h *holder, s *gapStore) {
			var held []context.Context
			for range 3 {
				held = append(held, h.hold(h.issue(lapse.Grant{}).Bearer))
			}
			synctest.Wait()
			s.fault.Store(fault)
			s.gaps <- struct{}{}
			again := 5 * time.Second
			if fault.hang {
				again = 30 * time.Second // a read that hangs is noticed within 15 seconds
				time.Sleep(again)
			}
			for _, held := range held {
				h.alive(name, held)
			}
			h.ExpireSubject(h.ctx, "ana")
			s.gaps <- struct{}{}
			time.Sleep(again)
			synctest.Wait()
			cut := 0
			for _, held := range held {
				if errors.Is(context.Cause(held), lapse.ErrRevoked) {
					cut++
				}
			}
			if cut != len(held) { // each is read by itself
				t.Errorf("%s: %d of 3 were read again; the first: %v", name, cut, context.Cause(held[0]))
			}
		})
	}
}

// embedding is a wrapper with a Get of its own, which embeds a store that is a storage.BatchGetter.
type embedding struct {
	*memory.Store
	gets atomic.Int64
}

func (e *embedding) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	e.gets.Add(1)
	rec, err := e.Store.Get(ctx, id)
	if err == nil && rec.Subject == "bob" { // the wrapper ends the tokens of bob
		rec.EndedAt, rec.EndReason = rec.IssuedAt, lapse.EndRevoked
	}
	return rec, err
}

// TestBatchIsNotReadAroundAWrapper: many tokens are read by the Get of a wrapper, not by the Gets of
// the store that it embeds.
func TestBatchIsNotReadAroundAWrapper(t *testing.T) {
	var store *embedding
	open := func(*testing.T) storage.Store { store = &embedding{Store: memory.New()}; return store }
	inBubble(t, "", open, lapse.Config{}, func(h *holder) {
		var held []context.Context
		for range 3 {
			held = append(held, h.hold(h.issue(lapse.Grant{}).Bearer))
		}
		before := store.gets.Load()
		_, err := h.ExpireSubject(h.ctx, "ana") // three changes at once
		lapsetest.WantIs(t, "ExpireSubject", err, nil)
		for _, held := range held {
			h.cut("ended", held, 0)
		}
		if n := store.gets.Load() - before; n < 3 {
			t.Errorf("the wrapper was asked %d times; want 3 at least", n)
		}
	})
}

// TestUseAfterTheEndIsCounted by what the end is, and tells nothing: a cause of the caller may hold a
// secret.
func TestUseAfterTheEndIsCounted(t *testing.T) {
	for name, row := range map[string]struct {
		end     func(h *holder, i lapse.Issued, hold *lapse.Hold, leave context.CancelCauseFunc)
		outcome string
	}{
		"its own cause": {func(_ *holder, i lapse.Issued, _ *lapse.Hold, leave context.CancelCauseFunc) {
			leave(errors.New("bye " + i.Bearer))
		}, "canceled"},
		"a cause of ours": {func(_ *holder, _ lapse.Issued, _ *lapse.Hold, leave context.CancelCauseFunc) {
			leave(lapse.ErrUnavailable)
		}, "canceled"},
		"its context": {func(_ *holder, _ lapse.Issued, _ *lapse.Hold, leave context.CancelCauseFunc) { leave(nil) }, "canceled"},
		"released":    {func(_ *holder, _ lapse.Issued, hold *lapse.Hold, _ context.CancelCauseFunc) { hold.Release() }, "canceled"},
		"revoked":     {func(h *holder, i lapse.Issued, _ *lapse.Hold, _ context.CancelCauseFunc) { h.Expire(h.ctx, i.ID) }, "revoked"},
		"ran out":     {func(*holder, lapse.Issued, *lapse.Hold, context.CancelCauseFunc) { time.Sleep(time.Hour) }, "expired"},
		"closed":      {func(h *holder, _ lapse.Issued, _ *lapse.Hold, _ context.CancelCauseFunc) { h.store.Close() }, "closed"},
	} {
		log := new(hookLog)
		onMemory(t, name, lapse.Config{Observe: log.observe}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			ctx, leave := context.WithCancelCause(h.ctx)
			defer leave(nil)
			hold := lapsetest.Must(h.Hold(ctx, i.Bearer))
			row.end(h, i, hold, leave)
			h.cut(name, hold.Context(), 5*time.Second)
			if err := hold.Use(h.ctx); err == nil || err != context.Cause(hold.Context()) {
				t.Errorf("Use: %v; want the cause %v", err, context.Cause(hold.Context()))
			}
			for key, n := range h.Stats().All() {
				if key.Verb == lapse.VerbUse && (key.Outcome != row.outcome || n != 1) {
					t.Errorf("counted %v %d times; want %s once", key, n, row.outcome)
				}
			}
			if n := h.Stats().Get(lapse.StatKey{Verb: lapse.VerbUse, Outcome: row.outcome}); n != 1 {
				t.Errorf("counted %s %d times; want once", row.outcome, n)
			}
			for _, kind := range []lapse.EventKind{lapse.EventCouldNotTell, lapse.EventRejected} {
				if told := log.of(kind); len(told) > 0 {
					t.Errorf("told %+v", told)
				}
			}
		})
	}
}

// addressKey is the key of the address of a peer.
type addressKey struct{}

// TestRecheckHasTheValuesOfHold: of two connections by one token that Admit knows apart by their
// contexts, it ends one, and the deadline of neither reaches Admit.
func TestRecheckHasTheValuesOfHold(t *testing.T) {
	var blocked atomic.Value
	blocked.Store("")
	var deadlines atomic.Int32
	admit := func(ctx context.Context, _ lapse.Token) error {
		if _, ok := ctx.Deadline(); ok {
			deadlines.Add(1)
		}
		if ctx.Value(addressKey{}) == blocked.Load() {
			return fmt.Errorf("%w: by address", lapse.ErrRefused)
		}
		return ctx.Err()
	}
	onMemory(t, "addresses", lapse.Config{Admit: admit, Recheck: time.Minute}, func(h *holder) {
		i := h.issue(lapse.Grant{TTL: time.Hour})
		var holds []*lapse.Hold
		for _, address := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
			holds = append(holds, lapsetest.Must(h.Hold(context.WithValue(h.ctx, addressKey{}, address), i.Bearer)))
		}
		time.Sleep(90 * time.Second)
		blocked.Store("10.0.0.2")
		time.Sleep(30 * time.Second)
		cause := h.cut("blocked", holds[1].Context(), 0)
		h.wantRejection(cause, lapse.ErrRefused, i.ID, time.Time{}, 0)
		lapsetest.WantIs(t, "Use", holds[1].Use(h.ctx), lapse.ErrRefused)
		time.Sleep(10 * time.Minute)
		h.alive("another address", holds[0].Context())
		h.alive("another address", holds[2].Context())
		if n := deadlines.Load(); n != 0 {
			t.Errorf("%d deadlines", n)
		}
	})
}
