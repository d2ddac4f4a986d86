package bolt

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestRoomBesideWhatIsOwed: a record that the disk has to learn of takes no second place, and one
// that was swept takes none.
func TestRoomBesideWhatIsOwed(t *testing.T) {
	ends := func(t *testing.T, s *Store, arrived <-chan struct{}) chan error {
		ctx, cancel := context.WithCancel(t.Context())
		left := async(func() error { return puttingUntil(ctx, s, ended(record(0)), ended(record(7)), ended(record(14))) })
		<-arrived
		cancel()
		if err := <-left; !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Fatalf("the end: %v; want ErrOutcomeUnknown", err)
		}
		return nil
	}
	sweeps := func(t *testing.T, s *Store, arrived <-chan struct{}) chan error {
		first := async(func() error { return putting(s, record(0)) })
		<-arrived
		done := async(func() error {
			_, err := s.Sweep(context.Background(), record(7).ExpiresAt.Add(time.Hour), 10)
			return errors.Join(err, <-first)
		})
		awaitWaiting(s, 1)
		return done
	}
	for name, row := range map[string]struct {
		owe   func(*testing.T, *Store, <-chan struct{}) chan error
		limit int
	}{"ends": {ends, 16}, "a sweep": {sweeps, 15}} {
		t.Run(name, func(t *testing.T) {
			path, _ := makeFileIn(t, quickDir(t), 15)
			s := open(t, path, &Options{logAtOnce: true, FlushEvery: lazy.FlushEvery, MaxTokens: row.limit})
			disk := stop(t, s)
			done := row.owe(t, s, disk.arrived)
			issued := async(func() error { return putting(s, record(20)) })
			awaitNothing()
			close(disk.open)
			if err := <-issued; err != nil {
				t.Errorf("one more: %v; there is room", err)
			}
			if done != nil {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}
