package lapse

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestSearchFindsWhatLeaks: it would find each secret in each form, or the other
// tests of this file mean nothing.
func TestSearchFindsWhatLeaks(t *testing.T) {
	c := credentialOf(11)
	bearer := c.text("lapse")
	s := secretsOf(bearer)
	type open struct{ Secret any }
	sum := c.digest(newBinding("lapse")).Sum()
	for name, planted := range map[string]any{
		"bearer": bearer, "bearer in bytes": []byte(bearer), "digits of the secret": bearer[28:72], "tail": bearer[66:],
		"raw secret": c[idLen:], "raw secret, array": [32]byte(c[idLen:]), "raw secret, text": string(c[idLen:]),
		"half of it": c[idLen+16:], "credential": [48]byte(*c), "digest": sum, "digest in bytes": sum[:], "digest, text": string(sum[:]),
	} {
		for i, v := range []any{planted, open{planted}, []open{{planted}}, map[string]any{"k": planted}} {
			outputs(func(printer, output string) {
				if strings.HasSuffix(printer, "T") || strings.HasSuffix(printer, "as a width") || i > 0 && strings.HasPrefix(printer, "gob") {
					return // a type, a complaint, or that gob knows no type for any
				}
				if len(s.leaks(output)) == 0 {
					t.Errorf("%s by %s is not found in %.300q", name, printer, output)
				}
			}, v)
		}
	}
	for _, encoded := range []string{
		fmt.Sprintf("%x", sum), fmt.Sprintf("%X", c[:]), base64.StdEncoding.EncodeToString(c[:]), base64.RawURLEncoding.EncodeToString(sum[:]),
		base64.StdEncoding.EncodeToString([]byte(bearer)), base64.URLEncoding.EncodeToString([]byte("Bearer " + bearer)),
		"..." + bearer[len(bearer)-10:], bearer[:45],
	} {
		if len(s.leaks("before "+encoded+" after")) == 0 {
			t.Errorf("%s is not found", encoded)
		}
	}
	if found := s.leaks(c.id().String() + " lapse_ " + fmt.Sprint(c[:idLen]) + fmt.Sprintf("%x", c[:idLen])); found != nil {
		t.Errorf("the ID, which anybody may see, counts as %v", found)
	}
}

// holders are values of every exported type of lapse and storage that is near a
// secret, made of one real token, in every shape.
func holders(t *testing.T) (map[string]map[string]any, secrets) {
	t.Helper()
	store := newTallyStore()
	var told []Event
	m, _ := managerOver(t, store, Config{Policy: Policy{MaxTokens: 1, AtLimit: LimitEndOldest}, Observe: func(e Event) { told = append(told, e) }})
	issueTo(t, m, Grant{Subject: "ana"})
	issued := issueTo(t, m, Grant{Subject: "ana", Name: "laptop", Scope: "read", Data: "data"})
	rec, err := store.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	rejection := &Rejection{Err: ErrExpired, ID: issued.ID, Subject: "ana", At: testInstant, Reason: EndExpired}
	return map[string]map[string]any{
		"Issued": shapes(issued), "Token": shapes(issued.Token), "Rejection": shapes(*rejection), "error": shapes(error(rejection)),
		"Event": shapes(told[len(told)-1]), "events": shapes(told), "Config": shapes(Config{Observe: func(Event) {}}),
		"Manager": {"pointer": m, "any": []any{m}}, "storage.Record": shapes(rec), "storage.Digest": shapes(rec.Digest),
	}, secretsOf(issued.Bearer)
}

// shownBy returns which printers show a secret in v, the shortest name first.
func (s secrets) shownBy(v any) (printers []string) {
	outputs(func(printer, output string) {
		if s.leaks(output) != nil {
			printers = append(printers, printer)
		}
	}, v)
	slices.SortFunc(printers, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	return printers
}

// TestNothingSecretIsPrinted, whatever is printed how.
func TestNothingSecretIsPrinted(t *testing.T) {
	values, s := holders(t)
	for name, shapes := range values {
		t.Run(name, func(t *testing.T) {
			for shape, v := range shapes {
				if printers := s.shownBy(v); len(printers) > 0 {
					t.Errorf("%s: secrets are shown by %s and %d more", shape, printers[0], len(printers)-1)
				}
			}
		})
	}
}

// TestStorePrints: a store that is printed by accident shows no digests.
func TestStorePrints(t *testing.T) {
	store := memory.New()
	m, _ := managerOver(t, store, Config{})
	s := secretsOf(issueTo(t, m, Grant{Subject: "ana"}).Bearer)
	for name, v := range map[string]any{"pointer": store, "any": []any{store}, "in a struct": struct{ Store storage.Store }{store}} {
		if printers := s.shownBy(v); len(printers) > 0 {
			t.Errorf("%s: digests are shown by %s and %d more", name, printers[0], len(printers)-1)
		}
	}
}

// TestIssuedResolves: a handler of somebody else's, which neither formats nor
// marshals, is handed no Bearer either.
func TestIssuedResolves(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	v := slog.AnyValue(issued).Resolve().Any()
	if fmt.Sprintf("%#v", v) == fmt.Sprintf("%#v", struct{}{}) {
		t.Errorf("it resolves to nothing: %v", v)
	}
	for _, text := range []string{fmt.Sprintf("%p", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%+v", v)} {
		if found := secretsOf(issued.Bearer).leaks(text); found != nil {
			t.Errorf("it resolves to a %T, which holds the %s", v, found[0])
		}
	}
}
