package lapsehttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// TestQuery: a bearer in the query is refused, also beside a good one, unless it is asked for.
func TestQuery(t *testing.T) {
	for _, row := range []struct {
		name   string
		read   bool   // Options.Query
		query  string // T stands for the text
		header bool
		status int
	}{
		{"off", false, "access_token=T", false, 400},
		{"off, encoded", false, "a=b&access%5Ftoken=T", false, 401}, // no client of RFC 6750 writes it so
		{"off, beside the header", false, "access_token=T", true, 400},
		{"off, empty", false, "access_token=", false, 400},
		{"off, another name", false, "my_access_token=T", true, 200},
		{"on", true, "a=b&access_token=T", false, 200},
		{"on, beside the header", true, "access_token=T", true, 400},
		{"on, twice", true, "access_token=T&access_token=T", false, 400},
		{"on, empty", true, "access_token=", false, 400},
		{"on, no good", true, "access_token=lapse_x", false, 401},
		{"on, 1 MB", true, "access_token=" + strings.Repeat("a", 1<<20), false, 401},
		{"on, none", true, "a=b", false, 401},
		{"on, only the header", true, "a=b", true, 200},
	} {
		w := newWorld(t, func(o *lapsehttp.Options) { o.Query = row.read })
		text := w.issue("", lapse.Grant{}).Access.Bearer
		for _, path := range []string{"/who", "/held"} {
			r := httptest.NewRequest("GET", path+"?"+strings.ReplaceAll(row.query, "T", url.QueryEscape(text)), nil)
			if row.header {
				r.Header.Set("Authorization", "Bearer "+text)
			}
			answer := w.do(r)
			if answer.Code != row.status {
				t.Errorf("%s at %s: %d", row.name, path, answer.Code)
			}
			if private := answer.Header().Get("Cache-Control") == "private"; private != (answer.Code == 200 && !row.header) {
				t.Errorf("%s: Cache-Control %q", row.name, answer.Header().Get("Cache-Control"))
			}
		}
	}
}

// TestCookie: a cookie is read only where it is asked for, behind the header, and never for a page of
// another origin, which may not open a stream either.
func TestCookie(t *testing.T) {
	same, cross, old := http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.Header{"Origin": {"https://evil.example"}}
	upgrade := func(h http.Header) http.Header {
		h = h.Clone()
		h.Set("Upgrade", "websocket")
		return h
	}
	for _, row := range []struct {
		name, method, path string
		cookies            string // T stands for the text
		header             http.Header
		off                bool // Options.Cookie is empty
		status             int
	}{
		{"same origin", "POST", "/who", "sid=T", same, false, 200},
		{"no browser", "POST", "/who", "sid=T", nil, false, 200},
		{"off", "POST", "/who", "sid=T", same, true, 401},
		{"none", "POST", "/who", "other=T", same, false, 401},
		{"empty", "POST", "/who", "sid=", same, false, 400},
		{"two of the name", "POST", "/who", "sid=T; sid=T", same, false, 400},
		{"no good", "POST", "/who", "sid=lapse_x", same, false, 401},
		{"cross-site", "POST", "/who", "sid=T", cross, false, 403},
		{"cross-site, DELETE", "DELETE", "/look", "sid=T", cross, false, 403},
		{"cross-origin of an old browser", "POST", "/who", "sid=T", old, false, 403},
		{"cross-site GET, which changes nothing", "GET", "/who", "sid=T", cross, false, 200},
		{"cross-site stream", "GET", "/held", "sid=T", cross, false, 403},
		{"cross-origin stream of an old browser", "GET", "/held", "sid=T", old, false, 403},
		{"cross-site WebSocket", "GET", "/who", "sid=T", upgrade(cross), false, 403},
		{"stream", "GET", "/held", "sid=T", same, false, 200},
		{"WebSocket", "GET", "/held", "sid=T", upgrade(same), false, 200},
	} {
		w := newWorld(t, func(o *lapsehttp.Options) {
			if o.Cookie = "sid"; row.off {
				o.Cookie = ""
			}
		})
		text := w.issue("", lapse.Grant{}).Access.Bearer
		r := httptest.NewRequest(row.method, row.path, nil)
		if row.header != nil {
			r.Header = row.header.Clone()
		}
		r.Header.Set("Cookie", strings.ReplaceAll(row.cookies, "T", text))
		answer := w.do(r)
		if answer.Code != row.status {
			t.Errorf("%s: %d %s", row.name, answer.Code, answer.Header())
		}
		if row.status == 403 {
			want(t, row.name, answer, 403, "", body403)
		}
		if cache := answer.Header().Get("Cache-Control"); answer.Code == 200 && cache != "private" {
			t.Errorf("%s: Cache-Control %q", row.name, cache)
		}
		r.Header.Set("Authorization", "Bearer x") // a page that sets the header wants to be judged by it
		if answer := w.do(r); answer.Code != 401 {
			t.Errorf("%s, with a header: %d", row.name, answer.Code)
		}
		r.Header.Set("Authorization", "Bearer "+text) // and no other origin can set it without being asked first
		if answer := w.do(r); answer.Code != 200 || answer.Header().Get("Cache-Control") != "" {
			t.Errorf("%s, with a good header: %d", row.name, answer.Code)
		}
	}
}

// TestCookieFromATrustedOrigin: the protection is the caller's, with what it trusts.
func TestCookieFromATrustedOrigin(t *testing.T) {
	trusting := http.NewCrossOriginProtection()
	if err := trusting.AddTrustedOrigin("https://app.example"); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *lapsehttp.Options) { o.Cookie, o.CrossOrigin = "sid", trusting })
	text := w.issue("", lapse.Grant{}).Access.Bearer
	for origin, status := range map[string]int{"https://app.example": 200, "https://evil.example": 403} {
		for _, path := range []string{"/who", "/held"} {
			r := httptest.NewRequest("POST", path, nil)
			r.Header = http.Header{"Origin": {origin}, "Sec-Fetch-Site": {"cross-site"}, "Cookie": {"sid=" + text}}
			if answer := w.do(r); answer.Code != status {
				t.Errorf("%s at %s: %d", origin, path, answer.Code)
			}
		}
	}
}
