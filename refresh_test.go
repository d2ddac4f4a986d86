package lapse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestRefresh: one refresh is answered with the same session under two new texts, stores
// no other record, and is told once.
func TestRefresh(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{Name: "laptop", Scope: "read write", Data: "data", TTL: time.Hour})
	other := p.first(lapse.Grant{})
	p.clock.add(20 * time.Minute)
	p.events = nil
	untouched := p.record(other.Refresh.ID)
	b := p.next(a)
	now := startMilli.Add(20 * time.Minute)

	session := a.Refresh.Token
	session.Generation, session.RotatedAt, session.ExpiresAt = 1, now, now.Add(720*time.Hour)
	access := session
	access.ExpiresAt = now.Add(time.Hour)
	wantDiff(t, "by the access text", access, b.Access.Token)
	wantDiff(t, "by the refresh text", session, b.Refresh.Token)
	wantDiff(t, "stored", session, p.token(session.ID))
	wantDiff(t, "another session", untouched, p.record(other.Refresh.ID))
	wantDiff(t, "events", []lapse.Event{{Kind: lapse.EventRotated, At: now, Token: session}}, p.events)
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
	wantDiff(p.t, what, b, got)
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
			p.clock.add(2 * time.Hour)
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

// TestGraceIsNotRestarted: replays just inside the grace leave its end where it is.
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
				p.clock.add(max(after, 0))
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
	wantIs(t, "Peek", err, nil)
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
	wantIs(t, "Delegate", err, nil)
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
		p.clock.add(end - time.Millisecond)
		calls := p.calls(func() {
			tok, err := p.Authenticate(p.ctx, a.Access.Bearer)
			if err != nil || !tok.ExpiresAt.Equal(startMilli.Add(end)) || !tok.LastUsedAt.IsZero() {
				t.Errorf("TTL %v, a millisecond before: %+v, %v", ttl, tok, err)
			}
		})
		wantDiff(t, "calls", []storagetest.Op{opGet}, calls)
		p.clock.add(time.Millisecond)
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
			p.clock.add(30*time.Second - time.Millisecond)
			_, err := p.Authenticate(p.ctx, c.Access.Bearer)
			wantIs(t, "used", err, nil)
		}
		p.clock.add(time.Millisecond)
		p.wantAccess("a millisecond before", c, nil)
		p.clock.add(time.Millisecond)
		p.wantAccess("at its end", c, lapse.ErrExpired)
		_, err := p.Renew(p.ctx, c.Access.Bearer)
		wantIs(t, "Renew at its end", err, lapse.ErrExpired)
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
				p.clock.add(d)
				c = p.next(c)
			}
			if ends := c.Refresh.ExpiresAt.Sub(p.clock.Now().Truncate(time.Millisecond)); ends != row.end {
				t.Errorf("%s: it ends in %v; want %v", row.name, ends, row.end)
			}
			p.clock.add(row.end + past)
			name := fmt.Sprintf("%s, %v after its end", row.name, past)
			want := map[bool]error{true: lapse.ErrExpired}[past >= 0]
			_, err := p.Pairs.Peek(p.ctx, c.Refresh.Bearer)
			wantIs(t, name+": Peek", err, want)
			p.wantRefresh(name, c, want)
		}
	}
}

// TestDelegatesOfAnAccessText never outlive the end that the text had, by renewals
// either, and a refresh ends none of them.
func TestDelegatesOfAnAccessText(t *testing.T) {
	p := newPairs(t, memory.New(), lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: time.Minute, Renewal: lapse.RenewOnUse}}})
	delegate := func(bearer string, ttl time.Duration) lapse.Issued {
		i, err := p.Delegate(p.ctx, bearer, lapse.Grant{TTL: ttl})
		wantIs(t, "Delegate", err, nil)
		return i
	}
	a := p.first(lapse.Grant{})
	current := delegate(a.Access.Bearer, time.Hour)
	wantDiff(t, "reduced", []string{"TTL"}, current.Reduced)
	p.clock.add(40 * time.Second)
	b := p.next(a)
	previous := delegate(a.Access.Bearer, time.Minute)
	next := delegate(b.Access.Bearer, 50*time.Second)
	far := delegate(previous.Bearer, time.Minute)
	for _, after := range []time.Duration{ // the log-in
		45 * time.Second, 50*time.Second - time.Millisecond, 50 * time.Second, 60*time.Second - time.Millisecond, 60 * time.Second,
		80 * time.Second, 100*time.Second - time.Millisecond, 100 * time.Second,
	} {
		p.clock.set(start.Add(after))
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
			wantIs(t, fmt.Sprintf("%s, %v after the log-in", row.name, after), err, map[bool]error{true: lapse.ErrExpired}[after >= row.end])
			if why := p.token(row.ID).EndReason; why != 0 {
				t.Errorf("%s: a refresh ended it as %v", row.name, why)
			}
		}
	}
	p.wantAccess("the session", b, nil)
}
