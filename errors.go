package lapse

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// ErrUnauthenticated is wrapped by every error that means "this token is no good": answer 401,
// close code 4001, codes.Unauthenticated. Any other error of Authenticate and Peek means "could
// not tell": answer 503, so that the client keeps its token. Every refusal carries a *Rejection
// for errors.As.
var ErrUnauthenticated = errors.New("lapse: unauthenticated")

// Why a token is no good. All wrap ErrUnauthenticated; compare with errors.Is. Tell them apart in
// logs, and give the client the same answer for all.
var (
	// ErrMalformed: the text is not a token. Nothing was looked up.
	ErrMalformed error = &refusal{"malformed token"}

	// ErrUnknown: there is no such token. An absent ID, a wrong secret and another prefix give
	// the same answer after the same work: one read, or two for a foreign text, one digest and
	// one tag.
	ErrUnknown error = &refusal{"unknown token"}

	// ErrExpired: the token ran out.
	ErrExpired error = &refusal{"token expired"}

	// ErrRevoked: the token was ended before it ran out. At of the Rejection says when, and
	// Reason why.
	ErrRevoked error = &refusal{"token revoked"}

	// ErrSuspended: the token, or one that it was delegated from, was suspended by Suspend. At of
	// the Rejection says since when. The same text is good again after Resume.
	ErrSuspended error = &refusal{"token suspended"}

	// ErrReplaced: the secret of the text was replaced, by Rotate, RotateID, Obtain or
	// Refresh, and works no more. The token itself may be alive, with a new text.
	ErrReplaced error = &refusal{"token replaced"}

	// ErrRefused: the token is good, but Config.Admit refused it. Admit returns this error, or
	// one that wraps it.
	ErrRefused error = &refusal{"refused"}

	// ErrProof: the token is bound to a key (Grant.Thumbprint), and the context has no proof of
	// that key. Verify the proof of the client, and pass it on by WithProof.
	ErrProof error = &refusal{"no proof of the key that the token is bound to"}

	// ErrExhausted: the token had a budget (Grant.MaxUses), and its last use is spent.
	ErrExhausted error = &refusal{"token has no uses left"}

	// ErrReused: a refresh text was presented again after it had been replaced, by the client
	// or by a thief. Its session has been ended: log in again.
	ErrReused error = &refusal{"refresh token reused"}

	// ErrAccessDenied: the user has denied the log-in of the device.
	ErrAccessDenied error = &refusal{"device log-in denied"}

	// ErrBadCredentials: a Verifier found that the credentials are wrong, or they are for no
	// Verifier. A Verifier returns this error, or one that wraps it.
	ErrBadCredentials error = &refusal{"bad credentials"}
)

