package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// backup returns what Backup writes.
func backup(t *testing.T, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(context.Background(), &b); err != nil {
		t.Fatalf("Backup: %v", err)
	}
	return b.Bytes()
}

// openCopy opens the bytes of a file as a store.
func openCopy(t *testing.T, file []byte) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, path, nil)
}

// contents returns every record, and the IDs of those that are damaged.
func contents(t *testing.T, s *Store) (map[storage.ID]storage.Record, []storage.ID) {
	t.Helper()
	records, damaged := make(map[storage.ID]storage.Record), []storage.ID(nil)
	for r, err := range s.List(context.Background(), storage.Filter{}) {
		switch {
		case err == nil:
			records[r.ID] = r
		case errors.Is(err, storage.ErrCorrupt):
			damaged = append(damaged, r.ID)
		default:
			t.Fatalf("List: %v", err)
		}
	}
	return records, damaged
}

// pair returns the two records of a writer with a number, under which each of its
// Updates puts both.
func pair(writer, number int) [2]storage.Record {
	a, b := record(1000+2*writer), record(1001+2*writer)
	a.Subject, b.Subject = "ana", "ana"
	a.LastUsedAt = a.IssuedAt.Add(time.Duration(number) * time.Millisecond)
	b.LastUsedAt = b.IssuedAt.Add(time.Duration(number) * time.Millisecond)
	return [2]storage.Record{a, b}
}

func putPair(s *Store, writer, number int) error {
	return s.Update(context.Background(), "ana", func(tx storage.Tx) error {
		p := pair(writer, number)
		return errors.Join(tx.Put(p[0]), tx.Put(p[1]))
	})
}

// TestBackupAmongWriters: a copy holds all of an Update or nothing, and all that was
// acknowledged before it began.
func TestBackupAmongWriters(t *testing.T) {
	const writers = 4
	path, _ := makeFile(t, 500)
	s := open(t, path, nil)
	var mu sync.Mutex
	var acknowledged [writers]int
	var running sync.WaitGroup
	quit, begun := make(chan struct{}), make(chan struct{}, writers)
	for w := range writers {
		running.Go(func() {
			for n := 1; ; n++ {
				if err := putPair(s, w, n); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[w] = n
				mu.Unlock()
				if n == 1 {
					begun <- struct{}{}
				}
				select {
				case <-quit:
					return
				default:
				}
			}
		})
	}
	for range writers {
		<-begun
	}
	for range 10 {
		mu.Lock()
		least := acknowledged
		mu.Unlock()
		records, _ := contents(t, openCopy(t, backup(t, s)))
		if len(records) != 500+2*writers {
			t.Errorf("the copy has %d records; want %d", len(records), 500+2*writers)
		}
		for w := range writers {
			p := pair(w, 0)
			a, b := records[p[0].ID], records[p[1].ID]
			first, second := a.LastUsedAt.Sub(a.IssuedAt).Milliseconds(), b.LastUsedAt.Sub(b.IssuedAt).Milliseconds()
			if first != second || first < int64(least[w]) {
				t.Errorf("writer %d: %d and %d; want the same, and %d at least", w, first, second, least[w])
			}
		}
	}
	close(quit)
	running.Wait()
}

// TestBackupHasWhatWasDeferred: a Touch that was acknowledged is in the copy, also of
// a record that is just being written.
func TestBackupHasWhatWasDeferred(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 600)
	s := open(t, path, &Options{FlushEvery: time.Hour})
	used := record(600).ExpiresAt
	disk := stop(t, s)
	held := record(1)
	writing, copied := make(chan error, 1), make(chan []byte, 1)
	go func() {
		writing <- s.Update(ctx, held.Subject, func(tx storage.Tx) error { return tx.Put(held) })
	}()
	<-disk.arrived
	for n := range 600 {
		if err := s.Touch(ctx, record(n).ID, storage.Use{At: used}); err != nil {
			t.Fatal(err)
		}
	}
	go func() { copied <- backup(t, s) }()
	close(disk.open)
	records, _ := contents(t, openCopy(t, <-copied))
	if err := <-writing; err != nil {
		t.Error(err)
	}
	for n := range 600 {
		want := record(n)
		want.LastUsedAt = used
		if got := records[want.ID]; !got.Equal(want) {
			t.Errorf("record %d is %+v; want %+v", n, got, want)
		}
	}
}

// failingWriter takes some bytes and then does something else.
type failingWriter struct {
	left int
	then func() (int, error)
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return w.then()
	}
	return len(p), nil
}

var errWriterFull = errors.New("no room for the copy")

