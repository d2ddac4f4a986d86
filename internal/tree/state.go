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

// schema is the layout of buckets and keys of the files that are written. A program refuses a
// file of a schema that it does not know. Files of LastOldSchema and before have a journal
// inside (package oldfile).
const (
	schema        = 3
	LastOldSchema = 2
)

// ReadSchema returns the schema of the file that m leads to. fault.ErrNotStore: it has none.
// fault.ErrNewerSchema: this package does not know it.
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

// ReadState returns the state of the file that m leads to.
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
