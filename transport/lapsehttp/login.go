package lapsehttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse"
)

// LogIn returns the handler of a log-in of a program's own users, for its own clients. The body is
// a JSON object that is decoded into C, with no name that C has not, and none twice, also in
// another case; verifiers say whose credentials they are (lapse.Identify), and the session is
// issued by ServerOptions.Grant. The answer is that of RFC 6749 section 5.1, with both texts.
//
// Credentials that are wrong, or whose subject is refused, are 400 with invalid_grant, and a body that
// is no such object is 400 with invalid_request. Another media type is 415, so that no form of another
// site logs a browser in. A subject that has as many sessions as it may is 403 with access_denied
// (lapse.ErrLimit). What could not be told is 503. LogIn does not limit how often it is asked: put that
// in front of it.
func LogIn[C any](e *Endpoints, verifiers ...lapse.Verifier[C]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !accepts(w, r, "application/json", http.StatusUnsupportedMediaType) {
			return
		}
		var credentials C
		if !decode(w, r, &credentials) {
			return
		}
		id, ok := client(w, r, e.o.Client)
		if !ok {
			return
		}
		pair, err := logIn(e, r, id, credentials, verifiers)
		if err != nil {
			failLogIn(w, err)
			return
		}
		e.replyPair(w, pair)
	})
}

// logIn returns a session of client for the subject of credentials.
func logIn[C any](e *Endpoints, r *http.Request, client string, credentials C, verifiers []lapse.Verifier[C]) (pair lapse.TokenPair, err error) {
	subject, err := lapse.Identify(r.Context(), e.pairs.Access(), credentials, verifiers...)
	if err != nil {
		return pair, err
	}
	grant, err := e.o.Grant(r, subject)
	if err != nil {
		return pair, err
	}
	grant.Subject, grant.Client = subject, client
	return e.pairs.Issue(r.Context(), grant)
}

// failLogIn answers a log-in for err.
func failLogIn(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, lapse.ErrInvalidGrant):
		fail(w, http.StatusBadRequest, "invalid_request", "what the log-in asks for cannot be granted")
	case errors.Is(err, lapse.ErrLimit):
		fail(w, http.StatusForbidden, "access_denied", "there are as many sessions as there may be")
	default:
		failGrant(w, err)
	}
}

// decode reads the body of r, one JSON object, into v. It returns false if it has answered.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	b, ok := body(w, r)
	if !ok {
		return false
	}
	strict, names := json.NewDecoder(bytes.NewReader(b)), json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	names.UseNumber() // a number may be of any size
	if !utf8.Valid(b) || !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) || strict.Decode(v) != nil || strict.Decode(new(any)) != io.EOF || !namedOnce(names) {
		fail(w, http.StatusBadRequest, "invalid_request", "the body is not the JSON object of a log-in")
		return false
	}
	return true
}

// namedOnce reads one value, which is valid, and reports whether no object of it has a name twice.
// Names are the same if encoding/json decodes them into the same field: it ignores case, and keeps
// the last one.
func namedOnce(tokens *json.Decoder) bool {
	begin, err := tokens.Token()
	kind, nested := begin.(json.Delim)
	if err != nil || !nested {
		return err == nil
	}
	names := make(map[string]bool)
	for tokens.More() {
		if kind == '{' {
			token, _ := tokens.Token()
			name, _ := token.(string)
			same := strings.Map(folded, name)
			if names[same] {
				return false
			}
			names[same] = true
		}
		if !namedOnce(tokens) {
			return false
		}
	}
	_, err = tokens.Token()
	return err == nil
}

// folded returns the least of the runes that differ from r in case alone.
func folded(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
