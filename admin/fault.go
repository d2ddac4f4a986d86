package admin

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// The errors of the protocol itself. Each comes with a text that says what to do.
var (
	// ErrNotAllowed: the server does not let the user of the client in, or lets it only read. The program
	// says in Server.Allow who may do what.
	ErrNotAllowed = errors.New("admin: not allowed")

	// ErrProtocol: the other end speaks another protocol or another version of it. Use the same version of
	// lapse on both ends.
	ErrProtocol = errors.New("admin: not understood")
)

// kinds are the errors that errors.Is finds on both ends, each with its word on the wire. Where package
// lapse has a word of its own for an error, that is the word.
var kinds = []struct {
	word string
	err  error
}{
	{"refused", lapse.ErrRefused},
	{"bad_credentials", lapse.ErrBadCredentials},
	{"malformed", lapse.ErrMalformed},
	{"unknown", lapse.ErrUnknown},
	{"expired", lapse.ErrExpired},
	{"revoked", lapse.ErrRevoked},
	{"suspended", lapse.ErrSuspended},
	{"replaced", lapse.ErrReplaced},
	{"reused", lapse.ErrReused},
	{"proof", lapse.ErrProof},
	{"exhausted", lapse.ErrExhausted},
	{"unauthenticated", lapse.ErrUnauthenticated},
	{"bad_config", lapse.ErrInvalidConfig},
	{"bad_grant", lapse.ErrInvalidGrant},
	{"bad_query", lapse.ErrInvalidQuery},
	{"bad_id", lapse.ErrInvalidID},
	{"bad_thumbprint", lapse.ErrInvalidThumbprint},
	{"limit", lapse.ErrLimit},
	{"not_renewable", lapse.ErrNotRenewable},
	{"not_delegable", lapse.ErrNotDelegable},
	{"rotated", lapse.ErrRotated},
	{"scope", lapse.ErrScope},
	{"clock", lapse.ErrClock},
	{"no_keys", lapse.ErrNoKeys},
	{"not_mine", lapse.ErrNotMine},
	{"outcome_unknown", lapse.ErrOutcomeUnknown},
	{"not_found", lapse.ErrNotFound},
	{"conflict", lapse.ErrConflict},
	{"closed", lapse.ErrClosed},
	{"corrupt", lapse.ErrCorrupt},
	{"authorization_pending", lapse.ErrAuthorizationPending},
	{"slow_down", lapse.ErrSlowDown},
	{"access_denied", lapse.ErrAccessDenied},
	{"guesses", lapse.ErrGuesses},
	{"locked", lapse.ErrLocked},
	{"unavailable", lapse.ErrUnavailable},
	{"too_many_writes", storage.ErrTooManyWrites},
	{"not_allowed", ErrNotAllowed},
	{"protocol", ErrProtocol},
	{"unsupported", errors.ErrUnsupported},
	{"canceled", context.Canceled},
	{"deadline", context.DeadlineExceeded},
}

// fault is an error on the wire, in the form of JSON-RPC 2.0.
type fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    *cause `json:"data,omitempty"`
}

// cause is what a program asks of an error.
type cause struct {
	Code      string            `json:"code"`            // as lapse.Code returns it
	Kinds     []string          `json:"kinds,omitempty"` // the words of all errors that errors.Is finds in it
	Rejection *rejection        `json:"rejection,omitempty"`
	Grant     *lapse.GrantError `json:"grant,omitempty"`
	Scope     *lapse.ScopeError `json:"scope,omitempty"`
	N         int               `json:"n,omitempty"` // the result of a verb that returns a number with an error
}

// rejection is a lapse.Rejection on the wire, without its Err, which the kinds name.
type rejection struct {
	ID         lapse.ID        `json:"id,omitzero"`
	Subject    string          `json:"subject,omitempty"`
	Generation uint32          `json:"generation,omitempty"`
	At         time.Time       `json:"at,omitzero"`
	Reason     lapse.EndReason `json:"reason,omitempty"`
	EndedBy    string          `json:"ended_by,omitempty"`
	EndNote    string          `json:"end_note,omitempty"`
}

// toFault returns err on the wire, or nil for nil.
func toFault(err error) *fault {
	if err == nil {
		return nil
	}
	c := cause{Code: lapse.Code(err)}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			c.Kinds = append(c.Kinds, k.word)
		}
	}
	if r := (*lapse.Rejection)(nil); errors.As(err, &r) {
		c.Rejection = &rejection{r.ID, r.Subject, r.Generation, r.At, r.Reason, r.EndedBy, r.EndNote}
	}
	errors.As(err, &c.Grant)
	errors.As(err, &c.Scope)
	return &fault{codeFailed, err.Error(), &c}
}

// refuse returns the fault of a request that was not understood.
func refuse(code int, text string) *fault { return refuseAs(code, text, nil) }

// refuseAs is refuse with a kind besides ErrProtocol.
func refuseAs(code int, text string, kind error) *fault {
	f := toFault(errors.Join(ErrProtocol, kind))
	f.Code, f.Message = code, ErrProtocol.Error()+": "+text
	return f
}

// onlyKnown returns the error of package lapse that err, of a decoder, wraps, or nil. The text of err may
// quote the request.
func onlyKnown(err error) error {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.err
		}
	}
	return nil
}

// failure is an error on the client: that of a fault, or that of a call without an answer.
type failure struct {
	text  string
	n     int
	wraps []error
}

// Error returns the text that the server gave, where there is one.
func (r *failure) Error() string { return r.text }

// Unwrap returns the errors that the error of the server wrapped, as far as this version knows them.
func (r *failure) Unwrap() []error { return r.wraps }

// err returns the error of f, or nil for nil.
func (f *fault) err() error {
	if f == nil {
		return nil
	}
	r := &failure{text: f.Message}
	c := f.Data
	if c == nil {
		r.wraps = []error{ErrProtocol}
		return r
	}
	r.n = c.N
	if c.Grant != nil {
		r.wraps = append(r.wraps, c.Grant)
	}
	if c.Scope != nil {
		r.wraps = append(r.wraps, c.Scope)
	}
	if c.Rejection != nil {
		r.wraps = append(r.wraps, c.Rejection.rejection(c))
	}
	for _, word := range c.Kinds {
		if err := kindOf(word); err != nil {
			r.wraps = append(r.wraps, err)
		}
	}
	return r
}

// rejection returns the lapse.Rejection, with the kind that the code of c names.
func (r *rejection) rejection(c *cause) *lapse.Rejection {
	err := kindOf(c.Code)
	if !errors.Is(err, lapse.ErrUnauthenticated) {
		err = lapse.ErrUnauthenticated
	}
	return &lapse.Rejection{
		Err: err, ID: r.ID, Subject: r.Subject, Generation: r.Generation, At: r.At, Reason: r.Reason, EndedBy: r.EndedBy, EndNote: r.EndNote,
	}
}

// kindOf returns the error of a word, or nil for a word that this version does not know.
func kindOf(word string) error {
	for _, k := range kinds {
		if k.word == word {
			return k.err
		}
	}
	return nil
}

// raw returns the JSON of v, a value of this package, which always has one.
func raw(v any) json.RawMessage {
	text, _ := json.Marshal(v)
	return text
}
