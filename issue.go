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

// Issue stores a new token for g and returns the token with its bearer text. The token is
// durable before Issue returns. Where the subject has as many live tokens as Policy.MaxTokens
// allows, Policy.AtLimit decides in the same transaction what happens. The cost of Issue grows
// with the live records of the subject, unless MaxTokens is NoTokenLimit.
//
// With Grant.RequestID the same grant under the same RequestID gives the same token for 24 hours,
// with Issued.Existing, and with Config.Keys the same Bearer. Bearer is empty without Keys, after a
// rotation, and once the key is retired. Another grant under the RequestID is ErrInvalidGrant. If
// the token is dead, suspended or without uses left, the error is a *Rejection, after a Sweep
// ErrUnknown. A RequestID counts within its prefix and subject.
//
// ErrInvalidGrant names the field and its limit. ErrLimit means that the subject has as many
// tokens as it may. Neither has changed anything. Of the errors of the store,
// ErrOutcomeUnknown means that a token may exist until it runs out. With a RequestID call Issue
// again, and without one the text is lost.
func (m *Manager) Issue(ctx context.Context, g Grant) (i Issued, err error) {
	verb := m.begin(VerbIssue, &err)
	defer m.finish(ctx, &verb, &err)
	if err := g.check(&m.policy); err != nil {
		return i, err
	}
	err = m.issue(ctx, &verb, &g, &i)
	return i, err
}

// issue is Issue for a Grant that has been checked. It sets *i.
//
// A draft is large, so each is used again: without the pool BenchmarkIssue takes 49 percent
// longer. A draft that failed is not used again, because the store may still refer to it.
func (m *Manager) issue(ctx context.Context, verb *call, g *Grant, i *Issued) error {
	if g.RequestID != "" {
		return m.issueRequested(ctx, verb, g, i)
	}
	d, _ := m.drafts.Get().(*draft)
	if d == nil {
		d = new(draft)
		d.stores = d.store
	}
	d.m, d.grant = m, *g
	if err := d.transact(ctx, verb, d.stores); err != nil {
		return err
	}
	d.report(ctx, verb, i)
	*d = draft{stores: d.stores} // no secret stays in the pool
	m.drafts.Put(d)
	return nil
}

// requestLife is how long a Grant.RequestID gives its token again.
const requestLife = 24 * time.Hour

// issueRequested is issue for a Grant with a RequestID.
func (m *Manager) issueRequested(ctx context.Context, verb *call, g *Grant, i *Issued) error {
	a := aliased{draft: draft{m: m, grant: *g}, id: bearer.RequestAlias(m.prefix, g.Subject, g.RequestID), madeFor: g.hash()}
	a.errOther = invalidGrant("RequestID", "another grant was issued under it in the last %v; draw one for each request", requestLife)
	if len(m.keys) > 0 {
		a.draft.key = m.keys[0]
	}
	err := a.draft.transact(ctx, verb, a.findOrPut(a.judgeRequested, a.putRequested))
	switch {
	case err != nil:
		return m.verdict(ctx, verb, ID{}, err)
	case !a.existing:
		a.draft.report(ctx, verb, i)
		return nil
	}
	i.Token, i.Existing = m.token(&a.rec), true
	var c bearer.Credential
	if m.deriveRequested(&a.rec, &c) {
		i.Bearer = c.Text(m.prefix)
	}
	m.repeated(ctx, verb, a.draft.now, &i.Token)
	return nil
}

// judgeRequested returns the refusal of a token that was issued for the same request, and is dead
// at now, suspended, or has no uses left.
func (a *aliased) judgeRequested(now time.Time) error {
	if a.rec.ID == (ID{}) {
		return &Rejection{Err: ErrUnknown}
	}
	tok := a.draft.m.token(&a.rec)
	if err := unusable(&tok, tok.Generation, now); err != nil {
		return err
	}
	return outOfUses(&tok, tok.Generation)
}

// putRequested puts the token, and an alias that gives it again for requestLife.
func (a *aliased) putRequested(tx storage.Tx) error {
	if err := a.draft.put(tx); err != nil {
		return err
	}
	return a.putAlias(tx, steady.Add(a.draft.now, requestLife))
}

// deriveRequested sets c to the first text of rec, and reports whether one of Config.Keys derives
// it and the secret has not been replaced.
func (m *Manager) deriveRequested(rec *storage.Record, c *bearer.Credential) bool {
	salt, ok := saltBehind(requestedLabel, rec)
	copy(c[:], rec.ID[:])
	for _, k := range m.keys {
		if *c.Secret() = k.Requested(rec.ID, m.binding, salt); ok && c.Proves(m.binding, &rec.Digest) {
			return true
		}
	}
	return false
}

// issue is transact with store.
func (d *draft) issue(ctx context.Context, verb *call) error { return d.transact(ctx, verb, d.store) }

