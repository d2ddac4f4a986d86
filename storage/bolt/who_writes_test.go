package bolt

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// byCommitter reports whether the goroutine that calls it is the committer.
func byCommitter() bool {
	b := make([]byte, 64<<10)
	return strings.Contains(string(b[:runtime.Stack(b, false)]), "commitLoop")
}

// TestWhoWrites: a caller that finds no group being written writes its own, unless its context can
// end. What gathers meanwhile is a group of the committer.
func TestWhoWrites(t *testing.T) {
	endless := context.Background()
	ending, cancel := context.WithCancel(endless)
	defer cancel()
	s := openNew(t, nil)
	arrived, release := make(chan bool), make(chan struct{})
	onWrite(s, func(do func() error) error {
		arrived <- byCommitter()
		<-release
		return do()
	})
	defer letCommits(s)
	for _, row := range []struct {
		name      string
		calls     []context.Context // the first finds no group being written
		committer []bool            // who writes, by group
	}{
		{"a context that cannot end", []context.Context{endless}, []bool{false}},
		{"a context that can end", []context.Context{ending}, []bool{true}},
		{"one call gathers", []context.Context{endless, endless}, []bool{false, true}},
		{"more gather", []context.Context{endless, ending, endless}, []bool{false, true}},
		{"behind the committer", []context.Context{ending, endless, endless}, []bool{true, true}},
		{"again", []context.Context{endless}, []bool{false}},
	} {
		t.Run(row.name, func(t *testing.T) {
			awaitIdle(s)
			errs := make(chan error, len(row.calls))
			call := func(i int) {
				errs <- s.Update(row.calls[i], "ana", func(tx storage.Tx) error {
					r := record(1)
					r.Subject = "ana"
					return tx.Put(r)
				})
			}
			go call(0)
			for group, want := range row.committer {
				if got := <-arrived; got != want {
					t.Errorf("group %d: written by the committer: %t; want %t", group, got, want)
				}
				if group == 0 {
					for i := 1; i < len(row.calls); i++ {
						go call(i)
					}
					awaitWaiting(s, len(row.calls)-1)
				}
				release <- struct{}{}
			}
			for range row.calls {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// awaitIdle waits until no goroutine writes groups.
func awaitIdle(s *Store) {
	for busy := true; busy; runtime.Gosched() {
		s.turn.Take()
		busy = s.busy
		s.turn.Give()
	}
}
