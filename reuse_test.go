package lapse_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

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
			p.clock.add(10 * time.Second)
		}
		p.events = nil
		for range 3 {
			p.wantRefresh(fmt.Sprint(age, " generations"), chain[4-age], lapse.ErrReused)
		}
		wantDiff(t, fmt.Sprint(age, " generations: told"), []lapse.EventKind{evEnded, evEnded, lapse.EventSpent, lapse.EventSpent, lapse.EventSpent}, p.kinds())
		for id, want := range map[lapse.ID]lapse.EndReason{last.Access.ID: lapse.EndReused, child.ID: lapse.EndParent, other.Access.ID: 0} {
			if tok := p.token(id); tok.EndReason != want {
				t.Errorf("%d generations: ended as %q; want %q", age, tok.EndReason, want)
			}
		}
		_, err := p.Access().Authenticate(p.ctx, last.Access.Bearer)
		wantIs(t, "the last access text", err, lapse.ErrRevoked)
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
		want := lapse.Rejection{Err: lapse.ErrReused, ID: a.Refresh.ID, Subject: "ana", Generation: 1, At: startMilli.Add(time.Minute), Reason: lapse.EndReused}
		if dead {
			if _, err := p.ExpireSubject(p.ctx, "ana"); err != nil {
				t.Fatal(err)
			}
			want.At, want.Reason = startMilli, lapse.EndSubject
		}
		p.clock.add(time.Minute)
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
		{"ran out", func(p *pairs, _ *lapse.TokenPair) { p.clock.add(720 * time.Hour) }, lapse.ErrExpired},
		{"about to run out", func(p *pairs, _ *lapse.TokenPair) { p.clock.add(720*time.Hour - time.Millisecond) }, nil},
		{"logged out", func(p *pairs, c *lapse.TokenPair) { loggedOut(p.Pairs.ExpireBearer(p.ctx, c.Access.Bearer)) }, lapse.ErrRevoked},
		{"ended by the access text", func(p *pairs, c *lapse.TokenPair) { p.fixture.ExpireBearer(p.ctx, c.Access.Bearer) }, lapse.ErrRevoked},
		{"ended by its ID", func(p *pairs, c *lapse.TokenPair) { p.Manager.Expire(p.ctx, c.Access.ID) }, lapse.ErrRevoked},
		{"subject expired", func(p *pairs, _ *lapse.TokenPair) { p.ExpireSubject(p.ctx, "ana") }, lapse.ErrRevoked},
		{"refreshed, then ended", func(p *pairs, c *lapse.TokenPair) { p.Manager.Expire(p.ctx, p.next(*c).Refresh.ID) }, lapse.ErrRevoked},
		{"malformed", func(_ *pairs, c *lapse.TokenPair) { c.Refresh.Bearer += " " }, lapse.ErrMalformed},
		{"empty", func(_ *pairs, c *lapse.TokenPair) { c.Refresh.Bearer = "" }, lapse.ErrMalformed},
		{"an access text", func(_ *pairs, c *lapse.TokenPair) { c.Refresh = c.Access }, lapse.ErrUnknown},
		{"swept", func(p *pairs, _ *lapse.TokenPair) {
			p.clock.add(10000 * time.Hour)
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
			wantIs(p.t, "NewPairs", err, nil)
			*c, err = other.Issue(p.ctx, forAna)
			wantIs(p.t, "Issue", err, nil)
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
			wantDiff(t, "contents", before, p.contents())
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
	p.clock.add(time.Minute)
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
	wantIs(t, "Expire", loggedOut(p.Pairs.ExpireBearer(p.ctx, b.Refresh.Bearer)), nil)
	p.refused = errDirectory
	for c, want := range map[*lapse.TokenPair]error{&b: lapse.ErrRevoked, &a: lapse.ErrReused} {
		calls := p.calls(func() { p.wantRefresh("dead", *c, want) })
		wantDiff(t, "calls", []storagetest.Op{opGet}, calls)
	}
}

// TestReuseStaysReuse: a clock that steps back once reuse was seen, and before the
// session is ended, opens no grace. Admit was not asked, and must not be got round.
func TestReuseStaysReuse(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{ClockGuard: lapse.GuardOff}})
	a := p.first(lapse.Grant{})
	p.next(a)
	p.clock.add(time.Minute)
	p.refused = lapse.ErrRefused
	p.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			p.clock.add(-time.Minute)
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
	p.clock.add(time.Minute)
	before := p.contents()
	for n := range 40 {
		for _, c := range []lapse.TokenPair{a, b} {
			c.Refresh.Bearer = withSecret(c.Refresh.Bearer, n)
			p.wantRefresh("wrong secret", c, lapse.ErrUnknown)
			wantIs(t, "Expire", loggedOut(p.Pairs.ExpireBearer(p.ctx, c.Refresh.Bearer)), lapse.ErrUnknown)
		}
	}
	wantDiff(t, "contents", before, p.contents())
	calls := p.calls(func() { p.Refresh(p.ctx, withSecret(a.Refresh.Bearer, 1)) })
	wantDiff(t, "calls of one", []storagetest.Op{opGet}, calls)
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
