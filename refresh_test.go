package lapse_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestRefresh: one refresh is answered with the same session under two new texts, stores
// no other record, and is told once.
func TestRefresh(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{Name: "laptop", Scope: "read write", Data: "data", TTL: time.Hour})
	other := p.first(lapse.Grant{})
	p.clock.Add(20 * time.Minute)
	p.events = nil
	untouched := p.record(other.Refresh.ID)
	b := p.next(a)
	now := lapsetest.StartMilli.Add(20 * time.Minute)

	session := a.Refresh.Token
	session.Generation, session.RotatedAt, session.ExpiresAt = 1, now, now.Add(720*time.Hour)
	access := session
	access.ExpiresAt = now.Add(time.Hour)
	lapsetest.WantDiff(t, "by the access text", access, b.Access.Token)
	lapsetest.WantDiff(t, "by the refresh text", session, b.Refresh.Token)
	lapsetest.WantDiff(t, "stored", session, p.token(session.ID))
	lapsetest.WantDiff(t, "another session", untouched, p.record(other.Refresh.ID))
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventRotated, At: now, Token: session}}, p.events)
	if n := len(p.contents()); n != 2 || b.ExpiresIn != lapse.Seconds(time.Hour) || b.Repeated {
		t.Errorf("%d records, expires in %v, repeated %v", n, b.ExpiresIn, b.Repeated)
	}
	if b.Access.Bearer == a.Access.Bearer || b.Refresh.Bearer == a.Refresh.Bearer {
		t.Error("a text was not replaced")
	}
	if c := p.next(b); c.ExpiresIn != lapse.Seconds(time.Hour) {
		t.Errorf("the next access secret lives for %v; want the grant's TTL for every one", c.ExpiresIn)
	}
}

// wantSame expects of Refresh with a the credentials b again.
func (p *pairs) wantSame(what string, a, b lapse.TokenPair) {
	p.t.Helper()
	got := p.next(a)
	b.Repeated = true
	b.ExpiresIn = lapse.Seconds(max(0, b.Access.ExpiresAt.Sub(p.clock.Now().Truncate(time.Millisecond))))
	lapsetest.WantDiff(p.t, what, b, got)
}

// wantDead: the session of all has ended by reuse, or has run out, and none of its texts
// works.
func (p *pairs) wantDead(all ...lapse.TokenPair) {
	p.t.Helper()
	tok := p.token(all[0].Refresh.ID)
	if ran := !p.clock.Now().Before(tok.ExpiresAt); !ran && tok.EndReason != lapse.EndReused {
		p.t.Errorf("the session: %+v; want it ended by reuse", tok)
	}
	for i, c := range all {
		p.wantAccess(fmt.Sprint("credentials ", i), c, lapse.ErrUnauthenticated)
		p.wantRefresh(fmt.Sprint("credentials ", i), c, lapse.ErrUnauthenticated)
	}
	for _, r := range p.contents() {
		if r.Family == all[0].Refresh.ID && r.Live(p.clock.Now()) {
			p.t.Errorf("%v lives", r.ID)
		}
	}
}

// TestGraceBoundary: a replaced text is answered with the same credentials up to the last
// millisecond of the grace, and with the end of the session from then on. A clock that
// stepped back changes nothing about the instant.
func TestGraceBoundary(t *testing.T) {
	const grace = 7 * time.Second
	for _, row := range []struct {
		after time.Duration
		want  error
	}{
		{0, nil},
		{grace - time.Millisecond, nil},
		{grace, lapse.ErrReused},
		{grace + time.Millisecond, lapse.ErrReused},
		{time.Hour, lapse.ErrReused},
		{10000 * time.Hour, lapse.ErrReused}, // the session has run out by then
		{-time.Millisecond, nil},
		{-time.Hour, nil},
	} {
		t.Run(fmt.Sprint(row.after), func(t *testing.T) {
			p := memoryPairs(t, lapse.PairConfig{Grace: grace, Access: lapse.Config{ClockGuard: lapse.GuardOff}})
			a := p.first(lapse.Grant{})
			p.clock.Add(2 * time.Hour)
			b := p.next(a)
			before := p.contents()
			p.clock.Add(row.after)
			if row.want == nil {
				p.events = nil
				p.wantSame("again", a, b)
				lapsetest.WantDiff(t, "contents", before, p.contents())
				lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventRepeated}, p.kinds())
				return
			}
			p.wantRefresh("after the grace", a, row.want)
			p.wantDead(a, b)
		})
	}
}

// TestGraceIsNotRestarted: replays just inside the grace leave its end where it is.
func TestGraceIsNotRestarted(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Grace: 10 * time.Second})
	a := p.first(lapse.Grant{})
	b := p.next(a)
	for range 4 {
		p.clock.Add(2*time.Second + 499*time.Millisecond)
		p.wantSame("again", a, b)
	}
	p.clock.Add(4 * time.Millisecond)
	p.wantRefresh("at the end of the first grace", a, lapse.ErrReused)
	p.wantDead(a, b)
}

// TestStoredGraceDecides: the instant that was stored with the refresh ends the grace, for
// Pairs with a longer grace, a shorter one and none.
func TestStoredGraceDecides(t *testing.T) {
	graces := []time.Duration{lapse.NoGrace, time.Second, 10 * time.Second, time.Minute}
	for _, made := range graces {
		for _, reads := range graces {
			for _, after := range []time.Duration{0, max(made, 0) - time.Millisecond, max(made, 0)} {
				p := memoryPairs(t, lapse.PairConfig{Grace: made})
				reader := p.beside(lapse.PairConfig{Grace: reads})
				a := p.first(lapse.Grant{})
				b := p.next(a)
				p.clock.Add(max(after, 0))
				within := max(after, 0) < made
				name := fmt.Sprintf("grace %v, read with %v, after %v", made, reads, after)
				reader.wantAccess(name, a, map[bool]error{false: lapse.ErrReplaced}[within])
				if within {
					reader.wantSame(name, a, b)
				} else {
					reader.wantRefresh(name, a, lapse.ErrReused)
				}
			}
		}
	}
}

// TestNewTextEndsTheGrace: once the new refresh text has been presented to Refresh, the
// one before the replaced one is reuse, at the same instant too. Shown to Peek or used for
// access, the new texts count as not presented.
func TestNewTextEndsTheGrace(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{})
	b := p.next(a)
	_, err := p.Pairs.Peek(p.ctx, b.Refresh.Bearer)
	lapsetest.WantIs(t, "Peek", err, nil)
	p.wantSame("after a Peek", a, b)
	p.wantAccess("the new access text", b, nil)
	p.wantSame("after a use of the access text", a, b)
	c := p.next(b)
	p.wantRefresh("the new text has been presented", a, lapse.ErrReused)
	p.wantDead(a, b, c)
}

