package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// Verbs other than Authenticate, Peek and Hold check a text by prove, proveLive or proveLiveIn, which
// guarantee what the grades of authenticate.go do.

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

// admitText is admit for rec, which is alive at now, and whose text c has been proved. It also refuses
// a token that a new epoch of the clock has ended while Admit ran. For a token that has no parent and
// is not suspended it only asks Admit: by BenchmarkHooks/admit an Admit then costs half as much.
func (m *Manager) admitText(ctx context.Context, verb *call, c *bearer.Credential, rec *storage.Record, by uint32, now time.Time) (above *ancestry, err error) {
	if rec.Parent == (ID{}) && rec.SuspendedAt.IsZero() {
		err = m.askAdmit(ctx, verb, &rec.Token, by)
	} else {
		above, err = m.admit(ctx, verb, &rec.Token, by, now)
	}
	if err == nil {
		err = m.refuseOvertaken(ctx, verb, &rec.Token, rec.Epoch, by)
	}
	if err != nil {
		payTag(c, m.binding)
		return nil, err
	}
	return above, nil
}

// admit returns nil as its error if tok is alive at now and not suspended, and Admit lets it pass.
// by is the generation of the secret of tok that has been proved. admit reads the tokens above a
// delegate, returns them, and gives tok the end, the suspension and the expiry that it has by them.
func (m *Manager) admit(ctx context.Context, verb *call, tok *Token, by uint32, now time.Time) (above *ancestry, err error) {
	if alive(tok, now) {
		if above, err = m.clampStored(ctx, verb.Verb, tok); err != nil {
			return nil, err
		}
	}
	if err := unusable(tok, by, now); err != nil {
		return above, m.refuse(ctx, verb, err)
	}
	return above, m.askAdmit(ctx, verb, tok, by)
}

// askAdmit returns nil if Config.Admit lets tok pass, or if there is no Admit. At a log-in
// tok has no ID, since there is no token yet.
func (m *Manager) askAdmit(ctx context.Context, verb *call, tok *Token, by uint32) error {
	if m.admission == nil {
		return nil
	}
	err := m.admission(ctx, *tok)
	if errors.Is(err, ErrRefused) {
		err = fromOutside(err, ErrUnauthenticated, ErrRefused)
		return m.refuse(ctx, verb, &Rejection{Err: err, ID: tok.ID, Subject: tok.Subject, Generation: by})
	}
	if err != nil {
		return fmt.Errorf("lapse: %s: Admit could not tell: %w", verb.Verb, fromOutside(err, ErrUnavailable))
	}
	return nil
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

// proveAhead is proveRecord for a text of a later generation than rec, which may be an old copy. If the
// text is later than the stored record, too, Observe is told, and the text is refused.
func (m *Manager) proveAhead(ctx context.Context, verb *call, p *presented, rec *storage.Record, now time.Time) (standing, error) {
	found, err := m.matchStored(ctx, p, rec, now)
	switch {
	case err != nil:
		return unknownText, storeError(verb.Verb, err)
	case found == aheadText:
		m.tell(ctx, verb, Event{Kind: EventAhead, At: now, Token: m.token(rec)})
	case found != unknownText:
		return found, nil
	}
	return unknownText, m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: p.cred.ID()})
}

// matchStored is match for the record that a transaction reads, past every cache. It sets
// *rec to that record.
func (m *Manager) matchStored(ctx context.Context, p *presented, rec *storage.Record, now time.Time) (found standing, err error) {
	kept := p.keep()
	var read storage.Record
	var gone bool
	err = m.store.Update(ctx, rec.Subject, func(tx storage.Tx) (err error) {
		if read, err = getIn(tx, kept.cred.ID()); err == nil {
			found, err = m.match(&read, kept, now)
		}
		gone = errors.Is(err, errGone)
		return err
	})
	switch {
	case gone: // swept since rec was read
		return unknownText, nil
	case err == nil:
		*rec, p.generation = read, kept.generation
	}
	return found, err
}

// keep returns a copy of p without its prefix, on the heap. A transaction gets the copy. A function
// of a transaction that used p itself would move p to the heap in every check, also in the checks
// that have no transaction.
func (p *presented) keep() *presented {
	cred, sum := *p.cred, *p.sum
	return &presented{cred: &cred, sum: &sum}
}

// named returns the ID that stands in the text p, or zeros for a foreign text.
func (p *presented) named() ID {
	if p.foreign {
		return ID{}
	}
	return p.cred.ID()
}

// replaced returns the rejection of p, a text of rec whose secret was replaced.
func replaced(rec *storage.Record, p *presented) *Rejection {
	return &Rejection{Err: ErrReplaced, ID: rec.ID, Subject: rec.Subject, Generation: p.generation}
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

// payTag takes the time of computing a tag, so that the time of a refusal does not tell its
// reason.
func payTag(c *bearer.Credential, b bearer.Binding) {
	var none bearer.TagKey
	_ = c.Tagged(&none, b, bearer.PlainSecret)
}
