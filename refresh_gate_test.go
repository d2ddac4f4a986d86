package lapse_test

import (
	"errors"
	"flag"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

var refreshRounds = flag.Int("refreshrounds", 20, "how often 64 callers refresh one token at once")

// TestOneSuccessorUnder64Callers: of those who all found the token good one rotates
// it, and all get the same credentials, time and again.
func TestOneSuccessorUnder64Callers(t *testing.T) {
	const callers = 64
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{Access: lapse.Config{Observe: func(lapse.Event) {}}})
		c := p.first(lapse.Grant{Scope: "read write"})
		for round := range *refreshRounds {
			got := make([]lapse.Credentials, callers)
			arrivals(store, callers, storagetest.OpUpdate)
			errs := together(callers, func(i int) (err error) {
				got[i], err = p.Refresh(p.ctx, c.Refresh.Bearer, []string{"read", "write", ""}[i%3])
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
			if made != 1 {
				t.Fatalf("round %d: %d made the credentials; want one", round, made)
			}
			p.wantOneTip(got[0].Refresh.ID)
			c = got[0]
		}
	})
}

// wantOneTip: of ana's refresh tokens only that one lives.
func (p *pairs) wantOneTip(want lapse.ID) {
	p.t.Helper()
	var tips []lapse.ID
	for _, r := range p.contents() {
		if r.Prefix == "lapse_refresh" && r.Live(p.clock.Now()) {
			tips = append(tips, r.ID)
		}
	}
	wantDiff(p.t, "refresh tokens that live", []lapse.ID{want}, tips)
}

// TestRefreshAgainstTheEnd lets rotations of one token and an end of its family loose
// at once: whichever comes first, nothing of it lives afterwards.
func TestRefreshAgainstTheEnd(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(p *pairs, stale, c lapse.Credentials) error
		want error
	}{
		"Expire": {func(p *pairs, _, c lapse.Credentials) error { return p.Expire(p.ctx, c.Access.Bearer) }, nil},
		"reuse": {func(p *pairs, stale, _ lapse.Credentials) error {
			_, err := p.Refresh(p.ctx, stale.Refresh.Bearer)
			return err
		}, lapse.ErrReused},
		"ExpireSubject": {func(p *pairs, _, _ lapse.Credentials) error {
			_, err := p.ExpireSubject(p.ctx, "ana")
			return err
		}, nil},
	} {
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			p := newPairs(t, store, lapse.PairConfig{Access: lapse.Config{Observe: func(lapse.Event) {}}})
			for range 10 {
				stale := p.first(lapse.Grant{})
				c := p.next(p.next(stale))
				arrivals(store, 8, storagetest.OpUpdate)
				errs := together(8, func(i int) error {
					if i == 0 {
						return row.end(p, stale, c)
					}
					_, err := p.Refresh(p.ctx, c.Refresh.Bearer)
					return ignore(err, lapse.ErrExpired)
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

// TestFamiliesUnder32Callers: a limit on families is exact.
func TestFamiliesUnder32Callers(t *testing.T) {
	const limit, callers = 5, 32
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{
			Access:  lapse.Config{Observe: func(lapse.Event) {}},
			Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: limit, AtLimit: lapse.LimitEndOldest}},
		})
		arrivals(store, callers, storagetest.OpUpdate)
		errs := together(callers, func(int) error {
			_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
			return err
		})
		store.Before(nil)
		wantIs(t, "Issue", errors.Join(errs...), nil)
		if n := len(p.living()); n != 2*limit {
			t.Errorf("%d tokens live; want %d pairs", n, limit)
		}
	})
}

// TestSweepSparesAncestors: with the shortest retention there is, what was rotated is
// still known for what it is.
func TestSweepSparesAncestors(t *testing.T) {
	short := lapse.Policy{Retention: time.Millisecond}
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{Access: lapse.Config{Policy: short}, Refresh: lapse.Config{Policy: short}})
		sweep := func() {
			if _, err := p.Sweep(p.ctx); err != nil {
				t.Fatal(err)
			}
		}
		a := p.first(lapse.Grant{})
		b := p.next(a)
		sweep()
		p.wantSame("again", a, b)
		p.clock.add(time.Hour)
		sweep() // both access tokens go
		c := p.next(b)
		p.clock.add(5 * time.Second)
		sweep()
		p.wantSame("again", b, c)
		p.clock.add(20 * 24 * time.Hour)
		sweep()
		p.wantRefresh("three weeks later", a, lapse.ErrReused)
		if alive := p.living(); len(alive) != 0 {
			t.Errorf("%v live", alive)
		}
	})
}

// TestAccessTokenDiedMeanwhile: one that ran out, or was swept, by the time of a
// replay is given all the same, with nothing left to live; its holder refreshes.
func TestAccessTokenDiedMeanwhile(t *testing.T) {
	for _, swept := range []bool{false, true} {
		p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: time.Second, Retention: time.Millisecond}}})
		a := p.first(lapse.Grant{})
		b := p.next(a)
		p.clock.add(2 * time.Second)
		if swept {
			p.Sweep(p.ctx)
		}
		got := p.next(a)
		if got.ExpiresIn != 0 || got.Access.Bearer != b.Access.Bearer || got.Refresh.Bearer != b.Refresh.Bearer || got.Access.ID != b.Access.ID {
			t.Errorf("swept %v: %+v", swept, got)
		}
		p.next(got)
	}
}

// TestReopenBetweenRotationAndRetry: the file alone is enough to answer again.
func TestReopenBetweenRotationAndRetry(t *testing.T) {
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
	p.wantSame("again", a, b)
	p.wantAccess("the new one", b, nil)
	c := p.next(b)
	done()
	p, done = open()
	defer done()
	p.wantRefresh("its successor was used", a, lapse.ErrReused)
	p.wantAccess("the last one", c, lapse.ErrExpired)
}
