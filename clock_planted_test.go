package lapse

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/race"
)

// highWater is a clock that remembers how far it has come, and what people have made of
// that: now is the later one, or else nobody gets in.
type highWater struct {
	*machine
	mark *time.Time
}

func (c highWater) Now() time.Time {
	if now := c.machine.Now(); now.After(*c.mark) {
		*c.mark = now
	}
	return *c.mark
}

var errBehind = errors.New("the clock is behind its mark")

// plantedGuards are the obvious guards, and what each does to people.
func plantedGuards() map[string]guardUnderTest {
	off := Config{ClockGuard: GuardOff}
	var mark, refused time.Time
	return map[string]guardUnderTest{
		"late":                    {name: "none", cfg: off, clock: func(c *machine) Clock { return c }},
		"late, time stands still": {name: "max", cfg: off, clock: func(c *machine) Clock { return highWater{c, &mark} }},
		"locked out": {name: "refuse", cfg: off, clock: func(c *machine) Clock { return c }, ready: func(c *machine) error {
			if c.Now().Before(refused.Add(-defaultTolerance)) {
				return errBehind
			}
			highWater{c, &refused}.Now()
			return nil
		}},
	}
}

// forgetful is a disk that loses the mark with the process.
func forgetful(s *simulation) { s.disk.forgets = true }

// trusting makes a Manager whose sweep heeds nothing.
func trusting(s *simulation) { s.hasty = true }

// TestScriptsFindPlantedGuards: as few scripts as the test above plays find what is
// wrong with each of these.
func TestScriptsFindPlantedGuards(t *testing.T) {
	race.Alone(t)
	found := func(t *testing.T, want string, plant func(seed uint64) *simulation) {
		t.Helper()
		for seed := range uint64(200) {
			err := plant(seed).play(40)
			if err == nil {
				continue
			}
			if strings.Contains(err.Error(), want) {
				return
			}
		}
		t.Errorf("no script has found that %q", want)
	}
	for harm := range plantedGuards() {
		t.Run(harm, func(t *testing.T) {
			want, _, _ := strings.Cut(harm, ",")
			found(t, want, func(seed uint64) *simulation { return newSimulation(seed, plantedGuards()[harm]) })
		})
	}
	for want, plant := range map[string]func(*simulation){"time is": forgetful, "deleted": trusting} {
		t.Run(want, func(t *testing.T) {
			found(t, want, func(seed uint64) *simulation {
				s := newSimulation(seed, realGuards[0])
				plant(s)
				return s
			})
		})
	}
	t.Run("impatient", func(t *testing.T) { // whoever does not wait for NTP ends everything too often
		guard := realGuards[0]
		guard.cfg.ClockTolerance, guard.cfg.ClockSettle = time.Millisecond, time.Millisecond
		found(t, "has had to log in", func(seed uint64) *simulation { return newSimulation(seed, guard) })
	})
}
