package lapsehttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// The challenges of a Guard whose Manager has the prefix lapse.
const (
	bare         = `Bearer realm="lapse"`
	badRequest   = `Bearer realm="lapse", error="invalid_request"`
	invalidToken = `Bearer realm="lapse", error="invalid_token"`
)

// The bodies of a Guard.
const (
	body400 = "Bad Request"
	body401 = "Unauthorized"
	body403 = "Forbidden"
	body503 = "Service Unavailable"
)

// TestHeader: what the header Authorization may be, and what it may not.
func TestHeader(t *testing.T) {
	w := newWorld(t, nil)
	pair := w.issue("app", lapse.Grant{})
	text := pair.Access.Bearer
	for name, row := range map[string]struct {
		values    []string
		status    int
		challenge string
		body      string
	}{
		"good":                       {[]string{"Bearer " + text}, 200, "", "ana"},
		"another case of the scheme": {[]string{"bEARER " + text}, 200, "", "ana"},
		"more spaces":                {[]string{"Bearer   " + text}, 200, "", "ana"},
		"none":                       {nil, 401, bare, body401},
		"empty":                      {[]string{""}, 401, bare, body401},
		"another scheme":             {[]string{"Basic " + text}, 401, bare, body401},
		"DPoP, which is off":         {[]string{"DPoP " + text}, 401, bare, body401},
		"a longer scheme":            {[]string{"Bearers " + text}, 401, bare, body401},
		"no scheme":                  {[]string{text}, 401, bare, body401},
		"a space before the scheme":  {[]string{" Bearer " + text}, 401, bare, body401},
		"a tab behind the scheme":    {[]string{"Bearer\t" + text}, 401, bare, body401},
		"no text":                    {[]string{"Bearer"}, 400, badRequest, body400},
		"only spaces":                {[]string{"Bearer   "}, 400, badRequest, body400},
		"two headers":                {[]string{"Bearer " + text, "Bearer " + text}, 400, badRequest, body400},
		"two schemes":                {[]string{"Basic YTpi", "Bearer " + text}, 400, badRequest, body400},
		"two texts":                  {[]string{"Bearer " + text + " " + text}, 401, invalidToken, body401},
		"a list of two":              {[]string{"Bearer " + text + ", Bearer " + text}, 401, invalidToken, body401},
		"a quoted text":              {[]string{`Bearer "` + text + `"`}, 401, invalidToken, body401},
		"a space behind the text":    {[]string{"Bearer " + text + " "}, 401, invalidToken, body401},
		"not UTF-8":                  {[]string{"Bearer \xff\xfe"}, 401, invalidToken, body401},
		"1 MB":                       {[]string{"Bearer " + strings.Repeat("a", 1<<20)}, 401, invalidToken, body401},
		"1 MB of spaces":             {[]string{"Bearer " + strings.Repeat(" ", 1<<20)}, 400, badRequest, body400},
		"a refresh text":             {[]string{"Bearer " + pair.Refresh.Bearer}, 401, invalidToken, body401},
		"a changed text":             {[]string{"Bearer " + text[:len(text)-1] + "!"}, 401, invalidToken, body401},
	} {
		for _, path := range []string{"/who", "/look", "/held"} {
			r := httptest.NewRequest("GET", path, nil)
			if row.values != nil {
				r.Header["Authorization"] = row.values
			}
			want(t, name+" at "+path, w.do(r), row.status, row.challenge, row.body)
		}
	}
}

// TestHeaderOfAServer: a header over the limit of net/http never comes to the Guard.
func TestHeaderOfAServer(t *testing.T) {
	w := newWorld(t, nil)
	server := httptest.NewServer(w.mux)
	defer server.Close()
	for size, status := range map[int]int{9 << 10: 401, 2 << 20: http.StatusRequestHeaderFieldsTooLarge} {
		r := must(http.NewRequest("GET", server.URL+"/who", nil))
		r.Header.Set("Authorization", "Bearer "+strings.Repeat("a", size))
		answer := must(http.DefaultClient.Do(r))
		answer.Body.Close()
		if answer.StatusCode != status {
			t.Errorf("%d bytes: %s", size, answer.Status)
		}
	}
}

