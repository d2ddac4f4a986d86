package lapse

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestSearchFindsWhatLeaks: it would find each secret in each form, or the other
// tests of this file mean nothing.
func TestSearchFindsWhatLeaks(t *testing.T) {
	c := credentialOf(11)
	bearer := c.Text("lapse")
	s := secretsOf(bearer)
	type open struct{ Secret any }
	sum, refreshing := c.Sum(newBinding("lapse")), c.Sum(newRefreshBinding("lapse"))
	r := rotated{key: tagKey([]byte("the key of tags!")), salt: [saltLen]byte([]byte("what it is from."))}
	s.addRecord(&storage.Record{Sealed: r.seal()})
	for name, planted := range map[string]any{
		"bearer": bearer, "bearer in bytes": []byte(bearer), "digits of the secret": bearer[28:72], "tail": bearer[66:],
		"raw secret": c[idLen:], "raw secret, array": [32]byte(c[idLen:]), "raw secret, text": string(c[idLen:]),
		"half of it": c[idLen+16:], "credential": [48]byte(*c), "digest": sum, "digest in bytes": sum[:], "digest, text": string(sum[:]),
		"digest of a refresh text": refreshing[:], "key of tags": r.key, "salt": r.salt[:], "sealed": r.seal().Text(),
	} {
		for i, v := range []any{planted, open{planted}, []open{{planted}}, map[string]any{"k": planted}} {
			outputs(func(printer, output string) {
				if strings.HasSuffix(printer, "T") || strings.HasSuffix(printer, "as a width") || printer == "XML's error" || i > 0 && strings.HasPrefix(printer, "gob") {
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
	if found := s.leaks(c.ID().String() + " lapse_ " + fmt.Sprint(c[:idLen]) + fmt.Sprintf("%x", c[:idLen])); found != nil {
		t.Errorf("the ID, which anybody may see, counts as %v", found)
	}
}

// holders are values of every exported type of lapse and storage that is near a
// secret, in every shape: of a token, of one whose secret was replaced, of one that was
// obtained, and of a session that was refreshed. With them come all of their secrets.
func holders(t *testing.T) (map[string]map[string]any, secrets) {
	t.Helper()
	ctx, store, all := t.Context(), newTallyStore(), secrets{}
	var told []Event
	material := bytes.Repeat([]byte("key!"), 8)
	cfg := Config{Policy: Policy{MaxTokens: 3, AtLimit: LimitEndOldest}, Keys: hushKeys([][]byte{material}), Observe: func(_ context.Context, e Event) { told = append(told, e) }}
	m, mock := managerOver(t, store, cfg)
	cfg.Policy.MaxTokens, cfg.Clock = 0, mock
	pairs := made(NewPairs(store, PairConfig{Access: cfg}))
	issueTo(t, m, Grant{Subject: "ana"})
	issued := issueTo(t, m, Grant{Subject: "ana", Name: "laptop", Scope: "read", Data: "data"})
	first := issueTo(t, m, Grant{Subject: "ana"})
	rotated := made(m.Rotate(ctx, first.Bearer, time.Minute))
	obtained := made(m.Obtain(ctx, Grant{Subject: "ana"}))
	login := made(pairs.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	refreshed := made(pairs.Refresh(ctx, login.Refresh.Bearer))
	if len(told) < 7 {
		t.Fatalf("%d events", len(told))
	}
	all.addLong("key", material)
	values := map[string]map[string]any{
		"Issued": shapes(issued), "Token": shapes(issued.Token), "rotated": {"value": rotated, "pointer": &rotated},
		"session": {"value": refreshed.Access.Issued, "slice": []Issued{refreshed.Access.Issued}}, "Event": shapes(told[len(told)-1]), "events": {"slice": told}, "Config": shapes(cfg),
		"PairConfig": shapes(PairConfig{Access: cfg, Refresh: cfg}), "Pairs": {"pointer": pairs, "any": []any{pairs}},
		"Manager": {"pointer": m, "any": []any{m}},
	}
	r := &Rejection{Err: ErrReused, ID: issued.ID, Subject: "ana", Generation: 1, At: testInstant, Reason: EndReused}
	values["Rejection"], values["error"] = shapes(*r), shapes(error(r))
	for name, i := range map[string]Issued{"a token": issued, "a rotated token": rotated, "an obtained token": obtained, "a session": refreshed.Refresh.Issued} {
		rec := made(store.Get(ctx, i.ID))
		all.addRecord(&rec)
		values["storage.Record of "+name] = map[string]any{"value": rec, "pointer": &rec}
		values["storage.Digest"], values["storage.Sealed"] = shapes(rec.Digest), shapes(rec.Sealed)
	}
	values["storage.Record"] = shapes(made(store.Get(ctx, refreshed.Access.ID)))
	for _, bearer := range []string{issued.Bearer, first.Bearer, rotated.Bearer, obtained.Bearer, login.Access.Bearer, login.Refresh.Bearer, refreshed.Access.Bearer, refreshed.Refresh.Bearer} {
		all.merge(secretsOf(bearer))
	}
	return values, all
}

// made returns v: err can only be a mistake of the test.
func made[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// shownBy returns which printers show a secret in v, the shortest name first.
func (s secrets) shownBy(v any) (printers []string) {
	outputs(func(printer, output string) {
		if s.leaks(output) != nil {
			printers = append(printers, printer)
		}
	}, v)
	slices.SortFunc(printers, func(a, b string) int { return len(a) - len(b) })
	return printers
}

// TestNothingSecretIsPrinted, whatever is printed how.
func TestNothingSecretIsPrinted(t *testing.T) {
	race.Alone(t)
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
