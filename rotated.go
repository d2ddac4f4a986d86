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

	atFlags     = len(rotatedLabel)
	atTagKey    = atFlags + 1
	atFloor     = atTagKey + len(tagKey{})
	atBefore    = atFloor + 4
	atFirst     = atBefore + 4
	atReplaced  = atFirst + sha256.Size
	atDerivedBy = atReplaced + sha256.Size
	rotatedLen  = atDerivedBy + saltLen

	flagUnused   = 1
	flagObtained = 2
)

var errSecrets = fmt.Errorf("%w: what a record says of its secrets is damaged", ErrCorrupt)

// wasRotated reports whether rec, of a plain token, keeps what rotated holds.
func wasRotated(rec *storage.Record) bool { return strings.HasPrefix(rec.Sealed.Text(), rotatedLabel) }

// unusedSecret reports whether the current secret of rec has not been used yet.
func unusedSecret(rec *storage.Record) bool {
	text := rec.Sealed.Text()
	return wasRotated(rec) && len(text) == rotatedLen && text[atFlags]&flagUnused != 0
}

// legible reports whether what rec, of a plain token, keeps sealed has a form that this
// version knows: nothing, that of rotated, or that of Obtain.
func legible(rec *storage.Record) bool {
	switch text := rec.Sealed.Text(); len(text) {
	case 0:
		return true
	case rotatedLen:
		return strings.HasPrefix(text, rotatedLabel)
	case obtainedLen:
		return strings.HasPrefix(text, obtained)
	}
	return false
}

// rotations is the form of rotated, read where it lies: every check of a text that is
// not current reads one.
type rotations string

func (s rotations) key() (k tagKey)  { copy(k[:], s[atTagKey:]); return k }
func (s rotations) floor() uint32    { return uint32At(s[atFloor:]) }
func (s rotations) before() uint32   { return uint32At(s[atBefore:]) }
func (s rotations) first() string    { return string(s[atFirst:atReplaced]) }
func (s rotations) previous() string { return string(s[atReplaced:atDerivedBy]) }

func uint32At(s rotations) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

// rotationsOf returns what rec, of a plain token, says of its rotations, and "" where
// there is nothing: the token was never rotated.
func rotationsOf(rec *storage.Record) (rotations, error) {
	switch {
	case !legible(rec):
		return "", errSecrets
	case !wasRotated(rec):
		return "", nil
	}
	return rotations(rec.Sealed.Text()), nil
}

// rotatedOf is rotationsOf for who changes it. ok is false where there is nothing.
func rotatedOf(rec *storage.Record) (r rotated, ok bool, err error) {
	s, err := rotationsOf(rec)
	if s == "" {
		return r, false, err
	}
	flags := s[atFlags]
	r.unused, r.obtained = flags&flagUnused != 0, flags&flagObtained != 0
	r.key, r.floor, r.before = s.key(), s.floor(), s.before()
	copy(r.first[:], s.first())
	copy(r.previous[:], s.previous())
	copy(r.salt[:], s[atDerivedBy:])
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
	s, _ := rotationsOf(rec)
	if s == "" {
		return 0
	}
	return s.floor()
}

// noSum is what is kept of a digest where there is none.
const noSum = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// isSum reports whether text is the digest sum, in a time that does not depend on where
// they differ. A text of zeros stands for no digest. It compares words: each check of a
// text that is not current comes here, and BenchmarkWorkingTexts/previous_access takes a
// tenth more with crypto/subtle.
func isSum(text string, sum *[sha256.Size]byte) bool {
	if len(text) != len(sum) {
		return false
	}
	differ := uint64(0)
	for at := 0; at < len(sum); at += 8 {
		differ |= wordAt(text[at:]) ^ binary.LittleEndian.Uint64(sum[at:])
	}
	return differ == 0
}

func wordAt(s string) uint64 {
	_ = s[7] // one load, and not eight
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
