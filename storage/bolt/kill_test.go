package bolt

import (
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// TestKill kills a workload again and again, at one file that is never replaced,
// and compares what it left with what it had said. The operating system goes on
// here, so this says nothing of a sync that is missing: TestPowerCut does.
func TestKill(t *testing.T) {
	m, seed := newModel(), drawn(t)
	path := filepath.Join(quickDir(t), "tokens.db")
	for n, tries := 0, 0; n < *kills; tries++ {
		r := chance(seed, tries)
		acks, err := m.killed(path, r, faultFree)
		if err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
		for _, wrong := range m.compare(path) {
			t.Errorf("round %d: %s", n, wrong)
		}
		if t.Failed() {
			return
		}
		if acks >= minAcknowledged {
			n++
		}
		if tries > 3**kills+3 {
			t.Fatalf("%d of %d rounds had %d acknowledged operations or more; want %d", n, tries, minAcknowledged, *kills)
		}
	}
	t.Logf("%d kills; acknowledged: %s", *kills, m.covered())
}

// TestKillIsCaught: a store that acknowledges before it writes is caught soon.
func TestKillIsCaught(t *testing.T) {
	m, seed := newModel(), drawn(t)
	path := filepath.Join(quickDir(t), "tokens.db")
	for n := range 20 {
		if _, err := m.killed(path, chance(seed, n), hasty); err != nil {
			t.Fatal(err)
		}
		if wrong := m.compare(path); len(wrong) > 0 {
			t.Logf("caught after %d kills: %s", n+1, wrong[0])
			return
		}
	}
	t.Error("20 kills have not caught a store that acknowledges before it writes")
}

// killed runs a workload and kills it once it has acknowledged enough.
func (m *model) killed(path string, r *rand.Rand, plant string) (acks int, err error) {
	p := m.plan(r, plant)
	enough := minAcknowledged + r.IntN(400)
	return m.run(path, p, func(c *child, acks int, _ string) {
		if acks == enough {
			c.cmd.Process.Kill() // it goes on until it is dead
		}
	})
}

// plan draws a plan for the next round.
func (m *model) plan(r *rand.Rand, plant string) plan {
	p := plan{seed: r.Uint64(), first: m.next, flush: time.Duration(r.IntN(3)) * 5 * time.Millisecond, plant: plant, way: way(r.IntN(int(ways)))}
	if plant == noSync {
		p.way = inTree
	}
	_, m.atOnce = flushEvery(p.flush)
	return p
}

// run starts a workload and hears it to its end, which watch, who is told of every
// line, has to bring about.
func (m *model) run(path string, p plan, watch func(c *child, acks int, line string)) (acks int, err error) {
	c, err := startChild(worker, path, planEnv+"="+p.String())
	if err != nil {
		return 0, err
	}
	defer c.kill()
	for {
		line, err := c.line(6 * patience)
		if errors.Is(err, io.EOF) {
			return acks, nil
		}
		if err != nil {
			return acks, err
		}
		acknowledged, err := m.hear(line)
		if err != nil {
			return acks, err
		}
		if acknowledged {
			acks++
		}
		watch(c, acks, line)
	}
}
