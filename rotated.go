package lapse

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/seed-55daa01a/lapse/storage"
)

// rotated is what the record of a plain token keeps sealed once its secret has been
// replaced.
type rotated struct {
	key      tagKey            // of the tags of its secrets
	floor    uint32            // the least generation by which a connection may still be held
	before   uint32            // the generation of the previous secret
	first    [sha256.Size]byte // the digest of the first secret, which has no tag
	previous [sha256.Size]byte // the digest of the previous secret; zero: none works
	salt     [saltLen]byte     // what the current secret was derived with; zero: it is not given again
	obtained bool              // the current secret is derived from one of Config.Keys
	unused   bool              // the current secret has not been used yet
}

// The form of rotated is a label with a version, a byte of flags, and the fields in
// their order.
const (
	rotatedLabel = "p1"
	rotatedLen   = len(rotatedLabel) + 1 + len(tagKey{}) + 4 + 4 + 2*sha256.Size + saltLen

	flagUnused   = 1
	flagObtained = 2
)

var errSecrets = fmt.Errorf("%w: what a record says of its secrets is damaged", ErrCorrupt)

// wasRotated reports whether rec, of a plain token, keeps what rotated holds.
func wasRotated(rec *storage.Record) bool { return strings.HasPrefix(rec.Sealed.Text(), rotatedLabel) }

// unusedSecret reports whether the current secret of rec has not been used yet.
func unusedSecret(rec *storage.Record) bool {
	text := rec.Sealed.Text()
	return wasRotated(rec) && len(text) == rotatedLen && text[len(rotatedLabel)]&flagUnused != 0
}

// rotatedOf returns what rec, of a plain token, says of its rotations. ok is false where
// there is nothing: the token was never rotated.
func rotatedOf(rec *storage.Record) (r rotated, ok bool, err error) {
	if !wasRotated(rec) {
		return r, false, nil
	}
	text := rec.Sealed.Text()
	if len(text) != rotatedLen {
		return r, false, errSecrets
	}
	flags := text[len(rotatedLabel)]
	r.unused, r.obtained = flags&flagUnused != 0, flags&flagObtained != 0
	text = text[len(rotatedLabel)+1:]
	text = text[copy(r.key[:], text):]
	var numbers [8]byte
	text = text[copy(numbers[:], text):]
	r.floor, r.before = binary.BigEndian.Uint32(numbers[:]), binary.BigEndian.Uint32(numbers[4:])
	text = text[copy(r.first[:], text):]
	text = text[copy(r.previous[:], text):]
	copy(r.salt[:], text)
	return r, true, nil
}

// seal returns the form of r.
func (r *rotated) seal() storage.Sealed {
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
	r, _, err := rotatedOf(rec)
	if err != nil {
		return false, err
	}
	if r.unused = false; !r.obtained { // Obtain gives the secret again
		r.salt = [saltLen]byte{}
	}
	rec.Sealed = r.seal()
	return true, nil
}

// floorOf returns the least generation by which a connection of rec may still be held.
func floorOf(rec *storage.Record) uint32 {
	r, _, err := rotatedOf(rec)
	if err != nil {
		return 0
	}
	return r.floor
}

// isSum reports whether text is the digest sum, in a time that does not depend on where
// they differ. A text of zeros stands for no digest.
func isSum(text string, sum *[sha256.Size]byte) bool {
	if len(text) != len(sum) {
		return false
	}
	d := storage.NewDigest(storage.SHA256, [sha256.Size]byte([]byte(text)))
	return d.Matches(storage.SHA256, sum)
}
