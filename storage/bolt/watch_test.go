package bolt

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// watching returns what s tells from now on. The Gap has been taken off.
func watching(t *testing.T, s *Store) <-chan storage.Change {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan storage.Change, 1_000), make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for c, err := range s.Watch(ctx) {
			if err != nil {
				return
			}
			told <- c
		}
	}()
	if c := <-told; !c.Gap {
		t.Fatalf("told of %+v; want a Gap first", c)
	}
	return told
}

// TestWatchTellsWhatIsDurable, and nothing that is still being written.
func TestWatchTellsWhatIsDurable(t *testing.T) {
	s := openNew(t, nil)
	told := watching(t, s)
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(1)) })
	<-g.arrived
	second := async(func() error { return putting(s, record(2)) })
	awaitWaiting(s, 1)
	if len(told) > 0 {
		t.Errorf("told of %+v before it was durable", <-told)
	}
	letCommits(s)
	g.release <- nil
	for n, done := range []chan error{first, second} {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if c := <-told; c.ID != record(n+1).ID || c.Subject != record(n+1).Subject {
			t.Errorf("told of %+v; want record %d", c, n+1)
		}
	}
	failCommit(s, func(func() error) error { return errDisk })
	if err := putting(s, record(3)); err == nil {
		t.Fatal("the commit did not fail")
	}
	put(t, s, record(4))
	if c := <-told; c.ID != record(4).ID {
		t.Errorf("told of %+v, which was not written", c)
	}
}

// TestWatchTellsAnEndOfUnknownOutcome, since it counts as an end here, and of no creation, whether
// the group reached the disk or not.
func TestWatchTellsAnEndOfUnknownOutcome(t *testing.T) {
	for name, fails := range map[string]func(func() error) error{"written": syncLost, "not written": notWritten} {
		t.Run(name, func(t *testing.T) {
			path, _ := makeFile(t, 10)
			s := open(t, path, &lazy)
			told := watching(t, s)
			failCommit(s, fails)
			fresh, dead := record(15), ended(record(1)) // of one subject
			if err := putting(s, fresh, dead); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatalf("Update: %v; want ErrOutcomeUnknown", err)
			}
			if c := <-told; c.ID != dead.ID || c.Subject != dead.Subject {
				t.Errorf("told of %+v; want the end", c)
			}
			if got := shown(t, s, dead.ID); got.EndedAt.IsZero() {
				t.Error("it was told of an end that cannot be read")
			}
			if err := tryAgain(s); err != nil {
				t.Fatal(err)
			}
			put(t, s, record(20))
			if c := <-told; c.ID != record(20).ID {
				t.Errorf("told of %+v; want the next write", c)
			}
		})
	}
}
