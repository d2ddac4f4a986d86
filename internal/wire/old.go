package wire

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/seed-55daa01a/lapse/internal/recordext"
	"github.com/seed-55daa01a/lapse/storage"
)

// The extension of version 2 is a byte of flags that says which parts follow, and the parts:
// the IDs of the family, the parent, the predecessor and the successor, 16 bytes each;
// MaxUses and UsesLeft, 4 bytes each; the epoch, 4 bytes; and the sealed text, up to the end.
// No part that follows is zero or empty.
const (
	oldFamily = 1 << iota
	oldParent
	oldPredecessor
	oldSuccessor
	oldUses
	oldSealed
	oldEpoch
	oldAll = 1<<iota - 1

	oldMaxSealed = 512
)

// The texts that earlier programs sealed in the tokens of a pair.
const (
	oldAccess    = "a1" // in an access token
	oldRefresh   = "r1" // in a refresh token that had not been rotated; a prefix followed
	oldAnswer    = 1    // the first byte of the sealed text of a rotated refresh token
	oldAnswerLen = 1 + 12 + (32 + 16 + 32) + 16
)

// parseOldExtension sets the fields of r from form, an extension of version 2, and reports
// whether an earlier program can have written form. The fields of today cannot hold a
// predecessor, a successor or the sealed text of a token of a pair: a record with one of
// these becomes a record that was ended by a rotation.
func parseOldExtension(form string, r *storage.Record) bool {
	recordext.Clear(r)
	if form == "" {
		return false
	}
	mask, rest := form[0], form[1:]
	rest, ok := parseOldIDs(mask, rest, r)
	if !ok {
		return false
	}
	sealed, ok := parseOldNumbers(mask, rest, r)
	if !ok || mask == 0 || mask&^oldAll != 0 || !oldPartsSet(mask, r, sealed) {
		return false
	}
	if mask&(oldPredecessor|oldSuccessor) != 0 || oldPair(sealed) {
		endOld(r)
		return true
	}
	r.Sealed = storage.NewSealed(sealed)
	return true
}

// parseOldIDs reads the IDs of mask from the beginning of form, and returns the text behind them.
// It drops those of the predecessor and the successor.
func parseOldIDs(mask byte, form string, r *storage.Record) (rest string, ok bool) {
	var predecessor, successor storage.ID
	for i, id := range [...]*storage.ID{&r.Family, &r.Parent, &predecessor, &successor} {
		if mask&(oldFamily<<i) == 0 {
			continue
		}
		if len(form) < len(id) {
			return "", false
		}
		if form = form[copy(id[:], form):]; *id == (storage.ID{}) {
			return "", false
		}
	}
	return form, true
}

// parseOldNumbers reads the uses and the epoch, if mask has them, from the beginning of form, and
// returns the text behind them.
func parseOldNumbers(mask byte, form string, r *storage.Record) (rest string, ok bool) {
	b := []byte(form)
	if mask&oldUses != 0 {
		if len(b) < 8 {
			return "", false
		}
		r.MaxUses, r.UsesLeft = int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
		b = b[8:]
	}
	if mask&oldEpoch != 0 {
		if len(b) < 4 {
			return "", false
		}
		r.Epoch, b = binary.BigEndian.Uint32(b), b[4:]
	}
	return form[len(form)-len(b):], true
}

// oldPartsSet reports whether exactly the parts of mask are set, of those behind the IDs,
// and whether they are within their limits.
func oldPartsSet(mask byte, r *storage.Record, sealed string) bool {
	return (mask&oldUses != 0) == (r.MaxUses != 0) && (mask&oldEpoch != 0) == (r.Epoch != 0) &&
		(mask&oldSealed != 0) == (sealed != "") &&
		r.UsesLeft <= r.MaxUses && r.MaxUses <= math.MaxInt32 && len(sealed) <= oldMaxSealed
}

// oldPair reports whether sealed is the sealed text of a token of a pair.
func oldPair(sealed string) bool {
	return sealed == oldAccess || strings.HasPrefix(sealed, oldRefresh) || len(sealed) == oldAnswerLen && sealed[0] == oldAnswer
}

// endOld ends r by a rotation, at the instant of its last use. An end that r has stays as it
// is.
func endOld(r *storage.Record) {
	if !r.EndedAt.IsZero() {
		return
	}
	r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRotated
	if r.LastUsedAt.After(r.EndedAt) {
		r.EndedAt = r.LastUsedAt
	}
}
