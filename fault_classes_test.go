package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// verdicts are the errors by which this package decides, none of which a store or a hook
// can make it return.
var verdicts = map[string]error{
	"ErrUnauthenticated": lapse.ErrUnauthenticated, "ErrMalformed": lapse.ErrMalformed, "ErrUnknown": lapse.ErrUnknown,
	"ErrExpired": lapse.ErrExpired, "ErrRevoked": lapse.ErrRevoked, "ErrReplaced": lapse.ErrReplaced, "ErrRefused": lapse.ErrRefused,
	"ErrExhausted": lapse.ErrExhausted, "ErrReused": lapse.ErrReused, "ErrBadCredentials": lapse.ErrBadCredentials,
	"ErrInvalidConfig": lapse.ErrInvalidConfig, "ErrInvalidGrant": lapse.ErrInvalidGrant, "ErrLimit": lapse.ErrLimit,
	"ErrNotRenewable": lapse.ErrNotRenewable, "ErrNotDelegable": lapse.ErrNotDelegable, "ErrRotated": lapse.ErrRotated,
	"ErrScope": lapse.ErrScope, "ErrClock": lapse.ErrClock, "ErrNoKeys": lapse.ErrNoKeys, "ErrNotMine": lapse.ErrNotMine,
	"ErrInvalidID": lapse.ErrInvalidID, "ErrNotFound": lapse.ErrNotFound, "a GrantError": &lapse.GrantError{Field: "TTL"}, "a ScopeError": &lapse.ScopeError{Missing: []string{"read"}},
	"a Rejection": &lapse.Rejection{Err: lapse.ErrExpired, ID: lapse.ID{9}},
}

// otherVerdicts are what verbs of another Manager returned.
func otherVerdicts(t *testing.T) map[string]error {
	t.Helper()
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	_, full := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	_, absent := f.Token(f.ctx, lapse.ID{1})
	_, rotates := f.RotateID(f.ctx, lapse.ID{1}, 0)
	f.Expire(f.ctx, i.ID)
	_, refused := f.Authenticate(f.ctx, i.Bearer)
	return map[string]error{"another's ErrLimit": full, "another's ErrNotFound": absent, "another's ErrNotFound of RotateID": rotates, "another's refusal": refused}
}

// wantNoVerdict: err says that something else failed, by cause, and decides nothing.
func wantNoVerdict(t *testing.T, name string, err, cause error) {
	t.Helper()
	var r *lapse.Rejection
	var grant *lapse.GrantError
	var scope *lapse.ScopeError
	if !errors.Is(err, cause) || errors.As(err, &r) || errors.As(err, &grant) || errors.As(err, &scope) {
		t.Errorf("%s: %v, with the Rejection %v; want one by %v alone", name, err, r, cause)
	}
	for sentinel, verdict := range verdicts {
		if errors.Is(err, verdict) {
			t.Errorf("%s: %v wraps %s", name, err, sentinel)
		}
	}
}

// TestFault19StoresDecideNothing: whatever a store returns from whichever call, a verb
// answers that it could not tell, or is a use that is good all the same.
func TestFault19StoresDecideNothing(t *testing.T) {
	alone(t)
	tries := 0
	verdicts := maps.Clone(verdicts)
	maps.Copy(verdicts, otherVerdicts(t))
	for _, verb := range verbs {
		calls := callsOf(t, verb.do)
		for sentinel, verdict := range verdicts {
			for n, call := range calls {
				if strings.Contains(sentinel, "ErrNotFound") && call == opGet {
					continue // there it is the store's to say
				}
				for _, says := range []error{fmt.Errorf("%w: %w", errDisk, verdict), fmt.Errorf("%w: %w", lapse.ErrUnavailable, verdict), verdict} {
					tries++
					name := fmt.Sprintf("%s: %s from call %d, %v", verb.name, sentinel, n+1, call)
					s := newScene(t)
					s.store.Reset()
					s.store.Inject(n+1, storagetest.FailBefore, says)
					gave, err := verb.do(s.ctx, s)
					if n+1 == verb.use {
						wantIs(t, name, err, nil)
						err = s.events[0].Err
					} else if gave != "" {
						t.Errorf("%s gave %q", name, gave)
					}
					wantNoVerdict(t, name, err, lapse.ErrUnavailable)
				}
			}
		}
	}
	t.Logf("%d errors from stores", tries)
}

