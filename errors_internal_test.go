package lapse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
)

var errOwnDisk = errors.New("disk on fire")

// sentinels are all that errors.Is may be asked for.
var sentinels = map[string]error{
	"ErrUnauthenticated": ErrUnauthenticated, "ErrMalformed": ErrMalformed, "ErrUnknown": ErrUnknown,
	"ErrExpired": ErrExpired, "ErrRevoked": ErrRevoked, "ErrSuspended": ErrSuspended, "ErrRefused": ErrRefused, "ErrProof": ErrProof, "ErrReplaced": ErrReplaced,
	"ErrExhausted": ErrExhausted, "ErrReused": ErrReused, "ErrBadCredentials": ErrBadCredentials,
	"ErrRotated": ErrRotated, "ErrNotDelegable": ErrNotDelegable, "ErrScope": ErrScope,
	"ErrClock": ErrClock, "ErrNoKeys": ErrNoKeys, "ErrNotMine": ErrNotMine,
	"ErrInvalidConfig": ErrInvalidConfig, "ErrInvalidGrant": ErrInvalidGrant, "ErrLimit": ErrLimit,
	"ErrNotRenewable": ErrNotRenewable, "ErrInvalidID": ErrInvalidID, "ErrInvalidThumbprint": ErrInvalidThumbprint,
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
	{"suspended", func(t *testing.T, s *causeScene) error {
		if _, err := s.Suspend(t.Context(), s.issued.ID); err != nil {
			return err
		}
		s.check = ErrRefused // which is asked later
		return s.authenticate(t)
	}, "ErrSuspended"},
	{"suspended, and it ran out", func(t *testing.T, s *causeScene) error {
		if _, err := s.Suspend(t.Context(), s.issued.ID); err != nil {
			return err
		}
		s.clock.Set(after(time.Hour))
		return s.authenticate(t)
	}, "ErrExpired"},
	{"suspended, and its secret replaced", func(t *testing.T, s *causeScene) error {
		if _, err := s.Suspend(t.Context(), s.issued.ID); err != nil {
			return err
		}
		made(s.RotateID(t.Context(), s.issued.ID, 0))
		return s.authenticate(t)
	}, "ErrReplaced"},
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
	c.Parse(s.issued.Bearer, "lapse")
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
	for _, err := range s.List(ctx, Query{Subject: "ana"}) {
		errs["Tokens"] = err
	}
	for _, err := range s.List(ctx, Query{Within: time.Hour}) {
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

// TestCallersMistakes are of one kind each and never a verdict on a token.
func TestCallersMistakes(t *testing.T) {
	s := newCauseScene(t)
	_, limit := s.Issue(t.Context(), Grant{Subject: "ana"})
	_, grant := s.Issue(t.Context(), Grant{})
	_, config := New(s.store, Config{Prefix: "_"})
	_, id := ParseID(s.issued.ID.String() + "0")
	_, thumbprint := ParseThumbprint(s.issued.ID.String())
	_, absent := s.Token(t.Context(), ID{1})
	never, _ := managerOver(t, s.store, Config{Policy: Policy{Renewal: RenewNever}})
	_, renewable := never.Renew(t.Context(), s.issued.Bearer)
	for want, err := range map[string]error{
		"ErrLimit": limit, "ErrInvalidGrant": grant, "ErrInvalidConfig": config,
		"ErrInvalidID": id, "ErrInvalidThumbprint": thumbprint, "ErrNotFound": absent, "ErrNotRenewable": renewable,
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
// something. No token is let in, and no user is logged out.
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

// noVerdictIn reports an error that says anything except want, or carries another caller
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

// TestRejectionFields: before the secret is proved it says no more than the text
// presented; afterwards all that a log needs.
func TestRejectionFields(t *testing.T) {
	type fields struct {
		known  bool // the ID
		proved bool
		at     time.Time
		reason EndReason
	}
	wants := map[string]fields{
		"malformed":                          {},
		"no such ID":                         {known: true},
		"wrong secret":                       {known: true},
		"another prefix before it":           {known: true},
		"ran out":                            {known: true, proved: true, at: after(30 * time.Minute)},
		"ended by its ID":                    {known: true, proved: true, at: testInstant, reason: EndRevoked},
		"ended with its subject":             {known: true, proved: true, at: testInstant, reason: EndSubject},
		"suspended":                          {known: true, proved: true, at: testInstant},
		"suspended, and it ran out":          {known: true, proved: true, at: after(30 * time.Minute)},
		"suspended, and its secret replaced": {known: true, proved: true},
		"replaced at once":                   {known: true, proved: true},
		"replaced, and its overlap is over":  {known: true, proved: true},
		"replaced, and the token is dead":    {known: true, proved: true},
		"exhausted":                          {known: true, proved: true, at: testInstant, reason: EndExhausted},
		"subject refused":                    {known: true, proved: true},
		"subject refused with more to say":   {known: true, proved: true},
	}
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			want, listed := wants[tt.name]
			if !listed {
				t.Fatal("nothing is said of this refusal")
			}
			s := newCauseScene(t)
			err := tt.do(t, s)
			var r *Rejection
			if !errors.As(err, &r) {
				t.Fatalf("no Rejection in %v", err)
			}
			wanted := Rejection{Err: sentinels[tt.is], At: want.at, Reason: want.reason}
			if want.known {
				wanted.ID = s.issued.ID
			}
			if tt.name == "no such ID" {
				wanted.ID = credentialOf(1).ID()
			}
			if want.proved {
				wanted.Subject = s.issued.Subject
			}
			if diff := cmp.Diff(wanted, *r, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("Rejection (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnknownIsOneAnswer: an absent ID, a wrong secret and another prefix differ
// in nothing but the ID that was presented, and cost the store the same.
func TestUnknownIsOneAnswer(t *testing.T) {
	s := newCauseScene(t)
	absent := s.withOtherSecret()
	absent[0] ^= 1
	var calls []map[string]int
	texts := map[string]bool{}
	for _, bearer := range []string{absent.Text("lapse"), s.withOtherSecret().Text("lapse"), s.credential().Text("other")} {
		clear(s.store.calls)
		for verb, err := range bearerVerbs(t.Context(), s.Manager, bearer) {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s = %v, want ErrUnknown", verb, err)
			}
			text := strings.ReplaceAll(err.Error(), absent.ID().String(), "ID")
			texts[strings.ReplaceAll(text, s.issued.ID.String(), "ID")] = true
		}
		calls = append(calls, map[string]int{"Get": s.store.calls["Get"], "all": len(s.store.calls)})
	}
	one := map[string]int{"Get": 7, "all": 1}
	if diff := cmp.Diff([]map[string]int{one, one, one}, calls); diff != "" {
		t.Errorf("calls of the store (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"lapse: unauthenticated: unknown token: ID": true}, texts); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

// TestRejectionText, as logs have it: ID#generation once the secret is proved, and no
// subject.
func TestRejectionText(t *testing.T) {
	id := fromHex("000102030405060708090a0b0c0d0e0f" + strings.Repeat("00", secretLen))
	at := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	for want, r := range map[string]Rejection{
		"lapse: unauthenticated: malformed token": {Err: ErrMalformed},
		"lapse: unauthenticated: unknown token: 001IYT0XLWR0glqewhlWlr": {
			Err: ErrUnknown, ID: id.ID()},
		"lapse: unauthenticated: token replaced: 001IYT0XLWR0glqewhlWlr#4294967295": {
			Err: ErrReplaced, ID: id.ID(), Subject: "ana", Generation: 1<<32 - 1},
		"lapse: unauthenticated: refresh token reused: 001IYT0XLWR0glqewhlWlr#7 was ended at 2026-03-01T12:30:00Z (reused)": {
			Err: ErrReused, ID: id.ID(), Subject: "ana", Generation: 7, At: at, Reason: EndReused},
		"lapse: unauthenticated: token expired: 001IYT0XLWR0glqewhlWlr#0 ran out at 2026-03-01T12:30:00Z": {
			Err: ErrExpired, ID: id.ID(), Subject: "ana", At: at},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (revoked)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndRevoked},
		"lapse: unauthenticated: token suspended: 001IYT0XLWR0glqewhlWlr#0 has been suspended since 2026-03-01T12:30:00Z": {
			Err: ErrSuspended, ID: id.ID(), Subject: "ana", At: at},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (subject)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndSubject},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (evicted)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: EndEvicted},
		"lapse: unauthenticated: token revoked: 001IYT0XLWR0glqewhlWlr#0 was ended at 2026-03-01T12:30:00Z (unknown)": {
			Err: ErrRevoked, ID: id.ID(), Subject: "ana", At: at, Reason: 200},
		"suspended: lapse: unauthenticated: refused: 001IYT0XLWR0glqewhlWlr#0": {
			Err: fmt.Errorf("suspended: %w", ErrRefused), ID: id.ID(), Subject: "ana"},
	} {
		if diff := cmp.Diff(want, r.Error()); diff != "" {
			t.Errorf("text (-want +got):\n%s", diff)
		}
		if !errors.Is(&r, ErrUnauthenticated) {
			t.Errorf("%v does not wrap ErrUnauthenticated", &r)
		}
	}
}

// TestRejectionAt is the earlier of both deaths, and says the reason of an end
// that came too late to matter no differently.
func TestRejectionAt(t *testing.T) {
	s := newCauseScene(t)
	s.clock.Set(after(10 * time.Minute)) // before it runs out
	if _, err := s.ExpireBearer(t.Context(), s.issued.Bearer); err != nil {
		t.Fatal(err)
	}
	s.clock.Set(after(100 * time.Hour)) // long after it would have
	var r *Rejection
	if err := s.authenticate(t); !errors.As(err, &r) || !r.At.Equal(after(10*time.Minute)) || r.Reason != EndRevoked {
		t.Errorf("Rejection = %+v", r)
	}
}

// TestRejectionsAreNotShared: a caller who changes the found one changes no other caller
// else's.
func TestRejectionsAreNotShared(t *testing.T) {
	var first, second *Rejection
	if !errors.As(ErrMalformed, &first) {
		t.Fatal("no Rejection in ErrMalformed")
	}
	first.Subject, first.Err = "changed", nil
	if !errors.As(ErrMalformed, &second) {
		t.Fatal("no Rejection in ErrMalformed")
	}
	if diff := cmp.Diff(Rejection{Err: ErrMalformed}, *second, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("second Rejection (-want +got):\n%s", diff)
	}
}

// TestAsFindsNothingElse: only a *Rejection is made up.
func TestAsFindsNothingElse(t *testing.T) {
	var own *ownError
	if errors.As(ErrMalformed, &own) {
		t.Errorf("found %v", own)
	}
	var r *Rejection
	if errors.As(ErrUnauthenticated, &r) {
		t.Errorf("the umbrella by itself says why: %v", r)
	}
}

type ownError struct{}

func (*ownError) Error() string { return "own" }

// TestRejectedEvents carry the same Rejection as what is returned. A text whose secret was
// replaced has an event of its own.
func TestRejectedEvents(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			s := newCauseScene(t)
			var told []Event
			s.observe = func(_ context.Context, e Event) {
				if e.Kind == EventRejected || e.Kind == EventSpent {
					told = append(told, e)
				}
			}
			err := tt.do(t, s)
			var r *Rejection
			if !errors.As(err, &r) || len(told) != 1 {
				t.Fatalf("%v; told %d rejections, want 1", err, len(told))
			}
			if told[0].Verb == 0 {
				t.Error("no verb is told")
			}
			want := Event{Kind: EventRejected, At: s.now(), Verb: told[0].Verb, Prefix: s.prefix, Token: Token{ID: r.ID, Subject: r.Subject, Generation: r.Generation}, Err: err}
			if tt.is == "ErrReplaced" {
				want.Kind = EventSpent
			}
			if diff := cmp.Diff(want, told[0], cmpopts.EquateErrors()); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

// refusedScene has a token and a session of ana with texts of every kind: of the secret in
// use, of secrets that were replaced, and of such that never were.
type refusedScene struct {
	store *tallyStore
	clock interface{ Set(time.Time) }
	m     *Manager // of the prefix of the access texts
	pairs *Pairs
	token ID
	login ID
	texts map[string]string

	observe func(context.Context, Event)
}

// newRefusedScene makes the scene. A rotation of the plain token is a minute old at most, and
// the last refresh is a second old.
func newRefusedScene(t *testing.T) *refusedScene {
	t.Helper()
	s := &refusedScene{store: newTallyStore(), texts: map[string]string{"malformed": "lapse_junk"}}
	cfg := Config{Observe: func(ctx context.Context, e Event) {
		if s.observe != nil {
			s.observe(ctx, e)
		}
	}}
	m, mock := managerOver(t, s.store, cfg)
	cfg.Clock = mock
	s.m, s.clock, s.pairs = m, mock, made(NewPairs(s.store, PairConfig{Access: cfg}))
	s.plain(t)
	s.session(t)
	return s
}

// plain makes the texts of a plain token of generation 3, which is in use.
func (s *refusedScene) plain(t *testing.T) {
	ctx := t.Context()
	first := issueTo(t, s.m, Grant{Subject: "ana", Scope: "read"})
	second := made(s.m.Rotate(ctx, first.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, second.Bearer))
	third := made(s.m.Rotate(ctx, second.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, third.Bearer))
	fourth := made(s.m.Rotate(ctx, third.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, fourth.Bearer))
	s.token = first.ID
	rec := made(s.store.Get(ctx, first.ID))
	r, _, err := rotationOf(&rec)
	if err != nil {
		t.Fatal(err)
	}
	text := func(generation uint32) string {
		return craft(first.ID, &r.key, s.m.binding, plainSecret, generation, "lapse")
	}
	s.add("plain", map[string]string{
		"current": fourth.Bearer, "previous": third.Bearer, "spent": second.Bearer, "first": first.Bearer,
		"ahead": text(4), "far ahead": text(math.MaxUint32), "forged": text(3), "forged, of the previous": text(2), "made up": text(1),
		"without a right tag": craft(first.ID, &tagKey{1}, s.m.binding, plainSecret, 1, "lapse"),
		"of another kind":     craft(first.ID, &r.key, s.m.binding, accessSecret, 1, "lapse"),
	})
}

// session makes the texts of a session of generation 2.
func (s *refusedScene) session(t *testing.T) {
	ctx := t.Context()
	first := made(s.pairs.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	second := made(s.pairs.Refresh(ctx, first.Refresh.Bearer))
	third := made(s.pairs.Refresh(ctx, second.Refresh.Bearer))
	s.login = first.Access.ID
	rec := made(s.store.Get(ctx, s.login))
	kept, _ := sessionOf(&rec)
	key := kept.key()
	access := func(generation uint32) string {
		return craft(s.login, &key, s.m.binding, accessSecret, generation, "lapse")
	}
	refresh := func(generation uint32) string {
		return craft(s.login, &key, s.pairs.refresh.binding, refreshSecret, generation, "lapse_refresh")
	}
	s.add("access", map[string]string{
		"current": third.Access.Bearer, "previous": second.Access.Bearer, "spent": first.Access.Bearer,
		"ahead": access(3), "forged": access(2), "made up": access(0),
		"of another kind": craft(s.login, &key, s.m.binding, plainSecret, 0, "lapse"),
	})
	s.add("refresh", map[string]string{
		"current": third.Refresh.Bearer, "previous": second.Refresh.Bearer, "spent": first.Refresh.Bearer,
		"ahead": refresh(3), "forged": refresh(2), "made up": refresh(0),
		"of another kind": craft(s.login, &key, s.pairs.refresh.binding, accessSecret, 0, "lapse_refresh"),
	})
}

// change rewrites a record.
func (s *refusedScene) change(t *testing.T, id ID, f func(rec *storage.Record)) {
	t.Helper()
	err := s.store.Update(t.Context(), "ana", func(tx storage.Tx) error {
		rec, err := tx.Get(id)
		f(&rec)
		return errors.Join(err, tx.Put(rec))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *refusedScene) add(kind string, texts map[string]string) {
	for name, text := range texts {
		s.texts[kind+" "+name] = text
	}
}

// craft returns a text with a right tag by key, whose random bytes are made up.
func craft(id ID, key *tagKey, b binding, kind secretKind, generation uint32, prefix string) string {
	var c credential
	copy(c[:], id[:])
	c.SetTagged(key, b, kind, generation, []byte("twenty bytes made up"))
	return c.Text(prefix)
}

// refusedVerbs are the verbs that take a text.
var refusedVerbs = map[string]func(ctx context.Context, s *refusedScene, text string) error{
	"Authenticate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Authenticate(ctx, text)
		return err
	},
	"Peek": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Peek(ctx, text)
		return err
	},
	"Hold": func(ctx context.Context, s *refusedScene, text string) error {
		ctx, release := context.WithCancel(ctx)
		defer release()
		_, _, err := opened(s.m.Hold(ctx, text))
		return err
	},
	"Delegate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Delegate(ctx, text, Grant{})
		return err
	},
	"Renew": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Renew(ctx, text)
		return err
	},
	"Confirm": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Confirm(ctx, text)
		return err
	},
	"Rotate": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Rotate(ctx, text, time.Second)
		return err
	},
	"Rotate, 0": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.Rotate(ctx, text, 0)
		return err
	},
	"ExpireBearer": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.m.ExpireBearer(ctx, text)
		return err
	},
	"Pairs.Refresh": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.pairs.Refresh(ctx, text)
		return err
	},
	"Pairs.Peek": func(ctx context.Context, s *refusedScene, text string) error {
		_, err := s.pairs.Peek(ctx, text)
		return err
	},
	"Pairs.ExpireBearer": func(ctx context.Context, s *refusedScene, text string) error {
		return loggedOut(s.pairs.ExpireBearer(ctx, text))
	},
}

// verdicts are the sentinels that each verb says of a text, "" for good. What no column
// names says the first.
type verdicts struct {
	use                         string // Authenticate, Peek, Hold, Delegate, Confirm
	renew, rotate, rotateAtOnce string
	expire                      string // ExpireBearer, and that of Pairs except for refresh texts
	refresh, peekPair, expireIt string
}

func (v *verdicts) of(verb string) string {
	switch verb {
	case "Renew":
		return v.renew
	case "Rotate":
		return v.rotate
	case "Rotate, 0":
		return v.rotateAtOnce
	case "ExpireBearer":
		return v.expire
	case "Pairs.Refresh":
		return v.refresh
	case "Pairs.Peek":
		return v.peekPair
	case "Pairs.ExpireBearer":
		return v.expireIt
	}
	return v.use
}

func same(err string) verdicts { return verdicts{err, err, err, err, err, err, err, err} }

const (
	uk = "ErrUnknown"
	rp = "ErrReplaced"
	nr = "ErrNotRenewable"
	ex = "ErrRevoked"
)

// textRows say what each verb says of each text: of a token and a session that live, and
// of such that are dead.
var textRows = map[string]struct{ live, dead verdicts }{
	"malformed":                     {same("ErrMalformed"), same("ErrMalformed")},
	"plain current":                 {verdicts{refresh: uk, peekPair: uk}, verdicts{ex, ex, ex, ex, "", uk, uk, ""}},
	"plain previous":                {verdicts{rotate: "ErrRotated", refresh: uk, peekPair: uk}, verdicts{ex, ex, ex, ex, "", uk, uk, ""}},
	"plain spent":                   {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain first":                   {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain made up":                 {verdicts{rp, rp, rp, rp, rp, uk, uk, rp}, verdicts{rp, rp, rp, rp, rp, uk, uk, rp}},
	"plain ahead":                   {same(uk), same(uk)},
	"plain far ahead":               {same(uk), same(uk)},
	"plain forged":                  {same(uk), same(uk)},
	"plain forged, of the previous": {same(uk), same(uk)},
	"plain without a right tag":     {same(uk), same(uk)},
	"plain of another kind":         {same(uk), same(uk)},
	"access current":                {verdicts{renew: nr, rotate: nr, rotateAtOnce: nr, refresh: uk, peekPair: uk}, verdicts{ex, ex, nr, nr, "", uk, uk, ""}},
	"access previous":               {verdicts{renew: nr, rotate: nr, rotateAtOnce: nr, refresh: uk, peekPair: uk}, verdicts{ex, ex, nr, nr, "", uk, uk, ""}},
	"access spent":                  {verdicts{rp, rp, nr, nr, "", uk, uk, ""}, verdicts{rp, rp, nr, nr, "", uk, uk, ""}},
	"access made up":                {verdicts{rp, rp, nr, nr, "", uk, uk, ""}, verdicts{rp, rp, nr, nr, "", uk, uk, ""}},
	"access ahead":                  {same(uk), same(uk)},
	"access forged":                 {same(uk), same(uk)},
	"access of another kind":        {same(uk), same(uk)},
	"refresh current":               {verdicts{uk, uk, uk, uk, uk, "", "", ""}, verdicts{uk, uk, uk, uk, uk, ex, ex, ""}},
	"refresh previous":              {verdicts{uk, uk, uk, uk, uk, "", "", ""}, verdicts{uk, uk, uk, uk, uk, ex, ex, ""}},
	"refresh spent":                 {verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}, verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}},
	"refresh made up":               {verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}, verdicts{uk, uk, uk, uk, uk, "ErrReused", rp, ""}},
	"refresh ahead":                 {same(uk), same(uk)},
	"refresh forged":                {same(uk), same(uk)},
	"refresh of another kind":       {same(uk), same(uk)},
}