// TestEveryRefusal: what lapse says of a text, as a client sees it, and that nothing of the token is in it.
func TestEveryRefusal(t *testing.T) {
	for name, row := range map[string]struct {
		spoil     func(w *world, pair lapse.TokenPair)
		status    int
		challenge string
		body      string
	}{
		"unknown":    {func(w *world, p lapse.TokenPair) { w.pairs.Access().ForgetSubject(w.t.Context(), "ana") }, 401, invalidToken, body401},
		"ended":      {func(w *world, p lapse.TokenPair) { w.pairs.Access().Expire(w.t.Context(), p.Access.ID) }, 401, invalidToken, body401},
		"expired":    {func(w *world, p lapse.TokenPair) { w.clock.Add(15 * time.Minute) }, 401, invalidToken, body401},
		"suspended":  {func(w *world, p lapse.TokenPair) { w.pairs.Access().Suspend(w.t.Context(), p.Access.ID) }, 401, invalidToken, body401},
		"replaced":   {func(w *world, p lapse.TokenPair) { w.replaced(p) }, 401, invalidToken, body401},
		"refused":    {func(w *world, p lapse.TokenPair) { w.refuse = lapse.ErrRefused }, 401, invalidToken, body401},
		"Admit down": {func(w *world, p lapse.TokenPair) { w.refuse = errDown }, 503, "", body503},
		"store down": {func(w *world, p lapse.TokenPair) {
			w.store.Inject(1, storagetest.FailBefore, storage.ErrUnavailable)
		}, 503, "", body503},
		"damaged": {func(w *world, p lapse.TokenPair) { w.store.Inject(1, storagetest.FailBefore, storage.ErrCorrupt) }, 503, "", body503},
		"closed":  {func(w *world, p lapse.TokenPair) { w.store.Inject(1, storagetest.FailBefore, storage.ErrClosed) }, 503, "", body503},
	} {
		for _, path := range []string{"/who", "/look", "/held"} {
			w := newWorld(t, nil)
			pair := w.issue("app", lapse.Grant{})
			row.spoil(w, pair)
			answer := w.get(path, "Bearer "+pair.Access.Bearer)
			want(t, name+" at "+path, answer, row.status, row.challenge, row.body)
			for _, told := range []string{pair.Access.ID.String(), "2026", "ana"} {
				if strings.Contains(answer.Body.String(), told) || strings.Contains(answer.Header().Get("WWW-Authenticate"), told) {
					t.Errorf("%s: the answer tells %s", name, told)
				}
			}
		}
	}
}

// replaced refreshes the session of pair, and has the grace pass.
func (w *world) replaced(pair lapse.TokenPair) lapse.TokenPair {
	w.t.Helper()
	next := must(w.pairs.Refresh(w.t.Context(), pair.Refresh.Bearer))
	w.clock.Add(10 * time.Second)
	return next
}

// TestEnded: a request whose own context has ended is answered 503, and never 401.
func TestEnded(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "/who", nil)
	r.Header.Set("Authorization", "Bearer "+w.issue("app", lapse.Grant{}).Access.Bearer)
	if answer := w.do(r); answer.Code == 401 {
		t.Errorf("%d", answer.Code)
	}
}

// TestRequireScope: 403 names the words that are wanted, and nothing of what the token has.
func TestRequireScope(t *testing.T) {
	w := newWorld(t, nil)
	const insufficient = `Bearer realm="lapse", error="insufficient_scope", scope="read write admin"`
	for scope, status := range map[string]int{"read write admin": 200, "admin x write read": 200, "read write": 403, "": 403, "readwriteadmin": 403} {
		challenge, body := "", "ana"
		if status == 403 {
			challenge, body = insufficient, body403
		}
		want(t, scope, w.get("/write", "Bearer "+w.issue("", lapse.Grant{Scope: scope}).Access.Bearer), status, challenge, body)
	}
	want(t, "without a token", w.get("/write", ""), 401, bare, body401)
	want(t, "without Protect", w.get("/bare", "Bearer "+w.issue("", lapse.Grant{}).Access.Bearer), 401, bare, body401)

	g := must(lapsehttp.New(w.pairs.Access(), lapsehttp.Options{}))
	w.mux.Handle("/odd", g.Protect(g.RequireScope(http.NotFoundHandler(), "read", "a\"b\r\nX: y")))
	want(t, "a word that no scope has", w.get("/odd", "Bearer "+w.issue("", lapse.Grant{Scope: "read"}).Access.Bearer), 403, `Bearer realm="lapse", error="insufficient_scope"`, body403)
}

