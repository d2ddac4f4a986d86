package lapse

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Refresh replaces both secrets of a session in one transaction, which is durable before Refresh
// returns. The session lives for its TTL from now, never past its cap. It keeps its ID, its
// place in MaxTokens, its connections and its delegates.
//
// scope narrows the scope of the new access text to words of the session's scope, which does not
// change; each argument may hold several words. No argument, or empty ones, means the whole
// scope. The error for a word that the session lacks is ErrScope, and nothing is replaced.
//
// A replaced text gives the same answer again within the grace (PairConfig.Grace), until the new
// refresh text has been presented. The error is ErrScope if the scope differs from that of the
// first time. After that a client cannot be told from a thief: the session ends with EndReused,
// its delegates end with EndParent, and the error is ErrReused.
//
// Errors that wrap ErrUnauthenticated carry a *Rejection: ErrMalformed; ErrUnknown, which
// changes nothing; ErrExpired and ErrRevoked of a dead session; ErrSuspended; ErrReused;
// ErrRefused. Admit is not asked about reuse. ErrNotRenewable means that the session has had as
// many secrets as a session can have. Any other error is the store's, the context's or Admit's.
// Then nothing has happened, except that after ErrOutcomeUnknown the secrets may have been
// replaced: call Refresh again with the same text while the grace lasts.
func (p *Pairs) Refresh(ctx context.Context, refreshToken string, scope ...string) (c TokenPair, err error) {
	m := p.refresh
	verb := m.begin(VerbRefresh, &err)
	defer m.finish(ctx, &verb, &err)
	return p.refreshText(ctx, &verb, refreshToken, scope)
}

// refreshText is Refresh, and does not count verb.
func (p *Pairs) refreshText(ctx context.Context, verb *call, refreshToken string, scope []string) (c TokenPair, err error) {
	m := p.refresh
	if m.byID != nil && m.admission == nil {
		if c, err = p.refreshAtOnce(ctx, verb, refreshToken, scope); !unproven(err) {
			return c, err
		}
	}
	var rec storage.Record
	var h hashedText
	text, found, now, err := m.proveInto(ctx, verb, refreshToken, &h, &rec)
	if err != nil {
		return TokenPair{}, err
	}
	if found != spentText {
		if _, err := m.requireLive(ctx, verb, &text, &rec, found, now); err != nil {
			return TokenPair{}, err
		}
	} else if !m.sessionLives(&rec, now) { // an end is final: there is nothing to write
		tok := m.token(&rec)
		return TokenPair{}, m.refuse(ctx, verb, reused(&tok, &text))
	}
	r := refreshing{p: p, text: text.keep(), asked: scope, spent: found == spentText, actor: actorOf(ctx)}
	return r.answer(ctx, verb, func() error { return m.update(ctx, verb, rec.Subject, r.apply) })
}

// refreshAtOnce is refreshText for a text that is good: its transaction proves the text. For any other
// text unproven reports true of the error, and nothing has happened.
func (p *Pairs) refreshAtOnce(ctx context.Context, verb *call, refreshToken string, scope []string) (c TokenPair, err error) {
	m := p.refresh
	var h hashedText
	if err := m.parse(ctx, verb, refreshToken, &h); err != nil {
		return TokenPair{}, err
	}
	text := h.presented()
	if text.prefix != m.prefix {
		return TokenPair{}, errUnproven
	}
	r := refreshing{p: p, text: text.keep(), asked: scope, actor: actorOf(ctx), alone: true}
	return r.answer(ctx, verb, func() error {
		return m.updateByID(ctx, verb, text.cred.ID(), m.ifProven(ctx, r.text, r.apply))
	})
}

// reused returns the refusal of a spent text of the session tok, which is dead.
func reused(tok *Token, p *presented) *Rejection {
	return &Rejection{
		Err: ErrReused, ID: tok.ID, Subject: tok.Subject, Generation: p.cred.Generation(),
		At: deadFrom(tok), Reason: tok.EndReason, EndedBy: tok.EndedBy, EndNote: tok.EndNote,
	}
}

