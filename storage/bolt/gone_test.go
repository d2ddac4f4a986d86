package bolt

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestFileGoesWhileOpen: a store whose path no longer leads to its file says so
// before it acknowledges anything, and goes on reading.
func TestFileGoesWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("on Windows an open file cannot be renamed or removed")
	}
	move := func(from, to string) func() error { return func() error { return os.Rename(from, to) } }
	for name, goes := range map[string]func(path string) (back func() error, err error){
		"removed": func(path string) (func() error, error) { return nil, os.Remove(path) },
		"renamed": func(path string) (func() error, error) {
			return move(path+".old", path), os.Rename(path, path+".old")
		},
		"replaced": func(path string) (func() error, error) {
			file, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path+".new", file, 0o600)
			}
			return nil, errors.Join(err, os.Rename(path+".new", path))
		},
		"in a folder that was renamed": func(path string) (func() error, error) {
			dir := filepath.Dir(path)
			return move(dir+".old", dir), os.Rename(dir, dir+".old")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, lazy, func(t *testing.T, opts *Options) {
				path := filepath.Join(t.TempDir(), "folder", "tokens.db")
				if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				s, err := Open(path, opts)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				put(t, s, record(1))
				back, err := goes(path)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					err := s.Update(context.Background(), record(2).Subject, func(tx storage.Tx) error { return tx.Put(record(2)) })
					if !errors.Is(err, storage.ErrUnavailable) {
						t.Errorf("Update: %v; want ErrUnavailable", err)
					}
				}
				if got, err := s.Get(context.Background(), record(1).ID); err != nil || !got.Equal(record(1)) {
					t.Errorf("Get: %+v, %v", got, err)
				}
				if _, err := s.Get(context.Background(), record(2).ID); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("what was not written: %v; want ErrNotFound", err)
				}
				if back == nil {
					return
				}
				if err := back(); err != nil {
					t.Fatal(err)
				}
				put(t, s, record(3))
			})
		})
	}
}

// TestLogGoesWhileOpen: a store whose log has another name, another file in its place or none at
// all says so before it acknowledges anything, and goes on when the log is back.
func TestLogGoesWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("on Windows an open file cannot be renamed or removed")
	}
	for name, goes := range map[string]func(log string) error{
		"renamed":  func(log string) error { return os.Rename(log, log+".old") },
		"replaced": func(log string) error { return errors.Join(os.Rename(log, log+".old"), os.WriteFile(log, nil, 0o600)) },
		"cut": func(log string) error {
			b, err := os.ReadFile(log)
			return errors.Join(err, os.WriteFile(log+".old", b, 0o600), os.Truncate(log, int64(len(b))/2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := makeFileIn(t, quickDir(t), 0)
			s := open(t, path, &Options{logAtOnce: true, FlushEvery: lazy.FlushEvery})
			put(t, s, record(1))
			if err := goes(logPath(path)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := putting(s, record(2)); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, ErrReplaced) || errors.Is(err, storage.ErrOutcomeUnknown) {
					t.Errorf("Update: %v; want ErrUnavailable and ErrReplaced", err)
				}
			}
			if name == "cut" { // what is open was cut, and can only be filled again
				b := readFile(t, logPath(path)+".old")
				if err := os.WriteFile(logPath(path), b, 0o600); err != nil {
					t.Fatal(err)
				}
			} else if err := os.Rename(logPath(path)+".old", logPath(path)); err != nil {
				t.Fatal(err)
			}
			put(t, s, record(3))
			if n := openCrashed(t, path).Stats().Tokens; n != 2 {
				t.Errorf("%d records after a crash; want 2", n)
			}
		})
	}
}
