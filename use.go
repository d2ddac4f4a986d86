package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// spend takes one use off the budget of the token whose text is p, durably and in one
// transaction, and renews the token if the policy says so: of several callers for one last use,
// one succeeds. The last use renews nothing and ends the token. While this Manager holds
// connections by the token, it ends later, with the last of them. The previous text of a rotated
// token spends a use and renews nothing.
func (m *Manager) spend(ctx context.Context, verb *call, p *presented, subject string, use usage) (Token, error) {
	s := spending{m: m, text: p.keep(), use: use, actor: actorOf(ctx)}
	err := m.update(ctx, verb, subject, s.inTx)
	if err == nil {
		err = m.overtaken(&s.token, s.epoch, s.text.generation)
	}
	switch {
	case err != nil:
		if (use == useHeld || s.later) && errors.Is(err, ErrOutcomeUnknown) { // it may have been the last use
			m.holds.EndLater(s.text.cred.ID(), subject)
		}
		return Token{}, m.verdict(ctx, verb, p.cred.ID(), err)
	case s.later && !m.holds.EndLater(s.token.ID, subject):
		m.exhaust(s.token.ID, subject)
	case s.token.Repeated():
		m.repeated(ctx, verb, s.at, &s.token)
	case s.renewed:
		m.renewed(ctx, verb, s.at, &s.before, &s.token)
	case !s.token.EndedAt.IsZero():
		m.tellEnded(ctx, verb, []Token{s.token})
	}
	return s.token, nil
}

// spending is one use of a budget. Its transaction may run more than once, and sets the results
// each time.
type spending struct {
	m     *Manager
	text  *presented
	use   usage
	actor Actor // of the context of the verb

	// The results of the transaction.
	token   Token
	before  Token  // as it was before the use
	epoch   uint32 // of the record
	at      time.Time
	renewed bool
	later   bool // the token ends with the last of its connections
}

// inTx is the transaction. A caller that finds the last use spent by another caller gets a repetition
// of that use, if repeatable says so.
func (s *spending) inTx(tx storage.Tx, now time.Time) error {
	m := s.m
	s.renewed, s.later = false, false
	j, err := m.proveLiveIn(tx, s.text, now)
	if err != nil && unusable(&j.tok, 0, now) == nil && j.tok.UsesLeft <= 0 && repeatable(&j.rec, s.use) {
		s.at, s.token, s.epoch = now, j.tok, j.rec.Epoch
		s.token.UsesLeft = -1
		return nil
	}
	if err == nil && j.stands == currentText {
		_, err = useSecret(&j.rec)
	}
	if err != nil {
		return err
	}
	held := m.holds.Holding(j.rec.ID)
	m.policy.spend(&j, now, s.use, held)
	if rec := &j.rec; !rec.EndedAt.IsZero() {
		ending{rec.EndedAt, rec.EndReason, s.actor}.endRecord(rec)
	}
	s.later = held && j.rec.UseGrace == 0 && spentByHold(&j.rec.Token)
	s.at, s.before, s.token, s.epoch = now, j.tok, m.token(&j.rec), j.rec.Epoch
	j.above.clamp(&s.token)
	s.renewed = s.token.EndedAt.IsZero() && s.token.ExpiresAt.After(j.tok.ExpiresAt)
	return putIn(tx, &j.rec)
}

// repeatable reports whether use may be a repetition of the last use of rec, which is alive and
// has no uses left. With a UseGrace, rec is alive until that has passed since its last use.
func repeatable(rec *storage.Record, use usage) bool { return rec.UseGrace > 0 && use != useHeld }

// repeat answers c, a text of rec, which is alive and has no uses left. It sets tok to the
// repetition of the last use, or refuses c if use may be none. generation is that of c.
func (m *Manager) repeat(ctx context.Context, verb *call, c *bearer.Credential, rec *storage.Record, generation uint32, use usage, tok *Token) error {
	if !repeatable(rec, use) {
		payTag(c, m.binding)
		return m.refuse(ctx, verb, exhausted(&rec.Token, generation))
	}
	*tok = rec.Token
	tok.UsesLeft = -1
	if use != useNone {
		m.repeated(ctx, verb, m.now(), tok)
	}
	return nil
}