// Why a verb cannot do what it was asked for.
var (
	// ErrInvalidConfig: New or NewPairs was given a nil store, or a Config out of its limits;
	// Login or Identify no Manager or no Verifier. The text names the field and the limit.
	ErrInvalidConfig = errors.New("lapse: invalid config")

	// ErrInvalidGrant: a Grant, or a subject or an overlap given by itself, is out of its
	// limits. It is a *GrantError, for errors.As; that and the text name the field and the
	// limit.
	ErrInvalidGrant = errors.New("lapse: invalid grant")

	// ErrInvalidQuery: a Query is out of its limits, has a field that the verb does not take, or
	// an After of other conditions or of another store. The text names the field and the limit.
	ErrInvalidQuery = errors.New("lapse: invalid query")

	// ErrLimit: the subject has Policy.MaxTokens live tokens, or the token
	// Policy.MaxDelegates live delegates. End one of them, or let AtLimit do it.
	// LimitEndIdlest ends no suspended token.
	ErrLimit = errors.New("lapse: the subject has as many live tokens as it may; end one first")

	// ErrNotRenewable: the policy is RenewNever, so issue a new token instead. Or Renew, Rotate
	// or RotateID was given a session, so refresh that. Or Hold.Use was called for a token with a
	// budget (Grant.MaxUses), so call Authenticate for each message instead. Or the token has had
	// as many secrets as a token can have.
	ErrNotRenewable = errors.New("lapse: tokens are not renewable under this policy; issue a new one")

	// ErrNotDelegable: the token has a budget of uses, or is MaxDelegation delegations deep,
	// and so can have no delegate. Issue a token instead.
	ErrNotDelegable = errors.New("lapse: the token cannot be delegated from; issue one instead")

	// ErrRotated: Rotate was given the previous text of a token, and the current text is in
	// use, or RotateID returned it. Rotate with the current text.
	ErrRotated = errors.New("lapse: the token has been rotated and its new text is in use; rotate with that one")

	// ErrScope: a token's scope lacks words that are asked for. It is a *ScopeError, for
	// errors.As; that and the text name the words. Answer 403. The token itself is good:
	// ErrScope does not wrap ErrUnauthenticated.
	ErrScope = errors.New("lapse: insufficient scope")

	// ErrClock: the clock has stayed behind the mark of the store, and Config.ClockGuard is
	// GuardStrict. Set the clock right, or call AcceptClock.
	ErrClock = errors.New("lapse: the clock is behind; set it right, or accept it with AcceptClock")

	// ErrAuthorizationPending: no user has decided about the log-in of the device yet. Poll again
	// after the interval, or call Await.
	ErrAuthorizationPending = errors.New("lapse: no user has decided about the device yet; poll again after the interval")

	// ErrSlowDown: no user has decided yet, and the device polled too early. From now on its
	// interval is 5 seconds longer.
	ErrSlowDown = errors.New("lapse: the device polls too early; make its interval 5 seconds longer")

	// ErrGuesses: the subject has entered as many wrong user codes as it may
	// (DeviceConfig.Guesses). Nothing was looked up.
	ErrGuesses = errors.New("lapse: the subject has entered too many codes that no device shows; try again later")

	// ErrNoKeys: Obtain was called on a Manager without Config.Keys.
	ErrNoKeys = errors.New("lapse: Obtain needs Config.Keys; give at least one of 32 random bytes")

	// ErrNotMine: a Verifier returns it for credentials that are not for this Verifier. Login
	// asks the next one.
	ErrNotMine = errors.New("lapse: not this verifier's credentials")

	// ErrInvalidID: ParseID was given something else than a token's ID.
	ErrInvalidID = storage.ErrInvalidID

	// ErrInvalidThumbprint: ParseThumbprint was given something else than a thumbprint.
	ErrInvalidThumbprint = storage.ErrInvalidThumbprint
)

// The store's errors. Package storage says what each means and what to do. None of them wraps
// ErrUnauthenticated: a store that is down must log no client out.
var (
	ErrNotFound       = storage.ErrNotFound
	ErrConflict       = storage.ErrConflict
	ErrUnavailable    = storage.ErrUnavailable
	ErrOutcomeUnknown = storage.ErrOutcomeUnknown
	ErrClosed         = storage.ErrClosed
	ErrCorrupt        = storage.ErrCorrupt
	ErrLocked         = storage.ErrLocked
)

// refusal is an error in which errors.As finds a *Rejection, although none is allocated to refuse
// a malformed token.
type refusal struct{ text string }

func (r *refusal) Error() string { return ErrUnauthenticated.Error() + ": " + r.text }
func (r *refusal) Unwrap() error { return ErrUnauthenticated }
func (r *refusal) As(target any) bool {
	rejection, ok := target.(**Rejection)
	if ok {
		*rejection = &Rejection{Err: r}
	}
	return ok
}

// Rejection says why a token was refused, for logs, and for programs that tell its owner more
// than the client. It contains no secret, no digest and no checksum.
type Rejection struct {
	Err        error     // ErrMalformed, ErrUnknown, ErrReplaced, ErrExpired, ErrRevoked, ErrSuspended, ErrProof, ErrExhausted, ErrReused, or the error of Admit or a Verifier
	ID         ID        // zero if the text was malformed, or if credentials were refused
	Subject    string    // set once the secret has been proved, as are those below
	Generation uint32    // of the secret of the text that was refused
	At         time.Time // when the token died: it ran out or was ended; of ErrSuspended, since when it is suspended; else zero
	Reason     EndReason // why it was ended; zero if it ran out
	EndedBy    string    // who ended it (WithActor), and
	EndNote    string    // what was noted about that: for its owner and for logs, and not in the text of Error
}

// Error names the reason and, where they are known, the ID with the generation of the
// secret, as ID#generation, and the instant. It leaves the subject out.
func (r *Rejection) Error() string {
	text := ErrUnauthenticated.Error()
	if r.Err != nil {
		text = r.Err.Error()
	}
	if r.ID != (ID{}) {
		text += ": " + r.ID.String()
		if r.Subject != "" {
			text += "#" + strconv.FormatUint(uint64(r.Generation), 10)
		}
	}
	switch {
	case r.At.IsZero():
	case errors.Is(r.Err, ErrSuspended):
		text += " has been suspended since " + r.At.Format(time.RFC3339)
	case r.Reason == 0:
		text += " ran out at " + r.At.Format(time.RFC3339)
	default:
		text += " was ended at " + r.At.Format(time.RFC3339) + " (" + r.Reason.String() + ")"
	}
	return text
}

