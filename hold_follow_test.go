package lapse_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// rotated returns the record of a successor of old, which is put in its place. grace
// leaves the old one alive.
func (h *holder) rotated(old lapse.ID, ttl time.Duration, grace bool) storage.Record {
	h.t.Helper()
	next, err := h.store.Get(h.ctx, old)
	if err != nil {
		h.t.Fatal(err)
	}
	h.serial++
	next.ID[15], next.ID[14], next.ID[13] = byte(h.serial), byte(h.serial>>8), byte(h.serial>>16)
	next.ID[12] ^= 0xff
	next.IssuedAt, next.ExpiresAt, next.Predecessor = now(), now().Add(ttl), old
	h.change(old, func(r *storage.Record) {
		r.Successor = next.ID
		if !grace {
			r.EndedAt, r.EndReason = now(), lapse.EndRotated
		}
	}, next)
	return next
}

// TestHoldFollowsRotation: rotating cuts nobody, and what ends the successor ends the
// hold, with what was the matter with that one.
func TestHoldFollowsRotation(t *testing.T) {
	for _, on := range holdStores {
		for _, rotations := range []int{1, 2, 3, 10} {
			for _, pause := range []time.Duration{0, time.Minute} {
				name := fmt.Sprint(on.name, "/", rotations, " rotations, ", pause, " apart")
				inBubble(t, name, on.open, lapse.Config{}, func(h *holder) {
					i := h.issue(lapse.Grant{})
					ended, runsOut := h.hold(i.Bearer), h.hold(h.issue(lapse.Grant{Subject: "bob"}).Bearer)
					newest := i.ID
					for range rotations {
						newest = h.rotated(newest, 40*time.Minute, false).ID
						time.Sleep(pause)
						h.alive("rotated", ended)
					}
					time.Sleep(30*time.Minute - time.Duration(rotations)*pause)
					h.alive("when the first one would have run out", ended)
					at := now()
					h.end(newest, lapse.EndReused)
					h.wantRejection(h.cut("the newest ended", ended, on.late), lapse.ErrExpired, newest, at, lapse.EndReused)
					wantIs(t, "the other", h.cut("ran out", runsOut, 0), lapse.ErrExpired)
				})
			}
		}
	}
}

// TestHoldRunsOutWithTheLast of those that follow each other.
func TestHoldRunsOutWithTheLast(t *testing.T) {
	for _, on := range holdStores {
		for name, row := range map[string]struct {
			ttl   time.Duration
			grace bool
			want  time.Duration
		}{
			"the successor lives longer":                  {time.Hour, false, time.Hour},
			"the successor lives shorter":                 {time.Minute, false, time.Minute},
			"both live, the successor longer":             {time.Hour, true, time.Hour},
			"both live, the predecessor longer":           {10 * time.Minute, true, 30 * time.Minute},
			"the successor runs out as it is made, alone": {0, false, 0},
		} {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{PollHolds: time.Second}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				held := h.hold(i.Bearer)
				synctest.Wait()
				next := h.rotated(i.ID, row.ttl, row.grace)
				if row.want > 0 {
					time.Sleep(row.want - time.Millisecond)
					h.alive("before", held)
				}
				want := next.IssuedAt.Add(row.want)
				h.wantRejection(h.cut("then", held, time.Second+time.Millisecond), lapse.ErrExpired, next.ID, want, 0)
			})
		}
	}
}

// TestHoldWhileBothLive: a token and its successor both decide, until one of them has
// been rotated away.
func TestHoldWhileBothLive(t *testing.T) {
	for _, on := range holdStores {
		for name, which := range map[string]func(old, next lapse.ID) lapse.ID{
			"the predecessor": func(old, _ lapse.ID) lapse.ID { return old },
			"the successor":   func(_, next lapse.ID) lapse.ID { return next },
		} {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				held := h.hold(i.Bearer)
				next := h.rotated(i.ID, 30*time.Minute, true)
				time.Sleep(time.Minute)
				h.alive("both live", held)
				at, id := now(), which(i.ID, next.ID)
				h.end(id, lapse.EndExpired)
				h.wantRejection(h.cut("one ended", held, on.late), lapse.ErrExpired, id, at, lapse.EndExpired)
			})
		}
	}
}

// TestHoldWhileTheFirstLives, although its successor has been rotated away: who ends the
// first or the last cuts.
func TestHoldWhileTheFirstLives(t *testing.T) {
	for _, on := range holdStores {
		for name, first := range map[string]bool{"the first": true, "the last": false} {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				held := h.hold(i.Bearer)
				last := h.rotated(h.rotated(i.ID, 30*time.Minute, true).ID, 30*time.Minute, false).ID
				time.Sleep(time.Minute)
				h.alive("both live", held)
				id := last
				if first {
					id = i.ID
				}
				h.end(id, lapse.EndExpired)
				wantIs(t, "cause", h.cut("ended", held, on.late), lapse.ErrExpired)
			})
		}
	}
}

// TestHoldThroughManyRotations: more of them than anybody makes between two looks, and
// what has been left behind is forgotten.
func TestHoldThroughManyRotations(t *testing.T) {
	for _, on := range holdStores {
		if on.name == "bolt" { // a sync for each
			continue
		}
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			newest := h.issue(lapse.Grant{}).ID
			held := h.hold(h.bearer)
			for range 10_000 {
				newest = h.rotated(newest, 30*time.Minute, false).ID
			}
			time.Sleep(20 * time.Minute)
			h.alive("10,000 rotations", held)
			at := now()
			h.end(newest, lapse.EndExpired)
			h.wantRejection(h.cut("the newest ended", held, on.late), lapse.ErrExpired, newest, at, lapse.EndExpired)
		})
	}
}

// TestHoldOfARing: damaged records that lead back to where they began are no life.
func TestHoldOfARing(t *testing.T) {
	onMemory(t, "ring", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		held := h.hold(i.Bearer)
		next := h.rotated(i.ID, 30*time.Minute, false)
		h.change(next.ID, func(r *storage.Record) {
			r.EndedAt, r.EndReason, r.Successor = now(), lapse.EndRotated, i.ID
		})
		wantIs(t, "cause", h.cut("nothing lives", held, 0), lapse.ErrExpired)
	})
}

// TestHoldAfterSweptSuccessor: a successor that is gone was dead.
func TestHoldAfterSweptSuccessor(t *testing.T) {
	onMemory(t, "gone", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		held := h.hold(i.Bearer)
		h.change(i.ID, func(r *storage.Record) { r.Successor = lapse.ID{1} })
		h.alive("it lives itself", held)
		h.change(i.ID, func(r *storage.Record) { r.EndedAt, r.EndReason = now(), lapse.EndRotated })
		wantIs(t, "cause", h.cut("nothing is left", held, 0), lapse.ErrExpired)
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
				h.wantRejection(h.cut(name, held, late), lapse.ErrExpired, third.ID, at.Add(row.after), row.reason)
			})
		}
	}
}
