package lapsehttp_test

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// send serves one request with a bearer, and prints the answer.
func send(h http.Handler, method, path, bearer string) {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer "+bearer)
	show(h, r)
}

// post serves a form by the client app, and prints the answer.
func post(h http.HandlerFunc, values url.Values) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", "secret")
	show(h, r)
}

func show(h http.Handler, r *http.Request) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if challenge := w.Header().Get("WWW-Authenticate"); challenge != "" {
		fmt.Println(w.Code, challenge)
		return
	}
	fmt.Println(strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Body)))
}

// someTokens are a Manager and a token of ana that may read.
func someTokens() (*lapse.Manager, string) {
	tokens := must(lapse.New(memory.New(), lapse.Config{}))
	return tokens, must(tokens.Issue(context.Background(), lapse.Grant{Subject: "ana", Scope: "files:read"})).Bearer
}

// greet is a handler that needs a token.
var greet = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	tok, _ := lapsehttp.TokenFrom(r.Context())
	io.WriteString(w, "hello, "+tok.Subject)
})

func ExampleNew() {
	tokens, bearer := someTokens()
	guard, err := lapsehttp.New(tokens, lapsehttp.Options{Realm: "files"})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /files", guard.Protect(guard.RequireScope(greet, "files:read")))
	mux.Handle("GET /status", guard.Peek(greet))
	send(mux, "GET", "/files", bearer)
	// Output: 200 hello, ana
}

func ExampleGuard_Protect() {
	tokens, bearer := someTokens()
	guard := must(lapsehttp.New(tokens, lapsehttp.Options{}))
	h := guard.Protect(greet)
	send(h, "GET", "/", bearer)
	tokens.ExpireSubject(context.Background(), "ana")
	send(h, "GET", "/", bearer)
	// Output:
	// 200 hello, ana
	// 401 Bearer realm="lapse", error="invalid_token"
}

func ExampleGuard_Peek() {
	tokens, _ := someTokens()
	once := must(tokens.Issue(context.Background(), lapse.Grant{Subject: "ana", MaxUses: 1})).Bearer
	guard := must(lapsehttp.New(tokens, lapsehttp.Options{}))
	send(guard.Peek(greet), "GET", "/", once) // spends nothing
	send(guard.Protect(greet), "GET", "/", once)
	send(guard.Peek(greet), "GET", "/", once)
	// Output:
	// 200 hello, ana
	// 200 hello, ana
	// 401 Bearer realm="lapse", error="invalid_token"
}

func ExampleGuard_RequireScope() {
	tokens, bearer := someTokens()
	guard := must(lapsehttp.New(tokens, lapsehttp.Options{}))
	send(guard.Protect(guard.RequireScope(greet, "files:read")), "GET", "/", bearer)
	send(guard.Protect(guard.RequireScope(greet, "files:write")), "GET", "/", bearer)
	// Output:
	// 200 hello, ana
	// 403 Bearer realm="lapse", error="insufficient_scope", scope="files:write"
}

// A stream of events that ends with its token, also while its client reads nothing.
func ExampleGuard_Stream() {
	tokens, bearer := someTokens()
	guard := must(lapsehttp.New(tokens, lapsehttp.Options{}))
	events := make(chan string, 1)
	server := httptest.NewServer(guard.Stream(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case event := <-events:
				fmt.Fprintf(w, "data: %s\n\n", event)
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				fmt.Fprint(w, "event: end\ndata:\n\n")
				return
			}
		}
	})))
	defer server.Close()

	events <- "a file has changed"
	r := must(http.NewRequest("GET", server.URL, nil))
	r.Header.Set("Authorization", "Bearer "+bearer)
	answer := must(http.DefaultClient.Do(r))
	defer answer.Body.Close()
	tokens.ExpireSubject(context.Background(), "ana")
	body := must(io.ReadAll(answer.Body))
	fmt.Println(strings.ReplaceAll(string(body), "\n\n", "\n"))
	// Output:
	// data: a file has changed
	// event: end
	// data:
}

