package bolt

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// naming names record(0), which is on its way to the disk, and reports whether it had ended or was
// suspended.
func naming(ctx context.Context, s *Store, name string, had *bool) error {
	return s.Update(ctx, record(0).Subject, func(tx storage.Tx) error {
		r, err := tx.Get(record(0).ID)
		if err != nil {
			return err
		}
		*had = !r.EndedAt.IsZero() || !r.SuspendedAt.IsZero()
		r.Name = name
		return tx.Put(r)
	})
}

// TestWithdrawnLeavesWhatItReplaced: an Update that is taken back, because its context ends, uncovers
// an end, or a suspension, that waits for the disk. The Update that comes next sees that, and does not
// undo it.
func TestWithdrawnLeavesWhatItReplaced(t *testing.T) {
	for name, gathers := range map[string]bool{"the end is being written": false, "the end gathers": true} {
		for what, change := range map[string]troubled{"ended": isEnded, "suspended": isSuspended} {
			t.Run(name+", "+what, func(t *testing.T) {
				r := record(0)
				withdrawnLeaves(t, gathers, *change(&r))
			})
		}
	}
}

// withdrawnLeaves does so with dead, which is record(0) as it is put.
func withdrawnLeaves(t *testing.T, gathers bool, dead storage.Record) {
	path, _ := makeFile(t, 2)
	s := open(t, path, &Options{logAtOnce: true})
	disk, waits := stop(t, s), 1
	var all []chan error
	if gathers {
		all, waits = append(all, async(func() error { return putting(s, record(1)) })), 2
		<-disk.arrived
	}
	all = append(all, async(func() error { return putting(s, dead) }))
	<-disk.arrived
	awaitWaiting(s, waits-1)
	var had, then bool
	ctx, cancel := context.WithCancel(context.Background())
	second := async(func() error { return naming(ctx, s, "second", &had) })
	awaitWaiting(s, waits)
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) || !had {
		t.Fatalf("the second: %v, and has seen the end: %v", err, had)
	}
	all = append(all, async(func() error { return naming(context.Background(), s, "third", &then) }))
	awaitWaiting(s, waits+1)
	close(disk.open)
	for _, done := range all {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	want := dead
	want.Name = "third"
	if got := shown(t, s, want.ID); !then || !got.Equal(want) {
		t.Errorf("the third has seen the end: %v; shown: %+v; want %+v", then, got, want)
	}
	if got := inFile(t, s, want.ID); !got.Equal(want) {
		t.Errorf("in the file: %+v; want %+v", got, want)
	}
	if s.stage.Holds(want.ID) {
		t.Error("it is held for ever")
	}
}
