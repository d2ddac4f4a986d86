package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// rotate rotates by bearer with an overlap, which must work, and returns the new text.
func (h *holder) rotate(bearer string, overlap time.Duration) string {
	h.t.Helper()
	next, err := h.Rotate(h.ctx, bearer, overlap)
	if err != nil {
		h.t.Fatalf("Rotate: %v", err)
	}
	return next.Bearer
}

// TestHoldFollowsRotation: rotating a token with an overlap cuts no connection, and each
// rotation gives the connections a new life with the token.
func TestHoldFollowsRotation(t *testing.T) {
	for _, on := range holdStores {
		for _, rotations := range []int{1, 2, 3, 10} {
			for _, pause := range []time.Duration{0, time.Minute} {
				name := fmt.Sprint(on.name, "/", rotations, " rotations, ", pause, " apart")
				inBubble(t, name, on.open, lapse.Config{}, func(h *holder) {
					i := h.issue(lapse.Grant{})
					bearer, held := i.Bearer, h.hold(i.Bearer)
					byEach := []context.Context{held}
					for range rotations {
						time.Sleep(pause)
						bearer = h.rotate(bearer, time.Second)
						byEach = append(byEach, h.hold(bearer))
					}
					end := now().Add(30 * time.Minute)
					time.Sleep(30*time.Minute - time.Millisecond)
					for n, held := range byEach {
						h.alive(fmt.Sprint("1 ms before its end, opened by generation ", n), held)
					}
					time.Sleep(time.Millisecond)
					for _, held := range byEach {
						h.wantRejection(h.cut("at its end", held, 0), lapse.ErrExpired, i.ID, end, 0)
					}
				})
			}
		}
	}
}

// TestHoldIsCutByEndsAfterRotation: what ends the token by any of its texts, or by its ID,
// cuts the connections that each of them opened.
func TestHoldIsCutByEndsAfterRotation(t *testing.T) {
	for _, on := range holdStores {
		for _, row := range endings {
			cfg := lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}}
			inBubble(t, on.name+"/"+row.name, on.open, cfg, func(h *holder) {
				i := h.issue(lapse.Grant{}) // of which the text is the previous one
				first := h.hold(i.Bearer)
				second := h.hold(h.rotate(i.Bearer, 10*time.Minute))
				time.Sleep(time.Minute)
				ended := now()
				if err := row.end(h, i); err != nil {
					t.Fatal(err)
				}
				for generation, held := range []context.Context{first, second} {
					cause := h.cut(row.name, held, on.late)
					h.wantRejection(cause, lapse.ErrRevoked, i.ID, ended, row.reason)
					if r := new(lapse.Rejection); errors.As(cause, &r) && r.Generation != uint32(generation) {
						t.Errorf("cut by %v; want the generation %d, of the text that opened it", cause, generation)
					}
				}
			})
		}
	}
}

// TestHoldOutlivesItsText: a connection that a text opened stays when the instant has come
// at which that text works no more, and when yet another text has replaced it.
func TestHoldOutlivesItsText(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			next := h.rotate(i.Bearer, time.Minute)
			byPrevious := h.hold(i.Bearer)
			time.Sleep(time.Minute - time.Millisecond)
			h.hold(i.Bearer)
			time.Sleep(time.Millisecond)
			_, _, err := opened(h.Hold(h.ctx, i.Bearer))
			wantIs(t, "Hold by the previous text at its instant", err, lapse.ErrReplaced)
			h.alive("by the previous text", byPrevious)
			byNext := h.hold(next)
			h.rotate(next, time.Minute)
			time.Sleep(20 * time.Minute)
			h.alive("two rotations later", byPrevious)
			h.alive("a rotation later", byNext)
		})
	}
}

