package lapse_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// hushVerbs are the verbs that take a Grant for a plain token.
func hushVerbs(t *testing.T) map[string]func(g lapse.Grant) error {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	parent := f.issue(lapse.Grant{Subject: "ana"})
	verifier := lapse.VerifierFunc[string](hushAna)
	return map[string]func(g lapse.Grant) error{
		"Issue":  func(g lapse.Grant) error { _, err := f.Issue(f.ctx, g); return err },
		"Obtain": func(g lapse.Grant) error { _, err := f.Obtain(f.ctx, g); return err },
		"Login": func(g lapse.Grant) error {
			_, err := lapse.Login(f.ctx, f.Manager, "password", g, lapse.Verifier[string](verifier))
			return err
		},
		"Delegate": func(g lapse.Grant) error { _, err := f.Delegate(f.ctx, parent.Bearer, g); return err },
	}
}

// hushWantField wants err to be an ErrInvalidGrant of a field, as data and as text.
func hushWantField(t *testing.T, what string, err error, field string) {
	t.Helper()
	wantIs(t, what, err, lapse.ErrInvalidGrant)
	var g *lapse.GrantError
	if !errors.As(err, &g) || g.Field != field || g.Limit == "" {
		t.Errorf("%s: %v is %+v; want the field %s and its limit", what, err, g, field)
		return
	}
	if want := "lapse: invalid grant: " + field + ": " + g.Limit; g.Error() != want || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%s: it says %q; want %q", what, err, want)
	}
}

// TestFault16_FieldOfAGrant: every verb that takes a Grant says as data which field is
// out of its limits.
func TestFault16_FieldOfAGrant(t *testing.T) {
	verbs := hushVerbs(t)
	p := memoryPairs(t, lapse.PairConfig{})
	for _, row := range []struct {
		field string
		g     lapse.Grant
		not   string // a verb that lets it pass
	}{
		{"Subject", lapse.Grant{Subject: "a\nb"}, ""},
		{"Subject", lapse.Grant{Subject: strings.Repeat("s", storage.MaxSubject+1)}, ""},
		{"Subject", lapse.Grant{Subject: "\xff"}, ""},
		{"Subject", lapse.Grant{}, "Login, Delegate"},
		{"Name", lapse.Grant{Subject: "ana", Name: "a\x1bb"}, ""},
		{"Name", lapse.Grant{Subject: "ana", Name: strings.Repeat("n", storage.MaxName+1)}, ""},
		{"Scope", lapse.Grant{Subject: "ana", Scope: "two  spaces"}, ""},
		{"Scope", lapse.Grant{Subject: "ana", Scope: strings.Repeat("s", storage.MaxScope+1)}, ""},
		{"Data", lapse.Grant{Subject: "ana", Data: strings.Repeat("d", storage.MaxData+1)}, ""},
		{"TTL", lapse.Grant{Subject: "ana", TTL: -1}, ""},
		{"TTL", lapse.Grant{Subject: "ana", TTL: math.MaxInt64}, ""},
		{"MaxUses", lapse.Grant{Subject: "ana", MaxUses: -1}, ""},
		{"SessionTTL", lapse.Grant{Subject: "ana", SessionTTL: -1}, ""},
		{"Jitter", lapse.Grant{Subject: "ana", Jitter: 0.51}, ""},
		{"Jitter", lapse.Grant{Subject: "ana", Jitter: math.NaN()}, ""},
	} {
		for name, verb := range verbs {
			if !strings.Contains(row.not, name) {
				hushWantField(t, fmt.Sprintf("%s of %.40q", name, fmt.Sprint(row.g)), verb(row.g), row.field)
			}
		}
		_, err := p.Issue(p.ctx, row.g)
		hushWantField(t, fmt.Sprintf("Pairs.Issue of %.40q", fmt.Sprint(row.g)), err, row.field)
	}
	for field, g := range map[string]lapse.Grant{
		"SessionTTL": {Subject: "ana", SessionTTL: 91 * 24 * time.Hour}, "MaxUses": {Subject: "ana", MaxUses: 1}, "TTL": {Subject: "ana", TTL: 91 * 24 * time.Hour},
	} {
		_, err := p.Issue(p.ctx, g)
		hushWantField(t, "Pairs.Issue", err, field)
	}
}

// TestFault16_FieldByItself: what is given without a Grant is named as a field.
func TestFault16_FieldByItself(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	p := memoryPairs(t, lapse.PairConfig{})
	for _, overlap := range []time.Duration{-1, 1, math.MaxInt64} {
		_, err := f.Rotate(f.ctx, i.Bearer, overlap)
		hushWantField(t, fmt.Sprint("Rotate, ", overlap), err, "overlap")
		_, err = f.RotateID(f.ctx, i.ID, overlap)
		hushWantField(t, fmt.Sprint("RotateID, ", overlap), err, "overlap")
	}
	for _, subject := range []string{"", "\x00", "\xff", strings.Repeat("s", storage.MaxSubject+1)} {
		_, err := f.ExpireSubject(f.ctx, subject)
		hushWantField(t, fmt.Sprintf("ExpireSubject of %.40q", subject), err, "Subject")
		for _, err := range f.Tokens(f.ctx, subject) {
			hushWantField(t, fmt.Sprintf("Tokens of %.40q", subject), err, "Subject")
		}
		for _, err := range p.Sessions(f.ctx, subject) {
			hushWantField(t, fmt.Sprintf("Sessions of %.40q", subject), err, "Subject")
		}
	}
	_, err := lapse.Identify(f.ctx, f.Manager, "", lapse.Verifier[string](lapse.VerifierFunc[string](hushNobody)))
	hushWantField(t, "Identify that names no subject", err, "Subject")
	_, err = lapse.Login(f.ctx, f.Manager, "", lapse.Grant{Subject: "bob"}, lapse.Verifier[string](lapse.VerifierFunc[string](hushAna)))
	hushWantField(t, "Login of another", err, "Subject")
}
