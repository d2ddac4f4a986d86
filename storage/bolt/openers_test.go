package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// The ways in which an examiner may open a file: the right one, and some that it
// must catch.
const (
	soundly   = "soundly"
	unchecked = "without-checksums"
	barely    = "without-a-look-before"
	repairing = "with-repair"
	stuck     = "never"
)

var openers = map[string]func(path string) (storage.Store, error){
	soundly: func(path string) (storage.Store, error) { return Open(path, nil) },
	unchecked: func(path string) (storage.Store, error) {
		s, err := Open(path, nil)
		return credulous{s}, err
	},
	repairing: func(path string) (storage.Store, error) { return Open(path, &Options{Repair: true}) },
	barely: func(path string) (storage.Store, error) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
		return bareStore{db: db}, fault.Classify(err)
	},
	stuck: func(string) (storage.Store, error) {
		for {
			time.Sleep(time.Hour)
		}
	},
}

// credulous reads records as if their checksums matched.
type credulous struct{ *Store }

func (s credulous) Get(ctx context.Context, id storage.ID) (r storage.Record, err error) {
	if r, err = s.Store.Get(ctx, id); !errors.Is(err, storage.ErrCorrupt) {
		return r, err
	}
	err = s.tree.DB.View(func(btx *bbolt.Tx) error {
		v := btx.Bucket([]byte(tree.TokensBucket)).Get(id[:])
		if len(v) < sumLen {
			return storage.ErrNotFound
		}
		body := append([]byte(nil), v[:len(v)-sumLen]...)
		r, err = decode(id[:], binary.BigEndian.AppendUint32(body, wire.Checksum(id[:], body)))
		return err
	})
	return r, err
}

// bareStore is a store without anything around bbolt.
type bareStore struct {
	storage.Store
	db *bbolt.DB
}

func (s bareStore) Get(_ context.Context, id storage.ID) (r storage.Record, err error) {
	err = s.db.View(func(btx *bbolt.Tx) error {
		r, err = bareTx{bucket: btx.Bucket([]byte(tree.TokensBucket))}.Get(id)
		return err
	})
	return r, err
}

func (s bareStore) List(_ context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		s.db.View(func(btx *bbolt.Tx) error {
			return btx.Bucket([]byte(tree.TokensBucket)).ForEach(func(k, v []byte) error {
				if r, err := decode(k, v); (err != nil || f.Match(r)) && !yield(r, err) {
					return errors.New("enough")
				}
				return nil
			})
		})
	}
}

func (s bareStore) Update(_ context.Context, _ string, fn func(storage.Tx) error) error {
	return s.db.Update(func(btx *bbolt.Tx) error { return fn(bareTx{bucket: btx.Bucket([]byte(tree.TokensBucket))}) })
}

func (s bareStore) Touch(context.Context, storage.ID, storage.Use) error { return nil }

func (s bareStore) Sweep(context.Context, time.Time, int) (int, error) { return 0, nil }

func (s bareStore) Close() error { return s.db.Close() }

type bareTx struct {
	storage.Tx
	bucket *bbolt.Bucket
}

func (t bareTx) Get(id storage.ID) (storage.Record, error) {
	v := t.bucket.Get(id[:])
	if v == nil {
		return storage.Record{}, storage.ErrNotFound
	}
	return decode(id[:], v)
}

func (t bareTx) Put(r storage.Record) error {
	v, err := encode(&r)
	if err != nil {
		return err
	}
	return t.bucket.Put(r.ID[:], v)
}

func (t bareTx) Delete(id storage.ID) error { return t.bucket.Delete(id[:]) }
