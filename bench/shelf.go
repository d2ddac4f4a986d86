package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// shelf is a store in a file that is closed. Rows that change it take a copy.
type shelf struct {
	path    string
	bearers texts // in any order
}

// logSuffix is what lapse appends to the name of a file for that of its log.
const logSuffix = "-lapse"

// shelf returns a closed store with n live tokens, one to a subject.
func (w *world) shelf(n int) (*shelf, error) {
	return once(w, fmt.Sprintf("a closed file of lapse, %s tokens", grouped(n)), func() (*shelf, error) {
		s := &shelf{path: w.file("shelf.db")}
		return s, w.fillClosed(s.path, n, &s.bearers)
	})
}

// fillClosed makes a store with n live tokens at path and closes it. The bearers are left
// in *bearers unless that is nil.
func (w *world) fillClosed(path string, n int, bearers *texts) (err error) {
	store, err := bolt.Open(path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	m, err := manager(store, never, nil)
	if err != nil {
		return err
	}
	all, err := issueAll(w.ctx, m, n, w.plan.builders, rand.New(rand.NewPCG(3, 4)).Perm(n),
		func(i int) lapse.Grant { return grantTo(subject(i)) })
	if bearers != nil {
		*bearers = all
	}
	return err
}

// copied returns the path of a copy of the store at path.
func (w *world) copied(path string) (string, error) {
	to := w.file("copy.db")
	return to, copyStore(path, to)
}

// copyStore copies the file of a store that no process has open, and its log if there is
// one, over those at to, and returns once they are on disk.
func copyStore(from, to string) error {
	if err := errors.Join(copyFile(from, to), os.RemoveAll(to+logSuffix)); err != nil {
		return err
	}
	err := copyFile(from+logSuffix, to+logSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func copyFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, source); err != nil {
		return err
	}
	return f.Sync()
}

// reopened is a store that is open during a turn alone. Closing it ends everything that
// it has put off.
type reopened struct {
	shelf  string // the path of the shelf that is copied
	path   string
	store  *bolt.Store // nil while it is closed
	tokens *lapse.Manager
}

// reopened returns a store with the n tokens of the shelf, for all rows that close it.
func (w *world) reopened(n int) (*reopened, texts, error) {
	s, err := w.shelf(n)
	if err != nil {
		return nil, texts{}, err
	}
	r, err := once(w, "a file that is reopened", func() (*reopened, error) {
		r := &reopened{shelf: s.path, path: w.file("copy.db")}
		w.atRelease(r.close)
		return r, nil
	})
	return r, s.bearers, err
}

// open opens a new copy of the shelf, unless the store is open. The collector takes what that left
// behind.
func (r *reopened) open(_, _ int) error {
	if r.store != nil {
		return nil
	}
	if err := copyStore(r.shelf, r.path); err != nil {
		return err
	}
	store, err := bolt.Open(r.path, nil)
	if err != nil {
		return err
	}
	r.store = store
	r.tokens, err = manager(store, never, nil)
	runtime.GC()
	return err
}

func (r *reopened) close() error {
	if r.store == nil {
		return nil
	}
	err := r.store.Close()
	r.store, r.tokens = nil, nil
	return err
}
