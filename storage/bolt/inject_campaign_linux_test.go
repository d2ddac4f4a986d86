//go:build amd64

package bolt

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// injectBase is what a store is opened on: nothing, a file, or that and what a process that was
// killed has left.
type injectBase struct {
	name  string
	start *imageStart
	first int
}

// injectedRun is one injection on one base.
type injectedRun struct {
	base *injectBase
	injection
}

func (i injectedRun) String() string { return i.base.name + ", " + i.injection.String() }

// injecting runs children under a supervisor.
type injecting struct {
	t       *testing.T
	dir     string
	seed    uint64
	plant   string
	runs    atomic.Int64
	reached atomic.Int64 // injections that were
}

func newInjecting(t *testing.T) *injecting {
	c := &injecting{t: t, dir: quickDir(t), seed: drawn(t), plant: faultFree}
	if _, err := c.child(&supervisor{dir: "/nowhere", counts: make(map[string]int)}, injected, filepath.Join(c.dir, "try.db"), plan{plant: faultFree, first: 1}); err != nil {
		unable(t, fmt.Errorf("the kernel hands over no calls: %w", err))
	}
	return c
}

// bases returns what the stores are opened on.
func (c *injecting) bases() []*injectBase {
	all := []*injectBase{newFileBase()}
	for name, child := range map[string]string{"old file": injected, "after a kill": injectedKilled} {
		dir := filepath.Join(c.dir, strings.ReplaceAll(name, " ", "-"))
		writeImage(c.t, dir, nil)
		p := plan{seed: 1, first: 1, plant: faultFree}
		said, err := c.child(nil, child, filepath.Join(dir, "tokens.db"), p)
		if err != nil {
			c.t.Fatalf("%s: %v", name, err)
		}
		b := &injectBase{name: name, start: &imageStart{files: make(map[string][]byte), plan: p}}
		for _, file := range namesIn(dir) {
			if b.start.files[file], err = os.ReadFile(filepath.Join(dir, file)); err != nil {
				c.t.Fatal(err)
			}
		}
		b.start.said, b.first = modelled(said), 2000
		all = append(all, b)
		os.RemoveAll(dir)
	}
	return all
}

// newFileBase is the base of bases in which there is no file.
func newFileBase() *injectBase { return &injectBase{name: "new file", first: 1} }

// run runs a child on a copy of base, with one injection, and returns which calls it made
// and what was wrong. A child that must work must open its store and do all that it is told.
func (c *injecting) run(base *injectBase, i injection, works bool) (seen map[string]int, wrong []string) {
	dir := filepath.Join(c.dir, fmt.Sprint("store-", c.runs.Add(1)))
	defer os.RemoveAll(dir)
	writeImage(c.t, dir, base.start.holds())
	path := filepath.Join(dir, "tokens.db")
	s := &supervisor{injection: i, dir: dir, counts: make(map[string]int)}
	p := plan{seed: 1, first: base.first, plant: c.plant}
	if i.nth%2 == 0 {
		p.flush = time.Hour
	}
	said, err := c.child(s, injected, path, p)
	if err != nil {
		wrong = append(wrong, fmt.Sprintf("the child: %v", err))
	}
	if s.failed > 0 {
		c.reached.Add(1)
	}
	wrong = append(wrong, c.judge(said, works)...)
	for _, name := range namesIn(dir) {
		if name != "tokens.db" && name != "tokens.db-lapse" && i.call != "unlinkat" {
			wrong = append(wrong, "left behind: "+name)
		}
	}
	m, err := (&imageTrace{start: base.start, plan: p, said: modelled(said)}).modelAt(imageNever)
	if err != nil {
		wrong = append(wrong, err.Error())
	} else if len(wrong) == 0 || !strings.Contains(wrong[0], "hangs") {
		found, err := inPatience(func() []string { return m.compare(path) })
		if wrong = append(wrong, found...); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if left := namesIn(dir); !slices.Equal(left, []string{"tokens.db"}) {
		wrong = append(wrong, fmt.Sprintf("there are %s after it was opened and closed again", left))
	}
	return s.counts, wrong
}

// judge returns what the child itself says is wrong.
func (c *injecting) judge(said []string, works bool) (wrong []string) {
	end := ""
	for _, line := range said {
		verb, _, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, saidWrong), verb == saidFailed:
			wrong = append(wrong, line)
		case verb == string(saidRefused), verb == string(saidUnknown), strings.HasPrefix(line, saidRefusal):
			if works {
				wrong = append(wrong, line)
			}
			if strings.Contains(line, "storage: damaged") {
				wrong = append(wrong, "called damage: "+line)
			}
		}
		end = line
	}
	if works && end != saidClosed {
		wrong = append(wrong, "it ended with "+end)
	}
	return wrong
}

// modelled are the lines that are for the model.
func modelled(said []string) (lines []imageLine) {
	for _, line := range said {
		if verb, _, _ := strings.Cut(line, " "); verb == saidBegun || verb == saidOpened ||
			verb == string(saidDone) || verb == string(saidRefused) || verb == string(saidUnknown) {
			lines = append(lines, imageLine{text: line})
		}
	}
	return lines
}

// child runs one and returns its lines. Without a supervisor nothing fails.
func (c *injecting) child(s *supervisor, name, path string, p plan) (lines []string, err error) {
	env := []string{planEnv + "=" + p.String(), "GODEBUG=asyncpreemptoff=1", "GORACE=atexit_sleep_ms=0"}
	if s == nil {
		env = append(env, injectFreeEnv+"=1")
	}
	cmd := childCommand(name, path, env...)
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "theirs"), os.NewFile(uintptr(pair[1]), "ours")
	defer ours.Close()
	cmd.ExtraFiles = []*os.File{theirs}
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return nil, err
	}
	overdue := time.AfterFunc(12*patience, func() { cmd.Process.Kill() })
	defer overdue.Stop()
	if s != nil {
		if err = s.receive(conn.(*net.UnixConn)); err == nil {
			s.serve()
		}
	}
	if ended := cmd.Wait(); err == nil {
		err = ended
	}
	lines = strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if err != nil {
		return lines, fmt.Errorf("%w: %.2000s", err, out.String())
	}
	return lines, nil
}

// runAll runs all, some at a time since most of them wait, and returns how many of each call
// have shown something wrong.
func (c *injecting) runAll(all []injectedRun) (failed map[string]int) {
	failed = make(map[string]int)
	var mu sync.Mutex
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for n := int(next.Add(1)) - 1; n < len(all); n = int(next.Add(1)) - 1 {
				i := all[n]
				if _, wrong := c.run(i.base, i.injection, false); len(wrong) > 0 {
					mu.Lock()
					failed[i.call]++
					mu.Unlock()
					c.t.Errorf("%s: %s", i, strings.Join(wrong[:min(3, len(wrong))], "; "))
				}
			}
		})
	}
	workers.Wait()
	return failed
}
