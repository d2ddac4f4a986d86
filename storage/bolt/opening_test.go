package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// hasLog reports whether the store at path has a log.
func hasLog(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(logPath(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// TestShortOpening: a store that is opened for a few groups makes no log, at no instant; the
// next group makes one, and Close removes it. With Options.NoLog there is never one.
func TestShortOpening(t *testing.T) {
	for _, row := range []struct {
		name   string
		opts   Options
		groups int
		logs   bool
	}{
		{"none", lazy, 0, false}, {"one", lazy, 1, false}, {"one less", lazy, directGroups - 1, false}, {"as many as go", lazy, directGroups, false},
		{"one more", lazy, directGroups + 1, true}, {"no log", Options{NoLog: true}, 5 * directGroups, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, _ := makeFileIn(t, quickDir(t), 0)
			s := open(t, path, &row.opts)
			logs := false
			s.tree.Turn.Take()
			s.tree.CommitTx = func(btx *bbolt.Tx) error {
				before := hasLog(t, path)
				err := btx.Commit()
				logs = logs || before || hasLog(t, path)
				return err
			}
			s.tree.Turn.Give()
			for n := range row.groups {
				put(t, s, record(n))
				logs = logs || hasLog(t, path)
			}
			if size := s.Stats().LogSize; logs != row.logs || row.logs != (size > 0) || s.Stats().NoLog != nil {
				t.Errorf("it made a log: %v, of %d bytes, %v; want %v", logs, size, s.Stats().NoLog, row.logs)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if hasLog(t, path) {
				t.Error("the log is there after Close")
			}
			if n := open(t, path, nil).Stats().Tokens; n != row.groups {
				t.Errorf("%d records; want %d", n, row.groups)
			}
		})
	}
}

// TestNoLogCanBeMade: writing goes on in the file, and Stats says why; the log is tried again
// after some groups, and made when it can be.
func TestNoLogCanBeMade(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 0)
	s := open(t, path, &lazy)
	if err := os.Mkdir(logPath(path), 0o700); err != nil {
		t.Fatal(err)
	}
	n := 0
	groups := func(count int) {
		for range count {
			put(t, s, record(n))
			n++
		}
	}
	groups(directGroups)
	if err := s.Stats().NoLog; err != nil {
		t.Errorf("before a log was tried: %v", err)
	}
	err := putting(s, record(n))
	if !errors.Is(err, ErrReplaced) { // another process may have made it
		t.Errorf("with something in the place of the log: %v; want ErrReplaced", err)
	}
	if err := os.Remove(logPath(path)); err != nil {
		t.Fatal(err)
	}
	groups(1)
	if s.Stats().LogSize == 0 {
		t.Error("there is no log when it can be made")
	}

	path = filepath.Join(quickDir(t), strings.Repeat("x", 252)) // no name of a log fits
	s, n = open(t, path, &lazy), 0
	groups(directGroups + 1)
	first := s.Stats().NoLog
	if first == nil || s.Stats().LogSize != 0 || s.Stats().Err != nil {
		t.Fatalf("Stats: %+v; want why there is no log", s.Stats())
	}
	tries, last := 0, first
	for range 3 * directGroups {
		groups(1)
		if now := s.Stats().NoLog; now != last {
			tries, last = tries+1, now
		}
	}
	if tries != 3 {
		t.Errorf("tried %d times in %d groups; want every %d", tries, 3*directGroups, directGroups)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := open(t, path, nil).Stats().Tokens; got != n {
		t.Errorf("%d records; want %d", got, n)
	}
}
