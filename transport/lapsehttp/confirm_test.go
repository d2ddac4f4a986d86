package lapsehttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// confirming serves the endpoints again, by a Confirmation and for sessions that are bound to key.
func (w *world) confirming(confirmation string, key lapse.Thumbprint) {
	w.e = must(lapsehttp.NewEndpoints(w.pairs, lapsehttp.ServerOptions{
		Client: authenticate, Resource: authenticate, Devices: w.devices, VerificationURI: "https://x.example/device", Confirmation: confirmation,
		Grant: func(*http.Request, string) (lapse.Grant, error) { return lapse.Grant{Thumbprint: key}, nil },
	}))
	w.mux = http.NewServeMux()
	w.mux.Handle("/login", lapsehttp.LogIn(w.e, lapse.Verifier[password](lapse.VerifierFunc[password](verify))))
	w.mux.HandleFunc("/token", w.e.Token)
	w.mux.HandleFunc("/introspect", w.e.Introspect)
}

// with serves a POST whose client has proved key.
func (w *world) with(key lapse.Thumbprint, path, media, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", media)
	return w.do(r.WithContext(lapse.WithProof(r.Context(), key)))
}

// TestTokenType: the token_type of the answers that issue, and what a resource server is told of the key
// without a proof, which it verifies itself.
func TestTokenType(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	key := lapse.Thumbprint{1}
	text := key.String()
	for _, row := range []struct {
		confirmation string
		key          lapse.Thumbprint
		kind         string
		active       bool
		cnf          map[string]any
	}{
		{"", lapse.Thumbprint{}, "Bearer", true, nil},
		{"", key, "Bearer", false, nil},
		{"jkt", lapse.Thumbprint{}, "Bearer", true, nil},
		{"jkt", key, "DPoP", true, map[string]any{"jkt": text}},
		{"x5t#S256", lapse.Thumbprint{}, "Bearer", true, nil},
		{"x5t#S256", key, "Bearer", true, map[string]any{"x5t#S256": text}},
	} {
		w := newWorld(t, nil)
		w.confirming(row.confirmation, row.key)
		begun := must(w.devices.Begin(t.Context(), lapse.DeviceRequest{Client: "public"}))
		must(w.devices.Approve(t.Context(), begun.UserCode, lapse.Grant{Subject: "ana", Thumbprint: row.key}))
		issued := w.issue("public", lapse.Grant{Thumbprint: row.key})
		for what, answer := range map[string]*httptest.ResponseRecorder{
			"log-in":  w.with(row.key, "/login", "application/json", `{"user":"ana","secret":"a"}`),
			"refresh": w.with(row.key, "/token", form, "grant_type=refresh_token&client_id=public&refresh_token="+issued.Refresh.Bearer),
			"device":  w.with(row.key, "/token", form, "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=public&device_code="+begun.Code),
		} {
			var got struct { // as a client of DPoP in Go reads the answer
				lapse.TokenPair
				TokenType string `json:"token_type"`
			}
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != 200 {
				t.Fatalf("%s by %q: %d %v", what, row.confirmation, answer.Code, err)
			}
			if got.TokenType != row.kind || got.Access.Bearer == "" || got.Refresh.Bearer == "" || strings.Count(answer.Body.String(), "token_type") != 1 {
				t.Errorf("%s by %q: token_type %s, want %s", what, row.confirmation, got.TokenType, row.kind)
			}
			w.introspects(got.Access.Bearer, row.active, row.kind, row.cnf)
			w.introspects(got.Refresh.Bearer, row.active, "", row.cnf)
		}
		w.mu.Lock()
		for _, e := range w.events {
			if e.Kind == lapse.EventRejected && row.active {
				t.Errorf("by %q an introspection is told as %v", row.confirmation, e.Err)
			}
		}
		w.mu.Unlock()
	}
}

// introspects asks of text without a proof, and checks the answer.
func (w *world) introspects(text string, active bool, kind string, cnf map[string]any) {
	w.t.Helper()
	var got struct {
		Active    bool
		TokenType string `json:"token_type"`
		Cnf       map[string]any
	}
	answer := w.post("/introspect", url.Values{"token": {text}})
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		w.t.Fatal(err)
	}
	if !active {
		kind = ""
	}
	if got.Active != active || got.TokenType != kind || !reflect.DeepEqual(got.Cnf, cnf) {
		w.t.Errorf("introspection: %s, want active %t, token_type %q, cnf %v", answer.Body, active, kind, cnf)
	}
}

// TestIntrospectTheDeadOfAKey: to name the key makes no dead text good.
func TestIntrospectTheDeadOfAKey(t *testing.T) {
	w := newWorld(t, nil)
	w.confirming("jkt", lapse.Thumbprint{})
	pair := w.issue("app", lapse.Grant{Thumbprint: lapse.Thumbprint{1}})
	wrong := []byte(pair.Access.Bearer)
	wrong[len(wrong)-1] ^= 1
	w.introspects(string(wrong), false, "", nil)
	w.introspects("x", false, "", nil)
	w.introspects(pair.Access.Bearer+" "+pair.Access.Bearer, false, "", nil)
	must(w.pairs.Access().Expire(t.Context(), pair.Access.ID))
	w.introspects(pair.Access.Bearer, false, "", nil)
	w.introspects(pair.Refresh.Bearer, false, "", nil)
}
