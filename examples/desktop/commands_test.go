//go:build darwin || freebsd || linux

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
)

var (
	instant = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\dZ)?`)
	tokenID = regexp.MustCompile(`\b[0-9A-Za-z]{22}\b`)
	spaces  = regexp.MustCompile(`[ \t]+`)
)

// mask replaces what differs from run to run.
func mask(text string) string {
	text = tokenID.ReplaceAllString(instant.ReplaceAllString(text, "TIME"), "ID")
	return spaces.ReplaceAllString(text, " ")
}

// TestSameWithAndWithoutDaemon runs each command where no daemon runs, where one runs, and where one
// was killed. The answers are the same.
func TestSameWithAndWithoutDaemon(t *testing.T) {
	const ended = "desktop: log in again: lapse: unauthenticated: token revoked: ID#0 was ended at TIME "
	steps := []struct {
		command string
		want    said
	}{
		{"whoami", said{4, "", "desktop: log in first: lapse: unauthenticated\n"}},
		{"devices", said{4, "", "desktop: log in first: lapse: unauthenticated\n"}},
		{"logout", said{4, "", "desktop: log in first: lapse: unauthenticated\n"}},
		{"login --device laptop ana", said{0, "", "laptop is a device of ana now\n"}},
		{"login --device laptop bob", said{1, "", "desktop: laptop is a device of ana; log out first\n"}},
		{"login --device phone ana", said{0, "", "phone is a device of ana now\n"}},
		{"login --device ../../tv bob", said{0, "", "../../tv is a device of bob now\n"}},
		{"whoami --device laptop", said{0, "ana\n", ""}},
		{"--device ../../tv whoami", said{0, "bob\n", ""}},
		{"devices --device phone", said{0, "DEVICE LAST USE LIVES UNTIL\nlaptop never TIME\nphone never TIME\n", ""}},
		{"logout --device phone", said{0, "", ""}},
		{"whoami --device phone", said{4, "", "desktop: log in first: lapse: unauthenticated\n"}},
		{"devices --device laptop", said{0, "DEVICE LAST USE LIVES UNTIL\nlaptop never TIME\n", ""}},
		{"login --device phone ana", said{0, "", "phone is a device of ana now\n"}},
		{"logout --device laptop --all", said{0, "", ""}},
		{"whoami --device laptop", said{4, "", "desktop: log in first: lapse: unauthenticated\n"}},
		{"whoami --device phone", said{4, "", ended + "(subject)\n"}},
		{"logout --device phone --all", said{4, "", ended + "(subject)\n"}},
		{"login --device phone cy", said{0, "", "phone is a device of cy now\n"}},
		{"whoami --device phone", said{0, "cy\n", ""}},
		{"devices --device ../../tv", said{0, "DEVICE LAST USE LIVES UNTIL\n../../tv never TIME\n", ""}},
	}
	worlds := map[string]func(h home){
		"without": func(home) {},
		"with":    func(h home) { h.startDaemon() },
		"killed":  func(h home) { h.startDaemon().kill() },
	}
	for name, prepare := range worlds {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			prepare(h)
			for _, s := range steps {
				got := h.runs(s.command)
				got.Out, got.Err = mask(got.Out), mask(got.Err)
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", s.command, diff)
				}
			}
		})
	}
}

// TestModes: no other user can read a file, whatever the umask is, and also where one could read the text before.
func TestModes(t *testing.T) {
	h := newHome(t)
	h.must("login --device laptop ana")
	d := h.desktop()
	if err := errors.Join(os.WriteFile(d.bearerFile(), []byte("no good"), 0o600), os.Chmod(d.bearerFile(), 0o666)); err != nil {
		t.Fatal(err)
	}
	h.must("login --device laptop ana")
	for path, want := range map[string]fs.FileMode{d.dir: 0o700 | fs.ModeDir, d.file(): 0o600, d.bearerFile(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

// spoiled is a Manager that calls spoil when it has issued a token.
type spoiled struct {
	tokens
	spoil func() error
}

func (s spoiled) Issue(ctx context.Context, g lapse.Grant) (lapse.Issued, error) {
	issued, err := s.tokens.Issue(ctx, g)
	return issued, errors.Join(err, s.spoil())
}

// TestTextNotKept: a login that cannot keep the text leaves no live token.
func TestTextNotKept(t *testing.T) {
	d := newHome(t).desktop()
	spoil := func() error { return os.MkdirAll(filepath.Join(d.bearerFile(), "in the way"), 0o700) }
	err := d.useFile(t.Context(), func(ctx context.Context, all tokens) error {
		if err := d.login(ctx, spoiled{all, spoil}, "ana"); err == nil {
			t.Error("the login succeeded")
		}
		dead := 0
		for tok, err := range all.List(ctx, lapse.Query{}) {
			if err != nil || tok.EndedAt.IsZero() {
				t.Errorf("%v, %v", tok, err)
			}
			dead++
		}
		if dead != 1 {
			t.Errorf("%d tokens", dead)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBearerFile: each device has a file of its own, in the directory and beside the tokens.
func TestBearerFile(t *testing.T) {
	d := desktop{dir: "dir"}
	seen := map[string]string{d.file(): "the tokens", d.file() + "-lapse": "the log"}
	for _, d.device = range []string{"", ".", "..", "a", "a b", "a/b", "a%2Fb", "../../a", "/a", "tokens.db", "tokens.db-lapse", `..\a`} {
		path := d.bearerFile()
		if filepath.Dir(path) != d.dir || seen[path] != "" {
			t.Errorf("%q has the file %s, which is that of %q", d.device, path, seen[path])
		}
		seen[path] = d.device + " "
	}
}

// TestUsage: what is no command is code 2, and a command that is refused has changed nothing.
func TestUsage(t *testing.T) {
	h := newHome(t)
	h.must("login --device laptop ana")
	for _, command := range []string{"", "frob", "whoami ana", "login", "login ana bob", "whoami --all", "login --all ana", "daemon now", "--frob", "whoami --frob"} {
		if got := h.runs(command); got.Code != 2 || got.Out != "" || !strings.Contains(got.Err, "usage: desktop") {
			t.Errorf("%q: %+v", command, got)
		}
	}
	for command, want := range map[string]string{
		"login --device phone a\u202eb":                       "Subject",
		"login --device a\u202eb ana":                         "Name",
		"login --device " + strings.Repeat("x", 300) + " ana": "",
		"whoami --dir " + h.desktop().file():                  "--dir",
	} {
		if got := h.runs(command); got.Code != 1 || got.Out != "" || !strings.Contains(got.Err, want) {
			t.Errorf("%q: %+v", command, got)
		}
	}
	if got := strings.Count(h.must("devices --device laptop"), "\n"); got != 1+1 {
		t.Errorf("%d lines, want 2", got)
	}
	if got := h.runs("-h"); got.Code != 0 || !strings.Contains(got.Err, "usage: desktop") {
		t.Errorf("-h: %+v", got)
	}
}
