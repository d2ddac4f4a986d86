package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// TestPaced plants an operation that takes long, once: those that were due meanwhile
// follow at once, and those after them come at their time.
func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		err := paced(10, 10, func(i int) error {
			at = append(at, time.Since(begin))
			if i == 2 {
				time.Sleep(350 * time.Millisecond)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range at {
			want := time.Duration(i) * 100 * time.Millisecond
			if i > 2 {
				want = max(want, 550*time.Millisecond)
			}
			if got != want {
				t.Errorf("operation %d came at %v, want %v", i, got, want)
			}
		}
		bad := errors.New("planted")
		if err := paced(3, 1000, func(int) error { return bad }); !errors.Is(err, bad) {
			t.Errorf("%v instead of the error of an operation", err)
		}
	})
}

// TestWatchLog plants logs of all sizes.
func TestWatchLog(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ file, log, limit int64 }{
		{0, 0, mib},
		{mib, 0, mib},
		{mib, mib + 1, mib},
		{8 * mib, 3, mib},
		{8*mib + 8, 2 * mib, mib + 1},
		{80 * mib, 10 * mib, 10 * mib},
	} {
		path := filepath.Join(t.TempDir(), "file")
		for name, size := range map[string]int64{path: c.file, path + logSuffix: c.log} {
			if size == 0 {
				continue
			}
			if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, size)); err != nil {
				t.Fatal(err)
			}
		}
		if log, limit := watchLog(path)(); log != c.log || limit != c.limit {
			t.Errorf("%+v: a log of %d, and %d are allowed", c, log, limit)
		}
	}
}

// TestDeferred wants a transaction for each time at which something waits, and each key
// once in it.
func TestDeferred(t *testing.T) {
	const size = 30
	db, err := fillBare(filepath.Join(t.TempDir(), "file"), 3, size, fastOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d := &deferred{db: db, size: size, keys: map[[16]byte]int{}}
	for _, puts := range [][]uint64{{}, {1}, {2, 2, 0}, {}} {
		before := d.commits
		for i, k := range puts {
			d.put(timeKey(k), 100+i)
		}
		if err := d.commit(); err != nil || d.commits-before != min(1, len(puts)) {
			t.Errorf("%v: %d transactions, %v", puts, d.commits-before, err)
		}
	}
	stop := d.everySecond()
	d.put(timeKey(1), 200)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	want := map[uint64]int{0: 102, 1: 200, 2: 101}
	err = db.View(func(tx *bbolt.Tx) error {
		for k, i := range want {
			key := timeKey(k)
			if got := tx.Bucket(recordsBucket).Get(key[:]); string(got) != string(valueOf(size, i)) {
				t.Errorf("key %d holds %x", k, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMeasured wants the bytes of a file that is written meanwhile, and an error to come
// back with them.
func TestMeasured(t *testing.T) {
	if _, err := writtenSoFar(); err != nil {
		t.Skip("this system does not tell what a process writes:", err)
	}
	path, bad := filepath.Join(t.TempDir(), "file"), errors.New("planted")
	a, err := measured(func() (answer, error) {
		return answer{Done: 3}, errors.Join(bad, os.WriteFile(path, make([]byte, 1<<20), 0o600))
	})
	if !errors.Is(err, bad) || a.Done != 3 || a.Bytes < 1<<20 {
		t.Errorf("%+v, %v", a, err)
	}
}
