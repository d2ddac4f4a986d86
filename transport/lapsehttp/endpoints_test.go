package lapsehttp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// TestRefresh: every answer of the token endpoint about a text, and whether the session lives after it.
func TestRefresh(t *testing.T) {
	with := func(name, value string) url.Values { return url.Values{name: {value}} }
	for name, row := range map[string]struct {
		spoil  func(w *world, p lapse.TokenPair)
		change url.Values
		status int
		code   string
		lives  bool
	}{
		"good":                         {nil, nil, 200, "", true},
		"narrowed":                     {nil, with("scope", "read"), 200, "", true},
		"more scope":                   {nil, with("scope", "read admin"), 400, "invalid_scope", true},
		"no scope at all":              {nil, with("scope", `"`), 400, "invalid_scope", true},
		"password":                     {nil, url.Values{"grant_type": {"password"}, "username": {"ana"}, "password": {"a"}}, 400, "unsupported_grant_type", true},
		"client credentials":           {nil, with("grant_type", "client_credentials"), 400, "unsupported_grant_type", true},
		"another case":                 {nil, with("grant_type", "Refresh_Token"), 400, "unsupported_grant_type", true},
		"garbage":                      {nil, with("refresh_token", "x"), 400, "invalid_grant", true},
		"unknown":                      {nil, with("refresh_token", "lapse_refresh_"+strings.Repeat("0", 72)), 400, "invalid_grant", true},
		"60 KiB":                       {nil, with("refresh_token", "lapse_refresh_"+strings.Repeat("0", 60<<10)), 400, "invalid_grant", true},
		"another client":               {nil, with("client_id", "other"), 400, "invalid_grant", true},
		"a client without id":          {nil, with("client_id", ""), 400, "invalid_grant", true},
		"ended":                        {func(w *world, p lapse.TokenPair) { w.pairs.ExpireBearer(w.t.Context(), p.Access.Bearer) }, nil, 400, "invalid_grant", false},
		"expired":                      {func(w *world, p lapse.TokenPair) { w.clock.Add(30 * 24 * time.Hour) }, nil, 400, "invalid_grant", false},
		"suspended":                    {func(w *world, p lapse.TokenPair) { w.pairs.Access().Suspend(w.t.Context(), p.Access.ID) }, nil, 400, "invalid_grant", true},
		"refused":                      {func(w *world, p lapse.TokenPair) { w.refuse = lapse.ErrRefused }, nil, 400, "invalid_grant", true},
		"Admit down":                   {func(w *world, p lapse.TokenPair) { w.refuse = errDown }, nil, 503, "temporarily_unavailable", true},
		"replaced":                     {func(w *world, p lapse.TokenPair) { w.replaced(p) }, nil, 400, "invalid_grant", false},
		"replaced, another client":     {func(w *world, p lapse.TokenPair) { w.replaced(p) }, with("client_id", "other"), 400, "invalid_grant", true},
		"in its grace":                 {func(w *world, p lapse.TokenPair) { must(w.pairs.Refresh(w.t.Context(), p.Refresh.Bearer)) }, nil, 200, "", true},
		"in its grace, another client": {func(w *world, p lapse.TokenPair) { must(w.pairs.Refresh(w.t.Context(), p.Refresh.Bearer)) }, with("client_id", "other"), 400, "invalid_grant", true},
		"in its grace, another scope":  {func(w *world, p lapse.TokenPair) { must(w.pairs.Refresh(w.t.Context(), p.Refresh.Bearer)) }, with("scope", "read"), 400, "invalid_scope", true},
	} {
		w := newWorld(t, nil)
		pair := w.issue("app", lapse.Grant{Scope: "read write"})
		if row.spoil != nil {
			row.spoil(w, pair)
		}
		values := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {pair.Refresh.Bearer}}
		for name, value := range row.change {
			values[name] = value
		}
		answer := w.post("/token", values)
		if row.code == "" {
			next := w.pairOf(answer)
			if tok, err := w.pairs.Access().Authenticate(t.Context(), next.Access.Bearer); err != nil || tok.Client != "app" || tok.ID != pair.Access.ID {
				t.Errorf("%s: %v, %v", name, tok.Client, err)
			}
			if head := answer.Header(); head.Get("Cache-Control") != "no-store" || head.Get("Pragma") != "no-cache" || head.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %v", name, head)
			}
		} else if code := errorOf(t, name, answer, row.status); code != row.code {
			t.Errorf("%s: %s, want %s", name, code, row.code)
		}
		if live := w.live(pair.Access.ID); live != row.lives {
			t.Errorf("%s: the session lives: %v", name, live)
		}
	}
}

