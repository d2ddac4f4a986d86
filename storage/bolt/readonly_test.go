package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// readOnlyStores are files that Options.ReadOnly opens, and what they hold.
func readOnlyStores(t *testing.T) map[string]func() (path string, want map[storage.ID]storage.Record) {
	return map[string]func() (string, map[storage.ID]storage.Record){
		"closed": func() (string, map[storage.ID]storage.Record) {
			path, _ := makeFile(t, 20)
			s := open(t, path, nil)
			want, _ := contents(t, s)
			s.Close()
			return path, want
		},
		"crashed": func() (string, map[storage.ID]storage.Record) { return crashedStore(t, 20) },
		"old":     func() (string, map[storage.ID]storage.Record) { return oldFile(t) },
	}
}

// TestReadOnly: it reads whatever Open does, several at once, keeps writers out, writes nothing
// and shows nothing of what was to be written.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, store := range readOnlyStores(t) {
		t.Run(name, func(t *testing.T) {
			path, want := store()
			if err := os.Chmod(path, 0o400); err != nil {
				t.Fatal(err)
			}
			before := folder(t, filepath.Dir(path))
			s := open(t, path, &Options{ReadOnly: true})
			second := open(t, path, &Options{ReadOnly: true})
			if _, err := Open(path, nil); !errors.Is(err, storage.ErrLocked) {
				t.Errorf("a writer: %v; want ErrLocked", err)
			}
			for _, s := range []*Store{s, second} {
				if got, damaged := contents(t, s); !cmp.Equal(want, got, opaque) || len(damaged) > 0 {
					t.Errorf("(-want +got):\n%s", cmp.Diff(want, got, opaque))
				}
			}
			var known storage.Record
			for _, r := range want {
				known = r
				break
			}
			use := storage.Use{At: known.IssuedAt.AddDate(1, 0, 0), ExpiresAt: known.ExpiresAt.AddDate(1, 0, 0)}
			_, sweep := s.Sweep(ctx, time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), 1000)
			for call, err := range map[string]error{
				"Update": s.Update(ctx, "ana", func(tx storage.Tx) error { t.Error("it runs"); return nil }),
				"Touch":  s.Touch(ctx, known.ID, use), "Sweep": sweep,
				"Compact": s.Compact(ctx), "Backup": s.Backup(ctx, io.Discard),
			} {
				if !errors.Is(err, ErrReadOnly) || !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("%s: %v; want ErrReadOnly and ErrUnavailable", call, err)
				}
			}
			if got, _ := contents(t, s); !cmp.Equal(want, got, opaque) {
				t.Errorf("after the calls (-want +got):\n%s", cmp.Diff(want, got, opaque))
			}
			at := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
			if s.Marks().Restart(at, at, 0); !s.Marks().Mark().At.Equal(at) {
				t.Errorf("the mark is %+v; want it to move in memory", s.Marks().Mark())
			}
			if st := s.Stats(); st.Tokens != len(want) || st.LogSize != 0 && name != "crashed" {
				t.Errorf("Stats: %+v", st)
			}
			if err := errors.Join(s.Close(), s.Close()); err != nil {
				t.Error(err)
			}
			if _, err := s.Get(ctx, known.ID); !errors.Is(err, storage.ErrClosed) {
				t.Errorf("Get after Close: %v", err)
			}
			if _, err := Open(path, nil); !errors.Is(err, storage.ErrLocked) {
				t.Errorf("a writer, while one has it still: %v; want ErrLocked", err)
			}
			if err := second.Close(); err != nil {
				t.Error(err)
			}
			if after := folder(t, filepath.Dir(path)); !maps.Equal(before, after) {
				t.Errorf("%d files were %d files, or have changed", len(before), len(after))
			}
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			writer := open(t, path, nil)
			if _, err := Open(path, &Options{ReadOnly: true}); !errors.Is(err, storage.ErrLocked) {
				t.Errorf("a reader, while a writer has it: %v; want ErrLocked", err)
			}
			if got, _ := contents(t, writer); !cmp.Equal(want, got, opaque) {
				t.Errorf("for a writer (-want +got):\n%s", cmp.Diff(want, got, opaque))
			}
		})
	}
}

// TestReadOnlyOfNothing makes nothing.
func TestReadOnlyOfNothing(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := mkfifo(fifo); err != nil {
		fifo = dir
	}
	for path, want := range map[string]error{filepath.Join(dir, "none.db"): os.ErrNotExist, dir: ErrNotStore, os.DevNull: ErrNotStore, fifo: ErrNotStore} {
		if s, err := Open(path, &Options{ReadOnly: true}); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", path, err, want)
			if err == nil {
				s.Close()
			}
		}
	}
	if files := folder(t, dir); len(files) != 0 {
		t.Errorf("%d files were made", len(files))
	}
}

const reader = "reader" // opens it read-only and says how many records there are

func init() { children[reader] = readIt }

func readIt(path string) {
	s, err := Open(path, &Options{ReadOnly: true})
	if err != nil {
		fmt.Print(err)
		return
	}
	defer s.Close()
	fmt.Print(s.Stats().Tokens, " tokens")
}
