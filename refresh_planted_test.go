package lapse_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

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

func (c cached) Refresh(p *pairs, text string) (lapse.TokenPair, error) {
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

func (f forgiving) Refresh(p *pairs, text string) (lapse.TokenPair, error) {
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

func (strict) Refresh(p *pairs, text string) (lapse.TokenPair, error) {
	given, err := p.Refresh(p.ctx, text)
	if err == nil && given.Repeated {
		return lapse.TokenPair{}, errors.Join(lapse.ErrReused, loggedOut(p.ExpireBearer(p.ctx, text)))
	}
	return given, err
}

// lossy replaces both secrets for each caller that asks again: the first of two is locked
// out.
type lossy struct{}

func (lossy) Refresh(p *pairs, text string) (lapse.TokenPair, error) {
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