// TestNoGrace: the previous access text ends at once, to ask again is reuse, and a
// delegate lives until the end that its text had.
func TestNoGrace(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Grace: lapse.NoGrace})
	a := p.first(lapse.Grant{})
	child, err := p.Delegate(p.ctx, a.Access.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	b := p.next(a)
	p.wantAccess("the previous one", a, lapse.ErrReplaced)
	p.wantAccess("the current one", b, nil)
	p.wantPeek(t, "a delegate of the previous one", child.Bearer, nil)
	p.wantRefresh("at once", a, lapse.ErrReused)
	p.wantDead(a, b)
	p.wantPeek(t, "a delegate after the reuse", child.Bearer, lapse.ErrRevoked)
	if why := p.token(child.ID).EndReason; why != lapse.EndParent {
		t.Errorf("the delegate ended as %v", why)
	}
}

// TestPreviousAccessText works until the grace ends, or until its own end where that is
// earlier, and until the next refresh; it records no use.
func TestPreviousAccessText(t *testing.T) {
	for _, ttl := range []time.Duration{10*time.Second - time.Millisecond, 10 * time.Second, 10*time.Second + time.Millisecond, time.Minute} {
		p := memoryPairs(t, lapse.PairConfig{})
		a := p.first(lapse.Grant{TTL: ttl})
		b := p.next(a)
		end := min(ttl, 10*time.Second)
		p.clock.Add(end - time.Millisecond)
		calls := p.calls(func() {
			tok, err := p.Authenticate(p.ctx, a.Access.Bearer)
			if err != nil || !tok.ExpiresAt.Equal(lapsetest.StartMilli.Add(end)) || !tok.LastUsedAt.IsZero() {
				t.Errorf("TTL %v, a millisecond before: %+v, %v", ttl, tok, err)
			}
		})
		lapsetest.WantDiff(t, "calls", []storagetest.Op{opGet}, calls)
		p.clock.Add(time.Millisecond)
		p.wantAccess("as it ends", a, lapse.ErrReplaced)
		p.wantAccess("the current one", b, map[bool]error{true: lapse.ErrExpired}[ttl <= end])
		p.next(p.next(b))
		p.wantAccess("two refreshes later", b, lapse.ErrReplaced)
	}
}

// TestAccessBoundary: an access secret opens the session for its TTL, uses do not
// lengthen that, and its end is not that of the session.
func TestAccessBoundary(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: time.Minute, Renewal: lapse.RenewOnUse}}})
	c := p.first(lapse.Grant{})
	for range 3 {
		for range 2 {
			p.clock.Add(30*time.Second - time.Millisecond)
			_, err := p.Authenticate(p.ctx, c.Access.Bearer)
			lapsetest.WantIs(t, "used", err, nil)
		}
		p.clock.Add(time.Millisecond)
		p.wantAccess("a millisecond before", c, nil)
		p.clock.Add(time.Millisecond)
		p.wantAccess("at its end", c, lapse.ErrExpired)
		_, err := p.Renew(p.ctx, c.Access.Bearer)
		lapsetest.WantIs(t, "Renew at its end", err, lapse.ErrExpired)
		if tok := p.token(c.Refresh.ID); !tok.Live(p.clock.Now()) {
			t.Errorf("the session ended with it: %+v", tok)
		}
		c = p.next(c)
	}
}

// TestSessionBoundaries: a session runs out when it has not been refreshed for its TTL,
// whatever its access texts were used for, and at its cap, which counts from the log-in.
func TestSessionBoundaries(t *testing.T) {
	cfg := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: 10 * time.Hour, MaxTTL: 24 * time.Hour}}}
	for _, row := range []struct {
		name      string
		refreshed []time.Duration // one after the other
		grant     lapse.Grant
		end       time.Duration // after the last of these
	}{
		{"never refreshed", nil, lapse.Grant{}, 10 * time.Hour},
		{"never refreshed, SessionTTL", nil, lapse.Grant{SessionTTL: time.Hour}, time.Hour},
		{"refreshed", []time.Duration{10*time.Hour - time.Millisecond}, lapse.Grant{}, 10 * time.Hour},
		{"refreshed, SessionTTL", []time.Duration{time.Hour - time.Millisecond, time.Minute}, lapse.Grant{SessionTTL: time.Hour}, time.Hour},
		{"a longer SessionTTL", []time.Duration{time.Hour}, lapse.Grant{SessionTTL: 20 * time.Hour}, 20 * time.Hour},
		{"near the cap", []time.Duration{9 * time.Hour, 9 * time.Hour}, lapse.Grant{}, 6 * time.Hour},
		{"near the cap, SessionTTL", []time.Duration{9 * time.Hour, 9 * time.Hour}, lapse.Grant{SessionTTL: 24 * time.Hour}, 6 * time.Hour},
		{"just before the cap", []time.Duration{9 * time.Hour, 9 * time.Hour, 6*time.Hour - time.Millisecond}, lapse.Grant{}, time.Millisecond},
	} {
		for _, past := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			p := memoryPairs(t, cfg)
			c := p.first(row.grant)
			for _, d := range row.refreshed {
				p.clock.Add(d)
				c = p.next(c)
			}
			if ends := c.Refresh.ExpiresAt.Sub(p.clock.Now().Truncate(time.Millisecond)); ends != row.end {
				t.Errorf("%s: it ends in %v; want %v", row.name, ends, row.end)
			}
			p.clock.Add(row.end + past)
			name := fmt.Sprintf("%s, %v after its end", row.name, past)
			want := map[bool]error{true: lapse.ErrExpired}[past >= 0]
			_, err := p.Pairs.Peek(p.ctx, c.Refresh.Bearer)
			lapsetest.WantIs(t, name+": Peek", err, want)
			p.wantRefresh(name, c, want)
		}
	}
}

