package bolt

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestTouchDuringAFlush: what is touched while a flush is under way, which will not
// write it, is written by the next one, although nobody writes or touches after that.
func TestTouchDuringAFlush(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 3)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, &Options{FlushEvery: time.Hour})
		disk := stop(t, s)
		used := record(1).IssuedAt.Add(time.Minute)
		for n := 1; n <= 2; n++ {
			if err := s.Touch(ctx, record(n).ID, storage.Use{At: used}); err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				<-disk.arrived // in the bubble, an hour later
			}
		}
		close(disk.open)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for n := 1; n <= 2; n++ {
			if got := usedInFile(t, path, n); !got.Equal(used) {
				t.Errorf("record %d: last used %v; want %v", n, got, used)
			}
		}
	})
}

// TestFlushKeepsItsPromise: a Touch is in a group that is written at most FlushEvery later, although a
// checkpoint is held up, and although a flush was under way when it came.
func TestFlushKeepsItsPromise(t *testing.T) {
	path, _ := makeFile(t, 3)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, &Options{FlushEvery: time.Second, logAtOnce: true})
		put(t, s, record(9)) // makes the log
		s.tree.Turn.Take()   // as a checkpoint does
		var written []time.Time
		onWrite(s, func(do func() error) error {
			time.Sleep(300 * time.Millisecond) // of the bubble
			written = append(written, time.Now())
			return do()
		})
		begin := time.Now()
		for n, at := range []time.Duration{0, 1100 * time.Millisecond, 1900 * time.Millisecond} {
			time.Sleep(time.Until(begin.Add(at)))
			touch(t, s, record(n%2+1), by(record(n%2+1), time.Duration(n+1)*time.Minute))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		s.tree.Turn.Give()
		want := []time.Duration{1300 * time.Millisecond, 2300 * time.Millisecond}
		if len(written) != len(want) || unsaved(s) != 0 {
			t.Fatalf("%d groups, %d unsaved; want %d and none", len(written), unsaved(s), len(want))
		}
		for i, at := range written {
			if got := at.Sub(begin); got != want[i] {
				t.Errorf("group %d: after %v; want %v", i, got, want[i])
			}
		}
	})
}
