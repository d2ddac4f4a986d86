package lapse_test

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// logOuts are the texts of a session that end it, and the reason of that end.
var logOuts = []struct {
	name  string
	after time.Duration // the last refresh
	text  func(s session3) string
	why   lapse.EndReason
}{
	{"the current access text", 0, func(s session3) string { return s.current.Access.Bearer }, lapse.EndRevoked},
	{"the current access text, run out", 15 * time.Minute, func(s session3) string { return s.current.Access.Bearer }, lapse.EndRevoked},
	{"the previous access text", 10*time.Second - time.Millisecond, func(s session3) string { return s.previous.Access.Bearer }, lapse.EndRevoked},
	{"the previous access text as its grace ends", 10 * time.Second, func(s session3) string { return s.previous.Access.Bearer }, lapse.EndRevoked},
	{"a spent access text", 0, func(s session3) string { return s.spent.Access.Bearer }, lapse.EndRevoked},
	{"the current refresh text", 0, func(s session3) string { return s.current.Refresh.Bearer }, lapse.EndRevoked},
	{"the previous refresh text", 10*time.Second - time.Millisecond, func(s session3) string { return s.previous.Refresh.Bearer }, lapse.EndRevoked},
	{"the previous refresh text as its grace ends", 10 * time.Second, func(s session3) string { return s.previous.Refresh.Bearer }, lapse.EndReused},
	{"a spent refresh text", 0, func(s session3) string { return s.spent.Refresh.Bearer }, lapse.EndReused},
}

// TestLogOut: a session ends by every text that it ever had, with what was delegated from
// it, once; to log out again is no error, and no other session ends.
func TestLogOut(t *testing.T) {
	for _, row := range logOuts {
		p := memoryPairs(t, lapse.PairConfig{})
		other := p.first(lapse.Grant{})
		s := p.session3(lapse.Grant{})
		child, err := p.Delegate(p.ctx, s.current.Access.Bearer, lapse.Grant{})
		wantIs(t, "Delegate", err, nil)
		p.clock.add(row.after)
		now := p.clock.Now().Truncate(time.Millisecond).UTC()
		p.events = nil
		wantIs(t, row.name, loggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
		tok := p.token(s.current.Refresh.ID)
		if tok.EndReason != row.why || !tok.EndedAt.Equal(now) {
			t.Errorf("%s: it ended at %v as %v; want %v as %v", row.name, tok.EndedAt, tok.EndReason, now, row.why)
		}
		told := map[lapse.ID]lapse.EndReason{}
		spent := 0
		for _, e := range p.events {
			if e.Kind == lapse.EventSpent {
				spent++
				wantIs(t, row.name+": told", e.Err, lapse.ErrReused)
				continue
			}
			told[e.Token.ID] = e.Token.EndReason
		}
		want := map[lapse.ID]lapse.EndReason{tok.ID: row.why}
		if row.after < 15*time.Minute { // else the delegate has run out
			want[child.ID] = lapse.EndParent
		}
		wantDiff(t, row.name+": told", want, told)
		if (spent == 1) != (row.why == lapse.EndReused) {
			t.Errorf("%s: %d spent texts are told of", row.name, spent)
		}
		p.wantNothingWorks(t, row.name, s)
		before := p.contents()
		for range 2 {
			wantIs(t, row.name+", again", loggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
		}
		wantDiff(t, row.name+", again: contents", before, p.contents())
		dead := lapse.ErrRevoked
		if row.after >= 15*time.Minute {
			dead = lapse.ErrExpired
		}
		p.wantPeek(t, row.name+": its delegate", child.Bearer, dead)
		p.next(other)
	}
}

// wantNothingWorks: none of the texts of s opens or refreshes anything.
func (p *pairs) wantNothingWorks(t *testing.T, what string, s session3) {
	t.Helper()
	for _, c := range []lapse.TokenPair{s.spent, s.previous, s.current} {
		p.wantAccess(what, c, lapse.ErrUnauthenticated)
		p.wantRefresh(what, c, lapse.ErrUnauthenticated)
	}
}

// TestExpireBearerOfASession: any Manager of the access prefix logs a session out by an
// access text, and returns the session as it is then.
func TestExpireBearerOfASession(t *testing.T) {
	for _, row := range logOuts {
		for name, other := range map[string]bool{"Pairs.Access()": false, "another Manager": true} {
			p := memoryPairs(t, lapse.PairConfig{})
			s := p.session3(lapse.Grant{Scope: "read write"})
			p.clock.add(row.after)
			m := p.Manager
			if other {
				m = p.manager(lapse.Config{})
			}
			got, err := m.ExpireBearer(p.ctx, row.text(s))
			if row.text(s)[:8] == "lapse_re" {
				wantIs(t, name+" by "+row.name, err, lapse.ErrUnknown)
				continue
			}
			wantIs(t, name+" by "+row.name, err, nil)
			wantDiff(t, name+" by "+row.name, p.token(s.current.Access.ID), got)
			if got.EndReason != lapse.EndRevoked || got.Scope != "read write" {
				t.Errorf("%s by %s: %+v", name, row.name, got)
			}
			p.wantNothingWorks(t, name+" by "+row.name, s)
		}
	}
}

// TestLogOutOfTheDead changes nothing, opens no transaction that writes, and is no error
// until the record has been swept.
func TestLogOutOfTheDead(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	s := p.session3(lapse.Grant{})
	p.clock.add(720 * time.Hour)
	before := p.contents()
	for _, row := range logOuts {
		wantIs(t, "run out, by "+row.name, loggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
	}
	wantDiff(t, "contents", before, p.contents())
	p.clock.add(24*time.Hour + time.Millisecond)
	if deleted, err := p.Sweep(p.ctx); deleted != 1 || err != nil {
		t.Fatalf("Sweep: %d, %v", deleted, err)
	}
	for _, row := range logOuts {
		wantIs(t, "swept, by "+row.name, loggedOut(p.ExpireBearer(p.ctx, row.text(s))), lapse.ErrUnknown)
	}
}

// TestLogOutMeetsSweep: a record that is swept between the look at it and its end had been
// dead, so that is no error.
func TestLogOutMeetsSweep(t *testing.T) {
	for _, row := range logOuts {
		p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Retention: time.Millisecond}}})
		s := p.session3(lapse.Grant{})
		p.clock.add(row.after)
		p.store.Before(func(op storagetest.Op) {
			if op == opUpdate {
				p.store.Before(nil)
				p.Manager.Expire(p.ctx, s.current.Refresh.ID)
				p.clock.add(time.Second)
				if n, err := p.Sweep(p.ctx); n != 1 || err != nil {
					t.Errorf("Sweep: %d, %v", n, err)
				}
			}
		})
		wantIs(t, row.name, loggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
	}
}