// TestDelegatesOfAnAccessText never retryOnNewEpoch the end that the text had, by renewals
// either, and a refresh ends none of them.
func TestDelegatesOfAnAccessText(t *testing.T) {
	p := newPairs(t, memory.New(), lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: time.Minute, Renewal: lapse.RenewOnUse}}})
	delegate := func(bearer string, ttl time.Duration) lapse.Issued {
		i, err := p.Delegate(p.ctx, bearer, lapse.Grant{TTL: ttl})
		lapsetest.WantIs(t, "Delegate", err, nil)
		return i
	}
	a := p.first(lapse.Grant{})
	current := delegate(a.Access.Bearer, time.Hour)
	lapsetest.WantDiff(t, "reduced", []string{"TTL"}, current.Reduced)
	p.clock.Add(40 * time.Second)
	b := p.next(a)
	previous := delegate(a.Access.Bearer, time.Minute)
	next := delegate(b.Access.Bearer, 50*time.Second)
	far := delegate(previous.Bearer, time.Minute)
	for _, after := range []time.Duration{ // the log-in
		45 * time.Second, 50*time.Second - time.Millisecond, 50 * time.Second, 60*time.Second - time.Millisecond, 60 * time.Second,
		80 * time.Second, 100*time.Second - time.Millisecond, 100 * time.Second,
	} {
		p.clock.Set(lapsetest.Start.Add(after))
		b = p.next(b)
		for _, row := range []struct {
			name string
			lapse.Issued
			end time.Duration
		}{
			{"of the current text", current, 60 * time.Second},
			{"of the previous text", previous, 50 * time.Second},
			{"of that delegate", far, 50 * time.Second},
			{"of the next text", next, 100 * time.Second},
		} {
			_, err := p.Authenticate(p.ctx, row.Bearer) // which renews it
			lapsetest.WantIs(t, fmt.Sprintf("%s, %v after the log-in", row.name, after), err, map[bool]error{true: lapse.ErrExpired}[after >= row.end])
			if why := p.token(row.ID).EndReason; why != 0 {
				t.Errorf("%s: a refresh ended it as %v", row.name, why)
			}
		}
	}
	p.wantAccess("the session", b, nil)
}

var refreshRounds = flag.Int("refreshrounds", 10, "how often 64 callers refresh one session at once")

// quiet are Pairs on store whose observer may be called by many at once.
func quiet(t *testing.T, store storage.Store, cfg lapse.PairConfig) *pairs {
	t.Helper()
	cfg.Access.Observe = func(context.Context, lapse.Event) {}
	return newPairs(t, store, cfg)
}

// TestOneSuccessorUnder64Callers: of those that all found the text current one has the
// secrets replaced, and within the grace all get the same credentials, time and again.
func TestOneSuccessorUnder64Callers(t *testing.T) {
	const callers = 64
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := quiet(t, store, lapse.PairConfig{})
		c := p.first(lapse.Grant{Scope: "read write"})
		for round := range *refreshRounds {
			got := make([]lapse.TokenPair, callers)
			lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
			errs := lapsetest.Together(callers, func(i int) (err error) {
				got[i], err = p.Refresh(p.ctx, c.Refresh.Bearer, []string{"read write", "write read", ""}[i%3])
				return err
			})
			store.Before(nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			made := 0
			for i := range got {
				if !got[i].Repeated {
					made++
				}
				got[i].Repeated = false
				if i > 0 {
					lapsetest.WantDiff(t, "another caller's", got[0], got[i])
				}
			}
			if all := p.contents(); made != 1 || len(all) != 1 || int(all[0].Generation) != round+1 {
				t.Fatalf("round %d: %d made the credentials of %d records", round, made, len(all))
			}
			c = got[0]
		}
		p.wantAccess("the last ones", c, nil)
	})
}

// TestOneWinnerWithoutGrace: where there is no grace, one of 64 callers gets credentials,
// and the others are reuse, which ends the session.
func TestOneWinnerWithoutGrace(t *testing.T) {
	const callers = 64
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := quiet(t, store, lapse.PairConfig{Grace: lapse.NoGrace})
		c := p.first(lapse.Grant{})
		got := make([]lapse.TokenPair, callers)
		lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
		errs := lapsetest.Together(callers, func(i int) (err error) {
			got[i], err = p.Refresh(p.ctx, c.Refresh.Bearer)
			return err
		})
		store.Before(nil)
		var won []lapse.TokenPair
		for i, err := range errs {
			if err == nil {
				won = append(won, got[i])
				continue
			}
			lapsetest.WantIs(t, "a loser", err, lapse.ErrReused)
		}
		if len(won) != 1 {
			t.Fatalf("%d got credentials; want one", len(won))
		}
		p.wantDead(c, won[0])
	})
}

// TestScopesUnder64Callers: of callers that ask for different scopes at once, those that
// asked for what the first one asked for get it, and the others ErrScope. The session
// lives.
func TestScopesUnder64Callers(t *testing.T) {
	const callers = 64
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := quiet(t, store, lapse.PairConfig{})
		c := p.first(lapse.Grant{Scope: "read write"})
		got := make([]lapse.TokenPair, callers)
		lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
		errs := lapsetest.Together(callers, func(i int) (err error) {
			got[i], err = p.Refresh(p.ctx, c.Refresh.Bearer, []string{"read", "write"}[i%2])
			return err
		})
		store.Before(nil)
		served := map[string]int{}
		for i, err := range errs {
			if err != nil {
				lapsetest.WantIs(t, "the other scope", err, lapse.ErrScope)
				continue
			}
			served[got[i].Access.Scope]++
			p.wantAccess("a winner", got[i], nil)
		}
		if served["read"]+served["write"] != callers/2 || len(served) != 1 {
			t.Errorf("served: %v; want all of one scope", served)
		}
	})
}

// TestReuseIsDecidedByTheTransaction: what a text was when the store was first read is no
// verdict. Here it becomes something else before the transaction.
func TestReuseIsDecidedByTheTransaction(t *testing.T) {
	for _, row := range []struct {
		name  string
		grace time.Duration
		then  func(p *pairs, c, next lapse.TokenPair) // before the transaction
		first bool                                    // c has not been refreshed yet
		want  error
	}{
		{"current, then previous", 0, func(p *pairs, c, _ lapse.TokenPair) { p.next(c) }, true, nil},
		{"current, then spent, without a grace", lapse.NoGrace, func(p *pairs, c, _ lapse.TokenPair) { p.next(c) }, true, lapse.ErrReused},
		{"current, then spent", 0, func(p *pairs, c, _ lapse.TokenPair) { p.next(p.next(c)) }, true, lapse.ErrReused},
		{"current, then the session ended", 0, func(p *pairs, c, _ lapse.TokenPair) { lapsetest.LoggedOut(p.ExpireBearer(p.ctx, c.Access.Bearer)) }, true, lapse.ErrRevoked},
		{"current, then it ran out", 0, func(p *pairs, _, _ lapse.TokenPair) { p.clock.Add(720 * time.Hour) }, true, lapse.ErrExpired},
		{"previous, then spent", 0, func(p *pairs, _, next lapse.TokenPair) { p.next(next) }, false, lapse.ErrReused},
		{"previous, then the grace ends", 0, func(p *pairs, _, _ lapse.TokenPair) { p.clock.Add(10 * time.Second) }, false, lapse.ErrReused},
		{"previous, then before the grace ends", 0, func(p *pairs, _, _ lapse.TokenPair) { p.clock.Add(10*time.Second - time.Millisecond) }, false, nil},
		{"previous, then the session ended", 0, func(p *pairs, _, next lapse.TokenPair) {
			lapsetest.LoggedOut(p.ExpireBearer(p.ctx, next.Access.Bearer))
		}, false, lapse.ErrRevoked},
	} {
		p := memoryPairs(t, lapse.PairConfig{Grace: row.grace})
		c := p.first(lapse.Grant{})
		var next lapse.TokenPair
		if !row.first {
			next = p.next(c)
		}
		p.store.Before(func(op storagetest.Op) {
			if op == opUpdate {
				p.store.Before(nil)
				row.then(p, c, next)
			}
		})
		p.wantRefresh(row.name, c, row.want)
		if tok := p.token(c.Refresh.ID); (tok.EndReason == lapse.EndReused) != (row.want == lapse.ErrReused) {
			t.Errorf("%s: the session ended as %v", row.name, tok.EndReason)
		}
	}
}

