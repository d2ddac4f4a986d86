package model

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// bubbleClock is the time of a bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Time                         { return time.Now() }
func (bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (bubbleClock) Add(d time.Duration)                    { time.Sleep(d) }

// settle waits until every connection that has to be cut is, and compares them all.
func (w *world) settle(m *model) error {
	if len(m.holds) == 0 {
		return nil
	}
	synctest.Wait()
	m.cutHolds(w.policies[0])
	for i, h := range m.holds {
		got := outcome{}
		if ctx := w.holds[i].ctx; ctx.Err() != nil {
			got.failed(context.Cause(ctx))
		}
		if errors.Is(got.err, context.Canceled) {
			got.err = errReleased
		}
		if got.err != h.cut || got.rejected.Reason != h.reason {
			return fmt.Errorf("connection %d: %v, %v; want %v, %v", i, got.err, got.rejected.Reason, h.cut, h.reason)
		}
	}
	return w.compareHolds(m)
}

// compareHolds compares what Holds of all Managers says of the connections with those of the model.
func (w *world) compareHolds(m *model) error {
	want, got := map[lapse.ID]int{}, map[lapse.ID]int{}
	for _, h := range m.holds {
		if h.cut == nil {
			want[m.records[h.record].id]++
		}
	}
	for _, manager := range w.managers {
		for held, err := range manager.Holds(w.ctx) {
			if err != nil {
				return err
			}
			got[held.Token.ID] += held.Connections
		}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("Holds: %v; want %v", got, want)
	}
	return nil
}

// holdCover is a cover of what is held, which no copy of the records brings back: each
// state is come to by taking all of its steps once more.
type holdCover struct {
	cover
	m *model

	mu      sync.Mutex
	changed map[lapse.ID]lapse.Change // what Watch has told since the last step
}

// watch notes what Watch tells, until ctx ends.
func (c *holdCover) watch(ctx context.Context) {
	for change, err := range c.w.managers[0].Watch(ctx, lapse.Query{}) {
		if err != nil {
			return
		}
		c.mu.Lock()
		c.changed[change.Token.ID] = change
		c.mu.Unlock()
	}
}

// compareWatch fails if a record that a step has put, by the model, was not told, or was not told as it
// is now. A use, and what Sweep deletes, need not be told.
func (c *holdCover) compareWatch(was *model) error {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, r := range c.m.records {
		if n < len(was.records) {
			before := was.records[n]
			before.used, before.expires, before.swept = r.used, r.expires, r.swept
			if before == r {
				continue
			}
		}
		told, ok := c.changed[r.id]
		if !ok {
			return fmt.Errorf("Watch tells nothing of record %d", n)
		}
		tok, err := c.w.managers[0].Token(c.w.ctx, r.id)
		tok.LastUsedAt, tok.ExpiresAt = told.Token.LastUsedAt, told.Token.ExpiresAt
		if told.Deleted != errors.Is(err, lapse.ErrNotFound) || !told.Deleted && told.Token != tok {
			return fmt.Errorf("Watch tells %+v of record %d; want %+v, %v", told, n, tok, err)
		}
	}
	clear(c.changed)
	return nil
}

// newHoldCover is newCover in a bubble.
func newHoldCover(s *scenario, wrap func(storage.Store) storage.Store) (*holdCover, error) {
	c := &holdCover{cover: cover{scenario: s, seed: maphash.MakeSeed(), visited: map[uint64]bool{}}}
	var store storage.Store = memory.New()
	if wrap != nil {
		store = wrap(store)
	}
	var err error
	c.w, err = build(&c.setup, bubbleClock{}, store)
	return c, err
}

// come releases all that is held, and takes the steps to n, which have been compared.
func (c *holdCover) come(n *node) error {
	c.clear()
	if err := c.w.put(nil); err != nil {
		return err
	}
	c.m = &model{now: normal(time.Now())}
	c.w.texts, c.w.salts = nil, nil
	var deeds []deed
	for ; n.before != nil; n = n.before {
		deeds = append(deeds, n.last)
	}
	for _, a := range c.scenario.begin {
		if err := c.w.step(c.m, &a); err != nil {
			return err
		}
	}
	for i := range deeds {
		if err := c.w.take(c.m, &deeds[len(deeds)-1-i]); err != nil {
			return err
		}
		if err := c.w.settle(c.m); err != nil {
			return err
		}
	}
	return nil
}

// clear releases all that is held.
func (c *holdCover) clear() {
	for _, h := range c.w.holds {
		h.release()
	}
	c.w.holds = nil
	synctest.Wait()
}

// run is that of cover, without a deadline: a bubble has a time of its own.
func (c *holdCover) run(depth int) (states int, err error) {
	ctx, cancel := context.WithCancel(c.w.ctx)
	defer synctest.Wait()
	defer cancel()
	c.changed = make(map[lapse.ID]lapse.Change)
	go c.watch(ctx)
	level := []*node{{}}
	for range depth {
		var next []*node
		for _, n := range level {
			children, err := c.expand(n)
			if err != nil {
				return len(c.visited), err
			}
			next = append(next, children...)
		}
		level = next
	}
	c.clear()
	return len(c.visited), nil
}

func (c *holdCover) expand(n *node) (children []*node, err error) {
	if err := c.come(n); err != nil {
		return nil, err
	}
	c.visited[c.key(c.m)] = true
	for _, a := range c.deeds(c.m, func(t modelText) bool { return c.w.held(t) != "" }) {
		if a.verb == "move" && a.ms > 365*day {
			continue // the time of a bubble, in which all states are, ends in 2262
		}
		was, texts := c.m.clone(), len(c.w.texts)
		c.steps++
		if err := c.w.step(c.m, &a); err != nil {
			return nil, fmt.Errorf("%s\n%s: %w", n.path(), a, err)
		}
		if err := c.compareWatch(was); err != nil {
			return nil, fmt.Errorf("%s\n%s: %w", n.path(), a, err)
		}
		if c.m.same(was) && len(c.w.texts) == texts {
			continue
		}
		if key := c.key(c.m); !c.visited[key] {
			c.visited[key] = true
			children = append(children, &node{last: a, before: n})
		}
		if err := c.come(n); err != nil {
			return nil, err
		}
	}
	return children, nil
}

// holding are deeds of clients that hold so many connections at most by the texts. A client may
// use a connection that is over, too.
func holding(m *model, texts []modelText, most int) (all []deed) {
	held := 0
	for i, h := range m.holds {
		all = append(all, deed{verb: "use", record: i})
		if h.cut == nil {
			all = append(all, deed{verb: "release", record: i})
			held++
		}
	}
	if held < most {
		all = append(all, each(texts, deed{verb: "hold"})...)
	}
	return all
}

// holdScenarios are a token, a token with a budget, a delegate, a session and a bound session by
// which connections are held.
func holdScenarios() []scenario {
	p, ps := coverPolicy("a"), coverPairs()
	p.keys = nil
	seldom := p
	seldom.renewEvery = 700
	ana := lapse.Grant{Subject: "ana"}
	return []scenario{{
		name: "a held token", setup: worldSetup{policies: []modelPolicy{p}}, begin: []deed{{verb: "issue", grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := append(holding(m, texts, 2), each(texts[:1], deed{verb: "authenticate"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})...)
			all = append(all, deed{verb: "rotate ID"}, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "expire subject", record: nowhere, grant: ana}, deed{verb: "forget subject", grant: ana}, deed{verb: "sweep"})
			return append(all, m.moves(&p)...)
		},
	}, {
		name: "a token that is seldom recorded", ages: true, setup: worldSetup{policies: []modelPolicy{seldom}}, begin: []deed{{verb: "issue", grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := append(holding(m, texts, 1), each(texts[:1], deed{verb: "authenticate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})...)
			return append(all, m.moves(&seldom)...)
		},
	}, {
		name: "a held budget", setup: worldSetup{policies: []modelPolicy{p}}, begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", MaxUses: 2}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := append(holding(m, texts, 2), each(texts[:1], deed{verb: "authenticate"}, deed{verb: "renew"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "rotate"})...)
			all = append(all, deed{verb: "expire"}, deed{verb: "expire subject", record: nowhere, grant: ana}, deed{verb: "forget subject", grant: ana}, deed{verb: "sweep"})
			return append(all, m.moves(&p)...)
		},
	}, {
		name: "a held delegate", setup: worldSetup{policies: []modelPolicy{p}},
		begin: []deed{{verb: "issue", grant: ana}, {verb: "delegate", text: modelText{kind: plainText}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := append(holding(m, m.texts(1, plainText, hand)[:1], 1), each(m.texts(1, plainText, hand)[:1], deed{verb: "authenticate"}, deed{verb: "rotate"})...)
			all = append(all, each(m.texts(0, plainText, hand)[:1], deed{verb: "authenticate"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})...)
			return append(append(all, deed{verb: "expire", record: 1}, deed{verb: "forget subject", grant: ana}), m.jumps(&p)...)
		},
	}, {
		name: "a held session", setup: worldSetup{pairs: []modelPairs{ps}}, begin: []deed{{verb: "log in", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			opens, renews := m.texts(0, accessText, hand), m.texts(0, refreshText, hand)
			all := append(holding(m, opens[:min(2, len(opens))], 2), each(renews[:1], deed{verb: "refresh"}, deed{verb: "refresh", scope: "a"}, deed{verb: "expire pair"})...)
			all = append(all, deed{verb: "expire subject", record: nowhere, grant: ana}, deed{verb: "forget subject", grant: ana})
			return append(all, m.moves(&ps.access)...)
		},
	}, heldBoundScenario(), heldSuspendScenario(), heldEditScenario()}
}

// heldBoundScenario is a bound session by which a connection is held. The connection is used without
// a proof.
func heldBoundScenario() scenario {
	ps := coverPairs()
	return scenario{
		name: "a held bound session", setup: worldSetup{pairs: []modelPairs{ps}}, begin: []deed{{verb: "log in", grant: boundAna}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			opens, renews := m.texts(0, accessText, hand), m.texts(0, refreshText, hand)
			opens = opens[:min(2, len(opens))]
			proved := append(each(opens, deed{verb: "confirm"}), each(renews[:1], deed{verb: "refresh"})...)
			if len(m.holds) == 0 {
				proved = append(proved, each(opens, deed{verb: "hold"})...)
			}
			all := holding(m, opens, 0)
			for _, a := range proved {
				unproved := a
				a.proof = 1
				all = append(all, a, unproved)
			}
			return append(append(all, deed{verb: "expire"}), m.moves(&ps.access)...)
		},
	}
}

// TestCoverHolds covers each scenario in which connections are held.
func TestCoverHolds(t *testing.T) {
	lazily(t)
	for _, s := range holdScenarios() {
		t.Run(s.dashed(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, err := newHoldCover(&s, nil)
				if err != nil {
					t.Fatal(err)
				}
				states, err := c.run(*coverDepth)
				if err != nil {
					c.clear()
					t.Fatal(err)
				}
				t.Logf("%d states, %d steps compared, %d deep", states, c.steps, *coverDepth)
			})
		})
	}
}