// TestAnAccessTextRefreshesNothing, under either name.
func TestAnAccessTextRefreshesNothing(t *testing.T) {
	w := newWorld(t, nil)
	pair := w.issue("app", lapse.Grant{})
	if code := errorOf(t, "access text", w.refresh("app", pair.Access.Bearer), 400); code != "invalid_grant" || !w.live(pair.Access.ID) {
		t.Errorf("%s, and the session lives: %v", code, w.live(pair.Access.ID))
	}
}

// TestProofOfARefresh: a client without the proof of its key keeps its text.
func TestProofOfARefresh(t *testing.T) {
	w := newWorld(t, nil)
	key := lapse.Thumbprint{1}
	pair := w.issue("public", lapse.Grant{Thumbprint: key})
	id := pair.Access.ID
	for _, path := range []string{"/token", "/revoke"} {
		answer := w.post(path, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {pair.Refresh.Bearer}, "token": {pair.Refresh.Bearer}, "client_id": {"public"}})
		if code := errorOf(t, path, answer, 400); code != "invalid_dpop_proof" || !w.live(id) {
			t.Errorf("%s: %s", path, code)
		}
		for _, key := range []lapse.Thumbprint{{2}, key} {
			body := "grant_type=refresh_token&client_id=public&refresh_token=" + pair.Refresh.Bearer + "&token=" + pair.Refresh.Bearer
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			answer := w.do(r.WithContext(lapse.WithProof(r.Context(), key)))
			if good := answer.Code == 200; good != (key == lapse.Thumbprint{1}) {
				t.Errorf("%s with the key %v: %d", path, key[0], answer.Code)
			}
			if answer.Code == 200 && path == "/token" {
				pair = w.pairOf(answer)
			}
		}
	}
	if w.live(id) {
		t.Error("the session was not revoked")
	}
}

// TestRevoke: 200 says that no client can use the text, and a token of another client lives on.
func TestRevoke(t *testing.T) {
	for name, row := range map[string]struct {
		spoil  func(w *world, p lapse.TokenPair)
		text   func(p lapse.TokenPair) string
		client string
		status int
		code   string
		lives  bool
	}{
		"by the access text":  {nil, access, "app", 200, "", false},
		"by the refresh text": {nil, renews, "app", 200, "", false},
		"unknown":             {nil, func(lapse.TokenPair) string { return "lapse_" + strings.Repeat("0", 72) }, "app", 200, "", true},
		"garbage":             {nil, func(lapse.TokenPair) string { return "\x00" }, "app", 200, "", true},
		"60 KiB":              {nil, func(lapse.TokenPair) string { return strings.Repeat("a", 60<<10) }, "app", 200, "", true},
		"ended":               {func(w *world, p lapse.TokenPair) { w.pairs.ExpireBearer(w.t.Context(), p.Access.Bearer) }, access, "app", 200, "", false},
		"expired":             {func(w *world, p lapse.TokenPair) { w.clock.Add(15 * time.Minute) }, access, "app", 200, "", false},
		"swept": {func(w *world, p lapse.TokenPair) {
			w.pairs.ExpireBearer(w.t.Context(), p.Access.Bearer)
			w.pairs.Access().ForgetSubject(w.t.Context(), "ana")
		}, renews, "app", 200, "", false},
		"suspended":                {func(w *world, p lapse.TokenPair) { w.pairs.Access().Suspend(w.t.Context(), p.Access.ID) }, renews, "app", 200, "", false},
		"refused":                  {func(w *world, p lapse.TokenPair) { w.refuse = lapse.ErrRefused }, access, "app", 200, "", false},
		"Admit down":               {func(w *world, p lapse.TokenPair) { w.refuse = errDown }, access, "app", 200, "", false},
		"Admit down, refresh":      {func(w *world, p lapse.TokenPair) { w.refuse = errDown }, renews, "app", 200, "", false},
		"Admit down, other client": {func(w *world, p lapse.TokenPair) { w.refuse = errDown }, renews, "other", 503, "temporarily_unavailable", true},
		"replaced, access text":    {func(w *world, p lapse.TokenPair) { w.replaced(p) }, access, "app", 200, "", false},
		"replaced, refresh text":   {func(w *world, p lapse.TokenPair) { w.replaced(p) }, renews, "app", 200, "", false},
		"another client":           {nil, access, "other", 400, "invalid_grant", true},
		"another client, refresh":  {nil, renews, "other", 400, "invalid_grant", true},
		"another client, replaced": {func(w *world, p lapse.TokenPair) { w.replaced(p) }, renews, "other", 400, "invalid_grant", true},
		"no client":                {nil, access, "", 400, "invalid_grant", true},
		"an unknown client":        {nil, access, "nobody", 401, "invalid_client", true},
	} {
		w := newWorld(t, nil)
		pair := w.issue("app", lapse.Grant{})
		if row.spoil != nil {
			row.spoil(w, pair)
		}
		for _, hint := range []string{"", "access_token", "refresh_token", "pct"} {
			answer := w.post("/revoke", url.Values{"token": {row.text(pair)}, "token_type_hint": {hint}, "client_id": {row.client}})
			if row.code == "" {
				if answer.Code != 200 || answer.Body.Len() > 0 || answer.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("%s: %d %q %v", name, answer.Code, answer.Body, answer.Header())
				}
			} else if code := errorOf(t, name, answer, row.status); code != row.code {
				t.Errorf("%s: %s, want %s", name, code, row.code)
			}
			tok, err := w.pairs.Access().Token(t.Context(), pair.Access.ID)
			if live := err == nil && tok.Live(w.clock.Now()); live != row.lives {
				t.Errorf("%s: the session lives: %v", name, live)
			}
		}
	}
}