// Unwrap returns Err, which wraps ErrUnauthenticated.
func (r *Rejection) Unwrap() error {
	if r == nil {
		return nil
	}
	return r.Err
}

// codes are the words of Code. Of two errors that one error wraps, the more special comes first.
var codes = [...]struct {
	err  error
	word string
	own  bool // an error of this package, which fromOutside hides
}{
	{ErrRefused, "refused", true},
	{ErrAccessDenied, "access_denied", true},
	{ErrBadCredentials, "bad_credentials", true},
	{ErrMalformed, "malformed", true},
	{ErrUnknown, "unknown", true},
	{ErrExpired, "expired", true},
	{ErrRevoked, "revoked", true},
	{ErrSuspended, "suspended", true},
	{ErrReplaced, "replaced", true},
	{ErrReused, "reused", true},
	{ErrProof, "proof", true},
	{ErrExhausted, "exhausted", true},
	{ErrUnauthenticated, "unauthenticated", true},
	{ErrInvalidConfig, "bad_config", true},
	{ErrInvalidGrant, "bad_grant", true},
	{ErrInvalidQuery, "bad_query", true},
	{ErrInvalidID, "bad_id", true},
	{ErrInvalidThumbprint, "bad_thumbprint", true},
	{ErrLimit, "limit", true},
	{ErrNotRenewable, "not_renewable", true},
	{ErrNotDelegable, "not_delegable", true},
	{ErrRotated, "rotated", true},
	{ErrScope, "scope", true},
	{ErrClock, "clock", true},
	{ErrAuthorizationPending, "authorization_pending", true},
	{ErrSlowDown, "slow_down", true},
	{ErrGuesses, "guesses", true},
	{ErrNoKeys, "no_keys", true},
	{ErrNotMine, "not_mine", true},
	{ErrOutcomeUnknown, "outcome_unknown", true},
	{ErrNotFound, "not_found", true},
	{ErrConflict, "conflict", true},
	{ErrClosed, "closed", true},
	{ErrCorrupt, "corrupt", true},
	{ErrLocked, "locked", true},
	{ErrUnavailable, "unavailable", true},
	{errors.ErrUnsupported, "unsupported", false},
	{context.Canceled, "canceled", false},
	{context.DeadlineExceeded, "unavailable", false},
}

// Code returns the word of the error of this package that err wraps, for metrics and logs, in
// lower case with underscores: "expired", "revoked", "replaced", "reused", "unavailable" and so
// on. It returns "ok" for nil, "unsupported" for errors.ErrUnsupported, "canceled" for
// context.Canceled, "unavailable" for context.DeadlineExceeded, and "internal" for any other error.
// The words do not change between versions. They are not the error codes of RFC 6749.
func Code(err error) string { return outcomeOf(err).String() }

// reason is the JSON of an error: its Code and its text. The other fields are those of a
// Rejection.
type reason struct {
	Code       string    `json:"code"`
	Error      string    `json:"error"`
	ID         ID        `json:"id,omitzero"`
	Subject    string    `json:"subject,omitempty"`
	Generation uint32    `json:"generation,omitempty"`
	At         time.Time `json:"at,omitzero"`
	Reason     EndReason `json:"reason,omitempty"`
	EndedBy    string    `json:"ended_by,omitempty"`
	EndNote    string    `json:"end_note,omitempty"`
}

// MarshalJSON writes code, the result of Code, and error, the text of Error, and of id, subject,
// generation, at, reason, ended_by and end_note those that are set. The error is always nil. JSON
// of a struct that embeds a Rejection has these fields alone.
func (r Rejection) MarshalJSON() ([]byte, error) {
	return json.Marshal(reason{Code(&r), r.Error(), r.ID, r.Subject, r.Generation, r.At, r.Reason, r.EndedBy, r.EndNote})
}

// LogValue returns the text of Error.
func (r Rejection) LogValue() slog.Value { return slog.StringValue(r.Error()) }

// MarshalJSON writes code and error, as for a Rejection.
func (r *refusal) MarshalJSON() ([]byte, error) {
	return json.Marshal(reason{Code: Code(r), Error: r.Error()})
}

// LogValue returns the text of Error.
func (r *refusal) LogValue() slog.Value { return slog.StringValue(r.Error()) }
