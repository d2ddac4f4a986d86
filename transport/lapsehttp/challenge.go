package lapsehttp

import (
	"errors"
	"net/http"

	"github.com/seed-55daa01a/lapse"
)

// refuse answers a request that has b for err, an error of this package or of lapse. scope has the words that
// are wanted, where err is lapse.ErrScope.
func (g *Guard) refuse(w http.ResponseWriter, b bearer, err error, scope string) {
	switch {
	case errors.Is(err, errNoBearer): // no error code without a token (RFC 6750 section 3.1)
		g.challenge(w, http.StatusUnauthorized, "Bearer", "")
	case errors.Is(err, errBadRequest):
		g.challenge(w, http.StatusBadRequest, "Bearer", `, error="invalid_request"`)
	case errors.Is(err, errCrossOrigin):
		plain(w, http.StatusForbidden)
	case errors.Is(err, lapse.ErrScope):
		parameters := `, error="insufficient_scope"`
		if scope != "" {
			parameters += `, scope="` + scope + `"`
		}
		g.challenge(w, http.StatusForbidden, "Bearer", parameters)
	case errors.Is(err, lapse.ErrProof) && g.o.DPoP != "": // the token is good: the client keeps it
		g.challenge(w, http.StatusUnauthorized, "DPoP", `, error="invalid_dpop_proof", algs="`+g.o.DPoP+`"`)
	case errors.Is(err, lapse.ErrUnauthenticated) && b.dpop: // the scheme of the request (RFC 9449 section 7.1)
		g.challenge(w, http.StatusUnauthorized, "DPoP", `, error="invalid_token", algs="`+g.o.DPoP+`"`)
	case errors.Is(err, lapse.ErrUnauthenticated):
		g.challenge(w, http.StatusUnauthorized, "Bearer", `, error="invalid_token"`)
	default:
		w.Header().Set("Retry-After", "1")
		plain(w, http.StatusServiceUnavailable)
	}
}

// challenge answers with status and a challenge of scheme. A 401 by the scheme Bearer names the scheme DPoP
// as well, where that is served (RFC 9449 section 7.2).
func (g *Guard) challenge(w http.ResponseWriter, status int, scheme, parameters string) {
	w.Header().Set("WWW-Authenticate", scheme+" "+g.realm+parameters)
	if g.o.DPoP != "" && scheme == "Bearer" && status == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", "DPoP "+g.realm+`, algs="`+g.o.DPoP+`"`)
	}
	plain(w, status)
}

// plain answers with status and its text, which no cache keeps.
func plain(w http.ResponseWriter, status int) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(status), status)
}