// TestRevokeAReplacedText: the replaced text of a plain token is dead already, and ends nothing.
func TestRevokeAReplacedText(t *testing.T) {
	w := newWorld(t, nil)
	i := must(w.pairs.Access().Issue(t.Context(), lapse.Grant{Subject: "ana", Client: "app"}))
	must(w.pairs.Access().Rotate(t.Context(), i.Bearer, 0))
	if answer := w.post("/revoke", url.Values{"token": {i.Bearer}}); answer.Code != 200 || !w.live(i.ID) {
		t.Errorf("%d, and the token lives: %v", answer.Code, w.live(i.ID))
	}
}

func access(p lapse.TokenPair) string { return p.Access.Bearer }
func renews(p lapse.TokenPair) string { return p.Refresh.Bearer }

// TestRevokeALongForeignText: a text that is too long is not looked at, so it ends no token of another client.
func TestRevokeALongForeignText(t *testing.T) {
	pairs := must(lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Foreign: func(text string) (string, []byte, bool) {
		key := strings.TrimSpace(text)
		return key, []byte(key), true
	}}}))
	e := must(lapsehttp.NewEndpoints(pairs, lapsehttp.ServerOptions{Client: authenticate}))
	w := &world{t: t, mux: http.NewServeMux()}
	w.mux.HandleFunc("/revoke", e.Revoke)
	tok := must(pairs.Access().Import(t.Context(), lapse.Grant{Subject: "ana", Client: "app"}, lapse.Foreign{Key: "x", Digest: []byte("x")}))
	for _, row := range []struct {
		text, client string
		status       int
		lives        bool
	}{
		{"x", "other", 400, true},
		{"x" + strings.Repeat(" ", 8<<10-1), "other", 400, true},
		{"x" + strings.Repeat(" ", 8<<10), "other", 200, true},
		{"x" + strings.Repeat(" ", 8<<10), "app", 200, true},
		{"x", "app", 200, false},
	} {
		answer := w.post("/revoke", url.Values{"token": {row.text}, "client_id": {row.client}})
		if live := must(pairs.Access().Token(t.Context(), tok.ID)).EndedAt.IsZero(); answer.Code != row.status || live != row.lives {
			t.Errorf("%d bytes of %s: %d, and the token lives: %v", len(row.text), row.client, answer.Code, live)
		}
	}
}

