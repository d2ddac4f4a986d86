package lapse

import (
	"crypto/sha256"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// presented is a bearer text that was given to a verb, and the digest of its secret.
type presented struct {
	cred       *credential
	sum        *[sha256.Size]byte
	prefix     string
	generation uint32 // of its secret, once stands has found it to be one that works or worked
}

// keep returns a copy of p, without its prefix, in memory of its own. A transaction uses
// the copy: if it used p itself, each check would allocate that.
func (p *presented) keep() *presented {
	kept := &struct {
		presented
		cred credential
		sum  [sha256.Size]byte
	}{cred: *p.cred, sum: *p.sum}
	kept.presented = presented{cred: &kept.cred, sum: &kept.sum}
	return &kept.presented
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

// stands says what p, which authenticates, is to rec at now, and sets p.generation. A record whose secrets
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
		p.generation = rec.Generation
		return currentText, nil
	case rec.Digest.Algorithm() != storage.SHA256:
		return unknownText, errWrongDigest
	}
	r, _ := rotationsOf(rec)
	if r == "" {
		payTag(p.cred, b)
		return unknownText, nil
	}
	previous := isSum(r.previous(), p.sum)
	if previous {
		p.generation = r.before()
	}
	if previous && now.Before(rec.PreviousUntil) {
		return previousText, nil
	}
	key := r.key()
	right := p.cred.tagged(&key, b, plainSecret)
	switch first := isSum(r.first(), p.sum); {
	case previous:
		return spentText, nil
	case first:
		p.generation = 0
		return spentText, nil
	}
	p.generation = p.cred.generation()
	if !right || p.generation == 0 { // the first secret has no tag
		return unknownText, nil
	}
	return byGeneration(rec, p.generation, r.before(), r.previous() != noSum), nil
}

// standsAccess is stands for a session, of which access texts authenticate.
func standsAccess(rec *storage.Record, p *presented, b binding, now time.Time) (standing, error) {
	s, ok := sessionOf(rec)
	p.generation = p.cred.generation()
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
	p.generation = p.cred.generation()
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
	return byGeneration(rec, p.cred.generation(), rec.Generation-1, digest != noSum)
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

// payTag spends what it takes to compute a tag, so that a text that is refused for
// another reason takes as long.
func payTag(c *credential, b binding) {
	var none tagKey
	_ = c.tagged(&none, b, plainSecret)
}
