package lapse_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestReuseEndsTheSession: a refresh text that was replaced and is not within its grace
// ends the session with EndReused and what was delegated from it with EndParent, once. The
// text is ErrReused ever after, and no other session ends.
func TestReuseEndsTheSession(t *testing.T) {
	for age := 1; age <= 4; age++ { // how many generations before the current text is presented
		p := memoryPairs(t, lapse.PairConfig{})
		other := p.first(lapse.Grant{})
		chain := []lapse.Credentials{p.first(lapse.Grant{})}
		for range 4 {
			chain = append(chain, p.next(chain[len(chain)-1]))
		}
		last := chain[4]
		near, err := p.Delegate(p.ctx, last.Access.Bearer, lapse.Grant{})
		wantIs(t, "Delegate", err, nil)
		far, err := p.Delegate(p.ctx, near.Bearer, lapse.Grant{})
		wantIs(t, "Delegate", err, nil)
		if age == 1 { // else within its grace
			p.clock.add(10 * time.Second)
		}
		p.events = nil
		name := fmt.Sprint(age, " generations before")
		for range 3 {
			p.wantRefresh(name, chain[4-age], lapse.ErrReused)
		}
		ended, spent := map[lapse.ID]lapse.EndReason{}, 0
		for _, e := range p.events {
			switch e.Kind {
			case lapse.EventEnded:
				ended[e.Token.ID] = e.Token.EndReason
			case lapse.EventSpent:
				spent++
			}
		}
		wantDiff(t, name+": told", map[lapse.ID]lapse.EndReason{
			last.Refresh.ID: lapse.EndReused, near.ID: lapse.EndParent, far.ID: lapse.EndParent,
		}, ended)
		if len(p.events) != 6 || spent != 3 {
			t.Errorf("%s: %d events, %d of them of a spent text; want 3 ends and 3 of these", name, len(p.events), spent)
		}
		p.wantRefresh("the current text", last, lapse.ErrExpired)
		p.wantDead(chain...)
		p.next(other)
	}
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
		{"logged out", func(p *pairs, s session3) { p.Expire(p.ctx, s.current.Access.Bearer) }, lapse.EndExpired},
		{"subject", func(p *pairs, _ session3) { p.ExpireSubject(p.ctx, "ana") }, lapse.EndSubject},
		{"ran out", func(p *pairs, _ session3) { p.clock.add(720 * time.Hour) }, 0},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		s := p.session3(lapse.Grant{})
		p.clock.add(time.Minute)
		row.end(p, s)
		at := p.token(s.current.Refresh.ID).DeadFrom()
		before := p.contents()
		for range 2 {
			p.clock.add(time.Hour)
			var err error
			p.events = nil
			calls := p.calls(func() { _, err = p.Refresh(p.ctx, s.previous.Refresh.Bearer) })
			wantIs(t, row.name, err, lapse.ErrReused)
			wantDiff(t, row.name+": calls", []storagetest.Op{opGet}, calls)
			var got *lapse.Rejection
			if !errors.As(err, &got) {
				t.Fatalf("%v holds no Rejection", err)
			}
			want := lapse.Rejection{Err: lapse.ErrReused, ID: s.current.Refresh.ID, Subject: "ana", Generation: 1, At: at, Reason: row.why}
			if *got != want {
				t.Errorf("%s: %+v; want %+v", row.name, *got, want)
			}
			wantDiff(t, row.name+": told", []lapse.EventKind{lapse.EventSpent}, eventKinds(p.events))
		}
		wantDiff(t, row.name+": contents", before, p.contents())
	}
}

// TestReuseRejectionSaysTheEnd: the one that ends the session says when and why it ended,
// and the generation of the text.
func TestReuseRejectionSaysTheEnd(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Grace: lapse.NoGrace})
	a := p.first(lapse.Grant{})
	p.next(p.next(a))
	p.clock.add(time.Minute)
	_, err := p.Refresh(p.ctx, a.Refresh.Bearer)
	var got *lapse.Rejection
	if !errors.As(err, &got) {
		t.Fatalf("%v holds no Rejection", err)
	}
	want := lapse.Rejection{Err: lapse.ErrReused, ID: a.Refresh.ID, Subject: "ana", At: startMilli.Add(time.Minute), Reason: lapse.EndReused}
	if *got != want {
		t.Errorf("rejection: %+v; want %+v", *got, want)
	}
}

