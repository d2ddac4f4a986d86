package localfile

import (
	"errors"
	"os"
	"testing"
	"time"
)

// TestLockWithin: the lock of a directory that is free is had at once; one that is held, after its
// holder has given it up, and not at all after the timeout.
func TestLockWithin(t *testing.T) {
	if !LocksEarly {
		t.Skip("this system has no such locks")
	}
	dir := t.TempDir()
	first, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := LockWithin(first, 0); err != nil {
		t.Fatal(err)
	}
	if err := LockWithin(second, 0); !errors.Is(err, ErrLocked) {
		t.Errorf("held: %v", err)
	}
	got := make(chan error, 1)
	go func() { got <- LockWithin(second, time.Minute) }()
	first.Close()
	if err := <-got; err != nil {
		t.Errorf("given up: %v", err)
	}
}