// spend records in j a use at now: one use less, unless Edit has lifted the budget. A use by the
// current text also records all that a use without a budget records. The last use ends the token at
// once, or after its UseGrace. If held says that connections are held by the token, the last use
// leaves its end to them.
func (p *Policy) spend(j *judged, now time.Time, use usage, held bool) {
	rec := &j.rec
	if rec.MaxUses != 0 {
		rec.UsesLeft--
	}
	if j.stands == currentText {
		raise, _ := p.use(&j.tok, rec.TTL, now)
		if spent(rec) {
			raise.ExpiresAt = time.Time{}
		}
		raise.Raise(rec)
	}
	switch {
	case !spent(rec):
	case use == useHeld:
		rec.UseGrace = 0
	case rec.UseGrace > 0:
		rec.ExpiresAt = capped(rec.ExpiresAt, steady.Add(now, rec.UseGrace))
		rec.MaxExpiresAt = rec.ExpiresAt
	case !held:
		rec.EndedAt, rec.EndReason = now, EndExhausted
	}
}

// exhaust ends the token of id, whose last use was spent while connections were held by it. It
// is called when the last of them is released. An error changes nothing for a caller, because
// every text of the token is refused already.
func (m *Manager) exhaust(id ID, subject string) {
	defer func() { _ = recover() }() // a store that panics would end the process here
	var tokens []Token
	err := m.store.Update(context.Background(), subject, func(tx storage.Tx) error {
		tokens = nil
		now := m.now() // whatever the epoch: the use is spent
		rec, err := getIn(tx, id)
		if err == nil && spent(&rec) {
			_, tokens, err = m.endIfLive(tx, &rec, ending{at: now, why: EndExhausted})
		}
		return err
	})
	if err != nil {
		return
	}
	for _, tok := range tokens {
		m.tellApart(VerbHold, Event{Kind: EventEnded, At: tok.EndedAt, Token: tok})
	}
}

// exhausted returns the refusal of tok, which has no uses left, to a secret of generation.
func exhausted(tok *Token, generation uint32) *Rejection {
	return &Rejection{Err: ErrExhausted, ID: tok.ID, Subject: tok.Subject, Generation: generation}
}

// recordUse records that the current secret of rec, which p presents, was used at now. It returns
// a refusal of p if a new epoch has begun since p was found good.
func (m *Manager) recordUse(ctx context.Context, verb *call, p *presented, rec *storage.Record, now time.Time, above *ancestry) error {
	switch {
	case rec.Generation != 0 && unusedSecret(rec):
		kept := p.keep()
		m.firstUse(ctx, verb, &rec.Token, func(tx storage.Tx, now time.Time) (judged, error) {
			return m.proveLiveIn(tx, kept, now)
		})
	case m.policy.due(&rec.Token, now):
		m.touch(ctx, verb, &rec.Token, rec.TTL, now, above)
	}
	return m.refuseOvertaken(ctx, verb, &rec.Token, rec.Epoch, p.generation)
}

// firstUse records the first use of the current secret of tok, so that no rotation gives that
// secret again. In the transaction judge finds what the secret that is used is to the record by
// then. If the record cannot be stored, the use is good all the same and Observe is told.
func (m *Manager) firstUse(ctx context.Context, verb *call, tok *Token, judge func(storage.Tx, time.Time) (judged, error)) {
	var at time.Time
	var before, used Token
	var renewed bool
	err := m.update(ctx, verb, tok.Subject, func(tx storage.Tx, now time.Time) error {
		j, err := judge(tx, now)
		if err != nil || j.stands != currentText {
			return err
		}
		at, before = now, j.tok
		used, renewed, err = m.firstUseIn(tx, &j, now)
		return err
	})
	switch {
	case errors.Is(err, ErrUnauthenticated): // ended or replaced since it was found good
	case err != nil:
		m.tell(ctx, verb, Event{Kind: EventRenewalFailed, At: m.now(), Token: *tok, Err: err})
	case used.ID != (ID{}):
		*tok = used
		if renewed {
			m.renewed(ctx, verb, at, &before, &used)
		}
	}
}

