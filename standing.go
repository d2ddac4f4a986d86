package lapse

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// presented is a bearer text that was given to a verb, and the digest of its secret.
type presented struct {
	cred   *credential
	sum    *[sha256.Size]byte
	prefix string
}

// keep returns a copy of p, without its prefix, in memory of its own. A transaction uses
// the copy: if it used p itself, each check would allocate that.
func (p *presented) keep() *presented {
	cred, sum := *p.cred, *p.sum
	return &presented{cred: &cred, sum: &sum}
}

// standing says what a text is to the record that it names.
type standing uint8

const (
	unknownText  standing = iota // nothing proves that it was ever a text of that record
	aheadText                    // its tag is right, and the record has not come to its generation
	spentText                    // its secret has been replaced, and works no more
	previousText                 // its secret was replaced last, and works until its instant
	currentText                  // its secret is the current one
)

// stands says what p, which authenticates, is to rec at now. A record whose secrets
// cannot be read is ErrCorrupt. A text that does not work pays for one tag.
func stands(rec *storage.Record, p *presented, b binding, now time.Time) (standing, error) {
	switch {
	case rec.Kind == KindSession:
		return standsAccess(rec, p, b, now)
	case rec.Kind != KindPlain:
		return unknownText, errSecrets
	case !legible(rec):
		return unknownText, errSecrets
	case rec.Digest.Matches(storage.SHA256, p.sum):
		return currentText, nil
	case rec.Digest.Algorithm() != storage.SHA256:
		return unknownText, errWrongDigest
	}
	r, was, err := rotatedOf(rec)
	if err != nil {
		return unknownText, err
	}
	previous := isSum(string(r.previous[:]), p.sum)
	if previous && now.Before(rec.PreviousUntil) {
		return previousText, nil
	}
	right := p.cred.tagged(&r.key, b, plainSecret) // of a key of zeros where there is none
	switch generation := p.cred.generation(); {
	case !was:
		return unknownText, nil
	case previous, isSum(string(r.first[:]), p.sum):
		return spentText, nil
	case !right, generation == 0: // the first secret has no tag
		return unknownText, nil
	default:
		return byGeneration(rec, generation, r.before, r.previous != [sha256.Size]byte{}), nil
	}
}

// standsAccess is stands for a session, of which access texts authenticate.
func standsAccess(rec *storage.Record, p *presented, b binding, now time.Time) (standing, error) {
	s, ok := sessionOf(rec)
	switch {
	case !ok:
		return unknownText, errSecrets
	case isSum(s.access(), p.sum):
		return currentText, nil
	}
	previous := isSum(s.previousAccess(), p.sum)
	if previous && now.Before(s.previousUntil()) {
		return previousText, nil
	}
	return s.standsByTag(rec, p, b, accessSecret, previous, s.previousAccess()), nil
}

// standsRefresh says what p, which refreshes, is to rec at now.
func standsRefresh(rec *storage.Record, p *presented, b binding, now time.Time) (standing, error) {
	s, ok := sessionOf(rec)
	switch {
	case !ok:
		return unknownText, errSecrets
	case rec.Digest.Matches(storage.SHA256, p.sum):
		return currentText, nil
	case rec.Digest.Algorithm() != storage.SHA256:
		return unknownText, errWrongDigest
	}
	previous := isSum(s.previousRefresh(), p.sum)
	if previous && now.Before(rec.PreviousUntil) {
		return previousText, nil
	}
	return s.standsByTag(rec, p, b, refreshSecret, previous, s.previousRefresh()), nil
}

// standsByTag says what a text of s is that does not work. previous says that it is the
// previous one; digest is what is kept of that.
func (s session) standsByTag(rec *storage.Record, p *presented, b binding, kind secretKind, previous bool, digest string) standing {
	key := s.key()
	right := p.cred.tagged(&key, b, kind)
	switch {
	case previous:
		return spentText
	case !right:
		return unknownText
	}
	return byGeneration(rec, p.cred.generation(), rec.Generation-1, strings.Trim(digest, "\x00") != "")
}

// byGeneration says what a text of rec is whose tag is right, and whose digest is none
// that rec keeps. previous is the generation of the previous secret, if kept says that
// its digest is kept: a text of that generation, or of the current one, is forged, or is
// of a time after a backup that was put back.
func byGeneration(rec *storage.Record, generation, previous uint32, kept bool) standing {
	switch {
	case generation > rec.Generation:
		return aheadText
	case generation == rec.Generation, kept && generation == previous:
		return unknownText
	}
	return spentText
}

// generationOf returns the generation of the secret of p, a text that works or worked.
func generationOf(rec *storage.Record, p *presented, found standing) uint32 {
	if found == currentText {
		return rec.Generation
	}
	if rec.Kind == KindSession {
		return p.cred.generation()
	}
	switch r, _, _ := rotatedOf(rec); {
	case isSum(string(r.first[:]), p.sum):
		return 0
	case isSum(string(r.previous[:]), p.sum):
		return r.before
	}
	return p.cred.generation()
}

// payTag spends what it takes to compute a tag, so that a text that is refused for
// another reason takes as long.
func payTag(c *credential, b binding) {
	var none tagKey
	_ = c.tagged(&none, b, plainSecret)
}
