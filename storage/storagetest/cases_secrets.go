package storagetest

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func secretCases() []testCase {
	return []testCase{
		{"S27_digest_and_sealed_together", "Digest and Sealed are read as they were put together.",
			checkTogether},
		{"S27_the_old_digest_is_gone", "Once an Update that replaced a Digest has returned, this process never reads the old one.",
			checkOldDigestGone},
	}
}

// rotated gives a record its n-th secret.
func rotated(n int) func(*storage.Record) {
	return func(r *storage.Record) {
		r.Generation, r.Digest, r.Sealed = uint32(n), digest(int64(n)), storage.NewSealed(fmt.Sprint("secret ", n))
		r.RotatedAt, r.PreviousUntil = instant(int64(n)), instant(int64(n+5))
	}
}

// secretOf returns the number of r's secret. It returns an error if the fields of r belong to
// different secrets.
func secretOf(r storage.Record) (n int, err error) {
	n = int(r.Generation)
	want := with(r, rotated(n))
	if !r.Equal(want) {
		return n, fmt.Errorf("the digest or what is sealed is not that of secret %d: %w", n, sameRecord("Get", want, r))
	}
	return n, nil
}

// readers returns each way to read a record, by its name.
func (e *env) readers() map[string]func(subject string, id storage.ID) (storage.Record, error) {
	first := func(tx storage.Tx, id storage.ID) (storage.Record, error) {
		for r, err := range tx.Records() {
			if err != nil || r.ID == id {
				return r, err
			}
		}
		return storage.Record{}, storage.ErrNotFound
	}
	living := func(tx storage.Tx, id storage.ID) (storage.Record, error) {
		for r, err := range tx.Living(time.Time{}) {
			if err != nil || r.ID == id {
				return r, err
			}
		}
		return storage.Record{}, storage.ErrNotFound
	}
	in := func(read func(storage.Tx, storage.ID) (storage.Record, error)) func(string, storage.ID) (storage.Record, error) {
		return func(subject string, id storage.ID) (r storage.Record, err error) {
			err = errors.Join(e.update(subject, func(tx storage.Tx) error {
				got, err := read(tx, id)
				r = got
				return err
			}), err)
			return r, err
		}
	}
	return map[string]func(string, storage.ID) (storage.Record, error){
		"Get": func(_ string, id storage.ID) (storage.Record, error) { return e.store.Get(e.ctx, id) },
		"List": func(subject string, id storage.ID) (storage.Record, error) {
			rs, err := e.list(storage.Filter{Subject: subject})
			for _, r := range rs {
				if r.ID == id {
					return r, err
				}
			}
			return storage.Record{}, errors.Join(err, storage.ErrNotFound)
		},
		"Tx.Get":     in(storage.Tx.Get),
		"Tx.Records": in(first),
		"Tx.Living":  in(living),
	}
}

// checkTogether rotates a secret while other goroutines touch the record and read it in every way.
func checkTogether(e *env) error {
	const rounds = 10
	r := e.record("ana", rotated(0))
	if err := e.put(r); err != nil {
		return err
	}
	var known, busy atomic.Int64
	rotate := func() error {
		for n := 1; busy.Load() > 0; n++ {
			if err := e.change("ana", r.ID, rotated(n)); err != nil {
				return err
			}
			known.Store(int64(n))
			runtime.Gosched()
		}
		return nil
	}
	parts := []func(n int) error{func(n int) error {
		return e.touch(r.ID, storage.Use{At: r.LastUsedAt.Add(time.Duration(n) * time.Millisecond)})
	}}
	for name, read := range e.readers() {
		parts = append(parts, func(int) error {
			least := known.Load()
			got, err := read("ana", r.ID)
			n, torn := secretOf(got)
			switch {
			case err != nil || torn != nil:
				return fmt.Errorf("%s: %w", name, errors.Join(err, torn))
			case int64(n) < least:
				return fmt.Errorf("%s: secret %d, after an Update that put secret %d has returned", name, n, least)
			}
			return nil
		})
	}
	busy.Store(int64(len(parts)))
	return together(len(parts)+1, func(i int) error {
		if i == len(parts) {
			return rotate()
		}
		defer busy.Add(-1)
		for n := range rounds {
			if err := parts[i](n); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkOldDigestGone(e *env) error {
	const rotations = 8
	r := e.record("ana", rotated(0))
	if err := errors.Join(e.put(r), e.put(e.records(5, "ana")...)); err != nil {
		return err
	}
	for n := 1; n <= rotations; n++ {
		if err := e.touch(r.ID, storage.Use{At: r.LastUsedAt.Add(time.Duration(n) * time.Second)}); err != nil {
			return err
		}
		err := e.change("ana", r.ID, func(r *storage.Record) {
			if rotated(n)(r); n%2 == 0 {
				r.PreviousUntil = time.Time{}
			}
		})
		if err != nil {
			return err
		}
		again := func() error {
			for name, read := range e.readers() {
				got, err := read("ana", r.ID)
				if err != nil || got.Digest != digest(int64(n)) || got.Sealed.Text() != fmt.Sprint("secret ", n) {
					return fmt.Errorf("%s reads an old secret after rotation %d, %v: %+v", name, n, err, got)
				}
			}
			return nil
		}
		if n%4 == 0 {
			err = e.andReopened(again)
		} else {
			err = again()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
