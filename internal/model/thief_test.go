package model

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

var thiefSteps = flag.Int("thiefsteps", 5, "up to how many steps of a client and a thief are tried in every order; 8 takes a minute")

// step is what one of the two does, or that time passes.
type step byte

const (
	clientRefreshes step = 'c' // and gets the answer
	clientLoses     step = 'l' // refreshes, and the answer is lost: what was asked with is asked with again
	thiefSteals     step = 's' // whatever the client holds
	thiefRefreshes  step = 't'
	timePasses      step = '+' // half of the grace
	graceEnds       step = '*'
)

const theftGrace = 10 * time.Second

// robbed is what Pairs does with a session, said once more: its refresh texts are numbers
// in the order in which they come to be.
type robbed struct {
	now      time.Duration
	replaced map[int]time.Duration // when each was
	tip      int
	dead     bool
}

// refresh returns the number of the text that presenting n gives.
func (f *robbed) refresh(n int) (int, error) {
	at, replaced := f.replaced[n]
	switch {
	case replaced && n == f.tip-1 && f.now < at+theftGrace:
		if f.dead {
			return 0, lapse.ErrRevoked
		}
		return f.tip, nil
	case replaced:
		f.dead = true
		return 0, lapse.ErrReused
	case f.dead:
		return 0, lapse.ErrRevoked
	}
	f.replaced[n] = f.now
	f.tip++
	return f.tip, nil
}

// robbedPairs is a Pairs on memory, with its clock.
type robbedPairs struct {
	*lapse.Pairs
	ctx   context.Context
	clock *lapsetest.StepClock
}

func newRobbedPairs(t *testing.T) *robbedPairs {
	t.Helper()
	p := &robbedPairs{ctx: context.Background(), clock: lapsetest.NewClock()}
	made, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: p.clock}, Grace: theftGrace})
	if err != nil {
		t.Fatal(err)
	}
	p.Pairs = made
	return p
}

// refresher is Pairs, or something that is nearly as good.
type refresher interface {
	Refresh(p *robbedPairs, text string) (lapse.TokenPair, error)
}

type asItIs struct{}

func (asItIs) Refresh(p *robbedPairs, text string) (lapse.TokenPair, error) {
	return p.Refresh(p.ctx, text)
}

// act has the steps happen to p and to the model, and says where they part, or which
// promise was broken.
func act(p *robbedPairs, r refresher, subject string, steps []step) error {
	first, err := p.Issue(p.ctx, lapse.Grant{Subject: subject})
	if err != nil {
		return err
	}
	all := []lapse.TokenPair{first} // by number
	f := &robbed{replaced: map[int]time.Duration{}}
	client, thief, lost, late, stolen := 0, -1, false, false, false
	for _, s := range steps {
		who := &client
		switch s {
		case thiefSteals:
			thief = client
			continue
		case timePasses, graceEnds:
			d := map[step]time.Duration{timePasses: theftGrace / 2, graceEnds: theftGrace}[s]
			f.now += d
			p.clock.Add(d)
			late = late || lost && f.now >= f.replaced[client]+theftGrace
			continue
		case thiefRefreshes:
			who, stolen = &thief, true
		}
		want, wantErr := f.refresh(*who)
		got, err := r.Refresh(p, all[*who].Refresh.Bearer)
		switch {
		case !errors.Is(err, wantErr):
			return fmt.Errorf("%c with text %d: %v; want %v", s, *who, err, wantErr)
		case err != nil && s != thiefRefreshes && !stolen && !late:
			return fmt.Errorf("%c: without a theft and within the grace the client is out: %v", s, err)
		case err == nil && want == len(all):
			all = append(all, got)
		case err == nil && (got.Refresh.Bearer != all[want].Refresh.Bearer || got.Access.Bearer != all[want].Access.Bearer):
			return fmt.Errorf("%c with text %d: not the credentials of before", s, *who)
		}
		if s != clientLoses && err == nil {
			*who = want
		}
		if s != thiefRefreshes {
			lost = s == clientLoses && err == nil
		}
		if err := out(p, f, all); err != nil {
			return fmt.Errorf("after %c: %w", s, err)
		}
	}
	return nil
}

// out checks that once the session is dead none of its texts works, and that until then
// the newest access text does.
func out(p *robbedPairs, f *robbed, all []lapse.TokenPair) error {
	if !f.dead {
		_, err := p.Access().Peek(p.ctx, all[f.tip].Access.Bearer)
		return err
	}
	for n, c := range all {
		if _, err := p.Access().Peek(p.ctx, c.Access.Bearer); !errors.Is(err, lapse.ErrUnauthenticated) {
			return fmt.Errorf("access text %d after reuse: %v", n, err)
		}
	}
	return nil
}

// follows are the steps that say something after those so far: time passes between two
// things that happen, and there is a theft before a thief.
func follows(sofar []step, n int) (next []step) {
	var last step
	if len(sofar) > 0 {
		last = sofar[len(sofar)-1]
	}
	between := len(sofar) > 0 && len(sofar) < n-1
	for _, s := range []step{clientRefreshes, clientLoses, thiefSteals, thiefRefreshes, timePasses, graceEnds} {
		ok := true
		switch s {
		case thiefSteals:
			ok = last != thiefSteals
		case thiefRefreshes:
			ok = slices.Contains(sofar, thiefSteals)
		case timePasses:
			ok = between && last != graceEnds
		case graceEnds:
			ok = between && last != graceEnds && last != timePasses
		}
		if ok {
			next = append(next, s)
		}
	}
	return next
}

