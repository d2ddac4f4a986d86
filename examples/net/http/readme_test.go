package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/examples/net/internal/browser"
)

// TestCurl runs what the README of lapsehttp shows, as it stands there, and wants the output that it
// shows.
func TestCurl(t *testing.T) {
	browser.Need(t, "curl")
	shell := browser.Need(t, "sh")
	readme, err := os.ReadFile(filepath.Join("..", "..", "..", "transport", "lapsehttp", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(strings.ReplaceAll(string(readme), "\r\n", "\n"), "<!-- run -->\n```sh\n")
	commands, rest, closed := strings.Cut(shown, "```\n\n```text\n")
	want, _, whole := strings.Cut(rest, "```")
	if !ok || !closed || !whole || !strings.Contains(commands, "http://127.0.0.1:8080") {
		t.Fatal("the README does not show what to run and what comes of it")
	}
	s := newScene(t)
	run := exec.Command(shell, "-eu", "-c", strings.Replace(commands, "http://127.0.0.1:8080", s.url, 1))
	run.Dir = t.TempDir()
	var errs bytes.Buffer
	run.Stderr = &errs
	got, err := run.Output()
	if plain := strings.ReplaceAll(string(got), "\r", ""); err != nil || plain != want {
		t.Errorf("%v %s\ngot:\n%s\nwant:\n%s", err, &errs, plain, want)
	}
}

// TestRun: the program says where it serves, serves, and ends with its context, its store closed.
func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	db := filepath.Join(t.TempDir(), "tokens.db")
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", db, ttl, writer) }()
	var url string
	if _, err := fmt.Fscanln(reader, &url); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, reader)
	answer, err := http.Get(url + "api/files")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s", answer.Status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(db); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), "256.0.0.1:0", db, ttl, io.Discard); err == nil {
		t.Error("it serves at an address that is none")
	}
}
