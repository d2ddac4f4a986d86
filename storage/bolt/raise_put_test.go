package bolt

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
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

// TestAddUse: what a raise makes of the entry before it.
func TestAddUse(t *testing.T) {
	use := by(record(1), time.Minute)
	for name, r := range map[string]storage.Record{"living": record(1), "ended": ended(record(1))} {
		value, err := encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		e := wire.Entry{Kind: wire.PutEntry, ID: r.ID, Value: value}
		if err := addUse(&e, use); err != nil {
			t.Fatal(err)
		}
		use.Raise(&r)
		if got, err := decode(r.ID[:], e.Value); err != nil || !got.Equal(r) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, r)
		}
	}
}
