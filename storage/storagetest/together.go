package storagetest

import (
	"context"
	"errors"
	"sync"
	"time"
)

// together calls f in n goroutines, which all have arrived before the first of
// them goes on, and joins their errors.
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

// underway runs f in a goroutine of its own. started is closed right before f is
// called; done gets its error.
func underway(f func() error) (started chan struct{}, done chan error) {
	started, done = make(chan struct{}), make(chan error, 1)
	go func() {
		close(started)
		done <- f()
	}()
	return started, done
}

// moment is the chance that a case gives to something wrong to happen. A store
// that is right passes however short it is.
const moment = 10 * time.Millisecond

// within reports whether done gets its value within a moment, and puts it back.
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
