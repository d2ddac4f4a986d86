package lapse_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestFault12_EmbeddingSwallowsNothing: a caller's struct keeps its other fields in JSON, both
// ways.
func TestFault12_EmbeddingSwallowsNothing(t *testing.T) {
	type withIssued struct {
		lapse.Issued
		Extra string `json:"extra"`
	}
	type withPointer struct {
		*lapse.Issued
		Extra string `json:"extra"`
	}
	type withPair struct {
		lapse.TokenPair
		Extra string `json:"extra"`
	}
	type withEvent struct {
		lapse.Event
		Extra string `json:"extra"`
	}
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{Scope: "read"})
	i := c.Access.Issued
	event := lapse.Event{Kind: lapse.EventIssued, Token: i.Token}
	for name, row := range map[string]struct {
		v    any
		want []string
	}{
		"Issued":    {withIssued{i, "mine"}, []string{`"id":"` + i.ID.String(), `"scope":"read"`}},
		"*Issued":   {&withPointer{&i, "mine"}, []string{`"id":"` + i.ID.String(), `"scope":"read"`}},
		"TokenPair": {withPair{c, "mine"}, []string{`"access_token":"` + c.Access.Bearer, `"refresh_token":"` + c.Refresh.Bearer, `"token_type":"Bearer"`, `"expires_in":900`}},
		"Event":     {withEvent{event, "mine"}, []string{`"kind":"issued"`, `"id":"` + i.ID.String()}},
	} {
		text, err := json.Marshal(row.v)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range append(row.want, `"extra":"mine"`) {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: %s; want %s", name, text, want)
			}
		}
		if name != "TokenPair" && strings.Contains(string(text), i.Bearer) {
			t.Errorf("%s shows the bearer", name)
		}
	}
	var issued withIssued
	text, _ := json.Marshal(withIssued{i, "mine"})
	if err := json.Unmarshal(text, &issued); err != nil || issued.Token != i.Token || issued.Extra != "mine" {
		t.Errorf("an Issued comes back as %+v, %q, %v", issued.Token, issued.Extra, err)
	}
	var pair withPair
	text, _ = json.Marshal(withPair{c, "mine"})
	if err := json.Unmarshal(text, &pair); err != nil || pair.Access.Bearer != c.Access.Bearer || pair.Refresh.Bearer != c.Refresh.Bearer || pair.Scope != "read" || pair.Extra != "mine" {
		t.Errorf("a TokenPair comes back as %+v, %q, %v", pair.TokenPair, pair.Extra, err)
	}
}

// TestFault12_AnEndedTokenComesBack from the JSON that a list sends.
func TestFault12_AnEndedTokenComesBack(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", Name: "x"})
	for range 2 {
		want := f.token(i.ID)
		text, _ := json.Marshal(want)
		var back lapse.Token
		if err := json.Unmarshal(text, &back); err != nil || back != want {
			t.Errorf("%s does not come back: %v", text, err)
		}
		f.Expire(f.ctx, i.ID)
	}
}

// logged is what both handlers of slog write of v.
func answerLogged(v any) (text, structured string) {
	var a, b bytes.Buffer
	slog.New(slog.NewTextHandler(&a, nil)).Info("m", "k", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "k", v)
	return a.String(), b.String()
}

// TestFault12_EventsSayTheirReason in JSON and in both handlers, of whatever kind the error is.
func TestFault12_EventsSayTheirReason(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	cause := errors.New("the disk is full")
	refuse := lapse.ErrRefused
	admitting := f.manager(lapse.Config{Admit: func(context.Context, lapse.Token) error { return fmt.Errorf("%w: on holiday", refuse) }, Observe: func(_ context.Context, e lapse.Event) { f.events = append(f.events, e) }})
	i := f.issue(lapse.Grant{Subject: "ana"})
	rotated, err := f.Rotate(f.ctx, f.issue(lapse.Grant{Subject: "ana"}).Bearer, 0)
	wantIs(t, "Rotate", err, nil)
	for want, do := range map[string]func() error{
		"malformed": func() error { _, err := f.Authenticate(f.ctx, "x"); return err },
		"refused":   func() error { _, err := admitting.Authenticate(f.ctx, i.Bearer); return err },
		"revoked": func() error {
			f.Expire(f.ctx, rotated.ID)
			f.events = nil
			_, err := f.Authenticate(f.ctx, rotated.Bearer)
			return err
		},
		"unavailable": func() error {
			f.clock.add(time.Minute)
			f.store.InjectOp(storagetest.OpTouch, 1, storagetest.FailBefore, cause)
			f.Authenticate(f.ctx, i.Bearer)
			return f.events[0].Err
		},
	} {
		f.events = nil
		err := do()
		if len(f.events) != 1 || lapse.Code(err) != want || !errors.Is(f.events[0].Err, errors.Unwrap(err)) && f.events[0].Err.Error() != err.Error() {
			t.Fatalf("%s: %v, %+v", want, err, f.events)
		}
		text, structured := answerLogged(f.events[0])
		plain, _ := json.Marshal(f.events[0])
		code, says := `"code":"`+want+`"`, f.events[0].Err.Error()
		for form, line := range map[string]string{"slog JSON": structured, "JSON": string(plain)} {
			if !strings.Contains(line, `"err":{`+code) || !strings.Contains(line, strings.Trim(fmt.Sprintf("%q", says), `"`)) {
				t.Errorf("%s, %s: %s; want %s and %s", want, form, line, code, says)
			}
		}
		if !strings.Contains(text, says) {
			t.Errorf("%s, slog text: %s; want %s", want, text, says)
		}
	}
}

// TestFault12_RejectionsSayTheirReason: in JSON with what they know, in logs with their text.
func TestFault12_RejectionsSayTheirReason(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	id := lapse.ID{6: 0x70, 8: 0x80}
	r := lapse.Rejection{Err: lapse.ErrRevoked, ID: id, Subject: "ana", Generation: 2, At: at, Reason: lapse.EndRevoked}
	want := `{"code":"revoked","error":"` + r.Error() + `","id":"` + id.String() + `","subject":"ana","generation":2,"at":"2026-03-02T09:00:00Z","reason":"revoked"}`
	for form, v := range map[string]any{"value": r, "pointer": &r, "error": error(&r)} {
		plain, err := json.Marshal(v)
		if err != nil || string(plain) != want {
			t.Errorf("%s: %s, %v; want %s", form, plain, err, want)
		}
		text, structured := answerLogged(v)
		if !strings.Contains(text, `k="`+r.Error()) || !strings.Contains(structured, `"k":"`+r.Error()) {
			t.Errorf("%s is logged as %s and %s", form, text, structured)
		}
	}
	if plain, err := json.Marshal(lapse.ErrMalformed); err != nil || string(plain) != `{"code":"malformed","error":"lapse: unauthenticated: malformed token"}` {
		t.Errorf("%s, %v", plain, err)
	}
	if plain, err := json.Marshal(lapse.Rejection{}); err != nil || !strings.Contains(string(plain), `"code":"internal"`) {
		t.Errorf("without an Err: %s, %v", plain, err)
	}
}
