package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/internal/recordext"
	"github.com/seed-55daa01a/lapse/storage"
)

// A record is, in big-endian order:
//
//	byte    version of this layout: 1, or 3 for a record with an extension; 2 is only read
//	byte    digest algorithm
//	byte    end reason
//	5 × 8   issued, last used, expires, cap, ended: Unix milliseconds;
//	        the zero Time has a negative number
//	8       TTL in milliseconds
//	32      digest
//	5 × 2   lengths of prefix, subject, name, scope, data
//	…       those five
//	…       in version 3, the extension (internal/recordext), which is not empty; in version 2,
//	        the extension of earlier programs (old.go)
//	4       CRC-32 (Castagnoli) of the key and everything before
//
// bbolt has no checksum on the pages that hold records. The checksum of a record is bound to
// the key, so a record that is found under the key of another one is damage, too.
const (
	plainVersion    = 1
	oldVersion      = 2
	extendedVersion = 3
	fixedLen        = 3 + 6*8 + 32 + 5*2
	SumLen          = 4 // length of the checksum at the end of a value
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	maxLens    = [5]int{storage.MaxPrefix, storage.MaxSubject, storage.MaxName, storage.MaxScope, storage.MaxData}
)

const maxTTLMilli = uint64(math.MaxInt64 / time.Millisecond)

// The instants that a record may hold: years 1 to 9999.
var (
	firstMilli = time.Time{}.UnixMilli()
	lastMilli  = time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC).UnixMilli()
)

// errUnstorable is the error for a record that cannot be encoded. Only a program that calls the
// store itself gets it: a Manager puts no such record.
var errUnstorable = fmt.Errorf("%w: the record cannot be stored", storage.ErrUnavailable)

// ErrInstant: a record or a use has an instant that is not Storable. It wraps ErrUnavailable.
var ErrInstant = fmt.Errorf("%w: an instant is outside of the years 1 to 9999", errUnstorable)

// Storable reports whether a record may hold t: its year is 1 to 9999.
func Storable(t time.Time) bool {
	sec := t.Unix()
	return sec >= firstMilli/1000 && sec <= lastMilli/1000
}

// Encode returns the encoded r. b is empty, and Encode uses its memory if that is enough. The
// error is that of Check.
func Encode(b []byte, r *storage.Record) ([]byte, error) {
	if err := Check(r); err != nil {
		return nil, err
	}
	extension := recordext.Len(r)
	version, n := byte(plainVersion), fixedLen+extension+SumLen
	if extension > 0 {
		version = extendedVersion
	}
	texts := [5]string{r.Prefix, r.Subject, r.Name, r.Scope, r.Data}
	for _, text := range texts {
		n += len(text)
	}
	b = append(slices.Grow(b, n), version, r.Digest.Algorithm(), byte(r.EndReason))
	b = appendMilli(b, r.IssuedAt, r.LastUsedAt, r.ExpiresAt, r.MaxExpiresAt, r.EndedAt)
	b = binary.BigEndian.AppendUint64(b, uint64(r.TTL.Milliseconds()))
	sum := r.Digest.Sum()
	b = append(b, sum[:]...)
	for _, text := range texts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	}
	for _, text := range texts {
		b = append(b, text...)
	}
	b = recordext.Append(b, r)
	return binary.BigEndian.AppendUint32(b, Checksum(r.ID[:], b)), nil
}

// Check returns ErrUnavailable if a field of r is out of the limits of package storage, and otherwise
// nil.
func Check(r *storage.Record) error {
	switch {
	case r.TTL < 0:
		return fmt.Errorf("%w: a TTL is negative", errUnstorable)
	case !recordext.Valid(r):
		return fmt.Errorf("%w: its uses, what is sealed or what is noted of its end is out of limits", errUnstorable)
	}
	for i, text := range [5]string{r.Prefix, r.Subject, r.Name, r.Scope, r.Data} {
		if len(text) > maxLens[i] {
			return fmt.Errorf("%w: a string of %d bytes is over its limit of %d", errUnstorable, len(text), maxLens[i])
		}
	}
	for _, t := range [...]time.Time{r.IssuedAt, r.LastUsedAt, r.ExpiresAt, r.MaxExpiresAt, r.EndedAt, r.RotatedAt, r.PreviousUntil, r.AuthenticatedAt, r.SuspendedAt} {
		if !Storable(t) {
			return ErrInstant
		}
	}
	return nil
}