// verdictsNoRefusal are the sentinels that do not say that the text is no good.
var verdictsNoRefusal = map[string]bool{nr: true, "ErrRotated": true}

// TestEveryVerbOnEveryText: the error wraps its sentinel, and the umbrella if it refuses
// the text, and nothing else. A refusal carries a Rejection, and anything else none.
func TestEveryVerbOnEveryText(t *testing.T) {
	race.Alone(t)
	for text := range newRefusedScene(t).texts {
		row, listed := textRows[text]
		if !listed {
			t.Fatalf("nothing is said of %q", text)
		}
		for verb, do := range refusedVerbs {
			for _, dead := range []bool{false, true} {
				want := row.live.of(verb)
				s := newRefusedScene(t)
				if dead {
					want = row.dead.of(verb)
					made(s.m.ExpireSubject(t.Context(), "ana"))
				}
				err := do(t.Context(), s, s.texts[text])
				wantVerdict(t, fmt.Sprintf("%s of %s, dead: %v", verb, text, dead), err, want)
			}
		}
	}
}

func wantVerdict(t *testing.T, what string, err error, want string) {
	t.Helper()
	var names []string
	switch refuses := want != "" && !verdictsNoRefusal[want]; {
	case refuses:
		names = sorted(want, "ErrUnauthenticated")
	case want != "":
		names = sorted(want)
	}
	if diff := cmp.Diff(names, isOf(err)); diff != "" || (err == nil) != (want == "") {
		t.Errorf("%s: %v wraps (-want +got):\n%s", what, err, diff)
	}
	var r *Rejection
	if refused := errors.Is(err, ErrUnauthenticated); errors.As(err, &r) != refused {
		t.Errorf("%s: %v carries a Rejection: %v", what, err, !refused)
	}
}

