package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestHelp: the man page and the help name every verb, and no place is needed for them.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--man"}, {"--help"}} {
		got := lapseAt(t, nil, "", args...).wants(t, 0)
		for _, verb := range strings.Fields("ls sessions show verify issue rotate revoke logout suspend resume edit watch holds stats sweep backup restore compact check scan") {
			if !strings.Contains(got.stdout, verb) {
				t.Errorf("lapse %s does not name %s", args[0], verb)
			}
		}
	}
	lapseAt(t, nil, "", "ls", "--help").wants(t, 0, "--expiring")
	lapseAt(t, nil, "").wants(t, exitUsage, "--help")
	lapseAt(t, nil, "", "--version").wants(t, 0, "lapse ")
}

// TestCompletions: the shell is told how to complete the words, and the command completes them.
func TestCompletions(t *testing.T) {
	complete := exec.Command(built(t))
	complete.Env = append(os.Environ(), "COMP_LINE=lapse res", "COMP_POINT=9")
	if out, err := complete.Output(); err != nil || sorted(string(out)) != "restore\nresume\n" { // their order is by chance
		t.Errorf("%q, %v", out, err)
	}
	install := exec.Command(built(t), "completions")
	install.Env = append(os.Environ(), "SHELL=/bin/bash")
	if out, err := install.Output(); err != nil || !strings.Contains(string(out), "complete ") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestPanic: a mistake in the command itself is not taken for success.
func TestPanic(t *testing.T) {
	defer func() {
		if p := recover(); p != "broken" {
			t.Errorf("panic %v, want that of the writer", p)
		}
	}()
	a := &app{ctx: t.Context(), stdout: panics{}, stderr: panics{}}
	t.Errorf("exit %d", a.run([]string{"ls"}))
}

// panics is a writer that panics.
type panics struct{}

func (panics) Write([]byte) (int, error) { panic("broken") }
