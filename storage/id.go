package storage

import (
	"bytes"
	"errors"

	"github.com/seed-55daa01a/lapse/internal/base62"
)

// ID names a token. It is public and may be logged: knowing an ID does not let a client
// authenticate. Its 16 bytes are laid out as a UUID of version 7 (RFC 9562 section 5.7). The UUID's
// time is that at which an issue began, to the millisecond, so that IDs sort by that time and the
// IDs of one minute begin alike. IssuedAt is when the token was stored; it may be later and in
// another order if issues wait for each other. The last 16 bits are a hash of the subject, for
// engines that route by key. Nothing about the life of a token is ever derived from its ID.
type ID [16]byte

// IDLen is the length of an ID's text: 22 digits of 0-9A-Za-z.
const IDLen = 2 * base62.Group

// ErrInvalidID is returned by ParseID for a text that is not the ID of a token. Check that all 22
// characters were copied and nothing else.
var ErrInvalidID = errors.New("lapse: not a token ID: want 22 characters of 0-9A-Za-z")

// String returns the 22 characters that also follow the prefix in the token's
// own text, so that a log line and a token can be matched by eye.
func (id ID) String() string {
	text, _ := id.AppendText(nil)
	return string(text)
}

// AppendText appends the 22 characters of String to b. The error is always nil.
func (id ID) AppendText(b []byte) ([]byte, error) {
	return base62.Append(b, id[:]), nil
}

// MarshalText returns the 22 characters of String. The error is always nil.
func (id ID) MarshalText() ([]byte, error) {
	return id.AppendText(make([]byte, 0, IDLen))
}

// UnmarshalText sets id from the 22 characters of String. For any other text it returns
// ErrInvalidID and leaves id as it was.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

// ParseID returns the ID of a text as String writes it. Every ID has exactly one spelling, and
// nothing is trimmed or folded. ParseID returns ErrInvalidID for any other text.
func ParseID(s string) (ID, error) {
	if len(s) != IDLen {
		return ID{}, ErrInvalidID
	}
	var id ID
	if !base62.Decode(id[:], s) {
		return ID{}, ErrInvalidID
	}
	return id, nil
}

// Compare orders IDs by their bytes, and so by the times at which their issues began, to the
// millisecond.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// ShardTag returns the last two bytes of every ID of a token of subject, so that a store may route by
// the subject and by the ID alike: the 32-bit FNV-1a of the subject, both halves combined by XOR. It
// never changes. The ID of an alias (KindAlias) need not end in it.
func ShardTag(subject string) [2]byte {
	h := uint32(2166136261)
	for i := range len(subject) {
		h = (h ^ uint32(subject[i])) * 16777619
	}
	h ^= h >> 16
	return [2]byte{byte(h >> 8), byte(h)}
}
