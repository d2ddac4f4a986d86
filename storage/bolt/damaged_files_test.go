package bolt

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDamage damages a file, or its log, in many ways. A store refuses it, or denies what it
// cannot read, and never answers with anything but what was put last; nothing crashes
// and nothing hangs. With Options.Repair it may answer with what was put before. Those that
// were wrong are kept.
func TestDamage(t *testing.T) {
	t.Parallel()
	dir := quickDir(t)
	makeSpecimen(t, dir)
	for _, how := range []string{soundly, repairing} {
		t.Run(how, func(t *testing.T) { testDamage(t, dir, how) })
	}
}

func testDamage(t *testing.T, dir, how string) {
	t.Parallel()
	seed := drawn(t)
	d := &damaging{dir: dir, seed: seed, how: how, patience: patience}
	if err := d.all(0, *damages); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range d.wrong {
		t.Error(wrong)
	}
	d.keep(t)
	t.Logf("%d files\n%s", *damages, d.covered())
	rare := d.outcomes[saysDenied] > 0 || *damages < 600 // few damages hit a record alone
	if d.outcomes[saysRefused] == 0 || !rare || d.outcomes[saysSound]+d.outcomes[saysGone] == 0 {
		t.Errorf("%v: the damage is not what it should be", d.outcomes)
	}
}

// TestDamageIsCaught: the campaign notices what it is for.
func TestDamageIsCaught(t *testing.T) {
	t.Parallel()
	dir := quickDir(t)
	makeSpecimen(t, dir)
	for _, row := range []struct {
		how, want string
		files     int
		patience  time.Duration
	}{
		{unchecked, wrongAccept, 200, patience},
		{barely, "crash", 200, patience},
		{stuck, errHangs.Error(), 1, 100 * time.Millisecond},
	} {
		t.Run(row.how, func(t *testing.T) {
			d := &damaging{dir: dir, seed: 1, how: row.how, patience: row.patience, enough: row.want}
			if err := d.all(0, row.files); err != nil {
				t.Fatal(err)
			}
			caught := slices.IndexFunc(d.wrong, func(wrong string) bool { return strings.Contains(wrong, row.want) })
			if caught < 0 {
				t.Fatalf("%d files have shown no %s; %q", row.files, row.want, d.wrong)
			}
			t.Logf("%.400s", d.wrong[caught])
		})
	}
}

// quickDir returns a folder on the quickest disk there is.
func quickDir(t *testing.T) string {
	t.Helper()
	if folder := folderInMemory(); folder != "" {
		if dir, err := os.MkdirTemp(folder, "lapse-*"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

// damaging is a campaign under way.
type damaging struct {
	dir      string
	seed     uint64
	how      string // one of openers
	patience time.Duration
	enough   string // what is wrong, if one such thing is enough

	outcomes map[string]int
	kinds    map[string]map[string]int // outcomes by mutation
	wrong    []string
	files    []int // with something wrong
}

// all has the files from and on examined, by as many processes as die over them.
func (d *damaging) all(from, to int) error {
	d.outcomes, d.kinds = make(map[string]int), make(map[string]map[string]int)
	for from < to && !d.caught() {
		at, name, err := d.some(from, to, d.patience)
		if errors.Is(err, errHangs) { // or the machine is busy
			at, name, err = d.some(at, at+1, 4*d.patience)
		}
		switch {
		case err == nil:
		case name == "":
			return err
		default:
			d.report(at, name, err.Error())
		}
		from = at + 1
	}
	return nil
}

func (d *damaging) caught() bool {
	return d.enough != "" && slices.ContainsFunc(d.wrong, func(wrong string) bool { return strings.Contains(wrong, d.enough) })
}

func (d *damaging) report(n int, name, wrong string) {
	d.wrong, d.files = append(d.wrong, fmt.Sprintf("file %d, %s: %s", n, name, wrong)), append(d.files, n)
}

// startPatience is how long a process may take to start.
const startPatience = 30 * time.Second

// some has one process examine files. It returns the last one that it began, and
// an error if it did not come through.
func (d *damaging) some(from, to int, patience time.Duration) (at int, name string, err error) {
	c, err := startChild(examiners, d.dir, fmt.Sprintf("%s=%d %d %d %s", examinerEnv, d.seed, from, to, d.how))
	if err != nil {
		return from, "", err
	}
	defer c.kill()
	at = from
	for {
		limit := patience
		if name == "" { // it is starting
			limit = max(limit, startPatience)
		}
		line, err := c.line(limit)
		switch {
		case errors.Is(err, io.EOF):
			return at, name, fmt.Errorf("crash: %v: %.2000s", c.status, &c.stderr)
		case err != nil:
			return at, name, fmt.Errorf("%w: over %v", errHangs, limit)
		case line == saysAll:
			return at, name, nil
		}
		verb, rest, _ := strings.Cut(line, " ")
		number, what, _ := strings.Cut(rest, " ")
		n := 0
		if _, err := fmt.Sscan(number, &n); err != nil {
			return at, "", fmt.Errorf("the child says %q", line)
		}
		switch verb {
		case saysFile:
			at, name = n, what
		case saysWrong:
			d.count(name, verb)
			d.report(n, name, what)
			if d.caught() {
				return at, name, nil
			}
		default:
			d.count(name, verb)
		}
	}
}

func (d *damaging) count(name, outcome string) {
	if d.kinds[name] == nil {
		d.kinds[name] = make(map[string]int)
	}
	d.kinds[name][outcome]++
	d.outcomes[outcome]++
}

// covered is how many files of each mutation had which outcome.
func (d *damaging) covered() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d.kinds)) {
		fmt.Fprintf(&text, "%-32s %v\n", name, d.kinds[name])
	}
	fmt.Fprintf(&text, "%-32s %v", "all", d.outcomes)
	return text.String()
}

// keep writes the files with which something was wrong where they stay.
func (d *damaging) keep(t *testing.T) {
	t.Helper()
	if len(d.files) == 0 {
		return
	}
	s, err := readSpecimen(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lapse-damaged-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range slices.Compact(d.files) {
		_, file, log := s.mutate(d.seed, n)
		path := filepath.Join(dir, fmt.Sprintf("%d.db", n))
		if err := errors.Join(os.WriteFile(path, file, 0o600), os.WriteFile(logPath(path), log, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the files are in %s", dir)
}