// refreshing is one Refresh. Its transaction may run more than once, and sets the results each
// time.
type refreshing struct {
	p     *Pairs
	text  *presented
	asked []string // the words to which the scope is narrowed
	spent bool     // text was found to be spent before the transaction
	actor Actor    // of the context of Refresh
	alone bool     // nothing was read before the transaction
	salt  [bearer.SaltLen]byte

	// The results of the transaction.
	judged
	scope           string // of the new access text
	access, refresh bearer.Credential
	now             time.Time
	ended           []Token
}

// answer runs the transaction, tells Observe, and returns what Refresh returns.
func (r *refreshing) answer(ctx context.Context, verb *call, update func() error) (TokenPair, error) {
	p, m := r.p, r.p.refresh
	if err := bearer.Draw(r.salt[:]); err != nil {
		return TokenPair{}, err
	}
	if err := update(); err != nil {
		if r.alone && unproven(err) {
			return TokenPair{}, err
		}
		return TokenPair{}, m.verdict(ctx, verb, r.text.cred.ID(), err)
	}
	m.tellEnded(ctx, verb, r.ended)
	if r.stands == spentText {
		return TokenPair{}, m.refuse(ctx, verb, reused(&r.tok, r.text))
	}
	if err := m.refuseOvertaken(ctx, verb, &r.rec.Token, r.rec.Epoch, r.text.generation); err != nil {
		return TokenPair{}, err
	}
	if r.stands == currentText && m.observe != nil { // an Event is large
		m.tell(ctx, verb, Event{Kind: EventRotated, At: r.now, Token: m.token(&r.rec)})
	}
	c := p.pair(&r.rec, &r.access, &r.refresh, r.now)
	if c.Repeated = r.stands == previousText; c.Repeated {
		m.repeated(ctx, verb, r.now, &c.Refresh.Token)
	}
	return c, nil
}

// apply is the transaction. Of many callers that present the same text, the first has both
// secrets replaced, and the others are given that answer again.
func (r *refreshing) apply(tx storage.Tx, now time.Time) (err error) {
	r.now, r.ended = now, nil
	r.judged, err = r.p.refresh.proveLiveIn(tx, r.text, now)
	kept, _ := sessionOf(&r.rec)
	switch {
	case r.spent && r.stands >= spentText, r.stands == spentText:
		r.stands = spentText // also where the clock has gone back since, and the text is in its grace again: Admit was not asked
		return r.reuse(tx)
	case err != nil:
		return err
	case r.stands == previousText:
		return r.giveAgain(kept)
	}
	if r.scope, err = narrowScope(&r.tok, r.asked); err != nil {
		return decide(err)
	}
	return r.replace(tx, kept)
}

// sessionLives reports whether the session of rec is alive at now by its record. It applies no
// policy, because another policy may accept the session.
func (m *Manager) sessionLives(rec *storage.Record, now time.Time) bool {
	seen := *rec
	m.showClockEnd(&seen)
	return seen.Live(now)
}

// reuse ends the session and its delegates, unless it is dead.
func (r *refreshing) reuse(tx storage.Tx) (err error) {
	m := r.p.refresh
	if r.tok = m.token(&r.rec); !m.sessionLives(&r.rec, r.now) {
		return nil
	}
	if r.ended, err = m.endWithDelegates(tx, r.rec.ID, ending{r.now, EndReused, r.actor}); err == nil {
		r.tok = r.ended[0]
	}
	return err
}

// makeSecrets sets both secrets of a generation. They derive from the text and salt.
func (r *refreshing) makeSecrets(key bearer.TagKey, generation uint32, salt []byte) {
	r.access, r.refresh = r.p.derive(r.text.cred, r.text.cred.ID(), key, generation, salt)
}

// derive returns both secrets of a generation of the session of id, whose tags have key. They derive
// from the secret of from and salt.
func (p *Pairs) derive(from *bearer.Credential, id ID, key bearer.TagKey, generation uint32, salt []byte) (access, refresh bearer.Credential) {
	for _, part := range []struct {
		cred    *bearer.Credential
		binding bearer.Binding
		kind    bearer.Kind
	}{
		{&access, p.access.binding, bearer.AccessSecret},
		{&refresh, p.refresh.binding, bearer.RefreshSecret},
	} {
		random := from.Successor(part.binding, part.kind, generation, salt)
		copy(part.cred[:], id[:])
		part.cred.SetTagged(&key, part.binding, part.kind, generation, random[:])
	}
	return access, refresh
}

