package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Verifier verifies credentials of type C: a password, a signed certificate, a code from a mail.
// It must be safe for concurrent use.
//
// Verify returns the subject whose credentials they are, or
//   - ErrNotMine, wrapped or not: they are not for this Verifier. The next Verifier is
//     asked.
//   - ErrBadCredentials, wrapped or not: they are wrong. No other Verifier is asked, and the
//     log-in is refused.
//   - any other error: the Verifier could not tell. No other Verifier is asked, and the
//     log-in is not refused, but fails with that error.
//
// Login returns the error of Verify with its text, so that text should not quote the
// credentials. Verify returns the subject of a disabled account, too: Config.Admit refuses
// that.
type Verifier[C any] interface {
	Verify(ctx context.Context, credentials C) (subject string, err error)
}

// VerifierFunc is a function as a Verifier.
type VerifierFunc[C any] func(ctx context.Context, credentials C) (subject string, err error)

// Verify calls f.
func (f VerifierFunc[C]) Verify(ctx context.Context, credentials C) (string, error) {
	return f(ctx, credentials)
}

// Login issues a plain token of m to the subject that the verifiers name for the credentials. To
// log in with Pairs, call Identify and then Pairs.Issue. Grant.Subject is that subject, or empty.
// Login takes these steps in order, and the first that fails ends it:
//
//  1. m is not nil, and there is at least one Verifier and no nil one. Else ErrInvalidConfig.
//  2. g is within its limits. Else ErrInvalidGrant.
//  3. Under GuardStrict the clock is right. Else ErrClock.
//  4. The verifiers are asked in order, as long as ctx has not ended. ErrBadCredentials means
//     that one returned it, or that all returned ErrNotMine; any other error means that a
//     Verifier could not tell.
//  5. A token can have the subject. Else ErrInvalidGrant.
//  6. Config.Admit is asked. ErrRefused, or an error that means that it could not tell.
//  7. Grant.Subject is the subject or empty. Else ErrInvalidGrant.
//  8. Issue, durably, with its errors. With a RequestID whose token is dead or suspended these
//     wrap ErrUnauthenticated, such as ErrRevoked, although the credentials are good.
//
// ErrBadCredentials and ErrRefused wrap ErrUnauthenticated and carry a *Rejection without an ID.
// Observe is told of both, but not what a Verifier returned. Until step 8 nothing is written. A
// Verifier that panics ends Login with its panic.
func Login[C any](ctx context.Context, m *Manager, credentials C, g Grant, verifiers ...Verifier[C]) (i Issued, err error) {
	if m == nil {
		return Issued{}, errNoManager
	}
	verb := m.begin(VerbLogin, &err)
	defer m.finish(ctx, &verb, &err)
	if err := checkVerifiers(verifiers); err != nil {
		return Issued{}, err
	}
	if g.Subject != "" {
		if err := checkSubject(g.Subject); err != nil {
			return Issued{}, err
		}
	}
	if err := g.checkPlain(&m.policy); err != nil {
		return Issued{}, err
	}
	about := Token{Prefix: m.prefix, Name: g.Name, Scope: g.Scope, Data: g.Data, Client: g.Client, Thumbprint: g.Thumbprint}
	subject, err := identify(ctx, m, &verb, about, credentials, verifiers)
	if err != nil {
		return Issued{}, err
	}
	if g.Subject != "" && g.Subject != subject {
		return Issued{}, invalidGrant("Subject", "the credentials are another's; leave it empty")
	}
	g.Subject = subject
	err = m.issue(ctx, &verb, &g, &i)
	return i, err
}

// Identify returns the subject to which Login would issue a token, and issues none: it takes
// steps 1 and 3 to 6 of Login. It is for a program that gives out something else than a new
// plain token: a session by Pairs.Issue, or the existing token by Manager.Obtain. For Pairs, m
// is Pairs.Access.
func Identify[C any](ctx context.Context, m *Manager, credentials C, verifiers ...Verifier[C]) (subject string, err error) {
	if m == nil {
		return "", errNoManager
	}
	verb := m.begin(VerbIdentify, &err)
	defer m.finish(ctx, &verb, &err)
	if err := checkVerifiers(verifiers); err != nil {
		return "", err
	}
	return identify(ctx, m, &verb, Token{Prefix: m.prefix}, credentials, verifiers)
}

var errNoManager = fmt.Errorf("%w: the Manager to log in to is nil; New makes one", ErrInvalidConfig)

// checkVerifiers returns ErrInvalidConfig if there is no Verifier or a nil one.
func checkVerifiers[C any](verifiers []Verifier[C]) error {
	if len(verifiers) == 0 {
		return fmt.Errorf("%w: there is no Verifier of credentials; give at least one", ErrInvalidConfig)
	}
	for i, v := range verifiers {
		if isNil(v) {
			return fmt.Errorf("%w: Verifier %d of %d is nil; leave it out", ErrInvalidConfig, i+1, len(verifiers))
		}
	}
	return nil
}

