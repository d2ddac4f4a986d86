//go:build amd64

package bolt

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/sample"
)

var injections = flag.Int("injections", 6, "how many single calls TestInjectedErrors has fail, of all that there are; 0: all")

var injectionOnly = flag.String("injection", "", "TestInjectedErrors has only those calls fail whose text, as a failure has printed it, contains this")

// TestInjectedErrors has a call on the store's files fail, the n-th of its kind or all from
// that one on. Each call on the store comes back, with an error of a class that the
// contract has; what was acknowledged is there afterwards, nothing that was ended is alive,
// no file or descriptor is left, and the file opens.
func TestInjectedErrors(t *testing.T) {
	c := newInjecting(t)
	bases := c.bases()
	var all []injectedRun
	for _, base := range bases {
		seen, _ := c.run(base, injection{}, true)
		for _, call := range injectCalls {
			for n := range seen[call.name] {
				for _, errno := range call.errnos {
					for _, lasting := range []bool{false, true} {
						all = append(all, injectedRun{base, injection{call: call.name, errno: errno, nth: n + 1, lasting: lasting}})
					}
				}
			}
		}
	}
	if t.Failed() {
		return
	}
	slices.SortFunc(all, func(a, b injectedRun) int { return strings.Compare(a.String(), b.String()) })
	all = slices.DeleteFunc(all, func(i injectedRun) bool { return !strings.Contains(i.String(), *injectionOnly) })
	total := len(all)
	if n := *injections; n > 0 && n < len(all) {
		chance(c.seed, 0).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:n]
	}
	counts := make(map[string]int)
	for _, i := range all {
		counts[i.call]++
	}
	failed := c.runAll(all)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%5d injections: %s, %d of them have shown something wrong", counts[name], name, failed[name])
	}
	t.Logf("%d of %d injections on %d files; %d were reached", len(all), total, len(bases), c.reached.Load())
}

// TestInjectionsAreCaught: the same runs catch a store that acknowledges before it writes, and
// one that forgets a descriptor.
func TestInjectionsAreCaught(t *testing.T) {
	c := newInjecting(t)
	for plant, i := range map[string]injection{
		hasty: {call: "pwrite64", errno: syscall.EIO, nth: 30, lasting: true},
		leaky: {},
	} {
		c.plant = plant
		_, wrong := c.run(newFileBase(), i, false)
		if len(wrong) == 0 {
			t.Errorf("%s: not caught", plant)
			continue
		}
		t.Logf("%s: %.300s", plant, wrong[0])
	}
}

// TestMissingCalls: a file system, or a sandbox, that does not have a call at all. A store
// works without, or says what it lacks.
func TestMissingCalls(t *testing.T) {
	c := newInjecting(t)
	bases := c.bases()
	for nth, row := range []struct {
		name  string
		call  string
		errno syscall.Errno
		works bool // also where the file is new
	}{
		{"no chmod", "fchmod", syscall.EPERM, true},
		{"no owner", "fchown", syscall.EPERM, true},
		{"no links", "linkat", syscall.EPERM, true},
		{"links not supported", "linkat", syscall.EOPNOTSUPP, true},
		{"no locks", "flock", syscall.ENOLCK, false},
		{"no call for locks", "flock", syscall.ENOSYS, false},
		{"no shared maps", "mmap", syscall.ENODEV, false},
		{"no statx", "statx", syscall.EPERM, true},
		{"no statx call", "statx", syscall.ENOSYS, true},
		{"no sync of a directory", "fsync", syscall.EINVAL, true},
		{"no allocation", "fallocate", syscall.EOPNOTSUPP, true},
		{"no advice", "madvise", syscall.ENOSYS, true},
	} {
		for n, base := range bases {
			if !sample.Every(len(bases), nth+n) {
				continue
			}
			t.Run(row.name+", "+base.name, func(t *testing.T) {
				i := injection{call: row.call, errno: row.errno, nth: 1, lasting: true, onlyDir: row.call == "fsync"}
				_, wrong := c.run(base, i, row.works)
				for _, wrong := range wrong {
					t.Error(wrong)
				}
			})
		}
	}
}
