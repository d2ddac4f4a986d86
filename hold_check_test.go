package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// directory is a Admit: what it says of whom, and how often it was asked.
type directory struct {
	mu    sync.Mutex
	asked map[string]int
	says  map[string]func(ctx context.Context) error
}

func (d *directory) check(ctx context.Context, tok lapse.Token) error {
	subject := tok.Subject
	d.mu.Lock()
	if d.asked == nil {
		d.asked = make(map[string]int)
	}
	d.asked[subject]++
	says := d.says[subject]
	d.mu.Unlock()
	if says == nil {
		return nil
	}
	return says(ctx)
}

// say has d answer for subject as f does from now on, and forget how often it was asked.
func (d *directory) say(subject string, f func(ctx context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.asked)
	if d.says == nil {
		d.says = make(map[string]func(ctx context.Context) error)
	}
	d.says[subject] = f
}

func (d *directory) count(subject string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[subject]
}

var errHoliday = fmt.Errorf("%w: on holiday", lapse.ErrRefused)

// TestRecheck: who is refused is cut within the interval, by what was said, and
// nobody else is.
func TestRecheck(t *testing.T) {
	for _, on := range holdStores {
		dir := new(directory)
		inBubble(t, on.name, on.open, lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
			i, j := h.issue(lapse.Grant{TTL: time.Hour}), h.issue(lapse.Grant{TTL: time.Hour})
			held := []context.Context{h.hold(i.Bearer), h.hold(j.Bearer), h.hold(j.Bearer)}
			bob := h.hold(h.issue(lapse.Grant{Subject: "bob", TTL: time.Hour}).Bearer)
			time.Sleep(90 * time.Second)
			dir.say("ana", func(context.Context) error { return errHoliday })
			time.Sleep(30*time.Second - time.Millisecond)
			for _, held := range held {
				h.alive("until she is asked about", held)
			}
			for n, id := range []lapse.ID{i.ID, j.ID, j.ID} {
				cause := h.cut("asked", held[n], time.Millisecond)
				h.wantRejection(cause, errHoliday, id, time.Time{}, 0)
			}
			if n := dir.count("ana"); n != 2 {
				t.Errorf("asked %d times about two tokens; want once about each", n)
			}
			time.Sleep(10 * time.Minute)
			h.alive("somebody else", bob)
		})
	}
}

