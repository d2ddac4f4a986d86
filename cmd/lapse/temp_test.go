//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// stuck is a store whose first Backup writes a part, and then waits until its client is gone.
type stuck struct {
	*bolt.Store
	begun chan struct{}
}

func (s *stuck) Backup(ctx context.Context, w io.Writer) error {
	select {
	case <-s.begun:
		return s.Store.Backup(ctx, w)
	default:
	}
	w.Write(make([]byte, 1<<10))
	close(s.begun)
	<-ctx.Done()
	return ctx.Err()
}

// TestKilledBackup: a backup removes what a killed one to the same file has left, and no other file: neither
// the temporary file of one that runs, nor that of another target, nor what only looks alike.
func TestKilledBackup(t *testing.T) {
	w := fileAlone(t)
	store := &stuck{w.store.(*bolt.Store), make(chan struct{})}
	w.store = store
	socket := filepath.Join(privateDir(t), "s")
	w.args = []string{"--socket", socket}
	w.serve(socket)
	dir := t.TempDir()
	to := filepath.Join(dir, "copy.db")

	killed := exec.Command(built(t), "--socket", socket, "backup", to)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	<-store.begun
	killed.Process.Kill()
	killed.Wait()
	if left := namesIn(t, dir); len(left) != 1 {
		t.Fatalf("a killed backup leaves %v; want one file", left)
	}

	running, err := newTemp(to)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	another, err := newTemp(filepath.Join(dir, "another.db"))
	if err != nil {
		t.Fatal(err)
	}
	another.Close()
	want := []string{filepath.Base(running.Name()), filepath.Base(another.Name()), ".copy.db.swp", "copy.db"}
	if err := os.WriteFile(filepath.Join(dir, ".copy.db.swp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.lapse("", "backup", to).wants(t, 0)
	slices.Sort(want)
	if left := namesIn(t, dir); !slices.Equal(left, want) {
		t.Errorf("a backup leaves %v; want %v", left, want)
	}
}

// namesIn returns the names in dir, sorted.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