// TestIntrospect: what a resource server is told of a good token, to the last field, and that it is
// told the same of every other text.
func TestIntrospect(t *testing.T) {
	w := newWorld(t, nil)
	pair := w.replaced(w.issue("app", lapse.Grant{Scope: "read write"}))
	plain := must(w.pairs.Access().Issue(t.Context(), lapse.Grant{Subject: "ben", MaxUses: 1}))
	at := func(d time.Duration) float64 { return float64(w.clock.Now().Add(d).Unix()) }
	good := map[string]map[string]any{
		pair.Access.Bearer: {"active": true, "scope": "read write", "client_id": "app", "token_type": "Bearer", "sub": "ana", "jti": pair.Access.ID.String() + "#1",
			"exp": at(15*time.Minute - 10*time.Second), "iat": at(-10 * time.Second)},
		pair.Refresh.Bearer: {"active": true, "scope": "read write", "client_id": "app", "sub": "ana", "jti": pair.Access.ID.String() + "#1",
			"exp": at(30*24*time.Hour - 10*time.Second), "iat": at(-10 * time.Second)},
		plain.Bearer: {"active": true, "token_type": "Bearer", "sub": "ben", "jti": plain.ID.String() + "#0", "exp": float64(plain.ExpiresAt.Unix()), "iat": at(0)},
	}
	for text, want := range good {
		for range 2 { // which is no use of it
			var got map[string]any
			answer := w.post("/introspect", url.Values{"token": {text}, "token_type_hint": {"access_token"}})
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != 200 || answer.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v", answer.Code, err)
			}
			if len(got) != len(want) {
				t.Errorf("%v, want %v", got, want)
			}
			for name := range want {
				if got[name] != want[name] {
					t.Errorf("%s: %v, want %v", name, got[name], want[name])
				}
			}
		}
	}
}

// TestIntrospectTheDead: {"active":false}, whatever is wrong.
func TestIntrospectTheDead(t *testing.T) {
	for name, spoil := range map[string]func(w *world, p lapse.TokenPair) string{
		"garbage":  func(w *world, p lapse.TokenPair) string { return "x" },
		"60 KiB":   func(w *world, p lapse.TokenPair) string { return strings.Repeat("a", 60<<10) },
		"unknown":  func(w *world, p lapse.TokenPair) string { return "lapse_" + strings.Repeat("0", 72) },
		"expired":  func(w *world, p lapse.TokenPair) string { w.clock.Add(15 * time.Minute); return p.Access.Bearer },
		"replaced": func(w *world, p lapse.TokenPair) string { w.replaced(p); return p.Refresh.Bearer },
		"ended": func(w *world, p lapse.TokenPair) string {
			w.pairs.ExpireBearer(w.t.Context(), p.Access.Bearer)
			return p.Refresh.Bearer
		},
		"suspended": func(w *world, p lapse.TokenPair) string {
			w.pairs.Access().Suspend(w.t.Context(), p.Access.ID)
			return p.Access.Bearer
		},
		"refused": func(w *world, p lapse.TokenPair) string { w.refuse = lapse.ErrRefused; return p.Access.Bearer },
		"bound": func(w *world, p lapse.TokenPair) string {
			return w.issue("app", lapse.Grant{Thumbprint: lapse.Thumbprint{1}}).Access.Bearer
		},
	} {
		w := newWorld(t, nil)
		answer := w.post("/introspect", url.Values{"token": {spoil(w, w.issue("app", lapse.Grant{}))}})
		if answer.Code != 200 || answer.Body.String() != "{\"active\":false}\n" || answer.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q", name, answer.Code, answer.Body)
		}
	}
}

