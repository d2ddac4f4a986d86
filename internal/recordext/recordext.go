// Package recordext encodes the extension of a record: the fields that only some records have.
// These are the family and the parent, the budget of uses, the epoch, the kind with the rotations,
// the fields of later.go, and the sealed text. Stores keep the extension behind the fields that
// every record has.
package recordext

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// The encoded form begins with a byte that says which parts follow. If its bit hasMore is set, a
// second byte says which of the parts of later.go follow. The parts are, in this order:
// the IDs of the family and of the parent, 16 bytes each; MaxUses and UsesLeft, 4 bytes each;
// UseGrace in milliseconds, 4 bytes; the epoch, 4 bytes; the kind, 1 byte, with the generation,
// 4 bytes, and RotatedAt and PreviousUntil in Unix milliseconds, 8 bytes each; the parts of
// later.go. Numbers are big-endian. The rest is the sealed text. A record that has none of these
// parts has the empty form.
const (
	hasFamily = 1 << iota
	hasParent
	hasSecrets
	hasMore // the second byte; an older program refuses a form with this bit
	hasUses
	hasSealed
	hasEpoch
	hasUseGrace // an older program refuses a form with this part, as each form with a part that it does not know

	usesLen    = 2 * 4
	graceLen   = 4
	epochLen   = 4
	secretsLen = 1 + 4 + 2*8
)

// MaxLen is the length of the longest form, in bytes.
const MaxLen = 1 + 2*len(storage.ID{}) + usesLen + graceLen + epochLen + secretsLen + maxLaterLen + storage.MaxSealed

// links returns pointers to the IDs of the form, in its order.
func links(tok *storage.Token) [2]*storage.ID {
	return [2]*storage.ID{&tok.Family, &tok.Parent}
}

// parts returns the first byte of the form of r, which says which parts r has.
func parts(r *storage.Record) (mask byte) {
	for i, id := range links(&r.Token) {
		if *id != (storage.ID{}) {
			mask |= hasFamily << i
		}
	}
	if r.MaxUses != 0 || r.UsesLeft != 0 {
		mask |= hasUses
	}
	if r.UseGrace.Milliseconds() != 0 {
		mask |= hasUseGrace
	}
	if r.Epoch != 0 {
		mask |= hasEpoch
	}
	if r.Kind != 0 || r.Generation != 0 || !r.RotatedAt.IsZero() || !r.PreviousUntil.IsZero() {
		mask |= hasSecrets
	}
	if later(r) != 0 {
		mask |= hasMore
	}
	if r.Sealed.Len() != 0 {
		mask |= hasSealed
	}
	return mask
}

// None reports whether the form of r is empty.
func None(r *storage.Record) bool { return parts(r) == 0 }

// Valid reports whether the extension of r can be stored: MaxUses and UsesLeft are 0 to MaxInt32,
// UsesLeft is not above MaxUses, UseGrace is 0 to storage.MaxUseGrace, and no text is longer than
// its limit in package storage.
func Valid(r *storage.Record) bool {
	return 0 <= r.UsesLeft && r.UsesLeft <= r.MaxUses && r.MaxUses <= math.MaxInt32 &&
		0 <= r.UseGrace && r.UseGrace <= storage.MaxUseGrace && r.Sealed.Len() <= storage.MaxSealed &&
		len(r.EndedBy) <= storage.MaxEndedBy && len(r.EndNote) <= storage.MaxEndNote && len(r.Client) <= storage.MaxClient
}

// Len returns the length of the form of r, in bytes.
func Len(r *storage.Record) int {
	mask := parts(r)
	if mask == 0 {
		return 0
	}
	return 1 + fixedLen(mask) + laterLen(r) + r.Sealed.Len()
}

// fixedLen returns the length of the parts in mask, except the parts of later.go and the sealed text.
func fixedLen(mask byte) (n int) {
	if mask&hasFamily != 0 {
		n += len(storage.ID{})
	}
	if mask&hasParent != 0 {
		n += len(storage.ID{})
	}
	if mask&hasSecrets != 0 {
		n += secretsLen
	}
	if mask&hasUses != 0 {
		n += usesLen
	}
	if mask&hasEpoch != 0 {
		n += epochLen
	}
	if mask&hasUseGrace != 0 {
		n += graceLen
	}
	return n
}

