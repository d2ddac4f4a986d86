package bolt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestCloseMeetsTouches: what a Touch acknowledged while Close began is in the file.
func TestCloseMeetsTouches(t *testing.T) {
	t.Parallel()
	const callers = 4
	for range sample.Of(60, 10) {
		path, _ := makeFileIn(t, quickDir(t), callers)
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
