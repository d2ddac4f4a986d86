//go:build amd64

package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Children some of whose calls fail: one opens a store, uses it and closes it, the other
// one ends as if it were killed before that.
const (
	injected       = "injected"
	injectedKilled = "injected, killed"
)

const injectFreeEnv = "LAPSE_TEST_UNSUPERVISED"

func init() {
	children[injected] = func(path string) { injectHistory(path, true) }
	children[injectedKilled] = func(path string) { injectHistory(path, false) }
}

// What such a child says besides a workload's lines.
const (
	saidWrong   = "wrong"
	saidRefusal = "not opened"
	saidClosed  = "closed"
)

// leaky is the plant of a store that forgets a descriptor.
const leaky = "leaky"

var forgotten *os.File

func injectHistory(path string, closes bool) {
	p, err := planned()
	if err == nil && os.Getenv(injectFreeEnv) == "" {
		err = superviseMe()
	}
	if err != nil {
		fmt.Println(saidFailed, err)
		return
	}
	h := &history{workload: &workload{plan: p, next: p.first}, r: chance(p.seed, 0), alive: make(map[string][]int)}
	h.openInjected(path)
	if p.plant == leaky {
		forgotten, _ = os.Open(path)
	}
	if h.store == nil {
		leaks(path)
		return
	}
	inTime("the calls", h.injectedCalls)
	if !closes {
		os.Exit(0)
	}
	o := &operation{number: h.next, kind: doFlush}
	fmt.Println(o)
	inTime("Close", func() { err = h.store.Close() })
	wellTyped("Close", err)
	fmt.Printf("%s %d %q\n", map[bool]answer{true: saidDone, false: saidUnknown}[err == nil], o.number, fmt.Sprint(err))
	leaks(path)
	fmt.Println(saidClosed)
}

// openInjected opens the store, or says why not: never because the file is damaged, which
// it is not.
func (h *history) openInjected(path string) {
	var err error
	opts, _ := flushEvery(h.flush)
	inTime("Open", func() { h.store, err = Open(path, opts) })
	if err == nil {
		fmt.Println(saidOpened)
		for rec, err := range h.store.List(context.Background(), storage.Filter{}) {
			if err == nil && rec.EndedAt.IsZero() {
				h.alive[rec.Subject] = append(h.alive[rec.Subject], serialOf(rec.ID))
			}
		}
		return
	}
	h.store = nil
	fmt.Println(saidRefusal, err)
	if errors.Is(err, storage.ErrCorrupt) || !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrLocked) {
		fmt.Printf("%s: Open: %q\n", saidWrong, err)
	}
}

// injectedCalls makes one call of each kind, and looks at what was ended.
func (h *history) injectedCalls() {
	var ended []int
	act := func(k kind, issues, whose, targets int) {
		theirs := h.alive[subjectOf(whose)]
		o := &operation{kind: k, issues: issues, targets: theirs[:min(targets, len(theirs))]}
		if targets > 0 && len(theirs) == 0 {
			return
		}
		h.act(o, whose)
		if o.ends() && o.answer != saidRefused && o.answer != saidFailed {
			ended = append(ended, o.targets...)
		}
	}
	act(doIssue, 3, 0, 0)
	act(doIssue, 2, 1, 0)
	act(doEnd, 0, 0, 1)
	act(doRenew, 0, 0, 1)
	act(doTouch, 0, 1, 1)
	act(doRotate, 0, 1, 1)
	act(doEvict, 1, 0, 1)
	act(doIssue, 4, 2, 0)
	h.beside("compact", func() error { return inject("Compact", h.store.Compact(context.Background())) }, func() {})
	act(doSubject, 0, 2, 4)
	h.beside("backup", func() error { return inject("Backup", imageBackup(h.store)) }, func() {})
	act(doDelete, 1, 1, 1)
	h.large(3)
	act(doIssue, 1, 3, 0)
	act(doEnd, 0, 3, 1)
	h.do(&operation{kind: doSweep}, 0)
	for _, serial := range ended {
		if r, err := h.store.Get(context.Background(), record(serial).ID); err == nil && r.EndedAt.IsZero() {
			fmt.Printf("%s: %d was ended and is alive\n", saidWrong, serial)
		}
	}
}

// inject checks the class of a failure, which is no failure of the history then.
func inject(what string, err error) error {
	wellTyped(what, err)
	return nil
}

// wellTyped says so if err is of none of the classes that a failing disk has.
func wellTyped(what string, err error) {
	if err != nil && (errors.Is(err, storage.ErrCorrupt) || !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrOutcomeUnknown)) {
		fmt.Printf("%s: %s: %q\n", saidWrong, what, err)
	}
}

// inTime runs do, and ends the process if it does not come back.
func inTime(what string, do func()) {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(2 * patience):
		fmt.Printf("%s: %s hangs\n", saidWrong, what)
		os.Exit(0)
	}
}

// leaks says which descriptors of files in the store's directory are open.
func leaks(path string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, filepath.Dir(path)) {
			fmt.Printf("%s: %s is open still\n", saidWrong, filepath.Base(to))
		}
	}
}
