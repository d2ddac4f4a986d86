package lapse

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestCallersMistakes are of one kind each and never a verdict on a token.
func TestCallersMistakes(t *testing.T) {
	s := newCauseScene(t)
	_, limit := s.Issue(t.Context(), Grant{Subject: "ana"})
	_, grant := s.Issue(t.Context(), Grant{})
	_, config := New(s.store, Config{Prefix: "_"})
	_, id := ParseID(s.issued.ID.String() + "0")
	_, absent := s.Token(t.Context(), ID{1})
	never, _ := managerOver(t, s.store, Config{Policy: Policy{Renewal: RenewNever}})
	_, renewable := never.Renew(t.Context(), s.issued.Bearer)
	for want, err := range map[string]error{
		"ErrLimit": limit, "ErrInvalidGrant": grant, "ErrInvalidConfig": config,
		"ErrInvalidID": id, "ErrNotFound": absent, "ErrNotRenewable": renewable,
	} {
		for range 4 {
			if diff := cmp.Diff([]string{want}, isOf(err)); diff != "" {
				t.Errorf("%v wraps (-want +got):\n%s", err, diff)
			}
			err = fmt.Errorf("handler: %w", err)
		}
	}
}

// TestCheckSubjectCouldNotTell: any error but ErrRefused is passed on as
// it is, and Authenticate then writes nothing.
func TestCheckSubjectCouldNotTell(t *testing.T) {
	for name, check := range map[string]error{
		"errOwnDisk": errOwnDisk, "context.Canceled": context.Canceled,
		"context.DeadlineExceeded": context.DeadlineExceeded, "ErrUnavailable": ErrUnavailable,
	} {
		s := newCauseScene(t)
		s.check = check
		clear(s.store.calls)
		_, peek := s.Peek(t.Context(), s.issued.Bearer)
		_, renew := s.Renew(t.Context(), s.issued.Bearer)
		for verb, err := range map[string]error{"Authenticate": s.authenticate(t), "Peek": peek, "Renew": renew} {
			if diff := cmp.Diff([]string{name}, isOf(err)); diff != "" {
				t.Errorf("%s = %v, which wraps (-want +got):\n%s", verb, err, diff)
			}
		}
		if diff := cmp.Diff(map[string]int{"Get": 3}, s.store.calls); diff != "" {
			t.Errorf("calls of the store (-want +got):\n%s", diff)
		}
	}
}

// TestWrongRecord: a store that answers with another token's record has damaged
// something. Nobody is let in, and nobody is logged out.
func TestWrongRecord(t *testing.T) {
	s := newCauseScene(t)
	bob := issueTo(t, s.Manager, Grant{Subject: "bob"})
	m, _ := managerOver(t, swappedStore{s.store, bob.ID}, Config{})
	errs := bearerVerbs(t.Context(), m, s.issued.Bearer)
	_, errs["Token"] = m.Token(t.Context(), s.issued.ID)
	_, errs["Expire"] = m.Expire(t.Context(), s.issued.ID)
	for verb, err := range errs {
		if diff := cmp.Diff([]string{"ErrCorrupt"}, isOf(err)); diff != "" {
			t.Errorf("%s = %v, which wraps (-want +got):\n%s", verb, err, diff)
		}
	}
}

// swappedStore answers every Get with one record.
type swappedStore struct {
	storage.Store
	id ID
}

func (s swappedStore) Get(ctx context.Context, _ ID) (storage.Record, error) {
	return s.Store.Get(ctx, s.id)
}

// TestForeignVerdicts: a store or a Admit may itself hold a token of some
// other Manager. That this one is no good says nothing about the token presented
// here: its holder must not be logged out. What else there is to know stays.
func TestForeignVerdicts(t *testing.T) {
	foreign := fmt.Errorf("calling the directory: %w: %w", errOwnDisk, &Rejection{Err: ErrExpired, ID: ID{9}})
	t.Run("of the store", func(t *testing.T) {
		s := newCauseScene(t)
		s.failing(foreign)
		for verb, err := range storeVerbs(t, s) {
			noVerdictIn(t, verb, err, "ErrUnavailable", "errOwnDisk")
		}
	})
	t.Run("of Admit", func(t *testing.T) {
		s := newCauseScene(t)
		s.check = foreign
		_, peek := s.Peek(t.Context(), s.issued.Bearer)
		_, renew := s.Renew(t.Context(), s.issued.Bearer)
		for verb, err := range map[string]error{"Authenticate": s.authenticate(t), "Peek": peek, "Renew": renew} {
			noVerdictIn(t, verb, err, "errOwnDisk")
		}
	})
}

// noVerdictIn reports an error that says anything but want, or carries somebody
// else's Rejection.
func noVerdictIn(t *testing.T, verb string, err error, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, isOf(err)); diff != "" {
		t.Errorf("%s = %v, which wraps (-want +got):\n%s", verb, err, diff)
	}
	var r *Rejection
	if errors.As(err, &r) {
		t.Errorf("%s carries a Rejection: %v", verb, r)
	}
}
