package lapse_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// stableCodes are the words of Code, which no version changes.
var stableCodes = map[string]error{
	"ok": nil, "malformed": lapse.ErrMalformed, "unknown": lapse.ErrUnknown, "expired": lapse.ErrExpired, "revoked": lapse.ErrRevoked, "suspended": lapse.ErrSuspended,
	"replaced": lapse.ErrReplaced, "refused": lapse.ErrRefused, "exhausted": lapse.ErrExhausted, "reused": lapse.ErrReused, "proof": lapse.ErrProof,
	"bad_credentials": lapse.ErrBadCredentials, "unauthenticated": lapse.ErrUnauthenticated, "bad_config": lapse.ErrInvalidConfig,
	"bad_grant": lapse.ErrInvalidGrant, "bad_id": lapse.ErrInvalidID, "bad_thumbprint": lapse.ErrInvalidThumbprint, "limit": lapse.ErrLimit, "not_renewable": lapse.ErrNotRenewable,
	"not_delegable": lapse.ErrNotDelegable, "rotated": lapse.ErrRotated, "scope": lapse.ErrScope, "clock": lapse.ErrClock,
	"no_keys": lapse.ErrNoKeys, "not_mine": lapse.ErrNotMine, "outcome_unknown": lapse.ErrOutcomeUnknown, "not_found": lapse.ErrNotFound,
	"conflict": lapse.ErrConflict, "closed": lapse.ErrClosed, "corrupt": lapse.ErrCorrupt, "locked": lapse.ErrLocked,
	"unavailable": lapse.ErrUnavailable, "canceled": context.Canceled, "internal": errDisk,
}

// TestFault20Code: each error has its word, wrapped or not, and in a Rejection.
func TestFault20Code(t *testing.T) {
	for word, err := range stableCodes {
		lapsetest.WantDiff(t, word, word, lapse.Code(err))
		if err == nil {
			continue
		}
		lapsetest.WantDiff(t, word+", wrapped", word, lapse.Code(fmt.Errorf("saying hello: %w: %w", errDisk, err)))
		if errors.Is(err, lapse.ErrUnauthenticated) {
			lapsetest.WantDiff(t, word+", in a Rejection", word, lapse.Code(&lapse.Rejection{Err: err, ID: lapse.ID{1}, At: lapsetest.StartMilli}))
		}
	}
	lapsetest.WantDiff(t, "a deadline", "unavailable", lapse.Code(context.DeadlineExceeded))
	lapsetest.WantDiff(t, "a refusal for a cause", "refused", lapse.Code(fmt.Errorf("%w: %w", lapse.ErrRefused, lapse.ErrExpired)))
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
		{"ran out", lapse.ErrExpired, 0, func(f *fixture, _ lapse.Issued) error { f.clock.Add(30 * time.Minute); return nil }},
		{"ended", lapse.ErrRevoked, lapse.EndRevoked, func(f *fixture, i lapse.Issued) error { _, err := f.Expire(f.ctx, i.ID); return err }},
		{"logged out", lapse.ErrRevoked, lapse.EndRevoked, func(f *fixture, i lapse.Issued) error { return lapsetest.LoggedOut(f.ExpireBearer(f.ctx, i.Bearer)) }},
		{"ended with its subject", lapse.ErrRevoked, lapse.EndSubject, func(f *fixture, i lapse.Issued) error {
			_, err := f.ExpireSubject(f.ctx, i.Subject)
			return err
		}},
		{"ended, and then its time passed", lapse.ErrRevoked, lapse.EndRevoked, func(f *fixture, i lapse.Issued) error {
			_, err := f.Expire(f.ctx, i.ID)
			f.clock.Add(time.Hour)
			return err
		}},
		{"replaced", lapse.ErrReplaced, 0, func(f *fixture, i lapse.Issued) error { _, err := f.Rotate(f.ctx, i.Bearer, 0); return err }},
		{"replaced, and then the token ran out", lapse.ErrReplaced, 0, func(f *fixture, i lapse.Issued) error {
			_, err := f.Rotate(f.ctx, i.Bearer, 0)
			f.clock.Add(time.Hour)
			return err
		}},
	} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, row.name, row.does(f, i), nil)
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
			lapsetest.WantIs(t, "Manager.ExpireBearer of a refresh text", lapsetest.LoggedOut(p.Access().ExpireBearer(p.ctx, c.Refresh.Bearer)), lapse.ErrUnknown)
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
	admitting := f.manager(lapse.Config{Admit: func(context.Context, lapse.Token) error { return fmt.Errorf("%w: on holiday", refuse) }, Observe: f.observe})
	i := f.issue(lapse.Grant{Subject: "ana"})
	rotated, err := f.Rotate(f.ctx, f.issue(lapse.Grant{Subject: "ana"}).Bearer, 0)
	lapsetest.WantIs(t, "Rotate", err, nil)
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
			f.clock.Add(time.Minute)
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

