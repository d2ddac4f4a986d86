package lapse

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// A bearer text is checked in grades. Each guarantees what the one before it does, and more.
//
//   - match compares the text with a record, and says what the text is to it.
//   - prove guarantees that the secret is one that the record has or had, and that the context
//     proves the key of a bound token. The token may be dead, and the secret replaced.
//   - proveWorking guarantees that the secret has not been replaced, or was replaced last and
//     still works.
//   - proveLive guarantees that the token is alive and not suspended, that it has uses left, and
//     that Admit lets it pass. proveLiveIn guarantees the same in a transaction, and does not ask Admit.
//
// authenticate goes through the same grades, with nothing allocated.

// proved is a text whose secret has been proved, and the record that it names.
type proved struct {
	presented
	rec    storage.Record
	stands standing // currentText, previousText or spentText
	now    time.Time
}

// prove returns the record whose secret text holds, or once held. The token may be dead. It
// refuses a text that is malformed, one that was never a text of a record, and one of a bound
// token whose key ctx does not prove.
func (m *Manager) prove(ctx context.Context, verb *call, text string) (p proved, err error) {
	p.presented, p.stands, p.now, err = m.proveInto(ctx, verb, text, new(hashedText), &p.rec)
	return p, err
}

// proveInto is prove with the memory of its caller: it sets *h and *rec. So a refusal
// allocates its answer and nothing else (TestRefusedTextsAllocateTheirAnswer).
func (m *Manager) proveInto(ctx context.Context, verb *call, text string, h *hashedText, rec *storage.Record) (p presented, found standing, now time.Time, err error) {
	if err = m.parse(ctx, verb, text, h); err != nil {
		return p, unknownText, now, err
	}
	p = h.presented()
	err = m.load(ctx, p.cred.ID(), rec)
	now = m.now()
	found, err = m.proveRecord(ctx, verb, &p, rec, err, now)
	return p, found, now, err
}

// load sets *rec to the record of id, or returns the error of the store. A reader of the store
// sets *rec in its place. Where it reports false, the store says why.
func (m *Manager) load(ctx context.Context, id ID, rec *storage.Record) (err error) {
	if !m.reader.Get(ctx, id, rec) {
		*rec, err = m.store.Get(ctx, id)
	}
	return err
}

// proveLive is prove, and returns the token as that text shows it. It refuses a text that
// does not work, a token that is dead, suspended or has no uses left, and one that Admit refuses.
func (m *Manager) proveLive(ctx context.Context, verb *call, bearer string) (p proved, tok Token, err error) {
	if p, err = m.prove(ctx, verb, bearer); err == nil {
		tok, err = m.requireLive(ctx, verb, &p.presented, &p.rec, p.stands, p.now)
	}
	return p, tok, err
}

// requireLive is proveLive for a text that prove has found.
func (m *Manager) requireLive(ctx context.Context, verb *call, p *presented, rec *storage.Record, found standing, now time.Time) (tok Token, err error) {
	if found == spentText {
		return tok, m.refuse(ctx, verb, replaced(rec, p))
	}
	seen := *rec
	m.showClockEnd(&seen)
	m.viewText(&seen, found)
	tok = seen.Token
	if _, err = m.admit(ctx, verb, &tok, p.generation, now); err == nil {
		if err = outOfUses(&tok, p.generation); err != nil {
			err = m.refuse(ctx, verb, err)
		}
	}
	if err != nil {
		payTag(p.cred, m.binding)
	}
	return tok, err
}

// judged is what a transaction finds for a bearer text.
type judged struct {
	rec    storage.Record
	tok    Token     // the token as the text shows it
	above  *ancestry // the tokens above tok
	stands standing  // currentText or previousText
}

