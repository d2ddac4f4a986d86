package main

import (
	"bufio"
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

var update = flag.Bool("update", false, "write what the command prints into docs/command.md")

// TestTranscripts: each transcript of docs/command.md is what the command prints, besides what is random.
func TestTranscripts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the transcripts are of a POSIX shell")
	}
	const page = "../../docs/command.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	absolute, err := filepath.Abs(page)
	if err != nil {
		t.Fatal(err)
	}
	w, env := documented(t)
	var got bytes.Buffer
	inside := false
	for line := range strings.Lines(string(text)) {
		switch {
		case line == "```console\n":
			inside = true
		case line == "```\n":
			inside = false
		case line == "<!-- the program stops -->\n":
			w.stop()
			w.store.Close()
		case inside && !strings.HasPrefix(line, "$ "):
			continue // what the last command printed when the page was written
		}
		got.WriteString(line)
		if inside && strings.HasPrefix(line, "$ ") {
			shell := exec.Command("sh", "-c", strings.TrimPrefix(line, "$ "))
			shell.Env = env
			out, _ := shell.CombinedOutput() // its exit code is for the tests of each verb
			got.Write(out)
		}
	}
	if *update {
		if err := os.WriteFile(absolute, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, have := withoutChance(text), withoutChance(got.Bytes())
	for i := range min(len(want), len(have)) {
		if want[i] != have[i] {
			t.Fatalf("docs/command.md has:\n%s\nthe command prints:\n%s\nrun go test -run TestTranscripts -update .", want[i], have[i])
		}
	}
	if len(want) != len(have) {
		t.Errorf("docs/command.md has %d commands, and %d were run", len(want), len(have))
	}
}

// documented is the program of the page, and the environment of its shell.
func documented(t *testing.T) (*world, []string) {
	t.Helper()
	bin := filepath.Dir(built(t))
	w := fileInUse(t)
	t.Chdir(filepath.Dir(w.file))
	laptop := w.issue(lapse.Grant{Subject: "ana@example.com", Name: "laptop", Scope: "read write"})
	phone := w.issue(lapse.Grant{Subject: "ana@example.com", Name: "phone", Scope: "read", TTL: 20 * time.Minute})
	leaked := w.issue(lapse.Grant{Subject: "ci", Name: "deploy"})
	for _, name := range []string{"browser", "tablet"} {
		if _, err := w.pairs.Issue(t.Context(), lapse.Grant{Subject: "bob@example.com", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.Add(5 * time.Minute)
	if _, err := w.users.Authenticate(t.Context(), laptop.Bearer); err != nil {
		t.Fatal(err)
	}
	h, err := w.users.Hold(t.Context(), laptop.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Release)
	if _, err := w.users.Expire(lapse.WithActor(t.Context(), lapse.Actor{Name: "ops"}), phone.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.Add(3 * time.Minute)
	if err := os.Mkdir("leaked", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("leaked/.env", []byte("MODE=test\nTOKEN="+leaked.Bearer+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LAPSE_FILE=tokens.db", "LAPTOP="+laptop.ID.String(), "TEXT="+laptop.Bearer, "TZ=UTC")
}

var (
	chance = regexp.MustCompile(`\b[0-9A-Za-z]{22}\b|_[0-9A-Za-z]{72}\b|[0-9.]+ [KM]B|process [0-9]+ \([^)]*\)|uid [0-9]+ \([^)]*\)|uid [0-9]+`)
	blanks = regexp.MustCompile(` +`)
)

// withoutChance returns each command of a page with what it printed, without IDs, secrets, sizes and users.
// Lines are in order: tokens are listed by their IDs, which are random.
func withoutChance(page []byte) (commands []string) {
	var last []string
	inside := false
	end := func() {
		if last != nil {
			slices.Sort(last[1:])
			commands = append(commands, strings.Join(last, "\n"))
		}
		last = nil
	}
	for s := bufio.NewScanner(bytes.NewReader(page)); s.Scan(); {
		line := s.Text()
		switch {
		case line == "```console":
			inside = true
		case line == "```":
			inside = false
			end()
		case inside && strings.HasPrefix(line, "$ "):
			end()
			last = []string{line}
		case inside:
			last = append(last, blanks.ReplaceAllString(chance.ReplaceAllString(line, "…"), " "))
		}
	}
	return commands
}
