package lapse_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestReuse: after the successor was used, and by whatever ancestor, the family ends
// with all that came of it, again and again, and another family does not.
func TestReuse(t *testing.T) {
	for age := 1; age <= 4; age++ { // how many generations before the last is presented
		p := memoryPairs(t, lapse.PairConfig{})
		other := p.first(lapse.Grant{})
		chain := []lapse.Credentials{p.first(lapse.Grant{})}
		for range 4 {
			chain = append(chain, p.next(chain[len(chain)-1]))
		}
		last := chain[4]
		child, err := p.Delegate(p.ctx, last.Access.Bearer, lapse.Grant{})
		wantIs(t, "Delegate", err, nil)
		if age == 1 { // else within its grace
			p.clock.add(10 * time.Second)
		}
		p.events = nil
		for range 3 {
			p.wantRefresh(fmt.Sprint(age, " generations"), chain[4-age], lapse.ErrReused)
		}
		p.wantDead(chain...)
		want := map[lapse.ID]int{last.Access.ID: 1, last.Refresh.ID: 1, child.ID: 1}
		for id := range want {
			if tok := p.token(id); tok.EndReason != lapse.EndReused {
				t.Errorf("%d generations: %+v; want it ended by reuse", age, tok)
			}
		}
		if age > 1 { // in its grace
			want[chain[3].Access.ID] = 1
		}
		ended := map[lapse.ID]int{}
		for _, e := range p.events {
			if e.Kind == lapse.EventEnded {
				ended[e.Token.ID]++
			}
		}
		wantDiff(t, "told", want, ended)
		p.wantRefresh("the last one", last, lapse.ErrExpired)
		p.next(other)
	}
}

// TestReuseRejection: it says what is known, and to whom.
func TestReuseRejection(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Grace: lapse.NoGrace})
	a := p.first(lapse.Grant{})
	p.next(a)
	p.clock.add(time.Minute)
	_, err := p.Refresh(p.ctx, a.Refresh.Bearer)
	var got *lapse.Rejection
	if !errors.As(err, &got) {
		t.Fatalf("%v holds no Rejection", err)
	}
	if want := (lapse.Rejection{Err: lapse.ErrReused, ID: a.Refresh.ID, Subject: "ana", At: startMilli, Reason: lapse.EndRotated}); *got != want {
		t.Errorf("rejection: %+v; want %+v", *got, want)
	}
	last := p.events[len(p.events)-1]
	if last.Kind != lapse.EventRejected || !errors.Is(last.Err, lapse.ErrReused) || last.Token.ID != a.Refresh.ID {
		t.Errorf("told last: %+v", last)
	}
}

// TestRefreshRefuses: each other way in which a refresh token can be no good, none of
// which is reuse, and none of which changes anything.
func TestRefreshRefuses(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(p *pairs, c *lapse.Credentials)
		want error
	}{
		{"ran out", func(p *pairs, _ *lapse.Credentials) { p.clock.add(720 * time.Hour) }, lapse.ErrExpired},
		{"about to run out", func(p *pairs, _ *lapse.Credentials) { p.clock.add(720*time.Hour - time.Millisecond) }, nil},
		{"family expired", func(p *pairs, c *lapse.Credentials) { p.Expire(p.ctx, c.Access.Bearer) }, lapse.ErrExpired},
		{"subject expired", func(p *pairs, c *lapse.Credentials) { p.ExpireSubject(p.ctx, "ana") }, lapse.ErrExpired},
		{"access token expired", func(p *pairs, c *lapse.Credentials) { p.ExpireBearer(p.ctx, c.Access.Bearer) }, nil},
		{"rotated, then its successor expired", func(p *pairs, c *lapse.Credentials) {
			p.Manager.Expire(p.ctx, p.next(*c).Refresh.ID)
		}, lapse.ErrExpired},
		{"malformed", func(_ *pairs, c *lapse.Credentials) { c.Refresh.Bearer += " " }, lapse.ErrMalformed},
		{"empty", func(_ *pairs, c *lapse.Credentials) { c.Refresh.Bearer = "" }, lapse.ErrMalformed},
		{"an access token", func(_ *pairs, c *lapse.Credentials) { c.Refresh = c.Access }, lapse.ErrUnknown},
		{"swept", func(p *pairs, c *lapse.Credentials) {
			p.clock.add(10000 * time.Hour)
			p.Sweep(p.ctx)
		}, lapse.ErrUnknown},
		{"subject refused", func(p *pairs, _ *lapse.Credentials) { p.refused = lapse.ErrSubjectRefused }, lapse.ErrSubjectRefused},
		{"subject refused, replay", func(p *pairs, c *lapse.Credentials) {
			p.next(*c)
			p.refused = lapse.ErrSubjectRefused
		}, lapse.ErrSubjectRefused},
		{"directory down", func(p *pairs, _ *lapse.Credentials) { p.refused = errDirectory }, errDirectory},
		{"delegated by a Manager", func(p *pairs, c *lapse.Credentials) {
			c.Refresh, _ = p.manager(lapse.Config{Prefix: "lapse_refresh"}).Delegate(p.ctx, c.Refresh.Bearer, lapse.Grant{})
		}, lapse.ErrUnknown},
		{"of a Manager alone", func(p *pairs, c *lapse.Credentials) {
			c.Refresh, _ = p.manager(lapse.Config{Prefix: "lapse_refresh"}).Issue(p.ctx, lapse.Grant{Subject: "ana"})
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
	b := p.next(a)
	p.clock.add(time.Minute)
	p.refused = lapse.ErrSubjectRefused
	p.wantRefresh("reuse", a, lapse.ErrReused)
	p.refused = nil
	p.wantDead(a, b)
}

// TestDeadCostsARead: what is known to be dead asks nobody and opens no transaction.
func TestDeadCostsARead(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	wantIs(t, "Expire", p.Expire(p.ctx, c.Refresh.Bearer), nil)
	p.refused = errDirectory
	calls := p.calls(func() { p.wantRefresh("dead", c, lapse.ErrExpired) })
	wantDiff(t, "calls", []storagetest.Op{opGet}, calls)
}

// TestReuseStaysReuse: a clock that steps back once reuse was seen, and before the
// family is ended, opens no grace.
func TestReuseStaysReuse(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{ClockGuard: lapse.GuardOff}})
	a := p.first(lapse.Grant{})
	b := p.next(a)
	p.clock.add(time.Minute)
	p.refused = lapse.ErrSubjectRefused // it was not asked
	p.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			p.clock.add(-time.Minute)
		}
	})
	p.wantRefresh("the clock stepped back", a, lapse.ErrReused)
	p.store.Before(nil)
	p.wantDead(a, b)
}

// TestWrongSecretChangesNothing: the right IDs open nothing, whatever became of them.
func TestWrongSecretChangesNothing(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{})
	b := p.next(p.next(a))
	p.clock.add(time.Minute)
	before := p.contents()
	for n := range 40 {
		for _, c := range []lapse.Credentials{a, b} {
			c.Refresh.Bearer = withSecret(c.Refresh.Bearer, n)
			p.wantRefresh("wrong secret", c, lapse.ErrUnknown)
			wantIs(t, "Expire", p.Expire(p.ctx, c.Refresh.Bearer), lapse.ErrUnknown)
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