// proveLiveIn checks the text p at now by what tx reads. Where the text does not work, or the
// token is dead, suspended or has no uses left, the error is a *Rejection and j is set as far as it
// was read.
func (m *Manager) proveLiveIn(tx storage.Tx, p *presented, now time.Time) (j judged, err error) {
	if j.rec, err = getIn(tx, p.cred.ID()); err != nil {
		return j, err
	}
	if j.stands, err = m.match(&j.rec, p, now); err != nil {
		return j, err
	}
	switch j.stands {
	case spentText:
		return j, replaced(&j.rec, p)
	case unknownText, aheadText:
		return j, &Rejection{Err: ErrUnknown, ID: j.rec.ID}
	}
	return j, m.viewLiveIn(tx, &j, p.generation, now)
}

// viewLiveIn sets j.tok and j.above from j.rec, which tx read, and j.stands. by is the generation of
// the secret. The error is a *Rejection if the token is dead at now, suspended, or out of uses.
func (m *Manager) viewLiveIn(tx storage.Tx, j *judged, by uint32, now time.Time) (err error) {
	seen := j.rec
	m.showClockEnd(&seen)
	m.viewText(&seen, j.stands)
	j.tok = seen.Token
	if j.above, err = m.clamp(&j.tok, tx.Get); err != nil {
		return err
	}
	if err := unusable(&j.tok, by, now); err != nil {
		return err
	}
	return outOfUses(&j.tok, by)
}

// requireAliveIn is viewLiveIn for an administrator, who has an ID and no text: a suspended token
// passes. j.tok is the token of j.rec as callers see it.
func (m *Manager) requireAliveIn(tx storage.Tx, j *judged, now time.Time) (err error) {
	if j.above, err = m.clamp(&j.tok, tx.Get); err != nil {
		return err
	}
	if !alive(&j.tok, now) {
		return expired(&j.tok, j.tok.Generation)
	}
	return outOfUses(&j.tok, j.tok.Generation)
}

// presented is a bearer text that was given to a verb, and the digest of its secret.
type presented struct {
	cred       *bearer.Credential
	sum        *[sha256.Size]byte
	prefix     string
	generation uint32 // of its secret, once match has found that it works or worked
	foreign    bool   // the ID in cred does not stand in the text: an alias had it
}

// keep returns a copy of p without its prefix, on the heap. A transaction gets the copy. A function
// of a transaction that used p itself would move p to the heap in every check, also in the checks
// that have no transaction.
func (p *presented) keep() *presented {
	cred, sum := *p.cred, *p.sum
	return &presented{cred: &cred, sum: &sum}
}

// standing says what a text is to the record that it names.
type standing uint8

const (
	unknownText  standing = iota // nothing proves that it was ever a text of that record
	aheadText                    // its tag is right, and its generation is later than that of the record
	spentText                    // its secret has been replaced, and does not work
	previousText                 // its secret was replaced last, and still works
	currentText                  // its secret is the current one
)

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

// owns reports whether a text of m's prefix can be one of rec.
func (m *Manager) owns(rec *storage.Record) bool {
	if m.refreshes {
		return m.refreshesRecord(rec)
	}
	return rec.Prefix == m.prefix && isToken(rec)
}

// refreshesRecord is owns for the Manager of refresh texts.
func (m *Manager) refreshesRecord(rec *storage.Record) bool {
	return rec.Kind == KindSession && rec.Prefix == m.rules.access && m.rules.refreshes(rec)
}

// match says what the text p is at now to rec, which m owns, and sets p.generation. A text
// that does not work takes the time of one tag. The error is ErrCorrupt.
func (m *Manager) match(rec *storage.Record, p *presented, now time.Time) (standing, error) {
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
		return currentText, nil // without this the row text/1e3/access of bench takes 10 percent longer
	}
	s, err := m.oldSecrets(rec)
	if err != nil {
		return unknownText, err
	}
	return s.match(rec, p, m.binding, now), nil
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

// payTag takes the time of computing a tag, so that the time of a refusal does not tell its
// reason.
func payTag(c *bearer.Credential, b bearer.Binding) {
	var none bearer.TagKey
	_ = c.Tagged(&none, b, bearer.PlainSecret)
}
