package lapse

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// proved is a text whose secret has been proved, and the record that it names.
type proved struct {
	presented
	rec    storage.Record
	stands standing // currentText, previousText or spentText
	now    time.Time
}

// prove returns the record whose secret text holds, or once held, dead or alive.
func (m *Manager) prove(ctx context.Context, verb, text string) (p proved, err error) {
	p.cred, p.sum = new(bearer.Credential), new([sha256.Size]byte)
	p.stands, p.now, err = m.proveTo(ctx, verb, text, &p.presented, &p.rec)
	return p, err
}

// proveTo is prove that sets p, which has room for a text, and rec. It keeps neither, so
// that a refusal allocates its answer alone (TestRefusedTextsAllocateTheirAnswer).
func (m *Manager) proveTo(ctx context.Context, verb, text string, p *presented, rec *storage.Record) (found standing, now time.Time, err error) {
	ok := false
	if p.prefix, ok = p.cred.Parse(text, m.prefix, m.begun); !ok {
		return unknownText, now, m.refuse(ctx, ErrMalformed)
	}
	if err := m.ready(ctx, verb); err != nil {
		return unknownText, now, err
	}
	*p.sum = p.cred.Sum(m.binding)
	if !m.reader.Get(ctx, p.cred.ID(), rec) { // or the store would tell the same
		*rec, err = m.store.Get(ctx, p.cred.ID())
	}
	now = m.now()
	found, err = m.verify(ctx, verb, p, rec, err, now)
	return found, now, err
}

// good is prove, and returns what everyone sees of the token by that text, if it is good
// now.
func (m *Manager) good(ctx context.Context, verb, bearer string) (p proved, tok Token, err error) {
	if p, err = m.prove(ctx, verb, bearer); err == nil {
		tok, err = m.admitProved(ctx, verb, &p.presented, &p.rec, p.stands, p.now)
	}
	return p, tok, err
}

// admitProved is good for a text that has been proved to be what found says.
func (m *Manager) admitProved(ctx context.Context, verb string, p *presented, rec *storage.Record, found standing, now time.Time) (tok Token, err error) {
	if found == spentText {
		return tok, m.refuse(ctx, replaced(rec, p))
	}
	seen := *rec
	m.showClockEnd(&seen)
	m.viewText(&seen, found)
	tok = seen.Token
	if err = m.admit(ctx, verb, &tok, p.generation, now); err == nil && tok.MaxUses != 0 && tok.UsesLeft <= 0 {
		err = m.refuse(ctx, exhausted(&tok, p.generation))
	}
	if err != nil {
		payTag(p.cred, m.binding)
	}
	return tok, err
}

// judged is what a transaction finds of a text that is good.
type judged struct {
	rec    storage.Record
	tok    Token     // what everyone sees of it by that text
	above  *ancestry // those that it was delegated from
	stands standing  // currentText or previousText
}

// goodIn judges the text p by what tx reads, at now. A text that is good no more is a
// *Rejection.
func (m *Manager) goodIn(tx storage.Tx, p *presented, now time.Time) (j judged, err error) {
	if j.rec, err = getIn(tx, p.cred.ID()); err != nil {
		return j, err
	}
	if j.stands, err = m.stands(&j.rec, p, now); err != nil {
		return j, err
	}
	switch j.stands {
	case spentText:
		return j, replaced(&j.rec, p)
	case unknownText, aheadText:
		return j, &Rejection{Err: ErrUnknown, ID: j.rec.ID}
	}
	seen := j.rec
	m.showClockEnd(&seen)
	m.viewText(&seen, j.stands)
	j.tok = seen.Token
	if j.above, err = m.clamp(&j.tok, tx.Get); err != nil {
		return j, err
	}
	switch {
	case !j.tok.Live(now):
		err = expired(&j.tok, p.generation)
	case j.tok.MaxUses != 0 && j.tok.UsesLeft <= 0:
		err = exhausted(&j.tok, p.generation)
	}
	return j, err
}

