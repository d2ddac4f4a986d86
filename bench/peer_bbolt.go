package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// bareBolt is bbolt by itself, with every option that makes it faster: keys of 16
// bytes in order of time, values of the size of a record, full pages, no freelist on
// disk, no statistics.
type bareBolt struct {
	db    *bbolt.DB
	size  int // of a value
	live  int
	next  atomic.Uint64 // the number of the next new key
	group *grouping
}

var recordsBucket = []byte("records")

// fullPages has new pages filled to the end: the keys come in order, and no key is ever
// put between two others.
const fullPages = 1.0

func fastOptions() *bbolt.Options {
	return &bbolt.Options{
		NoFreelistSync:  true,
		FreelistType:    bbolt.FreelistMapType,
		NoStatistics:    true,
		InitialMmapSize: 1 << 30,
	}
}

// bareBolt returns a file with n records.
func (w *world) bareBolt(n int) (*bareBolt, error) {
	return once(w, fmt.Sprintf("bare bbolt, %s records", grouped(n)), func() (*bareBolt, error) {
		size, err := w.recordSize()
		if err != nil {
			return nil, err
		}
		db, err := fillBare(w.file("bare.db"), n, size, fastOptions())
		if err != nil {
			return nil, err
		}
		w.atRelease(db.Close)
		b := &bareBolt{db: db, size: size, live: n}
		b.next.Store(uint64(n))
		b.group = newGrouping(b)
		w.atRelease(b.group.close)
		return b, nil
	})
}

// fillBare makes a file with n records of that size and returns it open.
func fillBare(path string, n, size int, options *bbolt.Options) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return nil, err
	}
	err = inBulk(db, recordsBucket, n, func(bucket *bbolt.Bucket, i int) error {
		bucket.FillPercent = fullPages
		key := timeKey(uint64(i))
		return bucket.Put(key[:], valueOf(size, i))
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// recordSize returns how many bytes lapse writes for a token with the subject and the
// scope that tokens have here, as found in a file of lapse.
func (w *world) recordSize() (int, error) {
	return once(w, "size of a record", func() (int, error) {
		const tokens = 32 // more than there are entries in any other bucket
		path := w.file("record.db")
		if err := w.fillClosed(path, tokens, nil); err != nil {
			return 0, err
		}
		u, err := fileUse(path)
		if err == nil && u.entries != tokens {
			err = fmt.Errorf("%s holds %d records, not %d", path, u.entries, tokens)
		}
		return int(u.payload)/tokens - len(storage.ID{}), err
	})
}

// timeKey returns the i-th key.
func timeKey(i uint64) (key [16]byte) {
	binary.BigEndian.PutUint64(key[:], i)
	binary.BigEndian.PutUint64(key[8:], i*0x9e3779b97f4a7c15)
	return key
}

// valueOf returns a value of that size, another one for each i.
func valueOf(size, i int) []byte {
	v := make([]byte, size)
	binary.BigEndian.PutUint64(v, uint64(i))
	return v
}

// scattered returns a key that exists, another one for each i and never a neighbour
// of the one before.
func (b *bareBolt) scattered(i int) [16]byte { return scatteredKey(i, b.live) }

// scatteredKey is that of n keys.
func scatteredKey(i, n int) [16]byte { return timeKey(uint64(i) * 2_654_435_761 % uint64(n)) }

// fresh returns a key after all others.
func (b *bareBolt) fresh(int) [16]byte { return timeKey(b.next.Add(1) - 1) }

// view reads one record.
func (b *bareBolt) view(i int) error {
	key := b.scattered(i)
	return b.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(recordsBucket).Get(key[:]); len(v) != b.size {
			return errNothing
		}
		return nil
	})
}

// put writes one record in a transaction of its own.
func (b *bareBolt) put(key func(i int) [16]byte) func(i int) error {
	return func(i int) error { return b.db.Update(func(tx *bbolt.Tx) error { return b.putIn(tx, key(i), i) }) }
}

// batch writes one record with bbolt's own grouping, as it comes: a transaction
// waits for up to 10 ms, or for 1,000 calls.
func (b *bareBolt) batch(key func(i int) [16]byte) func(i int) error {
	return func(i int) error {
		k := key(i)
		return b.db.Batch(func(tx *bbolt.Tx) error { return b.putIn(tx, k, i) })
	}
}

// puts writes n records in one transaction.
func (b *bareBolt) puts(n int) func(i int) error {
	return func(i int) error {
		return b.db.Update(func(tx *bbolt.Tx) error {
			for k := range n {
				if err := b.putIn(tx, timeKey(uint64((i*n+k)%b.live)), k); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (b *bareBolt) putIn(tx *bbolt.Tx, key [16]byte, i int) error {
	return putValue(tx, key, valueOf(b.size, i))
}

func putValue(tx *bbolt.Tx, key [16]byte, value []byte) error {
	b := tx.Bucket(recordsBucket)
	b.FillPercent = fullPages
	return b.Put(key[:], value)
}