// TestBackupToABadWriter: its error comes back, whatever it does nothing of the store
// is left open, and the store goes on.
func TestBackupToABadWriter(t *testing.T) {
	path, _ := makeFile(t, 300)
	for _, takes := range []int{0, 1, os.Getpagesize(), 2*os.Getpagesize() - 1, 2 * os.Getpagesize(), 40_000} {
		for _, row := range []struct {
			name string
			then func() (int, error)
			want error
		}{
			{"an error", func() (int, error) { return 0, errWriterFull }, errWriterFull},
			{"an error after a part", func() (int, error) { return 1, errWriterFull }, errWriterFull},
			{"a part without an error", func() (int, error) { return 1, nil }, nil},
			{"a panic", func() (int, error) { panic("no") }, nil},
			{"an exit", func() (int, error) { runtime.Goexit(); return 0, nil }, nil},
		} {
			s := open(t, path, nil)
			done := make(chan error, 1)
			go func() {
				err := errors.New("it did not come back")
				defer func() {
					if p := recover(); p != nil { // it is the caller's
						err = fmt.Errorf("%v, as a panic", p)
					}
					done <- err
				}()
				err = s.Backup(context.Background(), &failingWriter{takes, row.then})
			}()
			err := <-done
			if err == nil || !errors.Is(err, row.want) && row.want != nil || errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("%s after %d bytes: %v; want %v", row.name, takes, err, row.want)
			}
			put(t, s, record(1))
			if n := len(backup(t, s)); n < 40_000 {
				t.Errorf("the next copy has %d bytes", n)
			}
			if err := s.Close(); err != nil { // a hang: something of the copy is left
				t.Errorf("Close: %v", err)
			}
		}
	}
}

func TestBackupAfterClose(t *testing.T) {
	path, _ := makeFile(t, 3)
	s := open(t, path, nil)
	s.Close()
	var b bytes.Buffer
	if err := s.Backup(context.Background(), &b); !errors.Is(err, storage.ErrClosed) || b.Len() != 0 {
		t.Errorf("%v, and %d bytes; want ErrClosed and none", err, b.Len())
	}
}

// TestCloseDuringBackup: Close cuts the copy off, whose Backup says so.
func TestCloseDuringBackup(t *testing.T) {
	path, _ := makeFile(t, 300)
	s := open(t, path, nil)
	read, write := io.Pipe()
	copying := async(func() error { return s.Backup(context.Background(), write) })
	if _, err := io.ReadFull(read, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	closing := async(s.Close)
	if err := <-closing; err != nil {
		t.Errorf("Close: %v", err)
	}
	go io.Copy(io.Discard, read)
	if err := <-copying; !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Backup: %v; want ErrClosed", err)
	}
}

// damageRecord flips a bit in the value of record n of a file.
func damageRecord(t *testing.T, file []byte, n int) []byte {
	t.Helper()
	return damageValue(t, file, record(n))
}

// damageValue flips a bit in the value of r in a file, and in what is left there of it.
func damageValue(t *testing.T, file []byte, r storage.Record) []byte {
	t.Helper()
	v, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	file = bytes.Clone(file)
	found := 0
	for at := 0; ; found++ {
		next := bytes.Index(file[at:], v)
		if next < 0 {
			break
		}
		at += next
		file[at+fixedLen] ^= 1
	}
	if found == 0 {
		t.Fatal("the record is not in the file")
	}
	return file
}

// TestBackupOfDamage: a damaged record is as damaged in the copy, and the others are
// as good.
func TestBackupOfDamage(t *testing.T) {
	path, good := makeFile(t, 300)
	if err := os.WriteFile(path, damageRecord(t, good, 7), 0o600); err != nil {
		t.Fatal(err)
	}
	copied := openCopy(t, backup(t, open(t, path, nil)))
	records, damaged := contents(t, copied)
	if len(damaged) != 1 || damaged[0] != record(7).ID || len(records) != 299 || copied.Stats().Damaged != 1 {
		t.Errorf("the copy has %d records, damaged %v; want 299, and record 7", len(records), damaged)
	}
	for n := range 300 {
		if n != 7 && !records[record(n).ID].Equal(record(n)) {
			t.Errorf("record %d is %+v", n, records[record(n).ID])
		}
	}
}

// TestBackupGivenUp ends with the error of its context, once the writer has returned, and the
// store goes on.
func TestBackupGivenUp(t *testing.T) {
	path, _ := makeFile(t, 300)
	s := open(t, path, nil)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	taken := 0
	err := s.Backup(ctx, writerFunc(func(p []byte) (int, error) {
		if taken += len(p); taken > 5000 {
			cancel(why)
		}
		return len(p), nil
	}))
	if !errors.Is(err, why) {
		t.Errorf("%v; want the context's cause", err)
	}
	if err := s.Backup(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("begun afterwards: %v; want the context's error", err)
	}
	put(t, s, record(301))
	if n := len(backup(t, s)); n < 40_000 {
		t.Errorf("the next copy has %d bytes", n)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
