package storagetest

import (
	"context"
	"errors"
	"sync"
	"time"
)

// together calls f in n goroutines and joins their errors. No goroutine calls f before all of them
// have arrived.
func together(n int, f func(i int) error) error {
	var arrived, done sync.WaitGroup
	gate := make(chan struct{})
	errs := make([]error, n)
	arrived.Add(n)
	for i := range n {
		done.Go(func() {
			arrived.Done()
			<-gate
			errs[i] = f(i)
		})
	}
	arrived.Wait()
	close(gate)
	done.Wait()
	return errors.Join(errs...)
}

// underway runs f in a goroutine of its own. started is closed right before the call of f, and done
// receives the error of f.
func underway(f func() error) (started chan struct{}, done chan error) {
	started, done = make(chan struct{}), make(chan error, 1)
	go func() {
		close(started)
		done <- f()
	}()
	return started, done
}

// moment is how long a case waits for a wrong store to show its fault. A right store passes however
// short it is.
const moment = 10 * time.Millisecond

// within reports whether done receives its value within a moment, and puts the value back.
func within(done chan error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), moment)
	defer cancel()
	select {
	case err := <-done:
		done <- err
		return true
	case <-ctx.Done():
		return false
	}
}
