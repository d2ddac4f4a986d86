package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestOpeningWritesNothing to a file in order, and merges what a crash has left in one
// once.
func TestOpeningWritesNothing(t *testing.T) {
	path, closed := makeFile(t, 20)
	again := func(when string, want []byte) {
		t.Helper()
		for range 2 {
			if err := open(t, path, nil).Close(); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(readFile(t, path), want) {
				t.Errorf("%s: opening the file changed it", when)
			}
		}
	}
	again("closed", closed)
	s := open(t, path, nil)
	put(t, s, large(1), ended(record(3)))
	crashed := readFile(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again("closed after writes", readFile(t, path))
	if err := os.WriteFile(path, crashed, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, nil)
	if s.log.tree.seq != s.log.journal.seq || !shown(t, s, large(1).ID).Equal(large(1)) {
		t.Errorf("the tree has up to %d of %d", s.log.tree.seq, s.log.journal.seq)
	}
	merged := readFile(t, path)
	if err := s.Close(); err != nil || bytes.Equal(merged, crashed) {
		t.Errorf("what was in the journal alone still is, %v", err)
	}
	again("merged", merged)
}

// TestBackupHasAllAndNoFrame: what was acknowledged before is in the copy, though it was
// in the journal alone, and nothing of the journal is but its name.
func TestBackupHasAllAndNoFrame(t *testing.T) {
	s := openNew(t, &lazy)
	n, err := putLarge(s, 0, 1, rounds(s, 1))
	if err != nil {
		t.Fatal(err)
	}
	touched := touch(t, s, large(0), storage.Use{At: large(0).ExpiresAt})
	copied := backup(t, s)
	j := s.log.journal
	if at := bytes.Index(copied, j.name[:]); at < 0 || bytes.Contains(copied[at+1:], j.name[:]) {
		t.Error("the name is not there once")
	}
	if inside := copied[j.at:][:2*j.half]; !bytes.Equal(inside, make([]byte, len(inside))) {
		t.Error("the halves are not blank")
	}
	c := openCopy(t, copied)
	if got := shown(t, c, touched.ID); !got.Equal(touched) || c.log.tree.seq != j.seq {
		t.Errorf("%+v, merged up to %d; want %+v and %d", got, c.log.tree.seq, touched, j.seq)
	}
	put(t, c, large(0))
	hasLarge(t, "in the copy", c, n)
}

// TestMergeWithinMaxTokens: a crash on the way of a merge leaves a file that opens under
// the limit that it had, though the tree has some of what came last by then, and the
// journal what was there before.
func TestMergeWithinMaxTokens(t *testing.T) {
	const old, between, limit = 300, 400, 700
	sweep := func(s *Store, to, want int) {
		t.Helper()
		if deleted, err := s.Sweep(t.Context(), record(to).IssuedAt, want+1); err != nil || deleted != want {
			t.Fatal(deleted, err)
		}
	}
	for name, write := range map[string]func(s *Store){
		"new ones before the old ones": func(s *Store) {
			putAnas(t, s, 5000, 5000+between, 5000+between)
			sweep(s, 6000, old+between)
			putAnas(t, s, 1000, 1000+limit, 0)
		},
		"new ones behind them": func(s *Store) {
			putAnas(t, s, 5000, 5000+between, 5000+between)
			sweep(s, 6000, old+between)
			putAnas(t, s, 7000, 7000+limit, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := lazy
			opts.MaxTokens = limit
			path := quickDir(t) + "/tokens.db"
			s := open(t, path, &opts)
			putAnas(t, s, 3000, 3000+old, 3000+old)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, path, &opts)
			write(s)
			opensOnTheWay(t, s, &opts)
		})
	}
}

