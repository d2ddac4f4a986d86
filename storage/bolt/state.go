package bolt

import (
	"fmt"
	"io"
	"strconv"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// The buckets of a file, and the keys of the first one.
const (
	metaBucket   = "lapse.meta"
	tokensBucket = "lapse.tokens" // ID to encoded record

	schemaKey = "schema" // a number in decimal
	stateKey  = "state"
	markKey   = "mark" // see package wire
)

// schema is the layout of buckets and keys of the files that are written. A program refuses a
// file of a schema that it does not know. Files of lastOldSchema and before have a journal
// inside (old.go).
const (
	schema        = 3
	lastOldSchema = 2
)

// readSchema returns the schema of the file that m leads to. ErrNotStore: it has none.
// ErrNewerSchema: this package does not know it.
func readSchema(f io.ReaderAt, m boltfile.Meta) (int, error) {
	v, err := boltfile.Get(f, m, metaBucket, schemaKey)
	if err == nil {
		_, err = boltfile.Get(f, m, tokensBucket, "")
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(v))
	switch {
	case v == nil:
		return 0, ErrNotStore
	case err != nil || n < 1:
		return 0, fmt.Errorf("%w: its schema is not a number", storage.ErrCorrupt)
	case n > schema:
		return 0, fmt.Errorf("%w: schema %d, this one knows up to %d", ErrNewerSchema, n, schema)
	}
	return n, nil
}

// readState returns the state of the file that m leads to.
func readState(f io.ReaderAt, m boltfile.Meta) (wire.State, error) {
	v, err := boltfile.Get(f, m, metaBucket, stateKey)
	if err != nil {
		return wire.State{}, err
	}
	st, ok := wire.DecodeState(v)
	if !ok {
		return st, fmt.Errorf("%w: what it says of its own state is damaged; restore the file from a backup", storage.ErrCorrupt)
	}
	return st, nil
}
