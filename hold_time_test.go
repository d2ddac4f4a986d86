package lapse_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestHoldOnAMock: the same on a clock that somebody moves.
func TestHoldOnAMock(t *testing.T) {
	for _, row := range []struct {
		name  string
		moves []time.Duration
		cut   bool
	}{
		{"1 ms before", []time.Duration{30*time.Minute - time.Millisecond}, false},
		{"1 ns before", []time.Duration{30*time.Minute - time.Nanosecond}, false},
		{"at", []time.Duration{30 * time.Minute}, true},
		{"1 ms after", []time.Duration{30*time.Minute + time.Millisecond}, true},
		{"in steps", []time.Duration{29 * time.Minute, 59 * time.Second, 999 * time.Millisecond, time.Millisecond}, true},
		{"an hour after", []time.Duration{90 * time.Minute}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			mock := clock.NewMock()
			mock.Set(startMilli)
			m, err := lapse.New(memory.New(), lapse.Config{Clock: mock, PollHolds: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			ctx, release := context.WithCancel(t.Context())
			defer release()
			held, _, err := opened(m.Hold(ctx, granted(t, m, lapse.Grant{Subject: "ana"}).Bearer))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range row.moves {
				if err := held.Err(); err != nil {
					t.Fatalf("cut by %v at %v", context.Cause(held), mock.Now())
				}
				mock.Add(d)
			}
			if row.cut {
				<-held.Done()
				wantIs(t, "cause", context.Cause(held), lapse.ErrExpired)
			} else if held.Err() != nil {
				t.Errorf("cut by %v at %v", context.Cause(held), mock.Now())
			}
		})
	}
}

// bentClock is the bubble's clock until somebody sets it: what waits does not notice.
type bentClock struct{ by atomic.Int64 }

func (c *bentClock) Now() time.Time                         { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *bentClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (c *bentClock) step(d time.Duration)                   { c.by.Add(int64(d)) }

// TestHoldThroughClockSteps: a clock that was set, or a machine that slept, is noticed
// within 15 seconds, and by then every hold is right again.
func TestHoldThroughClockSteps(t *testing.T) {
	for _, row := range []struct {
		name      string
		wait      time.Duration
		step      time.Duration
		cutWithin time.Duration // after the step
		notBefore time.Duration
	}{
		{"eight hours asleep", time.Minute, 8 * time.Hour, 15 * time.Second, 0},
		{"to the very end", time.Minute, 29 * time.Minute, 15 * time.Second, 0},
		{"almost to the end", time.Minute, 29*time.Minute - 30*time.Second, 30 * time.Second, 30 * time.Second},
		{"back", 29 * time.Minute, -time.Hour, 61 * time.Minute, 61 * time.Minute},
		{"back to 1970", 29 * time.Minute, -30 * 365 * 24 * time.Hour, 0, 6 * time.Hour},
	} {
		for _, on := range holdStores {
			bent := new(bentClock)
			inBubble(t, on.name+"/"+row.name, on.open, lapse.Config{Clock: bent}, func(h *holder) {
				held := h.hold(h.issue(lapse.Grant{}).Bearer)
				time.Sleep(row.wait)
				bent.step(row.step)
				if row.notBefore > 0 {
					time.Sleep(row.notBefore - time.Millisecond)
					h.alive("before its time", held)
				}
				if row.cutWithin > 0 {
					wantIs(t, "cause", h.cut(row.name, held, row.cutWithin), lapse.ErrExpired)
				}
			})
		}
	}
}

// TestHoldIsNotCutAsleep: what was renewed is read again before anybody is cut, even
// if its old end had long passed when this process woke.
func TestHoldIsNotCutAsleep(t *testing.T) {
	for _, on := range holdStores {
		for _, asleep := range []time.Duration{time.Millisecond, time.Second, time.Minute, 10 * time.Minute} {
			bent := new(bentClock)
			inBubble(t, on.name+"/"+asleep.String(), on.open, lapse.Config{Clock: bent}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				held := h.hold(i.Bearer)
				time.Sleep(20 * time.Minute)
				if _, err := h.Authenticate(h.ctx, i.Bearer); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10*time.Minute - time.Millisecond)
				bent.step(asleep)
				time.Sleep(time.Minute)
				h.alive("renewed", held)
			})
		}
	}
}

