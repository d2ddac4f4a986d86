package bolt

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestDamagedRecordInTheLog: a crash left a record that is damaged in the file and that the log
// has something of. A renewal makes it no better: it stays, and is denied. A later version takes
// its place. The next Open opens the file either way.
func TestDamagedRecordInTheLog(t *testing.T) {
	for name, row := range map[string]struct {
		write   func(t *testing.T, s *Store)
		damaged int
	}{
		"a renewal": {func(t *testing.T, s *Store) {
			touch(t, s, record(1), by(record(1), time.Minute))
			if err := s.flush(); err != nil {
				t.Fatal(err)
			}
		}, 1},
		"an end": {func(t *testing.T, s *Store) { put(t, s, ended(record(1))) }, 1},
		"a later version": {func(t *testing.T, s *Store) {
			r := record(1)
			r.Name += ", renamed"
			put(t, s, r)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := makeFileIn(t, quickDir(t), 3)
			s := open(t, path, &Options{logAtOnce: true, FlushEvery: lazy.FlushEvery})
			row.write(t, s)
			crashed := filepath.Join(quickDir(t), "tokens.db")
			copyStoreFiles(t, path, crashed)
			damage(t, crashed, record(1))
			for _, when := range []string{"after the crash", "later"} {
				s = open(t, crashed, nil)
				_, err := s.Get(context.Background(), record(1).ID)
				if got := s.Stats().Damaged; got != row.damaged || errors.Is(err, storage.ErrCorrupt) != (got > 0) {
					t.Errorf("%s: %d damaged, Get: %v; want %d", when, got, err, row.damaged)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestDamagedWhileOpenAndReplaced: what takes the place of a record that was damaged while the
// store was open leaves a file that opens.
func TestDamagedWhileOpenAndReplaced(t *testing.T) {
	inBoth(t, Options{}, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 3)
		s := open(t, path, opts)
		damage(t, path, record(1))
		put(t, s, ended(record(1)), record(5))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		records, damaged := contents(t, open(t, path, nil))
		if len(damaged) > 0 || len(records) != 4 || records[record(1).ID].EndedAt.IsZero() {
			t.Errorf("damaged: %v, and %d records; want none, 4, and an end", damaged, len(records))
		}
	})
}
