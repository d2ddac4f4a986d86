package storagetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/seed-55daa01a/lapse/storage"
)

func closeCases() []testCase {
	return []testCase{
		{"S20_closed_is_closed", "After Close every method returns ErrClosed.",
			checkClosed},
		{"S20_close_again", "Close returns nil again.",
			checkCloseAgain},
		{"S20_close_while_in_use", "Close may come at any time: a call that is under way ends as ever or with ErrClosed.",
			checkCloseInUse},
		{"S20_close_waits", "Close waits for calls that are under way.",
			checkCloseWaits},
	}
}

func checkClosed(e *env) error {
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	unstarted := e.store.List(e.ctx, storage.Filter{})
	if err := e.store.Close(); err != nil {
		return err
	}
	if err := e.refuses(e.ctx, storage.ErrClosed, r); err != nil {
		return err
	}
	for _, err := range unstarted {
		if err := wants("List that was made before Close", err, storage.ErrClosed); err != nil {
			return err
		}
	}
	absent := e.record("bob")
	_, err := e.store.Get(e.ctx, absent.ID)
	if err := errors.Join(wants("Get", err, storage.ErrClosed), e.refuses(e.ctx, storage.ErrClosed, absent)); err != nil {
		return fmt.Errorf("for what was never there: %w", err)
	}
	if e.reopenStore == nil {
		return nil
	}
	return errors.Join(e.reopen(), e.holds(r))
}

func checkCloseAgain(e *env) error {
	r := e.record("ana")
	err := e.put(r)
	for i := range 3 {
		if err := e.store.Close(); err != nil {
			return fmt.Errorf("Close no. %d: %w", i+1, err)
		}
	}
	again := together(4, func(int) error { return e.store.Close() })
	return errors.Join(err, again, e.refuses(e.ctx, storage.ErrClosed, r))
}

// checkCloseInUse closes the store when each worker has done some rounds, and then checks that
// every acknowledged write is there.
func checkCloseInUse(e *env) error {
	const workers, rounds, untilClose = 8, 12, 3
	var left [workers]storage.Record
	var busy sync.WaitGroup
	busy.Add(workers)
	err := together(workers+1, func(i int) error {
		if i == workers {
			busy.Wait()
			return e.store.Close()
		}
		arrive := sync.OnceFunc(busy.Done)
		defer arrive()
		for n := range rounds {
			if n == untilClose {
				arrive()
			}
			err := e.workOn(&left[i], i, n)
			if errors.Is(err, storage.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || e.reopenStore == nil {
		return err
	}
	return errors.Join(e.reopen(), e.has(left[:]...))
}

// workOn puts the record of worker i again with other content and uses every method on it. *r is
// the record that was acknowledged last.
func (e *env) workOn(r *storage.Record, i, n int) error {
	subject := fmt.Sprint("worker ", i)
	next := *r
	if n == 0 {
		next = e.record(subject)
	}
	counted(n)(&next)
	if err := e.put(next, e.record(subject, expires(instant(1)))); err != nil {
		return err
	}
	*r = next
	return e.work(r)
}

func checkCloseWaits(e *env) error {
	r := e.record("ana")
	running, release := make(chan struct{}, 1), make(chan struct{})
	_, updating := underway(func() error {
		return e.update("ana", func(tx storage.Tx) error {
			select {
			case running <- struct{}{}:
			default:
			}
			<-release
			return tx.Put(r)
		})
	})
	<-running
	_, closing := underway(e.store.Close)
	var early error
	if within(closing) {
		early = errors.New("Close returned while fn was running")
	}
	close(release)
	if err := errors.Join(early, <-updating, <-closing); err != nil || e.reopenStore == nil {
		return err
	}
	return errors.Join(e.reopen(), e.holds(r))
}