// TestPeek: a page that polls keeps no token alive and spends no use, and Protect does both.
func TestPeek(t *testing.T) {
	w := newWorld(t, nil)
	i := must(w.pairs.Access().Issue(t.Context(), lapse.Grant{Subject: "ana", MaxUses: 2}))
	for _, row := range []struct {
		path   string
		left   int
		status int
	}{{"/look", 2, 200}, {"/who", 1, 200}, {"/look", 1, 200}, {"/who", 0, 200}, {"/look", 0, 401}, {"/who", 0, 401}} {
		if answer := w.get(row.path, "Bearer "+i.Bearer); answer.Code != row.status {
			t.Errorf("%s: %d", row.path, answer.Code)
		}
		if tok := must(w.pairs.Access().Token(t.Context(), i.ID)); tok.UsesLeft != row.left {
			t.Errorf("%s: %d uses are left, want %d", row.path, tok.UsesLeft, row.left)
		}
	}
}

// TestProof: the scheme DPoP is for tokens that are bound to a key, and its challenge names the
// algorithms.
func TestProof(t *testing.T) {
	key := lapse.Thumbprint{1}
	const dpop = `DPoP realm="lapse", error="invalid_dpop_proof", algs="ES256"`
	for _, row := range []struct {
		name, algs, scheme string
		bound, proved      bool
		status             int
		challenge          string
	}{
		{"bound and proved", "ES256", "DPoP", true, true, 200, ""},
		{"bound", "ES256", "DPoP", true, false, 401, dpop},
		{"bound, as a bearer", "ES256", "Bearer", true, false, 401, dpop},
		{"bound and proved, as a bearer", "ES256", "Bearer", true, true, 401, dpop},
		{"not bound", "ES256", "DPoP", false, true, 401, dpop},
		{"not bound, as a bearer", "ES256", "Bearer", false, false, 200, ""},
		{"bound to a certificate", "", "Bearer", true, true, 200, ""},
		{"bound to a certificate, which is absent", "", "Bearer", true, false, 401, invalidToken},
	} {
		w := newWorld(t, func(o *lapsehttp.Options) { o.DPoP = row.algs })
		var g lapse.Grant
		if row.bound {
			g.Thumbprint = key
		}
		for _, path := range []string{"/who", "/look", "/held"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Authorization", row.scheme+" "+w.issue("", g).Access.Bearer)
			if row.proved {
				r = r.WithContext(lapse.WithProof(r.Context(), key))
			}
			body := "ana"
			if row.status != 200 {
				body = body401
			}
			want(t, row.name+" at "+path, w.do(r), row.status, row.challenge, body)
		}
	}
}