// TestHoldIsRenewedByAnybody, which moves its end, whoever it is, and whether or not
// the store tells of it.
func TestHoldIsRenewedByAnybody(t *testing.T) {
	for name, renew := range map[string]func(h *holder, i lapse.Issued) error{
		"Authenticate": func(h *holder, i lapse.Issued) error { _, err := h.Authenticate(h.ctx, i.Bearer); return err },
		"Renew":        func(h *holder, i lapse.Issued) error { _, err := h.Renew(h.ctx, i.Bearer); return err },
		"Hold":         func(h *holder, i lapse.Issued) error { h.hold(i.Bearer); return nil },
		"another Manager": func(h *holder, i lapse.Issued) error {
			_, err := h.manager(lapse.Config{}).Authenticate(h.ctx, i.Bearer)
			return err
		},
		"Touch": func(h *holder, i lapse.Issued) error {
			return h.store.Touch(h.ctx, i.ID, storage.Use{At: now(), ExpiresAt: now().Add(30 * time.Minute)})
		},
	} {
		for _, on := range holdStores {
			inBubble(t, on.name+"/"+name, on.open, lapse.Config{}, func(h *holder) {
				i := h.issue(lapse.Grant{})
				held := h.hold(i.Bearer)
				for range 3 {
					time.Sleep(30*time.Minute - time.Millisecond)
					if err := renew(h, i); err != nil {
						t.Fatal(err)
					}
				}
				end := now().Add(30 * time.Minute)
				time.Sleep(30*time.Minute - time.Millisecond)
				h.alive("renewed", held)
				time.Sleep(time.Millisecond)
				h.wantRejection(h.cut("at its time", held, 0), lapse.ErrExpired, i.ID, end, 0)
			})
		}
	}
}

// TestHoldIsNoActivity: that a connection stays open renews nothing, and looking at it
// writes nothing.
func TestHoldIsNoActivity(t *testing.T) {
	onMemory(t, "idle", lapse.Config{}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		time.Sleep(time.Minute)
		held := h.hold(i.Bearer)
		used := now()
		time.Sleep(20 * time.Minute)
		h.alive("in use", held)
		tok, err := h.Token(h.ctx, i.ID)
		if err != nil || !tok.LastUsedAt.Equal(used) || !tok.ExpiresAt.Equal(used.Add(30*time.Minute)) {
			t.Errorf("%+v, %v; want it used at %v alone", tok, err, used)
		}
	})
}

// TestHoldIsShortened: an end that comes nearer is heard of, too.
func TestHoldIsShortened(t *testing.T) {
	for _, on := range holdStores {
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(lapse.Grant{})
			held := h.hold(i.Bearer)
			time.Sleep(time.Minute)
			soon := now().Add(10 * time.Second)
			h.change(i.ID, func(r *storage.Record) { r.ExpiresAt, r.MaxExpiresAt = soon, soon })
			time.Sleep(10*time.Second - time.Millisecond)
			h.alive("before", held)
			time.Sleep(time.Millisecond)
			h.wantRejection(h.cut("shortened", held, 0), lapse.ErrExpired, i.ID, soon, 0)
		})
	}
}

// TestHoldOfAMostDistantEnd neither overflows nor spins.
func TestHoldOfAMostDistantEnd(t *testing.T) {
	policy := lapse.Policy{TTL: 290 * 365 * 24 * time.Hour, MaxTTL: lapse.NoLimit}
	onMemory(t, "290 years", lapse.Config{Policy: policy, PollHolds: 290 * 365 * 24 * time.Hour}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		h.change(i.ID, func(r *storage.Record) { r.ExpiresAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) })
		held := h.hold(i.Bearer)
		time.Sleep(24 * time.Hour)
		h.alive("for a day", held)
	})
}