// Append appends the form of r to b. r must be Valid.
func Append(b []byte, r *storage.Record) []byte {
	mask := parts(r)
	if mask == 0 {
		return b
	}
	b = append(b, mask)
	if mask&hasMore != 0 {
		b = append(b, later(r))
	}
	for _, id := range links(&r.Token) {
		if *id != (storage.ID{}) {
			b = append(b, id[:]...)
		}
	}
	if mask&hasUses != 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(r.MaxUses))
		b = binary.BigEndian.AppendUint32(b, uint32(r.UsesLeft))
	}
	if mask&hasUseGrace != 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(r.UseGrace.Milliseconds()))
	}
	if mask&hasEpoch != 0 {
		b = binary.BigEndian.AppendUint32(b, r.Epoch)
	}
	if mask&hasSecrets != 0 {
		b = binary.BigEndian.AppendUint32(append(b, byte(r.Kind)), r.Generation)
		b = binary.BigEndian.AppendUint64(b, uint64(r.RotatedAt.UnixMilli()))
		b = binary.BigEndian.AppendUint64(b, uint64(r.PreviousUntil.UnixMilli()))
	}
	return append(appendLater(b, &r.Token), r.Sealed.Text()...)
}

// Clear sets every field of r that the form can contain to its zero value.
func Clear(r *storage.Record) {
	r.Family, r.Parent = storage.ID{}, storage.ID{}
	r.MaxUses, r.UsesLeft, r.UseGrace, r.Epoch, r.Sealed = 0, 0, 0, 0, storage.Sealed{}
	r.Kind, r.Generation, r.RotatedAt, r.PreviousUntil = 0, 0, time.Time{}, time.Time{}
	r.AuthenticatedAt, r.Thumbprint, r.EndedBy, r.EndNote = time.Time{}, storage.Thumbprint{}, "", ""
	r.SuspendedAt, r.CapEdited, r.Client = time.Time{}, false, ""
}

// Parse sets the fields of r to the content of form, and reports whether form is exactly what
// Append writes for a Valid record. The texts share the memory of form.
func Parse(form string, r *storage.Record) bool {
	if !Read(form, r) || form == "" {
		return form == ""
	}
	mask := parts(r)
	return form[0] == mask && mask != 0 && (mask&hasMore == 0 || form[1] == later(r)) && Valid(r)
}

// Read is Parse for a form that Append has written, and it does not validate the values again. It
// returns false for a form that is too short or has an unknown part.
func Read(form string, r *storage.Record) bool {
	Clear(r)
	if form == "" {
		return true
	}
	mask, rest, second := form[0], form[1:], byte(0)
	if mask&hasMore != 0 {
		if rest == "" {
			return false
		}
		second, rest = rest[0], rest[1:]
	}
	if len(rest) < fixedLen(mask) {
		return false
	}
	rest, ok := readFixed(mask, rest, r), true
	if second != 0 {
		rest, ok = readLater(second, rest, r)
	}
	r.Sealed = storage.NewSealed(rest)
	return ok
}

// readFixed sets the fields of r whose parts are in mask from the beginning of form, which is long
// enough, and returns the text behind them.
func readFixed(mask byte, form string, r *storage.Record) (rest string) {
	rest = form
	if mask&hasFamily != 0 {
		rest = rest[copy(r.Family[:], rest[:len(r.Family)]):]
	}
	if mask&hasParent != 0 {
		rest = rest[copy(r.Parent[:], rest[:len(r.Parent)]):]
	}
	if mask&hasUses != 0 {
		r.MaxUses, r.UsesLeft, rest = number(rest), number(rest[4:]), rest[usesLen:]
	}
	if mask&hasUseGrace != 0 {
		r.UseGrace, rest = time.Duration(number(rest))*time.Millisecond, rest[graceLen:]
	}
	if mask&hasEpoch != 0 {
		r.Epoch, rest = uint32(number(rest)), rest[epochLen:]
	}
	if mask&hasSecrets != 0 {
		r.Kind, r.Generation = storage.Kind(rest[0]), uint32(number(rest[1:]))
		r.RotatedAt, r.PreviousUntil = instant(rest[5:]), instant(rest[13:])
		rest = rest[secretsLen:]
	}
	return rest
}

// number returns the big-endian number of the first 4 bytes of b.
func number(b string) int {
	return int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
}

// instant returns the Time of 8 bytes in Unix milliseconds, in UTC.
func instant(b string) time.Time {
	milli := int64(number(b))<<32 | int64(uint32(number(b[4:])))
	if milli == zeroMilli {
		return time.Time{}
	}
	return time.UnixMilli(milli).UTC()
}

// zeroMilli is the zero Time in Unix milliseconds.
const zeroMilli = -62135596800000
