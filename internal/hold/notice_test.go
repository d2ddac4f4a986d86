package hold_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/storage"
)

// inBubble runs test in a bubble, over a Scheduler whose token lives for an hour.
func inBubble(t *testing.T, name string, recheck time.Duration, test func(t *testing.T, s *hold.Scheduler, w *world)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, w := scheduler(recheck)
			test(t, s, w)
		})
	})
}

// drop is what the caller does when the connection c ends.
func drop(s *hold.Scheduler, c *hold.Conn) {
	s.Drop(c)
	c.End(context.Canceled)
}

// TestWarningThatIsNotWanted: a warning whose function was stopped, or whose connection has ended,
// leaves the Scheduler working: it takes further connections and cuts them at the end.
func TestWarningThatIsNotWanted(t *testing.T) {
	const lead = 10 * time.Minute
	never := func() { t.Error("a function ran that was stopped") }
	for name, warn := range map[string]func(s *hold.Scheduler, c, other *hold.Conn){
		"stopped": func(s *hold.Scheduler, c, _ *hold.Conn) { s.WarnFunc(c, lead, never)() },
		"stopped, one is left": func(s *hold.Scheduler, c, other *hold.Conn) {
			s.WarnFunc(c, lead, never)()
			s.RotatedFunc(other, 2, never)
		},
		"dropped":           func(s *hold.Scheduler, c, _ *hold.Conn) { s.WarnFunc(c, lead, never); drop(s, c) },
		"stopped, released": func(s *hold.Scheduler, c, _ *hold.Conn) { s.WarnFunc(c, lead, never)(); drop(s, c) },
		"stopped when due": func(s *hold.Scheduler, c, _ *hold.Conn) {
			stop := s.WarnFunc(c, lead, never)
			time.Sleep(50*time.Minute - time.Millisecond)
			stop()
		},
	} {
		for _, unreadable := range []bool{false, true} {
			inBubble(t, name, 0, func(t *testing.T, s *hold.Scheduler, w *world) {
				c, _ := open(t, s, w, 2, false)
				other, ctx := open(t, s, w, 2, false)
				end := w.state.ExpiresAt
				w.set(func() { w.state.Unreadable = unreadable })
				warn(s, c, other)
				time.Sleep(time.Until(end) - time.Minute)
				synctest.Wait()
				_, late := open(t, s, w, 2, false)
				if !s.Holding(held) || ctx.Err() != nil {
					t.Fatalf("cut by %v", context.Cause(ctx))
				}
				w.set(func() { w.state.Cause = errDead })
				time.Sleep(time.Minute)
				synctest.Wait()
				if ctx.Err() == nil || late.Err() == nil || s.Holding(held) {
					t.Error("not cut at the end")
				}
			})
		}
	}
}

// TestDueAtOnceAgain: a token that is due again at the same instant does not keep the tick loop, and
// with it the lock.
func TestDueAtOnceAgain(t *testing.T) {
	inBubble(t, "", time.Microsecond, func(t *testing.T, s *hold.Scheduler, w *world) {
		c, ctx := open(t, s, w, 2, false)
		time.Sleep(10 * time.Millisecond)
		w.set(func() { w.refused = errRefused })
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if got := context.Cause(ctx); !errors.Is(got, errRefused) {
			t.Errorf("cut by %v", got)
		}
		drop(s, c)
	})
}

