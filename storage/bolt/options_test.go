package bolt

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func TestOptions(t *testing.T) {
	for _, row := range []struct {
		name string
		opts *Options
		want *Options // nil: refused
	}{
		{"none", nil, &Options{LockTimeout: 500 * time.Millisecond, FlushEvery: time.Second, MaxTokens: 10_000_000}},
		{"zero", &Options{}, &Options{LockTimeout: 500 * time.Millisecond, FlushEvery: time.Second, MaxTokens: 10_000_000}},
		{"all set", &Options{LockTimeout: 1, FlushEvery: time.Hour, MaxTokens: 1, Repair: true},
			&Options{LockTimeout: 1, FlushEvery: time.Hour, MaxTokens: 1, Repair: true}},
		{"the longest", &Options{LockTimeout: math.MaxInt64, FlushEvery: math.MaxInt64, MaxTokens: math.MaxInt},
			&Options{LockTimeout: math.MaxInt64, FlushEvery: math.MaxInt64, MaxTokens: math.MaxInt}},
		{"LockTimeout -1", &Options{LockTimeout: -1}, nil},
		{"FlushEvery -2", &Options{FlushEvery: -2}, nil},
		{"FlushAtOnce", &Options{FlushEvery: FlushAtOnce}, &Options{LockTimeout: 500 * time.Millisecond, FlushEvery: FlushAtOnce, MaxTokens: 10_000_000}},
		{"FlushEvery 1 ns", &Options{FlushEvery: 1}, nil},
		{"FlushEvery under 1 ms", &Options{FlushEvery: time.Millisecond - 1}, nil},
		{"FlushEvery 1 ms", &Options{FlushEvery: time.Millisecond}, &Options{LockTimeout: 500 * time.Millisecond, FlushEvery: time.Millisecond, MaxTokens: 10_000_000}},
		{"FlushEvery -1 s", &Options{FlushEvery: -time.Second}, nil},
		{"MaxTokens -1", &Options{MaxTokens: -1}, nil},
	} {
		path := filepath.Join(t.TempDir(), "tokens.db")
		s, err := Open(path, row.opts)
		if row.want == nil {
			if _, stat := os.Stat(path); err == nil || !os.IsNotExist(stat) {
				t.Errorf("%s: %v, and the file: %v; want an error and none", row.name, err, stat)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if s.opts.LockTimeout != row.want.LockTimeout || s.opts.FlushEvery != row.want.FlushEvery ||
			s.opts.MaxTokens != row.want.MaxTokens || s.opts.Repair != row.want.Repair {
			t.Errorf("%s: %+v; want %+v", row.name, s.opts, *row.want)
		}
		s.Close()
	}
}

// TestOptionsAreCopied: what a caller does with its Options after Open is its own
// business.
func TestOptionsAreCopied(t *testing.T) {
	path, _ := makeFile(t, 0)
	opts := &Options{MaxTokens: 2}
	s := open(t, path, opts)
	opts.MaxTokens = 1
	if err := issue(s, 0, 2); err != nil {
		t.Error(err)
	}
}

// TestProgress is told of a file over 16 MB, in steps that rise up to its end, and
// of no other.
func TestProgress(t *testing.T) {
	path, _ := makeFile(t, 100)
	type step struct{ done, total int }
	var steps []step
	progress := func(done, total int) { steps = append(steps, step{done, total}) }
	open(t, path, &Options{Progress: progress}).Close()
	if len(steps) != 0 {
		t.Errorf("a small file: %v; want nothing", steps)
	}
	s := open(t, path, nil)
	for n := range 5 {
		err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
			for i := range 600 {
				r := record(1000 + 600*n + i)
				r.Subject, r.Data = "ana", strings.Repeat("x", storage.MaxData)
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path, &Options{Progress: progress}).Close()
	if len(steps) < 50 || len(steps) > 150 {
		t.Errorf("told %d times; want some hundred", len(steps))
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	last := step{}
	for _, s := range steps {
		if s.done <= last.done || s.done > s.total || int64(s.total) > info.Size()/int64(os.Getpagesize()) {
			t.Errorf("%v after %v", s, last)
		}
		last = s
	}
	if last.done < last.total*98/100 {
		t.Errorf("in the end: %v", last)
	}
}
