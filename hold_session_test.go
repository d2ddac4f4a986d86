package lapse_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// sessions is a holder whose Manager is that of the access texts of Pairs.
type sessions struct {
	*holder
	pairs *lapse.Pairs
}

// inSession is inBubble for Pairs.
func inSession(t *testing.T, name string, open func(t *testing.T) storage.Store, cfg lapse.PairConfig, test func(s *sessions)) {
	t.Helper()
	inBubble(t, name, open, lapse.Config{}, func(h *holder) {
		p, err := lapse.NewPairs(h.store, cfg)
		if err != nil {
			t.Fatal(err)
		}
		h.Manager = p.Access()
		test(&sessions{h, p})
	})
}

func (s *sessions) logIn() lapse.TokenPair {
	s.t.Helper()
	c, err := s.pairs.Issue(s.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *sessions) refresh(c lapse.TokenPair) lapse.TokenPair {
	s.t.Helper()
	next, err := s.pairs.Refresh(s.ctx, c.Refresh.Bearer)
	if err != nil {
		s.t.Fatalf("Refresh: %v", err)
	}
	return next
}

// TestHoldOfASession: a connection by an access text ends when the current access secret
// of its session runs out, to the millisecond, and each refresh moves that end.
func TestHoldOfASession(t *testing.T) {
	const m = time.Minute
	for _, row := range []struct {
		name      string
		ttl       time.Duration   // of the session, 0 for 30 days
		refreshes []time.Duration // after the log-in
		end       time.Duration
	}{
		{"never refreshed", 0, nil, 15 * m},
		{"refreshed once", 0, []time.Duration{10 * m}, 25 * m},
		{"refreshed a millisecond before its end", 0, []time.Duration{15*m - time.Millisecond}, 30*m - time.Millisecond},
		{"refreshed at once", 0, []time.Duration{0}, 15 * m},
		{"refreshed every five minutes", 0, []time.Duration{5 * m, 10 * m, 15 * m, 20 * m, 25 * m}, 40 * m},
		{"the session runs out first", 10 * m, nil, 10 * m},
		{"the refreshed session does", 10 * m, []time.Duration{9 * m}, 19 * m},
	} {
		for _, on := range holdStores {
			cfg := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: row.ttl}}}
			inSession(t, on.name+"/"+row.name, on.open, cfg, func(s *sessions) {
				begin, c := now(), s.logIn()
				held := []context.Context{s.hold(c.Access.Bearer)}
				for _, after := range row.refreshes {
					time.Sleep(time.Until(begin.Add(after)))
					c = s.refresh(c)
					held = append(held, s.hold(c.Access.Bearer))
				}
				end := begin.Add(row.end)
				time.Sleep(time.Until(end) - time.Millisecond)
				for _, held := range held {
					s.alive("1 ms before", held)
				}
				time.Sleep(time.Millisecond)
				for _, held := range held {
					s.wantRejection(s.cut("at its end", held, 0), lapse.ErrExpired, c.Access.ID, end, 0)
				}
			})
		}
	}
}

// TestHoldOfASessionOnAMock: the same on a clock that the test moves.
func TestHoldOfASessionOnAMock(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration // since the refresh
		cut   bool
	}{
		{"1 ms before", 15*time.Minute - time.Millisecond, false},
		{"at", 15 * time.Minute, true},
		{"1 ms after", 15*time.Minute + time.Millisecond, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			mock := clock.NewMock()
			mock.Set(startMilli)
			p, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock, PollHolds: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := p.Issue(t.Context(), lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			mock.Add(10 * time.Minute)
			if c, err = p.Refresh(t.Context(), c.Refresh.Bearer); err != nil {
				t.Fatal(err)
			}
			ctx, release := context.WithCancel(t.Context())
			defer release()
			held, _, err := opened(p.Access().Hold(ctx, c.Access.Bearer))
			if err != nil {
				t.Fatal(err)
			}
			mock.Add(row.after)
			if row.cut {
				<-held.Done()
				wantIs(t, "cause", context.Cause(held), lapse.ErrExpired)
			} else if held.Err() != nil {
				t.Errorf("cut by %v", context.Cause(held))
			}
		})
	}
}

