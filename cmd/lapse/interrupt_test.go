//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// TestInterrupted: a verb that waits for input ends with the context.
func TestInterrupted(t *testing.T) {
	silent, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	defer w.Close()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	file := fileAlone(t).file
	for _, args := range [][]string{{"scan"}, {"scan", pipe}, {"scan", filepath.Dir(pipe), pipe}, {"--file", file, "issue", "ana", "--data", pipe}, {"--file", file, "verify"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		code := make(chan int)
		go func() { code <- (&app{ctx: ctx, stdin: silent, stdout: os.Stderr, stderr: os.Stderr}).run(args) }()
		select {
		case got := <-code:
			if got != exitUsage {
				t.Errorf("%v: exit %d, want %d", args, got, exitUsage)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%v: it still waits", args)
		}
		cancel()
	}
}

// TestInterruptedYes: --yes is no answer to an interrupt that came before the question would have.
func TestInterruptedYes(t *testing.T) {
	w := fileAlone(t)
	copied := filepath.Join(t.TempDir(), "copy.db")
	w.lapse("", "backup", copied).wants(t, 0)
	id := w.issue(lapse.Grant{Subject: "ana"}).Token.ID
	w.store.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, verb := range [][]string{{"restore", copied, "--yes"}, {"check", "--repair", "--yes"}} {
		a := &app{ctx: ctx, stdout: os.Stderr, stderr: os.Stderr}
		if got := a.run(append(w.args[:2:2], verb...)); got != exitUsage {
			t.Errorf("%v: exit %d, want %d", verb, got, exitUsage)
		}
	}
	w.lapseOnly("show", id.String()).wants(t, 0)
}

// TestTwoSignals: the second of two signals that come together, as those of timeout do, cuts no verb short.
func TestTwoSignals(t *testing.T) {
	for range 10 {
		command := exec.Command(built(t), "scan")
		in, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		in.Write([]byte(fileAlone(t).issue(lapse.Grant{Subject: "ana"}).Bearer + "\n"))
		out.Read(make([]byte, 100)) // it has begun
		command.Process.Signal(os.Interrupt)
		command.Process.Signal(syscall.SIGTERM)
		command.Wait()
		if got := command.ProcessState.ExitCode(); got != exitUsage {
			t.Fatalf("exit %v, want %d", command.ProcessState, exitUsage)
		}
	}
}

// TestBrokenPipe: where the text of a new token finds no reader, the command says which token has lost its text.
func TestBrokenPipe(t *testing.T) {
	w := fileInUse(t)
	id := w.issue(lapse.Grant{Subject: "ana"}).ID.String()
	for _, args := range [][]string{{"issue", "ana"}, {"issue", "ana", "--pair"}, {"issue", "ana", "--json"}, {"rotate", id}} {
		r, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var told bytes.Buffer
		command := exec.Command(built(t), append([]string{"--file", w.file}, args...)...)
		command.Stdout, command.Stderr = out, &told
		err = command.Run()
		out.Close()
		if got := command.ProcessState.ExitCode(); got != exitFailed || !strings.Contains(told.String(), "is lost; revoke the token") {
			t.Errorf("%v: %v, told %q", args, err, told.String())
		}
	}
}

// TestBrokenPipes: a verb that writes goes on where what it tells finds no reader.
func TestBrokenPipes(t *testing.T) {
	w := fileInUse(t)
	var texts string
	args := []string{"revoke"}
	for range 3 {
		args = append(args, w.issue(lapse.Grant{Subject: "ana"}).ID.String())
		texts += w.issue(lapse.Grant{Subject: "ana"}).Bearer + "\n"
	}
	inJSON := append([]string{"suspend", "--json"}, args[1:]...)
	for _, args := range [][]string{inJSON, args, {"scan", "--expire"}} {
		r, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		command := exec.Command(built(t), append([]string{"--file", w.file}, args...)...)
		command.Stdin, command.Stdout, command.Stderr = strings.NewReader(texts), out, out
		command.Run()
		out.Close()
	}
	for _, id := range args[1:] {
		w.lapse("", "show", id, "--json").wants(t, 0, `"suspended_at"`)
	}
	if n, err := w.users.Count(t.Context(), lapse.Query{Live: true}); n != 0 || err != nil {
		t.Errorf("%d of 6 tokens live, %v", n, err)
	}
}