// A handler that has taken its connection over learns when the token ends, and why.
func ExampleGuard_Hold() {
	tokens, bearer := someTokens()
	guard := must(lapsehttp.New(tokens, lapsehttp.Options{}))
	send(guard.Hold(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens.ExpireSubject(context.Background(), "ana")
		<-r.Context().Done()
		fmt.Fprint(w, "closed: ", lapse.Code(context.Cause(r.Context()))) // a WebSocket would send a close frame
	})), "GET", "/", bearer)
	// Output: 200 closed: revoked
}

func ExampleTokenFrom() {
	tokens, bearer := someTokens()
	guard := must(lapsehttp.New(tokens, lapsehttp.Options{}))
	send(guard.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, ok := lapsehttp.TokenFrom(r.Context())
		fmt.Fprint(w, tok.Subject, " may ", tok.Scope, ": ", ok)
	})), "GET", "/", bearer)
	// Output: 200 ana may files:read: true
}

// The owner of a stream is warned a minute before it ends, and each message is a use.
func ExampleHoldFrom() {
	tokens, bearer := someTokens()
	guard := must(lapsehttp.New(tokens, lapsehttp.Options{}))
	send(guard.Stream(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hold, _ := lapsehttp.HoldFrom(r.Context())
		soon := make(chan struct{}, 1)
		defer hold.WarnFunc(time.Minute, func() {
			select {
			case soon <- struct{}{}: // the handler writes to its client itself
			default:
			}
		})()
		fmt.Fprint(w, "a message of ", hold.Token().Subject, ": ", hold.Use(r.Context()))
	})), "GET", "/", bearer)
	// Output: 200 a message of ana: <nil>
}

// someEndpoints are the endpoints of a server with one client, and a session of ana.
func someEndpoints() (*lapsehttp.Endpoints, lapse.TokenPair) {
	pairs := must(lapse.NewPairs(memory.New(), lapse.PairConfig{}))
	e := must(lapsehttp.NewEndpoints(pairs, lapsehttp.ServerOptions{Client: knownClient, Resource: knownClient}))
	return e, must(pairs.Issue(context.Background(), lapse.Grant{Subject: "ana", Scope: "files:read", Client: "app"}))
}

// knownClient knows one client by its secret.
func knownClient(r *http.Request) (string, error) {
	id, secret, err := lapsehttp.ClientCredentials(r)
	switch {
	case err != nil:
		return "", err
	case id == "app" && subtle.ConstantTimeCompare([]byte(secret), []byte("secret")) == 1:
		return id, nil
	}
	return "", lapse.ErrBadCredentials
}

func ExampleNewEndpoints() {
	pairs := must(lapse.NewPairs(memory.New(), lapse.PairConfig{}))
	e, err := lapsehttp.NewEndpoints(pairs, lapsehttp.ServerOptions{Client: knownClient, Resource: knownClient})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", e.Token)
	mux.HandleFunc("/revoke", e.Revoke)
	mux.HandleFunc("/introspect", e.Introspect)
	show(mux, httptest.NewRequest("GET", "/token", nil))
	// Output: 405 {"error":"invalid_request","error_description":"the method is POST"}
}

func ExampleClientCredentials() {
	r := httptest.NewRequest("POST", "/token", nil)
	r.SetBasicAuth("app", url.QueryEscape("s&cret"))
	id, secret, err := lapsehttp.ClientCredentials(r)
	fmt.Println(id, secret, err)
	// Output: app s&cret <nil>
}