// Checksum returns the CRC-32 (Castagnoli) of key and value, which binds the value to its key.
func Checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value)
}

// Decode returns the record that is stored as v under key. If v is not such a record, Decode
// returns ErrCorrupt and a record that has only the ID, if key is an ID. It accepts the records
// of Encode, and records of version 2, which it translates. The record shares no memory with v.
// Decode never panics.
func Decode(key, v []byte) (storage.Record, error) {
	var r storage.Record
	if len(key) != len(r.ID) {
		return r, corrupt("its key is not an ID")
	}
	r.ID = storage.ID(key)
	nothing := r
	if len(v) < fixedLen+SumLen {
		return nothing, corrupt("it is too short")
	}
	body, sum := v[:len(v)-SumLen], v[len(v)-SumLen:]
	switch {
	case Checksum(key, body) != binary.BigEndian.Uint32(sum):
		return nothing, corrupt("its checksum does not match")
	case body[0] < plainVersion || body[0] > extendedVersion:
		return nothing, corrupt("its version is unknown")
	}
	if !decodeFixed(&r, body) || !decodeTexts(&r, body) {
		return nothing, corrupt("a field is out of its limits")
	}
	return r, nil
}

func corrupt(why string) error { return fmt.Errorf("%w: a record: %s", storage.ErrCorrupt, why) }

// decodeFixed reads the fields of fixed length, and reports whether they are within their limits.
func decodeFixed(r *storage.Record, b []byte) bool {
	r.EndReason = storage.EndReason(b[2])
	algorithm, rest := b[1], b[3:]
	for _, t := range [5]*time.Time{&r.IssuedAt, &r.LastUsedAt, &r.ExpiresAt, &r.MaxExpiresAt, &r.EndedAt} {
		milli := int64(binary.BigEndian.Uint64(rest))
		if milli < firstMilli || milli > lastMilli {
			return false
		}
		*t, rest = time.UnixMilli(milli).UTC(), rest[8:]
	}
	milli := binary.BigEndian.Uint64(rest)
	if milli > maxTTLMilli {
		return false
	}
	r.TTL = time.Duration(milli) * time.Millisecond
	sum := [32]byte(rest[8:])
	r.Digest = storage.NewDigest(algorithm, sum)
	return algorithm != 0 || sum == [32]byte{}
}

// decodeTexts reads the lengths of the strings, the strings, and the extension. Together they
// must fill b.
func decodeTexts(r *storage.Record, b []byte) bool {
	lens, text := b[fixedLen-5*2:], string(b[fixedLen:])
	for i, field := range [5]*string{&r.Prefix, &r.Subject, &r.Name, &r.Scope, &r.Data} {
		n := int(binary.BigEndian.Uint16(lens[i*2:]))
		if n > maxLens[i] || n > len(text) {
			return false
		}
		*field, text = text[:n], text[n:]
	}
	if b[0] == oldVersion {
		return parseOldExtension(text, r)
	}
	return (text != "") == (b[0] == extendedVersion) && recordext.Parse(text, r) &&
		Storable(r.RotatedAt) && Storable(r.PreviousUntil) && Storable(r.AuthenticatedAt) && Storable(r.SuspendedAt)
}

// Seal returns a copy of value that ends in the checksum of its other bytes under key.
func Seal(key, value []byte) []byte {
	n := max(0, len(value)-SumLen)
	return binary.BigEndian.AppendUint32(slices.Clone(value[:n]), Checksum(key, value[:n]))
}

// Whole reports whether value ends in the checksum of its other bytes under key, as every encoded
// record does.
func Whole(key, value []byte) bool {
	n := len(value) - SumLen
	return n >= 0 && Checksum(key, value[:n]) == binary.BigEndian.Uint32(value[n:])
}
