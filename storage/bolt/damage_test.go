package bolt

import (
	"bytes"
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

// TestZeroedAndSwappedPages damages a file page by page. bbolt panics on most of
// them; a store says that it is damaged, or denies what it cannot read, and never
// answers with anything else than what was put.
func TestZeroedAndSwappedPages(t *testing.T) {
	const records = 400
	path, good := makeFile(t, records)
	page := os.Getpagesize()
	for at := 2 * page; at < len(good); at += page {
		zeroed := bytes.Clone(good)
		clear(zeroed[at : at+page])
		survives(t, path, zeroed, records)
		swapped := bytes.Clone(good)
		other := 2*page + (at+3*page)%(len(good)-2*page)
		copy(swapped[at:at+page], good[other:])
		copy(swapped[other:other+page], good[at:])
		survives(t, path, swapped, records)
	}
}

// TestFlippedBits flips one bit at a time, half of them where pages say what they
// are, and reads and writes what can still be opened.
func TestFlippedBits(t *testing.T) {
	const records = 400
	path, good := makeFile(t, records)
	page := os.Getpagesize()
	r := rand.New(rand.NewPCG(1, 2))
	opened := 0
	for n := range 1500 {
		bad := bytes.Clone(good)
		at := 2*page + r.IntN(len(good)-2*page)
		if n%2 == 0 {
			at = at/page*page + r.IntN(4*elementLen)
		}
		bad[at] ^= 1 << r.IntN(8)
		if survives(t, path, bad, records) {
			opened++
			worksOn(t, path, n%records)
		}
	}
	if opened == 0 || opened == 1500 {
		t.Errorf("%d of 1500 damaged files opened: the damage is not what it should be", opened)
	}
}

// worksOn writes into the damaged file: whatever comes of it, it comes back.
func worksOn(t *testing.T, path string, n int) {
	t.Helper()
	s, err := Open(path, nil)
	if err != nil {
		t.Fatalf("Open, the second time: %v", err)
	}
	ctx := context.Background()
	end, fresh := record(n), record(100_000)
	end.EndedAt, end.EndReason = end.IssuedAt, storage.EndExpired
	for _, r := range []storage.Record{end, fresh} {
		err := s.Update(ctx, r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
		if err != nil && !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("Update: %v", err)
		}
	}
	if _, err := s.Sweep(ctx, fresh.ExpiresAt.AddDate(1, 0, 0), 1000); err != nil && !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Sweep: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestPreflightLetsSoundFilesPass opens a file again and again while it grows,
// shrinks inside, and holds records of every size.
func TestPreflightLetsSoundFilesPass(t *testing.T) {
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

// survives opens the damaged file and uses it if that works. It reports whether it
// did.
func survives(t *testing.T, path string, file []byte, records int) bool {
	t.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, nil)
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, ErrNotStore) {
			t.Errorf("Open: %v; want ErrCorrupt", err)
		}
		return false
	}
	defer s.Close()
	ctx := context.Background()
	for n := range records {
		want := record(n)
		got, err := s.Get(ctx, want.ID)
		switch {
		case err == nil && got != want:
			t.Fatalf("record %d came back as %+v", n, got)
		case err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrNotFound):
			t.Fatalf("record %d: %v", n, err)
		}
	}
	return true
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
		err = s.log.db.View(func(btx *bbolt.Tx) error {
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