// TestWarningBoundary: a warning runs once, at its lead before the end and not a millisecond earlier,
// for each end that a read shows.
func TestWarningBoundary(t *testing.T) {
	for name, row := range map[string]struct {
		lead  time.Duration
		after time.Duration // after the connection began it has run
	}{
		"negative":          {-time.Minute, -1},
		"zero":              {0, -1},
		"under a ms":        {time.Millisecond - 1, -1},
		"a ms":              {time.Millisecond, time.Hour - time.Millisecond},
		"ten minutes":       {10 * time.Minute, 50 * time.Minute},
		"the life less one": {time.Hour - time.Millisecond, time.Millisecond},
		"the life":          {time.Hour, 0},
		"more":              {2 * time.Hour, 0},
	} {
		inBubble(t, name, 0, func(t *testing.T, s *hold.Scheduler, w *world) {
			c, _ := open(t, s, w, 2, false)
			var runs atomic.Int32
			want := func(when string, n int32) {
				t.Helper()
				synctest.Wait()
				if got := runs.Load(); got != n {
					t.Fatalf("%s: it ran %d times; want %d", when, got, n)
				}
			}
			s.WarnFunc(c, row.lead, func() { runs.Add(1) })
			if row.after < 0 {
				time.Sleep(time.Hour - time.Millisecond)
				want("no warning", 0)
				drop(s, c)
				return
			}
			if row.after > 0 {
				time.Sleep(row.after - time.Millisecond)
				want("before", 0)
				time.Sleep(time.Millisecond)
			}
			want("at", 1)
			w.set(func() { w.state.ExpiresAt = w.state.ExpiresAt.Add(row.lead + time.Hour) })
			w.changes <- storage.Change{ID: held}
			want("the end has moved", 1)
			time.Sleep(time.Until(w.state.ExpiresAt) - row.lead - time.Millisecond)
			want("before the second", 1)
			time.Sleep(time.Millisecond)
			want("at the second", 2)
			drop(s, c)
			time.Sleep(2 * time.Hour)
			want("after the end", 2)
		})
	}
}

// TestWarningAsksTheStoreFirst: the read that a warning causes may show a later end, which moves the
// warning. If the read fails, the warning goes by the end that is known.
func TestWarningAsksTheStoreFirst(t *testing.T) {
	for name, row := range map[string]struct {
		do   func(w *world)
		runs int32
	}{
		"moved untold": {func(w *world) { w.state.ExpiresAt = w.state.ExpiresAt.Add(time.Hour) }, 0},
		"as known":     {func(w *world) {}, 1},
		"unreadable":   {func(w *world) { w.state.Unreadable = true }, 1},
		"a panic":      {func(w *world) { w.panics = true }, 1},
		"dead":         {func(w *world) { w.state.Cause = errDead }, 0},
	} {
		inBubble(t, name, 0, func(t *testing.T, s *hold.Scheduler, w *world) {
			c, _ := open(t, s, w, 2, false)
			var runs atomic.Int32
			s.WarnFunc(c, 10*time.Minute, func() { runs.Add(1) })
			w.set(func() { row.do(w) })
			time.Sleep(50 * time.Minute)
			synctest.Wait()
			if got := runs.Load(); got != row.runs {
				t.Errorf("it ran %d times; want %d", got, row.runs)
			}
			drop(s, c)
		})
	}
}

// TestRotationNotice: RotatedFunc runs once for each generation after the one that it was given, for
// that which was there before, too.
func TestRotationNotice(t *testing.T) {
	for known, want := range map[uint32]int32{0: 2, 1: 2, 2: 1, 3: 0, 4: 0} { // after a read of 2 and one of 3
		inBubble(t, "", 0, func(t *testing.T, s *hold.Scheduler, w *world) {
			w.state.Generation = 2
			c, _ := open(t, s, w, 2, false)
			var runs atomic.Int32
			stop := s.RotatedFunc(c, known, func() { runs.Add(1) })
			synctest.Wait()
			for range 2 { // the second change is none of the secret
				w.set(func() { w.state.Generation = 3 })
				w.changes <- storage.Change{ID: held}
				synctest.Wait()
			}
			if got := runs.Load(); got != want {
				t.Errorf("known %d: it ran %d times; want %d", known, got, want)
			}
			if inTime := stop(); inTime != (want == 0) {
				t.Errorf("known %d: stop returned %v", known, inTime)
			}
			w.set(func() { w.state.Generation = 9 })
			w.changes <- storage.Change{ID: held}
			synctest.Wait()
			if got := runs.Load(); got != want {
				t.Errorf("known %d: it ran after stop", known)
			}
			drop(s, c)
		})
	}
}