func ExampleLogIn() {
	pairs := must(lapse.NewPairs(memory.New(), lapse.PairConfig{}))
	e := must(lapsehttp.NewEndpoints(pairs, lapsehttp.ServerOptions{
		Client: func(*http.Request) (string, error) { return "", nil }, // one program of our own
		Grant: func(r *http.Request, subject string) (lapse.Grant, error) {
			return lapse.Grant{Scope: "files:read", Name: lapse.ClipName(r.UserAgent())}, nil
		},
	}))
	type form struct {
		User     string `json:"user"`
		Password string `json:"password"`
	}
	people := lapse.VerifierFunc[form](func(_ context.Context, f form) (string, error) {
		if f == (form{"ana", "correct horse"}) {
			return "ana", nil
		}
		return "", lapse.ErrBadCredentials
	})
	h := lapsehttp.LogIn(e, lapse.Verifier[form](people))
	for _, body := range []string{`{"user":"ana","password":"correct horse"}`, `{"user":"ana","password":"x"}`} {
		r := httptest.NewRequest("POST", "/login", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var pair lapse.TokenPair
		json.Unmarshal(w.Body.Bytes(), &pair)
		fmt.Println(w.Code, pair.Scope, pair.Refresh.Bearer != "")
	}
	// Output:
	// 200 files:read true
	// 400  false
}

func ExampleEndpoints_Token() {
	e, session := someEndpoints()
	values := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {session.Refresh.Bearer}}
	r := httptest.NewRequest("POST", "/token", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", "secret")
	w := httptest.NewRecorder()
	e.Token(w, r)
	var pair lapse.TokenPair
	fmt.Println(w.Code, json.Unmarshal(w.Body.Bytes(), &pair), pair.TokenType, pair.ExpiresIn, pair.Scope)

	post(e.Token, url.Values{"grant_type": {"password"}, "username": {"ana"}, "password": {"correct horse"}})
	// Output:
	// 200 <nil> Bearer 15m0s files:read
	// 400 {"error":"unsupported_grant_type"}
}

func ExampleEndpoints_DeviceAuthorization() {
	pairs := must(lapse.NewPairs(memory.New(), lapse.PairConfig{}))
	devices := must(lapse.NewDeviceLogin(pairs, lapse.DeviceConfig{}))
	e := must(lapsehttp.NewEndpoints(pairs, lapsehttp.ServerOptions{Client: knownClient, Devices: devices, VerificationURI: "https://example.com/device"}))

	r := httptest.NewRequest("POST", "/device", strings.NewReader("scope=watch"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", "secret")
	w := httptest.NewRecorder()
	e.DeviceAuthorization(w, r)
	var codes lapse.DeviceCode
	json.Unmarshal(w.Body.Bytes(), &codes)
	poll := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {codes.Code}}
	post(e.Token, poll)

	// The page at VerificationURI, for ana, who is logged in there.
	must(devices.Approve(context.Background(), codes.UserCode, lapse.Grant{Subject: "ana", Scope: "watch"}))
	r = httptest.NewRequest("POST", "/token", strings.NewReader(poll.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", "secret")
	w = httptest.NewRecorder()
	e.Token(w, r)
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "refresh_token"))
	// Output:
	// 400 {"error":"authorization_pending"}
	// 200 true
}

func ExampleEndpoints_Revoke() {
	e, session := someEndpoints()
	post(e.Revoke, url.Values{"token": {session.Refresh.Bearer}})
	post(e.Revoke, url.Values{"token": {session.Refresh.Bearer}}) // is dead already
	post(e.Introspect, url.Values{"token": {session.Access.Bearer}})
	// Output:
	// 200
	// 200
	// 200 {"active":false}
}

func ExampleEndpoints_Introspect() {
	e, session := someEndpoints()
	values := url.Values{"token": {session.Access.Bearer}}
	r := httptest.NewRequest("POST", "/introspect", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", "secret")
	w := httptest.NewRecorder()
	e.Introspect(w, r)
	var told struct {
		Active   bool
		Sub, Jti string
		Scope    string
		ClientID string `json:"client_id"`
	}
	json.Unmarshal(w.Body.Bytes(), &told)
	fmt.Println(told.Active, told.Sub, told.Scope, told.ClientID, told.Jti == session.Access.ID.String()+"#0")
	// Output: true ana files:read app true
}
