package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Changes says what Edit changes of a token. A nil field changes nothing. The limits are those of
// the same field of Grant, and these:
//   - Scope of a session is the session scope. The words that it loses go from the access text in
//     the same transaction. A word that it gains is in the access text after the next refresh.
//     Scope of a delegate has words of the tokens above it only.
//   - ExpiresAt is after now: use Expire to end a token. It is not after Token.MaxExpiresAt. For a
//     delegate it is not after the expiry of a token above it either. It is rounded down to whole
//     milliseconds. An expiry earlier than the present one becomes the cap as well: no use, no later
//     Edit and no Renew, Refresh, Rotate or Obtain makes the token live longer. RotateID begins a
//     new cap, but not of a delegate, and refuses a session: nothing makes those live longer.
//   - MaxUses is more than the uses that are spent, which stay spent. 0 lifts the budget, and the
//     UseGrace with it. A budget set after that counts from then. A session, and a token that has
//     live delegates, can have no budget.
type Changes struct {
	Name      *string
	Scope     *string
	Data      *string
	ExpiresAt *time.Time
	MaxUses   *int
}

// checkFields returns ErrInvalidGrant unless every field that is judged without the token is within
// its limits.
func (c *Changes) checkFields() error {
	var g Grant
	assign(&g.Name, c.Name)
	assign(&g.Scope, c.Scope)
	assign(&g.Data, c.Data)
	assign(&g.MaxUses, c.MaxUses)
	return g.checkContent()
}

