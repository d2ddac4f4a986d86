package steady

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/internal/elapsed"
)

// TestGlanceFollowsTheClock: how the clock was set is gone by for a millisecond, and no
// longer. A change of it is played by a wrong note of it.
func TestGlanceFollowsTheClock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		stale bool
	}{
		{"at once", 0, true},
		{"1 ns before a millisecond", wallTTL - 1, true},
		{"a millisecond later", wallTTL, false},
		{"1 ns later than that", wallTTL + 1, false},
		{"a day later", 24 * time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewSystem()
				time.Sleep(time.Hour + 1234*time.Microsecond)
				if wall, elapsed := s.ReadCached(); wall != time.Now().UnixMilli() || elapsed != s.Elapsed() {
					t.Fatalf("the first glance: %d after %v, want %d after %v", wall, elapsed, time.Now().UnixMilli(), s.Elapsed())
				}
				s.wallOffset.Add(-int64(time.Hour)) // as if the clock had been an hour behind until now
				time.Sleep(tt.after)
				want := time.Now()
				if tt.stale {
					want = want.Add(-time.Hour)
				}
				if wall, _ := s.ReadCached(); wall != want.UnixMilli() {
					t.Errorf("%d, want %d", wall, want.UnixMilli())
				}
			})
		})
	}
}

// TestGlanceAfterAsk: nobody is told what the clock was before it was asked last.
func TestGlanceAfterAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem()
		s.ReadCached()
		s.wallOffset.Add(int64(time.Hour)) // as if the clock had been an hour ahead until now
		now := s.WallMilli()
		if wall, _ := s.ReadCached(); wall != now || now != time.Now().UnixMilli() {
			t.Errorf("asked %d, then %d; want %d", now, wall, time.Now().UnixMilli())
		}
	})
}

// TestGlanceBetweenTwoReadings: a clock of which it is not sure that it was read at once
// is not gone by.
func TestGlanceBetweenTwoReadings(t *testing.T) {
	for _, tt := range []struct {
		took time.Duration
		kept bool
	}{{0, true}, {maxReadGap - 1, true}, {maxReadGap, false}, {time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			s := NewSystem()
			time.Sleep(time.Hour)
			wall, _ := s.readWall(time.Since(s.start) - tt.took)
			if wall != time.Now().UnixMilli() {
				t.Errorf("after %v: %d, want %d", tt.took, wall, time.Now().UnixMilli())
			}
			if kept := s.wallReadAt.Load() == int64(time.Hour); kept != tt.kept {
				t.Errorf("after %v: kept %v, want %v", tt.took, kept, tt.kept)
			}
		})
	}
}

// wantNow wants a glance at the present to be that, to the millisecond: the two readings
// that a Time is made of are not quite one, and some machines count in larger steps.
func wantNow(t *testing.T, s *System) {
	t.Helper()
	before := time.Now().UnixMilli() - 1
	wall, _ := s.ReadCached()
	if after := time.Now().UnixMilli() + 1; wall < before || wall > after {
		t.Fatalf("%d, which is not between %d and %d", wall, before, after)
	}
}

// TestGlanceIsNow: whoever looks again and again sees the time go by as it does.
func TestGlanceIsNow(t *testing.T) {
	s := NewSystem()
	for range 200_000 {
		wantNow(t, s)
	}
}

// TestGlanceOutOfABubble: a bubble's time is its own, and what was found out there is
// not gone by outside.
func TestGlanceOutOfABubble(t *testing.T) {
	s := NewSystem()
	s.ReadCached()
	synctest.Test(t, func(t *testing.T) {
		for range 3 {
			if wall, _ := s.ReadCached(); wall != time.Now().UnixMilli() {
				t.Errorf("in the bubble: %d, want %d", wall, time.Now().UnixMilli())
			}
			time.Sleep(wallTTL / 2)
		}
	})
	wantNow(t, s)
}

// TestGlanceNeverKeepsFarYears: years that nanoseconds cannot count are read in full.
func TestGlanceNeverKeepsFarYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem()
		time.Sleep(time.Until(time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC)))
		for _, kept := range []bool{true, false} {
			wall, _ := s.ReadCached()
			if wall != time.Now().UnixMilli() {
				t.Errorf("%v: %d, want %d", time.Now().UTC(), wall, time.Now().UnixMilli())
			}
			if now := s.wallReadAt.Load() == int64(time.Since(s.start)); now != kept {
				t.Errorf("%v: kept %v, want %v", time.Now().UTC(), now, kept)
			}
			time.Sleep(2 * 24 * time.Hour)
		}
	})
}

// TestSystemClockInABubble: what passes outside is nothing to it.
func TestSystemClockInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewSystem()
		for begun := clock.start; ; { // real time, which the bubble knows nothing of
			if _, most := elapsed.Suspended(); most < 0 {
				t.Fatalf("suspended for %v", most)
			}
			if time.Now() != begun {
				break
			}
			time.Sleep(time.Hour)
		}
		if got := clock.Elapsed(); got != time.Hour {
			t.Errorf("an hour is %v", got)
		}
	})
}

// TestSystemClockGoesOn: it is never slower than Go's own monotonic clock.
func TestSystemClockGoesOn(t *testing.T) {
	clock := NewSystem()
	last := clock.Elapsed()
	for range 1_000 {
		least := time.Since(clock.start)
		if got := clock.Elapsed(); got < last || got < least {
			t.Fatalf("%v after %v, and at least %v", got, last, least)
		} else {
			last = got
		}
	}
}
