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
		Access:    IssuedText{Issued{Token: Token{ID: access.ID(), Prefix: "lapse", Subject: "ana", Scope: "read write"}, Bearer: access.Text("lapse")}},
		Refresh:   IssuedText{Issued{Token: Token{ID: refresh.ID(), Prefix: "lapse_refresh", Subject: "ana", Scope: "read write"}, Bearer: refresh.Text("lapse_refresh")}},
		ExpiresIn: Seconds(1799_999 * time.Millisecond),
		Scope:     "read write",
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
		{"narrowed", func(c *TokenPair) { c.Scope = "read" }, `"expires_in":1799,"refresh_token":"REFRESH","scope":"read"}`},
		{"no scope", func(c *TokenPair) { c.Scope = "" }, `"expires_in":1799,"refresh_token":"REFRESH"}`},
		{"half an hour", func(c *TokenPair) { c.ExpiresIn = Seconds(30 * time.Minute) }, `"expires_in":1800,"refresh_token":"REFRESH","scope":"read write"}`},
		{"a second", func(c *TokenPair) { c.ExpiresIn = Seconds(time.Second) }, `"expires_in":1,"refresh_token":"REFRESH","scope":"read write"}`},
		{"under a second", func(c *TokenPair) { c.ExpiresIn = Seconds(time.Second - 1) }, `"expires_in":1,"refresh_token":"REFRESH","scope":"read write"}`},
		{"a millisecond", func(c *TokenPair) { c.ExpiresIn = Seconds(time.Millisecond) }, `"expires_in":1,"refresh_token":"REFRESH","scope":"read write"}`},
		{"negative", func(c *TokenPair) { c.ExpiresIn = -1 }, `"expires_in":0,"refresh_token":"REFRESH","scope":"read write"}`},
		{"nothing left", func(c *TokenPair) { c.ExpiresIn = 0 }, `"expires_in":0,"refresh_token":"REFRESH","scope":"read write"}`},
		{"longest", func(c *TokenPair) { c.ExpiresIn = Seconds(NoLimit) }, `"expires_in":9223372036,"refresh_token":"REFRESH","scope":"read write"}`},
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

// TestFault12_ReadsAnswersOfOtherServers: what they write of expires_in is read, and what they leave out
// stays as it was. No error repeats what was sent.
func TestFault12_ReadsAnswersOfOtherServers(t *testing.T) {
	text := func(s string) IssuedText { return IssuedText{Issued{Bearer: s}} }
	had := TokenPair{Access: IssuedText{Issued{Token: Token{Name: "n", Scope: "old"}, Bearer: "old"}}, Refresh: text("kept"), Scope: "old", ExpiresIn: 7, Repeated: true}
	after := func(seconds time.Duration) *TokenPair {
		return &TokenPair{Access: text("a"), Refresh: text("kept"), Scope: "old", ExpiresIn: Seconds(seconds * time.Second), Repeated: true}
	}
	untimed := after(0)
	untimed.ExpiresIn = had.ExpiresIn
	full := after(1)
	full.Refresh, full.Scope = text("r"), "read"
	for rest, want := range map[string]*TokenPair{ // nil: an error
		`"token_type":"bearer"`: untimed, `"token_type":"BEARER","expires_in":null,"refresh_token":null,"more":[1]`: untimed, `"scope":"old"`: untimed,
		`"expires_in":3600`: after(3600), `"expires_in":"3600"`: after(3600), `"expires_in":3600.0`: after(3600), `"expires_in":"3600.0"`: after(3600),
		`"expires_in":3.6e3`: after(3600), `"expires_in":3599.99`: after(3599), `"expires_in":0`: after(0), `"expires_in":-5`: after(0),
		`"expires_in":"-5"`: after(0), `"expires_in":-1e999`: after(0), `"expires_in":1e999`: after(9223372036), `"expires_in":"9223372036854775808"`: after(9223372036),
		`"expires_in":9223372036`: after(9223372036), `"expires_in":1,"refresh_token":"r","scope":"read"`: full,
		`"expires_in":"SECRET"`: nil, `"expires_in":""`: nil, `"expires_in":" 1"`: nil, `"expires_in":"0x10"`: nil, `"expires_in":"NaN"`: nil, `"expires_in":true`: nil,
		`"expires_in":{"SECRET":1}`: nil, `"token_type":"SECRET"`: nil, `"token_type":5`: nil, `"refresh_token":["SECRET"]`: nil, `"refresh_token":5`: nil,
	} {
		got := had
		err := json.Unmarshal([]byte(`{"access_token":"a",`+rest+`}`), &got)
		if (err == nil) != (want != nil) || want != nil && !cmp.Equal(*want, got) {
			t.Errorf("%s: %v, %#v, %d s", rest, err, got, time.Duration(got.ExpiresIn)/time.Second)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", rest, err)
		}
	}
	for _, text := range []string{`[]`, `{"access_token":1}`, `""`} {
		if got := had; json.Unmarshal([]byte(text), &got) == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

// TestTokenPairPrintsNoSecret: no printer but JSON shows one, in any shape, nor does a
// log line of the value itself.
func TestTokenPairPrintsNoSecret(t *testing.T) {
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
	prefix, _ := c.Parse(bearer, "lapse_refresh", begin("lapse_refresh"))
	sum := c.Sum(newRefreshBinding(prefix))
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
