package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/admin"
)

// TestSilent: a program that hangs is told apart from one that serves no socket.
func TestSilent(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", privateDir(t))
	defer func(before time.Duration) { patience = before }(patience)
	patience = 200 * time.Millisecond
	file := boltOpen(t)
	socket, err := admin.DefaultPath(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, verb := range []string{"ls", "watch", "compact"} {
		lapseAt(t, nil, "", "--file", file, verb).wants(t, exitInUse, "process", "has not answered for 200ms")
		lapseAt(t, nil, "", "--socket", socket, verb).wants(t, exitInUse, "has not answered for 200ms")
	}
}

// TestCrowded: a program that has no connection left says so.
func TestCrowded(t *testing.T) {
	w := fileInUse(t)
	socket, err := admin.DefaultPath(w.file)
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		client, err := admin.Dial(t.Context(), socket)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
	}
	w.lapse("", "ls").wants(t, exitInUse, "64 connections are open")
}
