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

	bearers []string // that clients hold, by their numbers less one
}

// newService makes all that is needed. A server keeps its tokens in a file, with
// bolt.Open, and its key of 32 random bytes elsewhere.
func newService(clock *clock.Mock, u users, policy lapse.Policy) (*service, error) {
	key := sha256.Sum256([]byte("the same in each run, so never do this"))
	m, err := lapse.New(memory.New(), lapse.Config{
		Policy: policy,
		Clock:  clock, // leave it out, and it is the system's
		Admit:  u.check,
		Keys:   []lapse.Key{lapse.NewKey(key[:])},
	})
	return &service{
		ctx:       context.Background(),
		tokens:    m,
		verifiers: []lapse.Verifier[login]{lapse.VerifierFunc[login](u.byName)},
	}, err
}

// logIn gives whoever knows a password the token that is theirs.
func (s *service) logIn(l login) answer {
	subject, err := lapse.Identify(s.ctx, s.tokens, l, s.verifiers...)
	if err != nil {
		return refusal(400, err)
	}
	issued, err := s.tokens.Obtain(s.ctx, lapse.Grant{Subject: subject})
	return s.given(issued, err)
}

// create gives out one more token, whoever asks.
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

// request is what stands before every handler.
func (s *service) request(number int) answer { return s.header(s.bearer(number)) }

func (s *service) header(bearer string) answer {
	tok, err := s.tokens.Authenticate(s.ctx, bearer)
	if err != nil {
		return refusal(401, err)
	}
	return answer{status: 200, token: s.number(bearer), until: tok.ExpiresAt}
}

// logOut ends the token that it is asked with.
func (s *service) logOut(number int) answer {
	if _, err := s.tokens.ExpireBearer(s.ctx, s.bearer(number)); err != nil {
		return refusal(401, err)
	}
	return answer{status: 204}
}

// refusal is the answer to err: no where nobody is let in, 503 where it could not be
// told.
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

// number names a bearer text, so that no secret has to be printed.
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