// TestRecheckIsOff by default: only uses ask.
func TestRecheckIsOff(t *testing.T) {
	dir := new(directory)
	onMemory(t, "off", lapse.Config{Admit: dir.check}, func(h *holder) {
		held := h.hold(h.issue(lapse.Grant{TTL: time.Hour}).Bearer)
		dir.say("ana", func(context.Context) error { return errHoliday })
		time.Sleep(time.Hour - time.Millisecond)
		h.alive("all the time", held)
		if n := dir.count("ana"); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestRecheckThatCannotTell cuts no connection and delays no other end: what runs out
// or is ended meanwhile is cut as ever.
func TestRecheckThatCannotTell(t *testing.T) {
	for name, says := range map[string]func(ctx context.Context) error{
		"fails":             func(context.Context) error { return errDisk },
		"is refused itself": func(context.Context) error { return lapse.ErrExpired },
		"hangs":             func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"is slow": func(ctx context.Context) error {
			select {
			case <-time.After(3 * time.Minute):
			case <-ctx.Done():
			}
			return nil
		},
	} {
		dir := new(directory)
		onMemory(t, name, lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
			stays := h.issue(lapse.Grant{TTL: 2 * time.Hour})
			ends, runsOut := h.issue(lapse.Grant{Subject: "bob"}), h.issue(lapse.Grant{})
			held := []context.Context{h.hold(stays.Bearer), h.hold(ends.Bearer), h.hold(runsOut.Bearer)}
			dir.say("ana", says)
			dir.say("bob", says)
			time.Sleep(10 * time.Minute)
			for _, held := range held {
				h.alive(name, held)
			}
			if _, err := h.Expire(h.ctx, ends.ID); err != nil {
				t.Fatal(err)
			}
			h.cut("ended", held[1], 0)
			time.Sleep(20*time.Minute - time.Millisecond)
			h.alive("until then", held[2])
			h.cut("ran out", held[2], time.Millisecond)
			time.Sleep(time.Hour)
			h.alive(name, held[0])
		})
	}
}

// TestRecheckThatNeverReturns: although the connection that Admit was asked about is gone,
// Admit is asked about those that came later.
func TestRecheckThatNeverReturns(t *testing.T) {
	dir := new(directory)
	onMemory(t, "deaf", lapse.Config{Admit: dir.check, Recheck: time.Minute}, func(h *holder) {
		back := make(chan struct{})
		defer close(back)
		first, second := h.issue(lapse.Grant{}), h.issue(lapse.Grant{Subject: "bob"})
		held := h.hold(first.Bearer)
		dir.say("ana", func(context.Context) error { <-back; return errHoliday })
		time.Sleep(time.Minute)
		h.end(first.ID, lapse.EndRevoked)
		h.cut("ended", held, 0)
		held = h.hold(second.Bearer)
		dir.say("bob", func(context.Context) error { return errHoliday })
		wantIs(t, "cause", h.cut("refused", held, time.Minute), lapse.ErrRefused)
	})
}

// TestRecheckAfterTheClockWasSetBack is as often as before.
func TestRecheckAfterTheClockWasSetBack(t *testing.T) {
	dir, bent := new(directory), new(bentClock)
	cfg := lapse.Config{Clock: bent, ClockGuard: lapse.GuardOff, Admit: dir.check, Recheck: time.Minute}
	onMemory(t, "back", cfg, func(h *holder) {
		held := h.hold(h.issue(lapse.Grant{}).Bearer)
		time.Sleep(10 * time.Minute)
		bent.step(-1000 * time.Hour)
		dir.say("ana", func(context.Context) error { return errHoliday })
		wantIs(t, "cause", h.cut("refused", held, time.Minute+15*time.Second), lapse.ErrRefused)
	})
}

// TestPollAfterTheClockWasSetBack is as often as before, too.
func TestPollAfterTheClockWasSetBack(t *testing.T) {
	bent := new(bentClock)
	inBubble(t, "polled", holdStores[2].open, lapse.Config{Clock: bent, ClockGuard: lapse.GuardOff}, func(h *holder) {
		i := h.issue(lapse.Grant{})
		held := h.hold(i.Bearer)
		time.Sleep(10 * time.Minute)
		bent.step(-1000 * time.Hour)
		h.change(i.ID, func(r *storage.Record) {
			r.EndedAt, r.EndReason = bent.Now().Truncate(time.Millisecond), lapse.EndRevoked
		})
		h.cut("ended", held, 20*time.Second)
	})
}

// TestHoldFromWithin: whatever lapse calls may call Hold.
func TestHoldFromWithin(t *testing.T) {
	dir := new(directory)
	var h *holder
	var within sync.Once
	also := func() {
		within.Do(func() {
			if held, _, err := opened(h.Hold(h.ctx, h.bearer)); err != nil || held.Err() != nil {
				h.t.Errorf("Hold from within: %v, %v", err, context.Cause(held))
			}
		})
	}
	cfg := lapse.Config{Admit: dir.check, Recheck: time.Minute}
	for _, from := range []string{"Admit", "Admit, asked again", "Observe", "AfterFunc"} {
		within = sync.Once{}
		dir.say("ana", nil)
		cfg.Observe = nil
		if from == "Observe" {
			cfg.Observe = func(_ context.Context, e lapse.Event) {
				if e.Kind == lapse.EventRejected {
					also()
				}
			}
		}
		onMemory(t, from, cfg, func(inside *holder) {
			h = inside
			i := h.issue(lapse.Grant{Subject: "bob"})
			held := h.hold(i.Bearer)
			h.issue(lapse.Grant{})
			asked := func(context.Context) error { also(); return nil }
			switch from {
			case "Admit":
				dir.say("bob", asked)
				h.hold(i.Bearer)
			case "Admit, asked again":
				dir.say("bob", asked)
				time.Sleep(time.Minute)
			case "Observe":
				if _, _, err := opened(h.Hold(h.ctx, "nonsense")); !errors.Is(err, lapse.ErrMalformed) {
					t.Error(err)
				}
			case "AfterFunc":
				context.AfterFunc(held, also)
			}
			dir.say("bob", nil)
			synctest.Wait()
			if _, err := h.Expire(h.ctx, i.ID); err != nil {
				t.Fatal(err)
			}
			h.cut("ended", held, 0)
		})
	}
}

// TestHoldIntervals: what a hold cannot keep to is refused.
func TestHoldIntervals(t *testing.T) {
	dir := new(directory)
	for name, row := range map[string]struct {
		cfg lapse.Config
		bad bool
	}{
		"defaults":              {lapse.Config{}, false},
		"the least":             {lapse.Config{Recheck: time.Millisecond, PollHolds: time.Millisecond, Admit: dir.check}, false},
		"recheck negative":      {lapse.Config{Recheck: -1, Admit: dir.check}, true},
		"recheck too short":     {lapse.Config{Recheck: time.Millisecond - 1, Admit: dir.check}, true},
		"recheck without end":   {lapse.Config{Recheck: lapse.NoLimit, Admit: dir.check}, true},
		"recheck without Admit": {lapse.Config{Recheck: time.Minute}, true},
		"polling negative":      {lapse.Config{PollHolds: -1}, true},
		"polling too often":     {lapse.Config{PollHolds: time.Millisecond - 1}, true},
		"polling without end":   {lapse.Config{PollHolds: lapse.NoLimit}, true},
		"polling once a year":   {lapse.Config{PollHolds: 365 * 24 * time.Hour}, false},
		"recheck once a year":   {lapse.Config{Recheck: 365 * 24 * time.Hour, Admit: dir.check}, false},
		"checking but not yet":  {lapse.Config{Admit: dir.check}, false},
	} {
		_, err := lapse.New(mute{}, row.cfg)
		if errors.Is(err, lapse.ErrInvalidConfig) != row.bad || err != nil && !row.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}
