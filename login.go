package lapse

import (
	"context"
	"errors"
	"fmt"
)

// Verifier knows who holds some credentials of type C: a password, a signed
// certificate, a code from a mail. It must be safe for concurrent use.
//
// Verify returns the subject whose credentials they are, or
//   - ErrNotMine, wrapped or not: it does not know such credentials. The next
//     Verifier is asked.
//   - ErrBadCredentials, wrapped or not: it knows them for wrong. Nobody else is asked.
//   - any other error: it could not tell. Nobody else is asked, and nobody is refused.
//
// What it returns reaches the caller of Login as it is, so it should not repeat the
// credentials. That an account exists and is suspended is for Config.Admit to say.
type Verifier[C any] interface {
	Verify(ctx context.Context, credentials C) (subject string, err error)
}

// VerifierFunc is a function that is a Verifier.
type VerifierFunc[C any] func(ctx context.Context, credentials C) (subject string, err error)

// Verify calls f.
func (f VerifierFunc[C]) Verify(ctx context.Context, credentials C) (string, error) {
	return f(ctx, credentials)
}

// Login issues a plain token of m to the subject that the first Verifier to know the
// credentials names. To log in with Pairs, call Identify and then Pairs.Issue.
//
// Grant.Subject is that subject, or empty. Login does, in this order and stopping at the
// first that fails:
//
//  1. Is there a Manager, and a Verifier, and none of them nil? ErrInvalidConfig.
//  2. Is the Grant within its limits? ErrInvalidGrant.
//  3. Under GuardStrict, is the clock right? ErrClock.
//  4. The verifiers, as long as ctx has not ended. ErrBadCredentials if one says so, or if
//     none knows the credentials; any other error means that it could not be told.
//  5. Is the subject one that a token can have? ErrInvalidGrant.
//  6. Config.Admit. ErrRefused, or that it could not be told.
//  7. Is the subject that of the Grant? ErrInvalidGrant.
//  8. Issue, durably, with its errors.
//
// ErrBadCredentials and ErrRefused wrap ErrUnauthenticated and carry a *Rejection without
// an ID. Observe is told of both, and nothing of what a Verifier said. Until step 8
// nothing is written, and a Verifier that panics ends Login with its panic.
func Login[C any](ctx context.Context, m *Manager, credentials C, g Grant, verifiers ...Verifier[C]) (Issued, error) {
	if err := checkVerifiers(m, verifiers); err != nil {
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
	about := Token{Prefix: m.prefix, Name: g.Name, Scope: g.Scope, Data: g.Data}
	subject, err := identify(ctx, m, "login", about, credentials, verifiers)
	if err != nil {
		return Issued{}, err
	}
	if g.Subject != "" && g.Subject != subject {
		return Issued{}, invalidGrant("Subject", "the credentials are another's; leave it empty")
	}
	g.Subject = subject
	var i Issued
	err = m.issue(ctx, "login", &g, &i)
	return i, err
}

// Identify returns the subject that Login would issue a token to, and issues none: steps 1
// and 3 to 6 of Login. It is for a program that then gives out something else than a new
// plain token: a session by Pairs.Issue, or the token there is by Manager.Obtain. For Pairs,
// m is Pairs.Access.
func Identify[C any](ctx context.Context, m *Manager, credentials C, verifiers ...Verifier[C]) (subject string, err error) {
	if err := checkVerifiers(m, verifiers); err != nil {
		return "", err
	}
	return identify(ctx, m, "identify", Token{Prefix: m.prefix}, credentials, verifiers)
}

// checkVerifiers returns ErrInvalidConfig for what only a programmer can mend.
func checkVerifiers[C any](m *Manager, verifiers []Verifier[C]) error {
	switch {
	case m == nil:
		return fmt.Errorf("%w: the Manager to log in to is nil; New makes one", ErrInvalidConfig)
	case len(verifiers) == 0:
		return fmt.Errorf("%w: nobody can verify credentials; give at least one Verifier", ErrInvalidConfig)
	}
	for i, v := range verifiers {
		if isNil(v) {
			return fmt.Errorf("%w: Verifier %d of %d is nil; leave it out", ErrInvalidConfig, i+1, len(verifiers))
		}
	}
	return nil
}

// identify returns the subject that the first verifier to know the credentials names, if
// Admit lets about with that subject pass.
func identify[C any](ctx context.Context, m *Manager, verb string, about Token, credentials C, verifiers []Verifier[C]) (string, error) {
	if err := m.ready(ctx, verb); err != nil {
		return "", err
	}
	for _, v := range verifiers {
		if err := ctx.Err(); err != nil {
			return "", storeError(verb, err)
		}
		subject, err := v.Verify(ctx, credentials)
		switch {
		case errors.Is(err, ErrBadCredentials):
			return "", m.badCredentials(ctx, err)
		case errors.Is(err, ErrNotMine):
			continue
		case err != nil:
			return "", fmt.Errorf("lapse: %s: a Verifier could not tell: %w", verb, fromOutside(err, ErrUnavailable))
		}
		if err := checkSubject(subject); err != nil {
			return "", fmt.Errorf("lapse: %s: a Verifier knows the credentials and names nobody: %w", verb, err)
		}
		about.Subject = subject
		if err := m.permit(ctx, verb, &about, 0); err != nil {
			return "", err
		}
		return subject, nil
	}
	return "", m.badCredentials(ctx, fmt.Errorf("%w: no Verifier knows them for its own", ErrBadCredentials))
}

// badCredentials refuses. What a Verifier has to say may repeat what it was given, and
// reaches the caller alone: no event holds a secret.
func (m *Manager) badCredentials(ctx context.Context, err error) error {
	_ = m.refuse(ctx, &Rejection{Err: ErrBadCredentials})
	return &Rejection{Err: err}
}
