package bolt

import (
	"flag"
	"math/rand/v2"
	"testing"
)

// A campaign does the same harm again and again, each time a little differently.
// These say how often; what they are by default suits a go test of everything.
var (
	kills   = flag.Int("kills", shorter(15, 5), "how many workloads TestKill kills")
	cuts    = flag.Int("cuts", shorter(12, 6), "how many times TestPowerCut cuts the power")
	damages = flag.Int("damages", shorter(300, 60), "how many files TestDamage damages")
	churned = flag.Int("churned", shorter(20_000, 5_000), "how many tokens TestChurnOfAny replaces, a tenth at a time")
	flips   = flag.Int("flips", shorter(80, 10), "in how many parts of each meta page, of 512 bits, TestNoSilentStepBack flips a bit")
	seed    = flag.Uint64("seed", 0, "what the campaigns draw from, as a failure has printed it; 0: another seed in each run")
)

var wholeTests = flag.Bool("whole", false, "with -race, too, the long tests that are no campaigns are as long as without it")

// minAcknowledged is what a round needs to count: harm to a store that does nothing
// shows nothing.
const minAcknowledged = 20

// shorter returns usual, and race under the race detector without -whole. The flags of
// the campaigns, which have their defaults before -whole is read, go by the detector
// alone.
func shorter(usual, race int) int {
	if raceEnabled && !*wholeTests {
		return race
	}
	return usual
}

// drawn returns a seed, and has t print it if t fails.
func drawn(t *testing.T) uint64 {
	s := *seed
	if s == 0 {
		s = rand.Uint64()>>1 | 1
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to replay: -run '^%s$' -seed %d", t.Name(), s)
		}
	})
	return s
}

// chance returns the source of round n under seed.
func chance(seed uint64, n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }
