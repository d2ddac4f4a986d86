package lapse

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
)

// Issued is a token with its bearer text, which is shown once: no store holds it in the
// clear. Only Obtain, Refresh within its grace, Rotate with the previous text, and Issue and
// Login by a RequestID give a text again.
//
// Every encoder of the standard library leaves the Bearer out or refuses an Issued. fmt,
// slog and templates leave it out wherever they call the methods of Issued. Package fmt, and
// what prints with it, uses reflection instead and shows the Bearer:
//   - in an unexported field of another type;
//   - in what a pointer inside another value points to, as in []any{&T{issued}}, under a
//     verb that pointers do not have, as %s, %q or %t;
//   - under %p and, outside Errorf, %w. go vet reports both.
//
// So keep no Issued in a value that is logged. Its Token says all that a log needs.
//
// JSON of a struct that embeds an Issued has the other fields of that struct, too. fmt and
// slog print only the embedded Issued, because the struct has its methods. To print the
// other fields, give the Issued a field name.
type Issued struct {
	Token
	Bearer   string `json:"-" xml:"-"`          // the text that the client presents
	Evicted  []ID   `json:"evicted,omitempty"`  // the tokens that Policy.AtLimit ended to make room; never the new token
	Existing bool   `json:"existing,omitempty"` // Obtain, or Issue by a RequestID, found the token: it is not new

	// Reduced names the fields of the Grant in which the token differs from it. Reduced is
	// "TTL" if the parent of a delegate shortens its life, or if the token that Obtain found
	// has another TTL, and nil otherwise.
	Reduced []string `json:"reduced,omitempty"`
}

// shown is an Issued without its secret.
type shown struct {
	Token
	Evicted  []ID     `json:"evicted,omitempty"`
	Existing bool     `json:"existing,omitempty"`
	Reduced  []string `json:"reduced,omitempty"`
}

func (i *Issued) shown() shown { return shown{i.Token, i.Evicted, i.Existing, i.Reduced} }

// Format writes i without its Bearer, under any verb.
func (i Issued) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", i.shown()) }

// LogValue returns i without its Bearer.
func (i Issued) LogValue() slog.Value { return slog.AnyValue(i.shown()) }

// GobEncode returns an error, because a gob would store the secret.
func (i Issued) GobEncode() ([]byte, error) {
	return nil, errors.New("lapse: an Issued is shown once and not to be stored; encode its Token")
}

// BearerPattern is the regular expression of the texts of lapse, for scanners that look for leaked
// secrets. Its syntax is that of package regexp, RE2 and Hyperscan. Each text that FindBearers finds
// ends where a match ends. To look for some prefixes alone, write them before the underscore:
// (?:lapse|lapse_refresh)_[0-9A-Za-z]{72}\b.
const BearerPattern = `[a-z](?:[0-9a-z_]{0,14}[0-9a-z])?_[0-9A-Za-z]{72}\b`

// Found is a text that FindBearers has found. Its encoders and printers leave the Bearer out, or
// refuse, as far as those of Issued do.
type Found struct {
	Prefix string `json:"prefix"` // the longest one for which the checksum is right
	ID     ID     `json:"id"`     // in the text, and not proved; see FindBearers
	Offset int64  `json:"offset"` // of the first byte of the text; the input begins at 0
	Line   int64  `json:"line"`   // the input begins with line 1
	Column int64  `json:"column"` // in bytes; a line begins with column 1
	Bearer string `json:"-" xml:"-"`
}

// FindBearers returns the texts of lapse in r, in their order: texts of tokens, and access and
// refresh texts of Pairs, of any prefix. FindBearers asks no store: it finds a text if the checksum
// of the text is right, whether or not a token has that text. So never end a token by Found.ID:
// any person can write the ID of another token into a text. Give Found.Bearer to ExpireBearer,
// which wants the secret, too.
//
// Any bytes may stand before a text: Found.Prefix is the longest prefix for which the checksum is
// right, so that \nlapse_... in JSON is found. A letter, a digit or an underscore behind a text makes
// it no text. Foreign texts are not found, nor texts that are encoded: as UTF-16 or base64, or in a
// compressed file.
//
// FindBearers reads r once, as far as the caller's loop goes. It keeps 64 KiB of r in memory,
// however long r or a line of r is. For bytes, give it a bytes.Reader. An error of r other than
// io.EOF comes last, unchanged and with a zero Found; the texts that were read before it come first.
// A reader that reads nothing 100 times in a row is io.ErrNoProgress.
func FindBearers(r io.Reader) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		for found, err := range bearer.Find(r) {
			if !yield(Found(found), err) {
				return
			}
		}
	}
}

// bareFound is a Found without its methods.
type bareFound Found

// Format writes f without its Bearer, under any verb.
func (f Found) Format(s fmt.State, _ rune) {
	f.Bearer = ""
	fmt.Fprintf(s, "%+v", bareFound(f))
}

// LogValue returns f without its Bearer.
func (f Found) LogValue() slog.Value {
	f.Bearer = ""
	return slog.AnyValue(bareFound(f))
}

// GobEncode returns an error, because a gob would store the secret.
func (f Found) GobEncode() ([]byte, error) {
	return nil, errors.New("lapse: a Found has a secret and is not to be stored; encode its Prefix and ID")
}

