package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// clientID is the client_id of the command, which keeps no secret of its own.
const clientID = "cli-login"

// routes returns the handler of the server at url whose tokens are in store. An access text of the
// command lives for ttl by clock; nil is the system's. The store has the sessions of browsers, too.
func routes(store storage.Store, url string, ttl time.Duration, clock lapse.Clock) (http.Handler, error) {
	pairs, err := lapse.NewPairs(store, lapse.PairConfig{Access: lapse.Config{Clock: clock, Policy: lapse.Policy{TTL: ttl}}})
	if err != nil {
		return nil, err
	}
	devices, err := lapse.NewDeviceLogin(pairs, lapse.DeviceConfig{Interval: time.Second})
	if err != nil {
		return nil, err
	}
	browsers, err := lapse.New(store, lapse.Config{Prefix: "browser", Clock: clock, Policy: lapse.Policy{TTL: time.Hour}})
	if err != nil {
		return nil, err
	}
	guard, err := lapsehttp.New(pairs.Access(), lapsehttp.Options{Realm: "files"})
	if err != nil {
		return nil, err
	}
	endpoints, err := lapsehttp.NewEndpoints(pairs, lapsehttp.ServerOptions{Client: client, Devices: devices, VerificationURI: url + "/"})
	if err != nil {
		return nil, err
	}
	p := &pages{devices: devices, browsers: browsers}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /device", endpoints.DeviceAuthorization)
	mux.HandleFunc("POST /token", endpoints.Token)
	mux.HandleFunc("POST /revoke", endpoints.Revoke)
	mux.Handle("GET /whoami", guard.Protect(http.HandlerFunc(tell)))
	mux.HandleFunc("GET /{$}", p.enter)
	mux.HandleFunc("POST /login", p.logIn)
	mux.HandleFunc("POST /lookup", p.lookUp)
	mux.HandleFunc("POST /approve", p.approve)
	mux.HandleFunc("POST /deny", p.deny)
	return http.NewCrossOriginProtection().Handler(mux), nil // no page of another site may approve
}

// client knows the one program that logs in here.
func client(r *http.Request) (string, error) {
	id, secret, err := lapsehttp.ClientCredentials(r)
	if err == nil && (id != clientID || secret != "") {
		err = lapse.ErrBadCredentials
	}
	return id, err
}

// tell is the API.
func tell(w http.ResponseWriter, r *http.Request) {
	tok, _ := lapsehttp.TokenFrom(r.Context())
	fmt.Fprintf(w, "%s may use %s by %s\n", tok.Subject, tok.Scope, tok.Name)
}

// isPassword says whose password it is. An application asks its own table, in constant time.
func isPassword(user, password string) bool {
	return user != "" && password == user[:1]
}

// allowed returns those words of scope that user may have. Only root may write.
func allowed(user, scope string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(word string) bool {
		return word != "files:read" && (word != "files:write" || user != "root")
	}), " ")
}