// firstUseIn is the part of firstUse in its transaction, for a secret that is current by j. It returns
// the token as callers see it then, and whether the use renewed the token.
func (m *Manager) firstUseIn(tx storage.Tx, j *judged, now time.Time) (used Token, renewed bool, err error) {
	if changed, err := useSecret(&j.rec); err != nil || !changed {
		return j.tok, false, err
	}
	use, _ := m.policy.use(&j.tok, j.rec.TTL, now)
	use.Raise(&j.rec)
	used = m.token(&j.rec)
	j.above.clamp(&used)
	return used, used.ExpiresAt.After(j.tok.ExpiresAt), putIn(tx, &j.rec)
}

// touch records, without a transaction, that tok was used at now, and sets tok to what callers
// then see. It does nothing if the use raises neither the last use nor the expiry. If the record
// cannot be stored, the use is good all the same and Observe is told.
func (m *Manager) touch(ctx context.Context, verb *call, tok *Token, ttl time.Duration, now time.Time, above *ancestry) {
	expires, raises := m.policy.dueUse(tok, ttl, now)
	if !raises || m.admission != nil && !tok.Live(m.now()) { // the token died while Admit was asked
		return
	}
	if err := m.store.Touch(ctx, tok.ID, storage.Use{At: now, ExpiresAt: expires}); err != nil {
		m.tell(ctx, verb, Event{Kind: EventRenewalFailed, At: now, Token: *tok, Err: storeError(verb.Verb, err)})
		return
	}
	before := *tok
	if now.After(tok.LastUsedAt) {
		tok.LastUsedAt = now
	}
	if expires = above.earliest(expires); expires.After(tok.ExpiresAt) {
		tok.ExpiresAt = expires
		m.renewed(ctx, verb, now, &before, tok)
	}
}

// Renew gives the token whose text is bearer its TTL again from now, up to its cap. The renewal
// is durable before Renew returns; if it cannot be stored, Renew fails. It never shortens a
// life. With the previous text of a rotated token it changes nothing and returns the token.
//
// Renew spends no use of a budget. Errors are those of Authenticate, ErrNotRenewable if the
// policy is RenewNever or bearer is an access text of a session, and ErrOutcomeUnknown.
func (m *Manager) Renew(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbRenew, &err)
	defer m.finish(ctx, &verb, &err)
	if m.policy.Renewal == RenewNever {
		return Token{}, ErrNotRenewable
	}
	p, tok, err := m.proveLive(ctx, &verb, bearer)
	switch {
	case err != nil:
		return Token{}, err
	case tok.Kind == KindSession:
		return Token{}, fmt.Errorf("%w: bearer is an access text of a session; Refresh moves its end", ErrNotRenewable)
	case p.stands == previousText:
		return tok, nil
	}
	return m.storeRenewal(ctx, &verb, &p)
}

// storeRenewal renews the token that p proves, if p is still its current text, tells Observe,
// and returns the token.
func (m *Manager) storeRenewal(ctx context.Context, verb *call, p *proved) (tok Token, err error) {
	var at time.Time
	var before Token
	var epoch uint32
	err = m.update(ctx, verb, p.rec.Subject, func(tx storage.Tx, now time.Time) error {
		at = time.Time{}
		j, err := m.proveLiveIn(tx, &p.presented, now)
		if tok, epoch = j.tok, j.rec.Epoch; err != nil || j.stands != currentText {
			return err
		}
		if _, err := useSecret(&j.rec); err != nil {
			return err
		}
		renewal(&tok, j.rec.TTL, now).Raise(&j.rec)
		at, before, tok = now, j.tok, m.token(&j.rec)
		j.above.clamp(&tok)
		return putIn(tx, &j.rec)
	})
	if err == nil {
		err = m.overtaken(&tok, epoch, p.generation)
	}
	if err != nil {
		return Token{}, m.verdict(ctx, verb, p.rec.ID, err)
	}
	if !at.IsZero() {
		m.renewed(ctx, verb, at, &before, &tok)
	}
	return tok, nil
}