// TestExpireReachesNoFurther: the text of a delegate, or of a plain token, ends that
// alone, and a text that is none of these Pairs ends nothing.
func TestExpireReachesNoFurther(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	child, err := p.Delegate(p.ctx, c.Access.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	alone, bystander := p.issue(lapse.Grant{Subject: "ana"}), p.issue(lapse.Grant{Subject: "ana"})
	for name, bearer := range map[string]string{"delegate": child.Bearer, "plain token": alone.Bearer} {
		wantIs(t, name, loggedOut(p.ExpireBearer(p.ctx, bearer)), nil)
		p.wantPeek(t, name, bearer, lapse.ErrRevoked)
	}
	p.wantAccess("the session", c, nil)
	p.wantPeek(t, "another plain token", bystander.Bearer, nil)
	p.next(c)
	old := p.issue(lapse.Grant{Subject: "ana"})
	rotated := rotate(t, p.fixture, old.Bearer, 0)
	before := p.contents()
	for name, row := range map[string]struct {
		bearer string
		want   error
	}{
		"no token":                    {"lapse_refresh", lapse.ErrMalformed},
		"empty":                       {"", lapse.ErrMalformed},
		"foreign refresh":             {memoryPairs(t, lapse.PairConfig{}).first(lapse.Grant{}).Refresh.Bearer, lapse.ErrUnknown},
		"foreign access":              {memoryPairs(t, lapse.PairConfig{}).first(lapse.Grant{}).Access.Bearer, lapse.ErrUnknown},
		"a spent text of a plain one": {old.Bearer, lapse.ErrReplaced},
	} {
		wantIs(t, name, loggedOut(p.ExpireBearer(p.ctx, row.bearer)), row.want)
	}
	wantDiff(t, "contents", before, p.contents())
	wantIs(t, "the current text of a plain one", loggedOut(p.ExpireBearer(p.ctx, rotated.Bearer)), nil)
}

// TestExpireASessionByItsID: the ID that was noted at the log-in ends the session after
// any number of refreshes, and says so once.
func TestExpireASessionByItsID(t *testing.T) {
	for _, prefix := range []string{"", "admin"} { // of the Manager that ends it
		p := memoryPairs(t, lapse.PairConfig{})
		s := p.session3(lapse.Grant{})
		m := p.manager(lapse.Config{Prefix: prefix})
		for _, want := range []bool{true, false} {
			if ended, err := m.Expire(p.ctx, s.spent.Access.ID); ended != want || err != nil {
				t.Errorf("Expire: %v, %v; want %v", ended, err, want)
			}
		}
		if why := p.token(s.current.Refresh.ID).EndReason; why != lapse.EndRevoked {
			t.Errorf("it ended as %v", why)
		}
		p.wantNothingWorks(t, "by its ID", s)
	}
}

// TestExpireSubjectKeepsASession by the ID that was noted before it was refreshed, with
// what was delegated from it, and ends every other session once.
func TestExpireSubjectKeepsASession(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	mine, other := p.first(lapse.Grant{}), p.session3(lapse.Grant{})
	noted := mine.Access.ID
	ofMine, err := p.Delegate(p.ctx, mine.Access.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	ofOther, err := p.Delegate(p.ctx, other.current.Access.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	plain := p.issue(lapse.Grant{Subject: "ana"})
	for range 3 {
		p.clock.add(time.Minute)
		mine = p.next(mine)
	}
	// A delegate is to be kept by its own ID; that of a session which ends is ended all the same.
	ended, err := p.ExpireSubject(p.ctx, "ana", noted, ofMine.ID, ofOther.ID)
	if ended != 3 || err != nil {
		t.Errorf("ended %d, %v; want a session, its delegate and a plain token", ended, err)
	}
	p.wantNothingWorks(t, "another session", other)
	for _, bearer := range []string{plain.Bearer, ofOther.Bearer} {
		p.wantPeek(t, "what is not kept", bearer, lapse.ErrRevoked)
	}
	p.wantPeek(t, "the delegate that is kept", ofMine.Bearer, nil)
	p.wantAccess("the session that is kept", mine, nil)
	p.next(mine)
}
