package lapse

import (
	"context"
	"errors"
	"fmt"
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
	about := Token{Prefix: m.prefix, Name: g.Name, Scope: g.Scope, Data: g.Data, Thumbprint: g.Thumbprint}
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
