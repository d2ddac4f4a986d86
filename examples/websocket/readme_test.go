package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the README quotes stands in the code, line for line.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	plain := func(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }
	quotes := strings.Split(plain(string(readme)), "```go\n")[1:]
	for _, quote := range quotes {
		quote, _, _ = strings.Cut(quote, "```")
		if !strings.Contains(plain(code.String()), "\n"+quote) {
			t.Errorf("this is nowhere in the code:\n%s", quote)
		}
	}
	if len(quotes) == 0 {
		t.Error("the README quotes nothing")
	}
}
