package main

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// bareBolt is bbolt by itself, with every option that makes it faster: keys of 16
// bytes in order of time, values of the size of a record, full pages, no freelist on
// disk, no statistics.
type bareBolt struct {
	db    *bbolt.DB
	live  int
	next  atomic.Uint64 // the number of the next new key
	group *grouping
}

var recordsBucket = []byte("records")

const (
	recordLen = 128 // of a token with a subject of 14 bytes and two words of scope
	fullPages = 0.9
)

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
		db, err := bbolt.Open(w.file("bare.db"), 0o600, fastOptions())
		if err != nil {
			return nil, err
		}
		w.atRelease(db.Close)
		b := &bareBolt{db: db, live: n}
		b.next.Store(uint64(n))
		b.group = newGrouping(b)
		w.atRelease(b.group.close)
		return b, inBulk(db, recordsBucket, n, func(bucket *bbolt.Bucket, i int) error {
			bucket.FillPercent = fullPages
			key := timeKey(uint64(i))
			return bucket.Put(key[:], record128(i))
		})
	})
}

// timeKey returns the i-th key.
func timeKey(i uint64) (key [16]byte) {
	binary.BigEndian.PutUint64(key[:], i)
	binary.BigEndian.PutUint64(key[8:], i*0x9e3779b97f4a7c15)
	return key
}

func record128(i int) []byte {
	v := make([]byte, recordLen)
	binary.BigEndian.PutUint64(v, uint64(i))
	return v
}

// scattered returns a key that exists, another one for each i and never a neighbour
// of the one before.
func (b *bareBolt) scattered(i int) [16]byte {
	return timeKey(uint64(i) * 2_654_435_761 % uint64(b.live))
}

// fresh returns a key after all others.
func (b *bareBolt) fresh(int) [16]byte { return timeKey(b.next.Add(1) - 1) }

// view reads one record.
func (b *bareBolt) view(i int) error {
	key := b.scattered(i)
	return b.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(recordsBucket).Get(key[:]); len(v) != recordLen {
			return errNothing
		}
		return nil
	})
}

// put writes one record in a transaction of its own.
func (b *bareBolt) put(key func(i int) [16]byte) func(i int) error {
	return func(i int) error { return b.db.Update(func(tx *bbolt.Tx) error { return putIn(tx, key(i), i) }) }
}

// batch writes one record with bbolt's own grouping, as it comes: a transaction
// waits for up to 10 ms, or for 1,000 calls.
func (b *bareBolt) batch(key func(i int) [16]byte) func(i int) error {
	return func(i int) error {
		k := key(i)
		return b.db.Batch(func(tx *bbolt.Tx) error { return putIn(tx, k, i) })
	}
}

// puts writes n records in one transaction.
func (b *bareBolt) puts(n int) func(i int) error {
	return func(i int) error {
		return b.db.Update(func(tx *bbolt.Tx) error {
			for k := range n {
				if err := putIn(tx, timeKey(uint64((i*n+k)%b.live)), k); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func putIn(tx *bbolt.Tx, key [16]byte, i int) error {
	b := tx.Bucket(recordsBucket)
	b.FillPercent = fullPages
	return b.Put(key[:], record128(i))
}
