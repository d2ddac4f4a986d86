package lapse

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// Authenticate returns the token whose text bearer is, and renews the token where the
// policy says so. ExpiresAt is the expiry that is stored. A renewal that could not be
// stored does not move it, and Observe is told. For an access text the token is the
// session, with the scope and the ExpiresAt of that text. The previous text of a rotated
// token records no use and renews nothing.
//
// For a text that is no good the error wraps ErrUnauthenticated and carries a *Rejection:
// ErrMalformed, ErrUnknown, ErrProof, ErrReplaced, ErrExpired, ErrRevoked, ErrSuspended,
// ErrExhausted or ErrRefused. Then nothing has been written, except that the use may be stored if a
// new epoch of the clock ended the token meanwhile. Any other error is one of the store, of the
// context or of Admit, and means that Authenticate could not tell.
//
// Authenticate reads the store once, and once more for a foreign text (Config.Foreign) and
// for each token above a delegate. For a text of a later generation than the record has, it
// reads the record once more, in a transaction that sees past every cache. It writes once
// where a use is due to be recorded (Policy.RenewEvery). The first use of a secret that
// Rotate made is a durable write. If that write fails, the use is good, and Observe is told.
//
// A use of a budget (Grant.MaxUses) is durable before it succeeds: a write that fails is a
// use that fails, and ErrOutcomeUnknown means that the use may have been spent. The last
// use ends the token, and returns it with EndExhausted. If connections are held by the
// token in this process, the last of them ends it instead. With Grant.UseGrace the token
// lives on for that grace, and a text of it returns the token again, with Token.Repeated.
// Such a repetition spends and writes nothing.
func (m *Manager) Authenticate(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbAuthenticate, &err)
	defer m.finish(ctx, &verb, &err)
	_, err = m.authenticate(ctx, &verb, bearer, useOnce, &tok)
	return tok, err
}

// Peek returns what Authenticate would return, and writes nothing. A page that polls, or a
// health check, keeps no token alive by Peek, and spends no use.
func (m *Manager) Peek(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbPeek, &err)
	defer m.finish(ctx, &verb, &err)
	_, err = m.authenticate(ctx, &verb, bearer, useNone, &tok)
	return tok, err
}

// usage says what a check does to the token that it finds good.
type usage uint8

const (
	useNone usage = iota // nothing
	useOnce              // the check is a use
	useHeld              // the check is a use by Hold: the last use ends the token when its last connection ends
)

// A bearer text is checked in grades. Each guarantees what the one before it does, and more.
//
//   - match compares the secret of the text with those of a record, and returns a standing.
//   - proveRecord guarantees that the secret is one that the record has or had, and that the context
//     proves the key of a bound token. The token may be dead, and the secret replaced.
//   - proveWorking guarantees that the secret is the current one, or the previous one in its time.
//   - authenticateParsed guarantees that the token is alive and not suspended, that Admit lets it
//     pass, and that it had a use left, or repeats its last use.
//
// The other verbs that take a text go through the same grades in prove.go: prove, proveLive, and, in
// a transaction, proveLiveIn, which does not ask Admit.

// authenticate sets *tok to the token whose text is given, if the text is good, and
// returns the generation of its secret. Any other text is refused.
//
// The secret is hashed before the record is looked up, in the place where Parse decoded it:
// otherwise BenchmarkAuthenticate takes 10 percent longer.
func (m *Manager) authenticate(ctx context.Context, verb *call, text string, use usage, tok *Token) (generation uint32, err error) {
	var h bearer.Hashed
	c := h.Credential()
	prefix, ok := c.Parse(text, m.prefix)
	if !ok {
		return m.authenticateForeign(ctx, verb, text, use, tok)
	}
	if err := m.ready(ctx, verb); err != nil {
		return 0, err
	}
	sum := h.Sum(m.binding)
	p := presented{cred: c, sum: &sum, prefix: prefix}
	return m.authenticateParsed(ctx, verb, &p, use, tok)
}

// authenticateForeign is authenticate for a text that is not of the form of lapse. Only such a text
// is left to parse: authenticate reads all others itself, which saves 11 percent (BenchmarkAuthenticate).
func (m *Manager) authenticateForeign(ctx context.Context, verb *call, text string, use usage, tok *Token) (generation uint32, err error) {
	var h hashedText
	if err := m.parse(ctx, verb, text, &h); err != nil {
		return 0, err
	}
	p := h.presented()
	return m.authenticateParsed(ctx, verb, &p, use, tok)
}

// authenticateParsed is authenticate for a text that has been read: p. It reads the record, proves
// the secret, asks whether the token may be used now, and records the use, in this order. Before the
// secret is proved, no answer says whether there is a record. So proveWorking is given the error of
// the read, and decides what that says.
//
// A record is large: loadGood writes it into its place, and only the token is copied, once, to the
// caller. loadGood is load, unless a copy of the record is at hand (storage.Cacher) by which the text is
// good and admitted.
func (m *Manager) authenticateParsed(ctx context.Context, verb *call, p *presented, use usage, tok *Token) (generation uint32, err error) {
	c := p.cred
	var rec storage.Record
	now, admitted, err := m.loadGood(ctx, p, use, &rec)
	found, err := m.proveWorking(ctx, verb, p, &rec, err, now)
	if err != nil {
		return 0, err
	}
	if m.fromEarlierEpoch(&rec) {
		m.showClockEnd(&rec) // the clock proved wrong, and that ended the token
	}
	m.viewText(&rec, found) // by Policy.view: from here on rec is what callers see
	if !alive(&rec.Token, now) {
		return 0, m.refuseDead(ctx, verb, c, &rec.Token, p.generation)
	}
	var above *ancestry
	if !admitted && m.mayRefuseLive(&rec) {
		if above, err = m.admitText(ctx, verb, c, &rec, p.generation, now); err != nil {
			return 0, err
		}
	}
	return p.generation, m.useText(ctx, verb, p, &rec, found, use, now, above, tok)
}