// TestHoldOfASessionIsCutByItsEnd, by whichever text or verb, and whichever of its texts
// opened the connection.
func TestHoldOfASessionIsCutByItsEnd(t *testing.T) {
	for name, row := range map[string]struct {
		end    func(s *sessions, first, current lapse.TokenPair) error
		reason lapse.EndReason
	}{
		"the current refresh text": {func(s *sessions, _, c lapse.TokenPair) error {
			return loggedOut(s.pairs.ExpireBearer(s.ctx, c.Refresh.Bearer))
		}, lapse.EndRevoked},
		"the current access text": {func(s *sessions, _, c lapse.TokenPair) error {
			return loggedOut(s.pairs.ExpireBearer(s.ctx, c.Access.Bearer))
		}, lapse.EndRevoked},
		"a spent access text": {func(s *sessions, c, _ lapse.TokenPair) error {
			return loggedOut(s.pairs.ExpireBearer(s.ctx, c.Access.Bearer))
		}, lapse.EndRevoked},
		"a spent refresh text": {func(s *sessions, c, _ lapse.TokenPair) error {
			return loggedOut(s.pairs.ExpireBearer(s.ctx, c.Refresh.Bearer))
		}, lapse.EndReused},
		"reuse": {func(s *sessions, c, _ lapse.TokenPair) error {
			_, err := s.pairs.Refresh(s.ctx, c.Refresh.Bearer)
			return ignore(err, lapse.ErrReused)
		}, lapse.EndReused},
		"its ID": {func(s *sessions, c, _ lapse.TokenPair) error { _, err := s.Expire(s.ctx, c.Access.ID); return err }, lapse.EndRevoked},
		"its subject, by another Manager": {func(s *sessions, _, _ lapse.TokenPair) error {
			_, err := s.manager(lapse.Config{Prefix: "admin"}).ExpireSubject(s.ctx, "ana")
			return err
		}, lapse.EndSubject},
		"another log-in": {func(s *sessions, _, _ lapse.TokenPair) error {
			_, err := s.pairs.Issue(s.ctx, lapse.Grant{Subject: "ana"})
			return err
		}, lapse.EndEvicted},
	} {
		for _, on := range holdStores {
			cfg := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}}
			inSession(t, on.name+"/"+name, on.open, cfg, func(s *sessions) {
				first := s.logIn()
				held := []context.Context{s.hold(first.Access.Bearer)}
				second := s.refresh(first)
				held = append(held, s.hold(second.Access.Bearer))
				current := s.refresh(second)
				held = append(held, s.hold(current.Access.Bearer))
				time.Sleep(time.Minute)
				for _, held := range held {
					s.alive("refreshed", held)
				}
				ended := now()
				if err := row.end(s, first, current); err != nil {
					t.Fatal(err)
				}
				for _, held := range held {
					s.wantRejection(s.cut(name, held, on.late), lapse.ErrRevoked, first.Access.ID, ended, row.reason)
				}
			})
		}
	}
}

