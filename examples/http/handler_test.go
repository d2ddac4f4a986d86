package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// protect answers with next where the request has a token that is good for scope.
func protect(tokens *lapse.Manager, scope string, next func(http.ResponseWriter, *http.Request, lapse.Token)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") { // RFC 6750 section 3.1: no error code without a token
			refuse(w, http.StatusUnauthorized, `Bearer realm="files"`)
			return
		}
		tok, err := tokens.Authenticate(r.Context(), strings.TrimLeft(bearer, " "))
		if err == nil {
			err = lapse.Require(tok, scope)
		}
		switch {
		case err == nil:
			next(w, r, tok)
		case errors.Is(err, lapse.ErrUnauthenticated):
			refuse(w, http.StatusUnauthorized, `Bearer realm="files", error="invalid_token"`)
		case errors.Is(err, lapse.ErrScope):
			refuse(w, http.StatusForbidden, `Bearer realm="files", error="insufficient_scope", scope="`+scope+`"`)
		default: // could not tell: the client keeps its token and tries again
			w.Header().Set("Retry-After", "1")
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
}

func refuse(w http.ResponseWriter, status int, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, http.StatusText(status), status)
}

// form is what a person types to log in.
type form struct{ user, password string }

// logIn answers with a session: it asks first who this is, and then issues.
func logIn(pairs *lapse.Pairs, people lapse.Verifier[form]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		typed := form{r.PostFormValue("username"), r.PostFormValue("password")}
		subject, err := lapse.Identify(r.Context(), pairs.Access(), typed, people)
		var pair lapse.TokenPair
		if err == nil {
			pair, err = pairs.Issue(r.Context(), lapse.Grant{Subject: subject, Scope: "files:read"})
		}
		answerPair(w, pair, err)
	})
}

// refresh answers with another pair of texts for the same session.
func refresh(pairs *lapse.Pairs) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pair, err := pairs.Refresh(r.Context(), r.PostFormValue("refresh_token"))
		answerPair(w, pair, err)
	})
}

// answerPair answers as RFC 6749 sections 5.1 and 5.2 say.
func answerPair(w http.ResponseWriter, pair lapse.TokenPair, err error) {
	var body any = pair
	status := http.StatusOK
	switch {
	case err == nil:
	case errors.Is(err, lapse.ErrUnauthenticated):
		status, body = http.StatusBadRequest, map[string]string{"error": "invalid_grant"}
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

var people = lapse.VerifierFunc[form](func(_ context.Context, f form) (string, error) {
	if f != (form{"ana", "correct horse"}) {
		return "", lapse.ErrBadCredentials
	}
	return f.user, nil
})

// get sends authorization, "" for none, to a handler that wants the scope files:read.
func get(t *testing.T, tokens *lapse.Manager, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/files", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	protect(tokens, "files:read", func(w http.ResponseWriter, _ *http.Request, tok lapse.Token) {
		w.Write([]byte(tok.Subject))
	}).ServeHTTP(w, r)
	return w
}

func issue(t *testing.T, tokens *lapse.Manager, scope string) string {
	issued, err := tokens.Issue(t.Context(), lapse.Grant{Subject: "ana", Scope: scope})
	if err != nil {
		t.Fatal(err)
	}
	return issued.Bearer
}

// TestProtect: each kind of request has the status and the challenge of RFC 6750 section 3.1.
func TestProtect(t *testing.T) {
	store := memory.New()
	tokens, err := lapse.New(store, lapse.Config{})
	if err != nil {
		t.Fatal(err)
	}
	good, narrow, ended := issue(t, tokens, "files:read"), issue(t, tokens, "files:write"), issue(t, tokens, "files:read")
	if _, err := tokens.ExpireBearer(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		authorization string
		status        int
		challenge     string
	}{
		{"Bearer " + good, 200, ""},
		{"bearer  " + good, 200, ""},
		{"", 401, `Bearer realm="files"`},
		{"Basic YW5hOmhvcnNl", 401, `Bearer realm="files"`},
		{"Bearer", 401, `Bearer realm="files", error="invalid_token"`},
		{"Bearer " + good + "x", 401, `Bearer realm="files", error="invalid_token"`},
		{"Bearer " + ended, 401, `Bearer realm="files", error="invalid_token"`},
		{"Bearer " + narrow, 403, `Bearer realm="files", error="insufficient_scope", scope="files:read"`},
	} {
		w := get(t, tokens, c.authorization)
		if got := w.Header().Get("WWW-Authenticate"); w.Code != c.status || got != c.challenge {
			t.Errorf("%q: %d %q, want %d %q", c.authorization, w.Code, got, c.status, c.challenge)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	w := get(t, tokens, "Bearer "+good)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("of a closed store: %d %v", w.Code, w.Header())
	}
}

// TestLogIn: a log-in and a refresh answer with texts of one session, and with invalid_grant.
func TestLogIn(t *testing.T) {
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{})
	if err != nil {
		t.Fatal(err)
	}
	post := func(h http.Handler, form string) (status int, body map[string]any) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%q: %v, %v", form, err, w.Header())
		}
		return w.Code, body
	}
	status, body := post(logIn(pairs, people), "username=ana&password=welcome")
	if status != 400 || body["error"] != "invalid_grant" {
		t.Errorf("a wrong password: %d %v", status, body)
	}
	status, first := post(logIn(pairs, people), "username=ana&password=correct+horse")
	if access, _ := first["access_token"].(string); status != 200 || get(t, pairs.Access(), "Bearer "+access).Code != 200 {
		t.Errorf("a log-in: %d", status)
	}
	token, _ := first["refresh_token"].(string)
	status, next := post(refresh(pairs), "refresh_token="+token)
	if access, _ := next["access_token"].(string); status != 200 || get(t, pairs.Access(), "Bearer "+access).Code != 200 {
		t.Errorf("a refresh: %d", status)
	}
	if status, body = post(refresh(pairs), "refresh_token=nothing"); status != 400 || body["error"] != "invalid_grant" {
		t.Errorf("a refresh with another text: %d %v", status, body)
	}
}