// TestErrorsThatHaveWritten: these errors come after a write, and the package comment lists them.
func TestErrorsThatHaveWritten(t *testing.T) {
	poll := func(s *deviceScene, c lapse.DeviceCode) error { _, err := s.Poll(s.ctx, c.Code, "tv"); return err }
	approve := func(s *deviceScene, code string) error {
		_, err := s.Approve(s.ctx, code, lapse.Grant{Subject: "ana"})
		return err
	}
	for _, row := range []struct {
		name    string
		want    error
		prepare func(s *deviceScene) // nil: nothing
		fails   int                  // the call of the store that fails, 0 for none
		call    func(s *deviceScene) error
	}{
		{"Refresh of a replaced text", lapse.ErrReused, func(s *deviceScene) { s.next(s.given); s.clock.Add(10 * time.Second) }, 0,
			func(s *deviceScene) error { _, err := s.Refresh(s.ctx, s.given.Refresh.Bearer); return err }},
		{"Poll undecided", lapse.ErrAuthorizationPending, nil, 0, func(s *deviceScene) error { return poll(s, s.asks) }},
		{"Poll too early", lapse.ErrSlowDown, func(s *deviceScene) { poll(s, s.asks) }, 0, func(s *deviceScene) error { return poll(s, s.asks) }},
		{"Poll that redeems no code", lapse.ErrUnavailable, nil, 4, func(s *deviceScene) error { return poll(s, s.may) }},
		{"Await that redeems no code", lapse.ErrUnavailable, nil, 4, func(s *deviceScene) error { _, err := s.Await(s.ctx, s.may.Code, "tv"); return err }},
		{"Lookup of a wrong code", lapse.ErrUnknown, nil, 0, func(s *deviceScene) error { _, err := s.Lookup(s.ctx, "BCDF-GHJK", "ana"); return err }},
		{"Approve of a wrong code", lapse.ErrUnknown, nil, 0, func(s *deviceScene) error { return approve(s, "BCDF-GHJK") }},
		{"Deny of a wrong code", lapse.ErrUnknown, nil, 0, func(s *deviceScene) error { return s.Deny(s.ctx, "BCDF-GHJK", "ana") }},
		{"Approve that is not noted", lapse.ErrUnavailable, nil, 5, func(s *deviceScene) error { return approve(s, s.asks.UserCode) }},
	} {
		s := newDeviceScene(t, nil)
		if row.prepare != nil {
			row.prepare(s)
		}
		before := stored(t, s.store)
		s.store.Reset()
		if row.fails > 0 {
			s.store.Inject(row.fails, storagetest.FailBefore, lapse.ErrUnavailable)
		}
		lapsetest.WantIs(t, row.name, row.call(s), row.want)
		if after := stored(t, s.store); cmp.Equal(before, after) {
			t.Errorf("%s has written nothing", row.name)
		}
	}
}

