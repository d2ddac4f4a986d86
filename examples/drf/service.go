package main

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// service is a server with lapse in it. Its methods are its handlers.
type service struct {
	ctx       context.Context
	tokens    *lapse.Manager
	verifiers []lapse.Verifier[login]

	bearers []string // the texts that clients hold; the index is the number less one
}

// newService returns a service with a store in memory. A server keeps its tokens in a
// file, with bolt.Open, and its key of 32 random bytes in another place.
func newService(clock *clock.Mock, u users, policy lapse.Policy) (*service, error) {
	key := sha256.Sum256([]byte("the same in each run, so never do this"))
	m, err := lapse.New(memory.New(), lapse.Config{
		Policy: policy,
		Clock:  clock, // nil would be the system's clock
		Admit:  u.check,
		Keys:   []lapse.Key{lapse.NewKey(key[:])},
	})
	return &service{
		ctx:       context.Background(),
		tokens:    m,
		verifiers: []lapse.Verifier[login]{lapse.VerifierFunc[login](u.byName)},
	}, err
}

// logIn returns the token of the user whose password l has.
func (s *service) logIn(l login) answer {
	subject, err := lapse.Identify(s.ctx, s.tokens, l, s.verifiers...)
	if err != nil {
		return refusal(400, err)
	}
	issued, err := s.tokens.Obtain(s.ctx, lapse.Grant{Subject: subject})
	return s.given(issued, err)
}

// create issues one more token for subject and asks for no password.
func (s *service) create(subject string) answer {
	issued, err := s.tokens.Issue(s.ctx, lapse.Grant{Subject: subject})
	return s.given(issued, err)
}

func (s *service) given(issued lapse.Issued, err error) answer {
	if err != nil {
		return refusal(401, err)
	}
	return answer{status: 200, token: s.number(issued.Bearer), until: issued.ExpiresAt}
}

// request checks a token, as a server does before every handler.
func (s *service) request(number int) answer { return s.header(s.bearer(number)) }

func (s *service) header(bearer string) answer {
	tok, err := s.tokens.Authenticate(s.ctx, bearer)
	if err != nil {
		return refusal(401, err)
	}
	return answer{status: 200, token: s.number(bearer), until: tok.ExpiresAt}
}

// logOut ends the token of that number.
func (s *service) logOut(number int) answer {
	if _, err := s.tokens.ExpireBearer(s.ctx, s.bearer(number)); err != nil {
		return refusal(401, err)
	}
	return answer{status: 204}
}

// refusal returns the answer to err. The status is no where the token or the password is
// refused, 409 at a limit, and 503 where the store could not tell.
func refusal(no int, err error) answer {
	switch {
	case errors.Is(err, lapse.ErrLimit):
		return answer{status: 409, says: "ErrLimit: the subject has as many as it may"}
	case !errors.Is(err, lapse.ErrUnauthenticated):
		return answer{status: 503, says: err.Error()}
	}
	for _, why := range []struct {
		is   error
		says string
	}{
		{lapse.ErrBadCredentials, "ErrBadCredentials"},
		{lapse.ErrMalformed, "ErrMalformed: nothing was looked up"},
		{lapse.ErrUnknown, "ErrUnknown"},
		{lapse.ErrRefused, "ErrRefused"},
		{lapse.ErrReused, "ErrReused"},
		{lapse.ErrExhausted, "ErrExhausted"},
	} {
		if errors.Is(err, why.is) {
			return answer{status: no, says: why.says}
		}
	}
	var r *lapse.Rejection
	if errors.As(err, &r); r.Reason != 0 {
		return answer{status: no, says: "ErrRevoked, ended at " + r.At.Format("15:04") + ": " + r.Reason.String()}
	}
	return answer{status: no, says: "ErrExpired, ran out at " + r.At.Format("15:04")}
}

// number returns the number of a bearer text. It is printed in the place of the secret.
func (s *service) number(bearer string) int {
	for i, b := range s.bearers {
		if b == bearer {
			return i + 1
		}
	}
	s.bearers = append(s.bearers, bearer)
	return len(s.bearers)
}

func (s *service) bearer(number int) string { return s.bearers[number-1] }
