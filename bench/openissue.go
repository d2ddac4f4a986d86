package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// openIssueContest opens a small store that exists, issues one token and closes it, as a
// command does, beside bbolt's own Open, one Update with one Put, and Close. Each turn begins with
// the same small file: Open reads all of it, and the turns before have made theirs longer.
func openIssueContest(p plan) experiment {
	const id = "open-issue-close"
	return &contest{
		group: group{ID: id, Kind: id, Tokens: p.few, Callers: 1,
			Title: fmt.Sprintf("Open a store of %s tokens, issue one, close it", grouped(p.few))},
		pairs:  []row{{id: id + "/bolt/bbolt", lapse: "bolt", peer: "bbolt", of: perOp, must: atMost(2), allocs: uncounted}},
		rounds: p.durableRounds, turn: p.durableTurn, timed: true,
		side: func(w *world, name string) (*side, error) {
			if name == "bbolt" {
				return w.openPutClose()
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

// openPutClose is bbolt with its defaults.
func (w *world) openPutClose() (*side, error) {
	size, err := w.recordSize()
	if err != nil {
		return nil, err
	}
	first, path := w.file("few-bare.db"), w.file("few-bare-used.db")
	db, err := fillBare(first, w.plan.few, size, nil)
	if err != nil {
		return nil, err
	}
	var next atomic.Uint64
	next.Store(uint64(w.plan.few))
	return &side{prepare: func(int, int) error { return copyFile(first, path) }, op: func(i int) error {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			return err
		}
		defer db.Close() // where the rest fails
		key := timeKey(next.Add(1) - 1)
		err = db.Update(func(tx *bbolt.Tx) error { return putValue(tx, key, valueOf(size, i)) })
		if err != nil {
			return err
		}
		return db.Close()
	}}, db.Close()
}