// giveAgain sets both current secrets again, for a caller that has the previous text. Words that an
// Edit has taken from the session since do not count, unless no other is asked for. The error is a
// *ScopeError if another scope is asked for, or errSecrets if the record does not match.
func (r *refreshing) giveAgain(kept session) error {
	first := kept.accessScope()
	scope, err := narrowScope(&r.tok, r.asked)
	if err != nil && scope == "" || !scopeWithin(scope, first) || !scopeWithin(first, scope) {
		return decide(repeatedScope(scope, first))
	}
	r.scope = first
	r.makeSecrets(kept.key(), r.rec.Generation, []byte(kept.salt()))
	sum := r.access.Sum(r.p.access.binding)
	if !r.refresh.Proves(r.p.refresh.binding, &r.rec.Digest) || !isSum(kept.access(), &sum) {
		return errSecrets
	}
	return nil
}

// replace stores the session, which is alive, with new secrets and a new life from now.
func (r *refreshing) replace(tx storage.Tx, kept session) error {
	rec, p, now := &r.rec, r.p, r.now
	if rec.Generation == math.MaxUint32 {
		return errGenerations
	}
	r.makeSecrets(kept.key(), rec.Generation+1, r.salt[:])
	rec.MaxExpiresAt = r.tok.MaxExpiresAt // never after that of the policy, which r.tok has been given
	rec.ExpiresAt = capped(latest(r.tok.ExpiresAt, steady.Add(now, rec.TTL)), rec.MaxExpiresAt)
	next := sessionParts{
		refreshPrefix: p.refresh.prefix,
		accessScope:   r.scope,
		key:           kept.key(),
		accessExpires: capped(steady.Add(now, kept.accessTTL()), rec.ExpiresAt),
		accessTTL:     kept.accessTTL(),
		access:        r.access.Sum(p.access.binding),
	}
	rec.PreviousUntil = time.Time{}
	if p.grace > 0 {
		r.keepPrevious(kept, &next)
	}
	rec.Generation, rec.RotatedAt = rec.Generation+1, now
	rec.Digest, rec.Sealed = r.refresh.Digest(p.refresh.binding), next.seal()
	return putIn(tx, rec)
}

// keepPrevious sets in the record and in next that the current texts go on working for the grace, as
// the previous ones. The grace is no longer than an access secret lives, so that a retry is not given
// an access text that has expired.
func (r *refreshing) keepPrevious(kept session, next *sessionParts) {
	rec := &r.rec
	rec.PreviousUntil = steady.Add(r.now, min(r.p.grace, kept.accessTTL()))
	sum := rec.Digest.Sum()
	next.previousRefresh, next.salt = string(sum[:]), r.salt[:]
	if scopeWithin(r.scope, kept.accessScope()) {
		next.previousAccess = kept.access()
		next.previousUntil = capped(rec.PreviousUntil, kept.accessExpires())
	}
}

// scopeWithin reports whether every word of scope is in other.
func scopeWithin(scope, other string) bool {
	if scope == other || scope == "" {
		return true
	}
	for word := range strings.SplitSeq(scope, " ") {
		if !hasWord(other, word) {
			return false
		}
	}
	return true
}

// commonWords returns scope without the words that are not in other.
func commonWords(scope, other string) string {
	if scopeWithin(scope, other) {
		return scope
	}
	return strings.Join(slices.DeleteFunc(words(scope), func(w string) bool { return !hasWord(other, w) }), " ")
}

// missingWords returns the words of scope that are not in other.
func missingWords(other, scope string) []string {
	return slices.DeleteFunc(words(scope), func(w string) bool { return hasWord(other, w) })
}

// hasWord reports whether word is a word of scope.
func hasWord(scope, word string) bool {
	for w := range strings.SplitSeq(scope, " ") {
		if w == word {
			return true
		}
	}
	return false
}
