package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// withDead returns a store with the records below live and, up to dead, others that
// were swept; they are named after their number.
func withDead(t *testing.T, live, dead int) (s *Store, path string) {
	t.Helper()
	path, _ = makeFile(t, 0)
	s = open(t, path, nil)
	err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
		for n := range dead {
			r := record(n)
			r.Subject, r.Name = "ana", fmt.Sprintf("the name of %06d", n)
			if n >= live {
				r.ExpiresAt = r.IssuedAt
			}
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(context.Background(), record(dead).IssuedAt, dead); n != dead-live || err != nil {
		t.Fatalf("Sweep: %d, %v; want %d", n, err, dead-live)
	}
	return s, path
}

// deletedNames counts those in a file that withDead gave to records from 50 on.
func deletedNames(file []byte) (found int) {
	for _, rest := range bytes.Split(file, []byte("the name of "))[1:] {
		if len(rest) >= 6 && string(rest[:6]) >= "000050" {
			found++
		}
	}
	return found
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// nothingBeside says what is in the folder of path that should not be once it is closed.
func nothingBeside(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("beside the file there is %s", e.Name())
		}
	}
}

// TestCompact gives back what most of the file was, keeps everything else, and leaves
// nothing of what was deleted.
func TestCompact(t *testing.T) {
	s, path := withDead(t, 50, 5000)
	before, _ := contents(t, s)
	old := readFile(t, path)
	for range 2 { // the second time there is nothing to give back
		if err := s.Compact(context.Background()); err != nil {
			t.Fatal(err)
		}
		compact := readFile(t, path)
		if len(compact) > len(old)/10+32<<10 {
			t.Errorf("%d bytes became %d", len(old), len(compact))
		}
		if after, _ := contents(t, s); !cmp.Equal(before, after) {
			t.Errorf("the records (-before +after):\n%s", cmp.Diff(before, after))
		}
		if was, is := deletedNames(old), deletedNames(compact); was < 1000 || is != 0 {
			t.Errorf("of what was deleted %d are in the old file, %d in the new one; want many and none", was, is)
		}
		if st := s.Stats(); st.FileSize != int64(len(compact)) || st.Tokens != 50 {
			t.Errorf("Stats: %+v; want %d bytes and 50 tokens", st, len(compact))
		}
	}
	put(t, s, record(9000))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before[record(9000).ID] = record(9000)
	if after, _ := contents(t, open(t, path, nil)); !cmp.Equal(before, after) {
		t.Errorf("opened again (-before +after):\n%s", cmp.Diff(before, after))
	}
}

// TestCompactedFileHasTheMode of the old one, whatever the umask.
func TestCompactedFileHasTheMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no file mode to check")
	}
	for _, mask := range []int{0, 0o077, 0o777} {
		for _, mode := range []os.FileMode{0o600, 0o640, 0o666} {
			func() {
				path, _ := makeFile(t, 3)
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
				s := open(t, path, nil)
				defer umask(umask(mask))
				err := s.Compact(context.Background())
				info, stat := os.Stat(path)
				if err := errors.Join(err, stat); err != nil || info.Mode().Perm() != mode {
					t.Errorf("umask %03o: mode %v, %v; want %v", mask, info.Mode(), err, mode)
				}
			}()
		}
	}
}

// TestCompactKeepsDamage: a damaged record is as damaged in the new file.
func TestCompactKeepsDamage(t *testing.T) {
	path, good := makeFile(t, 300)
	if err := os.WriteFile(path, damageRecord(t, good, 7), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, nil)
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		records, damaged := contents(t, s)
		if len(damaged) != 1 || damaged[0] != record(7).ID || len(records) != 299 || s.Stats().Damaged != 1 {
			t.Errorf("%d records, damaged %v; want 299, and record 7", len(records), damaged)
		}
		s.Close()
		s = open(t, path, nil)
	}
}

