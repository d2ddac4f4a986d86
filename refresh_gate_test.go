package lapse_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

var refreshRounds = flag.Int("refreshrounds", 20, "how often 64 callers refresh one session at once")

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
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := quiet(t, store, lapse.PairConfig{})
		c := p.first(lapse.Grant{Scope: "read write"})
		for round := range *refreshRounds {
			got := make([]lapse.TokenPair, callers)
			arrivals(store, callers, storagetest.OpUpdate)
			errs := together(callers, func(i int) (err error) {
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
					wantDiff(t, "another caller's", got[0], got[i])
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
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := quiet(t, store, lapse.PairConfig{Grace: lapse.NoGrace})
		c := p.first(lapse.Grant{})
		got := make([]lapse.TokenPair, callers)
		arrivals(store, callers, storagetest.OpUpdate)
		errs := together(callers, func(i int) (err error) {
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
			wantIs(t, "a loser", err, lapse.ErrReused)
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
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := quiet(t, store, lapse.PairConfig{})
		c := p.first(lapse.Grant{Scope: "read write"})
		got := make([]lapse.TokenPair, callers)
		arrivals(store, callers, storagetest.OpUpdate)
		errs := together(callers, func(i int) (err error) {
			got[i], err = p.Refresh(p.ctx, c.Refresh.Bearer, []string{"read", "write"}[i%2])
			return err
		})
		store.Before(nil)
		served := map[string]int{}
		for i, err := range errs {
			if err != nil {
				wantIs(t, "the other scope", err, lapse.ErrScope)
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
		{"current, then the session ended", 0, func(p *pairs, c, _ lapse.TokenPair) { loggedOut(p.ExpireBearer(p.ctx, c.Access.Bearer)) }, true, lapse.ErrRevoked},
		{"current, then it ran out", 0, func(p *pairs, _, _ lapse.TokenPair) { p.clock.add(720 * time.Hour) }, true, lapse.ErrExpired},
		{"previous, then spent", 0, func(p *pairs, _, next lapse.TokenPair) { p.next(next) }, false, lapse.ErrReused},
		{"previous, then the grace ends", 0, func(p *pairs, _, _ lapse.TokenPair) { p.clock.add(10 * time.Second) }, false, lapse.ErrReused},
		{"previous, then before the grace ends", 0, func(p *pairs, _, _ lapse.TokenPair) { p.clock.add(10*time.Second - time.Millisecond) }, false, nil},
		{"previous, then the session ended", 0, func(p *pairs, _, next lapse.TokenPair) { loggedOut(p.ExpireBearer(p.ctx, next.Access.Bearer)) }, false, lapse.ErrRevoked},
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
		wantIs(t, row.name+": the newest access text by the old record", err, nil)
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
		"log-out by the access text":      {func(p *pairs, _, c lapse.TokenPair) error { return loggedOut(p.ExpireBearer(p.ctx, c.Access.Bearer)) }, nil},
		"log-out by the refresh text":     {func(p *pairs, _, c lapse.TokenPair) error { return loggedOut(p.ExpireBearer(p.ctx, c.Refresh.Bearer)) }, nil},
		"log-out by a spent refresh text": {func(p *pairs, s, _ lapse.TokenPair) error { return loggedOut(p.ExpireBearer(p.ctx, s.Refresh.Bearer)) }, nil},
		"Expire by ID": {func(p *pairs, _, c lapse.TokenPair) error {
			_, err := p.Manager.Expire(p.ctx, c.Refresh.ID)
			return err
		}, nil},
		"ExpireSubject": {func(p *pairs, _, _ lapse.TokenPair) error { _, err := p.ExpireSubject(p.ctx, "ana"); return err }, nil},
		"a log-in at the limit that evicts": {func(p *pairs, _, _ lapse.TokenPair) error {
			loggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{}).Access.Bearer))
			return nil
		}, nil},
		"reuse": {func(p *pairs, s, _ lapse.TokenPair) error { _, err := p.Refresh(p.ctx, s.Refresh.Bearer); return err }, lapse.ErrReused},
	} {
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			p := quiet(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}})
			for range 10 {
				stale := p.first(lapse.Grant{})
				c := p.next(p.next(stale))
				arrivals(store, 8, storagetest.OpUpdate)
				errs := together(8, func(i int) error {
					if i == 0 {
						return row.end(p, stale, c)
					}
					_, err := p.Refresh(p.ctx, c.Refresh.Bearer)
					return ignore(err, lapse.ErrRevoked)
				})
				store.Before(nil)
				wantIs(t, name, errs[0], row.want)
				wantIs(t, name+": Refresh", errors.Join(errs[1:]...), nil)
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
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := quiet(t, store, lapse.PairConfig{
			Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: limit, AtLimit: lapse.LimitEndOldest}},
		})
		arrivals(store, callers, storagetest.OpUpdate)
		errs := together(callers, func(int) error {
			_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
			return err
		})
		store.Before(nil)
		wantIs(t, "Issue", errors.Join(errs...), nil)
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
			p.clock.add(after)
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
		p.clock.add(59 * time.Minute)
		c = p.next(c)
		p.clock.add(59 * time.Minute)
		c = p.next(c)
		p.clock.add(2*time.Minute - left)
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
		wantIs(t, scope, err, lapse.ErrScope)
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