// TestChallengeOfADeadToken: what is said of a text that is no good is said in a challenge of the scheme by
// which it came (RFC 9449 section 7.1), and is another error than that of a proof, after which a client
// keeps its token.
func TestChallengeOfADeadToken(t *testing.T) {
	const dead = `DPoP realm="lapse", error="invalid_token", algs="ES256"`
	key := lapse.Thumbprint{1}
	for name, spoil := range map[string]func(w *world, p lapse.TokenPair) string{
		"ended": func(w *world, p lapse.TokenPair) string {
			must(w.pairs.Access().Expire(t.Context(), p.Access.ID))
			return p.Access.Bearer
		},
		"suspended": func(w *world, p lapse.TokenPair) string {
			must(w.pairs.Access().Suspend(t.Context(), p.Access.ID))
			return p.Access.Bearer
		},
		"expired":   func(w *world, p lapse.TokenPair) string { w.clock.Add(time.Hour); return p.Access.Bearer },
		"malformed": func(*world, lapse.TokenPair) string { return "lapse_x" },
		"9 KB":      func(*world, lapse.TokenPair) string { return strings.Repeat("a", 9<<10) },
	} {
		for _, path := range []string{"/who", "/look", "/held"} {
			w := newWorld(t, func(o *lapsehttp.Options) { o.DPoP = "ES256" })
			text := spoil(w, w.issue("", lapse.Grant{Thumbprint: key}))
			for scheme, challenges := range map[string][]string{"DPoP": {dead}, "Bearer": {invalidToken, `DPoP realm="lapse", algs="ES256"`}} {
				r := httptest.NewRequest("GET", path, nil)
				r.Header.Set("Authorization", scheme+" "+text)
				answer := w.do(r.WithContext(lapse.WithProof(r.Context(), key)))
				if got := answer.Header()["Www-Authenticate"]; answer.Code != 401 || !slices.Equal(got, challenges) {
					t.Errorf("%s by %s at %s: %d %q, want %q", name, scheme, path, answer.Code, got, challenges)
				}
			}
		}
	}
}

// TestChallengesOfBothSchemes: where the scheme DPoP is served, a 401 by the scheme Bearer names it, too,
// with no error of its own (RFC 9449 section 7.2).
func TestChallengesOfBothSchemes(t *testing.T) {
	const dpop = `DPoP realm="lapse", algs="ES256"`
	for _, row := range []struct {
		authorization string
		challenges    []string
	}{
		{"", []string{bare, dpop}},
		{"Basic YTpi", []string{bare, dpop}},
		{"Bearer lapse_x", []string{invalidToken, dpop}},
		{"DPoP", []string{badRequest}},
		{"Bearer", []string{badRequest}},
	} {
		for algs, want := range map[string][]string{"ES256": row.challenges, "": row.challenges[:1]} {
			if algs == "" && strings.HasPrefix(row.authorization, "DPoP") {
				want = []string{bare}
			}
			w := newWorld(t, func(o *lapsehttp.Options) { o.DPoP = algs })
			for _, path := range []string{"/who", "/look", "/held"} {
				if got := w.get(path, row.authorization).Header()["Www-Authenticate"]; !slices.Equal(got, want) {
					t.Errorf("%q at %s with the algorithms %q: %q, want %q", row.authorization, path, algs, got, want)
				}
			}
		}
	}
}

// TestNew: what New and NewEndpoints refuse, and that the error names the field.
func TestNew(t *testing.T) {
	w := newWorld(t, nil)
	for name, o := range map[string]lapsehttp.Options{"Realm": {Realm: `a"b`}, "Options.Realm": {Realm: "a\nb"}, "DPoP": {DPoP: `ES256\`}, "Cookie": {Cookie: "a b"}, "Options.Cookie": {Cookie: "a=b"}} {
		if _, err := lapsehttp.New(w.pairs.Access(), o); !errors.Is(err, lapse.ErrInvalidConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, noTokens := lapsehttp.New(nil, lapsehttp.Options{})
	_, noPairs := lapsehttp.NewEndpoints(nil, lapsehttp.ServerOptions{Client: authenticate})
	_, noClient := lapsehttp.NewEndpoints(w.pairs, lapsehttp.ServerOptions{})
	_, wrong := lapsehttp.NewEndpoints(w.pairs, lapsehttp.ServerOptions{Client: authenticate, Confirmation: "JKT"})
	for name, err := range map[string]error{"tokens": noTokens, "pairs": noPairs, "Client": noClient, "Confirmation": wrong} {
		if !errors.Is(err, lapse.ErrInvalidConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g := must(lapsehttp.New(w.pairs.Access(), lapsehttp.Options{Realm: "the files"}))
	answer := httptest.NewRecorder()
	g.Protect(http.NotFoundHandler()).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	want(t, "a realm", answer, 401, `Bearer realm="the files"`, body401)
	if _, ok := lapsehttp.TokenFrom(t.Context()); ok {
		t.Error("a token out of nothing")
	}
	if _, ok := lapsehttp.HoldFrom(t.Context()); ok {
		t.Error("a hold out of nothing")
	}
}
