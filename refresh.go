package lapse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Refresh rotates a refresh token: it ends it with EndRotated and stores its one
// successor and a new access token, in one transaction, durable before it returns.
// The successor lives for Refresh.Policy.TTL, never past the cap of the first one. The
// access token from before lives on for the grace at most, without it not at all, and
// so do its delegates; one from before that ends.
//
// scope narrows that of the access token to words of the refresh token's own, which
// stays as it is; each argument may hold several. None, or empty ones, are all of it.
// A word that the refresh token lacks is ErrScope, and nothing is spent.
//
// Within PairConfig.Grace of its first rotation, the instant at its end excluded, and
// until its successor has been refreshed itself, the same token gives the same
// credentials again, whatever part of its scope is asked for: to a client that lost the
// answer, and to each of many that ask at once. That starts no new grace, writes
// nothing and is told to no observer. After that, or where
// there is no grace, somebody has a token that another has used, and it cannot be told
// who is the thief: the whole family, delegates included, ends with EndReused, and
// then the error is ErrReused, of a family that is dead already too. A clock that is
// behind the rotation by the grace or more counts as after it.
//
// Errors that wrap ErrUnauthenticated carry a *Rejection: ErrMalformed; ErrUnknown,
// also for the right ID with a wrong secret, which changes nothing; ErrExpired for a
// token that ran out or was ended for any other reason than its rotation; ErrReused;
// ErrSubjectRefused. CheckSubject is asked after the token is known to be good and
// before anything is written; of reuse it is not asked. ErrLimit means that the
// family has no access token that lives and Access.Policy has no room for one more; it
// has spent nothing, and no limit concerns a rotation otherwise. Any other error is
// the store's, the context's or CheckSubject's. Nothing has happened then, a family
// has not been ended either, unless it is ErrOutcomeUnknown: call Refresh again with
// the same token, while the grace lasts.
//
// So that the same credentials can be given again the old token's record keeps them
// sealed under a key that is derived from its secret, which is stored nowhere. They are
// wiped as the successor is refreshed, or by the first Issue, Refresh or Expire of Pairs
// for that subject after the grace that changes anything; until then, and in the pages
// and backups of a file for longer, the bytes stay.
//
// Its cost grows with the records of the subject, dead ones included until they are
// swept; rotated ones are kept for as long as they would have lived, to be known again.
func (p *Pairs) Refresh(ctx context.Context, refreshToken string, scope ...string) (Credentials, error) {
	m := p.refresh
	rec, err := m.prove(ctx, "refresh", refreshToken)
	if err != nil {
		return Credentials{}, err
	}
	if !p.made(&rec) {
		return Credentials{}, m.refuse(&Rejection{Err: ErrUnknown, ID: rec.ID})
	}
	tok, found := m.token(&rec), p.standing(&rec, m.now())
	if found == over {
		return Credentials{}, m.refuse(expired(&tok))
	}
	narrow := ""
	if found != reused {
		if err := m.permit(ctx, "refresh", tok.ID, tok.Subject); err != nil {
			return Credentials{}, err
		}
		if narrow, err = narrowed(tok, strings.Join(scope, " ")); err != nil {
			return Credentials{}, err
		}
	}
	r := rotation{p: p, old: tok, suspect: found == reused}
	r.cred.parse(refreshToken, m.prefix, m.begun) // as it has been proved
	return r.run(ctx, narrow, rec.TTL)
}

// narrowed returns the words of tok's scope that asked holds, in their order, or all
// of them if asked holds none.
func narrowed(tok Token, asked string) (string, error) {
	want := words(asked)
	switch {
	case len(want) == 0:
		return tok.Scope, nil
	case len(asked) > storage.MaxScope: // which would only be repeated in the error
		return "", fmt.Errorf("%w: %d bytes are asked for; none has more than %d", ErrScope, len(asked), storage.MaxScope)
	}
	has := words(tok.Scope)
	return strings.Join(slices.DeleteFunc(has, func(w string) bool { return !slices.Contains(want, w) }), " "), Require(tok, want...)
}

// standing is what a refresh token is worth.
type standing uint8

const (
	over       standing = iota // ran out, or was ended for another reason than its rotation
	usable                     // to be rotated
	repeatable                 // rotated a moment ago: the same credentials again
	reused                     // rotated, and not to be seen again
)

func (p *Pairs) standing(rec *storage.Record, now time.Time) standing {
	tok := p.refresh.token(rec)
	switch {
	case tok.Live(now):
		return usable
	case rec.EndReason != EndRotated:
		return over
	case rec.Sealed.Len() > 0 && p.within(rec.EndedAt, now):
		return repeatable
	}
	return reused
}

// rotation is one Refresh. What its transaction sets each run sets anew.
type rotation struct {
	p       *Pairs
	cred    credential // of the token presented
	old     Token      // that token, as it was found
	suspect bool       // it was found reused, which it stays whatever the clock says later
	sealed  storage.Sealed

	drafts *pairDrafts
	found  standing    // what the transaction found it worth
	ended  []Token     // what it ended
	again  Credentials // what it found sealed
}