// opensOnTheWay merges all that s has, and opens what a crash after each transaction
// would leave.
func opensOnTheWay(t *testing.T, s *Store, opts *Options) {
	t.Helper()
	want, _ := contents(t, s)
	path := s.log.path
	var images [][]byte
	onMerge(s, func(btx *bbolt.Tx) error {
		err := btx.Commit()
		images = append(images, readFile(t, path))
		return err
	})
	merged(t, s, func(*bbolt.Tx) error { return nil })
	if len(images) < 2 {
		t.Fatalf("%d transactions", len(images))
	}
	for i, image := range images {
		if err := os.WriteFile(path+".copy", image, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Open(path+".copy", opts)
		if err != nil {
			t.Errorf("after transaction %d of %d: %v", i+1, len(images), err)
			continue
		}
		if got, _ := contents(t, c); !maps.EqualFunc(got, want, storage.Record.Equal) {
			t.Errorf("after transaction %d of %d: %d records; want %d", i+1, len(images), len(got), len(want))
		}
		c.Close()
	}
}

// TestMergedMeanwhile: a write of unknown outcome is found although somebody else has
// merged it, and nothing but that, before the store could look.
func TestMergedMeanwhile(t *testing.T) {
	for _, more := range []bool{false, true} {
		t.Run(fmt.Sprint("and written more: ", more), func(t *testing.T) {
			path, _ := makeFile(t, 10)
			s := open(t, path, &lazy)
			var sound []byte
			failCommit(s, func(do func() error) error {
				err := syncLost(do)
				sound = lose(t, path)
				return err
			})
			fresh := record(15)
			if err := putting(s, fresh); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatalf("Update: %v; want ErrOutcomeUnknown", err)
			}
			if err := os.WriteFile(path, sound, 0); err != nil {
				t.Fatal(err)
			}
			other, err := Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if more {
				put(t, other, record(16))
			}
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			err = tryAgain(s)
			if more {
				if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("looking again: %v; want ErrUnavailable", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("looking again: %v", err)
			}
			if got := shown(t, s, fresh.ID); !got.Equal(fresh) {
				t.Errorf("what was put is %+v", got)
			}
			put(t, s, record(16))
		})
	}
}

// TestGroupIsOneWrite to the journal, whatever is in it, and a Touch is none.
func TestGroupIsOneWrite(t *testing.T) {
	ctx := context.Background()
	s := openNew(t, &lazy)
	putAnas(t, s, 0, 300, 0)
	frames, commits := 0, 0
	onMerge(s, func(btx *bbolt.Tx) error { commits++; return btx.Commit() })
	s.turn.Take()
	onWrite(s, func(do func() error) error { frames++; return do() })
	s.turn.Give()
	mark := func() error { ahead(s, 1e12); return s.flushMark() }
	for _, row := range []struct {
		name string
		do   func() error
		want int
	}{
		{"one put", func() error { return putting(s, large(1)) }, 1},
		{"many puts", func() error { putAnas(t, s, 300, 500, 0); return nil }, 1},
		{"a group of three", func() error { endInAGroup(t, s); return nil }, 1},
		{"a sweep", func() error { _, err := s.Sweep(ctx, record(4).IssuedAt, 10); return err }, 1},
		{"renewals", func() error {
			for n := range flushStep {
				touch(t, s, record(n), by(record(n), 1e6))
			}
			return nil
		}, 0},
		{"their flush", s.flush, 1},
		{"a flush of nothing", s.flush, 0},
		{"a mark", mark, 1},
		{"an update of nothing", func() error { return s.Update(ctx, "ana", func(storage.Tx) error { return nil }) }, 0},
		{"a sweep of nothing", func() error { _, err := s.Sweep(ctx, record(0).IssuedAt, 100); return err }, 0},
	} {
		frames = 0
		if err := row.do(); err != nil || frames != row.want {
			t.Errorf("%s: %d frames, %v; want %d", row.name, frames, err, row.want)
		}
	}
	if commits > 0 {
		t.Errorf("%d transactions of bbolt; want none", commits)
	}
}
