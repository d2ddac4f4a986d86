package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// imageCampaign draws images and opens them.
type imageCampaign struct {
	t           *testing.T
	strace, dir string
	fault       string
	seed        uint64
	enough      int // so many that are wrong end it

	looked, traces, moments int
	mu                      sync.Mutex // guards what follows
	counts                  map[string]int
	wrong                   []string
	covered                 *model
}

func newImageCampaign(t *testing.T, fault string) *imageCampaign {
	return &imageCampaign{
		t: t, strace: needStrace(t), dir: quickDir(t), fault: fault, seed: drawn(t), enough: 5,
		counts: make(map[string]int), covered: newModel(),
	}
}

// record runs the history in a directory of its own that holds those files.
func (c *imageCampaign) record(r *rand.Rand, from *imageStart, first int) *imageTrace {
	c.t.Helper()
	dir, err := os.MkdirTemp(c.dir, "recorded-*")
	if err != nil {
		c.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, log := filepath.Join(dir, "tokens.db"), filepath.Join(c.dir, fmt.Sprintf("calls-%d", c.traces))
	defer os.Remove(log)
	trace := newTrace(path, from.holds())
	writeImage(c.t, dir, from.holds())
	p := plan{seed: r.Uint64(), first: first, flush: time.Duration(r.IntN(3)) * 5 * time.Millisecond, plant: faultFree}
	cmd := straced(c.strace, childCommand(recorded, path, planEnv+"="+p.String(), "GORACE=atexit_sleep_ms=0"),
		"-xx", "-s", "16777216", "-e", "trace="+imageRecorded, "-e", "signal=none", "-o", log)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), saidFailed) {
		c.t.Errorf("the history, of seed %d: %v\n%.2000s", p.seed, err, out)
		return nil
	}
	f, err := os.Open(log)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	calls, err := readCalls(f)
	for _, call := range calls {
		if err == nil {
			err = trace.take(call)
		}
	}
	if err != nil {
		c.t.Errorf("the record: %v", err)
		return nil
	}
	if left := trace.image(crash{at: trace.last + 1, way: "all", names: "all names", r: r}); !maps.EqualFunc(left, filesIn(dir), bytes.Equal) {
		c.t.Errorf("the record leads to other files than the history, of seed %d, has left: %s", p.seed, sizes(left))
		return nil
	}
	trace.start, trace.plan = from, p
	trace.promise(c.fault)
	c.traces++
	return trace
}

// look opens n images of the trace. Their seeds begin with that of round.
func (c *imageCampaign) look(trace *imageTrace, n, round int) {
	pending := trace.pending()
	c.moments += len(pending)
	if len(pending) == 0 {
		c.t.Error("nothing was ever pending")
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for worker := range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n) && !c.full(); i = next.Add(1) {
				c.open(trace, drawCrash(trace, pending, chance(c.seed, round<<20+int(i))), filepath.Join(c.dir, fmt.Sprint("image-", worker)))
			}
		})
	}
	all.Wait()
	c.looked += min(n, int(next.Load()))
	for _, wrong := range c.wrong {
		if c.fault == imageSound {
			c.t.Error(wrong)
		}
	}
}

// full reports whether enough is wrong.
func (c *imageCampaign) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.wrong) >= c.enough
}

// drawCrash draws a moment, mostly one at which something is pending, and what is left.
func drawCrash(trace *imageTrace, pending []int, r *rand.Rand) crash {
	at := pending[r.IntN(len(pending))]
	if r.IntN(12) == 0 {
		at = r.IntN(trace.last + 2)
	}
	return crash{at: at, way: imageWays[r.IntN(len(imageWays))], names: imageNameWays[r.IntN(len(imageNameWays))], r: r}
}

// open opens one image, twice every other time, and notes what is wrong with it.
func (c *imageCampaign) open(trace *imageTrace, how crash, dir string) {
	files := trace.image(how)
	m, err := trace.modelAt(how.at)
	if err != nil {
		c.t.Error(err)
		return
	}
	writeImage(c.t, dir, files)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, trace.main)
	wrong, err := inPatience(func() []string {
		wrong := m.compare(path)
		if len(wrong) == 0 && how.at%2 == 0 {
			wrong = m.compare(path) // what the first opening has found is there still
		}
		return wrong
	})
	if err != nil {
		wrong = []string{err.Error()}
	}
	if left := namesIn(dir); len(wrong) == 0 && !slices.Equal(left, []string{trace.main}) {
		wrong = []string{fmt.Sprintf("after Close there are %s", left)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[how.way+", "+how.names]++
	for name, n := range m.counts {
		c.covered.counts[name] += n
	}
	if len(wrong) > 0 {
		c.wrong = append(c.wrong, fmt.Sprintf("a crash at %d of %d (%s, %s; %s; after a crash: %v; with %s): %s",
			how.at, trace.last, how.way, how.names, trace.around(how.at), trace.start != nil, sizes(files), strings.Join(wrong[:min(3, len(wrong))], "; ")))
	}
}

// around says what the process had said last.
func (t *imageTrace) around(at int) string {
	last := "nothing said"
	for _, line := range t.said {
		if line.begin < at {
			last = line.text
		}
	}
	return fmt.Sprintf("last said %.80q", last)
}

func sizes(files map[string][]byte) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = append(all, fmt.Sprintf("%s of %d bytes", name, len(files[name])))
	}
	return strings.Join(all, ", ")
}

// crashAfterCrash records what opens an image, and opens images of that.
func (c *imageCampaign) crashAfterCrash(trace *imageTrace, r *rand.Rand, round int) {
	how := drawCrash(trace, trace.pending(), r)
	start := &imageStart{files: trace.image(how), said: trace.heard(how.at), plan: trace.plan}
	m, err := trace.modelAt(how.at)
	if err != nil {
		c.t.Error(err)
		return
	}
	if again := c.record(r, start, m.next+1); again != nil {
		c.look(again, min(imagesEach/4, max(1, *images/6), *images-c.looked), round+500+r.IntN(500))
	}
}

// report says how much was looked at.
func (c *imageCampaign) report() {
	for _, way := range slices.Sorted(maps.Keys(c.counts)) {
		c.t.Logf("%6d images: %s", c.counts[way], way)
	}
	c.t.Logf("%d images of %d recordings with %d moments at which something was pending; acknowledged before them: %s",
		c.looked, c.traces, c.moments, c.covered.covered())
}

var errTooLong = errors.New("opening, reading and closing does not come back")

// inPatience runs do, and gives up waiting for it after a while.
func inPatience(do func() []string) ([]string, error) {
	done := make(chan []string, 1)
	go func() { done <- do() }()
	timer := time.NewTimer(2 * patience)
	defer timer.Stop()
	select {
	case wrong := <-done:
		return wrong, nil
	case <-timer.C:
		return nil, errTooLong
	}
}

// writeImage makes dir hold those files and no others.
func writeImage(t *testing.T, dir string, files map[string][]byte) {
	err := os.MkdirAll(dir, 0o700)
	for name, b := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	if err != nil {
		t.Error(err)
	}
}

func namesIn(dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func filesIn(dir string) map[string][]byte {
	files := make(map[string][]byte)
	for _, name := range namesIn(dir) {
		files[name], _ = os.ReadFile(filepath.Join(dir, name))
	}
	return files
}
