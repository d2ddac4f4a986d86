package lapse_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestSubjectsAreComparedByteForByte: ending the tokens of one ends those of no
// other, however alike they look to people or to a database.
func TestSubjectsAreComparedByteForByte(t *testing.T) {
	for name, subjects := range map[string][]string{
		"prefixes of each other": {"a", "ab", "a/", "a:b", "a:", "aa", "b"},
		"NFC and NFD":            {"caf\u00e9", "cafe\u0301", "cafe"},
		"case":                   {"user", "User", "USER"},
		"spaces":                 {"ana", "ana ", " ana", "ana\u00a0", "ana\u3000"},
		"folding":                {"stra\u00dfe", "strasse", "\u0130stanbul", "istanbul", "\u212a", "K", "k"},
		"wildcards":              {"a%", "a_", "a*", "ab", "a?"},
		"lengths at the limit":   {strings.Repeat("a", 254), strings.Repeat("a", 255), strings.Repeat("a", 254) + "b"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, ended := range subjects {
				endsOnly(t, subjects, ended)
			}
		})
	}
}

// endsOnly issues two tokens to each subject and ends those of one.
func endsOnly(t *testing.T, subjects []string, ended string) {
	t.Helper()
	m, _ := configured(t, memory.New(), lapse.Config{})
	bearers := map[string][]string{}
	for range 2 {
		for _, subject := range subjects {
			bearers[subject] = append(bearers[subject], issueFor(t, m, lapse.Grant{Subject: subject}).Bearer)
		}
	}
	if n, err := m.ExpireSubject(t.Context(), ended); n != 2 || err != nil {
		t.Errorf("ExpireSubject(%q) = %d, %v, want 2", ended, n, err)
	}
	for _, subject := range subjects {
		for _, bearer := range bearers[subject] {
			tok, err := m.Authenticate(t.Context(), bearer)
			if subject == ended && !errors.Is(err, lapse.ErrRevoked) {
				t.Errorf("token of %q after its end = %v, want ErrRevoked", subject, err)
			}
			if subject != ended && (err != nil || tok.Subject != subject) {
				t.Errorf("token of %q after the end of %q = %q, %v", subject, ended, tok.Subject, err)
			}
		}
	}
}

// TestTokensListsOneSubject, without a neighbour's, in the order of their IDs.
func TestTokensListsOneSubject(t *testing.T) {
	m, _ := configured(t, memory.New(), lapse.Config{})
	var want []lapse.Token
	for _, subject := range []string{"a", "ab", "a", "a/", "a", "A"} {
		issued := issueFor(t, m, lapse.Grant{Subject: subject})
		if subject == "a" {
			want = append(want, issued.Token)
		}
	}
	slices.SortFunc(want, func(a, b lapse.Token) int { return a.ID.Compare(b.ID) })
	for range 2 {
		var got []lapse.Token
		for tok, err := range m.Tokens(t.Context(), "a") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, tok)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("tokens (-want +got):\n%s", diff)
		}
	}
}

// TestUnknownSubject has no tokens, which is no error, and none afterwards.
func TestUnknownSubject(t *testing.T) {
	store := memory.New()
	m, _ := configured(t, store, lapse.Config{})
	if n, err := m.ExpireSubject(t.Context(), "nobody"); n != 0 || err != nil {
		t.Errorf("ExpireSubject = %d, %v, want 0, nil", n, err)
	}
	for tok, err := range m.Tokens(t.Context(), "nobody") {
		t.Errorf("Tokens yields %v, %v", tok, err)
	}
	if n := len(stored(t, store)); n != 0 {
		t.Errorf("%d records are stored", n)
	}
}

// TestImpossibleSubjects are refused by every verb that takes one, and the empty
// one does not mean everybody.
func TestImpossibleSubjects(t *testing.T) {
	m, _ := configured(t, memory.New(), lapse.Config{})
	issued := issueFor(t, m, lapse.Grant{Subject: "a"})
	for _, subject := range []string{"", "a\x00", "a\x00b", "\xff", "a\n", strings.Repeat("a", 256)} {
		if n, err := m.ExpireSubject(t.Context(), subject); n != 0 || !errors.Is(err, lapse.ErrInvalidGrant) {
			t.Errorf("ExpireSubject(%.20q) = %d, %v, want 0, ErrInvalidGrant", subject, n, err)
		}
		yields := 0
		for tok, err := range m.Tokens(t.Context(), subject) {
			yields++
			if tok != (lapse.Token{}) || !errors.Is(err, lapse.ErrInvalidGrant) {
				t.Errorf("Tokens(%.20q) yields %v, %v, want ErrInvalidGrant", subject, tok, err)
			}
		}
		if yields != 1 {
			t.Errorf("Tokens(%.20q) yields %d times, want once", subject, yields)
		}
	}
	if _, err := m.Peek(t.Context(), issued.Bearer); err != nil {
		t.Errorf("the token that is there: %v", err)
	}
}