// assign sets *field to *value, unless value is nil.
func assign[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// Edit makes changes to the token or session of id, of any prefix, and returns the token as it is
// then. All changes are made in one transaction, or none, and are durable before Edit returns. Observe
// is told EventEdited, with the token before and after. If nothing changes, nothing is written and
// Observe is not told. Admit is not asked. A suspended token is changed, and stays suspended.
//
// An earlier expiry moves the end of held connections, as an end of the token would cut them (Hold).
// The other changes are seen by the next Hold.Use. If the Managers share a store in this process, as
// they do with bolt and memory, that is each Use that is called after Edit has returned; otherwise it
// is one within Config.PollHolds. A delegate is seen without the words that the token has lost, and
// with them again once a later Edit of the token has added them.
//
// A token whose Name, Scope, Data or MaxUses has changed is no longer like the grant that Obtain
// made it for. A Refresh that is repeated within the grace, and asks for the whole scope, is
// ErrScope if the session scope has gained a word since.
//
// The error is ErrNotFound if there is no such token; ErrExpired, ErrRevoked or ErrExhausted, with a
// *Rejection, for one that is dead or has no uses left, which no Edit revives; ErrInvalidGrant, with
// a *GrantError, for a field out of its limits; or the store's. After ErrOutcomeUnknown call Edit
// again. After a *Rejection the changes may be stored, on a token that is dead. With any other error
// nothing was written.
func (m *Manager) Edit(ctx context.Context, id ID, changes Changes) (tok Token, err error) {
	verb := m.begin(VerbEdit, &err)
	defer m.finish(ctx, &verb, &err)
	if err := changes.checkFields(); err != nil {
		return Token{}, err
	}
	e := editing{m: m, id: id, Changes: changes}
	err = m.updateOfID(ctx, &verb, id, e.editIn)
	if err == nil {
		m.marks.Edited(id) // also where nothing has changed: the Edit that did may not have returned yet
		err = m.overtaken(&e.token, e.epoch, e.token.Generation)
	}
	if err != nil {
		return Token{}, err
	}
	if e.changed {
		m.tell(ctx, &verb, Event{Kind: EventEdited, At: e.at, Token: e.token, Before: &e.before})
	}
	return e.token, nil
}

// editing is one Edit. Its transaction may run more than once, and sets the results each time.
type editing struct {
	m  *Manager
	id ID
	Changes

	// The results of the transaction.
	at      time.Time
	before  Token  // as callers saw it before
	token   Token  // as callers see it
	epoch   uint32 // of the record
	changed bool   // the record was put
}

// editIn is the transaction.
func (e *editing) editIn(tx storage.Tx, now time.Time) (err error) {
	var j judged
	if j.rec, err = getIn(tx, e.id); err != nil {
		return err
	}
	j.tok = e.m.token(&j.rec)
	if err := e.m.requireAliveIn(tx, &j, now); err != nil {
		return err
	}
	was := j.rec
	if err := e.change(tx, &j, now); err != nil {
		return err
	}
	e.at, e.before, e.token, e.epoch = now, j.tok, e.m.token(&j.rec), j.rec.Epoch
	j.above.clamp(&e.token)
	e.changed = !j.rec.Equal(was)
	if !e.changed {
		return nil
	}
	return putIn(tx, &j.rec)
}

// change makes the changes to j.rec.
func (e *editing) change(tx storage.Tx, j *judged, now time.Time) error {
	assign(&j.rec.Name, e.Name)
	assign(&j.rec.Data, e.Data)
	if e.Scope != nil {
		if err := j.editScope(*e.Scope); err != nil {
			return err
		}
	}
	if e.ExpiresAt != nil {
		if err := j.editExpiry(*e.ExpiresAt, now); err != nil {
			return err
		}
	}
	if e.MaxUses != nil {
		return e.m.editUses(tx, j, *e.MaxUses, now)
	}
	return nil
}

// editScope sets the scope, and takes the words that a session loses from its access text.
func (j *judged) editScope(scope string) error {
	if j.above.within(scope) != scope {
		return decide(invalidGrant("Scope", "a token above this delegate lacks a word of it; edit that token first"))
	}
	rec := &j.rec
	rec.Scope = scope
	if rec.Kind != KindSession {
		return nil
	}
	kept, ok := sessionOf(rec)
	if !ok {
		return errSecrets
	}
	if left := commonWords(kept.accessScope(), scope); left != kept.accessScope() {
		rec.Sealed = kept.withAccessScope(left)
	}
	return nil
}

// editExpiry sets the expiry to at, and the cap as well if that is earlier than the expiry.
func (j *judged) editExpiry(at, now time.Time) error {
	rec, limit := &j.rec, earlierCap(j.tok.MaxExpiresAt, time.UnixMilli(steady.LastInstant).UTC())
	if j.above != nil {
		limit = earlierCap(limit, j.above.until)
	}
	at = at.Truncate(time.Millisecond)
	switch {
	case !at.After(now):
		return decide(invalidGrant("ExpiresAt", "it is not after now; use Expire to end the token"))
	case at.After(limit):
		return decide(invalidGrant("ExpiresAt", "it is after %v, which the token cannot outlive", limit.Format(time.RFC3339Nano)))
	}
	at = steady.Normalise(at)
	if at.Before(rec.ExpiresAt) {
		rec.MaxExpiresAt, rec.CapEdited = at, true
	}
	rec.ExpiresAt = at
	return nil
}

// editUses sets how many uses the token has in all. The uses that are spent stay spent.
func (m *Manager) editUses(tx storage.Tx, j *judged, most int, now time.Time) error {
	rec := &j.rec
	used := rec.MaxUses - rec.UsesLeft
	switch {
	case most == rec.MaxUses:
		return nil
	case rec.Kind == KindSession:
		return decide(invalidGrant("MaxUses", "%d; a session has no budget of uses", most))
	case most == 0:
		rec.MaxUses, rec.UsesLeft, rec.UseGrace = 0, 0, 0
		return nil
	case most <= used:
		return decide(invalidGrant("MaxUses", "%d; %d uses are spent already", most, used))
	}
	if rec.Family != (ID{}) {
		n, err := m.liveDelegates(tx, rec.ID, now)
		if err != nil {
			return err
		}
		if n > 0 {
			return decide(invalidGrant("MaxUses", "%d; a token with a budget has no delegates, and this one has %d", most, n))
		}
	}
	rec.MaxUses, rec.UsesLeft = most, most-used
	return nil
}
