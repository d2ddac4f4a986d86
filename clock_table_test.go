package lapse

import (
	"context"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/race"
)

// shift is twelve hours of one machine, on which somebody uses a program all the time:
// he logs in when he is asked to, with a token of an hour.
type shift struct {
	t       *testing.T
	machine *machine
	disk    *disk
	guard   guardUnderTest
	m       *Manager
	tokens  map[string]time.Duration // the true ends, by bearer
	bearer  string

	late, locked time.Duration
	logIns       int
}

func newShift(t *testing.T, guard guardUnderTest) *shift {
	s := &shift{t: t, machine: newMachine(), disk: newDisk(), guard: guard, tokens: map[string]time.Duration{}}
	s.open()
	return s
}

func (s *shift) open() {
	cfg := s.guard.cfg
	cfg.Clock, cfg.Policy = s.guard.clock(s.machine), Policy{TTL: time.Hour, Renewal: RenewNever}
	m, err := New(s.disk, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.m = m
}

// closed is a time with the program closed, after which the clock says what it is told.
func (s *shift) closed(d time.Duration, wall time.Time) {
	s.disk.write()
	s.machine.truth += d
	s.disk.reopen()
	s.machine.boot()
	s.machine.set(wall)
	s.open()
}

// second is what happens in one.
func (s *shift) second() {
	s.machine.pass(time.Second)
	s.disk.flush()
	if s.guard.ready != nil && s.guard.ready(s.machine) != nil {
		s.locked += time.Second
		return
	}
	late := false
	for bearer, end := range s.tokens {
		_, err := s.m.Peek(context.Background(), bearer)
		late = late || err == nil && s.machine.truth >= end+simSlack
		if err == nil {
			continue
		}
		if bearer == s.bearer {
			s.bearer = ""
		}
		delete(s.tokens, bearer)
	}
	if late {
		s.late += time.Second
	}
	if s.bearer != "" {
		return
	}
	s.logIns++
	i, err := s.m.Issue(context.Background(), Grant{Subject: "ana"})
	if err == nil {
		_, err = s.m.Peek(context.Background(), i.Bearer)
	}
	if err != nil {
		s.locked += time.Second
		return
	}
	s.bearer = i.Bearer
	s.tokens[i.Bearer] = s.machine.truth + time.Hour
}

// TestClockAccidents plays accidents under the obvious guards and under this one, which
// lets nobody in late and locks nobody out.
func TestClockAccidents(t *testing.T) {
	race.Alone(t)
	truth := func(s *shift) time.Time { return s.machine.begun.Add(s.machine.truth) }
	for _, row := range []struct {
		name            string
		at              func(s *shift, second int)
		none, ref, high [2]bool // late, locked: what the obvious guards do
		late            time.Duration
		logIns          int // without an accident there are 12
	}{
		{"nothing happens", func(*shift, int) {}, [2]bool{}, [2]bool{}, [2]bool{}, 0, 12},
		{"set back 2 h after a token ran out", func(s *shift, n int) {
			if n == 3700 {
				s.machine.off -= 2 * time.Hour
			}
		}, [2]bool{true, false}, [2]bool{true, true}, [2]bool{true, false}, 0, 13},
		{"set back 4 min every 4 min", func(s *shift, n int) {
			if n%240 == 0 {
				s.machine.off -= 4 * time.Minute
			}
		}, [2]bool{true, false}, [2]bool{true, false}, [2]bool{true, false}, 0, 72},
		{"10 years ahead for 5 min, then corrected", func(s *shift, n int) {
			if n == 1000 {
				s.machine.off += 10 * 365 * 24 * time.Hour
			}
			if n == 1300 {
				s.machine.off = 0
			}
		}, [2]bool{true, false}, [2]bool{false, true}, [2]bool{true, false}, 0, 14},
		{"no battery: 26 years back for 90 s after a boot, then NTP", func(s *shift, n int) {
			if n == 1000 {
				s.closed(time.Minute, truth(s).AddDate(-26, 0, 0))
			}
			if n == 1090 {
				s.machine.off = 0
			}
		}, [2]bool{}, [2]bool{false, true}, [2]bool{}, 0, 13}, // the thirteenth is in the minute of the boot
		{"NTP steps back 3 s every 10 min", func(s *shift, n int) {
			if n%600 == 0 {
				s.machine.off -= 3 * time.Second
			}
		}, [2]bool{true, false}, [2]bool{true, false}, [2]bool{true, false}, 0, 12},
		{"closed for 8 h, the owner sets the clock to the last use", func(s *shift, n int) {
			if n == 400 {
				s.closed(8*time.Hour, truth(s))
			}
		}, [2]bool{true, false}, [2]bool{true, false}, [2]bool{true, false}, 3200 * time.Second, 12},
	} {
		t.Run(row.name, func(t *testing.T) {
			play := func(guard guardUnderTest) *shift {
				s := newShift(t, guard)
				for n := range 12 * 3600 {
					row.at(s, n)
					s.second()
				}
				return s
			}
			for harm, guard := range plantedGuards() {
				want := map[string][2]bool{"none": row.none, "refuse": row.ref, "max": row.high}[guard.name]
				if s := play(guard); [2]bool{s.late > 0, s.locked > 0} != want {
					t.Errorf("%s (%s): late %v, locked out %v; want %v", guard.name, harm, s.late, s.locked, want)
				}
			}
			for _, guard := range realGuards {
				s := play(guard)
				if s.late > row.late+simSlack || row.late > 0 && s.late == 0 || s.locked > 0 || s.logIns > row.logIns {
					t.Errorf("%s: late %v, locked out %v, %d log-ins; want %v, 0, at most %d",
						guard.name, s.late, s.locked, s.logIns, row.late, row.logIns)
				}
				t.Logf("%s: late %v, locked out %v, %d log-ins", guard.name, s.late, s.locked, s.logIns)
			}
		})
	}
}
