package lapse_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// TestRefresh: what is answered, stored and told of one rotation.
func TestRefresh(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{Name: "laptop", Scope: "read write", Data: "data", TTL: time.Hour})
	p.clock.add(20 * time.Minute)
	p.events = nil
	b := p.next(a)
	now := startMilli.Add(20 * time.Minute)

	access := a.Access.Token // the new one
	access.ID, access.Predecessor = b.Access.ID, a.Access.ID
	access.IssuedAt, access.ExpiresAt, access.MaxExpiresAt = now, now.Add(time.Hour), now.Add(720*time.Hour)
	refresh := a.Refresh.Token
	refresh.ID, refresh.Predecessor = b.Refresh.ID, a.Refresh.ID
	refresh.IssuedAt, refresh.ExpiresAt = now, now.Add(720*time.Hour)
	wantDiff(t, "access token", access, b.Access.Token)
	wantDiff(t, "refresh token", refresh, b.Refresh.Token)
	wantDiff(t, "stored access token", access, p.token(access.ID))
	wantDiff(t, "stored refresh token", refresh, p.token(refresh.ID))

	before := a.Access.Token
	before.Successor, before.ExpiresAt, before.MaxExpiresAt = access.ID, now.Add(10*time.Second), now.Add(10*time.Second)
	wantDiff(t, "access token before", before, p.token(before.ID))
	rotated := a.Refresh.Token
	rotated.Successor, rotated.LastUsedAt, rotated.EndedAt, rotated.EndReason = refresh.ID, now, now, lapse.EndRotated
	wantDiff(t, "refresh token before", rotated, p.token(rotated.ID))
	wantDiff(t, "events", []lapse.Event{
		{Kind: lapse.EventEnded, At: now, Token: rotated},
		{Kind: lapse.EventIssued, At: now, Token: refresh},
		{Kind: lapse.EventIssued, At: now, Token: access},
	}, p.events)
	if b.ExpiresIn != time.Hour || b.Repeated {
		t.Errorf("expires in %v, repeated %v", b.ExpiresIn, b.Repeated)
	}
	if c := p.next(b); c.ExpiresIn != time.Hour {
		t.Errorf("the next one expires in %v; want the grant's TTL for every one", c.ExpiresIn)
	}
	if _, err := p.manager(lapse.Config{Prefix: "lapse_refresh"}).Authenticate(p.ctx, b.Refresh.Bearer); !errors.Is(err, lapse.ErrExpired) {
		t.Errorf("a rotated one by a Manager of its prefix: %v", err)
	}
}

// wantSame expects of Refresh with a the credentials b again.
func (p *pairs) wantSame(what string, a, b lapse.Credentials) {
	p.t.Helper()
	got := p.next(a)
	b.Repeated = true
	b.ExpiresIn = max(0, b.Access.ExpiresAt.Sub(p.clock.Now().Truncate(time.Millisecond)))
	wantDiff(p.t, what, b, got)
}

// TestGraceBoundary: the same credentials up to its last millisecond, and the end of
// the family from then on; and as much before the rotation, for a clock that stepped
// back.
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
		{10000 * time.Hour, lapse.ErrReused}, // it would have run out itself
		{-time.Millisecond, nil},
		{-grace + time.Millisecond, nil},
		{-grace, lapse.ErrReused},
		{-time.Hour, lapse.ErrReused},
	} {
		t.Run(fmt.Sprint(row.after), func(t *testing.T) {
			p := memoryPairs(t, lapse.PairConfig{Grace: grace, Access: lapse.Config{ClockGuard: lapse.GuardOff}})
			a := p.first(lapse.Grant{})
			p.clock.add(time.Minute)
			b := p.next(a)
			before := p.contents()
			p.clock.add(row.after)
			if row.want == nil {
				p.events = nil
				p.wantSame("again", a, b)
				wantDiff(t, "contents", before, p.contents())
				if len(p.events) != 0 {
					t.Errorf("events of what did not happen: %+v", p.events)
				}
				return
			}
			p.wantRefresh("after the grace", a, row.want)
			p.wantDead(a, b)
		})
	}
}

