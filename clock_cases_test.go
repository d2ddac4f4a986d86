package lapse

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestTimeIsAsFastAsWhatElapses: a wall clock that stands still, or is set back a little
// all the time, slows nothing down.
func TestTimeIsAsFastAsWhatElapses(t *testing.T) {
	for name, steps := range map[string]func(c *machine){
		"frozen":   func(c *machine) { c.off -= 50 * time.Millisecond },
		"set back": func(c *machine) { c.off -= 51 * time.Millisecond },
	} {
		for _, guard := range realGuards {
			c := newMachine()
			m, err := New(newDisk(), Config{Clock: guard.clock(c)})
			if err != nil {
				t.Fatal(err)
			}
			begun := m.now()
			for range 60 * 20 {
				c.pass(50 * time.Millisecond)
				steps(c)
				if got := m.now().Sub(begun); got < c.truth-time.Millisecond || got > c.truth {
					t.Fatalf("%s, %s: %v have passed, and time says %v", name, guard.name, c.truth, got)
				}
			}
		}
	}
}

// TestSuspendIsTime: what the machine slept counts at the first call, by its own account
// or by the clock's.
func TestSuspendIsTime(t *testing.T) {
	for name, c := range map[string]*machine{
		"it tells, the clock was set back": {begun: testInstant, tells: true, zone: time.UTC, off: -8 * time.Hour},
		"the clock tells":                  {begun: testInstant, zone: time.UTC},
	} {
		off := c.off
		c.off = 0
		m, err := New(newDisk(), Config{Clock: c, Policy: Policy{TTL: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		i := issueTo(t, m, Grant{Subject: "ana"})
		c.sleep(8 * time.Hour)
		c.off = off
		if _, err := m.Authenticate(t.Context(), i.Bearer); !errors.Is(err, ErrExpired) {
			t.Errorf("%s: %v; want ErrExpired", name, err)
		}
		if tok, err := m.Token(t.Context(), i.ID); err != nil || !tok.ExpiresAt.Equal(i.ExpiresAt) {
			t.Errorf("%s: it was renewed: %v, %v", name, tok, err)
		}
	}
}

// TestWildReadings: one reading that cannot be moves nothing, and neither panics nor
// locks out anybody.
func TestWildReadings(t *testing.T) {
	for name, wild := range map[string]time.Time{
		"the zero time": {}, "year -1": time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), "1601": time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC),
		"1970": time.Unix(0, 0), "2000": time.Date(2000, 12, 31, 23, 59, 59, 0, time.UTC), "2200": time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		"2262, where nanoseconds end": time.Unix(0, math.MaxInt64), "9999": time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		"10000": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "the end of time": time.Unix(math.MaxInt64, 0), "its beginning": time.Unix(math.MinInt64, 0),
	} {
		t.Run(name, func(t *testing.T) {
			wall := &wallClock{machine: newMachine()}
			disk := newDisk()
			m, err := New(disk, Config{Clock: wall, Policy: Policy{TTL: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			i := issueTo(t, m, Grant{Subject: "ana"})
			wall.says = wild
			for range 3 {
				wall.pass(20 * time.Minute)
				m.Sweep(t.Context())
				if _, err := m.Authenticate(t.Context(), i.Bearer); err != nil {
					t.Fatalf("meanwhile: %v", err)
				}
				if _, err := m.Peek(t.Context(), issueTo(t, m, Grant{Subject: "bob"}).Bearer); err != nil {
					t.Fatalf("who logs in meanwhile: %v", err)
				}
			}
			if mark := disk.marks.Mark(); mark.At.Sub(wall.machine.Now()) > 0 || mark.Epoch != 0 {
				t.Errorf("the mark: %+v", mark)
			}
			wall.says = time.Time{}.Add(-1)
			if wall.says = testInstant.Add(wall.truth); m.now().Sub(wall.says) > 0 {
				t.Errorf("right again: %v, and it is %v", m.now(), wall.says)
			}
		})
	}
}

// wallClock is a machine whose wall clock says what it is told, once it is told.
type wallClock struct {
	*machine
	says time.Time
}

func (c *wallClock) Now() time.Time {
	if c.says.IsZero() && c.truth == 0 {
		return c.machine.Now()
	}
	return c.says
}

// TestTheCalendarEnds: time stands still at the last instant, and nothing wraps.
func TestTheCalendarEnds(t *testing.T) {
	c := newMachine()
	c.begun = time.UnixMilli(steady.LastInstant - 10)
	disk := newDisk()
	m, err := New(disk, Config{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if got := m.now(); got.UnixMilli() > steady.LastInstant || got.UnixMilli() < steady.LastInstant-10 {
			t.Fatalf("now = %v", got)
		}
		c.pass(5 * time.Millisecond)
	}
	c.begun = time.Time{}
	if got := m.now().UnixMilli(); got != steady.LastInstant {
		t.Errorf("now = %d; want the last instant", got)
	}
}

// TestMarkFromTheFuture: a store that has seen a clock that was wrong, or has lost its
// mark, ends what it holds and locks out nobody. Of a mark that is 100 years ahead that
// takes the settle time, all runs of the program together.
func TestMarkFromTheFuture(t *testing.T) {
	for name, row := range map[string]struct {
		mark storage.Mark
		runs int // of a minute each, until it is known
	}{
		"100 years ahead":           {storage.Mark{At: testInstant.AddDate(100, 0, 0)}, 10},
		"300 years ahead":           {storage.Mark{At: testInstant.AddDate(300, 0, 0), Epoch: 3, Since: testInstant}, 10},
		"at the end of time":        {storage.Mark{At: time.UnixMilli(steady.LastInstant - time.Hour.Milliseconds()*24)}, 10},
		"lost":                      {storage.Mark{Epoch: 7}, 0},
		"behind when used last":     {storage.Mark{At: testInstant.Add(-time.Minute), Behind: testInstant.Add(-time.Hour)}, 0},
		"behind just before":        {storage.Mark{At: testInstant.Add(time.Hour), Behind: testInstant.Add(-9 * time.Minute)}, 1},
		"before it began":           {storage.Mark{At: testInstant.Add(-time.Hour)}, -1},
		"behind since a later time": {storage.Mark{At: testInstant.Add(time.Hour), Behind: testInstant.Add(time.Minute)}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, Config{Policy: Policy{TTL: 30 * time.Minute, MaxTTL: NoLimit}})
			g.disk.written = row.mark
			known := -1
			for run := range 15 {
				g.machine.pass(100 * time.Millisecond)
				g.disk.reopen()
				g.Manager = g.open()
				bearer := g.logIn()
				if g.tells("a new token", bearer, nil); g.discontinuities() > 0 && known < 0 {
					known = run
				}
				g.disk.write()
				g.machine.pass(time.Minute)
			}
			if n := g.discontinuities(); known != row.runs || n > 1 {
				t.Errorf("known in run %d, %d times; want run %d", known, n, row.runs)
			}
			if now, wall := g.now(), steady.Normalise(g.machine.Now()); !now.Equal(wall) {
				t.Errorf("time is %v, and the clock says %v", now, wall)
			}
		})
	}
}

// TestTwoClocks: as long as one of those on a store keeps up, one that is behind ends
// nothing, and time is that of the one ahead.
func TestTwoClocks(t *testing.T) {
	g := newGuarded(t, Config{Policy: Policy{TTL: day}})
	right := g.Manager
	slow := *g.machine
	behind, err := New(g.disk, Config{Clock: &slow})
	if err != nil {
		t.Fatal(err)
	}
	slow.off -= time.Hour
	bearer := g.logIn()
	last := time.Time{}
	for range 90 {
		g.machine.pass(time.Minute)
		slow.pass(time.Minute)
		for _, m := range []*Manager{right, behind, right, behind} {
			if now := m.now(); now.Before(last) {
				t.Fatalf("time went back from %v to %v", last, now)
			} else {
				last = now
			}
			if _, err := m.Peek(t.Context(), bearer); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 12 { // nobody else says anything
		slow.pass(time.Minute)
		behind.Peek(t.Context(), bearer)
	}
	if _, err := behind.Peek(t.Context(), bearer); !errors.Is(err, ErrRevoked) {
		t.Errorf("alone with a clock that is behind: %v; want ErrRevoked", err)
	}
}

// TestLeapIsNotSwept: what elapsed time explains is swept at once, what it does not is
// left for a day.
func TestLeapIsNotSwept(t *testing.T) {
	for name, row := range map[string]struct {
		pass func(g *guarded)
		want int
	}{
		"three days went by":         {func(g *guarded) { g.machine.pass(3 * day) }, 1},
		"it slept, and says so":      {func(g *guarded) { g.machine.sleep(3 * day) }, 1},
		"the clock leapt":            {func(g *guarded) { g.machine.off += 3 * day }, 0},
		"it leapt by less":           {func(g *guarded) { g.machine.pass(2 * day); g.machine.off += 23 * time.Hour }, 1},
		"it leapt twice":             {func(g *guarded) { g.machine.off += 23 * time.Hour; g.now(); g.machine.off += 23 * time.Hour }, 0},
		"closed for three days":      {func(g *guarded) { g.machine.pass(3 * day); g.disk.reopen(); g.Manager = g.open() }, 1},
		"closed for a decade":        {func(g *guarded) { g.machine.off += 3650 * day; g.disk.reopen(); g.Manager = g.open() }, 0},
		"a leap, and a day in which": {func(g *guarded) { g.machine.off += 3 * day; g.now(); g.machine.pass(day - time.Minute) }, 0},
		"a leap, and a day":          {func(g *guarded) { g.machine.off += 3 * day; g.now(); g.machine.pass(day + time.Minute) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, Config{})
			g.logIn()
			row.pass(g)
			if n, err := g.Sweep(t.Context()); n != row.want || err != nil {
				t.Errorf("swept %d, %v; want %d", n, err, row.want)
			}
		})
	}
}