// TestHoldOutlivesTheGrace: the previous access text opens a connection within the grace,
// and says that it works until the grace ends; the connection lasts as long as one by the
// current text. So does one of a Manager that knows of no Pairs.
func TestHoldOutlivesTheGrace(t *testing.T) {
	for _, on := range holdStores {
		inSession(t, on.name, on.open, lapse.PairConfig{}, func(s *sessions) {
			first := s.logIn()
			current := s.refresh(first)
			end := now().Add(15 * time.Minute)
			held, tok, err := opened(s.Hold(s.ctx, first.Access.Bearer))
			if err != nil || !tok.ExpiresAt.Equal(now().Add(10*time.Second)) {
				t.Fatalf("Hold by the previous text: until %v, %v; want the end of the grace", tok.ExpiresAt, err)
			}
			plain, _, err := opened(s.manager(lapse.Config{}).Hold(s.ctx, first.Access.Bearer))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			_, _, err = opened(s.Hold(s.ctx, first.Access.Bearer))
			wantIs(t, "Hold after the grace", err, lapse.ErrReplaced)
			time.Sleep(time.Until(end) - time.Millisecond)
			s.alive("1 ms before", held)
			s.alive("1 ms before, by a plain Manager", plain)
			time.Sleep(time.Millisecond)
			s.wantRejection(s.cut("at its end", held, 0), lapse.ErrExpired, current.Access.ID, end, 0)
			s.wantRejection(s.cut("at its end", plain, 0), lapse.ErrExpired, current.Access.ID, end, 0)
		})
	}
}

// TestHoldByAPreviousTextWhileTheStoreIsSilent: the end that is known of a connection is
// that of the current access secret, also if the previous one opened it.
func TestHoldByAPreviousTextWhileTheStoreIsSilent(t *testing.T) {
	onMoody(t, "silent", lapse.Config{}, func(h *holder, store *moody) {
		p, err := lapse.NewPairs(store, lapse.PairConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s := &sessions{h, p}
		s.Manager = p.Access()
		s.hold(s.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer) // so that the watch has begun
		synctest.Wait()
		first := s.logIn()
		s.refresh(first)
		synctest.Wait() // until that has been heard of
		end := now().Add(15 * time.Minute)
		held := s.hold(first.Access.Bearer)
		synctest.Wait()
		silence := silences["unavailable"]
		store.get.Store(&silence)
		time.Sleep(time.Until(end) - time.Millisecond)
		s.alive("until the end that is known", held)
		wantIs(t, "cause", s.cut("then", held, time.Second+strikeSlack), lapse.ErrExpired)
	})
}

// TestHoldOfASessionThroughSweeps: a connection that is open for longer than the
// retention, while its client refreshes and the program sweeps.
func TestHoldOfASessionThroughSweeps(t *testing.T) {
	for _, on := range holdStores {
		cfg := lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Retention: time.Hour}}}
		inSession(t, on.name, on.open, cfg, func(s *sessions) {
			c := s.logIn()
			held := s.hold(c.Access.Bearer)
			for range 40 {
				time.Sleep(5 * time.Minute)
				c = s.refresh(c)
				if n, err := s.Sweep(s.ctx); n != 0 || err != nil {
					t.Fatalf("Sweep: %d, %v; want nothing, for nothing is dead", n, err)
				}
			}
			s.alive("for more than three hours", held)
			time.Sleep(15 * time.Minute)
			wantIs(t, "cause", s.cut("once it is not refreshed", held, 0), lapse.ErrExpired)
		})
	}
}

// TestHoldReadsOncePerRefresh: the thousandth refresh of a session costs its connections
// the one read that the first did, however many they are.
func TestHoldReadsOncePerRefresh(t *testing.T) {
	onMoody(t, "refreshed", lapse.Config{}, func(h *holder, store *moody) {
		p, err := lapse.NewPairs(store, lapse.PairConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s := &sessions{h, p}
		s.Manager = p.Access()
		c := s.logIn()
		held := []context.Context{s.hold(c.Access.Bearer), s.hold(c.Access.Bearer)}
		synctest.Wait()
		var reads atomic.Int32
		count := func(context.Context) error { reads.Add(1); return nil }
		store.get.Store(&count)
		for n := range 1_000 {
			reads.Store(0)
			time.Sleep(time.Minute)
			c = s.refresh(c)
			synctest.Wait()
			if got := reads.Load(); got != 2 {
				t.Fatalf("refresh %d: %d reads; want that of Refresh, and one", n+1, got)
			}
		}
		for _, held := range held {
			s.alive("a thousand refreshes", held)
		}
	})
}