// TestHoldThatHasWritten: a context that ends while Hold runs leaves no hold, and the use.
func TestHoldThatHasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := lapsetest.Must(lapse.New(memory.New(), lapse.Config{Observe: func(_ context.Context, e lapse.Event) {
			if e.Kind == lapse.EventRenewed {
				cancel()
				synctest.Wait()
			}
		}}))
		i := lapsetest.Must(m.Issue(ctx, lapse.Grant{Subject: "ana"}))
		time.Sleep(time.Minute)
		h, err := m.Hold(ctx, i.Bearer)
		lapsetest.WantIs(t, "Hold", err, context.Canceled)
		if tok := lapsetest.Must(m.Token(t.Context(), i.ID)); h != nil || !tok.LastUsedAt.Equal(m.Now()) {
			t.Errorf("Hold returned %v, and the token was used at %v", h, tok.LastUsedAt)
		}
	})
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

// hushVerbs are the verbs that take a Grant for a plain token.
func hushVerbs(t *testing.T) map[string]func(g lapse.Grant) error {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
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
	lapsetest.WantIs(t, what, err, lapse.ErrInvalidGrant)
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
		{"Client", lapse.Grant{Subject: "ana", Client: "a\x1bb"}, ""},
		{"Client", lapse.Grant{Subject: "ana", Client: strings.Repeat("c", storage.MaxClient+1)}, ""},
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
		_, err = f.ForgetSubject(f.ctx, subject)
		hushWantField(t, fmt.Sprintf("ForgetSubject of %.40q", subject), err, "Subject")
		for _, err := range p.Sessions(f.ctx, subject) {
			hushWantField(t, fmt.Sprintf("Sessions of %.40q", subject), err, "Subject")
		}
	}
	_, err := lapse.Identify(f.ctx, f.Manager, "", lapse.Verifier[string](lapse.VerifierFunc[string](hushNobody)))
	hushWantField(t, "Identify that names no subject", err, "Subject")
	_, err = lapse.Login(f.ctx, f.Manager, "", lapse.Grant{Subject: "bob"}, lapse.Verifier[string](lapse.VerifierFunc[string](hushAna)))
	hushWantField(t, "Login of another", err, "Subject")
}

func hushAna(context.Context, string) (string, error)    { return "ana", nil }
func hushNobody(context.Context, string) (string, error) { return "", nil }

// hushWantMissing wants err to be an ErrScope that names words, as data and as text.
func hushWantMissing(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	lapsetest.WantIs(t, what, err, lapse.ErrScope)
	var s *lapse.ScopeError
	if !errors.As(err, &s) {
		t.Fatalf("%s: %v is no ScopeError", what, err)
	}
	lapsetest.WantDiff(t, what, words, s.Missing, cmpopts.EquateEmpty())
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

// TestRejectionNamesTheGenerationOfTheText: a Rejection says of which secret the refused
// text was, which need not be the current one.
func TestRejectionNamesTheGenerationOfTheText(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	want := func(what string, err, class error, generation uint32) {
		t.Helper()
		var r *lapse.Rejection
		if !errors.Is(err, class) || !errors.As(err, &r) || r.Generation != generation {
			t.Errorf("%s: %v, of %+v; want %v of generation %d", what, err, r, class, generation)
		}
	}
	old := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	next, err := f.Rotate(f.ctx, old.Bearer, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil { // the last use
		t.Fatal(err)
	}
	_, err = f.Peek(f.ctx, old.Bearer)
	want("previous text, exhausted", err, lapse.ErrExhausted, 0)
	_, err = f.Peek(f.ctx, next.Bearer)
	want("current text, exhausted", err, lapse.ErrExhausted, 1)

	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	n := p.next(c)
	if _, err := p.Access().Expire(p.ctx, c.Access.ID); err != nil {
		t.Fatal(err)
	}
	_, err = p.Access().Authenticate(p.ctx, c.Access.Bearer)
	want("previous access text", err, lapse.ErrRevoked, 0)
	_, err = p.Refresh(p.ctx, c.Refresh.Bearer)
	want("previous refresh text", err, lapse.ErrRevoked, 0)
	_, err = p.Refresh(p.ctx, n.Refresh.Bearer)
	want("current refresh text", err, lapse.ErrRevoked, 1)
}
