package lapsehttp

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxBody is how many bytes the body of a request to an endpoint may have.
const maxBody = 64 << 10

// form reads the parameters of r from its body, and returns false if it has answered. The method is
// POST, the body is form-encoded (RFC 6749 section 3.2), no parameter comes twice, and none of an
// endpoint is in the query, which stands in logs. An empty parameter counts as absent.
func form(w http.ResponseWriter, r *http.Request) (ok bool) {
	if !accepts(w, r, "application/x-www-form-urlencoded", http.StatusBadRequest) {
		return false
	}
	body, ok := body(w, r)
	if !ok {
		return false
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid_request", "the body is not form-encoded")
		return false
	}
	for _, given := range values {
		if len(given) > 1 {
			fail(w, http.StatusBadRequest, "invalid_request", "a parameter is repeated")
			return false
		}
	}
	query := r.URL.Query()
	for _, name := range [...]string{"token", "refresh_token", "client_id", "client_secret", "grant_type", "device_code", "scope"} {
		if query.Has(name) {
			fail(w, http.StatusBadRequest, "invalid_request", "a parameter is in the query; send it in the body")
			return false
		}
	}
	r.PostForm, r.Form = values, values
	return true
}

// accepts reports whether r is a POST of a body of the media type want, and answers if it is not: with
// status for another media type.
func accepts(w http.ResponseWriter, r *http.Request, want string, status int) bool {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, "invalid_request", "the method is POST")
		return false
	}
	if given := r.Header["Content-Type"]; len(given) == 1 {
		if media, _, err := mime.ParseMediaType(given[0]); err == nil && media == want {
			return true
		}
	}
	fail(w, status, "invalid_request", "the Content-Type is not "+want)
	return false
}

// body returns the body of r, and answers if it is too long or cannot be read.
func body(w http.ResponseWriter, r *http.Request) (b []byte, ok bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		fail(w, http.StatusRequestEntityTooLarge, "invalid_request", "the body is too long")
		return nil, false
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid_request", "the body cannot be read")
		return nil, false
	}
	return b, true
}

// errBadClient says that a request authenticates its client twice, or in a wrong form.
var errBadClient = errors.New("lapsehttp: the client is authenticated twice, or in a wrong form")

// ClientCredentials returns what a client sent to authenticate itself: by HTTP Basic, whose parts are
// form-encoded once more, or by client_id and client_secret of the body (RFC 6749 section 2.3.1). Call
// it in ServerOptions.Client or Resource. All are empty for a client that sent nothing, and the secret for
// one that sent its client_id alone. Compare the secret in constant time. The error, for a client that
// sent both or sent them in a wrong form, is one to return from there: it is answered invalid_request.
func ClientCredentials(r *http.Request) (id, secret string, err error) {
	id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return id, secret, nil
	}
	user, password, ok := r.BasicAuth()
	if len(values) > 1 || secret != "" || !ok && len(values[0]) >= 5 && strings.EqualFold(values[0][:5], "basic") {
		return "", "", errBadClient
	}
	if !ok {
		return id, "", nil
	}
	user, badUser := url.QueryUnescape(user)
	password, badPassword := url.QueryUnescape(password)
	if badUser != nil || badPassword != nil || id != "" && id != user {
		return "", "", errBadClient
	}
	return user, password, nil
}