// TokenPair is a session seen as two tokens, with their secret texts. Its JSON is the answer of
// RFC 6749 section 5.1, made for the client and with the secrets: access_token, token_type,
// expires_in, refresh_token and, unless it is empty, scope. Send it with Cache-Control:
// no-store. A struct that embeds TokenPair adds its own fields to that answer.
//
// A client can read such an answer of any server into a TokenPair. That sets Access.Bearer,
// ExpiresIn, Refresh.Bearer and Scope alone, and fields that the answer lacks keep their values:
// an answer to a refresh without a refresh_token means that the old refresh token stays in use
// (section 6). Other names are ignored, so look at the status of the answer first.
//
// An encoder of JSON, such as a slog.JSONHandler or a script in html/template, writes that
// answer, also for a value that contains a TokenPair. Every other encoder and printer leaves the
// secrets out, or refuses, as far as those of Issued do. fmt and slog print only the TokenPair
// of a struct that embeds one.
type TokenPair struct {
	Access    IssuedText `json:"access_token"`
	TokenType TokenType  `json:"token_type"`

	// ExpiresIn is how long the access token has to live at the instant of the answer, zero
	// if it is dead.
	ExpiresIn Seconds `json:"expires_in"`

	Refresh IssuedText `json:"refresh_token,omitzero"`
	Scope   string     `json:"scope,omitempty"` // of the access token

	// Repeated says that an earlier Refresh with the same text made these texts: the client
	// asked again within the grace.
	Repeated bool `json:"-"`
}

// IssuedText is an Issued whose JSON is its Bearer, and nothing else.
type IssuedText struct{ Issued }

// IsZero reports whether Bearer is empty. Then the JSON of a TokenPair leaves the field out.
func (i IssuedText) IsZero() bool { return i.Bearer == "" }

// MarshalJSON writes the Bearer. The error is always nil.
func (i IssuedText) MarshalJSON() ([]byte, error) { return json.Marshal(i.Bearer) }

// UnmarshalJSON sets the Bearer and empties every other field. null changes nothing. It returns
// an error if text is neither null nor a string.
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

// TokenType is the token_type of RFC 6749 section 5.1. Its only value is Bearer, of RFC 6750.
type TokenType struct{}

// String returns "Bearer".
func (TokenType) String() string { return "Bearer" }

// MarshalText returns "Bearer". The error is always nil.
func (TokenType) MarshalText() ([]byte, error) { return []byte("Bearer"), nil }

// UnmarshalText returns an error unless text is Bearer, in upper or lower case.
func (TokenType) UnmarshalText(text []byte) error {
	if !strings.EqualFold(string(text), "Bearer") {
		return errNotBearer
	}
	return nil
}

// Seconds is a time.Duration whose JSON is a number of whole seconds, like expires_in.
type Seconds time.Duration

// String returns the form of time.Duration.
func (s Seconds) String() string { return time.Duration(s).String() }

// MarshalJSON writes whole seconds, rounded down. A positive s of less than a second is written
// as 1, because clients take 0 for a token that does not expire. A negative s is written as 0.
// The error is always nil.
func (s Seconds) MarshalJSON() ([]byte, error) {
	n := max(0, int64(time.Duration(s)/time.Second))
	if s > 0 {
		n = max(1, n)
	}
	return json.Marshal(n)
}

// UnmarshalJSON reads a number of seconds, or a string with a number, as some servers send it,
// and rounds down. A negative number becomes 0, and a number that is too large becomes the most
// seconds that fit. null changes nothing. It returns an error for any other text.
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

// The errors of reading a TokenPair quote nothing of the answer, because it contains secrets.
var (
	errBearerText = errors.New("lapse: not an answer of RFC 6749 section 5.1: want a string as token")
	errNotBearer  = errors.New("lapse: not an answer of RFC 6749 section 5.1: want token_type Bearer")
	errSeconds    = errors.New("lapse: not an answer of RFC 6749 section 5.1: want a number of seconds as expires_in")
)

// left returns how long tok has to live at now, 0 if it is dead.
func left(tok *Token, now time.Time) time.Duration {
	if !tok.Live(now) {
		return 0
	}
	return tok.ExpiresAt.Sub(now)
}

// shownPair is a TokenPair without its secrets.
type shownPair struct {
	Access    shown         `json:"access"`
	Refresh   shown         `json:"refresh"`
	ExpiresIn time.Duration `json:"expires_in"`
	Repeated  bool          `json:"repeated,omitempty"`
}

func (c *TokenPair) shown() shownPair {
	return shownPair{c.Access.shown(), c.Refresh.shown(), time.Duration(c.ExpiresIn), c.Repeated}
}

// Format writes c without its secrets, under any verb.
func (c TokenPair) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", c.shown()) }

// LogValue returns c without its secrets.
func (c TokenPair) LogValue() slog.Value { return slog.AnyValue(c.shown()) }

// DeviceCode is the answer to a device. Its JSON is that of RFC 8628 section 3.2 without the
// verification_uri, made for the device and with the codes. fmt, slog and gob show or store neither
// code, as far as those of Issued do.
type DeviceCode struct {
	Code      string  `json:"device_code"` // the secret of the device: for Poll and Await
	UserCode  string  `json:"user_code"`   // for the user, as "WDJB-MJHT"
	ExpiresIn Seconds `json:"expires_in"`
	Interval  Seconds `json:"interval"`
}

// shownCode is a DeviceCode without its codes.
type shownCode struct{ ExpiresIn, Interval time.Duration }

func (c *DeviceCode) withoutCodes() shownCode {
	return shownCode{time.Duration(c.ExpiresIn), time.Duration(c.Interval)}
}

// Format writes c without its codes, under any verb.
func (c DeviceCode) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", c.withoutCodes()) }

// LogValue returns c without its codes.
func (c DeviceCode) LogValue() slog.Value { return slog.AnyValue(c.withoutCodes()) }

// GobEncode returns an error, because a gob would store the codes.
func (c DeviceCode) GobEncode() ([]byte, error) {
	return nil, errors.New("lapse: a DeviceCode has secrets and is not to be stored")
}
