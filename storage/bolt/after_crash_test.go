package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// crashedOnce returns the path of what a crash leaves of a store that writes into its log: three
// records, taken into the file by a checkpoint, and as many more as given, in the log alone.
func crashedOnce(t *testing.T, more int) string {
	t.Helper()
	path, _ := makeFileIn(t, quickDir(t), 0)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(0), record(1), record(2))
	if err := s.checkpoint(true); err != nil {
		t.Fatal(err)
	}
	for n := range more {
		put(t, s, record(3+n))
	}
	to := filepath.Join(quickDir(t), "tokens.db")
	copyStoreFiles(t, path, to)
	return to
}

// TestOpenAfterACrash, with and without anything in the log that the file does not have: the next
// crash, or Close, at once or after a write, leaves a store that opens with everything in it.
func TestOpenAfterACrash(t *testing.T) {
	for name, opts := range map[string]Options{"default": {}, "log": {logAtOnce: true}, "no log": {NoLog: true}} {
		for _, more := range []int{0, 1, 5} {
			for _, writes := range []int{0, 1} {
				t.Run(name, func(t *testing.T) {
					path := crashedOnce(t, more)
					s := open(t, path, &opts)
					if _, err := os.Stat(logPath(path)); opts.NoLog && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%d in the log: with NoLog there is one: %v", more, err)
					}
					for n := range writes {
						put(t, s, record(3+more+n))
					}
					want := 3 + more + writes
					if got := openCrashed(t, path).Stats().Tokens; got != want {
						t.Errorf("%d in the log, %d written, crashed again: %d records; want %d", more, writes, got, want)
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					if _, err := os.Stat(logPath(path)); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("after Close, the log: %v; want none", err)
					}
					if got := open(t, path, &opts).Stats().Tokens; got != want {
						t.Errorf("%d in the log, %d written, closed: %d records; want %d", more, writes, got, want)
					}
				})
			}
		}
	}
}
