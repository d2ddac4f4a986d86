package bolt

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestMarkSwallowsNothing: a Compact or a Backup that is called while a mark waits to be written
// does what it is for.
func TestMarkSwallowsNothing(t *testing.T) {
	for name, call := range map[string]func(t *testing.T, s *Store) error{
		"Compact": func(t *testing.T, s *Store) error {
			before := s.tree.Info
			err := s.Compact(context.Background())
			if after, stat := os.Stat(s.tree.Path); stat != nil || os.SameFile(before, after) {
				t.Errorf("the file is the one of before, %v", stat)
			}
			return err
		},
		"Backup": func(t *testing.T, s *Store) error {
			var b bytes.Buffer
			err := s.Backup(context.Background(), &b)
			to := filepath.Join(t.TempDir(), "copy.db")
			if err := os.WriteFile(to, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			if n := open(t, to, nil).Stats().Tokens; n != 2 {
				t.Errorf("the copy has %d records; want 2", n)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, lazy, func(t *testing.T, opts *Options) {
				s := openNew(t, opts)
				put(t, s, record(1))
				g := holdCommits(t, s)
				writes := async(func() error { return putting(s, record(2)) })
				<-g.arrived
				ahead(s, time.Hour)
				flushed := async(s.flush)
				awaitWaiting(s, 1) // the mark
				called := async(func() error { return call(t, s) })
				letCommits(s)
				g.release <- nil
				for what, done := range map[string]chan error{"Update": writes, "flush": flushed, name: called} {
					if err := <-done; err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
		})
	}
}