// transact draws the TTL and runs attempt with fn, a transaction of the subject: again if a new epoch
// begins meanwhile.
func (d *draft) transact(ctx context.Context, verb *call, fn func(storage.Tx) error) error {
	if err := d.grant.drawTTL(&d.m.policy); err != nil {
		return err
	}
	d.actor = actorOf(ctx)
	return d.m.retryOnNewEpoch(ctx, verb, &d.evicted, func() (uint32, error) {
		err := d.attempt(ctx, verb, fn)
		return d.epoch, err
	})
}

// attempt draws a credential by mint and runs fn. If the ID is taken, attempt does both again.
func (d *draft) attempt(ctx context.Context, verb *call, fn func(storage.Tx) error) (err error) {
	for range mintAttempts {
		if err = d.mint(d.m.now(), d.grant.Subject); err != nil {
			return err
		}
		err = updateError(verb.Verb, d.m.store.Update(ctx, d.grant.Subject, fn))
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrOutcomeUnknown) {
			break
		}
	}
	return err
}

// mint draws the ID and the secret of a token that is issued at now.
func (d *draft) mint(now time.Time, subject string) error {
	if err := d.cred.Mint(now, subject); err != nil {
		return err
	}
	if d.key != nil {
		label, derive := obtainedLabel, d.key.First
		if d.grant.RequestID != "" {
			label, derive = requestedLabel, d.key.Requested
		}
		d.sealed = derivedSecret(&d.cred, label, derive, d.m.binding)
	}
	d.digest = d.cred.Digest(d.m.binding) // here and not in the transaction, which other callers wait for
	return nil
}

// mintAttempts is how many IDs Issue draws before it returns ErrConflict. One collision of
// random IDs is all but impossible. Two mean that the random source is broken.
const mintAttempts = 3

// draft is a token between Issue and its transaction. Its secret is drawn before the
// transaction, which may run more than once.
type draft struct {
	m       *Manager
	stores  func(storage.Tx) error // the method store, as a value that is allocated once for all uses of the draft
	grant   Grant
	key     bearer.Key // the secret is derived with it; nil: the secret is random
	cred    bearer.Credential
	digest  storage.Digest // of cred
	sealed  storage.Sealed // what the secret is derived from
	now     time.Time      // of the transaction
	epoch   uint32         // of now
	actor   Actor          // of the context of the verb
	rec     storage.Record
	evicted []Token

	link    func(tx storage.Tx, d *draft) error // sets parent and family of rec and ends its life with the parent; nil: no delegate
	above   *ancestry                           // the tokens above a delegate, set by link
	reduced []string                            // the fields of the Grant that those above made smaller
}

// store is the transaction.
func (d *draft) store(tx storage.Tx) error {
	d.now, d.epoch = d.m.stamp()
	return d.m.checkEpoch(d.epoch, d.put(tx))
}

// put puts the new record, after it has made room under the limit.
func (d *draft) put(tx storage.Tx) error {
	d.evicted, d.above, d.reduced = nil, nil, nil
	d.grant.record(&d.rec, &d.m.policy, d.m.prefix, d.now)
	d.rec.ID, d.rec.Digest, d.rec.Sealed = d.cred.ID(), d.digest, d.sealed
	d.rec.Epoch = d.epoch
	if f, ok := tx.(storage.Fitter); ok && d.link == nil && f.PutIfFits(&d.rec, d.m.policy.MaxTokens-1, d.now) {
		return nil
	}
	if _, err := getIn(tx, d.rec.ID); err == nil {
		return errTakenID
	} else if err != errGone {
		return err
	}
	if err := d.takePlace(tx); err != nil {
		return err
	}
	return putIn(tx, &d.rec)
}

// takePlace links a delegate to its parent, and makes room for any other token.
func (d *draft) takePlace(tx storage.Tx) error {
	if d.link != nil {
		return d.link(tx, d)
	}
	limit := tokenLimit{m: d.m, policy: &d.m.policy, kind: KindPlain, prefix: d.m.prefix, actor: d.actor}
	if err := limit.makeRoom(tx, d.now); err != nil {
		return err
	}
	d.evicted = limit.evicted
	return nil
}

var errTakenID = fmt.Errorf("%w: the random source repeats itself", ErrConflict)

// issued reports a draft that is stored, and returns what Issue returns for it.
func (d *draft) issued(ctx context.Context, verb *call) (i Issued) {
	d.report(ctx, verb, &i)
	return i
}

// report sets *i to what Issue returns, and tells Observe of the token and of those it evicted.
func (d *draft) report(ctx context.Context, verb *call, i *Issued) {
	d.answer(i)
	d.m.tellEnded(ctx, verb, d.evicted)
	if d.m.observe != nil { // an Event is large: none is made for no Observe
		d.m.tell(ctx, verb, Event{Kind: EventIssued, At: i.IssuedAt, Token: i.Token})
	}
}

// answer sets *i to the token of a draft that is stored.
func (d *draft) answer(i *Issued) {
	d.m.tokenInto(&d.rec, &i.Token)
	i.Bearer, i.Reduced = d.cred.Text(d.m.prefix), d.reduced
	d.above.clamp(&i.Token)
	for _, tok := range d.evicted {
		i.Evicted = append(i.Evicted, tok.ID)
	}
}