// TestCompactAmongWriters: nothing that was acknowledged while the file was replaced
// is lost, and readers see it all the time.
func TestCompactAmongWriters(t *testing.T) {
	ctx := context.Background()
	s, path := withDead(t, 500, 3000)
	for n := range 2 * directGroups { // with the log in use
		r := record(n)
		r.Subject, r.Name = "ana", "again"
		put(t, s, r)
	}
	if s.journal.current() == nil {
		t.Fatal("there is no log")
	}
	var running sync.WaitGroup
	quit := make(chan struct{})
	until := func(do func(n int) error) {
		running.Go(func() {
			for n := 1; ; n++ {
				if err := do(n); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-quit:
					return
				default:
				}
			}
		})
	}
	var last [3]int
	for w := range last {
		until(func(n int) error { last[w] = n; return putPair(s, w, n) })
	}
	until(func(n int) error {
		r, err := s.Get(ctx, record(n%500).ID)
		if err == nil && r.ID != record(n%500).ID {
			err = fmt.Errorf("Get of %d: %+v", n%500, r)
		}
		return err
	})
	touched := 0
	until(func(n int) error {
		touched = n
		return s.Touch(ctx, record(3).ID, storage.Use{At: record(n).ExpiresAt})
	})
	for range sample.Of(10, 4) {
		if err := s.Compact(ctx); err != nil {
			t.Error(err)
		}
	}
	close(quit)
	running.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	records, _ := contents(t, open(t, path, nil))
	for w, n := range last {
		for i, want := range pair(w, n) {
			if got := records[want.ID]; !got.Equal(want) {
				t.Errorf("writer %d, record %d: %+v; want %+v", w, i, got, want)
			}
		}
	}
	if got := records[record(3).ID].LastUsedAt; !got.Equal(record(touched).ExpiresAt) {
		t.Errorf("touched last at %v; want %v", got, record(touched).ExpiresAt)
	}
	nothingBeside(t, path)
}

// TestCompactKeepsTheLock: another process finds the file locked before, while the
// new one is made, when it is in its place and the old one not yet closed, and after.
// Readers read and the log takes writes all the time.
func TestCompactKeepsTheLock(t *testing.T) {
	t.Parallel()
	path, _ := makeFile(t, 100)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(100))
	fine := func(when string, n int) {
		t.Helper()
		if says := childSays(t, opener, path); !strings.HasPrefix(says, "locked") {
			t.Errorf("%s: another process says %s; want locked", when, says)
		}
		if err := putting(s, record(n)); err != nil {
			t.Errorf("%s: Update: %v", when, err)
		}
		if got, err := s.Get(context.Background(), record(n).ID); err != nil || !got.Equal(record(n)) {
			t.Errorf("%s: Get: %+v, %v", when, got, err)
		}
	}
	fine("before", 101)
	s.tree.Turn.Take()
	old, made, goOn := s.tree.Info, make(chan struct{}), make(chan struct{})
	first := true
	s.tree.CommitTx = func(btx *bbolt.Tx) error {
		if btx.DB().Path() != s.tree.Path && first {
			first = false
			close(made)
			<-goOn
		}
		return btx.Commit()
	}
	reads, err := s.tree.DB.Begin(false) // bbolt does not close the old file before that ends
	s.tree.Turn.Give()
	if err != nil {
		t.Fatal(err)
	}
	compacting := async(func() error { return s.Compact(context.Background()) })
	<-made
	fine("while the new file is made", 102)
	close(goOn)
	for replaced := false; !replaced; runtime.Gosched() {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatalf("there is no file at the path: %v", err)
		}
		replaced = !os.SameFile(info, old)
	}
	fine("while it is in its place", 103)
	if err := reads.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-compacting; err != nil {
		t.Error(err)
	}
	fine("after", 104)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if says := childSays(t, opener, path); says != "opened" {
		t.Errorf("after Close: another process says %s; want opened", says)
	}
	if records, _ := contents(t, open(t, path, nil)); len(records) != 105 {
		t.Errorf("%d records; want 105", len(records))
	}
}
