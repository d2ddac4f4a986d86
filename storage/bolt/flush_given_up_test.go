package bolt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestFlushGivenUpCounts: the renewals of a flush that its caller has given up while the disk was
// writing are in Stats.Unsaved until the disk has answered, and after that if the write has failed.
func TestFlushGivenUpCounts(t *testing.T) {
	for name, answer := range map[string]error{"written": nil, "failed": errDisk} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t, &lazy)
			put(t, s, record(1))
			touch(t, s, record(1), by(record(1), time.Minute))
			d := stop(t, s)
			d.fail = answer
			letGo := sync.OnceFunc(func() { close(d.open) })
			t.Cleanup(func() { letCommits(s); letGo() })
			ctx, cancel := context.WithCancel(context.Background())
			flushed := async(func() error { return s.flushNow(ctx) })
			<-d.arrived
			cancel()
			if err := <-flushed; !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatalf("the flush that was given up: %v; want ErrOutcomeUnknown", err)
			}
			if n := s.Stats().Unsaved; n != 1 {
				t.Errorf("while the disk is writing: %d unsaved; want 1", n)
			}
			letGo()
			for s.inWriting() {
				time.Sleep(time.Millisecond)
			}
			if n := s.Stats().Unsaved; (n > 0) != (answer != nil) {
				t.Errorf("when the disk has answered %v: %d unsaved", answer, n)
			}
		})
	}
}

// inWriting reports whether the committer is writing a group.
func (s *Store) inWriting() bool {
	s.turn.Take()
	defer s.turn.Give()
	return s.writing != nil
}
