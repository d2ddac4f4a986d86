package lapse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Lookup returns what the device asks for that shows userCode, for the page on which subject, who is
// logged in, approves it. Letters may be in any case, and spaces and dashes anywhere. It changes
// nothing but the count of guesses.
//
// Lookup, Approve and Deny count the wrong codes of a subject, in its own transaction before the
// code is looked up: after DeviceConfig.Guesses of them the error is ErrGuesses, until ExpiresIn has
// passed since the first. With 5 guesses the chance to meet one of n codes that wait is n in 5.1
// billion; a subject who meets one can read the request, deny it, or log the device in as itself.
//
// Errors that wrap ErrUnauthenticated carry a *Rejection: ErrMalformed, for a text that no user code
// can be, and nothing was looked up or counted; ErrUnknown; ErrExpired; ErrAccessDenied; ErrReplaced,
// if the code has been approved; ErrRevoked, if a new epoch of the clock has ended it. ErrInvalidGrant
// means that no token can have the subject. Any other error is the store's.
func (d *DeviceLogin) Lookup(ctx context.Context, userCode, subject string) (r DeviceRequest, err error) {
	verb := d.m.begin(VerbLookupDevice, &err)
	defer d.m.finish(ctx, &verb, &err)
	l, err := d.enter(ctx, &verb, userCode, subject)
	if err != nil {
		return DeviceRequest{}, err
	}
	if err := d.undecided(l, d.m.now()); err != nil {
		return DeviceRequest{}, d.m.refuse(ctx, &verb, err)
	}
	return DeviceRequest{Client: l.client, Name: l.rec.Name, Scope: l.rec.Scope, Data: l.rec.Data}, nil
}

// Approve stores a session for g, and has the device that shows userCode get its texts. Both are
// durable before Approve returns the session. g alone says what the session is, except that its Client is
// that of the request: take from the request of Lookup what the user has seen. Grants, limits, MaxTokens
// and Evicted are as for Pairs.Issue.
//
// Until the device gets them, no texts exist: a session that waits for its texts ends with the codes, or
// when its SessionTTL has passed since the approval if that is earlier. So does one that Approve stored
// before it failed. Approve again, by the same subject, gives the same session, and g changes nothing.
// Every verb finds the session: Expire and ExpireSubject take the approval back. Its life begins when the
// device gets the texts, and its cap counts from the approval.
//
// Errors are those of Lookup and of Pairs.Issue, and ErrRevoked, ErrSuspended or ErrUnknown if the
// session that was approved before has been ended, suspended or deleted.
func (d *DeviceLogin) Approve(ctx context.Context, userCode string, g Grant) (tok Token, err error) {
	verb := d.m.begin(VerbApproveDevice, &err)
	defer d.m.finish(ctx, &verb, &err)
	if err := d.p.check(&g); err != nil {
		return Token{}, err
	}
	if err := g.drawTTL(&d.p.access.policy); err != nil {
		return Token{}, err
	}
	l, err := d.enter(ctx, &verb, userCode, g.Subject)
	if err != nil {
		return Token{}, err
	}
	g.Client = l.client
	a := deviceApproval{d: d, login: l, draft: sessionDraft{p: d.p, grant: g, actor: actorOf(ctx), until: l.rec.ExpiresAt}}
	if err := a.run(ctx, &verb); err != nil {
		return Token{}, d.m.verdict(ctx, &verb, ID{}, err)
	}
	tok = d.m.token(&a.draft.rec)
	if a.existing {
		d.m.repeated(ctx, &verb, a.now, &tok)
		return tok, nil
	}
	d.m.tell(ctx, &verb, Event{Kind: EventIssued, At: a.now, Token: tok})
	return tok, nil
}

// Deny refuses the log-in of the device that shows userCode: Poll returns ErrAccessDenied from then
// on. It is durable before Deny returns, and no error if the log-in was denied before. subject, who is
// logged in, is told to Observe and counts the guesses; it is not stored. Errors are those of Lookup.
func (d *DeviceLogin) Deny(ctx context.Context, userCode, subject string) (err error) {
	verb := d.m.begin(VerbDenyDevice, &err)
	defer d.m.finish(ctx, &verb, &err)
	l, err := d.enter(ctx, &verb, userCode, subject)
	if err != nil {
		return err
	}
	denied := false
	err = d.amend(ctx, &verb, l, func(now time.Time) (bool, error) {
		err := d.undecided(l, now)
		if denied = errors.Is(err, ErrAccessDenied); denied {
			return false, nil
		}
		l.state = deviceDenied
		return err == nil, err
	})
	switch {
	case err != nil:
		return d.m.verdict(ctx, &verb, ID{}, err)
	case !denied:
		_ = d.m.refuse(ctx, &verb, &Rejection{Err: ErrAccessDenied, Subject: subject})
	}
	return nil
}

// undecided returns the refusal of a log-in that is over at now, or has been approved.
func (d *DeviceLogin) undecided(l *deviceRecord, now time.Time) error {
	if err := d.judge(l, now); err != nil || l.state == deviceWaiting {
		return err
	}
	return &Rejection{Err: ErrReplaced}
}

