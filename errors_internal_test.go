package lapse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errOwnDisk = errors.New("disk on fire")

// sentinels are all that errors.Is may be asked for.
var sentinels = map[string]error{
	"ErrUnauthenticated": ErrUnauthenticated, "ErrMalformed": ErrMalformed, "ErrUnknown": ErrUnknown,
	"ErrExpired": ErrExpired, "ErrRevoked": ErrRevoked, "ErrRefused": ErrRefused, "ErrReplaced": ErrReplaced,
	"ErrExhausted": ErrExhausted, "ErrReused": ErrReused, "ErrBadCredentials": ErrBadCredentials,
	"ErrRotated": ErrRotated, "ErrNotDelegable": ErrNotDelegable, "ErrScope": ErrScope,
	"ErrClock": ErrClock, "ErrNoKeys": ErrNoKeys, "ErrNotMine": ErrNotMine,
	"ErrInvalidConfig": ErrInvalidConfig, "ErrInvalidGrant": ErrInvalidGrant, "ErrLimit": ErrLimit,
	"ErrNotRenewable": ErrNotRenewable, "ErrInvalidID": ErrInvalidID,
	"ErrNotFound": ErrNotFound, "ErrConflict": ErrConflict, "ErrUnavailable": ErrUnavailable,
	"ErrOutcomeUnknown": ErrOutcomeUnknown, "ErrClosed": ErrClosed, "ErrCorrupt": ErrCorrupt, "ErrLocked": ErrLocked,
	"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
	"errOwnDisk": errOwnDisk,
}

// isOf returns the names of the sentinels that err wraps, sorted.
func isOf(err error) []string {
	var names []string
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// causeScene is a Manager with a live token of ana, on which one thing is wrong.
type causeScene struct {
	*Manager
	store  *tallyStore
	clock  interface{ Set(time.Time) }
	issued Issued
	check  error // what Admit says
}

func newCauseScene(t *testing.T) *causeScene {
	t.Helper()
	s := &causeScene{store: newTallyStore()}
	m, mock := managerOver(t, s.store, Config{
		Policy: Policy{MaxTokens: 1},
		Admit:  func(context.Context, Token) error { return s.check },
	})
	s.Manager, s.clock = m, mock
	s.issued = issueTo(t, m, Grant{Subject: "ana"})
	return s
}

func (s *causeScene) authenticate(t *testing.T) error {
	_, err := s.Authenticate(t.Context(), s.issued.Bearer)
	return err
}

// rotate replaces the secret of the scene's token, whose first text it keeps.
func (s *causeScene) rotate(t *testing.T, overlap time.Duration) {
	t.Helper()
	if _, err := s.Rotate(t.Context(), s.issued.Bearer, overlap); err != nil {
		t.Fatal(err)
	}
}

// failing makes the store fail at every turn.
func (s *causeScene) failing(err error) {
	for _, method := range []string{"Get", "Touch", "Update", "List", "Sweep"} {
		s.store.fails[method] = err
	}
}

// refusals are the ways in which a token can be no good.
var refusals = []struct {
	name string
	do   func(t *testing.T, s *causeScene) error
	is   string
}{
	{"malformed", func(t *testing.T, s *causeScene) error {
		_, err := s.Authenticate(t.Context(), s.issued.Bearer+"\n")
		return err
	}, "ErrMalformed"},
	{"no such ID", func(t *testing.T, s *causeScene) error {
		_, err := s.Authenticate(t.Context(), credentialOf(1).Text("lapse"))
		return err
	}, "ErrUnknown"},
	{"wrong secret", func(t *testing.T, s *causeScene) error {
		_, err := s.Authenticate(t.Context(), s.withOtherSecret().Text("lapse"))
		return err
	}, "ErrUnknown"},
	{"another prefix before it", func(t *testing.T, s *causeScene) error {
		_, err := s.Authenticate(t.Context(), s.credential().Text("other"))
		return err
	}, "ErrUnknown"},
	{"ran out", func(t *testing.T, s *causeScene) error {
		s.clock.Set(after(time.Hour))
		return s.authenticate(t)
	}, "ErrExpired"},
	{"ended by its ID", func(t *testing.T, s *causeScene) error {
		if _, err := s.Expire(t.Context(), s.issued.ID); err != nil {
			return err
		}
		return s.authenticate(t)
	}, "ErrRevoked"},
	{"ended with its subject", func(t *testing.T, s *causeScene) error {
		if _, err := s.ExpireSubject(t.Context(), "ana"); err != nil {
			return err
		}
		return s.authenticate(t)
	}, "ErrRevoked"},
	{"replaced at once", func(t *testing.T, s *causeScene) error {
		s.rotate(t, 0)
		return s.authenticate(t)
	}, "ErrReplaced"},
	{"replaced, and its overlap is over", func(t *testing.T, s *causeScene) error {
		s.rotate(t, time.Second)
		s.clock.Set(after(time.Second))
		return s.authenticate(t)
	}, "ErrReplaced"},
	{"replaced, and the token is dead", func(t *testing.T, s *causeScene) error {
		s.rotate(t, 0)
		s.clock.Set(after(time.Hour))
		return s.authenticate(t)
	}, "ErrReplaced"},
	{"exhausted", func(t *testing.T, s *causeScene) error {
		s.issued = issueTo(t, s.Manager, Grant{Subject: "bob", MaxUses: 1})
		if err := s.authenticate(t); err != nil {
			return err
		}
		return s.authenticate(t)
	}, "ErrExhausted"},
	{"subject refused", func(t *testing.T, s *causeScene) error {
		s.check = ErrRefused
		return s.authenticate(t)
	}, "ErrRefused"},
	{"subject refused with more to say", func(t *testing.T, s *causeScene) error {
		s.check = fmt.Errorf("suspended: %w", ErrRefused)
		return s.authenticate(t)
	}, "ErrRefused"},
}

// credential returns what the scene's token says.
func (s *causeScene) credential() *credential {
	var c credential
	c.Parse(s.issued.Bearer, "lapse", begin("lapse"))
	return &c
}

func (s *causeScene) withOtherSecret() *credential {
	c := s.credential()
	c[len(c)-1] ^= 1
	return c
}

// TestRefusals: each wraps its own sentinel and the umbrella and nothing else,
// however often it is wrapped, and carries a *Rejection.
func TestRefusals(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(t, newCauseScene(t))
			for range 4 { // bare, then wrapped three times
				if diff := cmp.Diff(sorted(tt.is, "ErrUnauthenticated"), isOf(err)); diff != "" {
					t.Fatalf("%v wraps (-want +got):\n%s", err, diff)
				}
				var r *Rejection
				if !errors.As(err, &r) || r == nil || !errors.Is(r, sentinels[tt.is]) {
					t.Fatalf("the Rejection in %v is %v", err, r)
				}
				err = fmt.Errorf("handler: %w", err)
			}
			err = errors.Join(errOwnDisk, err)
			if !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("joined with another error it is %v", isOf(err))
			}
		})
	}
}

