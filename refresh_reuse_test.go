package lapse_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestReuseLater: a spent text is ErrReused as long as the record exists, also of a session
// that ended for another reason, which stays, or ran out; then it costs one read.
func TestReuseLater(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(p *pairs, s session3)
		why  lapse.EndReason
	}{
		{"reused", func(p *pairs, s session3) { p.Refresh(p.ctx, s.spent.Refresh.Bearer) }, lapse.EndReused},
		{"logged out", func(p *pairs, s session3) { loggedOut(p.ExpireBearer(p.ctx, s.current.Access.Bearer)) }, lapse.EndRevoked},
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
