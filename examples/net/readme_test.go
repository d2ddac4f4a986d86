// Package net has a test of all examples of this module.
package net

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmes: what a README quotes stands in the code beside it, line for line.
func TestReadmes(t *testing.T) {
	readmes, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, readme := range readmes {
		names, err := filepath.Glob(filepath.Join(filepath.Dir(readme), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var code strings.Builder
		for _, name := range names {
			code.WriteString("\n" + read(t, name))
		}
		quotes := strings.Split(read(t, readme), "```go\n")[1:]
		for _, quote := range quotes {
			quote, _, _ = strings.Cut(quote, "```")
			if !strings.Contains(code.String(), "\n"+quote) {
				t.Errorf("%s quotes what is nowhere in its code:\n%s", readme, quote)
			}
		}
		if len(quotes) == 0 {
			t.Errorf("%s quotes nothing", readme)
		}
	}
	if len(readmes) != 7 {
		t.Errorf("%d examples have a README; want 7", len(readmes))
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}
