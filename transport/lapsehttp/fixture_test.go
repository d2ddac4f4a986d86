package lapsehttp_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// password is the body of a log-in.
type password struct {
	User   string `json:"user"`
	Secret string `json:"secret"`
}

// secrets are the secrets of the clients; public keeps none, and nor does long, which no session can name.
var secrets = map[string]string{"app": "app s&cret%", "other": "other's", "public": "", long: ""}

var long = strings.Repeat("c", 256)

// world is a server with all that a test looks at.
type world struct {
	t       *testing.T
	clock   *clock.Mock
	store   *storagetest.Faulty
	pairs   *lapse.Pairs
	e       *lapsehttp.Endpoints
	devices *lapse.DeviceLogin
	mux     *http.ServeMux

	mu     sync.Mutex
	events []lapse.Event
	refuse error // what Admit says
}

// newWorld makes a world over memory. change changes the options of its Guard.
func newWorld(t *testing.T, change func(*lapsehttp.Options)) *world {
	t.Helper()
	faulty := storagetest.NewFaulty(memory.New())
	w := newWorldOver(t, faulty, change)
	w.store = faulty
	return w
}

// newWorldOver is newWorld over a store that cannot be made to fail.
func newWorldOver(t *testing.T, store storage.Store, change func(*lapsehttp.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewMock(), mux: http.NewServeMux()}
	w.clock.Set(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	w.pairs = must(lapse.NewPairs(store, lapse.PairConfig{
		Access: lapse.Config{
			Clock: w.clock, Policy: lapse.Policy{Retention: time.Hour},
			Admit: func(context.Context, lapse.Token) error { return w.refuse },
			Observe: func(_ context.Context, e lapse.Event) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.events = append(w.events, e)
			},
		},
		Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 100, AtLimit: lapse.LimitRefuse}},
	}))
	var o lapsehttp.Options
	if change != nil {
		change(&o)
	}
	g := must(lapsehttp.New(w.pairs.Access(), o))
	w.devices = must(lapse.NewDeviceLogin(w.pairs, lapse.DeviceConfig{}))
	w.e = must(lapsehttp.NewEndpoints(w.pairs, lapsehttp.ServerOptions{
		Client: authenticate, Resource: authenticate, Grant: grant, Devices: w.devices, VerificationURI: "https://x.example/device",
	}))
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, ok := lapsehttp.TokenFrom(r.Context())
		if !ok {
			panic("a handler without a token")
		}
		w.Write([]byte(tok.Subject))
	})
	w.mux.Handle("/who", g.Protect(who))
	w.mux.Handle("/look", g.Peek(who))
	w.mux.Handle("/held", g.Hold(who))
	w.mux.Handle("/write", g.Protect(g.RequireScope(who, "read write", "admin")))
	w.mux.Handle("/bare", g.RequireScope(who))
	w.mux.Handle("/login", lapsehttp.LogIn(w.e, lapse.Verifier[password](lapse.VerifierFunc[password](verify))))
	w.mux.HandleFunc("/token", w.e.Token)
	w.mux.HandleFunc("/revoke", w.e.Revoke)
	w.mux.HandleFunc("/introspect", w.e.Introspect)
	w.mux.HandleFunc("/device", w.e.DeviceAuthorization)
	w.mux.HandleFunc("/approve", func(_ http.ResponseWriter, r *http.Request) { // as the page of a user would
		must(w.devices.Approve(r.Context(), r.FormValue("user_code"), lapse.Grant{Subject: "ana", Scope: "read"}))
	})
	return w
}

// authenticate knows the clients of secrets, a client that is refused, and one that it cannot tell of.
func authenticate(r *http.Request) (string, error) {
	id, secret, err := lapsehttp.ClientCredentials(r)
	if err != nil {
		return "", err
	}
	switch want, known := secrets[id]; {
	case id == "" && secret == "" || known && want == secret:
		return id, nil
	case id == "refused":
		return "", lapse.ErrRefused
	case id == "down":
		return "", errDown
	}
	return "", lapse.ErrBadCredentials
}

var errDown = errors.New("the directory is down")

// verify knows ana and ben by their passwords, and cannot tell of carl.
func verify(_ context.Context, p password) (string, error) {
	switch p {
	case password{"ana", "a"}, password{"ben", "b"}:
		return p.User, nil
	case password{"carl", "c"}:
		return "", errDown
	}
	return "", lapse.ErrBadCredentials
}

// grant grants what the header Grant says.
func grant(r *http.Request, _ string) (lapse.Grant, error) {
	g := lapse.Grant{Scope: cmp.Or(r.Header.Get("Grant"), "read write"), Subject: "mallory", Client: "mallory"}
	switch g.Scope {
	case "refused":
		return g, lapse.ErrRefused
	case "down":
		return g, errDown
	}
	return g, nil
}

// issue makes a session of ana for client.
func (w *world) issue(client string, g lapse.Grant) lapse.TokenPair {
	w.t.Helper()
	g.Client, g.Subject = client, cmp.Or(g.Subject, "ana")
	return must(w.pairs.Issue(w.t.Context(), g))
}

// do serves a request.
func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	w.mux.ServeHTTP(recorder, r)
	return recorder
}

// get serves a GET of path with the header Authorization, unless that is empty.
func (w *world) get(path, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return w.do(r)
}

// post serves a form to path by the client of values, "app" unless they name one.
func (w *world) post(path string, values url.Values) *httptest.ResponseRecorder {
	values = maps.Clone(values)
	if !values.Has("client_id") {
		values.Set("client_id", "app")
	}
	if secret := secrets[values.Get("client_id")]; secret != "" {
		values.Set("client_secret", secret)
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(r)
}

// refresh serves a refresh.
func (w *world) refresh(client, text string) *httptest.ResponseRecorder {
	return w.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {text}, "client_id": {client}})
}

// pairOf reads the answer to a log-in or a refresh.
func (w *world) pairOf(answer *httptest.ResponseRecorder) (pair lapse.TokenPair) {
	w.t.Helper()
	if answer.Code != http.StatusOK {
		w.t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &pair); err != nil {
		w.t.Fatal(err)
	}
	return pair
}

// live reports whether the token of id is alive.
func (w *world) live(id lapse.ID) bool {
	return must(w.pairs.Access().Token(w.t.Context(), id)).Live(w.clock.Now())
}

// want checks the answer to what was asked: its status, the parts of its challenge and body, and that no
// cache keeps it.
func want(t *testing.T, what string, answer *httptest.ResponseRecorder, status int, challenge, body string) {
	t.Helper()
	if answer.Code != status || answer.Header().Get("WWW-Authenticate") != challenge || strings.TrimSpace(answer.Body.String()) != body {
		t.Errorf("%s: %d %q %q; want %d %q %q", what, answer.Code, answer.Header().Get("WWW-Authenticate"), answer.Body, status, challenge, body)
	}
	if status >= 400 && answer.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s: Cache-Control: %q", what, answer.Header().Get("Cache-Control"))
	}
	if retry := answer.Header().Get("Retry-After"); (retry != "") != (status == http.StatusServiceUnavailable) {
		t.Errorf("%s: %d with Retry-After %q", what, status, retry)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
