package bolt

import "testing"

// TestNameOfAFileIsSynced: the process that gave the file its name may have been killed before that was
// durable, so the first transaction of all sees to it. The one after a Compact whose directory
// could not be synced does, too, before anything is acknowledged or the log is freed.
func TestNameOfAFileIsSynced(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 0)
		s := open(t, path, opts)
		if s.tree.State.Named {
			t.Error("after Open of a new file: nothing is to be synced")
		}
		put(t, s, record(1))
		if !s.tree.State.Named {
			t.Error("after a write: it is still to be synced")
		}
		if err := s.Compact(t.Context()); err != nil || !s.tree.State.Named {
			t.Errorf("Compact: %v, and synced: %v", err, s.tree.State.Named)
		}
	})
}
