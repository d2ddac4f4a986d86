package wire

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// A group in the log is a sequence of entries. In big-endian order:
//
//	put     1 byte, ID, length (4 bytes), encoded record
//	delete  1 byte, ID
//	raise   1 byte, ID, LastUsedAt and ExpiresAt in Unix milliseconds (8 bytes each)
//	end     as raise, then EndedAt in Unix milliseconds and EndReason (1 byte)
//	mark    1 byte, encoded mark
//
// Entries are applied in their order. Applying them a second time changes nothing.

// The kinds of entries.
const (
	PutEntry = 1 + iota
	DeleteEntry
	RaiseEntry
	MarkEntry
	EndEntry
)

// Entry is a change of one record, or of the mark.
type Entry struct {
	Kind  byte
	ID    storage.ID
	Value []byte      // of a put: the encoded record; of a mark: the encoded mark
	Use   storage.Use // of a raise and of an end

	EndedAt time.Time // of an end, as Reason is
	Reason  storage.EndReason
}

// AppendTo appends the encoded e to b and returns the result.
func (e *Entry) AppendTo(b []byte) []byte {
	b = append(b, e.Kind)
	if e.Kind == MarkEntry {
		return append(b, e.Value...)
	}
	b = append(b, e.ID[:]...)
	switch e.Kind {
	case PutEntry:
		return append(binary.BigEndian.AppendUint32(b, uint32(len(e.Value))), e.Value...)
	case RaiseEntry:
		return appendMilli(b, e.Use.At, e.Use.ExpiresAt)
	case EndEntry:
		return append(appendMilli(b, e.Use.At, e.Use.ExpiresAt, e.EndedAt), byte(e.Reason))
	}
	return b
}

func appendMilli(b []byte, all ...time.Time) []byte {
	for _, t := range all {
		b = binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
	}
	return b
}

// ErrEntries: a group cannot be read.
var ErrEntries = fmt.Errorf("%w: a group in its log cannot be read", storage.ErrCorrupt)

// ReadEntries returns the entries of the group b, or ErrEntries. Their values are memory of b.
func ReadEntries(b []byte) (all []Entry, err error) {
	for len(b) > 0 {
		var e Entry
		if e, b = readEntry(b); e.Kind == 0 {
			return nil, ErrEntries
		}
		all = append(all, e)
	}
	return all, nil
}

// readEntry returns the first entry of b, which is not empty, and the bytes behind the entry. If
// the entry cannot be read, its kind is 0.
func readEntry(b []byte) (e Entry, rest []byte) {
	kind, b := b[0], b[1:]
	size := map[byte]int{PutEntry: 16 + 4, DeleteEntry: 16, RaiseEntry: 16 + 8 + 8, EndEntry: 16 + 8 + 8 + 8 + 1, MarkEntry: MarkLen}[kind]
	if size == 0 || size > len(b) {
		return e, nil
	}
	head, b := b[:size], b[size:]
	if kind == MarkEntry {
		return Entry{Kind: kind, Value: head}, b
	}
	e.ID, head = storage.ID(head), head[16:]
	switch kind {
	case PutEntry:
		n := uint64(binary.BigEndian.Uint32(head))
		if n > uint64(len(b)) {
			return e, nil
		}
		e.Value, b = b[:n:n], b[n:]
	case RaiseEntry, EndEntry:
		e.Use = storage.Use{At: Milli(head), ExpiresAt: Milli(head[8:])}
		if kind == EndEntry {
			e.EndedAt, e.Reason = Milli(head[16:]), storage.EndReason(head[24])
		}
		if !Storable(e.Use.At) || !Storable(e.Use.ExpiresAt) || !Storable(e.EndedAt) {
			return e, nil
		}
	}
	e.Kind = kind
	return e, b
}

// Raises returns the entry that turns the record was into r, and reports whether there is one: r may
// differ from was only by a later use, a later expiry, or both.
func Raises(was, r *storage.Record) (Entry, bool) {
	use := storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}
	raised := *was
	return Entry{Kind: RaiseEntry, ID: r.ID, Use: use}, use.Raise(&raised) && raised.Equal(*r)
}

// Ends returns the entry that turns the record was into r, and reports whether there is one: r may
// differ from was only by an end. The length of the entry does not depend on the length of r.
func Ends(was, r *storage.Record) (Entry, bool) {
	if !was.EndedAt.IsZero() || r.EndedAt.IsZero() {
		return Entry{}, false
	}
	ended := *was
	ended.LastUsedAt, ended.ExpiresAt = r.LastUsedAt, r.ExpiresAt
	ended.EndedAt, ended.EndReason = r.EndedAt, r.EndReason
	use := storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}
	return Entry{Kind: EndEntry, ID: r.ID, Use: use, EndedAt: r.EndedAt, Reason: r.EndReason}, ended.Equal(*r)
}

// End applies e, an end, to r.
func (e *Entry) End(r *storage.Record) {
	r.LastUsedAt, r.ExpiresAt = e.Use.At, e.Use.ExpiresAt
	r.EndedAt, r.EndReason = e.EndedAt, e.Reason
}
