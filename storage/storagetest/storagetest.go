// Package storagetest is the contract of package storage as runnable tests. A
// backend that passes Run keeps the clauses S1 to S40, and M1 to M4 if it is a
// storage.Marker, as far as a test can check them from outside. It is for authors of
// backends:
//
//	func TestStore(t *testing.T) {
//		storagetest.Run(t, storagetest.Backend{
//			Open: func(tb testing.TB) storage.Store { return mystore.New() },
//		})
//	}
//
// Run it with -race: the race detector finds most violations of S21. Bench shows that
// the cost of Sweep does not grow with the number of live records (S17), and that of
// Living does not grow with the number of dead ones (S30). The backend needs its own
// tests for crashes (S10), and for outcomes that are unknown because the engine does
// not answer: the case of S28 ends the contexts of Updates. The cases of an optional
// ability are skipped where the store lacks that. So are the cases of two processes
// where Backend.Share is nil, as with storage/memory, which lives in one process, and
// storage/bolt, which locks its file.
//
// Faulty wraps any store and makes a chosen call fail. It is for tests of programs that
// use a store.
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

// Backend says how to open the store under test. The suite closes each store that it opens, except
// one that hung. A cleanup that closes a store again does no harm.
type Backend struct {
	// Open returns a new, empty store.
	Open func(tb testing.TB) storage.Store

	// Reopen closes s and opens the same data again. nil means that no data outlives Close; the
	// suite then skips the cases that need it.
	Reopen func(tb testing.TB, s storage.Store) storage.Store

	// Share returns a second store on the data of s, as another process would open it: the two have no
	// memory in common. Both are used at the same time. nil means that one process at a time can open
	// the data; the suite then skips the cases that need two.
	Share func(tb testing.TB, s storage.Store) storage.Store
}

// patience is how long a case may take. It is real time, and only a case that hangs, and so fails,
// uses all of it.
const patience = time.Minute

// Run checks the contract. It runs one subtest for each case, named by the clause that it checks,
// on a store of its own. A failure prints the sentence of the clause that was broken.
func Run(t *testing.T, b Backend) {
	for _, c := range slices.Concat(cases(), markCases()) {
		t.Run(c.name, func(t *testing.T) {
			err := c.run(t, b, patience)
			switch {
			case skips(err):
				t.Skip(err)
			case errors.Is(err, errHung):
				t.Errorf("%s\n%v\n%s", c.rule, err, stacks())
			case err != nil:
				t.Errorf("%s\n%v", c.rule, err)
			}
		})
	}
}

// testCase is one check. Its name begins with the number of the clause, and rule is the sentence of
// that. check returns an error that says what is wrong, so that the suite can be tested with stores
// that are known to be wrong.
type testCase struct {
	name, rule string
	check      func(e *env) error
}

func cases() []testCase {
	return slices.Concat(recordCases(), txCases(), putCases(), serialCases(), touchCases(), listCases(),
		sweepCases(), contextCases(), durableCases(), closeCases(), watchCases(),
		secretCases(), capCases(), livingCases(), deleteCases(), getsCases(), suspendCases(), pageCases(),
		byIDCases(), fitCases(), copyCases(), sizeCases(), shareCases(), shareWatchCases(), unknownCases(), timeCases())
}

// skips reports whether err, which a case returned, says that the case is not about this store.
func skips(err error) bool {
	return slices.Contains([]error{errNoMarker, errNoReopen, errNoShare, errNoWatch, errNoProof, errNoGets, errNoPages, errNoByID, errNoFits, errNoCopies, errNoTime}, err)
}

var (
	errNoMarker = errors.New("the store is no storage.Marker")
	errNoReopen = errors.New("nothing outlives Close here: the backend has no Reopen")
	errHung     = errors.New("hung")
	errGoexit   = errors.New("ended its goroutine")
)

// run checks c on a new store and closes the store, unless that hung.
func (c testCase) run(tb testing.TB, b Backend, patience time.Duration) error {
	e := newEnv(tb, b)
	e.patience = patience / 3
	err := runGuarded(patience, func() error { return c.check(e) })
	if errors.Is(err, errHung) {
		return err
	}
	closing := runGuarded(patience, func() error { e.close(); return nil })
	if closing != nil {
		return errors.Join(err, fmt.Errorf("closing the store after the case: %w", closing))
	}
	return err
}

// runGuarded runs f and returns its error. It returns an error, too, if f panics, ends its
// goroutine, or does not return within patience.
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

// stacks returns the stack of every goroutine, which shows why a call hangs.
func stacks() []byte {
	buf := make([]byte, 64<<10)
	return buf[:runtime.Stack(buf, true)]
}
