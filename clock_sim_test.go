package lapse

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
)

var clockScripts = flag.Int("clocks", 500, "how many random scripts TestClockScripts plays")

// simulation is a machine with a program on it that uses lapse, and people who use the
// program. It is played by a script that a seed decides, and checks after every step,
// against what has really passed, that
//
//   - no token is accepted after its true end (by more than what excuse says),
//   - time does not go back, but for a discontinuity, or a minute by a kill,
//   - who logs in gets in,
//   - nobody has had to log in before his token's end more often than there were
//     accidents. An accident is one wrong setting of the clock: a jump away and the
//     correction are two,
//   - nothing was deleted within a day of a discontinuity or a leap.
type simulation struct {
	*rand.Rand
	machine  *machine
	disk     *disk
	guard    guardUnderTest
	managers []*Manager
	people   []*person
	log      []string

	accidents int
	epoch     uint32
	at        time.Time     // Mark.At after the last step
	awake     time.Duration // what had elapsed then
	hushed    time.Duration // the truth until which nothing is to be deleted
	touched   bool          // the clock was set and nobody has looked since
	hasty     bool          // sweeping heeds no quiet time: a fault
	covered   map[string]int
}

// person has one token at a time.
type person struct {
	name   string
	bearer string
	end    time.Duration // the truth at which the token ends
	forced int           // log-ins since the token did not live as long
	idle   bool          // uses nothing
}

// guardUnderTest is what stands between the machine's clock and the Managers.
type guardUnderTest struct {
	name  string
	cfg   Config
	clock func(*machine) Clock
	ready func(*machine) error // refuses, if so; may be nil
}

const (
	simTTL     = time.Hour
	simSlack   = time.Second
	noAccident = 4 * time.Second // by how much NTP sets a clock right
)

var realGuards = []guardUnderTest{
	{name: "looked at", clock: func(c *machine) Clock { return c }},
	{name: "glanced at", clock: func(c *machine) Clock { return quick{c} }},
}

func newSimulation(seed uint64, guard guardUnderTest) *simulation {
	s := &simulation{
		Rand: rand.New(rand.NewPCG(seed, 6)), machine: newMachine(), disk: newDisk(), guard: guard, covered: map[string]int{},
	}
	s.machine.tells = s.IntN(3) > 0
	for _, name := range []string{"ana", "bob", "cy"} {
		s.people = append(s.people, &person{name: name, idle: name == "cy"})
	}
	s.open()
	return s
}

// open starts the program.
func (s *simulation) open() {
	s.managers = nil
	for n := range 1 + s.IntN(2) {
		cfg := s.guard.cfg
		cfg.Clock, cfg.Prefix = s.guard.clock(s.machine), "a"
		cfg.Policy = Policy{TTL: simTTL, Renewal: Renewal(n * int(RenewNever)), MaxTTL: NoLimit, MaxTokens: NoTokenLimit}
		m, err := New(s.disk, cfg)
		if err != nil {
			panic(err)
		}
		s.managers = append(s.managers, m)
	}
}

func (s *simulation) any() *Manager { return s.managers[s.IntN(len(s.managers))] }

// between returns a duration, as likely to be of one size as of another.
func (s *simulation) between(least, most time.Duration) time.Duration {
	d := least
	for d < most && s.IntN(3) > 0 {
		d *= 3
	}
	return min(most, d+time.Duration(s.Int64N(int64(d))))
}

func (s *simulation) say(what, format string, args ...any) {
	s.covered[what]++
	s.log = append(s.log, fmt.Sprintf("%14v %+.1fs ", s.machine.truth, s.machine.off.Seconds())+what+" "+fmt.Sprintf(format, args...))
}

// play returns what was broken, and by what script.
func (s *simulation) play(steps int) error {
	for range steps {
		s.step()
		if err := s.check(); err != nil {
			return fmt.Errorf("%w, under the guard %q after\n%s", err, s.guard.name, strings.Join(s.log, "\n"))
		}
	}
	return nil
}

func (s *simulation) step() {
	steps := []func(){
		s.work, s.work, s.work, s.work, s.wait, s.wait, s.wait, s.suspend, s.restart, s.kill, s.boot,
		s.slew, s.ntp, s.leapSecond, s.zone, s.jump, s.jump, s.correct, s.sweep,
	}
	steps[s.IntN(len(steps))]()
}

// work has people use the program for a while, at least every minute.
func (s *simulation) work() {
	minutes := 1 + s.IntN(20)
	s.say("work", "for %d min", minutes)
	for range minutes {
		s.pass(time.Minute)
		for _, p := range s.people {
			if !p.idle {
				s.use(p)
			}
		}
	}
}

func (s *simulation) wait() {
	d := s.between(time.Second, 40*time.Hour)
	s.say("wait", "%v", d)
	s.pass(d)
}

func (s *simulation) pass(d time.Duration) {
	s.machine.pass(d)
	if d >= time.Second {
		s.disk.flush()
	}
	if s.machine.off > -time.Minute && s.machine.off < time.Minute { // which NTP sees to
		s.machine.off = max(-10*time.Second, min(s.machine.off, 10*time.Second))
	}
}

func (s *simulation) suspend() {
	d := s.between(time.Minute, 60*time.Hour)
	s.say("suspend", "%v, which it tells: %v", d, s.machine.tells)
	before := s.time()
	s.machine.sleep(d)
	s.pass((steady.LookEvery + 1) * time.Millisecond) // or it has not been asked yet
	if s.machine.tells {
		return
	}
	leap := s.time().Sub(before)
	s.excuse(d - leap) // nobody else can know
	if leap > defaultRetention {
		s.hushed = max(s.hushed, s.machine.truth+steady.Quiet)
	}
}

// time is what time must at least be now, by what was seen last.
func (s *simulation) time() time.Time {
	t, wall := s.at, s.machine.Now()
	if !t.IsZero() {
		t = t.Add(s.machine.Elapsed() - s.awake)
	}
	if t.IsZero() || wall.After(t) && (steady.Plausible(wall.UnixMilli()) || !steady.Plausible(t.UnixMilli())) {
		t = wall
	}
	return t
}

// excuse lengthens the true ends by what nobody can know has passed.
func (s *simulation) excuse(d time.Duration) {
	for _, p := range s.people {
		p.end += max(0, d)
	}
}

var errSim = errors.New("broken")

// use is one request of a person, who logs in if that is asked for.
func (s *simulation) use(p *person) {
	if p.bearer != "" && s.refuses() == nil {
		m := s.any()
		if _, err := m.Authenticate(context.Background(), p.bearer); err == nil {
			if m.policy.Renewal == RenewOnUse {
				p.end = max(p.end, s.machine.truth+simTTL)
			}
			return
		}
	}
	s.logIn(p)
}

func (s *simulation) refuses() error {
	if s.guard.ready == nil {
		return nil
	}
	return s.guard.ready(s.machine)
}

// early is how much of a life may be missing for small errors of the clock: they add up
// to the tolerance at most before they are an accident.
const early = defaultTolerance + 30*time.Second

func (s *simulation) logIn(p *person) {
	if p.bearer != "" && s.machine.truth < p.end-early {
		p.forced++
	}
	p.bearer = ""
	if s.refuses() != nil {
		return
	}
	if i, err := s.any().Issue(context.Background(), Grant{Subject: p.name}); err == nil {
		p.bearer, p.end = i.Bearer, s.machine.truth+simTTL
	}
}