// mayRefuseLive reports whether admitText may refuse the living token of rec: because it is suspended, for
// a token above it, or by Config.Admit. Leaving out admitText for all others saves 15 percent
// (BenchmarkAuthenticate).
func (m *Manager) mayRefuseLive(rec *storage.Record) bool {
	return m.admission != nil || rec.Parent != (ID{}) || !rec.SuspendedAt.IsZero()
}

// hashedText is a text as parse has read it.
type hashedText struct {
	sum     [sha256.Size]byte // the first field, so that it is aligned
	input   bearer.Hashed
	prefix  string
	foreign bool
}

// parse reads text, which a client presents, into *h. It refuses a text that is neither of the form
// of lapse nor one that Config.Foreign knows. Between reading and hashing a text it calls ready, which
// may begin a new epoch of the clock.
func (m *Manager) parse(ctx context.Context, verb *call, text string, h *hashedText) (err error) {
	var ok bool
	if h.prefix, ok = h.input.Credential().Parse(text, m.prefix); !ok {
		return m.parseForeign(ctx, verb, text, h)
	}
	if err = m.ready(ctx, verb); err == nil {
		h.sum = h.input.Sum(m.binding)
	}
	return err
}

// presented returns what h presents, as pointers into h.
func (h *hashedText) presented() presented {
	return presented{cred: h.input.Credential(), sum: &h.sum, prefix: h.prefix, foreign: h.foreign}
}

// presented is a bearer text that was given to a verb, and the digest of its secret.
type presented struct {
	cred       *bearer.Credential
	sum        *[sha256.Size]byte
	prefix     string // of the text
	generation uint32 // of its secret, once match has found that it works or worked
	foreign    bool   // the ID in cred does not stand in the text: an alias had it
}

// load sets *rec to the record of id, or returns the error of the store. m.reader writes into *rec, and
// reports false where the store has no reader, or an error: then Store.Get has the record or the error.
func (m *Manager) load(ctx context.Context, id ID, rec *storage.Record) (err error) {
	if !m.reader.Get(ctx, id, rec) {
		*rec, err = m.store.Get(ctx, id)
	}
	return err
}

// proveWorking is proveRecord, except that it refuses spentText: it returns only currentText and
// previousText without an error.
func (m *Manager) proveWorking(ctx context.Context, verb *call, p *presented, rec *storage.Record, err error, now time.Time) (standing, error) {
	found, err := m.proveRecord(ctx, verb, p, rec, err, now)
	if err == nil && found == spentText {
		err = m.refuse(ctx, verb, replaced(rec, p))
	}
	return found, err
}

// proveRecord returns what the text p is to rec, which the store returned with err for the ID in p:
// currentText, previousText or spentText. A text of a bound token, also one of a later generation than
// rec has, is refused as ErrProof unless ctx has the proof. A text that is not of rec is ErrUnknown. A
// refusal takes the time of one digest and one tag, whether or not there is a record.
func (m *Manager) proveRecord(ctx context.Context, verb *call, p *presented, rec *storage.Record, err error, now time.Time) (standing, error) {
	if err == nil && rec.ID != p.cred.ID() {
		err = errWrongRecord
	}
	if err != nil && !absent(err) {
		return unknownText, storeError(verb.Verb, err)
	}
	if err != nil || p.prefix != m.prefix || !m.owns(rec) {
		payTag(p.cred, m.binding)
		return unknownText, m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: p.named()})
	}
	found, err := m.match(rec, p, now)
	if err != nil {
		return unknownText, storeError(verb.Verb, err)
	}
	if found != unknownText && !rec.Thumbprint.IsZero() {
		if err := m.requireProof(ctx, verb, p, rec, found); err != nil {
			return found, err
		}
	}
	switch found {
	case unknownText:
		return unknownText, m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: p.cred.ID()})
	case aheadText:
		return m.proveAhead(ctx, verb, p, rec, now)
	}
	return found, nil
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

// match says what the text p is at now to rec, whose texts have the prefix of m, and sets
// p.generation. Record.Digest is of the secret of a plain token, or of the refresh secret of a
// session, whose access secret has its digest in Record.Sealed. A text that does not work takes the
// time of one tag. The error is ErrCorrupt.
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

// useText spends a use of the budget of rec, or records the use where that is due, and sets
// *tok. The text p of rec is good at now, and above are the tokens above a delegate.
func (m *Manager) useText(
	ctx context.Context, verb *call, p *presented, rec *storage.Record, found standing,
	use usage, now time.Time, above *ancestry, tok *Token,
) (err error) {
	switch {
	case rec.MaxUses == 0: // no budget
	case rec.UsesLeft <= 0:
		return m.repeat(ctx, verb, p.cred, rec, p.generation, use, tok)
	case use != useNone:
		*tok, err = m.spend(ctx, verb, p, rec.Subject, use)
		return err
	}
	if use != useNone && found == currentText && m.mayRecord(rec, now) {
		err = m.recordUse(ctx, verb, p, rec, now, above)
	}
	if err == nil {
		*tok = rec.Token
	}
	return err
}

// mayRecord reports whether a use of rec by its current text at now may have to be recorded:
// as the first use of a secret that Rotate made, or because RenewEvery has passed.
func (m *Manager) mayRecord(rec *storage.Record, now time.Time) bool {
	return rec.Generation != 0 && rec.Kind == KindPlain || m.policy.due(&rec.Token, now)
}
