package bolt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// truth is what a store should hold.
type truth map[storage.ID]storage.Record

// differs returns how s differs from it, or "".
func (want truth) differs(t *testing.T, s *Store) string {
	t.Helper()
	got, damaged := contents(t, s)
	if len(damaged) > 0 {
		return fmt.Sprintf("%d are damaged", len(damaged))
	}
	for id, r := range got {
		if is, ok := want[id]; !ok || !is.Equal(r) {
			return fmt.Sprintf("it has %+v; want %+v", brief(r), brief(is))
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("it has %d records; want %d", len(got), len(want))
	}
	return ""
}

// TestTruthDiffers shows it stores that have too much, too little, and something else.
func TestTruthDiffers(t *testing.T) {
	path, _ := makeFile(t, 3)
	s := open(t, path, nil)
	of := func(records ...storage.Record) truth {
		is := make(truth)
		for _, r := range records {
			is[r.ID] = r
		}
		return is
	}
	for name, row := range map[string]struct {
		is   truth
		same bool
	}{
		"same": {of(record(0), record(1), record(2)), true}, "one more": {of(record(0), record(1)), false},
		"one fewer": {of(record(0), record(1), record(2), record(3)), false}, "another": {of(record(0), record(1), ended(record(2))), false},
	} {
		if text := row.is.differs(t, s); (text == "") != row.same {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// TestGroupDuringACheckpoint: a group that is shown while a checkpoint writes stays in the log, and a
// crash keeps it. Where the tree has to be whole without the log, the tree has the group at the end.
func TestGroupDuringACheckpoint(t *testing.T) {
	for needsLog, want := range map[bool][]storage.ID{true: {record(2).ID}, false: nil} {
		path, _ := makeFileIn(t, quickDir(t), 0)
		s := open(t, path, &Options{logAtOnce: true})
		put(t, s, record(1))
		var during sync.Once
		onCommit(s, func(btx *bbolt.Tx) error {
			during.Do(func() { put(t, s, record(2)) })
			return btx.Commit()
		})
		if err := s.checkpoint(needsLog); err != nil {
			t.Fatal(err)
		}
		if _, ids, _ := s.journal.takeDirty(); !slices.Equal(ids, want) {
			t.Errorf("needs the log %v: %v are not in the tree; want %v", needsLog, ids, want)
		}
		is := truth{record(1).ID: record(1), record(2).ID: record(2)}
		if text := is.differs(t, openCrashed(t, path)); text != "" {
			t.Errorf("needs the log %v, after a crash: %s", needsLog, text)
		}
	}
}

const checkpointWriters = 4

// TestCheckpointsAmongWriters has writers put, end, rename, delete and touch records of their own,
// while others sweep, and take the log into the file, and copy or compact it. After each round
// a crash, and a close, leave what the calls have said.
func TestCheckpointsAmongWriters(t *testing.T) {
	seed := drawn(t)
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path := filepath.Join(quickDir(t), "tokens.db")
		s := open(t, path, opts)
		var all [checkpointWriters]truth
		for n := range all {
			all[n] = make(truth)
		}
		for round := range sample.Of(40, 12) {
			r := chance(seed, round)
			mix(t, s, &all, round, r)
			if t.Failed() {
				return
			}
			want := make(truth)
			for _, some := range all {
				maps.Copy(want, some)
			}
			for when, s := range map[string]*Store{"open": s, "after a crash": openCrashed(t, path)} {
				if text := want.differs(t, s); text != "" {
					t.Fatalf("round %d, %s: %s", round, when, text)
				}
			}
			if r.IntN(3) > 0 {
				continue
			}
			if err := s.Close(); err != nil {
				t.Fatalf("round %d: Close: %v", round, err)
			}
			s = open(t, path, opts)
			if text := want.differs(t, s); text != "" {
				t.Fatalf("round %d, reopened: %s", round, text)
			}
		}
		s.Close()
	})
}

// mix is one round. In the end nothing is unsaved, and nothing is left to be swept.
func mix(t *testing.T, s *Store, all *[checkpointWriters]truth, round int, r *rand.Rand) {
	ctx := t.Context()
	sweep := func() {
		if _, err := s.Sweep(ctx, record(0).IssuedAt, 1000); err != nil {
			t.Errorf("Sweep: %v", err)
		}
	}
	quit := make(chan struct{})
	var besides, writers sync.WaitGroup
	turns := r.Perm(8)
	besides.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			default:
			}
			switch what := turns[n%len(turns)]; {
			case what < 4 && s.journal.current() != nil:
				if err := s.checkpoint(true); err != nil {
					t.Errorf("checkpoint: %v", err)
				}
			case what == 5:
				backup(t, s)
			case what == 6:
				if err := s.Compact(ctx); err != nil {
					t.Errorf("Compact: %v", err)
				}
			default:
				sweep()
			}
		}
	})
	for n := range all {
		w := &mixer{s: s, own: all[n], number: n, next: round << 10, r: rand.New(rand.NewPCG(r.Uint64(), uint64(n)))}
		writers.Go(func() {
			for range 30 {
				if err := w.step(ctx); err != nil {
					t.Errorf("writer %d: %v", n, err)
				}
			}
		})
	}
	writers.Wait()
	close(quit)
	besides.Wait()
	sweep()
	if err := s.flush(); err != nil {
		t.Errorf("flush: %v", err)
	}
}

// mixer writes records of its own.
type mixer struct {
	s            *Store
	own          truth
	number, next int
	r            *rand.Rand
}

// step is one call, and what it has made of the records.
func (w *mixer) step(ctx context.Context) error {
	var old storage.Record
	for _, old = range w.own {
		break // any of them
	}
	subject := fmt.Sprint("writer ", w.number)
	change := func(fn func(tx storage.Tx) error) error { return w.s.Update(ctx, subject, fn) }
	dice := w.r.IntN(10)
	if len(w.own) == 0 {
		dice = 0
	}
	switch {
	case dice < 4: // several new ones, and one that a sweep takes
		var records []storage.Record
		for i := range 1 + w.r.IntN(5) {
			r := record(w.next*checkpointWriters + w.number)
			w.next++
			if r.Subject = subject; i == 3 {
				r.ExpiresAt = record(0).IssuedAt.Add(-time.Hour)
			}
			records = append(records, r)
		}
		err := change(func(tx storage.Tx) (err error) {
			for _, r := range records {
				err = errors.Join(err, tx.Put(r))
			}
			return err
		})
		for i, r := range records {
			if i != 3 {
				w.own[r.ID] = r
			}
		}
		return err
	case dice < 5:
		delete(w.own, old.ID)
		return change(func(tx storage.Tx) error { return tx.Delete(old.ID) })
	case dice < 8:
		use := storage.Use{At: old.IssuedAt.Add(time.Duration(w.next) * time.Millisecond), ExpiresAt: old.ExpiresAt.Add(time.Duration(w.r.IntN(1000)) * time.Millisecond)}
		use.Raise(&old)
		w.own[old.ID] = old
		return w.s.Touch(ctx, old.ID, use)
	case dice < 9 && old.EndedAt.IsZero():
		endsIt(&old)
	default:
		old.Name = fmt.Sprint(w.next, w.r.IntN(1000))
	}
	w.own[old.ID] = old
	return change(func(tx storage.Tx) error { return tx.Put(old) })
}
