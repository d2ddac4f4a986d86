package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

func open(t *testing.T, path string, opts *Options) *Store {
	t.Helper()
	s, err := Open(path, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// issue puts the records from and below to in one Update.
func issue(s *Store, from, to int) error {
	return s.Update(context.Background(), "ana", func(tx storage.Tx) error {
		for n := from; n < to; n++ {
			r := record(n)
			r.Subject = "ana"
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func wantTooMany(t *testing.T, what string, err error, refused bool) {
	t.Helper()
	if !refused && err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if refused && !(errors.Is(err, storage.ErrUnavailable) && errors.Is(err, ErrTooMany)) {
		t.Errorf("%s: %v; want ErrUnavailable and ErrTooMany", what, err)
	}
}

// TestMaxTokens creates up to the limit, at it, and past it, in one Update and in
// many. What is refused leaves nothing.
func TestMaxTokens(t *testing.T) {
	for _, row := range []struct {
		name      string
		limit     int
		creations []int
		refused   bool // the last of them
	}{
		{"one of one", 1, []int{1}, false},
		{"two of one", 1, []int{2}, true},
		{"two of one, one by one", 1, []int{1, 1}, true},
		{"one below", 10, []int{9}, false},
		{"at it", 10, []int{10}, false},
		{"one above", 10, []int{11}, true},
		{"one below, and one", 10, []int{9, 1}, false},
		{"one below, and two", 10, []int{9, 2}, true},
		{"at it, and none", 10, []int{10, 0}, false},
		{"at it, and one", 10, []int{4, 6, 1}, true},
		{"after one that was refused", 10, []int{11, 10}, false},
	} {
		path, _ := makeFile(t, 0)
		s := open(t, path, &Options{MaxTokens: row.limit})
		have := 0
		for i, n := range row.creations {
			last := i == len(row.creations)-1
			err := issue(s, have, have+n)
			if wantTooMany(t, row.name, err, last && row.refused || n > row.limit); err == nil {
				have += n
			}
		}
		if got := s.Stats().Tokens; got != have {
			t.Errorf("%s: %d tokens; want %d", row.name, got, have)
		}
	}
}

// TestMaxTokensOfHeldUpdates: what is not durable yet counts, and what fails counts
// no more. Sixteen callers for five places meet while the disk stands still.
func TestMaxTokensOfHeldUpdates(t *testing.T) {
	path, _ := makeFile(t, 0)
	s := open(t, path, &Options{MaxTokens: 6})
	disk := stop(t, s)
	first := make(chan error, 1)
	go func() { first <- issue(s, 0, 1) }()
	<-disk.arrived // it is being written, and the others gather behind it
	errs := make(chan error, 16)
	for n := range cap(errs) {
		go func() { errs <- issue(s, n+1, n+2) }()
	}
	for range cap(errs) - 5 {
		wantTooMany(t, "one of those after the fifth", <-errs, true)
	}
	close(disk.open)
	for range 5 {
		wantTooMany(t, "one of the first five", <-errs, false)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	wantTooMany(t, "one more", issue(s, 100, 101), true)
	if got := s.Stats().Tokens; got != 6 {
		t.Errorf("%d tokens; want 6", got)
	}
}

// TestMaxTokensAfterFailure: a creation that was not written has taken no place.
func TestMaxTokensAfterFailure(t *testing.T) {
	path, _ := makeFile(t, 0)
	s := open(t, path, &Options{MaxTokens: 3})
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := issue(s, 0, 3); !errors.Is(err, ErrReplaced) {
			t.Fatalf("with the file away: %v; want ErrReplaced", err)
		}
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	wantTooMany(t, "three", issue(s, 0, 3), false)
	wantTooMany(t, "a fourth", issue(s, 3, 4), true)
}

// TestFullStoreGoesOn: a store at its limit replaces, ends and renews, and has room
// for as many as Sweep has deleted.
func TestFullStoreGoesOn(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 0)
	s := open(t, path, &Options{MaxTokens: 10})
	if err := issue(s, 0, 10); err != nil {
		t.Fatal(err)
	}
	wantTooMany(t, "replacing all", issue(s, 0, 10), false)
	wantTooMany(t, "replacing one and creating one", issue(s, 9, 11), true)
	if err := s.Touch(ctx, record(1).ID, storage.Use{At: record(1).ExpiresAt}); err != nil {
		t.Errorf("Touch: %v", err)
	}
	err := s.Update(ctx, "ana", func(tx storage.Tx) error {
		for r, err := range tx.Records() {
			if r.EndedAt, r.EndReason = r.IssuedAt, storage.EndSubject; err != nil || tx.Put(r) != nil {
				return errors.New("cannot end it")
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("ending all: %v", err)
	}
	if n, err := s.Sweep(ctx, record(20).IssuedAt, 4); n != 4 || err != nil {
		t.Fatalf("Sweep: %d, %v", n, err)
	}
	wantTooMany(t, "five for four places", issue(s, 10, 15), true)
	wantTooMany(t, "four for four places", issue(s, 10, 14), false)
	wantTooMany(t, "one more", issue(s, 14, 15), true)
}

// TestMaxTokensCountsOnce: what a group shows while the next one gathers counts once.
func TestMaxTokensCountsOnce(t *testing.T) {
	path, _ := makeFile(t, 0)
	s := open(t, path, &Options{MaxTokens: 6})
	disk := stop(t, s)
	first := make(chan error, 1)
	go func() { first <- issue(s, 0, 4) }()
	<-disk.arrived
	s.revealing.Lock()
	close(disk.open)
	for written := false; !written; runtime.Gosched() {
		s.turn.Take()
		written = s.writing.durable
		s.turn.Give()
	}
	s.turn.Take() // no group is finished meanwhile
	s.revealing.Unlock()
	for s.table.Len() < 4 {
		runtime.Gosched()
	}
	for n, want := range map[int]bool{1: true, 2: true, 3: false} {
		if got := s.roomFor(n); got != want {
			t.Errorf("room for %d with 4 of 6 shown: %v, want %v", n, got, want)
		}
	}
	s.turn.Give()
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestOpenRefusesTooMany: a file with more records than the limit is refused as it
// is, and opens where there is room.
func TestOpenRefusesTooMany(t *testing.T) {
	path, before := makeFile(t, 10)
	for _, row := range []struct {
		limit   int
		repair  bool
		refused bool
	}{{1, false, true}, {9, false, true}, {9, true, true}, {10, false, false}, {11, false, false}, {0, false, false}} {
		s, err := Open(path, &Options{MaxTokens: row.limit, Repair: row.repair})
		if errors.Is(err, ErrTooMany) != row.refused || err != nil && !row.refused {
			t.Errorf("limit %d: %v; want refused %v", row.limit, err, row.refused)
		}
		if err == nil {
			s.Close()
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("limit %d: the file was changed, %v", row.limit, err)
		}
	}
	if says := childSays(t, opener, path); says != "opened" {
		t.Errorf("another process after that: %s", says)
	}
}
