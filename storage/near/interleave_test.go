package near

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

var interleavings = flag.Int("interleavings", 500, "how many interleavings of fill, end, gap, probe and freeze TestEndsWait plays")

// lease is that of the tests, and step how far a clock goes at a time.
const (
	lease = 400 * time.Millisecond
	step  = 50 * time.Millisecond
)

// machine is a process with copies. What the store tells it waits in a queue until the test delivers it.
type machine struct {
	s     *Store
	queue []storage.Change
	deaf  bool // the connection is lost: nothing reaches the queue

	asked time.Duration // a probe was sent at this instant, and is not answered yet
	fill  *reading
}

// reading is a Get that has begun.
type reading struct {
	f      *fill
	rec    storage.Record
	readAt time.Duration
	read   bool
}

// fleet is some machines, the record of one token in the store that they share, and one true time.
type fleet struct {
	now      time.Duration
	rec      storage.Record
	machines []*machine
	returned time.Duration // when the call returned that ended the token; 0: not yet
	ended    time.Duration // when the end was committed; 0: not yet
	told     time.Duration // when its notice was sent
	endsWait bool
	noFence  bool // planted: a read under way is kept whatever is told meanwhile
	lie      bool // planted: a proof counts for changes that are still in the queue
}

func newFleet(machines int, endsWait bool) *fleet {
	f := &fleet{now: time.Second, endsWait: endsWait}
	f.rec = storage.Record{Token: storage.Token{ID: storage.ID{1, 13: 7}, Subject: "ana", ExpiresAt: time.Unix(1e9, 0)}}
	for range machines {
		m := &machine{s: &Store{lease: lease, elapsed: func() time.Duration { return f.now }}}
		m.s.copies.init(1000)
		f.machines = append(f.machines, m)
	}
	return f
}

// tell puts a change into the queue of every machine that hears.
func (f *fleet) tell(c storage.Change) {
	for _, m := range f.machines {
		if !m.deaf {
			m.queue = append(m.queue, c)
		}
	}
}

// act is one random step of the fleet, and its name.
func (f *fleet) act(r *rand.Rand) string {
	m := f.machines[r.IntN(len(f.machines))]
	switch r.IntN(12) {
	case 0, 1:
		f.now += step * time.Duration(1+r.IntN(3))
		return "time passes"
	case 2, 3:
		return m.readOn(f)
	case 4:
		if f.ended == 0 && r.IntN(4) == 0 {
			f.rec.EndedAt = time.Unix(1, 0)
			f.ended = f.now
			return "end committed"
		}
	case 5:
		if f.ended != 0 && f.told == 0 {
			f.tell(storage.Change{ID: f.rec.ID})
			f.told = f.now
			return "end told"
		}
	case 6:
		if f.told != 0 && f.returned == 0 && (!f.endsWait || f.now >= f.told+lease) {
			f.returned = f.now
			return "end returned"
		}
	case 7, 8:
		return m.probe(f)
	case 9, 10:
		return m.deliver(f)
	case 11:
		return m.breakOff()
	}
	return ""
}

// readOn takes the Get of m one step further.
func (m *machine) readOn(f *fleet) string {
	switch {
	case m.fill == nil:
		m.fill = &reading{f: m.s.copies.begin(f.rec.ID), readAt: f.now}
		return "fill begins"
	case !m.fill.read:
		m.fill.rec, m.fill.read = f.rec, true
		return "fill reads"
	}
	if f.noFence {
		m.fill.f.dropped = false
	}
	m.s.copies.finish(m.fill.f, &m.fill.rec, m.fill.readAt, kept(&m.fill.rec))
	m.fill = nil
	return "fill ends"
}

