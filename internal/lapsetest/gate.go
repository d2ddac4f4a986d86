package lapsetest

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// OnStores runs a test on a store in memory and on one in a file.
func OnStores(t *testing.T, test func(t *testing.T, store *storagetest.Faulty)) {
	t.Run("memory", func(t *testing.T) { test(t, storagetest.NewFaulty(memory.New())) })
	t.Run("bolt", func(t *testing.T) {
		s, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		test(t, storagetest.NewFaulty(s))
	})
}

// Arrivals holds every call of ops until n of them have arrived, and then lets all
// go at once.
func Arrivals(store *storagetest.Faulty, n int, ops ...storagetest.Op) {
	var mu sync.Mutex
	left, open := n, make(chan struct{})
	store.Before(func(got storagetest.Op) {
		if !slices.Contains(ops, got) {
			return
		}
		mu.Lock()
		if left--; left == 0 {
			close(open)
		}
		mu.Unlock()
		<-open
	})
}

// Together runs n calls at once and returns their errors.
func Together(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = call(i) })
	}
	wg.Wait()
	return errs
}

// GateManager returns a Manager on store with policy p, and its clock, which stands at Start.
func GateManager(t *testing.T, store storage.Store, p lapse.Policy) (*lapse.Manager, *StepClock) {
	t.Helper()
	clock := NewClock()
	m, err := lapse.New(store, lapse.Config{Policy: p, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return m, clock
}
