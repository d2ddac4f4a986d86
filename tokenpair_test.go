package lapse

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// samplePair has secrets that stand nowhere else.
func samplePair() TokenPair {
	refresh, access := credentialOf(4), credentialOf(5)
	return TokenPair{
		Access:    Issued{Token: Token{ID: access.id(), Prefix: "lapse", Subject: "ana", Scope: "read write"}, Bearer: access.text("lapse")},
		Refresh:   Issued{Token: Token{ID: refresh.id(), Prefix: "lapse_refresh", Subject: "ana", Scope: "read write"}, Bearer: refresh.text("lapse_refresh")},
		ExpiresIn: 1799_999 * time.Millisecond,
	}
}

// TestCredentialsJSON is the answer of RFC 6749 section 5.1 to the letter.
func TestCredentialsJSON(t *testing.T) {
	c := samplePair()
	for _, row := range []struct {
		name   string
		change func(*TokenPair)
		want   string
	}{
		{"golden", func(*TokenPair) {}, `"expires_in":1799,"refresh_token":"REFRESH","scope":"read write"}`},
		{"narrowed", func(c *TokenPair) { c.Access.Scope = "read" }, `"expires_in":1799,"refresh_token":"REFRESH","scope":"read"}`},
		{"no scope", func(c *TokenPair) { c.Access.Scope = "" }, `"expires_in":1799,"refresh_token":"REFRESH"}`},
		{"half an hour", func(c *TokenPair) { c.ExpiresIn = 30 * time.Minute }, `"expires_in":1800,"refresh_token":"REFRESH","scope":"read write"}`},
		{"under a second", func(c *TokenPair) { c.ExpiresIn = time.Second - 1 }, `"expires_in":0,"refresh_token":"REFRESH","scope":"read write"}`},
		{"nothing left", func(c *TokenPair) { c.ExpiresIn = 0 }, `"expires_in":0,"refresh_token":"REFRESH","scope":"read write"}`},
		{"longest", func(c *TokenPair) { c.ExpiresIn = NoLimit }, `"expires_in":9223372036,"refresh_token":"REFRESH","scope":"read write"}`},
	} {
		c := c
		row.change(&c)
		want := `{"access_token":"` + c.Access.Bearer + `","token_type":"Bearer",` + strings.ReplaceAll(row.want, "REFRESH", c.Refresh.Bearer)
		for form, v := range map[string]any{"value": c, "pointer": &c} {
			got, err := json.Marshal(v)
			if err != nil || string(got) != want {
				t.Errorf("%s, %s: %s, %v; want %s", row.name, form, got, err, want)
			}
		}
		var back TokenPair
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		if again, _ := json.Marshal(back); string(again) != want {
			t.Errorf("%s: it reads back as %s", row.name, again)
		}
	}
}

func TestCredentialsFromJSON(t *testing.T) {
	for _, row := range []struct {
		text string
		want *TokenPair // nil: an error
	}{
		{`{"access_token":"a","token_type":"bearer"}`, &TokenPair{Access: Issued{Bearer: "a"}}},
		{`{"access_token":"a","token_type":"Bearer","expires_in":-5,"more":1}`, &TokenPair{Access: Issued{Bearer: "a"}}},
		{`{"access_token":"a","token_type":"Bearer","expires_in":9223372036854775807}`, &TokenPair{Access: Issued{Bearer: "a"}, ExpiresIn: 9223372036 * time.Second}},
		{`{"access_token":"a","token_type":"mac"}`, nil},
		{`{"error":"invalid_grant"}`, nil},
		{`{}`, nil},
		{`[]`, nil},
		{`{"access_token":1,"token_type":"Bearer"}`, nil},
	} {
		got := TokenPair{Repeated: true}
		err := json.Unmarshal([]byte(row.text), &got)
		if (err == nil) != (row.want != nil) {
			t.Errorf("%s: %v", row.text, err)
		}
		if row.want != nil && !cmp.Equal(*row.want, got) {
			t.Errorf("%s: %#v", row.text, got.shown())
		}
	}
}

