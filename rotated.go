package lapse

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// rotationState is kept in Record.Sealed of a plain token whose secret has been replaced.
type rotationState struct {
	key      bearer.TagKey        // of the tags of its secrets
	floor    uint32               // the least generation of secret by which a connection may still be held
	before   uint32               // the generation of the previous secret
	first    [sha256.Size]byte    // the digest of the first secret, which has no tag
	previous [sha256.Size]byte    // the digest of the previous secret; zero: none works
	salt     [bearer.SaltLen]byte // that the current secret was derived with; zero: that secret is not given again
	obtained bool                 // the current secret is derived from one of Config.Keys
	unused   bool                 // the current secret has not been used yet
}

// A sealed rotationState is a label with a version, a byte of flags, and the fields in this
// order.
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

// errSecrets says that what a record keeps sealed cannot be read.
var errSecrets = fmt.Errorf("%w: what a record says of its secrets is damaged", ErrCorrupt)

// errWrongDigest says that the digest of a record cannot be compared with that of a text.
var errWrongDigest = fmt.Errorf("%w: a record's digest is missing, or made in a way this version does not know", ErrCorrupt)

// wasRotated reports whether rec, of a plain token, has a rotationState.
func wasRotated(rec *storage.Record) bool { return strings.HasPrefix(rec.Sealed.Text(), rotatedLabel) }

// unusedSecret reports whether rec has been rotated and its current secret has not been used
// yet.
func unusedSecret(rec *storage.Record) bool {
	text := rec.Sealed.Text()
	return len(text) == rotatedLen && wasRotated(rec) && text[rotatedFlags]&flagUnused != 0
}

// legible reports whether rec.Sealed has a form that this version knows. For a plain token that
// is nothing, a rotationState, or the salt of Obtain or of a request.
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
		return strings.HasPrefix(text, obtainedLabel) || strings.HasPrefix(text, requestedLabel)
	}
	return false
}

// rotationOf returns the rotationState of rec, which is of a plain token. ok is false if the
// token was never rotated. The error is errSecrets if rec.Sealed has no known form.
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

// uint32At reads a big-endian number at an offset of text, without a copy of text.
func uint32At(text string, at int) uint32 {
	return uint32(text[at])<<24 | uint32(text[at+1])<<16 | uint32(text[at+2])<<8 | uint32(text[at+3])
}

// seal returns r in the form that a record keeps.
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

// useSecret marks the current secret of rec as used: from now on no rotation gives it again. It
// reports whether that changes rec. The error is that of rotationOf.
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

// floorOf returns the floor of rec, 0 if it has none: the least generation of secret by which a
// connection may still be held.
func floorOf(rec *storage.Record) uint32 {
	if rec.Kind != KindPlain || !legible(rec) || !wasRotated(rec) {
		return 0
	}
	return uint32At(rec.Sealed.Text(), rotatedFloor)
}

// noSum stands in a record where there is no digest.
const noSum = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// isSum reports whether text is the digest sum, in a time that does not depend on where the two
// differ. noSum is no digest.
func isSum(text string, sum *[sha256.Size]byte) bool {
	if len(text) != len(sum) {
		return false
	}
	d := storage.NewDigest(storage.SHA256, [sha256.Size]byte([]byte(text)))
	return d.Matches(storage.SHA256, sum)
}

// oldSecrets are what a record keeps of the earlier secrets of one kind. isSum reads the digests.
type oldSecrets struct {
	kind            bearer.Kind
	key             bearer.TagKey // zeros where there is none
	previous, first string        // the digests of the previous secret, and of the first one if that has no tag
	until           time.Time     // when the previous secret ends
	before          uint32        // the generation of the previous secret
}

// oldSecrets returns the old secrets of rec for the texts that m takes. The error is ErrCorrupt for a
// record whose secrets cannot be read.
func (m *Manager) oldSecrets(rec *storage.Record) (oldSecrets, error) {
	if rec.Kind == KindPlain && !m.refreshes {
		return plainOldSecrets(rec)
	}
	s, ok := sessionOf(rec)
	switch {
	case rec.Kind != KindSession || !ok:
		return oldSecrets{}, errSecrets
	case m.refreshes:
		return oldSecrets{kind: bearer.RefreshSecret, key: s.key(), previous: s.previousRefresh(), until: rec.PreviousUntil, before: rec.Generation - 1}, nil
	}
	return oldSecrets{kind: bearer.AccessSecret, key: s.key(), previous: s.previousAccess(), until: s.previousUntil(), before: rec.Generation - 1}, nil
}

// plainOldSecrets is oldSecrets for a plain token. It shares the memory of rec.Sealed.
func plainOldSecrets(rec *storage.Record) (s oldSecrets, err error) {
	s.kind = bearer.PlainSecret
	switch {
	case !legible(rec):
		return s, errSecrets
	case !wasRotated(rec):
		return s, nil
	}
	text := rec.Sealed.Text()
	copy(s.key[:], text[rotatedKey:])
	s.previous, s.first = text[rotatedPrevious:rotatedSalt], text[rotatedFirst:rotatedPrevious]
	s.until, s.before = rec.PreviousUntil, uint32At(text, rotatedBefore)
	return s, nil
}

// match is Manager.match for a text that is not the current one of rec.
func (s *oldSecrets) match(rec *storage.Record, p *presented, b bearer.Binding, now time.Time) standing {
	p.generation = s.before
	previous := isSum(s.previous, p.sum)
	if previous && now.Before(s.until) {
		return previousText
	}
	right := p.cred.Tagged(&s.key, b, s.kind)
	if previous {
		return spentText
	}
	p.generation = 0
	if isSum(s.first, p.sum) {
		return spentText
	}
	p.generation = p.cred.Generation()
	if !right || s.key == (bearer.TagKey{}) {
		return unknownText
	}
	return s.byGeneration(rec, p.generation)
}

// byGeneration says what a text of generation is to rec, if its tag is right and its digest is
// neither in rec nor in s. Where rec or s has a digest of the same generation, that of another
// text, the text is forged, or was made after the backup that was restored: it is unknownText.
func (s *oldSecrets) byGeneration(rec *storage.Record, generation uint32) standing {
	kept := s.previous != "" && s.previous != noSum
	switch {
	case generation > rec.Generation:
		return aheadText
	case generation == rec.Generation, kept && generation == s.before, s.first != "" && generation == 0:
		return unknownText
	}
	return spentText
}

// makeSecret sets cred to the text of rec's generation, and in state what its secret derives
// from: one of Config.Keys for a token of Obtain, or else the text presented. Without either the
// secret is random.
func (r *rotation) makeSecret(rec *storage.Record, state *rotationState) {
	binding := r.m.binding
	state.unused, state.salt = r.overlap != 0, [bearer.SaltLen]byte{}
	state.obtained = madeByObtain(rec) && len(r.m.keys) > 0
	random := r.random[:]
	switch {
	case state.obtained:
		state.salt = r.salt
		derived := r.m.keys[0].Rotated(rec.ID, binding, rec.Generation, state.salt[:])
		random = derived[:]
	case r.text != nil:
		derived := r.text.cred.Successor(binding, bearer.PlainSecret, rec.Generation, r.salt[:])
		random = derived[:]
		if state.unused {
			state.salt = r.salt
		}
	}
	copy(r.cred[:], rec.ID[:])
	r.cred.SetTagged(&state.key, binding, bearer.PlainSecret, rec.Generation, random)
}