// TestLogIn: every answer of a log-in. The session is of the client that asks, whatever Grant says.
func TestLogIn(t *testing.T) {
	const media = "application/json"
	for name, row := range map[string]struct {
		media, body, grant, client string
		status                     int
		code                       string
	}{
		"good":              {media, `{"user":"ana","secret":"a"}`, "", "app", 200, ""},
		"no client":         {media, ` {"user":"ana","secret":"a"} `, "", "", 200, ""},
		"a charset":         {media + "; charset=utf-8", `{"user":"ana","secret":"a"}`, "", "", 200, ""},
		"wrong password":    {media, `{"user":"ana","secret":"b"}`, "", "", 400, "invalid_grant"},
		"empty":             {media, `{}`, "", "", 400, "invalid_grant"},
		"verifier down":     {media, `{"user":"carl","secret":"c"}`, "", "", 503, "temporarily_unavailable"},
		"refused by Grant":  {media, `{"user":"ana","secret":"a"}`, "refused", "", 400, "invalid_grant"},
		"Grant down":        {media, `{"user":"ana","secret":"a"}`, "down", "", 503, "temporarily_unavailable"},
		"a bad grant":       {media, `{"user":"ana","secret":"a"}`, "a  b", "", 400, "invalid_request"},
		"wrong client":      {media, `{"user":"ana","secret":"a"}`, "", "nobody", 401, "invalid_client"},
		"a form":            {"application/x-www-form-urlencoded", `{"user":"ana","secret":"a"}`, "", "", 415, "invalid_request"},
		"plain text":        {"text/plain", `{"user":"ana","secret":"a"}`, "", "", 415, "invalid_request"},
		"no media type":     {"", `{"user":"ana","secret":"a"}`, "", "", 415, "invalid_request"},
		"an unknown name":   {media, `{"user":"ana","secret":"a","admin":true}`, "", "", 400, "invalid_request"},
		"another type":      {media, `{"user":1}`, "", "", 400, "invalid_request"},
		"an array":          {media, `[{"user":"ana","secret":"a"}]`, "", "", 400, "invalid_request"},
		"null":              {media, `null`, "", "", 400, "invalid_request"},
		"nothing":           {media, ``, "", "", 400, "invalid_request"},
		"half":              {media, `{"user":"ana"`, "", "", 400, "invalid_request"},
		"not UTF-8":         {media, `{"user":"ana","secret":"` + "\xff" + `"}`, "", "", 400, "invalid_request"}, // it would be read as U+FFFD
		"two objects":       {media, `{"user":"ana","secret":"a"}{}`, "", "", 400, "invalid_request"},
		"a brace behind it": {media, `{"user":"ana","secret":"a"}}`, "", "", 400, "invalid_request"},
		"1 MB":              {media, `{"user":"` + strings.Repeat("a", 1<<20) + `"}`, "", "", 413, "invalid_request"},
		"a name twice":      {media, `{"user":"root","user":"ana","secret":"a"}`, "", "", 400, "invalid_request"}, // others take the first one
		"in another case":   {media, `{"USER":"root","user":"ana","secret":"a"}`, "", "", 400, "invalid_request"}, // encoding/json reads both into User
		"as an escape":      {media, `{"\u0075ser":"root","user":"ana","secret":"a"}`, "", "", 400, "invalid_request"},
		"by a long s":       {media, `{"user":"ana","ſecret":"b","secret":"a"}`, "", "", 400, "invalid_request"},
		"the same value":    {media, `{"user":"ana","user":"ana","secret":"a"}`, "", "", 400, "invalid_request"},
		"deep":              {media, strings.Repeat(`{"user":`, 8000), "", "", 400, "invalid_request"},
	} {
		w := newWorld(t, nil)
		r := httptest.NewRequest("POST", "/login", strings.NewReader(row.body))
		r.Header.Set("Grant", row.grant)
		if row.media != "" {
			r.Header.Set("Content-Type", row.media)
		}
		if row.client != "" {
			r.SetBasicAuth(row.client, url.QueryEscape(secrets[row.client]))
		}
		answer := w.do(r)
		if row.code != "" {
			if code := errorOf(t, name, answer, row.status); code != row.code {
				t.Errorf("%s: %s, want %s", name, code, row.code)
			}
			continue
		}
		pair := w.pairOf(answer)
		if tok := must(w.pairs.Peek(t.Context(), pair.Refresh.Bearer)); tok.Subject != "ana" || tok.Client != row.client || answer.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: of %q for %q", name, tok.Subject, tok.Client)
		}
		if again := w.pairOf(w.refresh(row.client, pair.Refresh.Bearer)); again.Access.Bearer == "" {
			t.Errorf("%s: no refresh", name)
		}
	}
	if answer := newWorld(t, nil).do(httptest.NewRequest("GET", "/login", nil)); errorOf(t, "GET", answer, 405) != "invalid_request" {
		t.Error("GET")
	}
}

