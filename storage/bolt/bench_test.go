package bolt

import (
	"context"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/ratio"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

// bare returns a bbolt database opened as a Store opens its own, for use without
// one.
func bare(b *testing.B) *bbolt.DB {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, &bbolt.Options{Timeout: defaultLockTimeout, PageSize: pageSize, FreelistType: bbolt.FreelistArrayType, NoStatistics: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	err = db.Update(func(btx *bbolt.Tx) error {
		_, err := btx.CreateBucket([]byte(tree.TokensBucket))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(filepath.Join(b.TempDir(), "tokens.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func barePut(b *testing.B, db *bbolt.DB, r storage.Record) {
	v, err := encode(&r)
	if err != nil {
		b.Fatal(err)
	}
	err = db.Update(func(btx *bbolt.Tx) error { return btx.Bucket([]byte(tree.TokensBucket)).Put(r.ID[:], v) })
	if err != nil {
		b.Fatal(err)
	}
}

func storePut(b *testing.B, s *Store, r storage.Record) {
	err := s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPut(b *testing.B) {
	b.Run("peer=bboltupdate", func(b *testing.B) {
		s, db := benchStore(b), bare(b)
		ratio.Of(b, 20, func(i int) { storePut(b, s, record(i)) }, func(i int) { barePut(b, db, record(i)) })
	})
}

func BenchmarkGet(b *testing.B) {
	b.Run("tokens=1000/peer=bboltview", func(b *testing.B) {
		s, db := benchStore(b), bare(b)
		ids := make([]storage.ID, 1000)
		for i := range ids {
			r := record(i)
			storePut(b, s, r)
			barePut(b, db, r)
			ids[i] = r.ID
		}
		ctx := context.Background()
		get := func(i int) {
			if _, err := s.Get(ctx, ids[i%1000]); err != nil {
				b.Fatal(err)
			}
		}
		view := func(i int) {
			id := ids[i%1000]
			err := db.View(func(btx *bbolt.Tx) error {
				if len(btx.Bucket([]byte(tree.TokensBucket)).Get(id[:])) == 0 {
					b.Error("not there")
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		ratio.Of(b, 5_000, get, view)
	})
}
