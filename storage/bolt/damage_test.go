package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestPreflightLetsSoundFilesPass opens a file again and again while it grows,
// shrinks inside, and holds records of every size.
func TestPreflightLetsSoundFilesPass(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	r := rand.New(rand.NewPCG(3, 4))
	for round, serial := 0, 0; round < 25; round++ {
		s, err := Open(path, nil)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for range 8 {
			err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
				for range r.IntN(60) {
					rec := record(serial)
					rec.Subject, rec.Data = "ana", strings.Repeat("x", r.IntN(storage.MaxData+1))
					if r.IntN(3) == 0 {
						binary.BigEndian.PutUint64(rec.ID[:], r.Uint64()) // out of order
					}
					if err := tx.Put(rec); err != nil {
						return err
					}
					serial++
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		before := record(serial - r.IntN(300)).ExpiresAt
		if _, err := s.Sweep(context.Background(), before, 10_000); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTruncatedWhileOpen cuts the file short under the open store: every call comes
// back with an error that blames no token, and so does Close.
func TestTruncatedWhileOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a memory map does behind the end of its file differs by system")
	}
	ctx := context.Background()
	for _, size := range []int64{0, 1, 4096, 8192, 12288, 20480} {
		path, _ := makeFile(t, 300)
		s, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		fine := func(what string, err error) {
			t.Helper()
			if err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrUnavailable) &&
				!errors.Is(err, storage.ErrOutcomeUnknown) && !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("cut to %d: %s: %v", size, what, err)
			}
		}
		for n := range 5 {
			r := record(n * 60)
			_, err := s.Get(ctx, r.ID)
			fine("Get", err)
			fine("Touch", s.Touch(ctx, r.ID, storage.Use{At: r.ExpiresAt}))
			fine("Update", s.Update(ctx, r.Subject, func(tx storage.Tx) error { return tx.Put(r) }))
			for _, err := range s.List(ctx, storage.Filter{}) {
				fine("List", err)
			}
			_, err = s.Sweep(ctx, r.ExpiresAt.AddDate(1, 0, 0), 10)
			fine("Sweep", err)
		}
		fine("Close", s.Close())
		if s, err := Open(path, nil); err == nil {
			s.Close()
		} else if errors.Is(err, storage.ErrLocked) {
			t.Errorf("cut to %d: the lock is still held after Close", size)
		}
	}
}

// TestBackupsOpen: what bbolt itself copies out of a store opens as one, and goes on
// opening after each commit into it.
func TestBackupsOpen(t *testing.T) {
	for commits := range 4 {
		path, _ := makeFile(t, 10+commits)
		s, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		backup := filepath.Join(t.TempDir(), "backup.db")
		f, err := os.Create(backup)
		if err != nil {
			t.Fatal(err)
		}
		err = s.tree.DB.View(func(btx *bbolt.Tx) error {
			_, err := btx.WriteTo(f)
			return err
		})
		if err := errors.Join(err, f.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		for n := range 4 {
			s, err := Open(backup, nil)
			if err != nil {
				t.Fatalf("a backup after %d commits, after %d more: %v", commits, n, err)
			}
			put(t, s, record(1000+n))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