// presented is a bearer text that was given to a verb, and the digest of its secret.
type presented struct {
	cred       *bearer.Credential
	sum        *[sha256.Size]byte
	prefix     string
	generation uint32 // of its secret, once stands has found that it works or worked
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

// slot is what a record keeps of the secrets of one kind that are current no more. Digests
// are those of isSum.
type slot struct {
	kind            bearer.Kind
	key             bearer.TagKey // zeros where there is none
	previous, first string        // the digests of the previous secret, and of one without a tag
	until           time.Time     // when the previous secret ends
	before          uint32        // the generation of the previous secret
}

// slot returns the slot of rec that texts of m's kind are judged by. A record whose
// secrets cannot be read is ErrCorrupt.
func (m *Manager) slot(rec *storage.Record) (slot, error) {
	if rec.Kind == KindPlain && !m.refreshes {
		return plainSlot(rec)
	}
	s, ok := sessionOf(rec)
	switch {
	case rec.Kind != KindSession || !ok:
		return slot{}, errSecrets
	case m.refreshes:
		return slot{kind: bearer.RefreshSecret, key: s.key(), previous: s.previousRefresh(), until: rec.PreviousUntil, before: rec.Generation - 1}, nil
	}
	return slot{kind: bearer.AccessSecret, key: s.key(), previous: s.previousAccess(), until: s.previousUntil(), before: rec.Generation - 1}, nil
}

// plainSlot is slot for a plain token. It is read where it lies.
func plainSlot(rec *storage.Record) (s slot, err error) {
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

// owns reports whether rec is of a token that texts of m's prefix can be of.
func (m *Manager) owns(rec *storage.Record) bool {
	if m.refreshes {
		return m.refreshesRecord(rec)
	}
	return rec.Prefix == m.prefix
}

// refreshesRecord is owns for a Manager of refresh texts. It is apart, so that owns costs
// a check no call.
func (m *Manager) refreshesRecord(rec *storage.Record) bool {
	return rec.Kind == KindSession && rec.Prefix == m.rules.access && m.rules.refreshes(rec)
}

// stands says what p is to rec, which m owns, at now, and sets its generation. A text
// that does not work pays for one tag.
func (m *Manager) stands(rec *storage.Record, p *presented, now time.Time) (standing, error) {
	p.generation = rec.Generation
	if (rec.Kind == KindPlain || m.refreshes) && rec.Digest.Matches(storage.SHA256, p.sum) {
		if !legible(rec) {
			return unknownText, errSecrets
		}
		return currentText, nil
	}
	if rec.Digest.Algorithm() != storage.SHA256 {
		return unknownText, errWrongDigest
	}
	if kept, ok := sessionOf(rec); ok && rec.Kind == KindSession && !m.refreshes && isSum(kept.access(), p.sum) {
		return currentText, nil // to make a slot first would cost such a check a tenth more: bench, text/1e3/access
	}
	s, err := m.slot(rec)
	if err != nil {
		return unknownText, err
	}
	p.generation = s.before
	previous := isSum(s.previous, p.sum)
	if previous && now.Before(s.until) {
		return previousText, nil
	}
	right := p.cred.Tagged(&s.key, m.binding, s.kind)
	if previous {
		return spentText, nil
	}
	p.generation = 0
	if isSum(s.first, p.sum) {
		return spentText, nil
	}
	p.generation = p.cred.Generation()
	if !right || s.key == (bearer.TagKey{}) {
		return unknownText, nil
	}
	return s.byGeneration(rec, p.generation), nil
}

// byGeneration says what a text of rec is whose tag is right, and whose digest is none
// that s keeps. A text of a generation whose digest is kept is forged, or of a time after
// a backup that was put back.
func (s *slot) byGeneration(rec *storage.Record, generation uint32) standing {
	kept := s.previous != "" && s.previous != noSum
	switch {
	case generation > rec.Generation:
		return aheadText
	case generation == rec.Generation, kept && generation == s.before, s.first != "" && generation == 0:
		return unknownText
	}
	return spentText
}

// payTag spends what it takes to compute a tag, so that a text that is refused for
// another reason takes as long.
func payTag(c *bearer.Credential, b bearer.Binding) {
	var none bearer.TagKey
	_ = c.Tagged(&none, b, bearer.PlainSecret)
}
