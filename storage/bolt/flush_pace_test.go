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
