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
	m.endedByClock(&seen)
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
	tok    Token    // what everyone sees of it by that text
	above  *lineage // those that it was delegated from
	stands standing // currentText or previousText
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
	m.endedByClock(&seen)
	m.viewText(&seen, j.stands)
	j.tok = seen.Token
	if j.above, err = m.under(&j.tok, tx.Get); err != nil {
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
