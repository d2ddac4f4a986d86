// Package storagetest is the contract of package storage as runnable tests: a
// backend that passes Run keeps the clauses S1 to S31, and M1 to M4 if it is a
// storage.Marker, as far as they can be checked from outside. It is for authors of
// backends:
//
//	func TestStore(t *testing.T) {
//		storagetest.Run(t, storagetest.Backend{
//			Open: func(tb testing.TB) storage.Store { return mystore.New() },
//		})
//	}
//
// Run it with -race: most of S21 is the race detector's to find. That the cost of
// Sweep does not grow with what is alive (S17), nor that of Living with what is dead
// (S30), is for Bench to show. What survives a crash (S10), and what is seen while an outcome is unknown (S28), is for tests
// of the backend's own. The cases of S23 to S26 are skipped where the store is no
// storage.Watcher.
//
// Faulty wraps any store and makes a chosen call fail, for tests of whatever
// uses a store.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Backend says how to open the store under test. The suite closes what it opens,
// but for a store that hung; a cleanup that closes it once more does no harm.
type Backend struct {
	// Open returns a new, empty store.
	Open func(tb testing.TB) storage.Store

	// Reopen closes s and opens the same data again. nil means that nothing
	// outlives Close; the cases that need it are skipped then.
	Reopen func(tb testing.TB, s storage.Store) storage.Store
}

// patience is how long a case may take. It is real time, and only a hang, which is
// a failure, ever uses it up.
const patience = 15 * time.Second

// Run checks the contract: one subtest for each case, named by the clause it
// checks, on a store of its own. A failure prints the sentence that was broken.
func Run(t *testing.T, b Backend) {
	for _, c := range slices.Concat(cases(), markCases()) {
		t.Run(c.name, func(t *testing.T) {
			err := c.run(t, b, patience)
			switch {
			case err == errNoReopen, err == errNoWatch, err == errNoMarker:
				t.Skip(err)
			case errors.Is(err, errHung):
				t.Errorf("%s\n%v\n%s", c.rule, err, stacks())
			case err != nil:
				t.Errorf("%s\n%v", c.rule, err)
			}
		})
	}
}

// testCase is one thing to check. Its name starts with the number of the clause,
// of which rule is the sentence. check says what is wrong by its error, so that the
// suite itself can be run on stores that are known to be wrong.
type testCase struct {
	name, rule string
	check      func(e *env) error
}

func cases() []testCase {
	return slices.Concat(recordCases(), txCases(), putCases(), serialCases(), touchCases(), listCases(),
		sweepCases(), contextCases(), durableCases(), closeCases(), watchCases(),
		secretCases(), capCases(), livingCases(), deleteCases())
}

var (
	errNoMarker = errors.New("the store is no storage.Marker")
	errNoReopen = errors.New("nothing outlives Close here: the backend has no Reopen")
	errHung     = errors.New("hung")
	errGoexit   = errors.New("ended its goroutine")
)

// run checks c on a new store and closes it, unless it hung.
func (c testCase) run(tb testing.TB, b Backend, patience time.Duration) error {
	e := newEnv(tb, b)
	e.patience = patience / 3
	err := runGuarded(patience, func() error { return c.check(e) })
	if errors.Is(err, errHung) {
		return err
	}
	// Whether Close says the right thing is for the cases of S20.
	closing := runGuarded(patience, func() error { e.store.Close(); return nil })
	if closing != nil {
		return errors.Join(err, fmt.Errorf("closing the store after the case: %w", closing))
	}
	return err
}

// runGuarded returns what f returns, and an error if f panics, ends its goroutine or
// does not come back.
func runGuarded(patience time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			done <- err
		}()
		err = f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: not back after %v", errHung, patience)
	}
}

// stacks shows where every goroutine is, which is what tells why something hangs.
func stacks() []byte {
	buf := make([]byte, 64<<10)
	return buf[:runtime.Stack(buf, true)]
}
