package bolt

import (
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// The schema of a file is its layout of buckets and keys, and says which programs may
// read its records: each record has a version of its own besides, but a program denies a
// record of a version that it does not know, and refuses a file of a schema that it does
// not know. A file is of the first schema until it gets its first record of version 3.
const (
	firstSchema = 1
	tiedSchema  = 2
)

// readSchema returns the schema of the file that btx reads. ErrNotStore: it has none.
// ErrNewerSchema: this package does not know it.
func readSchema(btx *bbolt.Tx) (int, error) {
	meta := btx.Bucket(metaBucket)
	if meta == nil || btx.Bucket(tokensBucket) == nil {
		return 0, ErrNotStore
	}
	n, err := strconv.Atoi(string(meta.Get(schemaKey)))
	switch {
	case err != nil || n < firstSchema:
		return 0, fmt.Errorf("%w: its schema is not a number", storage.ErrCorrupt)
	case n > tiedSchema:
		return 0, fmt.Errorf("%w: schema %d, this one knows up to %d", ErrNewerSchema, n, tiedSchema)
	}
	return n, nil
}

func putSchema(btx *bbolt.Tx, n int) error {
	return btx.Bucket(metaBucket).Put(schemaKey, []byte(strconv.Itoa(n)))
}

// raiseSchema makes the schema of the file durable that ops need, before any of them is.
// Both meta pages lead to it then: a program that is older must not find one of the new
// records, whichever of them a disk loses. What is in the journal stays there.
func (l *log) raiseSchema(ops []*op) error {
	if l.schema >= tiedSchema || !needTied(ops) {
		return nil
	}
	if err := l.endMerge(); err != nil {
		return err
	}
	t := &l.tree
	err := t.update(func(w *writer) error { return putSchema(w.tx, tiedSchema) })
	if err == nil {
		err = t.mirror()
	}
	l.heed()
	if err == nil {
		l.schema = tiedSchema
	}
	return err
}

// needTied reports whether a record that ops put is of version 3.
func needTied(ops []*op) bool {
	for _, o := range ops {
		for i := range o.puts {
			if v := o.puts[i].value; len(v) > 0 && v[0] == tiedVersion {
				return true
			}
		}
	}
	return false
}