// staleGets is a store whose Get answers with what it was told to remember, as a cache does
// that has not heard of a change.
type staleGets struct {
	storage.Store
	old map[storage.ID]storage.Record
}

func (s *staleGets) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if r, ok := s.old[id]; ok {
		return r, nil
	}
	return s.Store.Get(ctx, id)
}

// TestStaleReadsDecideNothing: a record that is older than the text is read once more,
// past the cache, and one by which a spent text is still current ends nothing wrongly and
// lets nothing in.
func TestStaleReadsDecideNothing(t *testing.T) {
	for _, row := range []struct {
		name    string
		present func(s session3, last lapse.TokenPair) lapse.TokenPair // after a third refresh
		want    error
	}{
		{"the current text", func(_ session3, last lapse.TokenPair) lapse.TokenPair { return last }, nil},
		{"the previous text", func(s session3, _ lapse.TokenPair) lapse.TokenPair { return s.current }, nil},
		{"a spent text, current by the old record", func(s session3, _ lapse.TokenPair) lapse.TokenPair { return s.previous }, lapse.ErrReused},
		{"a spent text, spent by it too", func(s session3, _ lapse.TokenPair) lapse.TokenPair { return s.spent }, lapse.ErrReused},
	} {
		cache := &staleGets{Store: memory.New()}
		p := newPairs(t, cache, lapse.PairConfig{})
		s := session3{spent: p.first(lapse.Grant{})}
		s.previous = p.next(s.spent)
		old := p.record(s.spent.Refresh.ID)
		s.current = p.next(s.previous)
		last := p.next(s.current)
		cache.old = map[storage.ID]storage.Record{old.ID: old}
		c := row.present(s, last)
		p.wantRefresh(row.name, c, row.want)
		_, err := p.Manager.Peek(p.ctx, last.Access.Bearer)
		cache.old = nil
		if row.want != nil {
			p.wantDead(s.spent, s.previous, s.current, last)
			continue
		}
		lapsetest.WantIs(t, row.name+": the newest access text by the old record", err, nil)
		if reason := p.token(old.ID).EndReason; reason != 0 {
			t.Errorf("%s: the session ended as %v", row.name, reason)
		}
	}
}

// TestRefreshAgainstTheEnd lets refreshes of one session and an end of it loose at once:
// whichever comes first, the session is dead afterwards.
func TestRefreshAgainstTheEnd(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(p *pairs, stale, c lapse.TokenPair) error
		want error
	}{
		"log-out by the access text": {func(p *pairs, _, c lapse.TokenPair) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, c.Access.Bearer))
		}, nil},
		"log-out by the refresh text": {func(p *pairs, _, c lapse.TokenPair) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, c.Refresh.Bearer))
		}, nil},
		"log-out by a spent refresh text": {func(p *pairs, s, _ lapse.TokenPair) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, s.Refresh.Bearer))
		}, nil},
		"Expire by ID": {func(p *pairs, _, c lapse.TokenPair) error {
			_, err := p.Manager.Expire(p.ctx, c.Refresh.ID)
			return err
		}, nil},
		"ExpireSubject": {func(p *pairs, _, _ lapse.TokenPair) error { _, err := p.ExpireSubject(p.ctx, "ana"); return err }, nil},
		"a log-in at the limit that evicts": {func(p *pairs, _, _ lapse.TokenPair) error {
			lapsetest.LoggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{}).Access.Bearer))
			return nil
		}, nil},
		"reuse": {func(p *pairs, s, _ lapse.TokenPair) error { _, err := p.Refresh(p.ctx, s.Refresh.Bearer); return err }, lapse.ErrReused},
	} {
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			p := quiet(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}})
			for range 10 {
				stale := p.first(lapse.Grant{})
				c := p.next(p.next(stale))
				lapsetest.Arrivals(store, 8, storagetest.OpUpdate)
				errs := lapsetest.Together(8, func(i int) error {
					if i == 0 {
						return row.end(p, stale, c)
					}
					_, err := p.Refresh(p.ctx, c.Refresh.Bearer)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				})
				store.Before(nil)
				lapsetest.WantIs(t, name, errs[0], row.want)
				lapsetest.WantIs(t, name+": Refresh", errors.Join(errs[1:]...), nil)
				if alive := p.living(); len(alive) != 0 {
					t.Fatalf("%s: %v live", name, alive)
				}
			}
		})
	}
}

// TestSessionsUnder32Callers: a limit on sessions is exact.
func TestSessionsUnder32Callers(t *testing.T) {
	const limit, callers = 5, 32
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := quiet(t, store, lapse.PairConfig{
			Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: limit, AtLimit: lapse.LimitEndOldest}},
		})
		lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
		errs := lapsetest.Together(callers, func(int) error {
			_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
			return err
		})
		store.Before(nil)
		lapsetest.WantIs(t, "Issue", errors.Join(errs...), nil)
		if n := len(p.living()); n != limit {
			t.Errorf("%d sessions live; want %d", n, limit)
		}
	})
}

// TestFault11_ARetryGetsNoDeadAccessToken: the grace of a session ends with the first life
// of its access secret, however long that of Pairs is. What is given again before lives.
func TestFault11_ARetryGetsNoDeadAccessToken(t *testing.T) {
	for _, cfg := range []lapse.PairConfig{
		{Access: lapse.Config{Policy: lapse.Policy{TTL: time.Second}}}, // the default grace is lower then
		{Grace: time.Minute}, // and so is that of a grant
	} {
		for _, after := range []time.Duration{0, time.Second - time.Millisecond, time.Second, 2 * time.Second} {
			p := memoryPairs(t, cfg)
			a := p.first(lapse.Grant{TTL: time.Second})
			b := p.next(a)
			p.clock.Add(after)
			if after < time.Second {
				p.wantSame("again", a, b)
				p.wantAccess("again", b, nil)
				p.wantAccess("refreshed", p.next(b), nil)
				continue
			}
			p.wantRefresh("again", a, lapse.ErrReused)
			p.wantDead(a, b)
		}
	}
	p := memoryPairs(t, lapse.PairConfig{Grace: time.Minute})
	a := p.first(lapse.Grant{})
	b := p.next(a)
	p.Manager.Expire(p.ctx, b.Access.ID)
	p.wantRefresh("again, ended meanwhile", a, lapse.ErrRevoked)
}

