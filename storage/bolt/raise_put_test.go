package bolt

import (
	"testing"
	"time"
)

// TestRaiseBehindAPut: a Touch that is flushed in the group of an Update which had read the record
// before is in the file with that group, in the log and in the tree alike.
func TestRaiseBehindAPut(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 3)
		s := open(t, path, opts)
		g := holdCommits(t, s)
		first := async(func() error { return putting(s, record(9)) })
		<-g.arrived
		renamed := record(1)
		renamed.Name += ", renamed"
		second := async(func() error { return putting(s, renamed) })
		awaitWaiting(s, 1)
		use := by(record(1), time.Minute)
		touch(t, s, record(1), use)
		flushed := async(s.flush)
		awaitWaiting(s, 2)
		g.release <- nil
		<-g.arrived
		g.release <- nil
		letCommits(s)
		for _, done := range []chan error{first, second, flushed} {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		use.Raise(&renamed)
		if got := shown(t, openCrashed(t, path), renamed.ID); !got.Equal(renamed) {
			t.Errorf("after a crash: %+v; want %+v", got, renamed)
		}
	})
}
