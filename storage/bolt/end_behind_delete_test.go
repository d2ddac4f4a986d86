package bolt

import "testing"

// TestEndBehindADelete: a record that an Update of the same group has deleted is put back as an
// ended one. It is in the file as the table shows it, in the log and in the tree alike.
func TestEndBehindADelete(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 3)
		s := open(t, path, opts)
		g := holdCommits(t, s)
		all := []chan error{async(func() error { return putting(s, record(9)) })}
		<-g.arrived
		all = append(all, async(func() error { return deleting(s, record(1)) }))
		awaitWaiting(s, 1)
		all = append(all, async(func() error { return putting(s, ended(record(1))) }))
		awaitWaiting(s, 2)
		g.release <- nil
		<-g.arrived
		g.release <- nil
		letCommits(s)
		for _, done := range all {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		want := ended(record(1))
		if got := shown(t, s, want.ID); !got.Equal(want) {
			t.Errorf("shown: %+v; want %+v", got, want)
		}
		if got := shown(t, openCrashed(t, path), want.ID); !got.Equal(want) {
			t.Errorf("after a crash: %+v; want %+v", got, want)
		}
	})
}