// TestFault11_ExpiresInIsNeverZeroForALivingToken: clients take 0 for a token that does not expire.
func TestFault11_ExpiresInIsNeverZeroForALivingToken(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour}}})
	for left, want := range map[time.Duration]string{
		time.Millisecond: "1", 999 * time.Millisecond: "1", time.Second: "1", 1999 * time.Millisecond: "1", 2 * time.Second: "2",
	} {
		c := p.first(lapse.Grant{})
		p.clock.Add(59 * time.Minute)
		c = p.next(c)
		p.clock.Add(59 * time.Minute)
		c = p.next(c)
		p.clock.Add(2*time.Minute - left)
		c = p.next(c)
		text, err := json.Marshal(c)
		if err != nil || !strings.Contains(string(text), `"expires_in":`+want+`,`) {
			t.Errorf("it lives for %v, and the answer is %s, %v", c.ExpiresIn, text, err)
		}
	}
}

// TestFault14_AskingForLessWithinTheGrace is ErrScope, and never the wider answer; the session
// lives on, and the scope asked for first is given again.
func TestFault14_AskingForLessWithinTheGrace(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{Scope: "read write"})
	b := p.next(a)
	for _, scope := range []string{"read", "write"} {
		got, err := p.Refresh(p.ctx, a.Refresh.Bearer, scope)
		lapsetest.WantIs(t, scope, err, lapse.ErrScope)
		if got.Access.Bearer != "" || got.Refresh.Bearer != "" {
			t.Errorf("%s: a text comes with the error", scope)
		}
	}
	p.wantSame("all of it", a, b)
	if c := p.next(b, "read"); c.Scope != "read" || c.Access.Scope != "read" {
		t.Errorf("less, by the new text: %q", c.Scope)
	}
}

// TestReopenBetweenRefreshAndRetry: the file alone is enough to answer again.
func TestReopenBetweenRefreshAndRetry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	open := func() (*pairs, func()) {
		s, err := bolt.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return newPairs(t, s, lapse.PairConfig{}), func() {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	p, done := open()
	a := p.first(lapse.Grant{Scope: "read write"})
	b := p.next(a, "read")
	done()
	p, done = open()
	got := p.next(a, "read")
	if got.Access.Bearer != b.Access.Bearer || got.Refresh.Bearer != b.Refresh.Bearer || !got.Repeated {
		t.Errorf("again: %+v; want %+v", got, b)
	}
	p.wantAccess("the new one", b, nil)
	c := p.next(b)
	done()
	p, done = open()
	defer done()
	p.wantRefresh("the new text was presented", a, lapse.ErrReused)
	p.wantAccess("the last one", c, lapse.ErrRevoked)
}

// TestRefreshScope: the access text has what was asked for, in the order of the grant, the
// session keeps all of it, and too much spends nothing.
func TestRefreshScope(t *testing.T) {
	for _, row := range []struct {
		name  string
		asked []string
		want  string
		err   error
	}{
		{"nothing asked", nil, "read write:all admin", nil},
		{"empty", []string{"", " "}, "read write:all admin", nil},
		{"one", []string{"read"}, "read", nil},
		{"two in one", []string{"admin read"}, "read admin", nil},
		{"two", []string{"admin", "read"}, "read admin", nil},
		{"twice", []string{"read read", "read"}, "read", nil},
		{"all", []string{"admin read write:all"}, "read write:all admin", nil},
		{"one too many", []string{"read", "delete"}, "", lapse.ErrScope},
		{"another", []string{"delete"}, "", lapse.ErrScope},
		{"part of a word", []string{"write"}, "", lapse.ErrScope},
		{"another case", []string{"Read"}, "", lapse.ErrScope},
		{"as long as a scope can be", []string{strings.Repeat("read ", 204) + "read"}, "read", nil},
		{"longer", []string{strings.Repeat("read ", 205)}, "", lapse.ErrScope},
		{"nothing that is a scope", []string{"\"\x00"}, "", lapse.ErrScope},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		a := p.first(lapse.Grant{Scope: "read write:all admin"})
		before := p.contents()
		b, err := p.Refresh(p.ctx, a.Refresh.Bearer, row.asked...)
		lapsetest.WantIs(t, row.name, err, row.err)
		if err != nil {
			lapsetest.WantDiff(t, row.name+": contents", before, p.contents())
			b = p.next(a) // nothing was spent
			row.want = a.Access.Scope
		}
		seen, err := p.Manager.Peek(p.ctx, b.Access.Bearer)
		lapsetest.WantIs(t, row.name, err, nil)
		if b.Access.Scope != row.want || seen.Scope != row.want || b.Refresh.Scope != a.Refresh.Scope || p.token(b.Access.ID).Scope != a.Refresh.Scope {
			t.Errorf("%s: access text %q, session %q", row.name, b.Access.Scope, b.Refresh.Scope)
		}
		if c := p.next(b); c.Access.Scope != a.Access.Scope {
			t.Errorf("%s: the next one has %q; want all again", row.name, c.Access.Scope)
		}
	}
}

// TestScopeOfThePreviousText: the previous access text works within the grace unless the
// new one has a word that it lacked, and has no more scope than the new one.
func TestScopeOfThePreviousText(t *testing.T) {
	for _, row := range []struct {
		before, now string
		works       bool
	}{
		{"read write", "read write", true},
		{"read write", "write read", true},
		{"read write", "read", true},
		{"read", "read", true},
		{"", "read write admin", true}, // both are all of it
		{"", "read", true},
		{"read", "read write", false},
		{"read", "write", false},
		{"read write", "", false},
		{"read", "read admin", false},
	} {
		for _, after := range []time.Duration{0, 10*time.Second - time.Millisecond, 10 * time.Second} {
			p := memoryPairs(t, lapse.PairConfig{})
			a := p.next(p.first(lapse.Grant{Scope: "read write admin"}), row.before)
			b := p.next(a, row.now)
			p.clock.Add(after)
			name := fmt.Sprintf("from %q to %q, %v later", row.before, row.now, after)
			tok, err := p.Manager.Peek(p.ctx, a.Access.Bearer)
			if row.works && after < 10*time.Second {
				if err != nil || tok.Scope != b.Access.Scope {
					t.Errorf("%s: %q, %v", name, tok.Scope, err)
				}
			} else {
				lapsetest.WantIs(t, name, err, lapse.ErrReplaced)
			}
			p.wantAccess(name+": the new one", b, nil)
		}
	}
}

// TestRefreshScopeAgain: within the grace the same scope is given again, and another than
// the first time is ErrScope, which changes nothing. After the grace any scope is reuse.
func TestRefreshScopeAgain(t *testing.T) {
	for _, row := range []struct {
		first, again string
		same         bool
	}{
		{"read", "read", true},
		{"read write", "write  read", true},
		{"", "", true},
		{"", "read write", true},
		{"read write", "", true},
		{"read", "", false},
		{"read", "write", false},
		{"read", "read write", false},
		{"", "read", false},
		{"read", "delete", false},
		{"", "delete", false},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		a := p.first(lapse.Grant{Scope: "read write"})
		b := p.next(a, row.first)
		before := p.contents()
		name := fmt.Sprintf("%q, then %q", row.first, row.again)
		got, err := p.Refresh(p.ctx, a.Refresh.Bearer, row.again)
		lapsetest.WantIs(t, name, err, map[bool]error{false: lapse.ErrScope}[row.same])
		if row.same && (got.Access.Bearer != b.Access.Bearer || got.Access.Scope != b.Access.Scope || got.Refresh.Bearer != b.Refresh.Bearer || !got.Repeated) {
			t.Errorf("%s: %+v", name, got)
		}
		lapsetest.WantDiff(t, name+": contents", before, p.contents())
		p.wantAccess(name, b, nil)
		p.clock.Add(10 * time.Second)
		_, err = p.Refresh(p.ctx, a.Refresh.Bearer, row.again)
		lapsetest.WantIs(t, name+": after the grace", err, lapse.ErrReused)
		p.wantDead(a, b)
	}
}

// TestCapNeverRestarts: 200 refreshes leave the cap of the session where the log-in put
// it, and neither secret passes the cap.
func TestCapNeverRestarts(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewOnUse}},
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: 2 * time.Hour, MaxTTL: 201 * time.Hour}},
	})
	c := p.first(lapse.Grant{})
	end := lapsetest.StartMilli.Add(201 * time.Hour)
	for n := range 200 {
		p.clock.Add(time.Hour)
		c = p.next(c)
		if !c.Refresh.MaxExpiresAt.Equal(end) || c.Refresh.ExpiresAt.After(end) || c.Access.ExpiresAt.After(end) || !c.Access.MaxExpiresAt.Equal(end) {
			t.Fatalf("refresh %d: %+v", n, c)
		}
	}
	p.clock.Add(time.Hour - time.Millisecond)
	if tok, err := p.Authenticate(p.ctx, c.Access.Bearer); err != nil || !tok.ExpiresAt.Equal(end) {
		t.Errorf("a millisecond before the end: %+v, %v", tok, err)
	}
	c = p.next(c)
	if c.ExpiresIn != lapse.Seconds(time.Millisecond) {
		t.Errorf("a millisecond before the end: expires in %v", c.ExpiresIn)
	}
	if r := p.record(c.Refresh.ID); r.ExpiresAt.After(end) || !r.MaxExpiresAt.Equal(end) {
		t.Errorf("stored: %+v", r)
	}
	p.clock.Add(time.Millisecond)
	p.wantAccess("at the end", c, lapse.ErrExpired)
	p.wantRefresh("at the end", c, lapse.ErrExpired)
}

