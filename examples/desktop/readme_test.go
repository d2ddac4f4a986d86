//go:build darwin || freebsd || linux

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadme does what the README shows, and gets what it shows. After a change, paste the new output.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(readme), "<!-- transcript: desktop -->\n```text\n")
	shown, _, ended := strings.Cut(shown, "```\n")
	if !found || !ended {
		t.Fatal("the README has no transcript")
	}
	s := session{home: newHome(t)}
	for line := range strings.Lines(shown) {
		s.do(strings.TrimSpace(line))
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	port, device := regexp.MustCompile(`127\.0\.0\.1:\d+`), regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(host)+`\b`)
	lines := func(text string) []string {
		text = device.ReplaceAllString(port.ReplaceAllString(text, "ADDRESS"), "laptop")
		return strings.Split(mask(text), "\n")
	}
	if diff := cmp.Diff(lines(s.out.String()), lines(shown)); diff != "" {
		t.Errorf("the README does not show what happens (-happens +shown):\n%s\n%s", diff, &s.out)
	}
}

// TestReadmeQuotes: the Go code of the README stands in the program, line for line.
func TestReadmeQuotes(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("tokens.go")
	if err != nil {
		t.Fatal(err)
	}
	quotes := strings.Split(string(readme), "```go\n")[1:]
	for _, quote := range quotes {
		quote, _, _ = strings.Cut(quote, "```")
		if !strings.Contains(string(code), "\n"+quote) {
			t.Errorf("this is not in tokens.go:\n%s", quote)
		}
	}
	if len(quotes) == 0 {
		t.Error("the README quotes nothing")
	}
}

// session is what happens when the lines of a transcript are done that a user types or a client says.
type session struct {
	home
	out    strings.Builder
	daemon *daemon
	client *client
}

func (s *session) do(line string) {
	s.t.Helper()
	mark, rest, _ := strings.Cut(line, " ")
	if mark == "$" || mark == "→" || mark == "←" {
		s.out.WriteString(mark + " ")
	}
	switch {
	case line == "$ desktop daemon &":
		s.daemon = s.startDaemon()
		s.out.WriteString(rest + "\ndesktop: serving clients at " + s.daemon.addr + "\n")
	case mark == "$":
		command, ok := strings.CutPrefix(rest, "desktop ")
		if !ok {
			s.t.Fatalf("no command: %s", line)
		}
		got := s.runs(command)
		s.out.WriteString(rest + "\n" + got.Out + got.Err)
	case mark == "→" && strings.HasPrefix(rest, "HELLO "):
		s.client = s.daemon.connect("phone")
		s.out.WriteString(rest + "\n")
	case mark == "→":
		s.client.say(rest)
		s.out.WriteString(rest + "\n")
	case mark == "←":
		s.out.WriteString(s.client.hears() + "\n")
	}
}
