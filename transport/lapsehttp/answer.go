package lapsehttp

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/seed-55daa01a/lapse"
)

// oauthError is the answer of RFC 6749 section 5.2. Its texts are fixed.
type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// fail answers with status and an error of RFC 6749 section 5.2.
func fail(w http.ResponseWriter, status int, code, description string) {
	reply(w, status, oauthError{code, description})
}

// reply answers with status and the JSON of body, which no cache keeps.
func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// unavailable answers 503: the client keeps what it has, and tries again.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	fail(w, http.StatusServiceUnavailable, "temporarily_unavailable", "")
}

// failGrant answers a request for err, an error of this package or of lapse about a text or about
// credentials.
func failGrant(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, lapse.ErrProof): // the text is good: the client keeps it
		fail(w, http.StatusBadRequest, "invalid_dpop_proof", "")
	case errors.Is(err, errOtherClient), errors.Is(err, lapse.ErrUnauthenticated), errors.Is(err, lapse.ErrNotRenewable):
		fail(w, http.StatusBadRequest, "invalid_grant", "")
	case errors.Is(err, lapse.ErrScope):
		fail(w, http.StatusBadRequest, "invalid_scope", "")
	default:
		unavailable(w)
	}
}

// client returns the id that authenticate, a function of ServerOptions, returns for r. It returns false
// if it has answered.
func client(w http.ResponseWriter, r *http.Request, authenticate func(*http.Request) (string, error)) (id string, ok bool) {
	id, err := authenticate(r)
	switch {
	case err == nil:
		return id, true
	case errors.Is(err, errBadClient):
		fail(w, http.StatusBadRequest, "invalid_request", "the client is authenticated twice, or in a wrong form")
	case errors.Is(err, lapse.ErrRefused):
		fail(w, http.StatusBadRequest, "unauthorized_client", "")
	case errors.Is(err, lapse.ErrUnauthenticated):
		invalidClient(w)
	default:
		unavailable(w)
	}
	return "", false
}

// invalidClient answers 401. RFC 6749 section 5.2 wants a challenge for a client that sent the header
// Authorization, and RFC 9110 section 15.5.2 for each.
func invalidClient(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="clients"`)
	fail(w, http.StatusUnauthorized, "invalid_client", "")
}
