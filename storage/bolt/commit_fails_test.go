package bolt

import (
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestCommitOfBboltFails fails each of the first four, written or not, in both modes, that of Close
// included, and the syncs behind the second of two commits, of which a store without a log has none:
// what was acknowledged is there, what failed is not, what was to be ended stays ended from then on,
// and the next write goes through. Before that, another program may have committed to the file.
func TestCommitOfBboltFails(t *testing.T) {
	for fails := range 4 {
		for _, how := range []string{"not written", "written"} {
			for _, others := range []int{0, 3} {
				t.Run(fmt.Sprintf("commit %d, %s, after %d of another program", fails, how, others), func(t *testing.T) {
					inBoth(t, lazy, func(t *testing.T, opts *Options) {
						commitFails(t, opts, fails, how, others, opts.logAtOnce && fails >= 2)
					})
				})
			}
		}
	}
	for fails := range 2 {
		t.Run(fmt.Sprintf("sync %d", fails), func(t *testing.T) {
			opts := lazy
			opts.logAtOnce = true
			commitFails(t, &opts, fails, notSynced, 0, fails == 1)
		})
	}
}

const notSynced = "not synced"

// commitFails has the commit, or the sync, with that number fail. atClose says whether Close fails, too:
// then the log stays, and the next Open takes it.
func commitFails(t *testing.T, opts *Options, fails int, how string, others int, atClose bool) {
	path, _ := makeFileIn(t, quickDir(t), 10)
	foreign(t, path, nil, others, idle)
	s := open(t, path, opts)
	commits, syncs := 0, 0
	s.tree.Turn.Take()
	s.tree.CommitTx = func(btx *bbolt.Tx) error {
		commits++
		switch {
		case commits-1 != fails, how == notSynced:
			return btx.Commit()
		case how == "written":
			return errors.Join(btx.Commit(), errDisk)
		}
		return errDisk
	}
	s.tree.SyncDB = func(db *bbolt.DB) error {
		syncs++
		if how == notSynced && syncs-1 == fails {
			return errDisk
		}
		return db.Sync()
	}
	s.tree.Turn.Give()
	want := make(truth)
	for n := range 10 {
		want[record(n).ID] = record(n)
	}
	denied := ended(record(1))
	for n, r := range []storage.Record{denied, ended(record(2)), record(20), record(21)} {
		err := putting(s, r)
		switch unknown := errors.Is(err, storage.ErrOutcomeUnknown); {
		case err == nil, unknown && !r.EndedAt.IsZero():
			want[r.ID] = r
		case !errors.Is(err, errDisk), !unknown && !errors.Is(err, storage.ErrUnavailable):
			t.Errorf("write %d: %v; want the cause, and whether it is known", n, err)
		case unknown && opts.logAtOnce:
			t.Errorf("write %d: %v; want what is known: it was not in the log", n, err)
		}
	}
	for when, s := range map[string]*Store{"at once": s, "after a crash": openCrashed(t, path)} {
		if text := want.differs(t, s); text != "" {
			t.Errorf("%s: %s", when, text)
		}
	}
	if err := s.Close(); (err != nil) != atClose || err != nil && !errors.Is(err, errDisk) {
		t.Errorf("Close: %v; want an error: %v", err, atClose)
	}
	if text := want.differs(t, open(t, path, nil)); text != "" {
		t.Errorf("reopened: %s", text)
	}
	if commits <= fails || how == notSynced && syncs <= fails {
		t.Errorf("%d commits, %d syncs; want one that fails", commits, syncs)
	}
}
