package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// openIssueContest opens a small store that exists, issues one token and closes it, as a
// command does, beside bbolt's own Open, one Update with one Put, and Close. The row of the bare parts
// says what the same guarantees cost at least: the records are read, and a second meta page keeps the
// write where one meta page is lost. Each turn begins with the same small file, and is short: Open reads
// all of it, and each opening makes it longer.
func openIssueContest(p plan) experiment {
	const id = "open-issue-close"
	return &contest{
		group: group{ID: id, Kind: id, Tokens: p.few, Callers: 1,
			Title: fmt.Sprintf("Open a store of %s tokens, issue one, close it", grouped(p.few))},
		pairs: []row{
			{id: id + "/bolt/bbolt", lapse: "bolt", peer: "bbolt", of: perOp, must: atMost(2), allocs: uncounted},
			{id: id + "/bolt/parts", lapse: "bolt", peer: "parts", of: perOp, allocs: uncounted},
		},
		rounds: p.longRounds, turn: p.longTurn, timed: true,
		side: func(w *world, name string) (*side, error) {
			switch name {
			case "bbolt":
				return w.openPutClose(name, nil, (*bbolt.DB).Update)
			case "parts":
				return w.openPutClose(name, &bbolt.Options{NoFreelistSync: true}, readPutTwice)
			}
			return w.openIssueClose()
		},
	}
}

func (w *world) openIssueClose() (*side, error) {
	first, path := w.file("few.db"), w.file("few-used.db")
	if err := w.fillClosed(first, w.plan.few, nil); err != nil {
		return nil, err
	}
	names := w.subjects()
	return &side{prepare: func(int, int) error { return copyStore(first, path) }, op: func(i int) error {
		store, err := bolt.Open(path, nil)
		if err != nil {
			return err
		}
		defer store.Close() // where the rest fails
		m, err := manager(store, never, nil)
		if err != nil {
			return err
		}
		if _, err := m.Issue(context.Background(), grantTo(names.at(i))); err != nil {
			return err
		}
		return store.Close()
	}}, nil
}

// openPutClose is bbolt with opts; nil opts are its defaults. Between Open and Close it calls write, with
// a function that puts one value.
func (w *world) openPutClose(name string, opts *bbolt.Options, write func(*bbolt.DB, func(*bbolt.Tx) error) error) (*side, error) {
	size, err := w.recordSize()
	if err != nil {
		return nil, err
	}
	first, path := w.file(name+"-few.db"), w.file(name+"-few-used.db")
	db, err := fillBare(first, w.plan.few, size, nil)
	if err != nil {
		return nil, err
	}
	var next atomic.Uint64
	next.Store(uint64(w.plan.few))
	return &side{prepare: func(int, int) error { return copyFile(first, path) }, op: func(i int) error {
		db, err := bbolt.Open(path, 0o600, opts)
		if err != nil {
			return err
		}
		defer db.Close() // where the rest fails
		key := timeKey(next.Add(1) - 1)
		err = write(db, func(tx *bbolt.Tx) error { return putValue(tx, key, valueOf(size, i)) })
		if err != nil {
			return err
		}
		return db.Close()
	}}, db.Close()
}

// readPutTwice is what no store of that kind can leave out: it reads every record and its checksum, and it
// commits twice, so that both meta pages have the write. The second commit writes a meta page alone and
// need not be synced.
func readPutTwice(db *bbolt.DB, put func(*bbolt.Tx) error) error {
	var sum uint32
	err := db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(_, value []byte) error {
				sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), value)
				return nil
			})
		})
	})
	if err == nil {
		err = db.Update(put)
	}
	if err == nil {
		db.NoSync = true
		err = db.Update(func(*bbolt.Tx) error { return nil })
	}
	return err
}
