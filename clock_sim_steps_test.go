package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
)

// close is the time that the program is closed for, once it was closed or killed. How
// much of it is excused depends on whether the clock was right throughout.
func (s *simulation) close(killed bool, d time.Duration, meanwhile func()) {
	s.pass(time.Second) // what is due has been written by then
	before := s.time()
	if killed {
		s.at = s.at.Add(-markLag)
	} else {
		s.disk.write()
	}
	noted := !s.touched && s.disk.marks.Mark().Behind == s.disk.written.Behind
	s.machine.truth += d
	s.machine.slept += d
	s.disk.reopen()
	right := s.right()
	if meanwhile != nil {
		meanwhile()
	}
	s.awake = s.machine.Elapsed()
	missed := d - s.time().Sub(before)
	switch {
	case !right || !s.right() || !noted: // a program kept closed while the clock is wrong
		s.hushed = 0
	case missed > 0: // it was wrong before, and that is known
		missed = min(missed, defaultSettle+defaultTolerance+markLag)
	}
	s.excuse(missed)
	s.open()
}

const markLag = 61 * time.Second

func (s *simulation) right() bool { return s.machine.off > -time.Minute && s.machine.off < time.Minute }

func (s *simulation) restart() {
	d := s.between(time.Second, 40*time.Hour)
	s.say("restart", "closed for %v", d)
	s.close(false, d, nil)
}

func (s *simulation) kill() {
	d := s.between(time.Second, time.Hour)
	s.say("kill", "closed for %v", d)
	s.close(true, d, nil)
}

// boot starts the machine anew, often with the clock of a dead battery, which NTP sets
// right soon, and sometimes never.
func (s *simulation) boot() {
	killed, dead := s.IntN(2) == 0, s.IntN(2) == 0
	year := []int{1970, 1980, 2000}[s.IntN(3)]
	d := s.between(time.Minute, 20*time.Hour)
	s.say("boot", "off for %v, killed: %v, dead battery: %v, %d", d, killed, dead, year)
	s.close(killed, d, func() {
		s.machine.boot()
		if dead {
			s.accident(time.Date(year, 1, 1, 0, 0, 7, 0, time.UTC))
		}
	})
	if dead && s.IntN(4) > 0 {
		s.check()
		s.pass(time.Duration(1+s.IntN(300)) * time.Second)
		s.accident(s.machine.begun.Add(s.machine.truth))
	}
}

func (s *simulation) slew() {
	s.machine.ppm = time.Duration(s.IntN(1001) - 500)
	s.say("slew", "%d ppm", s.machine.ppm)
}

func (s *simulation) ntp() {
	if s.right() {
		s.machine.off = time.Duration(s.Int64N(int64(noAccident))) - noAccident/2
		s.say("ntp", "")
	}
}

func (s *simulation) leapSecond() {
	s.say("leap second", "")
	s.machine.off -= time.Second
}

// zone changes what Now returns, and not when it is.
func (s *simulation) zone() {
	s.say("zone", "")
	s.machine.zone = time.FixedZone("", (s.IntN(27)-12)*3600)
}

// jump sets the clock wrong.
func (s *simulation) jump() {
	d := s.between(5*time.Second, 30*365*24*time.Hour)
	if s.IntN(4) == 0 {
		d = time.Hour // daylight saving, by hand
	}
	if s.IntN(2) == 0 {
		d = -d
	}
	s.say("jump", "%v", d)
	s.accident(s.machine.Now().Add(d))
}

func (s *simulation) correct() {
	s.say("correct", "")
	s.accident(s.machine.begun.Add(s.machine.truth))
}

func (s *simulation) accident(to time.Time) {
	before := s.time()
	s.machine.set(to)
	s.pass((steady.LookEvery + 1) * time.Millisecond) // or nobody has looked
	s.accidents++
	s.touched = true
	if s.time().Sub(before) > defaultRetention {
		s.hushed = max(s.hushed, s.machine.truth+steady.Quiet)
	}
}

func (s *simulation) sweep() {
	before := s.disk.deleted
	if s.hasty {
		if _, err := s.disk.Sweep(context.Background(), s.time().Add(-defaultRetention), 100); err != nil {
			panic(err)
		}
	}
	if _, err := s.any().Sweep(context.Background()); err != nil {
		panic(err)
	}
	s.say("sweep", "%d", s.disk.deleted-before)
	if s.disk.deleted > before && s.machine.truth+simSlack < s.hushed {
		s.log = append(s.log, "DELETED")
	}
}
