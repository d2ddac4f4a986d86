package lapse

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// TokenPair are a pair of tokens with their secret texts. Their JSON is the answer
// of RFC 6749 section 5.1, secrets included, since it is made to be sent to the
// client: access_token, token_type, expires_in, refresh_token and, unless it is empty,
// scope. Send it with Cache-Control: no-store. A struct that embeds TokenPair adds its
// own fields to that answer.
//
// A client reads such an answer of any server into a TokenPair. Only Access.Bearer,
// ExpiresIn, Refresh.Bearer and Scope are set, and what the answer leaves out stays as it
// was: an answer to a refresh without a refresh_token means that the old one goes on
// (section 6). Other names are passed over, so look at the status of the answer first.
//
// What writes JSON of a value that holds a TokenPair, as a slog.JSONHandler or a script in
// html/template, writes that answer. Every other encoder and printer leaves the secrets
// out, or refuses, as far as those of Issued do. fmt and slog print nothing else of a
// struct that embeds TokenPair.
type TokenPair struct {
	Access    IssuedText `json:"access_token"`
	TokenType TokenType  `json:"token_type"`

	// ExpiresIn is what is left to live of the access token at the instant of the
	// answer, zero if nothing.
	ExpiresIn Seconds `json:"expires_in"`

	Refresh IssuedText `json:"refresh_token,omitzero"`
	Scope   string     `json:"scope,omitempty"` // of the access token

	// Repeated says that these are the credentials that an earlier Refresh of the
	// same token made: the client asked again within the grace.
	Repeated bool `json:"-"`
}

// IssuedText is an Issued whose JSON is its Bearer, and nothing else.
type IssuedText struct{ Issued }

// IsZero reports whether there is no Bearer, and the JSON of a TokenPair leaves the text
// out.
func (i IssuedText) IsZero() bool { return i.Bearer == "" }

// MarshalJSON writes the Bearer. The error is always nil.
func (i IssuedText) MarshalJSON() ([]byte, error) { return json.Marshal(i.Bearer) }

// UnmarshalJSON sets the Bearer and empties every other field. It is an error if text is
// no string, and null changes nothing.
func (i *IssuedText) UnmarshalJSON(text []byte) error {
	var bearer *string
	if json.Unmarshal(text, &bearer) != nil {
		return errBearerText
	}
	if bearer != nil {
		*i = IssuedText{Issued{Bearer: *bearer}}
	}
	return nil
}

// TokenType is the token_type of RFC 6749 section 5.1. There is one: Bearer, of RFC 6750.
type TokenType struct{}

// String returns "Bearer".
func (TokenType) String() string { return "Bearer" }

// MarshalText returns "Bearer". The error is always nil.
func (TokenType) MarshalText() ([]byte, error) { return []byte("Bearer"), nil }

// UnmarshalText returns an error if text is anything but Bearer, in whatever case.
func (TokenType) UnmarshalText(text []byte) error {
	if !strings.EqualFold(string(text), "Bearer") {
		return errNotBearer
	}
	return nil
}

// Seconds is a time.Duration whose JSON is a number of whole seconds, as expires_in is.
type Seconds time.Duration

// String returns the form of time.Duration.
func (s Seconds) String() string { return time.Duration(s).String() }

// MarshalJSON writes whole seconds, rounded down, but 1 for less than one: clients take 0
// for a token that does not expire. It writes 0 for what is not above zero. The error is
// always nil.
func (s Seconds) MarshalJSON() ([]byte, error) {
	n := max(0, int64(time.Duration(s)/time.Second))
	if s > 0 {
		n = max(1, n)
	}
	return json.Marshal(n)
}

// UnmarshalJSON reads a number of seconds, or a string that holds one, as some servers
// send it, and rounds down. What is negative becomes 0, and what is too large the most
// seconds that fit. It is an error if text is neither, and null changes nothing.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	var number json.Number
	if json.Unmarshal(text, &number) != nil {
		return errSeconds
	}
	n, _ := number.Float64() // an infinity if it is out of range
	n = max(0, min(n, float64(NoLimit/time.Second)))
	*s = Seconds(time.Duration(n) * time.Second)
	return nil
}

// The errors of a TokenPair that is read repeat nothing of the answer, which holds secrets.
var (
	errBearerText = errors.New("lapse: not an answer of RFC 6749 section 5.1: want a string as token")
	errNotBearer  = errors.New("lapse: not an answer of RFC 6749 section 5.1: want token_type Bearer")
	errSeconds    = errors.New("lapse: not an answer of RFC 6749 section 5.1: want a number of seconds as expires_in")
)