// enter returns the log-in under userCode, which subject has entered. It counts the code as a guess
// before it looks the code up, so that guesses at once are no more than those in a row, and takes it
// back unless no log-in has that code.
func (d *DeviceLogin) enter(ctx context.Context, verb *call, userCode, subject string) (*deviceRecord, error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	code, ok := bearer.ParseUserCode(userCode)
	if !ok {
		return nil, d.m.refuse(ctx, verb, ErrMalformed)
	}
	if err := d.m.ready(ctx, verb); err != nil {
		return nil, err
	}
	var first time.Time
	if err := d.guess(ctx, verb, subject, 1, &first); err != nil {
		return nil, err
	}
	id := d.alias(code)
	rec, err := d.m.store.Get(ctx, id)
	err = ofAlias(id, &rec, err)
	if err == nil && rec.ID != id {
		return nil, d.m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, Subject: subject})
	}
	var l deviceRecord
	if err == nil {
		l, err = readDevice(&rec)
	}
	back := d.guess(ctx, verb, subject, -1, &first)
	if err != nil {
		return nil, storeError(verb.Verb, err)
	}
	return &l, back
}

// guessesLabel, with a version, and a byte with the number are Record.Sealed of the alias that counts
// the guesses of its subject. It is valid from the first guess until none of them counts.
const guessesLabel = "g1"

// guess adds by, 1 or -1, to the number of guesses of subject. A guess sets *first to when the first of
// those that count was made, and the error is ErrGuesses if there are as many as there may be. A guess is
// taken back only from those that began at *first.
func (d *DeviceLogin) guess(ctx context.Context, verb *call, subject string, by int, first *time.Time) error {
	id := bearer.GuessAlias(d.p.access.prefix, d.p.refresh.prefix, subject)
	return d.m.update(ctx, verb, subject, func(tx storage.Tx, now time.Time) error {
		rec, err := aliasIn(tx, id)
		if err != nil {
			return err
		}
		n := 0
		if rec.ID == id && rec.Live(now) && !d.m.fromEarlierEpoch(&rec) {
			text := rec.Sealed.Text()
			if len(text) != len(guessesLabel)+1 || !strings.HasPrefix(text, guessesLabel) {
				return errDeviceRecord
			}
			n = int(text[len(guessesLabel)])
		}
		switch {
		case by < 0 && (n == 0 || !rec.IssuedAt.Equal(*first)):
			return nil
		case n == 0:
			rec = d.m.aliasFrom(id, subject, now, steady.Add(now, d.expiresIn))
		case by > 0 && n >= d.guesses:
			return decide(fmt.Errorf("%w: %d in the last %v", ErrGuesses, n, d.expiresIn))
		}
		*first = rec.IssuedAt
		rec.Sealed = storage.NewSealed(guessesLabel + string([]byte{byte(n + by)}))
		return putIn(tx, &rec)
	})
}

// deviceApproval is one Approve. The session is stored first, under its subject, and then the log-in
// names it, under a subject of its own. In between a crash leaves a session without texts.
type deviceApproval struct {
	d     *DeviceLogin
	login *deviceRecord
	draft sessionDraft // its record is the result

	// The results of the transactions.
	now      time.Time
	existing bool // the session was approved before
}

// run runs both transactions.
func (a *deviceApproval) run(ctx context.Context, verb *call) error {
	d, l := a.d, a.login
	id := bearer.DeviceSession(l.rec.Digest.Sum(), a.draft.grant.Subject, l.rec.IssuedAt)
	if err := a.approvable(id, d.m.now()); err != nil {
		return err
	}
	if err := a.draft.draw(d.m.now()); err != nil {
		return err
	}
	copy(a.draft.refresh[:], id[:])
	if err := d.m.update(ctx, verb, a.draft.grant.Subject, a.putSession); err != nil {
		return err
	}
	d.m.tellEnded(ctx, verb, a.draft.room.evicted)
	return d.amend(ctx, verb, l, func(now time.Time) (bool, error) {
		if err := a.approvable(id, now); err != nil || l.state != deviceWaiting {
			a.existing = err == nil
			return false, err
		}
		l.state, l.session = deviceApproved, id
		return true, nil
	})
}

// approvable returns the refusal of a log-in for which the session of id cannot be approved at now.
func (a *deviceApproval) approvable(id ID, now time.Time) error {
	if a.login.state != deviceWaiting && a.login.session == id {
		return a.d.judge(a.login, now)
	}
	return a.d.undecided(a.login, now)
}

// putSession is the transaction of the subject. It finds the session that an earlier Approve has
// stored, or puts it.
func (a *deviceApproval) putSession(tx storage.Tx, now time.Time) (err error) {
	a.now = now
	a.draft.epoch, a.draft.room.evicted = a.d.m.marks.Epoch(), nil
	rec, err := getIn(tx, a.draft.refresh.ID())
	switch {
	case err == nil:
		a.draft.rec = rec
		tok := a.d.m.token(&rec)
		return unusable(&tok, tok.Generation, now)
	case err != errGone:
		return err
	case a.login.state != deviceWaiting:
		return &Rejection{Err: ErrUnknown} // it was approved, and has been deleted
	case !a.draft.until.After(now):
		return &Rejection{Err: ErrExpired, At: a.draft.until}
	}
	return a.draft.put(tx, now)
}
