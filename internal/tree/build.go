package tree

import (
	"os"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// Build makes a file beside path and locks it. fill makes the file a store and gives it the name
// path. If fill fails, Build removes the file, and the error is that of fault.NotBegun.
func Build(path string, fill func(*Tree) error) (*Tree, error) {
	localfile.RemoveStale(path)
	temp, err := localfile.NewTemp(path)
	if err != nil {
		return nil, err
	}
	defer os.Remove(temp.Name()) // unless it was renamed
	t := New(temp, temp.Name())
	t.temp = true
	if err := fill(t); err != nil {
		t.Release()
		temp.Close() // where bbolt has not opened it
		return nil, fault.NotBegun(err)
	}
	return t, nil
}

// Initialise makes t, a new file, an empty store.
func (t *Tree) Initialise() error {
	if err := t.Open(); err != nil {
		return err
	}
	err := t.DB.Update(func(btx *bbolt.Tx) error {
		meta, err := btx.CreateBucketIfNotExists([]byte(MetaBucket))
		if err == nil {
			_, err = btx.CreateBucketIfNotExists([]byte(TokensBucket))
		}
		if err == nil {
			err = meta.Put([]byte(schemaKey), []byte(strconv.Itoa(schema)))
		}
		return err
	})
	if err == nil {
		err = t.noteHead()
	}
	if err == nil {
		err = t.Write(nil, wire.State{}, new(storage.Mark))
	}
	return err
}
