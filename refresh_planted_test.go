package lapse_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// memo is what a wrong refresher knows of a token that it has rotated.
type memo struct {
	given lapse.Credentials
	at    time.Time
}

// cached gives what it gave before to whoever asks again, which is wrong in the way
// that its fields say.
type cached struct {
	seen    map[string]*memo
	restart bool // a replay starts the grace anew
	used    bool // what was given is given again although it has been used
}

func (c cached) Refresh(p *pairs, token string) (lapse.Credentials, error) {
	now := p.clock.Now()
	if m := c.seen[token]; m != nil && now.Before(m.at.Add(theftGrace)) && (c.used || c.seen[m.given.Refresh.Bearer] == nil) {
		if c.restart {
			m.at = now
		}
		return m.given, nil
	}
	given, err := p.Refresh(p.ctx, token)
	if err == nil && !given.Repeated {
		c.seen[token] = &memo{given, now}
	}
	return given, err
}

// forgiving refuses an ancestor without a consequence.
type forgiving struct{ seen map[string]string }

func (f forgiving) Refresh(p *pairs, token string) (lapse.Credentials, error) {
	if next := f.seen[token]; next != "" && f.seen[next] != "" {
		return lapse.Credentials{}, lapse.ErrReused
	}
	given, err := p.Refresh(p.ctx, token)
	if err == nil {
		f.seen[token] = given.Refresh.Bearer
	}
	return given, err
}

// halfway ends the refresh token of a family that was robbed, and not its access
// tokens.
type halfway struct {
	tip map[lapse.ID]lapse.Credentials
}

func (h halfway) Refresh(p *pairs, token string) (lapse.Credentials, error) {
	for _, c := range h.tip { // where it would come to reuse
		if c.Refresh.Bearer != token && h.isOld(p, token) {
			_, err := p.Manager.Expire(p.ctx, c.Refresh.ID)
			return lapse.Credentials{}, errors.Join(lapse.ErrReused, err)
		}
	}
	given, err := p.Refresh(p.ctx, token)
	if err == nil {
		clear(h.tip)
		h.tip[given.Refresh.ID] = given
	}
	return given, err
}

// isOld reports whether token was rotated and can be nothing but reused.
func (h halfway) isOld(p *pairs, token string) bool {
	id, err := lapse.ParseID(token[strings.LastIndexByte(token, '_')+1:][:22])
	if err != nil {
		return false
	}
	tok := p.token(id)
	next, known := h.tip[tok.Successor]
	return tok.EndReason == lapse.EndRotated && (!known || next.Refresh.ID != tok.Successor || !p.clock.Now().Before(tok.EndedAt.Add(theftGrace)))
}

// lossy rotates anew for whoever asks again: the first of the two is locked out.
type lossy struct{}

func (lossy) Refresh(p *pairs, token string) (lapse.Credentials, error) {
	given, err := p.Refresh(p.ctx, token)
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
		"reuse of an ancestor is forgiven":      func() refresher { return forgiving{map[string]string{}} },
		"access tokens survive the reuse":       func() refresher { return halfway{map[lapse.ID]lapse.Credentials{}} },
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