// TestReuseStaysReuseForThePresenter: a clock that steps back once a text was seen to be
// spent opens no grace for it: CheckSubject has not been asked about that.
func TestReuseStaysReuseForThePresenter(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{ClockGuard: lapse.GuardOff}})
	a := p.first(lapse.Grant{})
	b := p.next(a)
	p.clock.add(time.Minute)
	p.refused = lapse.ErrSubjectRefused
	p.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			p.store.Before(nil)
			p.clock.add(-time.Minute)
		}
	})
	p.wantRefresh("the clock stepped back", a, lapse.ErrReused)
	p.refused = nil
	p.wantDead(a, b)
}

// TestReuseUnderALowerCap: a policy that keeps the session out does not keep it from being
// ended, since the policy that made it would let it in.
func TestReuseUnderALowerCap(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	low := p.beside(lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: time.Hour}}})
	s := p.session3(lapse.Grant{})
	p.clock.add(2 * time.Hour)
	low.wantRefresh("the current text", s.current, lapse.ErrExpired)
	low.wantRefresh("a spent text", s.spent, lapse.ErrReused)
	p.wantDead(s.spent, s.previous, s.current)
}

// TestTextsThatRefreshNothing: each way in which a refresh text can be no good without
// being spent, none of which changes anything.
func TestTextsThatRefreshNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(p *pairs, c *lapse.Credentials)
		want error
	}{
		{"ran out", func(p *pairs, _ *lapse.Credentials) { p.clock.add(720 * time.Hour) }, lapse.ErrExpired},
		{"logged out by the access text", func(p *pairs, c *lapse.Credentials) { p.Expire(p.ctx, c.Access.Bearer) }, lapse.ErrExpired},
		{"logged out by a Manager", func(p *pairs, c *lapse.Credentials) { p.ExpireBearer(p.ctx, c.Access.Bearer) }, lapse.ErrExpired},
		{"subject expired", func(p *pairs, _ *lapse.Credentials) { p.ExpireSubject(p.ctx, "ana") }, lapse.ErrExpired},
		{"replaced, then ended by ID", func(p *pairs, c *lapse.Credentials) {
			p.next(*c)
			p.Manager.Expire(p.ctx, c.Refresh.ID)
		}, lapse.ErrExpired},
		{"malformed", func(_ *pairs, c *lapse.Credentials) { c.Refresh.Bearer += " " }, lapse.ErrMalformed},
		{"empty", func(_ *pairs, c *lapse.Credentials) { c.Refresh.Bearer = "" }, lapse.ErrMalformed},
		{"an access text", func(_ *pairs, c *lapse.Credentials) { c.Refresh = c.Access }, lapse.ErrUnknown},
		{"swept", func(p *pairs, _ *lapse.Credentials) {
			p.clock.add(10000 * time.Hour)
			p.Sweep(p.ctx)
		}, lapse.ErrUnknown},
		{"swept after it was replaced", func(p *pairs, c *lapse.Credentials) {
			p.next(*c)
			p.clock.add(10000 * time.Hour)
			p.Sweep(p.ctx)
		}, lapse.ErrUnknown},
		{"subject refused", func(p *pairs, _ *lapse.Credentials) { p.refused = lapse.ErrSubjectRefused }, lapse.ErrSubjectRefused},
		{"subject refused, within the grace", func(p *pairs, c *lapse.Credentials) {
			p.next(*c)
			p.refused = lapse.ErrSubjectRefused
		}, lapse.ErrSubjectRefused},
		{"directory down", func(p *pairs, _ *lapse.Credentials) { p.refused = errDirectory }, errDirectory},
		{"of a Manager alone", func(p *pairs, c *lapse.Credentials) {
			c.Refresh, _ = p.manager(lapse.Config{Prefix: "lapse_refresh"}).Issue(p.ctx, lapse.Grant{Subject: "ana"})
		}, lapse.ErrUnknown},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		c := p.first(lapse.Grant{})
		row.do(p, &c)
		before := p.contents()
		p.events = nil
		p.wantRefresh(row.name, c, row.want)
		wantDiff(t, row.name+": contents", before, p.contents())
		if told := eventKinds(p.events); row.want != errDirectory && (len(told) != 1 || told[0] != lapse.EventRejected) {
			t.Errorf("%s: told %v", row.name, told)
		}
	}
}
