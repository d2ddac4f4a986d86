package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
)

// TestRequire: every word that is missing is named, once for each time it was asked
// for, in that order, and no other.
func TestRequire(t *testing.T) {
	for _, tt := range []struct {
		name    string
		scope   string
		asked   []string
		missing string // "" if none is
	}{
		{"nothing is asked of a token with scope", "read write", nil, ""},
		{"nothing is asked of a token without", "", nil, ""},
		{"an empty list", "read", []string{}, ""},
		{"the only one", "read", []string{"read"}, ""},
		{"the first", "read write", []string{"read"}, ""},
		{"the last", "read write", []string{"write"}, ""},
		{"all, in another order", "read write admin", []string{"admin", "read", "write"}, ""},
		{"one, twice", "read", []string{"read", "read"}, ""},
		{"one that the token has twice", "read read", []string{"read"}, ""},
		{"another", "read", []string{"write"}, `["write"]`},
		{"one of two", "read", []string{"read", "write"}, `["write"]`},
		{"two of three", "read", []string{"write", "read", "admin"}, `["write" "admin"]`},
		{"a missing one, twice", "read", []string{"write", "write"}, `["write" "write"]`},
		{"of a token without scope", "", []string{"read"}, `["read"]`},
		{"part of a word", "read:all", []string{"read"}, `["read"]`},
		{"more than a word", "read", []string{"read:all"}, `["read:all"]`},
		{"another case", "read", []string{"Read"}, `["Read"]`},
		{"two words as one", "read write", []string{"read write"}, `["[10 bytes]"]`},
		{"the empty word", "read", []string{""}, `["[0 bytes]"]`},
		{"the empty word of a token without scope", "", []string{""}, `["[0 bytes]"]`},
		{"a space", "read write", []string{" "}, `["[1 bytes]"]`},
		{"no wildcard", "*", []string{"read"}, `["read"]`},
		{"a percent sign", "read", []string{"100%d", "%!s(MISSING)"}, `["100%d" "%!s(MISSING)"]`},
		{"what would break a line", "read", []string{"a\nb"}, `["[3 bytes]"]`},
		{"a quote", "read", []string{`a"b`}, `["[3 bytes]"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := append([]string(nil), tt.asked...)
			err := lapse.Require(lapse.Token{Scope: tt.scope}, tt.asked...)
			lapsetest.WantDiff(t, "what the caller asked with", asked, append([]string(nil), tt.asked...))
			if tt.missing == "" {
				if err != nil {
					t.Fatalf("Require: %v; want nil", err)
				}
				return
			}
			lapsetest.WantIs(t, "Require", err, lapse.ErrScope)
			if want := "lapse: insufficient scope: " + tt.missing + " is missing"; err == nil || err.Error() != want {
				t.Errorf("it says\n\t%v\nwant\n\t%s", err, want)
			}
		})
	}
}

// TestRequireIsNoVerdict on the token: 403, and never 401. It is about the scope
// alone, and a dead token has one too.
func TestRequireIsNoVerdict(t *testing.T) {
	err := fmt.Errorf("handler: %w", lapse.Require(lapse.Token{}, "read"))
	if errors.Is(err, lapse.ErrUnauthenticated) || errors.As(err, new(*lapse.Rejection)) {
		t.Errorf("%v reads as a bad token", err)
	}
	for _, other := range []error{lapse.ErrInvalidGrant, lapse.ErrUnavailable, lapse.ErrExpired} {
		if errors.Is(err, other) {
			t.Errorf("%v is a %v", err, other)
		}
	}
	ended := lapse.Token{Scope: "read", ExpiresAt: lapsetest.StartMilli, EndedAt: lapsetest.StartMilli.Add(-time.Second)}
	if err := lapse.Require(ended, "read"); err != nil {
		t.Errorf("of a dead token that has it: %v", err)
	}
}

// TestRequireOfWhatAuthenticateReturns, at the limit of what a scope can hold.
func TestRequireOfWhatAuthenticateReturns(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	words := strings.Fields(strings.Repeat("scope ", 170) + "last")
	i := f.issue(lapse.Grant{Subject: "ana", Scope: strings.Join(words, " ")})
	tok, err := f.Authenticate(context.Background(), i.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	if err := lapse.Require(tok, words...); err != nil {
		t.Errorf("all that was granted: %v", err)
	}
	if err := lapse.Require(tok, append(words, "more")...); !errors.Is(err, lapse.ErrScope) || strings.Contains(err.Error(), "last") {
		t.Errorf("one more than was granted: %v", err)
	}
}
