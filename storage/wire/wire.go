// Package wire encodes records as bytes, for authors of a storage backend. storage/bolt writes the
// same bytes into its file.
//
// The encoding has a version and a checksum that is bound to the ID: bytes that are damaged, or that
// are found under another ID, are never taken for a record. Later versions of this package decode
// what earlier ones have encoded.
package wire

import (
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// Encode appends the encoded r to b, which is empty, and returns the result. It uses the memory of b
// if that is enough. The error is storage.ErrUnavailable if a field of r is out of the limits of
// package storage.
func Encode(b []byte, r *storage.Record) ([]byte, error) { return wire.Encode(b, r) }

// Decode returns the record of id that was encoded as b. The error is storage.ErrCorrupt if b is no
// such record, and the record then has the ID alone. The record shares no memory with b. Decode never
// panics.
func Decode(id storage.ID, b []byte) (storage.Record, error) { return wire.Decode(id[:], b) }