// TestPreviousUntilItsInstant: before, at, after the instant of the previous texts.
func TestPreviousUntilItsInstant(t *testing.T) {
	for text, row := range map[string]struct {
		until time.Duration // since the scene began
		verb  string
		want  string
	}{
		"plain previous":   {time.Minute, "Authenticate", rp},
		"access previous":  {defaultGrace, "Authenticate", rp},
		"refresh previous": {defaultGrace, "Pairs.Refresh", "ErrReused"},
	} {
		for _, off := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			s := newRefusedScene(t)
			s.clock.Set(after(row.until + off))
			want := row.want
			if off < 0 {
				want = ""
			}
			wantVerdict(t, fmt.Sprint(text, " ", off, " after its instant"), refusedVerbs[row.verb](t.Context(), s, s.texts[text]), want)
		}
	}
}

// TestRotateIDErrors: RotateID has no text, so nothing that it says refuses one but the
// death of the token.
func TestRotateIDErrors(t *testing.T) {
	s := newRefusedScene(t)
	ctx := t.Context()
	other, _ := managerOver(t, s.store, Config{Prefix: "other"})
	foreign, ended := issueTo(t, other, Grant{Subject: "ana"}), issueTo(t, s.m, Grant{Subject: "ana"})
	spent := issueTo(t, s.m, Grant{Subject: "ana", MaxUses: 1})
	made(s.m.Authenticate(ctx, spent.Bearer))
	made(s.m.Expire(ctx, ended.ID))
	for name, row := range map[string]struct {
		id      ID
		overlap time.Duration
		want    string
	}{
		"good":                     {s.token, time.Second, ""},
		"a session":                {s.login, time.Second, nr},
		"unknown":                  {ID{1}, time.Second, "ErrNotFound"},
		"of another prefix":        {foreign.ID, time.Second, "ErrNotFound"},
		"ended":                    {ended.ID, time.Second, ex},
		"exhausted":                {spent.ID, time.Second, "ErrExhausted"},
		"negative overlap":         {s.token, -1, "ErrInvalidGrant"},
		"overlap over the maximum": {s.token, 31 * day, "ErrInvalidGrant"},
	} {
		_, err := s.m.RotateID(ctx, row.id, row.overlap)
		names := []string{row.want}
		switch row.want {
		case "":
			names = nil
		case ex, "ErrExhausted":
			names = sorted(row.want, "ErrUnauthenticated")
		}
		if diff := cmp.Diff(names, isOf(err)); diff != "" {
			t.Errorf("%s: %v wraps (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestLastGeneration: a record that has had as many secrets as one can have gets no other,
// and stays as it is.
func TestLastGeneration(t *testing.T) {
	for verb, text := range map[string]string{
		"Rotate": "plain current", "Rotate, 0": "plain current", "RotateID": "plain current", "Pairs.Refresh": "refresh current",
	} {
		for generation, want := range map[uint32]string{math.MaxUint32 - 1: "", math.MaxUint32: nr} {
			s, ctx := newRefusedScene(t), t.Context()
			id := s.token
			if verb == "Pairs.Refresh" {
				id = s.login
			}
			s.change(t, id, func(rec *storage.Record) { rec.Generation = generation })
			before := made(s.store.Get(ctx, id))
			do := refusedVerbs[verb]
			if verb == "RotateID" {
				do = func(ctx context.Context, s *refusedScene, _ string) error {
					_, err := s.m.RotateID(ctx, id, time.Second)
					return err
				}
			}
			wantVerdict(t, fmt.Sprint(verb, " at ", generation), do(ctx, s, s.texts[text]), want)
			if same := made(s.store.Get(ctx, id)).Equal(before); same != (want == nr) {
				t.Errorf("%s at %d: the record is the same: %v", verb, generation, same)
			}
		}
	}
}
