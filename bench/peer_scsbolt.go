package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// scsBolt is a store for scs on bbolt, written here because the module with its own
// is not to be had from the module proxy. It has the same transactions: one View for
// each Find, one Update for each Commit and Delete, an expiry of 8 bytes before the
// value, bbolt's defaults. It differs in two things: Find copies the value, which
// the original returns after its transaction has ended, and sweep deletes all that
// it has found.
type scsBolt struct {
	db *bbolt.DB
}

var sessionsBucket = []byte("scs:session")

// scsOnBolt returns n sessions in a file. In the largest one lots of a tenth run out
// together, like those of lapse.
func (w *world) scsOnBolt(n int) (*scsPeer, *scsBolt, error) {
	type both struct {
		peer  *scsPeer
		store *scsBolt
	}
	b, err := once(w, fmt.Sprintf("scs on bbolt, %s sessions", grouped(n)), func() (both, error) {
		db, err := bbolt.Open(w.file("scs.db"), 0o600, nil)
		if err != nil {
			return both{}, err
		}
		w.atRelease(db.Close)
		store := &scsBolt{db}
		tokens := randomTexts(n)
		lasting := n
		if n == w.plan.large() {
			lasting = w.lasting(n)
		}
		life := func(i int) time.Duration {
			if i < lasting {
				return longLife
			}
			return lotLife * time.Duration(1+(i-lasting)/(n/10))
		}
		return both{newSCS(store, tokens), store}, store.load(n, tokens.at, life, subject)
	})
	return b.peer, b.store, err
}

// load writes n sessions in the order of their keys, many in a transaction.
func (s *scsBolt) load(n int, token func(i int) string, life func(i int) time.Duration, subject func(i int) string) error {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(token(a), token(b)) })
	return inBulk(s.db, sessionsBucket, n, func(b *bbolt.Bucket, k int) error {
		i := order[k]
		value, err := gobSession(subject(i), map[string]any{"scope": scope}, life(i))
		if err != nil {
			return err
		}
		return b.Put([]byte(token(i)), expiring(value, time.Now().Add(life(i))))
	})
}

// expiring puts an expiry before a value.
func expiring(value []byte, at time.Time) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(value)), uint64(at.UnixNano())), value...)
}

// Find implements scs.Store.
func (s *scsBolt) Find(token string) (value []byte, found bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(sessionsBucket).Get([]byte(token))
		if v != nil && uint64(time.Now().UnixNano()) < binary.BigEndian.Uint64(v) {
			value, found = append([]byte(nil), v[8:]...), true
		}
		return nil
	})
	return value, found, err
}

// Commit implements scs.Store.
func (s *scsBolt) Commit(token string, value []byte, expiry time.Time) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(sessionsBucket).Put([]byte(token), expiring(value, expiry))
	})
}

// Delete implements scs.Store.
func (s *scsBolt) Delete(token string) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(sessionsBucket).Delete([]byte(token)) })
}

// sweep reads every session, asks the clock for each, and deletes in one transaction
// those that have run out. It returns how many.
func (s *scsBolt) sweep(now func() time.Time) (int, error) {
	var dead [][]byte
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(sessionsBucket).ForEach(func(token, v []byte) error {
			if uint64(now().UnixNano()) > binary.BigEndian.Uint64(v) {
				dead = append(dead, append([]byte(nil), token...))
			}
			return nil
		})
	})
	if err != nil || len(dead) == 0 {
		return 0, err
	}
	return len(dead), s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(sessionsBucket)
		for _, token := range dead {
			if err := b.Delete(token); err != nil {
				return err
			}
		}
		return nil
	})
}

// inBulk makes the bucket and puts n entries into it, many in a transaction and
// without a sync but at the end.
func inBulk(db *bbolt.DB, bucket []byte, n int, put func(b *bbolt.Bucket, i int) error) error {
	const step = 10_000
	db.NoSync = true
	for i := 0; i < n; {
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucket)
			if err != nil {
				return err
			}
			for end := min(n, i+step); i < end; i++ {
				if err := put(b, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	db.NoSync = false
	return db.Sync()
}

// alwaysLong is the life of a session that no run outlives.
func alwaysLong(int) time.Duration { return longLife }
