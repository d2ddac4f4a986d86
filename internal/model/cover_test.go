package model

import (
	"flag"
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

var (
	coverDepth = flag.Int("coverdepth", 3, "how many steps after its beginning the state cover takes")
	coverTime  = flag.Duration("covertime", 0, "how long each scenario of the state cover may take; 0: as long as it needs")
)

// scenario is a small world, how it begins, and what may happen in each state of it.
type scenario struct {
	name  string
	setup worldSetup
	begin []deed
	deeds func(m *model, hand func(modelText) bool) []deed
	gap   bool // something may happen within a verb
	ages  bool // when a token was issued, used and rotated decides something
}

// dashed is the name of s as that of a test.
func (s *scenario) dashed() string { return strings.ReplaceAll(s.name, " ", "-") }

// node is a state that the cover has come to.
type node struct {
	model   *model
	records []storage.Record
	now     time.Time
	texts   []heldText
	salts   []heldSalt
	last    deed
	before  *node
}

// path says how n was come to.
func (n *node) path() string {
	if n.before == nil {
		return "at the beginning"
	}
	return fmt.Sprintf("%s\n%s", n.before.path(), n.last)
}

// cover drives one world through every sequence of steps, and continues none that comes
// to a state in which it has been.
type cover struct {
	*scenario
	w       *world
	clock   *lapsetest.StepClock
	seed    maphash.Seed
	visited map[uint64]bool
	steps   int // that were taken and compared
}

// newCover makes the world of s. wrap puts something in front of its store, or is nil.
func newCover(s *scenario, wrap func(storage.Store) storage.Store) (*cover, error) {
	c := &cover{scenario: s, clock: lapsetest.NewClock(), seed: maphash.MakeSeed(), visited: map[uint64]bool{}}
	c.setup.guard = lapse.GuardOff // the clock goes back from one sequence to the next
	var store storage.Store = memory.New()
	if wrap != nil {
		store = wrap(store)
	}
	gap := &gapped{Store: store}
	if s.gap {
		store = gap
	}
	var err error
	c.w, err = newWorld(&c.setup, c.clock, store)
	gap.w = c.w
	return c, err
}

// run covers so many steps, and returns how many states it has come to and how many levels
// it has covered before the deadline, if there is one.
func (c *cover) run(depth int, deadline time.Time) (states, levels int, err error) {
	root, err := c.root()
	if err != nil {
		return 0, 0, err
	}
	level := []*node{root}
	for levels = range depth {
		var next []*node
		for _, n := range level {
			if !deadline.IsZero() && time.Now().After(deadline) {
				return len(c.visited), levels, nil
			}
			children, err := c.expand(n, levels == depth-1)
			if err != nil {
				return len(c.visited), levels, err
			}
			next = append(next, children...)
		}
		level = next
	}
	return len(c.visited), depth, nil
}

// root is the state after the beginning.
func (c *cover) root() (*node, error) {
	m := &model{now: normal(c.clock.Now())}
	for _, a := range c.begin {
		if err := c.w.step(m, &a); err != nil {
			return nil, fmt.Errorf("%s: %w", a, err)
		}
	}
	n := c.node(m, slices.Clone(c.w.stored), nil, deed{})
	c.visited[c.key(m)] = true
	return n, nil
}

func normal(t time.Time) int64 { return t.UnixMilli() }

func (c *cover) node(m *model, all []storage.Record, before *node, last deed) *node {
	return &node{model: m, records: all, now: c.clock.Now(), texts: c.w.texts, salts: c.w.salts, last: last, before: before}
}

// expand takes every step from n, and returns the states that are new. The last ones are
// only counted.
func (c *cover) expand(n *node, last bool) (children []*node, err error) {
	hand := func(t modelText) bool { return c.w.held(t) != "" }
	c.w.texts = n.texts
	dirty := true
	for _, a := range c.deeds(n.model, hand) {
		if dirty {
			if err := c.w.put(n.records); err != nil {
				return nil, err
			}
			c.clock.Set(n.now)
		}
		c.w.texts, c.w.salts = n.texts, n.salts
		m := n.model.clone()
		c.steps++
		if err := c.w.step(m, &a); err != nil {
			return nil, fmt.Errorf("%s\n%s: %w", n.path(), a, err)
		}
		if dirty = !m.same(n.model) || len(c.w.texts) != len(n.texts); !dirty {
			if !slices.EqualFunc(c.w.stored, n.records, storage.Record.Equal) {
				return nil, fmt.Errorf("%s\n%s: it changed what is stored", n.path(), a)
			}
			continue
		}
		key := c.key(m)
		if !c.visited[key] {
			c.visited[key] = true
			if !last {
				children = append(children, c.node(m, slices.Clone(c.w.stored), n, a))
			}
		}
	}
	return children, nil
}

// lazily has the collector run less often than usual while t runs, and the goroutines that
// t waits for.
func lazily(t *testing.T) {
	before := debug.SetGCPercent(200)
	t.Cleanup(func() { debug.SetGCPercent(before) })
}

// TestCover covers each scenario.
func TestCover(t *testing.T) {
	lazily(t)
	for _, s := range scenarios() {
		t.Run(s.dashed(), func(t *testing.T) {
			t.Parallel()
			c, err := newCover(&s, nil)
			if err != nil {
				t.Fatal(err)
			}
			begun, deadline := time.Now(), time.Time{}
			if *coverTime > 0 {
				deadline = begun.Add(*coverTime)
			}
			states, levels, err := c.run(*coverDepth, deadline)
			if err != nil {
				t.Fatalf("%v", err)
			}
			t.Logf("%d states, %d steps compared, %d deep, in %v", states, c.steps, levels, time.Since(begun).Round(time.Millisecond))
		})
	}
}

// TestMain leaves the many small heaps of these tests more garbage.
func TestMain(m *testing.M) {
	sample.Garbage()
	m.Run()
}