func (r *rotation) run(ctx context.Context, scope string, ttl time.Duration) (Credentials, error) {
	m := r.p.refresh
	r.drafts = r.p.drafts(Grant{Subject: r.old.Subject, Name: r.old.Name, Scope: r.old.Scope, Data: r.old.Data}, ttl)
	r.drafts.access.grant.Scope = scope
	r.drafts.drawn = r.seal
	if err := r.drafts.put(ctx, "refresh", r.old.Subject, r.do); err != nil {
		return Credentials{}, m.verdict(r.old.ID, err)
	}
	r.p.tellEnded(r.ended)
	switch r.found {
	case reused:
		return Credentials{}, m.refuse(&Rejection{Err: ErrReused, ID: r.old.ID, Subject: r.old.Subject, At: r.old.DeadFrom(), Reason: r.old.EndReason})
	case repeatable:
		return r.again, nil
	}
	return r.drafts.credentials(), nil
}

// seal seals what was drawn for whoever asks again.
func (r *rotation) seal() (err error) {
	if r.p.grace > 0 {
		r.sealed, err = seal(&r.cred, &r.drafts.refresh.cred, &r.drafts.access.cred)
	}
	return err
}

// do decides by what is stored as the transaction runs: of many who present one
// token the first rotates it, and the others find what it left sealed.
func (r *rotation) do(tx storage.Tx, now time.Time) error {
	r.ended, r.again = nil, Credentials{}
	rec, err := getIn(tx, r.old.ID)
	if err != nil {
		return err
	}
	r.old, r.found = r.p.refresh.token(&rec), r.p.standing(&rec, now)
	if r.suspect {
		r.found = reused
	}
	switch r.found {
	case over:
		return expired(&r.old)
	case repeatable:
		return r.repeat(tx, &rec, now)
	}
	access, err := r.p.survey(tx, now, &rec)
	if err != nil {
		return err
	}
	if r.found == usable {
		return r.rotate(tx, rec, access, now)
	}
	r.ended, err = r.p.refresh.endFamily(tx, rec.Family, EndReused, now)
	return err
}

// rotate puts the successor in the place of rec, and the new access token in that of
// those there are.
func (r *rotation) rotate(tx storage.Tx, rec storage.Record, access []storage.Record, now time.Time) error {
	d := r.drafts
	rec.Successor, rec.Sealed = d.refresh.cred.id(), r.sealed
	storage.Use{At: now}.Raise(&rec)
	rec.EndedAt, rec.EndReason = now, EndRotated
	if err := tx.Put(rec); err != nil {
		return err
	}
	r.ended = append(r.ended, r.p.refresh.token(&rec))
	d.access.inPlace = false
	predecessor, err := r.retire(tx, access, now)
	if err != nil {
		return err
	}
	d.refresh.inPlace = true
	d.refresh.tie = func(_ storage.Tx, next *draft) error {
		next.rec.Family, next.rec.Predecessor, next.rec.TTL = rec.Family, rec.ID, rec.TTL
		next.rec.Sealed = r.p.awaits()
		next.rec.MaxExpiresAt = r.old.MaxExpiresAt // never after that of the policy, which it was seen under
		next.rec.ExpiresAt = capped(next.rec.ExpiresAt, next.rec.MaxExpiresAt)
		return nil
	}
	d.access.tie = func(tx storage.Tx, a *draft) error {
		a.rec.Predecessor = predecessor
		return d.tieAccess(tx, a)
	}
	return d.storeAt(tx, now)
}

// retire has the access tokens of the family give way to the new one: the current one
// lives for the grace, and one that has given way already ends. It returns the
// current one.
func (r *rotation) retire(tx storage.Tx, access []storage.Record, now time.Time) (current ID, err error) {
	m, next := r.p.access, &r.drafts.access
	for _, rec := range access {
		ends := r.p.grace == 0 || rec.Successor != (ID{})
		if rec.Successor == (ID{}) {
			tok := m.token(&rec)
			next.inPlace = next.inPlace || tok.Live(now)
			current, rec.Successor = rec.ID, next.cred.id()
			if !ends {
				rec.MaxExpiresAt = earlierCap(rec.MaxExpiresAt, add(now, r.p.grace))
				rec.ExpiresAt = capped(rec.ExpiresAt, rec.MaxExpiresAt)
			}
			if err := tx.Put(rec); err != nil {
				return current, err
			}
		}
		if ends {
			ended, err := m.endTied(tx, rec.ID, EndRotated, now)
			if err != nil {
				return current, err
			}
			r.ended = append(r.ended, ended...)
		}
	}
	return current, nil
}

// repeat opens what the rotation of rec left sealed, if its successor lives.
func (r *rotation) repeat(tx storage.Tx, rec *storage.Record, now time.Time) error {
	refresh, access, err := unseal(rec.Sealed, &r.cred, rec.Successor)
	if err != nil {
		return err
	}
	next, err := getIn(tx, rec.Successor)
	if errors.Is(err, ErrNotFound) { // swept, so it has long been dead
		return expired(&r.old)
	}
	if err != nil {
		return err
	}
	if !refresh.proves(r.p.refresh.tag, &next.Digest) {
		return errSealed
	}
	tok := r.p.refresh.token(&next)
	if !tok.Live(now) {
		return expired(&r.old)
	}
	if !r.p.made(&next) {
		return &Rejection{Err: ErrUnknown, ID: r.old.ID}
	}
	held, err := getIn(tx, access.id())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	used := r.p.access.token(&held)
	if err != nil { // swept: it has run out, and its holder refreshes
		used = Token{ID: access.id(), Prefix: r.p.access.prefix, Subject: tok.Subject, Family: tok.Family}
	}
	r.again = Credentials{
		Access:    Issued{Token: used, Bearer: access.text(r.p.access.prefix)},
		Refresh:   Issued{Token: tok, Bearer: refresh.text(r.p.refresh.prefix)},
		ExpiresIn: left(&used, now),
		Repeated:  true,
	}
	return nil
}