// orders yields every sequence of n such steps.
func orders(n int) iter.Seq[[]step] {
	return func(yield func([]step) bool) {
		var extend func(sofar []step) bool
		extend = func(sofar []step) bool {
			if len(sofar) == n {
				return yield(sofar)
			}
			for _, s := range follows(sofar, n) {
				if !extend(append(sofar[:len(sofar):len(sofar)], s)) {
					return false
				}
			}
			return true
		}
		extend(nil)
	}
}

// draws yields count sequences of n such steps at random.
func draws(rng *rand.Rand, count, n int) iter.Seq[[]step] {
	return func(yield func([]step) bool) {
		for range count {
			var steps []step
			for len(steps) < n {
				next := follows(steps, n)
				steps = append(steps, next[rng.IntN(len(next))])
			}
			if !yield(steps) {
				return
			}
		}
	}
}

// firstFault plays each sequence with r, by a subject of its own, and returns how many
// that were and the first that went wrong.
func firstFault(t *testing.T, r refresher, sequences iter.Seq[[]step]) (played int, fault error) {
	p := newRobbedPairs(t)
	for steps := range sequences {
		if err := act(p, r, fmt.Sprint("ana ", played), steps); err != nil {
			return played, fmt.Errorf("%s: %w", steps, err)
		}
		played++
	}
	return played, nil
}

// TestClientAndThief plays all orders up to a few steps, and some of eight.
func TestClientAndThief(t *testing.T) {
	race.Alone(t)
	for n := 1; n <= *thiefSteps; n++ {
		played, fault := firstFault(t, asItIs{}, orders(n))
		if fault != nil {
			t.Fatal(fault)
		}
		t.Logf("%d orders of %d steps", played, n)
	}
	seed := rand.Uint64()
	if _, fault := firstFault(t, asItIs{}, draws(rand.New(rand.NewPCG(seed, 0)), 500, 8)); fault != nil {
		t.Fatalf("seed %d: %v", seed, fault)
	}
}

// memo is what a wrong refresher knows of a text that it has replaced.
type memo struct {
	given lapse.TokenPair
	at    time.Time
}

// cached gives what it gave before to each caller that asks again, which is wrong in the
// way that its fields say.
type cached struct {
	seen    map[string]*memo
	restart bool // a replay starts another grace
	used    bool // what was given is given again although it has been used
}

func (c cached) Refresh(p *robbedPairs, text string) (lapse.TokenPair, error) {
	now := p.clock.Now()
	if m := c.seen[text]; m != nil && now.Before(m.at.Add(theftGrace)) && (c.used || c.seen[m.given.Refresh.Bearer] == nil) {
		if c.restart {
			m.at = now
		}
		return m.given, nil
	}
	given, err := p.Refresh(p.ctx, text)
	if err == nil && !given.Repeated {
		c.seen[text] = &memo{given, now}
	}
	return given, err
}

// forgiving refuses a spent text without a consequence.
type forgiving struct{ seen map[string]string }

func (f forgiving) Refresh(p *robbedPairs, text string) (lapse.TokenPair, error) {
	if next := f.seen[text]; next != "" && f.seen[next] != "" {
		return lapse.TokenPair{}, lapse.ErrReused
	}
	given, err := p.Refresh(p.ctx, text)
	if err == nil {
		f.seen[text] = given.Refresh.Bearer
	}
	return given, err
}

// strict takes every replay for a theft, within the grace too.
type strict struct{}

func (strict) Refresh(p *robbedPairs, text string) (lapse.TokenPair, error) {
	given, err := p.Refresh(p.ctx, text)
	if err == nil && given.Repeated {
		return lapse.TokenPair{}, errors.Join(lapse.ErrReused, lapsetest.LoggedOut(p.ExpireBearer(p.ctx, text)))
	}
	return given, err
}

// lossy replaces both secrets for each caller that asks again: the first of two is locked
// out.
type lossy struct{}

func (lossy) Refresh(p *robbedPairs, text string) (lapse.TokenPair, error) {
	given, err := p.Refresh(p.ctx, text)
	if err == nil && given.Repeated {
		return p.Refresh(p.ctx, given.Refresh.Bearer)
	}
	return given, err
}

// TestThiefIsCaught: the orders that find nothing wrong with Refresh find what is wrong
// with each of these.
func TestThiefIsCaught(t *testing.T) {
	for name, plant := range map[string]func() refresher{
		"the grace is restarted by replays":     func() refresher { return cached{seen: map[string]*memo{}, restart: true} },
		"what has been used is given again":     func() refresher { return cached{seen: map[string]*memo{}, used: true} },
		"reuse of a spent text is forgiven":     func() refresher { return forgiving{map[string]string{}} },
		"a replay within the grace is a theft":  func() refresher { return strict{} },
		"a replay makes credentials of its own": func() refresher { return lossy{} },
	} {
		caught := false
		for n := 1; n <= 5 && !caught; n++ {
			if _, fault := firstFault(t, plant(), orders(n)); fault != nil {
				caught = true
				t.Logf("%s: %v", name, fault)
			}
		}
		if !caught {
			t.Errorf("%s, and no order of up to 5 steps shows it", name)
		}
	}
}
