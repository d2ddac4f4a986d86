package hold

import (
	"testing"
	"time"
)

// TestTimerThatIsAboutToFire: at the instant of a timer that has not fired no other timer is set.
// After that instant the timer is not waited for: the clock was set.
func TestTimerThatIsAboutToFire(t *testing.T) {
	begin := time.UnixMilli(1_000_000)
	for name, row := range map[string]struct {
		past time.Duration // how far the clock is past the instant of the first timer
		sets int
	}{
		"before": {-time.Millisecond, 1},
		"at":     {0, 1},
		"after":  {time.Millisecond, 2},
	} {
		t.Run(name, func(t *testing.T) {
			now, sets := begin, 0
			s := New(Config{
				Now:   func() time.Time { return now },
				After: func(time.Duration) <-chan time.Time { sets++; return nil },
			})
			s.timerFor(instantOf(begin.Add(time.Hour)))
			now = begin.Add(time.Hour + row.past)
			timer, due := s.timerFor(instantOf(begin.Add(2 * time.Hour)))
			if timer == nil || due || sets != row.sets {
				t.Errorf("timer %v, due %v, %d timers were set; want %d", timer, due, sets, row.sets)
			}
		})
	}
}
