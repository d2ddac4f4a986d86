package bolt

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestBackupWaitsForAFlush that others have begun: what it took is in the copy.
func TestBackupWaitsForAFlush(t *testing.T) {
	s := openNew(t, &lazy)
	put(t, s, record(1))
	want := touch(t, s, record(1), by(record(1), time.Minute))
	g := holdCommits(t, s)
	flushed := async(s.flush)
	<-g.arrived
	var copied bytes.Buffer
	backup := async(func() error { return s.Backup(context.Background(), &copied) })
	awaitNothing()
	g.release <- nil
	for _, done := range []chan error{flushed, backup} {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := shown(t, again, want.ID); !got.Equal(want) {
		t.Errorf("in the copy: %+v; want %+v", got, want)
	}
}

// awaitNothing gives others the time to go wrong.
func awaitNothing() {
	for range 10_000 {
		runtime.Gosched()
	}
}
