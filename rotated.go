package lapse

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// rotated is what the record of a plain token keeps sealed once its secret has been
// replaced.
type rotationState struct {
	key      bearer.TagKey        // of the tags of its secrets
	floor    uint32               // the least generation by which a connection may still be held
	before   uint32               // the generation of the previous secret
	first    [sha256.Size]byte    // the digest of the first secret, which has no tag
	previous [sha256.Size]byte    // the digest of the previous secret; zero: none works
	salt     [bearer.SaltLen]byte // what the current secret was derived with; zero: it is not given again
	obtained bool                 // the current secret is derived from one of Config.Keys
	unused   bool                 // the current secret has not been used yet
}

// The form of rotated is a label with a version, a byte of flags, and the fields in
// their order.
const (
	rotatedLabel = "p1"

	flagUnused   = 1
	flagObtained = 2

	rotatedFlags    = len(rotatedLabel)
	rotatedKey      = rotatedFlags + 1
	rotatedFloor    = rotatedKey + len(bearer.TagKey{})
	rotatedBefore   = rotatedFloor + bearer.GenerationLen
	rotatedFirst    = rotatedBefore + bearer.GenerationLen
	rotatedPrevious = rotatedFirst + sha256.Size
	rotatedSalt     = rotatedPrevious + sha256.Size
	rotatedLen      = rotatedSalt + bearer.SaltLen
)

var errSecrets = fmt.Errorf("%w: what a record says of its secrets is damaged", ErrCorrupt)

// wasRotated reports whether rec, of a plain token, keeps what rotated holds.
func wasRotated(rec *storage.Record) bool { return strings.HasPrefix(rec.Sealed.Text(), rotatedLabel) }

// unusedSecret reports whether the current secret of rec has not been used yet.
func unusedSecret(rec *storage.Record) bool {
	text := rec.Sealed.Text()
	return len(text) == rotatedLen && wasRotated(rec) && text[rotatedFlags]&flagUnused != 0
}

// legible reports whether what rec keeps sealed has a form that this version knows: of a
// plain token nothing, that of rotated, or that of Obtain.
func legible(rec *storage.Record) bool {
	if rec.Kind != KindPlain {
		_, ok := sessionOf(rec)
		return ok && rec.Kind == KindSession
	}
	switch text := rec.Sealed.Text(); len(text) {
	case 0:
		return true
	case rotatedLen:
		return strings.HasPrefix(text, rotatedLabel)
	case obtainedLen:
		return strings.HasPrefix(text, obtainedLabel)
	}
	return false
}

// rotationOf returns what rec, of a plain token, says of its rotations. ok is false where
// there is nothing: the token was never rotated.
func rotationOf(rec *storage.Record) (r rotationState, ok bool, err error) {
	switch {
	case !legible(rec):
		return r, false, errSecrets
	case !wasRotated(rec):
		return r, false, nil
	}
	text := rec.Sealed.Text()
	r.unused, r.obtained = text[rotatedFlags]&flagUnused != 0, text[rotatedFlags]&flagObtained != 0
	copy(r.key[:], text[rotatedKey:])
	r.floor, r.before = uint32At(text, rotatedFloor), uint32At(text, rotatedBefore)
	copy(r.first[:], text[rotatedFirst:])
	copy(r.previous[:], text[rotatedPrevious:])
	copy(r.salt[:], text[rotatedSalt:])
	return r, true, nil
}

func uint32At(text string, at int) uint32 {
	return uint32(text[at])<<24 | uint32(text[at+1])<<16 | uint32(text[at+2])<<8 | uint32(text[at+3])
}

// seal returns the form of r.
func (r *rotationState) seal() storage.Sealed {
	var flags byte
	if r.unused {
		flags |= flagUnused
	}
	if r.obtained {
		flags |= flagObtained
	}
	b := append(make([]byte, 0, rotatedLen), rotatedLabel...)
	b = append(append(b, flags), r.key[:]...)
	b = binary.BigEndian.AppendUint32(b, r.floor)
	b = binary.BigEndian.AppendUint32(b, r.before)
	b = append(append(append(b, r.first[:]...), r.previous[:]...), r.salt[:]...)
	return storage.NewSealed(string(b))
}

// use notes in rec that its current secret has been used: from now on no rotation gives
// it again. It reports whether that changes rec.
func useSecret(rec *storage.Record) (changed bool, err error) {
	if !unusedSecret(rec) {
		return false, nil
	}
	r, _, err := rotationOf(rec)
	if err != nil {
		return false, err
	}
	if r.unused = false; !r.obtained { // Obtain gives the secret again
		r.salt = [bearer.SaltLen]byte{}
	}
	rec.Sealed = r.seal()
	return true, nil
}

// floorOf returns the least generation by which a connection of rec may still be held.
func floorOf(rec *storage.Record) uint32 {
	if rec.Kind != KindPlain || !legible(rec) || !wasRotated(rec) {
		return 0
	}
	return uint32At(rec.Sealed.Text(), rotatedFloor)
}

// noSum is what is kept of a digest where there is none.
const noSum = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// isSum reports whether text is the digest sum, in a time that does not depend on where
// they differ. A text of zeros stands for no digest.
func isSum(text string, sum *[sha256.Size]byte) bool {
	if len(text) != len(sum) {
		return false
	}
	d := storage.NewDigest(storage.SHA256, [sha256.Size]byte([]byte(text)))
	return d.Matches(storage.SHA256, sum)
}