func sorted(names ...string) []string {
	slices.Sort(names)
	return names
}

// TestCouldNotTell: what the store, the context or the caller's own code says is
// no verdict about the token, and stays findable.
func TestCouldNotTell(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		is   []string
	}{
		{"conflict", ErrConflict, []string{"ErrConflict"}},
		{"unavailable", ErrUnavailable, []string{"ErrUnavailable"}},
		{"outcome unknown", ErrOutcomeUnknown, []string{"ErrOutcomeUnknown"}},
		{"closed", ErrClosed, []string{"ErrClosed"}},
		{"corrupt", ErrCorrupt, []string{"ErrCorrupt"}},
		{"locked", ErrLocked, []string{"ErrLocked"}},
		{"wrapped by the store", fmt.Errorf("page 7: %w", ErrCorrupt), []string{"ErrCorrupt"}},
		{"of no kind", errOwnDisk, []string{"ErrUnavailable", "errOwnDisk"}},
		{"of a kind, with a cause", fmt.Errorf("%w: %w", ErrOutcomeUnknown, errOwnDisk), []string{"ErrOutcomeUnknown", "errOwnDisk"}},
		{"cancelled", context.Canceled, []string{"context.Canceled"}},
		{"cancelled, wrapped", fmt.Errorf("waiting: %w", context.Canceled), []string{"context.Canceled"}},
		{"deadline", context.DeadlineExceeded, []string{"ErrUnavailable", "context.DeadlineExceeded"}},
		{"deadline after the commit began", fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.DeadlineExceeded),
			[]string{"ErrOutcomeUnknown", "context.DeadlineExceeded"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newCauseScene(t)
			s.failing(tt.err)
			for verb, err := range storeVerbs(t, s) {
				noVerdictIn(t, verb, err, tt.is...)
			}
		})
	}
}

// storeVerbs tries every verb on a store that fails.
func storeVerbs(t *testing.T, s *causeScene) map[string]error {
	ctx := t.Context()
	errs := bearerVerbs(ctx, s.Manager, s.issued.Bearer)
	_, errs["Issue"] = s.Issue(ctx, Grant{Subject: "bob"})
	_, errs["Expire"] = s.Expire(ctx, s.issued.ID)
	_, errs["ExpireSubject"] = s.ExpireSubject(ctx, "ana")
	_, errs["Token"] = s.Token(ctx, s.issued.ID)
	_, errs["Sweep"] = s.Sweep(ctx)
	for _, err := range s.Tokens(ctx, "ana") {
		errs["Tokens"] = err
	}
	for _, err := range s.Expiring(ctx, time.Hour) {
		errs["Expiring"] = err
	}
	_, errs["Login"] = Login(ctx, s.Manager, "password", Grant{}, VerifierFunc[string](func(context.Context, string) (string, error) { return "bob", nil }))
	return errs
}

// TestContextEnds as the store itself notices it, in every verb.
func TestContextEnds(t *testing.T) {
	s := newCauseScene(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancelLate()
	for name, tt := range map[string]struct {
		ctx context.Context
		is  []string
	}{
		"cancelled": {cancelled, []string{"context.Canceled"}},
		"deadline":  {late, []string{"ErrUnavailable", "context.DeadlineExceeded"}},
	} {
		errs := bearerVerbs(tt.ctx, s.Manager, s.issued.Bearer)
		_, errs["Issue"] = s.Issue(tt.ctx, Grant{Subject: "bob"})
		_, errs["Expire"] = s.Expire(tt.ctx, s.issued.ID)
		_, errs["ExpireSubject"] = s.ExpireSubject(tt.ctx, "ana")
		_, errs["Token"] = s.Token(tt.ctx, s.issued.ID)
		_, errs["Sweep"] = s.Sweep(tt.ctx)
		for verb, err := range errs {
			if diff := cmp.Diff(tt.is, isOf(err)); diff != "" {
				t.Errorf("%s: %s = %v, which wraps (-want +got):\n%s", name, verb, err, diff)
			}
		}
	}
	if err := s.authenticate(t); err != nil {
		t.Errorf("after all that the token is %v", err)
	}
}