// TestLoweredCap: a lower MaxTTL counts from the log-in; a higher one changes nothing.
func TestLoweredCap(t *testing.T) {
	days := func(n int) lapse.PairConfig {
		return lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: 24 * time.Hour, MaxTTL: time.Duration(n) * 24 * time.Hour}}}
	}
	p := newPairs(t, memory.New(), days(90))
	c := p.next(p.first(lapse.Grant{}))
	low, high := p.beside(days(7)), p.beside(days(900))
	end := lapsetest.StartMilli.Add(7 * 24 * time.Hour)
	for range 7 {
		p.clock.Add(23 * time.Hour)
		c = low.next(c)
		if !c.Refresh.MaxExpiresAt.Equal(end) {
			t.Fatalf("cap %v; want %v", c.Refresh.MaxExpiresAt, end)
		}
	}
	c = high.next(c)
	p.clock.Set(end.Add(-time.Millisecond))
	if c = high.next(c); !c.Refresh.ExpiresAt.Equal(end) || !c.Refresh.MaxExpiresAt.Equal(end) {
		t.Errorf("until %v, cap %v; want %v", c.Refresh.ExpiresAt, c.Refresh.MaxExpiresAt, end)
	}
	p.clock.Add(time.Millisecond)
	high.wantRefresh("at the cap", c, lapse.ErrExpired)
}

// TestCapThatOnePolicyLowers: what a policy of other Pairs keeps out is kept out by these
// alone, until they have refreshed the session.
func TestCapThatOnePolicyLowers(t *testing.T) {
	low := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: time.Hour}}}
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	kept := p.beside(low)
	p.clock.Add(time.Hour - time.Millisecond)
	_, err := kept.Pairs.Peek(p.ctx, c.Refresh.Bearer)
	lapsetest.WantIs(t, "before the lower cap", err, nil)
	p.clock.Add(time.Millisecond)
	kept.wantRefresh("at the lower cap", c, lapse.ErrExpired)
	kept.wantSessions(t, "at the lower cap")
	p.wantSessions(t, "by the policy that made it", c.Refresh.ID)
	p.next(c)
}

// TestRefreshNeedsNoRoom: at the limit, and over one that has been lowered, a refresh
// neither fails nor ends anything.
func TestRefreshNeedsNoRoom(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		with := func(limit int) lapse.PairConfig {
			return lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: limit, AtLimit: atLimit}}}
		}
		p := memoryPairs(t, with(3))
		all := []lapse.TokenPair{p.first(lapse.Grant{}), p.first(lapse.Grant{}), p.first(lapse.Grant{})}
		for limit := 3; limit >= 1; limit-- {
			p := p.beside(with(limit))
			for range 3 {
				for i, c := range all {
					all[i] = p.next(c)
					if len(all[i].Access.Evicted)+len(all[i].Refresh.Evicted) > 0 {
						t.Fatalf("limit %d: evicted %+v", limit, all[i])
					}
				}
			}
			for _, c := range all {
				p.wantAccess("at the limit", c, nil)
			}
		}
		_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, "one more", err, map[bool]error{true: lapse.ErrLimit}[atLimit == lapse.LimitRefuse])
	}
}

// TestRefreshKeepsOneRecord: 10,000 refreshes with sweeps between them leave one record
// as large as after the first, and the text of the log-in is reuse after all of them.
func TestRefreshKeepsOneRecord(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{Retention: time.Millisecond}, Observe: func(context.Context, lapse.Event) {}},
		Refresh: lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}},
	})
	c0 := p.first(lapse.Grant{Scope: "read write"})
	c := p.next(c0)
	sealed := p.record(c.Refresh.ID).Sealed.Len()
	for n := range 9_999 {
		p.clock.Add(5 * time.Minute)
		if n%12 == 0 {
			if deleted, err := p.Sweep(p.ctx); deleted != 0 || err != nil {
				t.Fatalf("Sweep: %d, %v", deleted, err)
			}
		}
		c = p.next(c)
	}
	all := p.contents()
	if len(all) != 1 || all[0].Generation != 10_000 || all[0].Sealed.Len() != sealed {
		t.Errorf("%d records, generation %d, %d bytes sealed; want one of 10000 with %d", len(all), all[0].Generation, all[0].Sealed.Len(), sealed)
	}
	p.wantAccess("the last one", c, nil)
	p.wantRefresh("the text of the log-in", c0, lapse.ErrReused)
	p.wantDead(c0, c)
}