// TestFault19StoresDecideNothingOfPairs: the same for Pairs.
func TestFault19StoresDecideNothingOfPairs(t *testing.T) {
	alone(t)
	for _, verb := range pairVerbs {
		s := newPairScene(t, nil)
		verb.do(s.ctx, s)
		for n, call := range s.store.Calls() {
			for sentinel, verdict := range verdicts {
				if sentinel == "ErrNotFound" && call == opGet {
					continue
				}
				s := newPairScene(t, nil)
				s.store.Inject(n+1, storagetest.FailBefore, fmt.Errorf("%w: %w", errDisk, verdict))
				_, err := verb.do(s.ctx, s)
				name := fmt.Sprintf("%s: %s from call %d, %v", verb.name, sentinel, n+1, call)
				wantNoVerdict(t, name, err, errDisk)
				wantIs(t, name, err, lapse.ErrUnavailable)
			}
		}
	}
}

// TestFault19HooksDecideTheirOwn: what Admit returns refuses a token if it wraps
// ErrRefused, and whatever else it wraps decides nothing; so with a Verifier and
// ErrBadCredentials.
func TestFault19HooksDecideTheirOwn(t *testing.T) {
	var says error
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error { return says }})
	i := f.issue(lapse.Grant{Subject: "ana"})
	verbs := map[string]func() error{
		"Authenticate": func() error { _, err := f.Authenticate(f.ctx, i.Bearer); return err },
		"Hold":         func() error { _, err := f.Hold(f.ctx, i.Bearer); return err },
		"Renew":        func() error { _, err := f.Renew(f.ctx, i.Bearer); return err },
		"Rotate":       func() error { _, err := f.Rotate(f.ctx, i.Bearer, time.Minute); return err },
		"Delegate":     func() error { _, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{}); return err },
		"Identify, by Admit": func() error {
			_, err := lapse.Identify(f.ctx, f.Manager, "", verifierThatSays("ana", nil))
			return err
		},
		"Identify": func() error {
			admitted := f.manager(lapse.Config{})
			_, err := lapse.Identify(f.ctx, admitted, "", verifierThatSays("", says))
			return err
		},
		"Login": func() error {
			_, err := lapse.Login(f.ctx, f.manager(lapse.Config{}), "", lapse.Grant{}, verifierThatSays("", says))
			return err
		},
	}
	for verb, do := range verbs {
		for sentinel, verdict := range verdicts {
			switch {
			case sentinel == "ErrRefused" && verb != "Identify" && verb != "Login":
				continue
			case (sentinel == "ErrBadCredentials" || sentinel == "ErrNotMine") && (verb == "Identify" || verb == "Login"):
				continue
			}
			says = fmt.Errorf("%w: %w", errDisk, verdict)
			wantNoVerdict(t, verb+": "+sentinel, do(), errDisk)
			if verb == "Identify" || verb == "Login" {
				continue
			}
			says = fmt.Errorf("%w: %w: %w", errDisk, lapse.ErrRefused, verdict)
			var r *lapse.Rejection
			err := do()
			if !errors.Is(err, lapse.ErrRefused) || !errors.Is(err, errDisk) || !errors.As(err, &r) || r.Err == verdict {
				t.Errorf("%s: refused, and %s: %v", verb, sentinel, err)
			}
			if sentinel != "ErrRefused" && sentinel != "ErrUnauthenticated" && errors.Is(err, verdict) {
				t.Errorf("%s: a refusal wraps %s as well: %v", verb, sentinel, err)
			}
		}
	}
}

func verifierThatSays(subject string, err error) lapse.Verifier[string] {
	return lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return subject, err })
}
