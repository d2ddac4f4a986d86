package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

func hushAna(context.Context, string) (string, error)    { return "ana", nil }
func hushNobody(context.Context, string) (string, error) { return "", nil }

// hushWantMissing wants err to be an ErrScope that names words, as data and as text.
func hushWantMissing(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	wantIs(t, what, err, lapse.ErrScope)
	var s *lapse.ScopeError
	if !errors.As(err, &s) {
		t.Fatalf("%s: %v is no ScopeError", what, err)
	}
	wantDiff(t, what, words, s.Missing, cmpopts.EquateEmpty())
	if errors.As(err, new(*lapse.GrantError)) || errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("%s: %v is something else, too", what, err)
	}
}

// TestFault16_MissingWords: every verb that compares scopes says as data what is missing.
func TestFault16_MissingWords(t *testing.T) {
	hushWantMissing(t, "Require", lapse.Require(lapse.Token{Scope: "read"}, "write", "read", "admin"), "write", "admin")
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", Scope: "read"})
	_, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{Scope: "read write"})
	hushWantMissing(t, "Delegate", err, "write")
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{Scope: "read write"})
	_, err = p.Refresh(p.ctx, c.Refresh.Bearer, "delete read", "admin")
	hushWantMissing(t, "Refresh", err, "delete", "admin")
	_, err = p.Refresh(p.ctx, c.Refresh.Bearer, strings.Repeat("s", storage.MaxScope+1))
	hushWantMissing(t, "Refresh with a long scope", err)
	p.next(c, "read")
	_, err = p.Refresh(p.ctx, c.Refresh.Bearer, "write")
	hushWantMissing(t, "Refresh within the grace", err, "write")
	if !strings.Contains(err.Error(), "asked for first") {
		t.Errorf("within the grace it says %v", err)
	}
}

// TestFault16_MissingWordsAreCut: at most 16 of them, of 64 bytes each, and none that
// could be a secret.
func TestFault16_MissingWordsAreCut(t *testing.T) {
	run, mixed := strings.Repeat("aZz", 13), strings.Repeat("a9Z", 8) // 39 letters; 24 with digits
	var seventeen []string
	for n := range 17 {
		seventeen = append(seventeen, fmt.Sprint("w", n))
	}
	for _, row := range []struct {
		name        string
		asked, want []string
		text        string // how it ends
	}{
		{"16 words", seventeen[:16], seventeen[:16], `"w15"] is missing`},
		{"17 words", seventeen, seventeen[:16], `"w15"] and 1 more are missing`},
		{"64 bytes", []string{strings.Repeat("a:", 32)}, []string{strings.Repeat("a:", 32)}, `a:"] is missing`},
		{"65 bytes", []string{strings.Repeat("a:", 32) + "b"}, []string{strings.Repeat("a:", 32)}, `a:"] is missing`},
		{"39 in a row", []string{run}, []string{run}, run + `"] is missing`},
		{"40 in a row", []string{run + "b"}, []string{"[40 bytes]"}, `["[40 bytes]"] is missing`},
		{"40 in a row, late", []string{"a_" + run + "b_a"}, []string{"[44 bytes]"}, `["[44 bytes]"] is missing`},
		{"40 in a row past the cut", []string{strings.Repeat("-", 64) + run + "b"}, []string{"[104 bytes]"}, `["[104 bytes]"] is missing`},
		{"23 with a digit", []string{mixed[:23]}, []string{mixed[:23]}, mixed[:23] + `"] is missing`},
		{"24 with a digit", []string{mixed}, []string{"[24 bytes]"}, `["[24 bytes]"] is missing`},
		{"24 with a digit, late", []string{"a_" + mixed + "_a"}, []string{"[28 bytes]"}, `["[28 bytes]"] is missing`},
		{"39 twice", []string{run + "." + run}, []string{run + "." + run[:24]}, ` is missing`},
		{"no word", []string{""}, []string{"[0 bytes]"}, `["[0 bytes]"] is missing`},
		{"a space", []string{"a b"}, []string{"[3 bytes]"}, `["[3 bytes]"] is missing`},
		{"a quote", []string{`a"b`}, []string{"[3 bytes]"}, `["[3 bytes]"] is missing`},
		{"a line feed", []string{"a\nb"}, []string{"[3 bytes]"}, `["[3 bytes]"] is missing`},
		{"longer than any scope", []string{strings.Repeat("-", storage.MaxScope+1)}, []string{"[1025 bytes]"}, `["[1025 bytes]"] is missing`},
	} {
		err := lapse.Require(lapse.Token{}, row.asked...)
		hushWantMissing(t, row.name, err, row.want...)
		if !strings.HasSuffix(err.Error(), row.text) || !strings.HasPrefix(err.Error(), "lapse: insufficient scope: [") {
			t.Errorf("%s: it says %v; want an end of %s", row.name, err, row.text)
		}
	}
}

// TestFault16_AnswersOfOAuth: an endpoint can tell a wrong scope from a wrong request.
func TestFault16_AnswersOfOAuth(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{Scope: "read"})
	code := func(_ lapse.TokenPair, err error) string {
		var g *lapse.GrantError
		switch {
		case errors.Is(err, lapse.ErrScope), errors.As(err, &g) && g.Field == "Scope":
			return "invalid_scope"
		case g != nil:
			return "invalid_request"
		}
		return fmt.Sprint(err)
	}
	got := []string{
		code(p.Refresh(p.ctx, c.Refresh.Bearer, "write")), code(p.Issue(p.ctx, lapse.Grant{Subject: "ana", Scope: "a  b"})),
		code(p.Issue(p.ctx, lapse.Grant{Subject: "ana", TTL: -1})),
	}
	if want := []string{"invalid_scope", "invalid_scope", "invalid_request"}; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}