// TestReuseLater: a spent text is ErrReused as long as the record exists, also of a session
// that ended for another reason, which stays, or ran out; then it costs one read.
func TestReuseLater(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(p *pairs, s session3)
		why  lapse.EndReason
	}{
		{"reused", func(p *pairs, s session3) { p.Refresh(p.ctx, s.spent.Refresh.Bearer) }, lapse.EndReused},
		{"logged out", func(p *pairs, s session3) { lapsetest.LoggedOut(p.ExpireBearer(p.ctx, s.current.Access.Bearer)) }, lapse.EndRevoked},
		{"subject", func(p *pairs, _ session3) { p.ExpireSubject(p.ctx, "ana") }, lapse.EndSubject},
		{"ran out", func(p *pairs, _ session3) { p.clock.Add(720 * time.Hour) }, 0},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		s := p.session3(lapse.Grant{})
		p.clock.Add(time.Minute)
		row.end(p, s)
		at := p.token(s.current.Refresh.ID).DeadFrom()
		before := p.contents()
		for range 2 {
			p.clock.Add(time.Hour)
			var err error
			p.events = nil
			calls := p.calls(func() { _, err = p.Refresh(p.ctx, s.previous.Refresh.Bearer) })
			lapsetest.WantIs(t, row.name, err, lapse.ErrReused)
			lapsetest.WantDiff(t, row.name+": calls", []storagetest.Op{opGet}, calls)
			var got *lapse.Rejection
			if !errors.As(err, &got) {
				t.Fatalf("%v holds no Rejection", err)
			}
			want := lapse.Rejection{Err: lapse.ErrReused, ID: s.current.Refresh.ID, Subject: "ana", Generation: 1, At: at, Reason: row.why}
			if *got != want {
				t.Errorf("%s: %+v; want %+v", row.name, *got, want)
			}
			lapsetest.WantDiff(t, row.name+": told", []lapse.EventKind{lapse.EventSpent}, eventKinds(p.events))
		}
		lapsetest.WantDiff(t, row.name+": contents", before, p.contents())
	}
}

// TestReuseUnderALowerCap: a policy that keeps the session out does not keep it from being
// ended, since the policy that made it would let it in.
func TestReuseUnderALowerCap(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	low := p.beside(lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: time.Hour}}})
	s := p.session3(lapse.Grant{})
	p.clock.Add(2 * time.Hour)
	low.wantRefresh("the current text", s.current, lapse.ErrExpired)
	low.wantRefresh("a spent text", s.spent, lapse.ErrReused)
	p.wantDead(s.spent, s.previous, s.current)
}

// TestReuse: by whatever text that was replaced, and is past its grace, the session ends
// with all that came of it, once; another session of the subject does not.
func TestReuse(t *testing.T) {
	for age := 1; age <= 4; age++ { // how many generations before the last is presented
		p := memoryPairs(t, lapse.PairConfig{})
		other := p.first(lapse.Grant{})
		chain := []lapse.TokenPair{p.first(lapse.Grant{})}
		child := p.delegate(chain[0].Access.Issued, lapse.Grant{})
		for range 4 {
			chain = append(chain, p.next(chain[len(chain)-1]))
		}
		last := chain[4]
		if age == 1 { // else within its grace
			p.clock.Add(10 * time.Second)
		}
		p.events = nil
		for range 3 {
			p.wantRefresh(fmt.Sprint(age, " generations"), chain[4-age], lapse.ErrReused)
		}
		lapsetest.WantDiff(t, fmt.Sprint(age, " generations: told"), []lapse.EventKind{evEnded, evEnded, lapse.EventSpent, lapse.EventSpent, lapse.EventSpent}, p.kinds())
		for id, want := range map[lapse.ID]lapse.EndReason{last.Access.ID: lapse.EndReused, child.ID: lapse.EndParent, other.Access.ID: 0} {
			if tok := p.token(id); tok.EndReason != want {
				t.Errorf("%d generations: ended as %q; want %q", age, tok.EndReason, want)
			}
		}
		_, err := p.Access().Authenticate(p.ctx, last.Access.Bearer)
		lapsetest.WantIs(t, "the last access text", err, lapse.ErrRevoked)
		p.wantRefresh("the last refresh text", last, lapse.ErrRevoked)
		p.next(other)
	}
}

// TestReuseRejection says what is known of the session that is ended by it, and of one
// that was dead before.
func TestReuseRejection(t *testing.T) {
	for _, dead := range []bool{false, true} {
		p := memoryPairs(t, lapse.PairConfig{Grace: lapse.NoGrace})
		a := p.first(lapse.Grant{})
		b := p.next(a)
		p.next(b)
		want := lapse.Rejection{Err: lapse.ErrReused, ID: a.Refresh.ID, Subject: "ana", Generation: 1, At: lapsetest.StartMilli.Add(time.Minute), Reason: lapse.EndReused}
		if dead {
			if _, err := p.ExpireSubject(p.ctx, "ana"); err != nil {
				t.Fatal(err)
			}
			want.At, want.Reason = lapsetest.StartMilli, lapse.EndSubject
		}
		p.clock.Add(time.Minute)
		_, err := p.Refresh(p.ctx, b.Refresh.Bearer)
		var got *lapse.Rejection
		if !errors.As(err, &got) || *got != want {
			t.Errorf("rejection: %+v; want %+v", got, want)
		}
		last := p.events[len(p.events)-1]
		if last.Kind != lapse.EventSpent || !errors.Is(last.Err, lapse.ErrReused) || last.Token.ID != a.Refresh.ID || last.Token.Generation != 1 {
			t.Errorf("told last: %+v", last)
		}
	}
}