// probe sends a probe, or has the answer come, which is behind all that was told before it was sent.
func (m *machine) probe(f *fleet) string {
	switch {
	case m.deaf:
		return ""
	case m.asked == 0:
		m.asked = f.now
		return "probe sent"
	}
	proof := storage.Change{AsOf: m.asked}
	if f.lie {
		proof.AsOf = f.now
		m.s.hear(proof, func() {})
	} else {
		m.queue = append(m.queue, proof)
	}
	m.asked = 0
	return "probe answered"
}

// deliver has the listener of m act on the first thing in its queue.
func (m *machine) deliver(*fleet) string {
	if len(m.queue) == 0 {
		return ""
	}
	c := m.queue[0]
	m.queue = m.queue[1:]
	m.s.hear(c, func() {})
	return fmt.Sprintf("heard %+v", c)
}

// breakOff loses the connection of m, or restores it: then the watch begins with a Gap.
func (m *machine) breakOff() string {
	m.asked = 0
	if m.deaf = !m.deaf; m.deaf {
		m.queue = nil
		return "connection lost"
	}
	m.queue = append(m.queue, storage.Change{Gap: true})
	return "connection restored"
}

// check has every machine check the token, and returns how long ago the end returned, or was told, where
// a machine accepts the token after that.
func (f *fleet) check() (afterReturn, afterTold time.Duration, stale bool) {
	for _, m := range f.machines {
		rec, ok := m.s.Cached(f.rec.ID)
		if !ok || !rec.EndedAt.IsZero() {
			continue
		}
		if f.returned != 0 && f.now > f.returned {
			afterReturn, stale = max(afterReturn, f.now-f.returned), true
		}
		if f.told != 0 {
			afterTold = max(afterTold, f.now-f.told)
		}
	}
	return afterReturn, afterTold, stale
}

// play plays one interleaving, and returns its worst stale acceptance, and what led to it.
func play(seed uint64, plant func(*fleet)) (stale bool, afterTold time.Duration, log []string) {
	r := rand.New(rand.NewPCG(seed, 20))
	f := newFleet(3, true)
	plant(f)
	for range 120 {
		if said := f.act(r); said != "" {
			log = append(log, fmt.Sprint(f.now, " ", said))
		}
		_, told, bad := f.check()
		stale, afterTold = stale || bad, max(afterTold, told)
	}
	return stale, afterTold, log
}

// TestEndsWait plays interleavings of three machines. Once an end has returned, none accepts the token.
// Without EndsWait one does, until the lease is over and no longer.
func TestEndsWait(t *testing.T) {
	accepted := 0
	for seed := range uint64(*interleavings) {
		stale, told, log := play(seed, func(*fleet) {})
		if stale {
			t.Fatalf("interleaving %d: a machine accepts the token after its end has returned:\n%q", seed, log)
		}
		late, told2, log := play(seed, func(f *fleet) { f.endsWait = false })
		if max(told, told2) >= lease {
			t.Fatalf("interleaving %d: a machine accepts the token %v after all were told:\n%q", seed, max(told, told2), log)
		}
		if late {
			accepted++
		}
	}
	if accepted == 0 {
		t.Error("no interleaving without EndsWait has accepted a token after its end: the play finds nothing")
	}
	t.Logf("%d interleavings: 0 stale with EndsWait, %d without", *interleavings, accepted)
}

// TestEndsWaitFindsFaults: each planted fault is found.
func TestEndsWaitFindsFaults(t *testing.T) {
	for name, plant := range map[string]func(*fleet){
		"keeps what was read before a change":     func(f *fleet) { f.noFence = true },
		"takes a proof for what is still to come": func(f *fleet) { f.lie = true },
		"has a lease that is longer here":         func(f *fleet) { f.machines[1].s.lease *= 3 },
		"counts by a clock that stood still": func(f *fleet) {
			m := f.machines[0]
			m.s.elapsed = func() time.Duration { return min(f.now, 2*time.Second) } // the machine was suspended meanwhile
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20_000) {
				if stale, _, _ := play(seed, plant); stale {
					return
				}
			}
			t.Error("not found in 20,000 interleavings")
		})
	}
}
