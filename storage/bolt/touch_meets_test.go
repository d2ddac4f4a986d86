package bolt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestCloseMeetsTouches: what a Touch acknowledged while Close began is in the file.
func TestCloseMeetsTouches(t *testing.T) {
	const callers = 4
	for range 60 {
		path, _ := makeFile(t, callers)
		s, err := Open(path, &lazy)
		if err != nil {
			t.Fatal(err)
		}
		var last [callers]storage.Record
		var touching sync.WaitGroup
		arrived := make(chan struct{}, callers)
		for c := range callers {
			last[c] = record(c)
			touching.Go(func() {
				for n := 1; ; n++ {
					if n == 100 {
						arrived <- struct{}{}
					}
					use := by(record(c), time.Duration(n)*time.Millisecond)
					if err := s.Touch(context.Background(), record(c).ID, use); err != nil {
						if !errors.Is(err, storage.ErrClosed) {
							t.Error(err)
						}
						return
					}
					use.Raise(&last[c])
				}
			})
		}
		for range callers {
			<-arrived
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		touching.Wait()
		again, err := Open(path, &lazy)
		if err != nil {
			t.Fatal(err)
		}
		for c := range callers {
			if got := shown(t, again, record(c).ID); got.LastUsedAt.Before(last[c].LastUsedAt) {
				t.Errorf("caller %d: last used %v, and Touch said %v", c, got.LastUsedAt, last[c].LastUsedAt)
			}
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTouchThatCannotBeStored is refused, and does not cost others their renewal.
func TestTouchThatCannotBeStored(t *testing.T) {
	path, _ := makeFile(t, 3)
	s, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := touch(t, s, record(0), by(record(0), time.Minute))
	use := by(record(1), 0)
	use.ExpiresAt = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := s.Touch(context.Background(), record(1).ID, use); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Touch: %v; want ErrUnavailable", err)
	}
	s.flush()
	if err := s.flush(); err != nil {
		t.Error(err)
	}
	if got := inFile(t, s, record(0).ID); got != want {
		t.Errorf("in the file: %+v; want %+v", got, want)
	}
}