// TestHoldThroughSweeps: a connection that is held for longer than the retention, while
// its token is rotated and swept around, is held on and can be cut.
func TestHoldThroughSweeps(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{Policy: lapse.Policy{Retention: time.Hour}}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			bearer, held := i.Bearer, h.hold(i.Bearer)
			for range 30 {
				bearer = h.rotate(bearer, time.Minute)
				time.Sleep(10 * time.Minute)
				if n, err := h.Sweep(h.ctx); n != 0 || err != nil {
					t.Fatalf("Sweep: %d, %v; want nothing, for nothing is dead", n, err)
				}
				if _, err := h.Authenticate(h.ctx, bearer); err != nil {
					t.Fatal(err)
				}
			}
			h.alive("five hours", held)
			ended := now()
			if _, err := h.ExpireBearer(h.ctx, bearer); err != nil {
				t.Fatal(err)
			}
			h.wantRejection(h.cut("ended", held, on.late), lapse.ErrRevoked, i.ID, ended, lapse.EndRevoked)
		})
	}
}

// TestHoldReadsOncePerRotation: however often a token was rotated, the next rotation costs
// its connections one read.
func TestHoldReadsOncePerRotation(t *testing.T) {
	onMoody(t, "rotated", lapse.Config{}, func(h *holder, store *moody) {
		i := h.issue(lapse.Grant{})
		bearer, held := i.Bearer, h.hold(i.Bearer)
		synctest.Wait()
		var reads atomic.Int32
		count := func(context.Context) error { reads.Add(1); return nil }
		store.get.Store(&count)
		for n := range 1_000 {
			reads.Store(0)
			bearer = h.rotate(bearer, time.Minute)
			synctest.Wait()
			if got := reads.Load(); got != 2 {
				t.Fatalf("rotation %d: %d reads; want that of Rotate, and one", n+1, got)
			}
		}
		h.alive("a thousand rotations", held)
	})
}

// TestHoldOfADelegate is cut by what becomes of those it was delegated from.
func TestHoldOfADelegate(t *testing.T) {
	for name, row := range map[string]struct {
		budget int
		do     func(h *holder, first, second lapse.Issued) error
		after  time.Duration // until it is cut
		reason lapse.EndReason
		noIdea bool // neither when nor why
	}{
		"the first ends":  {0, func(h *holder, i, _ lapse.Issued) error { _, err := h.Expire(h.ctx, i.ID); return err }, 0, lapse.EndParent, false},
		"the second ends": {0, func(h *holder, _, i lapse.Issued) error { _, err := h.Expire(h.ctx, i.ID); return err }, 0, lapse.EndParent, false},
		"the first ends, and its own budget is spent": {1, func(h *holder, i, _ lapse.Issued) error {
			_, err := h.Expire(h.ctx, i.ID)
			return err
		}, 0, lapse.EndParent, false},
		"the first runs out": {0, func(*holder, lapse.Issued, lapse.Issued) error { return nil }, 10 * time.Minute, 0, false},
		"the first is renewed": {0, func(h *holder, i, _ lapse.Issued) error { _, err := h.Authenticate(h.ctx, i.Bearer); return err },
			11 * time.Minute, 0, false},
		"the first is swept": {0, func(h *holder, i, _ lapse.Issued) error {
			_, err := h.store.Sweep(h.ctx, i.ExpiresAt.Add(time.Millisecond), 1)
			return err
		}, 10 * time.Minute, 0, true},
	} {
		for _, on := range holdStores {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{Policy: lapse.Policy{MaxTTL: time.Hour}}, func(h *holder) {
				first := h.issue(lapse.Grant{TTL: 11 * time.Minute})
				second, err := h.Delegate(h.ctx, first.Bearer, lapse.Grant{TTL: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				third, err := h.Delegate(h.ctx, second.Bearer, lapse.Grant{TTL: time.Hour, MaxUses: row.budget})
				if err != nil {
					t.Fatal(err)
				}
				held := h.hold(third.Bearer)
				time.Sleep(time.Minute)
				h.alive("for a minute", held)
				at := now()
				if err := row.do(h, first, second); err != nil {
					t.Fatal(err)
				}
				late := on.late
				if row.noIdea {
					wantIs(t, "cause", h.cut(name, held, row.after), lapse.ErrExpired)
					return
				}
				if row.after > 0 {
					time.Sleep(row.after - time.Millisecond)
					h.alive("until then", held)
					late = time.Millisecond
				}
				why := lapse.ErrRevoked
				if row.reason == 0 {
					why = lapse.ErrExpired
				}
				h.wantRejection(h.cut(name, held, late), why, third.ID, at.Add(row.after), row.reason)
			})
		}
	}
}
