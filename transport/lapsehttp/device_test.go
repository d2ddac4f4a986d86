package lapsehttp_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// device is the answer of the device authorization endpoint.
type device struct {
	Code      string `json:"device_code"`
	User      string `json:"user_code"`
	URI       string `json:"verification_uri"`
	ExpiresIn int    `json:"expires_in"`
	Interval  int    `json:"interval"`
}

// begin begins a log-in of a device of app.
func (w *world) begin(scope string) (d device) {
	w.t.Helper()
	answer := w.post("/device", url.Values{"scope": {scope}})
	strict := json.NewDecoder(answer.Body)
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d); err != nil || answer.Code != 200 || answer.Header().Get("Cache-Control") != "no-store" {
		w.t.Fatalf("%d %v", answer.Code, err)
	}
	return d
}

// poll asks with a device code.
func (w *world) poll(client, code string) *httptest.ResponseRecorder {
	return w.post("/token", url.Values{"grant_type": {deviceGrant}, "device_code": {code}, "client_id": {client}})
}

// approve approves the log-in of d for ana.
func (w *world) approve(d device) lapse.Token {
	w.t.Helper()
	asked := must(w.devices.Lookup(w.t.Context(), d.User, "ana"))
	return must(w.devices.Approve(w.t.Context(), d.User, lapse.Grant{Subject: "ana", Scope: asked.Scope}))
}

// TestDevice: the codes of a device, and every answer to its polls (RFC 8628 section 3.5).
func TestDevice(t *testing.T) {
	for name, row := range map[string]struct {
		before func(w *world, d device)
		change url.Values
		status int
		code   string
	}{
		"approved":          {func(w *world, d device) { w.approve(d) }, nil, 200, ""},
		"given before":      {func(w *world, d device) { w.approve(d); w.poll("app", d.Code) }, nil, 200, ""},
		"given long ago":    {func(w *world, d device) { w.approve(d); w.poll("app", d.Code); w.clock.Add(11 * time.Second) }, nil, 400, "invalid_grant"},
		"not yet":           {nil, nil, 400, "authorization_pending"},
		"too early":         {func(w *world, d device) { w.poll("app", d.Code) }, nil, 400, "slow_down"},
		"in time":           {func(w *world, d device) { w.poll("app", d.Code); w.clock.Add(5 * time.Second) }, nil, 400, "authorization_pending"},
		"denied":            {func(w *world, d device) { w.devices.Deny(w.t.Context(), d.User, "ana") }, nil, 400, "access_denied"},
		"expired":           {func(w *world, d device) { w.clock.Add(10 * time.Minute) }, nil, 400, "expired_token"},
		"another client":    {func(w *world, d device) { w.approve(d) }, url.Values{"client_id": {"other"}}, 400, "invalid_grant"},
		"unknown client":    {nil, url.Values{"client_id": {"nobody"}}, 401, "invalid_client"},
		"garbage":           {nil, url.Values{"device_code": {"x"}}, 400, "invalid_grant"},
		"60 KiB":            {nil, url.Values{"device_code": {strings.Repeat("a", 60<<10)}}, 400, "invalid_grant"},
		"no code":           {nil, url.Values{"device_code": {""}}, 400, "invalid_request"},
		"a revoked session": {func(w *world, d device) { w.pairs.Access().Expire(w.t.Context(), w.approve(d).ID) }, nil, 400, "invalid_grant"},
		"the store is down": {func(w *world, d device) { w.store.Inject(1, storagetest.FailBefore, storage.ErrUnavailable) }, nil, 503, "temporarily_unavailable"},
	} {
		w := newWorld(t, nil)
		d := w.begin("read")
		if d.URI != "https://x.example/device" || d.ExpiresIn != 600 || d.Interval != 5 || len(d.User) != 9 {
			t.Errorf("%s: %+v", name, d)
		}
		if row.before != nil {
			row.before(w, d)
		}
		values := url.Values{"grant_type": {deviceGrant}, "device_code": {d.Code}}
		for name, value := range row.change {
			values[name] = value
		}
		answer := w.post("/token", values)
		if row.code != "" {
			if code := errorOf(t, name, answer, row.status); code != row.code {
				t.Errorf("%s: %s, want %s", name, code, row.code)
			}
			continue
		}
		pair := w.pairOf(answer)
		if tok := must(w.pairs.Access().Peek(t.Context(), pair.Access.Bearer)); tok.Client != "app" || tok.Subject != "ana" || tok.Scope != "read" {
			t.Errorf("%s: a session of %s for %q", name, tok.Client, tok.Subject)
		}
		w.pairOf(w.refresh("app", pair.Refresh.Bearer)) // it is its client's, and no other's
		if code := errorOf(t, name, w.refresh("other", pair.Refresh.Bearer), 400); code != "invalid_grant" {
			t.Errorf("%s: %s", name, code)
		}
	}
}

// TestDeviceAuthorization: what a device may not ask for, and a server that logs in no devices.
func TestDeviceAuthorization(t *testing.T) {
	w := newWorld(t, nil)
	for scope, code := range map[string]string{"a  b": "invalid_scope", strings.Repeat("s", 1025): "invalid_scope"} {
		if got := errorOf(t, scope, w.post("/device", url.Values{"scope": {scope}}), 400); got != code {
			t.Errorf("%.9s: %s", scope, got)
		}
	}
	if code := errorOf(t, "a long client", w.post("/device", url.Values{"client_id": {long}}), 400); code != "invalid_request" {
		t.Errorf("a client of 256 bytes: %s", code)
	}
	w.store.Inject(1, storagetest.FailBefore, storage.ErrUnavailable)
	if code := errorOf(t, "down", w.post("/device", url.Values{}), 503); code != "temporarily_unavailable" {
		t.Error(code)
	}
	none := must(lapsehttp.NewEndpoints(w.pairs, lapsehttp.ServerOptions{Client: authenticate}))
	w.mux.HandleFunc("/none", none.DeviceAuthorization)
	w.mux.HandleFunc("/token2", none.Token)
	if answer := w.get("/none", ""); answer.Code != 404 || answer.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", answer.Code, answer.Header())
	}
	if code := errorOf(t, "none", w.post("/token2", url.Values{"grant_type": {deviceGrant}, "device_code": {"x"}}), 400); code != "unsupported_grant_type" {
		t.Error(code)
	}
	if _, err := lapsehttp.NewEndpoints(w.pairs, lapsehttp.ServerOptions{Client: authenticate, Devices: w.devices}); !errors.Is(err, lapse.ErrInvalidConfig) || !strings.Contains(err.Error(), "VerificationURI") {
		t.Errorf("%v", err)
	}
}
