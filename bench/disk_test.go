package main

import (
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// TestFileUse wants the keys and values of the bucket that has most of them.
func TestFileUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for name, n := range map[string]int{"few": 1, "many": 7, "none": 0} {
			b, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for i := range n {
				if err := b.Put([]byte{byte(i)}, make([]byte, 9)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fileUse(path); err != nil || got != (use{info.Size(), 70, 7}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLifetimes wants a tenth to die in each round when the oldest do, and about a
// tenth when any may.
func TestLifetimes(t *testing.T) {
	const n = 10_000
	for _, any := range []bool{false, true} {
		dying := map[int]int{}
		for _, life := range lifetimes(n, any, true) {
			dying[life]++
		}
		low, high := n/churnRounds, n/churnRounds
		if any {
			low, high = low*9/10, high*11/10
		}
		if dying[0] != 0 || dying[1] < low || dying[1] > high {
			t.Errorf("any: %v: %d die at once, %d in the first round", any, dying[0], dying[1])
		}
	}
	for _, life := range lifetimes(50, false, false) {
		if life != churnRounds {
			t.Errorf("one that is issued later dies after %d rounds", life)
		}
	}
}
