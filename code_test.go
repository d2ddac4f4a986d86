package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// stableCodes are the words of Code, which no version changes.
var stableCodes = map[string]error{
	"ok": nil, "malformed": lapse.ErrMalformed, "unknown": lapse.ErrUnknown, "expired": lapse.ErrExpired, "revoked": lapse.ErrRevoked,
	"replaced": lapse.ErrReplaced, "refused": lapse.ErrRefused, "exhausted": lapse.ErrExhausted, "reused": lapse.ErrReused,
	"bad_credentials": lapse.ErrBadCredentials, "unauthenticated": lapse.ErrUnauthenticated, "bad_config": lapse.ErrInvalidConfig,
	"bad_grant": lapse.ErrInvalidGrant, "bad_id": lapse.ErrInvalidID, "limit": lapse.ErrLimit, "not_renewable": lapse.ErrNotRenewable,
	"not_delegable": lapse.ErrNotDelegable, "rotated": lapse.ErrRotated, "scope": lapse.ErrScope, "clock": lapse.ErrClock,
	"no_keys": lapse.ErrNoKeys, "not_mine": lapse.ErrNotMine, "outcome_unknown": lapse.ErrOutcomeUnknown, "not_found": lapse.ErrNotFound,
	"conflict": lapse.ErrConflict, "closed": lapse.ErrClosed, "corrupt": lapse.ErrCorrupt, "locked": lapse.ErrLocked,
	"unavailable": lapse.ErrUnavailable, "canceled": context.Canceled, "internal": errDisk,
}

// TestFault20Code: each error has its word, wrapped or not, and in a Rejection.
func TestFault20Code(t *testing.T) {
	for word, err := range stableCodes {
		wantDiff(t, word, word, lapse.Code(err))
		if err == nil {
			continue
		}
		wantDiff(t, word+", wrapped", word, lapse.Code(fmt.Errorf("saying hello: %w: %w", errDisk, err)))
		if errors.Is(err, lapse.ErrUnauthenticated) {
			wantDiff(t, word+", in a Rejection", word, lapse.Code(&lapse.Rejection{Err: err, ID: lapse.ID{1}, At: startMilli}))
		}
	}
	wantDiff(t, "a deadline", "unavailable", lapse.Code(context.DeadlineExceeded))
	wantDiff(t, "a refusal for a cause", "refused", lapse.Code(fmt.Errorf("%w: %w", lapse.ErrRefused, lapse.ErrExpired)))
	for sentinel, err := range verdicts {
		if word := lapse.Code(err); word == "internal" || !strings.HasPrefix(sentinel, "a ") && stableCodes[word] != err {
			t.Errorf("%s: %s", sentinel, word)
		}
	}
}

// TestFault20Words: what ran out is expired, what was ended early is revoked, and a text
// whose secret was replaced is replaced; each is that alone.
func TestFault20Words(t *testing.T) {
	all := []error{lapse.ErrExpired, lapse.ErrRevoked, lapse.ErrReplaced}
	for _, row := range []struct {
		name   string
		want   error
		reason lapse.EndReason
		does   func(f *fixture, i lapse.Issued) error
	}{
		{"ran out", lapse.ErrExpired, 0, func(f *fixture, _ lapse.Issued) error { f.clock.add(30 * time.Minute); return nil }},
		{"ended", lapse.ErrRevoked, lapse.EndRevoked, func(f *fixture, i lapse.Issued) error { _, err := f.Expire(f.ctx, i.ID); return err }},
		{"logged out", lapse.ErrRevoked, lapse.EndRevoked, func(f *fixture, i lapse.Issued) error { return loggedOut(f.ExpireBearer(f.ctx, i.Bearer)) }},
		{"ended with its subject", lapse.ErrRevoked, lapse.EndSubject, func(f *fixture, i lapse.Issued) error {
			_, err := f.ExpireSubject(f.ctx, i.Subject)
			return err
		}},
		{"ended, and then its time passed", lapse.ErrRevoked, lapse.EndRevoked, func(f *fixture, i lapse.Issued) error {
			_, err := f.Expire(f.ctx, i.ID)
			f.clock.add(time.Hour)
			return err
		}},
		{"replaced", lapse.ErrReplaced, 0, func(f *fixture, i lapse.Issued) error { _, err := f.Rotate(f.ctx, i.Bearer, 0); return err }},
		{"replaced, and then the token ran out", lapse.ErrReplaced, 0, func(f *fixture, i lapse.Issued) error {
			_, err := f.Rotate(f.ctx, i.Bearer, 0)
			f.clock.add(time.Hour)
			return err
		}},
	} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana"})
		wantIs(t, row.name, row.does(f, i), nil)
		_, err := f.Authenticate(f.ctx, i.Bearer)
		for _, word := range all {
			if errors.Is(err, word) != (word == row.want) {
				t.Errorf("%s: %v; want %v alone", row.name, err, row.want)
			}
		}
		var r *lapse.Rejection
		if !errors.As(err, &r) || r.Reason != row.reason || !errors.Is(err, lapse.ErrUnauthenticated) {
			t.Errorf("%s: %v, with the reason %v; want %v", row.name, err, r.Reason, row.reason)
		}
	}
}

// TestFault22OneLogOut: of Pairs there is one log-out, which takes either text and returns
// the session; that of the Manager takes texts of its prefix.
func TestFault22OneLogOut(t *testing.T) {
	for name, text := range map[string]func(c lapse.TokenPair) string{
		"access":  func(c lapse.TokenPair) string { return c.Access.Bearer },
		"refresh": func(c lapse.TokenPair) string { return c.Refresh.Bearer },
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		c := p.first(lapse.Grant{})
		if name == "refresh" {
			wantIs(t, "Manager.ExpireBearer of a refresh text", loggedOut(p.Access().ExpireBearer(p.ctx, c.Refresh.Bearer)), lapse.ErrUnknown)
		}
		for range 2 {
			session, err := p.Pairs.ExpireBearer(p.ctx, text(c))
			if err != nil || session.ID != c.Access.ID || session.Kind != lapse.KindSession || session.EndReason != lapse.EndRevoked {
				t.Errorf("by the %s text: %+v, %v", name, session, err)
			}
		}
		p.wantRefresh("logged out by the "+name+" text", c, lapse.ErrRevoked)
		p.wantAccess("logged out by the "+name+" text", c, lapse.ErrRevoked)
	}
}

func ExampleCode() {
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")
	count := func(err error) { fmt.Printf("lapse_authenticate_total{outcome=%q}\n", lapse.Code(err)) }

	_, err := m.Authenticate(context.Background(), issued.Bearer)
	count(err)
	mock.Add(time.Hour)
	_, err = m.Authenticate(context.Background(), issued.Bearer)
	count(err)
	// Output:
	// lapse_authenticate_total{outcome="ok"}
	// lapse_authenticate_total{outcome="expired"}
}
