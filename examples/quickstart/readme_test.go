package main

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	page   = "../../docs/quickstart.md"
	marker = "<!-- transcript: go run ./examples/quickstart -->"
)

// The page shows what the program prints. After a change, paste the new output below the
// marker.
func TestReadmeTranscript(t *testing.T) {
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := fencedAfter(string(content), marker)
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	lines := func(text string) []string { return strings.Split(mask(text, ""), "\n") }
	if diff := cmp.Diff(lines(transcript(t, "")), lines(shown)); diff != "" {
		t.Errorf("the page is not what the program prints (-printed +page):\n%s", diff)
	}
}

// fencedAfter returns what stands in the fenced block that follows the line mark.
func fencedAfter(text, mark string) (string, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	_, rest, found := strings.Cut(text, mark+"\n")
	if !found {
		return "", errors.New("no line " + mark)
	}
	rest = strings.TrimLeft(rest, "\n")
	fence, rest, _ := strings.Cut(rest, "\n")
	if !strings.HasPrefix(fence, "```") {
		return "", errors.New("no fenced block after the line " + mark)
	}
	body, _, found := strings.Cut(rest, "\n```\n")
	if !found {
		return "", errors.New("the fenced block after the line " + mark + " does not end")
	}
	return body + "\n", nil
}

var (
	tokenText = regexp.MustCompile(`\b(lapse|key)_[0-9A-Za-z]{8,}`)
	idText    = regexp.MustCompile(`\b[0-9A-Za-z]{22}\b`)
)

// mask replaces what differs from run to run: the names of tokens, and path.
func mask(out, path string) string {
	if path != "" {
		out = strings.ReplaceAll(out, path, "tokens.db")
	}
	out = tokenText.ReplaceAllString(out, "${1}_********")
	return idText.ReplaceAllString(out, strings.Repeat("*", 22))
}
