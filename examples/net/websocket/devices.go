package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// online has the connections of all people. The zero value has none.
type online struct {
	mu     sync.Mutex
	people map[string]map[*connection]bool // by subject
}

func (o *online) join(c *connection) {
	o.mu.Lock()
	if o.people == nil {
		o.people = make(map[string]map[*connection]bool)
	}
	if o.people[c.self.Subject] == nil {
		o.people[c.self.Subject] = make(map[*connection]bool)
	}
	o.people[c.self.Subject][c] = true
	o.mu.Unlock()
	o.changed(c.self.Subject)
}

func (o *online) leave(c *connection) {
	o.mu.Lock()
	delete(o.people[c.self.Subject], c)
	if len(o.people[c.self.Subject]) == 0 {
		delete(o.people, c.self.Subject)
	}
	o.mu.Unlock()
	o.changed(c.self.Subject)
}

// changed wakes the connections of subject and does not wait for them. Observe calls it,
// and a slow Observe makes every check of a token slow.
func (o *online) changed(subject string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.people[subject] {
		select {
		case c.wake <- struct{}{}:
		default: // it has not looked since the last time
		}
	}
}

func (o *online) connected(subject string) map[lapse.ID]bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	ids := make(map[lapse.ID]bool)
	for c := range o.people[subject] {
		ids[c.self.ID] = true
	}
	return ids
}

// view is what a page shows. Instants and durations are in milliseconds, on the
// server's clock; 0 is none.
type view struct {
	Now     int64    `json:"now"`
	TTL     int64    `json:"ttl"`
	Person  string   `json:"person"`
	You     lapse.ID `json:"you"`
	Devices []device `json:"devices"`
	Ended   []device `json:"ended"` // the last few, the newest first
}

type device struct {
	ID        lapse.ID `json:"id"`
	Name      string   `json:"name"`
	Connected bool     `json:"connected"`
	LastUsed  int64    `json:"lastUsed"`
	Expires   int64    `json:"expires"`
	Cap       int64    `json:"cap"` // no use makes it live beyond
	EndedAt   int64    `json:"endedAt"`
	Reason    string   `json:"reason"`
}

// mostEnded is how many of the dead are shown.
const mostEnded = 4

// look returns the view that c shows.
func (c *connection) look(ctx context.Context) (view, error) {
	now := c.clock.Now()
	v := view{Now: now.UnixMilli(), TTL: c.ttl.Milliseconds(), Person: c.self.Subject, You: c.self.ID}
	connected := c.online.connected(c.self.Subject)
	for tok, err := range c.devices.List(ctx, lapse.Query{Subject: c.self.Subject}) {
		if err != nil && !errors.Is(err, lapse.ErrCorrupt) {
			return v, err
		}
		switch {
		case err != nil: // one record is damaged, and denied as it is
		case tok.Prefix != devicePrefix: // a ticket
		case tok.Live(now):
			v.Devices = append(v.Devices, shown(tok, connected[tok.ID]))
		default:
			v.Ended = append(v.Ended, ended(tok))
		}
	}
	slices.SortStableFunc(v.Ended, func(a, b device) int { return cmp.Compare(b.EndedAt, a.EndedAt) })
	v.Ended = v.Ended[:min(mostEnded, len(v.Ended))]
	return v, nil
}

func shown(tok lapse.Token, connected bool) device {
	return device{
		ID:        tok.ID,
		Name:      tok.Name,
		Connected: connected,
		LastUsed:  later(tok.IssuedAt, tok.LastUsedAt).UnixMilli(),
		Expires:   tok.ExpiresAt.UnixMilli(),
		Cap:       tok.MaxExpiresAt.UnixMilli(),
	}
}

func ended(tok lapse.Token) device {
	d := shown(tok, false)
	d.EndedAt, d.Reason = tok.DeadFrom().UnixMilli(), cmp.Or(tok.EndReason.String(), "ran out")
	return d
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// lookEvery is the longest that a page waits for the time of the server's clock.
const lookEvery = 15 * time.Second

// show sends the view, and sends it again when something changes or a token expires, until
// ctx ends or the peer takes no more.
func (c *connection) show(ctx context.Context) {
	for c.held.Err() == nil {
		v, err := c.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.log.Error("no view", "device", c.self.ID.String(), "err", err)
		case c.send(v) != nil:
			return
		}
		next := time.UnixMilli(v.Now).Add(lookEvery)
		for _, d := range v.Devices {
			if at := time.UnixMilli(d.Expires); at.Before(next) {
				next = at
			}
		}
		timer := c.clock.After(next.Sub(c.clock.Now()))
		if !c.clock.Now().Before(next) {
			continue // it came while the timer was set
		}
		select {
		case <-timer:
		case <-c.wake:
		case <-ctx.Done():
			return
		}
	}
}
