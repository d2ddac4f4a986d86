package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

//go:embed page
var page embed.FS

// form is the body of a log-in.
type form struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// people says whose passwords they are. An application asks its own table, in constant time.
func people(_ context.Context, f form) (string, error) {
	if f.User != "" && len(f.Password) == 1 && f.Password[0] == f.User[0] {
		return f.User, nil
	}
	return "", lapse.ErrBadCredentials
}

// routes returns the handler of the server whose tokens are in store. An access text lives for ttl
// by clock; nil is the system's.
func routes(store storage.Store, ttl time.Duration, clock lapse.Clock) (http.Handler, error) {
	pairs, err := lapse.NewPairs(store, lapse.PairConfig{Access: lapse.Config{Clock: clock, Policy: lapse.Policy{TTL: ttl}}})
	if err != nil {
		return nil, err
	}
	guard, err := lapsehttp.New(pairs.Access(), lapsehttp.Options{Realm: "files"})
	if err != nil {
		return nil, err
	}
	endpoints, err := lapsehttp.NewEndpoints(pairs, lapsehttp.ServerOptions{Client: client, Resource: resource, Grant: grant})
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /login", lapsehttp.LogIn(endpoints, lapse.Verifier[form](lapse.VerifierFunc[form](people))))
	mux.HandleFunc("POST /token", endpoints.Token)
	mux.HandleFunc("POST /revoke", endpoints.Revoke)
	mux.HandleFunc("POST /introspect", endpoints.Introspect)
	mux.Handle("GET /api/files", guard.Protect(guard.RequireScope(http.HandlerFunc(list), "files:read")))
	mux.Handle("DELETE /api/files", guard.Protect(guard.RequireScope(http.HandlerFunc(list), "files:write")))
	mux.Handle("GET /api/events", guard.Stream(guard.RequireScope(http.HandlerFunc(events), "files:read")))
	mux.Handle("GET /", strict(http.FileServerFS(files)))
	return mux, nil
}

// client is the program of this server, the page, which keeps no secret.
func client(*http.Request) (string, error) { return "page", nil }

// resource is the one server that introspects.
func resource(r *http.Request) (string, error) {
	id, secret, err := lapsehttp.ClientCredentials(r)
	if err != nil {
		return "", err
	}
	if id != "files" || secret != "secret" { // an application keeps a hash, and compares that
		return "", lapse.ErrBadCredentials
	}
	return id, nil
}

// grant is what each log-in grants. Only root may write.
func grant(r *http.Request, subject string) (lapse.Grant, error) {
	g := lapse.Grant{Scope: "files:read", Name: lapse.ClipName(r.UserAgent())}
	if subject == "root" {
		g.Scope += " files:write"
	}
	return g, nil
}

// list is the API.
func list(w http.ResponseWriter, r *http.Request) {
	tok, _ := lapsehttp.TokenFrom(r.Context())
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"owner": tok.Subject, "files": []string{"letter.txt", "song.mp3"}})
}

// events is a stream that says once in a while that it is open, and ends with its token.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for tick := time.NewTicker(15 * time.Second); ; {
		fmt.Fprint(w, "data: open\n\n")
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// strict lets the page load nothing from elsewhere.
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