// TestLogInOfNestedNames: in each object of the body a name stands once, and in another object again.
func TestLogInOfNestedNames(t *testing.T) {
	type key struct{ ID, Name string }
	type credentials struct {
		Name   string
		Number json.Number
		Key    key
		Spares []key
		Extra  map[string]string
	}
	w := newWorld(t, nil)
	verify := lapse.VerifierFunc[credentials](func(context.Context, credentials) (string, error) { return "ana", nil })
	w.mux.Handle("/nested", lapsehttp.LogIn(w.e, lapse.Verifier[credentials](verify)))
	for body, status := range map[string]int{
		`{"name":"a","key":{"name":"b","id":"c"},"spares":[{"id":"d"},{"id":"d"}],"extra":{"name":"id","id":"name"}}`: 200,
		`{"name":"a","number":1e999}`:                            200,
		`{"name":"a","key":{"id":"b","id":"c"}}`:                 400,
		`{"name":"a","key":{"id":"b"},"key":{"id":"c"}}`:         400,
		`{"name":"a","spares":[{"id":"a"},{"id":"b","Id":"c"}]}`: 400,
		`{"name":"a","spares":[],"key":{"id":"b"},"NAME":"c"}`:   400,
		`{"name":"a","extra":{"x":"{","x ":"}","":""},"key":{}}`: 200,
		`{"name":"a","extra":{"x":"1","y":"2","x":"3"}}`:         400,
	} {
		r := httptest.NewRequest("POST", "/nested", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if answer := w.do(r); answer.Code != status {
			t.Errorf("%s: %d, want %d", body, answer.Code, status)
		}
	}
}

// TestLogInAtTheLimit: one session more than there may be is 403.
func TestLogInAtTheLimit(t *testing.T) {
	w := newWorldOver(t, memory.New(), nil)
	for range 100 {
		w.issue("", lapse.Grant{})
	}
	r := httptest.NewRequest("POST", "/login", strings.NewReader(`{"user":"ana","secret":"a"}`))
	r.Header.Set("Content-Type", "application/json")
	if code := errorOf(t, "the limit", w.do(r), 403); code != "access_denied" {
		t.Error(code)
	}
}

// TestEveryFault: whichever call to the store fails, the client is told to try again, keeps its text,
// and no answer of an endpoint says that a text is no good.
func TestEveryFault(t *testing.T) {
	for name, ask := range map[string]func(w *world, p lapse.TokenPair) *httptest.ResponseRecorder{
		"refresh": func(w *world, p lapse.TokenPair) *httptest.ResponseRecorder {
			return w.refresh("app", p.Refresh.Bearer)
		},
		"refresh, replaced": func(w *world, p lapse.TokenPair) *httptest.ResponseRecorder {
			return w.refresh("app", p.Refresh.Bearer)
		},
		"revoke": func(w *world, p lapse.TokenPair) *httptest.ResponseRecorder {
			return w.post("/revoke", url.Values{"token": {p.Access.Bearer}})
		},
		"introspect": func(w *world, p lapse.TokenPair) *httptest.ResponseRecorder {
			return w.post("/introspect", url.Values{"token": {p.Access.Bearer}})
		},
		"log in": func(w *world, p lapse.TokenPair) *httptest.ResponseRecorder {
			r := httptest.NewRequest("POST", "/login", strings.NewReader(`{"user":"ana","secret":"a"}`))
			r.Header.Set("Content-Type", "application/json")
			return w.do(r)
		},
	} {
		n := 1
		for ; ; n++ {
			w := newWorld(t, nil)
			pair := w.issue("app", lapse.Grant{})
			if name == "refresh, replaced" {
				w.replaced(pair)
			}
			w.store.Inject(n, storagetest.FailBefore, storage.ErrUnavailable)
			answer := ask(w, pair)
			if !w.store.Fired() {
				break
			}
			if code := errorOf(t, name, answer, 503); code != "temporarily_unavailable" || !w.live(pair.Access.ID) {
				t.Errorf("%s, call %d: %s", name, n, code)
			}
		}
		if n < 2 {
			t.Errorf("%s: no call failed", name)
		}
	}
}
