package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// measured returns what this process writes, and how long that takes, while f runs.
func measured(f func() (answer, error)) (answer, error) {
	before, err := writtenSoFar()
	if err != nil {
		return answer{}, err
	}
	begin := time.Now()
	a, err := f()
	a.Took = int64(time.Since(begin))
	after, failed := writtenSoFar()
	a.Bytes = after - before
	return a, errors.Join(err, failed)
}

// renewWithLapse renews tokens at random by Touch, which is what an Authenticate that
// renews calls. It watches the log meanwhile.
func renewWithLapse(j job) (answer, error) {
	stop := watchLog(j.Path)
	a, err := measured(func() (a answer, err error) {
		ctx := context.Background()
		store, err := bolt.Open(j.Path, nil)
		if err != nil {
			return a, err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		ids, err := allIDs(ctx, store)
		if err != nil {
			return a, err
		}
		random := rand.New(rand.NewPCG(j.Seed, 0))
		err = paced(j.Count, j.Rate, func(int) error {
			now := time.Now()
			a.Done++
			return store.Touch(ctx, ids[random.IntN(len(ids))], storage.Use{At: now, ExpiresAt: now.Add(longLife)})
		})
		return a, err
	})
	a.Log, a.Limit = stop()
	return a, err
}

// watchLog looks at the size of the log of the store at path until the function that it
// returns is called. That returns the size at which the log was largest for its file, and
// how large it may have been then.
func watchLog(path string) (stop func() (log, limit int64)) {
	over := make(chan struct{})
	var done sync.WaitGroup
	var log, limit int64
	done.Go(func() {
		every := time.NewTicker(5 * time.Millisecond)
		defer every.Stop()
		for {
			size, most := sizeOf(path+logSuffix), logLimit(sizeOf(path))
			if limit == 0 || float64(size)/float64(most) > float64(log)/float64(limit) {
				log, limit = size, most
			}
			select {
			case <-over:
				return
			case <-every.C:
			}
		}
	})
	return func() (int64, int64) {
		close(over)
		done.Wait()
		return log, limit
	}
}

// logLimit is how large a log may be beside a file of that size.
func logLimit(file int64) int64 { return max(1<<20, file/8) }

// sizeOf returns the size of a file, 0 if there is none.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// renewWithBbolt puts values at random with one transaction a second, in the order of
// their keys. A key that was put twice in that second is written once.
func renewWithBbolt(j job) (answer, error) {
	return measured(func() (a answer, err error) {
		db, err := bbolt.Open(j.Path, 0o600, fastOptions())
		if err != nil {
			return a, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		live := 0
		err = db.View(func(tx *bbolt.Tx) error { live = tx.Bucket(recordsBucket).Stats().KeyN; return nil })
		if err != nil {
			return a, err
		}
		d := &deferred{db: db, size: j.Values, keys: map[[16]byte]int{}}
		stop := d.everySecond()
		random := rand.New(rand.NewPCG(j.Seed, 0))
		err = paced(j.Count, j.Rate, func(i int) error {
			a.Done++
			d.put(timeKey(uint64(random.IntN(live))), i)
			return nil
		})
		err = errors.Join(err, stop())
		a.Commit = d.commits
		return a, err
	})
}

// deferred keeps what is to be put until the next transaction.
type deferred struct {
	db      *bbolt.DB
	size    int
	commits int

	mu   sync.Mutex
	keys map[[16]byte]int
}

func (d *deferred) put(key [16]byte, i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[key] = i
}

// everySecond commits what waits once a second, and a last time when the function that it
// returns is called. That returns the first error.
func (d *deferred) everySecond() (stop func() error) {
	over, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		every := time.NewTicker(time.Second)
		defer every.Stop()
		for last := false; ; {
			select {
			case <-over:
				last = true
			case <-every.C:
			}
			if err := d.commit(); err != nil || last {
				failed <- err
				return
			}
		}
	}()
	return func() error {
		close(over)
		return <-failed
	}
}

// commit puts what waits in one transaction.
func (d *deferred) commit() error {
	d.mu.Lock()
	waiting := d.keys
	d.keys = map[[16]byte]int{}
	d.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	keys := make([][16]byte, 0, len(waiting))
	for k := range waiting {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
	d.commits++
	return d.db.Update(func(tx *bbolt.Tx) error {
		for _, k := range keys {
			if err := putValue(tx, k, valueOf(d.size, waiting[k])); err != nil {
				return err
			}
		}
		return nil
	})
}
