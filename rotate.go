package lapse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Rotate gives the token whose text is bearer a new secret, and a new life from now by the
// policy. The token keeps its ID, its place in MaxTokens, its connections and its delegates.
// The rotation is durable before Rotate returns, and Issued.Bearer is the new text.
//
// The previous text works until now plus overlap, or until the expiry that the token had,
// whichever is earlier. It records no use and renews nothing. Another rotation ends that text.
// Until the new text has been used (Peek is no use), Rotate with the previous text gives the same
// answer again, then ErrRotated, and ErrReplaced once that text has ended: Observe is told of that.
//
// An overlap of 0 is for a text that has leaked: every older text ends at once, the delegates
// of the token end with EndRotated, and the connections that an older text opened are cut. Rotate
// with the previous text and overlap 0 makes a new secret, too.
//
// From then on Obtain gives the new text. A delegate keeps its cap, and so does a token whose
// expiry Edit has made earlier.
//
// Errors are those of Authenticate; ErrRotated; ErrNotRenewable for an access text; and
// ErrInvalidGrant for an overlap that is negative, over the policy's MaxTTL, or under a millisecond
// and not 0. After ErrOutcomeUnknown call Rotate again. If that returns ErrReplaced after an overlap
// of 0, issue a token instead.
func (m *Manager) Rotate(ctx context.Context, bearer string, overlap time.Duration) (i Issued, err error) {
	verb := m.begin(VerbRotate, &err)
	defer m.finish(ctx, &verb, &err)
	return m.rotateText(ctx, &verb, bearer, overlap)
}

// rotateText is Rotate, and does not count verb.
func (m *Manager) rotateText(ctx context.Context, verb *call, bearer string, overlap time.Duration) (Issued, error) {
	if err := m.policy.checkOverlap(overlap); err != nil {
		return Issued{}, err
	}
	p, err := m.prove(ctx, verb, bearer)
	switch {
	case err != nil:
		return Issued{}, err
	case p.rec.Kind == KindSession:
		return Issued{}, errRotateSession
	case p.foreign:
		p.cred.SetForeign(p.rec.ID, bearer)
	}
	if _, err := m.requireLive(ctx, verb, &p.presented, &p.rec, p.stands, p.now); err != nil {
		return Issued{}, err
	}
	r := rotation{m: m, id: p.rec.ID, text: &p.presented, overlap: overlap}
	return m.rotate(ctx, verb, &r, func() error { return m.update(ctx, verb, p.rec.Subject, r.apply) })
}

// RotateID is Rotate for administrators, who have no text of the token of id. The text in use
// becomes the previous one. RotateID never gives the same answer again: called before the new
// text was used, it replaces that text and leaves the previous one as it is. The token has a new
// cap by the policy, also if Edit has made its expiry earlier.
//
// A suspended token is rotated and stays suspended: its texts are good after Resume. Admit is not
// asked. The error is ErrNotFound if there is no such token of this Manager's prefix; ErrExpired,
// ErrRevoked or ErrExhausted for a dead token; ErrNotRenewable for a session; ErrInvalidGrant as
// from Rotate; or the store's.
func (m *Manager) RotateID(ctx context.Context, id ID, overlap time.Duration) (i Issued, err error) {
	verb := m.begin(VerbRotateID, &err)
	defer m.finish(ctx, &verb, &err)
	if err := m.policy.checkOverlap(overlap); err != nil {
		return Issued{}, err
	}
	r := rotation{m: m, id: id, overlap: overlap}
	return m.rotate(ctx, &verb, &r, func() error { return m.updateOfID(ctx, &verb, id, r.apply) })
}

var (
	errRotateSession = decide(fmt.Errorf("%w: it is a session; refresh it", ErrNotRenewable))
	errGenerations   = decide(fmt.Errorf("%w: it has had as many secrets as a token can have", ErrNotRenewable))
)