// TestCredentialsPrintNoSecret: no printer but JSON shows one, in any shape, nor does a
// log line of the value itself.
func TestCredentialsPrintNoSecret(t *testing.T) {
	c := samplePair()
	all := secretsOf(c.Access.Bearer)
	all.merge(secretsOf(c.Refresh.Bearer))
	shown := 0
	for shape, v := range shapes(c) {
		outputs(func(printer, output string) {
			bare := shape == "value" || shape == "pointer"
			if strings.HasPrefix(printer, "JSON") || printer == "slog JSON" && !bare {
				return // its purpose
			}
			if found := all.leaks(output); found != nil {
				t.Errorf("%s by %s shows the %s", shape, printer, found[0])
			}
			if strings.Contains(output, c.Access.ID.String()) {
				shown++
			}
		}, v)
	}
	if shown == 0 {
		t.Error("nothing was shown at all")
	}
	if text := fmt.Sprintf("%v", slog.AnyValue(c).Resolve().Any()); all.leaks(text) != nil || !strings.Contains(text, "ana") {
		t.Errorf("it resolves to %s", text)
	}
	if err := gob.NewEncoder(&bytes.Buffer{}).Encode(c); err == nil {
		t.Error("gob takes it")
	}
}

// TestPairEventsHoldNoSecret, whatever Pairs has to tell, and neither does what it answers
// beside the texts: lists, Peek, and what is stored, as far as that prints.
func TestPairEventsHoldNoSecret(t *testing.T) {
	var told []Event
	store := newTallyStore()
	p, err := NewPairs(store, PairConfig{Access: Config{Clock: fixedClock{testInstant}, Observe: func(_ context.Context, e Event) { told = append(told, e) }}})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := p.Issue(t.Context(), Grant{Subject: "ana"})
	b, _ := p.Refresh(t.Context(), a.Refresh.Bearer)
	c, _ := p.Refresh(t.Context(), b.Refresh.Bearer)
	_, replaced := p.Peek(t.Context(), a.Refresh.Bearer)
	_, spent := p.Access().Peek(t.Context(), a.Access.Bearer)
	_, scope := p.Refresh(t.Context(), b.Refresh.Bearer, "read")
	peeked, _ := p.Peek(t.Context(), c.Refresh.Bearer)
	var listed []Token
	for tok, err := range p.Sessions(t.Context(), "ana") {
		listed = append(listed, tok)
		if err != nil {
			t.Fatal(err)
		}
	}
	rec, err := store.Get(t.Context(), c.Refresh.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, reuse := p.Refresh(t.Context(), a.Refresh.Bearer)
	if len(told) != 7 || reuse == nil || len(listed) != 1 || peeked != listed[0] {
		t.Fatalf("%d events, %d sessions, %v", len(told), len(listed), reuse)
	}
	all := secrets{}
	for _, credentials := range []TokenPair{a, b, c} {
		all.merge(secretsOf(credentials.Access.Bearer))
		all.merge(refreshSecretsOf(credentials.Refresh.Bearer))
	}
	key := mustSession(t, &rec).key()
	all.addBytes("key of the tags", key[:8])
	all.addBytes("key of the tags", key[8:])
	all.addBytes("salt", []byte(mustSession(t, &rec).salt()[:8]))
	for name, v := range map[string]any{
		"events": told, "errors": []error{replaced, spent, scope, reuse}, "Pairs": p, "sessions": listed, "record": rec, "session": peeked,
	} {
		if printers := all.shownBy(v); len(printers) > 0 {
			t.Errorf("%s: secrets are shown by %s", name, printers[0])
		}
	}
}

func mustSession(t *testing.T, rec *storage.Record) session {
	t.Helper()
	s, ok := sessionOf(rec)
	if !ok {
		t.Fatal("no session")
	}
	return s
}

// refreshSecretsOf is secretsOf for a refresh text, whose digest is another.
func refreshSecretsOf(bearer string) secrets {
	s := secretsOf(bearer)
	var c credential
	prefix, _ := c.parse(bearer, "lapse_refresh", begin("lapse_refresh"))
	sum := c.sum(newRefreshBinding(prefix))
	for at := 0; at < len(sum); at += 8 {
		s.addBytes("digest", sum[at:][:8])
	}
	s.addBase64("digest", sum[:])
	return s
}

// merge adds what to search for from more.
func (s secrets) merge(more secrets) {
	for head, texts := range more {
		if s[head] == nil {
			s[head] = map[string]string{}
		}
		maps.Copy(s[head], texts)
	}
}
