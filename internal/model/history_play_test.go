package model

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// playOnBoth plays the script in memory and on a file in dir.
func playOnBoth(script []byte, dir string) error {
	if err := play(script, lapsetest.NewByID(), nil); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	path := filepath.Join(dir, "tokens.db")
	defer os.Remove(path)
	s, err := bolt.Open(path, nil)
	if err != nil {
		return err
	}
	err = play(script, s, func(old storage.Store) (storage.Store, error) {
		if err := old.Close(); err != nil {
			return nil, err
		}
		return bolt.Open(path, nil)
	})
	if err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	return nil
}

// script returns bytes that depend on the seed alone.
func script(seed uint64, bytes int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

var histories = flag.Int("histories", 5, "how many scripts of all verbs are played on memory and on bolt")

func TestHistories(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(*histories) {
		if err := playOnBoth(script(seed, 1500), dir); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func FuzzHistory(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(script(seed, 600))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 2000 {
			t.Skip("long scripts find nothing that shorter ones do not")
		}
		if err := playOnBoth(script, t.TempDir()); err != nil {
			t.Fatal(err)
		}
	})
}