// checkOverlap returns ErrInvalidGrant unless overlap is within its limits.
func (p *Policy) checkOverlap(overlap time.Duration) error {
	if err := checkDuration(overlap, false); err != nil {
		return invalidGrant("overlap", "%v", err)
	}
	if overlap.Truncate(time.Millisecond) > p.MaxTTL {
		return invalidGrant("overlap", "%v is over the policy's MaxTTL of %v", overlap, p.MaxTTL)
	}
	return nil
}

// rotate draws the random parts of r, applies it in a transaction of the subject, and tells
// Observe. The error is a *Rejection, and told as one, if r has the text of a dead token.
func (m *Manager) rotate(ctx context.Context, verb *call, r *rotation, update func() error) (Issued, error) {
	if err := r.drawRandom(); err != nil {
		return Issued{}, err
	}
	r.actor = actorOf(ctx)
	err := update()
	if err == nil {
		m.tellEnded(ctx, verb, r.ended)
		err = m.overtaken(&r.token, r.epoch, r.by)
	}
	if err != nil {
		if r.text == nil && errors.Is(err, errGone) {
			return Issued{}, recordError(verb.Verb, err)
		}
		if r.text == nil {
			return Issued{}, err
		}
		return Issued{}, m.verdict(ctx, verb, r.id, err)
	}
	if r.repeated {
		m.repeated(ctx, verb, r.at, &r.token)
	} else {
		m.tell(ctx, verb, Event{Kind: EventRotated, At: r.token.RotatedAt, Token: r.token})
	}
	return Issued{Token: r.token, Bearer: r.cred.Text(m.prefix)}, nil
}

// rotation replaces the secret of a plain token. Its transaction may run more than once, and
// sets the results each time.
type rotation struct {
	m       *Manager
	id      ID
	text    *presented // of the token; nil: RotateID or Obtain asks
	overlap time.Duration
	actor   Actor         // of the context of the verb
	life    time.Duration // the TTL that Obtain asks for; 0: the token keeps its TTL

	// The random parts are drawn before the transaction.
	key    bearer.TagKey
	salt   [bearer.SaltLen]byte
	random [bearer.RandomLen]byte

	// The results of the transaction.
	at       time.Time
	token    Token
	epoch    uint32            // of the record
	by       uint32            // the generation of text, or without one of the secret that was replaced
	cred     bearer.Credential // of the new text
	ended    []Token           // the delegates that an overlap of 0 ended
	repeated bool              // the new text had been given before
}

// drawRandom sets the random parts, or returns bearer.ErrNoRandomness.
func (r *rotation) drawRandom() error {
	var b [len(bearer.TagKey{}) + bearer.SaltLen + bearer.RandomLen]byte
	if err := bearer.Draw(b[:]); err != nil {
		return err
	}
	n := copy(r.key[:], b[:])
	n += copy(r.salt[:], b[n:])
	copy(r.random[:], b[n:])
	return nil
}

// apply is the transaction.
func (r *rotation) apply(tx storage.Tx, now time.Time) error {
	r.at, r.ended, r.repeated = now, nil, false
	j, err := r.find(tx, now)
	if r.epoch, r.by = j.rec.Epoch, j.rec.Generation; r.text != nil {
		r.by = r.text.generation
	}
	switch {
	case err != nil:
		return err
	case j.rec.Kind == KindSession:
		return errRotateSession
	}
	state, was, err := rotationOf(&j.rec)
	if err != nil {
		return err
	}
	if j.stands == previousText && r.overlap != 0 {
		return r.giveAgain(&j, &state)
	}
	if !was {
		state = rotationState{key: r.key, first: j.rec.Digest.Sum()}
	}
	return r.replace(tx, &j, &state, now)
}

