package lapsehttp

import (
	"net/http"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// maxBearer is how many bytes a bearer may have. A text of lapse has far fewer, and Config.Foreign is
// given no longer one.
const maxBearer = 8 << 10

// bearer is the text that a request has.
type bearer struct {
	text    string
	dpop    bool // it came with the scheme DPoP
	private bool // it came from the query or a cookie, which no cache heeds
}

// bearer returns the bearer of r: that of the header Authorization, or else that of the query or of the
// cookie, where the Options say so. held says that r opens a stream. The error is errNoBearer,
// errBadRequest, errCrossOrigin, or lapse.ErrMalformed for a text that is too long.
func (g *Guard) bearer(r *http.Request, held bool) (b bearer, err error) {
	values := r.Header["Authorization"]
	if len(values) > 1 {
		return b, errBadRequest
	}
	if strings.Contains(r.URL.RawQuery, "access_token") {
		if asked := r.URL.Query()["access_token"]; len(asked) > 0 {
			if !g.o.Query || len(asked) > 1 || len(values) > 0 { // one method only (RFC 6750 section 2)
				return b, errBadRequest
			}
			return bearer{text: asked[0], private: true}.checked()
		}
	}
	if len(values) == 1 {
		return g.fromHeader(values[0])
	}
	if g.o.Cookie != "" {
		return g.fromCookie(r, held)
	}
	return b, errNoBearer
}

// fromHeader returns the bearer of the value of a header Authorization (RFC 6750 section 2.1). Credentials
// of another scheme are no bearer.
func (g *Guard) fromHeader(value string) (b bearer, err error) {
	scheme, text, _ := strings.Cut(value, " ")
	b.text = strings.TrimLeft(text, " ")
	b.dpop = g.o.DPoP != "" && strings.EqualFold(scheme, "DPoP")
	if !b.dpop && !strings.EqualFold(scheme, "Bearer") {
		return b, errNoBearer
	}
	return b.checked()
}

// fromCookie returns the bearer of the cookie of r, unless a page of another origin sends r.
func (g *Guard) fromCookie(r *http.Request, held bool) (b bearer, err error) {
	cookies := r.CookiesNamed(g.o.Cookie)
	if len(cookies) == 0 {
		return b, errNoBearer
	}
	if len(cookies) > 1 { // a sibling domain may have set the other one
		return b, errBadRequest
	}
	asked := r
	if held || r.Header.Get("Upgrade") != "" { // Check lets GET pass, and a page reads what it is streamed
		posted := *r
		posted.Method = http.MethodPost
		asked = &posted
	}
	if g.o.CrossOrigin.Check(asked) != nil {
		return b, errCrossOrigin
	}
	return bearer{text: cookies[0].Value, private: true}.checked()
}

// checked returns b, and an error for a text that is empty or too long.
func (b bearer) checked() (bearer, error) {
	switch {
	case b.text == "":
		return b, errBadRequest
	case len(b.text) > maxBearer:
		return b, lapse.ErrMalformed
	}
	return b, nil
}

// suits returns lapse.ErrProof for a token that came with the scheme DPoP and is bound to no key (RFC
// 9449 section 7.1), and for one that is bound and came without that scheme (section 7.2).
func (g *Guard) suits(b bearer, tok *lapse.Token) error {
	if g.o.DPoP != "" && b.dpop == tok.Thumbprint.IsZero() {
		return lapse.ErrProof
	}
	return nil
}

// mark keeps the answer to a request out of shared caches, where these cannot see that it has a
// bearer (RFC 6750 section 2.3). The handler may set another Cache-Control.
func (b bearer) mark(w http.ResponseWriter) {
	if b.private {
		w.Header().Set("Cache-Control", "private")
	}
}