// identify returns the subject that the first Verifier without ErrNotMine returns, if Admit
// accepts the token about with that subject.
func identify[C any](ctx context.Context, m *Manager, verb *call, about Token, credentials C, verifiers []Verifier[C]) (string, error) {
	if err := m.ready(ctx, verb); err != nil {
		return "", err
	}
	for _, v := range verifiers {
		if err := ctx.Err(); err != nil {
			return "", storeError(verb.Verb, err)
		}
		subject, err := v.Verify(ctx, credentials)
		switch {
		case errors.Is(err, ErrBadCredentials):
			return "", m.badCredentials(ctx, verb, err)
		case errors.Is(err, ErrNotMine):
			continue
		case err != nil:
			return "", verifierError(verb.Verb, fromOutside(err, ErrUnavailable))
		}
		if err := checkSubject(subject); err != nil {
			return "", fmt.Errorf("lapse: %s: a Verifier knows the credentials and names no valid subject: %w", verb.Verb, err)
		}
		about.Subject, about.AuthenticatedAt = subject, m.now()
		if err := m.askAdmit(ctx, verb, &about, 0); err != nil {
			return "", err
		}
		return subject, nil
	}
	return "", m.badCredentials(ctx, verb, fmt.Errorf("%w: no Verifier knows them for its own", ErrBadCredentials))
}

// badCredentials returns the refusal with err, and tells Observe of it without err: the error of
// a Verifier may quote the credentials, and no event may contain a secret.
func (m *Manager) badCredentials(ctx context.Context, verb *call, err error) error {
	_ = m.refuse(ctx, verb, &Rejection{Err: ErrBadCredentials})
	return &Rejection{Err: err}
}

// verifierError returns the error of verb for err, by which a Verifier could not tell. Observe is
// told its Code alone.
func verifierError(verb Verb, err error) error {
	text := "lapse: " + verb.String() + ": a Verifier could not tell"
	return hideText(text, fmt.Errorf("%s: %w", text, err))
}

// Confirm records that the user of the token whose text is bearer is present now: call it when
// the user has just entered a password again, or touched a key. It sets Token.AuthenticatedAt to
// now, and returns the token as Authenticate would. The instant is durable before Confirm
// returns, and Observe is told of EventConfirmed. Confirm checks no credentials.
//
// AuthenticatedAt is IssuedAt until then, and no clock sets it back. It survives each rotation
// and refresh; a delegate has that of its parent at Delegate. An endpoint that wants a user who was
// present lately compares it with Manager.Now, after Authenticate or in Config.Admit, and answers
// insufficient_user_authentication (RFC 9470 section 3) if it is too old. It should refuse an
// instant in the future, too: under GuardOff a wrong clock can leave one, which Confirm keeps.
//
// Confirm is no use: it renews nothing, spends nothing, and leaves LastUsedAt as it is. But it
// tells that the current text of a rotated token is in use: then Rotate does not give it again.
// Confirm takes the texts that Authenticate takes, of a session the access texts, and refuses a
// token without uses left with ErrExhausted, also within Grant.UseGrace. Admit is asked as at a
// log-in, with the AuthenticatedAt that Confirm sets.
//
// Errors are those of Authenticate, and ErrOutcomeUnknown, after which Confirm may be called
// again. After a *Rejection the instant may be stored, on a token that is dead. With any other
// error nothing was written.
func (m *Manager) Confirm(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbConfirm, &err)
	defer m.finish(ctx, &verb, &err)
	return m.confirm(ctx, &verb, bearer)
}

// confirm is Confirm as a part of verb.
func (m *Manager) confirm(ctx context.Context, verb *call, bearer string) (Token, error) {
	p, err := m.prove(ctx, verb, bearer)
	if err != nil {
		return Token{}, err
	}
	confirm(&p.rec.Token, p.now)
	if _, err = m.requireLive(ctx, verb, &p.presented, &p.rec, p.stands, p.now); err != nil {
		return Token{}, err
	}
	c := confirming{m: m, text: &p.presented}
	err = m.update(ctx, verb, p.rec.Subject, c.confirmIn)
	if err == nil {
		err = m.overtaken(&c.token, c.epoch, p.generation)
	}
	if err != nil {
		return Token{}, m.verdict(ctx, verb, p.rec.ID, err)
	}
	m.tell(ctx, verb, Event{Kind: EventConfirmed, At: c.at, Token: c.token, Before: &c.before})
	return c.token, nil
}

// confirming is one Confirm. Its transaction may run more than once, and sets the results each
// time.
type confirming struct {
	m    *Manager
	text *presented

	// The results of the transaction.
	at     time.Time
	before Token  // as the text showed it before
	token  Token  // as the text shows it
	epoch  uint32 // of the record
}

// confirmIn is the transaction. It puts the record only if that changes.
func (c *confirming) confirmIn(tx storage.Tx, now time.Time) error {
	j, err := c.m.proveLiveIn(tx, c.text, now)
	if err != nil {
		return err
	}
	c.at, c.before = now, j.tok
	changed := false
	if j.stands == currentText && j.rec.Kind == KindPlain {
		if changed, err = useSecret(&j.rec); err != nil {
			return err
		}
	}
	if confirm(&j.tok, now) {
		j.rec.AuthenticatedAt, changed = now, true
	}
	c.token, c.epoch = j.tok, j.rec.Epoch
	if !changed {
		return nil
	}
	return putIn(tx, &j.rec)
}

// confirm sets AuthenticatedAt of tok to now, unless that is earlier than what callers see already. It
// reports whether now is later.
func confirm(tok *Token, now time.Time) (later bool) {
	viewPresence(tok)
	if later = now.After(tok.AuthenticatedAt); later {
		tok.AuthenticatedAt = now
	}
	return later
}

// viewPresence sets AuthenticatedAt of tok, the token of a record, to what callers see: IssuedAt
// until Confirm has set another instant.
func viewPresence(tok *Token) {
	if tok.AuthenticatedAt.IsZero() {
		tok.AuthenticatedAt = tok.IssuedAt
	}
}