// find reads the token by its text or its ID, and returns an error unless the token is alive.
func (r *rotation) find(tx storage.Tx, now time.Time) (j judged, err error) {
	if r.text != nil {
		return r.m.proveLiveIn(tx, r.text, now)
	}
	if j.rec, err = getIn(tx, r.id); err != nil {
		return j, err
	}
	if j.rec.Prefix != r.m.prefix {
		return j, errGone
	}
	j.stands, j.tok = currentText, r.m.token(&j.rec)
	return j, r.m.requireAliveIn(tx, &j, now)
}

// giveAgain sets cred to the current text again, for a caller that has the previous one. The
// error is ErrRotated if the current text is in use, or can no longer be derived.
func (r *rotation) giveAgain(j *judged, state *rotationState) error {
	if !state.unused || state.salt == ([bearer.SaltLen]byte{}) {
		return decide(ErrRotated)
	}
	if state.obtained {
		if !r.m.derive(&j.rec, &r.cred) {
			return decide(ErrRotated) // its key is retired
		}
	} else {
		random := r.text.cred.Successor(r.m.binding, bearer.PlainSecret, j.rec.Generation, state.salt[:])
		copy(r.cred[:], j.rec.ID[:])
		r.cred.SetTagged(&state.key, r.m.binding, bearer.PlainSecret, j.rec.Generation, random[:])
	}
	if !r.cred.Proves(r.m.binding, &j.rec.Digest) {
		if r.text.foreign {
			return decide(ErrRotated) // it was derived from another text of the same digest
		}
		return errSecrets
	}
	r.token, r.repeated = j.tok, true
	return nil
}

// replace stores the record of j with a new secret and a new life from now.
func (r *rotation) replace(tx storage.Tx, j *judged, state *rotationState, now time.Time) error {
	rec := &j.rec
	if rec.Generation == math.MaxUint32 {
		return errGenerations
	}
	r.keepPrevious(j, state, now)
	rec.Generation++
	r.makeSecret(rec, state)
	if r.overlap == 0 {
		state.floor = rec.Generation
	}
	rec.Sealed, rec.Digest = state.seal(), r.cred.Digest(r.m.binding)
	r.renew(j, now)
	if err := putIn(tx, rec); err != nil {
		return err
	}
	r.token = r.m.token(rec)
	j.above.clamp(&r.token)
	if r.overlap != 0 || rec.Family == (ID{}) {
		return nil
	}
	ended, err := r.m.endRotatedDelegates(tx, rec.ID, ending{at: now, actor: r.actor})
	r.ended = ended
	return err
}

// keepPrevious sets in state which secret works beside the next one, and in PreviousUntil of the record
// until when. With an overlap of 0 that is none. Else it is the current secret, unless RotateID finds
// that unused: then the previous secret and its instant stay.
func (r *rotation) keepPrevious(j *judged, state *rotationState, now time.Time) {
	switch {
	case r.overlap == 0:
		state.previous, state.before = [len(state.previous)]byte{}, 0
		j.rec.PreviousUntil = time.Time{}
	case r.text == nil && r.life == 0 && state.unused:
	default:
		state.previous, state.before = j.rec.Digest.Sum(), j.rec.Generation
		j.rec.PreviousUntil = capped(steady.Add(now, r.overlap), j.tok.ExpiresAt)
	}
}

// renew begins a new life of the token at now. A delegate keeps its cap: a delegate of an access
// text does not outlive that text, whatever the cap of the policy. A cap that Edit has set stays
// unless RotateID asks.
func (r *rotation) renew(j *judged, now time.Time) {
	rec, limit := &j.rec, r.m.policy.capFrom(now)
	rec.TTL = cmp.Or(r.life, rec.TTL)
	rec.CapEdited = rec.CapEdited && (r.text != nil || r.life != 0)
	if rec.Parent != (ID{}) || rec.CapEdited {
		limit = earlierCap(limit, rec.MaxExpiresAt)
	}
	rec.RotatedAt, rec.MaxExpiresAt = now, limit
	rec.ExpiresAt = capped(latest(rec.ExpiresAt, steady.Add(now, rec.TTL)), limit)
}
