package tree

import (
	"fmt"
	"io"
	"strconv"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// The buckets of a file, and the keys of the first one.
const (
	MetaBucket   = "lapse.meta"
	TokensBucket = "lapse.tokens" // ID to encoded record

	schemaKey = "schema" // a number in decimal
	stateKey  = "state"
	MarkKey   = "mark" // see package wire
)

// schema is the number of the layout of buckets and keys that this package writes. A program
// refuses a file of a schema that it does not know. Files of LastOldSchema and before have a
// journal inside (package oldfile).
const (
	schema        = 3
	LastOldSchema = 2
)

// ReadSchema returns the schema of the file f. m is the meta page to go by. fault.ErrNotStore: the
// file has no schema. fault.ErrNewerSchema: this package does not know the schema. The other errors
// are those of boltfile.Get, and ErrCorrupt.
func ReadSchema(f io.ReaderAt, m boltfile.Meta) (int, error) {
	v, err := boltfile.Get(f, m, MetaBucket, schemaKey)
	if err == nil {
		_, err = boltfile.Get(f, m, TokensBucket, "")
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(v))
	switch {
	case v == nil:
		return 0, fault.ErrNotStore
	case err != nil || n < 1:
		return 0, fmt.Errorf("%w: its schema is not a number", storage.ErrCorrupt)
	case n > schema:
		return 0, fmt.Errorf("%w: schema %d, this one knows up to %d", fault.ErrNewerSchema, n, schema)
	}
	return n, nil
}

// ReadState returns the state of the file f. m is the meta page to go by. The errors are those of
// boltfile.Get, and ErrCorrupt.
func ReadState(f io.ReaderAt, m boltfile.Meta) (wire.State, error) {
	v, err := boltfile.Get(f, m, MetaBucket, stateKey)
	if err != nil {
		return wire.State{}, err
	}
	st, ok := wire.DecodeState(v)
	if !ok {
		return st, fmt.Errorf("%w: what it says of its own state is damaged; restore the file from a backup", storage.ErrCorrupt)
	}
	return st, nil
}
