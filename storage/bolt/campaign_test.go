package bolt

import (
	"flag"
	"math/rand/v2"
	"testing"
)

// A campaign does the same harm again and again, each time a little differently.
// These flags say how often. Their defaults suit a go test of everything; .ci/run passes
// larger counts.
var (
	kills   = flag.Int("kills", 5, "how many workloads TestKill kills")
	cuts    = flag.Int("cuts", 6, "how many times TestPowerCut cuts the power")
	damages = flag.Int("damages", 60, "how many files TestDamage damages")
	churned = flag.Int("churned", 3_000, "how many tokens TestChurnOfAny replaces, a tenth at a time")
	flips   = flag.Int("flips", 10, "in how many parts of each meta page, of 512 bits, TestNoSilentStepBack flips a bit")
	seed    = flag.Uint64("seed", 0, "what the campaigns draw from, as a failure has printed it; 0: another seed in each run")
)

// onDisk is for CI. The tests look for what a store does, which is the same in memory;
// those that are about what a disk keeps mount one of their own.
var onDisk = flag.Bool("ondisk", false, "the files of the tests lie where TMPDIR says, not on a file system in memory")

// mountsEnv says that this process has its mounts to itself.
const mountsEnv = "LAPSE_TEST_MOUNTS"

// minAcknowledged is what a round needs to count: harm to a store that does nothing
// shows nothing.
const minAcknowledged = 20

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
