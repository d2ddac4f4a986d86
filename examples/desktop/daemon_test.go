//go:build darwin || freebsd || linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-55daa01a/lapse/admin"
)

// TestKilledDaemon: a daemon that is killed leaves its socket and a log. The commands work all the same,
// and lose nothing.
func TestKilledDaemon(t *testing.T) {
	h := newHome(t)
	d := h.startDaemon()
	for i := range 12 {
		h.must(fmt.Sprintf("login --device d%d ana", i))
	}
	d.kill()
	file := h.desktop().file()
	socket, err := admin.DefaultPath(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{socket, file + "-lapse"} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the daemon left no %s: %v", filepath.Base(path), err)
		}
	}
	if got := strings.Count(h.must("devices --device d0"), "\n"); got != 1+12 {
		t.Errorf("%d lines, want 13", got)
	}
	d = h.startDaemon()
	d.connect("d11").mustHear("OK ana")
	d.stop()
	for _, path := range []string{socket, file + "-lapse"} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the second daemon left %s: %v", filepath.Base(path), err)
		}
	}
}

// TestRestarts: while the daemon starts and stops, no command fails.
func TestRestarts(t *testing.T) {
	h := newHome(t)
	h.must("login --device laptop ana")
	var commands sync.WaitGroup
	over := make(chan bool)
	ran := 0
	commands.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			ran++
			if got := h.runs("whoami --device laptop"); got != (said{0, "ana\n", ""}) {
				t.Errorf("%+v", got)
			}
		}
	})
	for range 8 {
		h.startDaemon().stop()
	}
	close(over)
	commands.Wait()
	if ran == 0 {
		t.Error("no command ran")
	}
}

// TestOnlyOneDaemon: a second daemon ends, and so does one whose address is taken.
func TestOnlyOneDaemon(t *testing.T) {
	h := newHome(t)
	d := h.startDaemon()
	for command, want := range map[string]string{
		"daemon --addr " + anyPort:                    "in use",
		"daemon --dir " + h.dir + " --addr " + d.addr: "address already in use",
	} {
		if got := h.runs(command); got.Code != 1 || got.Out != "" || !strings.Contains(got.Err, want) {
			t.Errorf("%s: %+v", command, got)
		}
	}
	h.must("login --device laptop ana") // the first daemon goes on
	d.stop()
}