// TestRefreshRefuses: each other way in which a refresh text can be no good, none of which
// is reuse, and none of which changes anything.
func TestRefreshRefuses(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(p *pairs, c *lapse.TokenPair)
		want error
	}{
		{"ran out", func(p *pairs, _ *lapse.TokenPair) { p.clock.Add(720 * time.Hour) }, lapse.ErrExpired},
		{"about to run out", func(p *pairs, _ *lapse.TokenPair) { p.clock.Add(720*time.Hour - time.Millisecond) }, nil},
		{"logged out", func(p *pairs, c *lapse.TokenPair) { lapsetest.LoggedOut(p.Pairs.ExpireBearer(p.ctx, c.Access.Bearer)) }, lapse.ErrRevoked},
		{"ended by the access text", func(p *pairs, c *lapse.TokenPair) { p.fixture.ExpireBearer(p.ctx, c.Access.Bearer) }, lapse.ErrRevoked},
		{"ended by its ID", func(p *pairs, c *lapse.TokenPair) { p.Manager.Expire(p.ctx, c.Access.ID) }, lapse.ErrRevoked},
		{"subject expired", func(p *pairs, _ *lapse.TokenPair) { p.ExpireSubject(p.ctx, "ana") }, lapse.ErrRevoked},
		{"refreshed, then ended", func(p *pairs, c *lapse.TokenPair) { p.Manager.Expire(p.ctx, p.next(*c).Refresh.ID) }, lapse.ErrRevoked},
		{"malformed", func(_ *pairs, c *lapse.TokenPair) { c.Refresh.Bearer += " " }, lapse.ErrMalformed},
		{"empty", func(_ *pairs, c *lapse.TokenPair) { c.Refresh.Bearer = "" }, lapse.ErrMalformed},
		{"an access text", func(_ *pairs, c *lapse.TokenPair) { c.Refresh = c.Access }, lapse.ErrUnknown},
		{"swept", func(p *pairs, _ *lapse.TokenPair) {
			p.clock.Add(10000 * time.Hour)
			p.Sweep(p.ctx)
		}, lapse.ErrUnknown},
		{"subject refused", func(p *pairs, _ *lapse.TokenPair) { p.refused = lapse.ErrRefused }, lapse.ErrRefused},
		{"subject refused, replay", func(p *pairs, c *lapse.TokenPair) {
			p.next(*c)
			p.refused = lapse.ErrRefused
		}, lapse.ErrRefused},
		{"directory down", func(p *pairs, _ *lapse.TokenPair) { p.refused = errDirectory }, errDirectory},
		{"a plain token under the refresh prefix", func(p *pairs, c *lapse.TokenPair) {
			c.Refresh.Issued, _ = p.manager(lapse.Config{Prefix: "lapse_refresh"}).Issue(p.ctx, forAna)
		}, lapse.ErrUnknown},
		{"a rotated plain token under the refresh prefix", func(p *pairs, c *lapse.TokenPair) {
			m := p.manager(lapse.Config{Prefix: "lapse_refresh"})
			i, _ := m.Issue(p.ctx, forAna)
			c.Refresh.Issued, _ = m.Rotate(p.ctx, i.Bearer, time.Minute)
		}, lapse.ErrUnknown},
		{"of Pairs with another access prefix", func(p *pairs, c *lapse.TokenPair) {
			other, err := lapse.NewPairs(p.store, lapse.PairConfig{Access: lapse.Config{Prefix: "other", Clock: p.clock}})
			lapsetest.WantIs(p.t, "NewPairs", err, nil)
			*c, err = other.Issue(p.ctx, forAna)
			lapsetest.WantIs(p.t, "Issue", err, nil)
		}, lapse.ErrUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := memoryPairs(t, lapse.PairConfig{})
			c := p.first(lapse.Grant{})
			row.do(p, &c)
			before := p.contents()
			p.wantRefresh(row.name, c, row.want)
			if row.want == nil {
				return
			}
			lapsetest.WantDiff(t, "contents", before, p.contents())
			if told := p.events[len(p.events)-1]; row.want != errDirectory && !errors.Is(told.Err, row.want) {
				t.Errorf("told last: %+v", told)
			}
		})
	}
}

// TestReuseComesBeforeCheckSubject: a subject who may do nothing can still be robbed.
func TestReuseComesBeforeCheckSubject(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{})
	p.next(a)
	p.clock.Add(time.Minute)
	p.refused = lapse.ErrRefused
	p.wantRefresh("reuse", a, lapse.ErrReused)
	if tok := p.token(a.Refresh.ID); tok.EndReason != lapse.EndReused {
		t.Errorf("%+v; want it ended by reuse", tok)
	}
}

// TestDeadCostsARead: what is known to be dead asks no hook and opens no transaction, by
// the current text and by one that was replaced.
func TestDeadCostsARead(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{})
	b := p.next(p.next(a))
	lapsetest.WantIs(t, "Expire", lapsetest.LoggedOut(p.Pairs.ExpireBearer(p.ctx, b.Refresh.Bearer)), nil)
	p.refused = errDirectory
	for c, want := range map[*lapse.TokenPair]error{&b: lapse.ErrRevoked, &a: lapse.ErrReused} {
		calls := p.calls(func() { p.wantRefresh("dead", *c, want) })
		lapsetest.WantDiff(t, "calls", []storagetest.Op{opGet}, calls)
	}
}

// TestReuseStaysReuse: a clock that steps back once reuse was seen, and before the
// session is ended, opens no grace. Admit was not asked, and must not be got round.
func TestReuseStaysReuse(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{ClockGuard: lapse.GuardOff}})
	a := p.first(lapse.Grant{})
	p.next(a)
	p.clock.Add(time.Minute)
	p.refused = lapse.ErrRefused
	p.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			p.clock.Add(-time.Minute)
		}
	})
	p.wantRefresh("the clock stepped back", a, lapse.ErrReused)
	p.store.Before(nil)
	if tok := p.token(a.Refresh.ID); tok.EndReason != lapse.EndReused {
		t.Errorf("%+v; want it ended by reuse", tok)
	}
}

// TestWrongSecretChangesNothing: the right ID opens nothing.
func TestWrongSecretChangesNothing(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{})
	b := p.next(p.next(a))
	p.clock.Add(time.Minute)
	before := p.contents()
	for n := range 40 {
		for _, c := range []lapse.TokenPair{a, b} {
			c.Refresh.Bearer = withSecret(c.Refresh.Bearer, n)
			p.wantRefresh("wrong secret", c, lapse.ErrUnknown)
			lapsetest.WantIs(t, "Expire", lapsetest.LoggedOut(p.Pairs.ExpireBearer(p.ctx, c.Refresh.Bearer)), lapse.ErrUnknown)
		}
	}
	lapsetest.WantDiff(t, "contents", before, p.contents())
	calls := p.calls(func() { p.Refresh(p.ctx, withSecret(a.Refresh.Bearer, 1)) })
	lapsetest.WantDiff(t, "calls of one", []storagetest.Op{opGet}, calls)
	p.next(b)
}

// withSecret returns bearer with the n-th of other secrets, its checksum made right.
func withSecret(bearer string, n int) string {
	at := len(bearer) - 50 + 1 + n%10 + 11*(n/10%4) // not the first digit of a group, which has to be small
	digit := "0"
	if bearer[at] == '0' {
		digit = "1"
	}
	text := bearer[:at] + digit + bearer[at+1:len(bearer)-6]
	return text + checksumOf(text)
}