// wantDead: the family of all has nothing that lives, and its tokens say why.
func (p *pairs) wantDead(all ...lapse.Credentials) {
	p.t.Helper()
	for _, r := range p.contents() {
		if r.Family == all[0].Refresh.Family && r.Live(p.clock.Now()) {
			p.t.Errorf("%v lives", r.ID)
		}
	}
	for i, c := range all {
		p.wantAccess(fmt.Sprint("pair ", i), c, lapse.ErrExpired)
		tok := p.token(c.Refresh.ID)
		if ran := !p.clock.Now().Before(tok.ExpiresAt); !ran && tok.EndReason != lapse.EndReused && tok.EndReason != lapse.EndRotated {
			p.t.Errorf("refresh token %d ended as %q", i, tok.EndReason)
		}
	}
}

// TestGraceIsNotRestarted: replays just inside of it leave its end where it is.
func TestGraceIsNotRestarted(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Grace: 10 * time.Second})
	a := p.first(lapse.Grant{})
	b := p.next(a)
	for range 4 {
		p.clock.add(2*time.Second + 499*time.Millisecond)
		p.wantSame("again", a, b)
	}
	p.clock.add(4 * time.Millisecond)
	p.wantRefresh("at the end of the first grace", a, lapse.ErrReused)
	p.wantDead(a, b)
}

// TestNoGrace: the old access token ends at once, and to ask again is reuse.
func TestNoGrace(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Grace: lapse.NoGrace})
	a := p.first(lapse.Grant{})
	child, err := p.Delegate(p.ctx, a.Access.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	b := p.next(a)
	for _, r := range p.contents() {
		if r.Sealed.Len() > len("r1lapse") {
			t.Errorf("%v keeps something that nobody will ask for", r.ID)
		}
	}
	tok := p.token(a.Access.ID)
	if tok.EndReason != lapse.EndRotated || tok.Successor != b.Access.ID || !tok.EndedAt.Equal(startMilli) {
		t.Errorf("the old access token: %+v", tok)
	}
	if why := p.token(child.ID).EndReason; why != lapse.EndParent {
		t.Errorf("its delegate ended as %v", why)
	}
	p.wantAccess("after", b, nil)
	p.wantRefresh("at once", a, lapse.ErrReused)
	p.wantDead(a, b)
}

// TestOldAccessToken lives for the grace, and one before it no longer than until the
// next rotation.
func TestOldAccessToken(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: time.Minute}}})
	a := p.first(lapse.Grant{})
	child, err := p.Delegate(p.ctx, a.Access.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	b := p.next(a)
	p.clock.add(10*time.Second - time.Millisecond)
	for range 2 { // a use renews nothing beyond it
		_, err := p.Authenticate(p.ctx, a.Access.Bearer)
		wantIs(t, "a millisecond before", err, nil)
	}
	_, err = p.Authenticate(p.ctx, child.Bearer)
	wantIs(t, "its delegate", err, nil)
	c := p.next(b)
	p.wantAccess("two rotations later", a, lapse.ErrExpired)
	if tok := p.token(a.Access.ID); tok.EndReason != lapse.EndRotated || tok.Successor != b.Access.ID {
		t.Errorf("two rotations later: %+v", tok)
	}
	_, err = p.Peek(p.ctx, child.Bearer)
	wantIs(t, "its delegate, two rotations later", err, lapse.ErrExpired)
	p.wantAccess("one rotation later", b, nil)
	p.clock.add(10*time.Second - time.Millisecond)
	p.wantAccess("before its grace ends", b, nil)
	p.clock.add(time.Millisecond)
	p.wantAccess("as its grace ends", b, lapse.ErrExpired)
	p.wantAccess("the last one", c, nil)
}
