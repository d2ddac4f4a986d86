package lapse

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// TokenPair are a pair of tokens with their secret texts. Their JSON is the answer
// of RFC 6749 section 5.1, secrets included, since it is made to be sent to the
// client; and what writes JSON of a value that holds a TokenPair, as a slog.JSONHandler or
// a script in html/template, writes that. Every other encoder and printer leaves the
// secrets out, or refuses, as far as those of Issued do.
type TokenPair struct {
	Access  Issued
	Refresh Issued

	// ExpiresIn is what is left to live of the access token at the instant of the
	// answer, zero if nothing.
	ExpiresIn time.Duration

	// Repeated says that these are the credentials that an earlier Refresh of the
	// same token made: somebody asked again within the grace.
	Repeated bool
}

// answer51 is RFC 6749 section 5.1.
type answer51 struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

// MarshalJSON writes access_token, token_type "Bearer", expires_in in whole seconds,
// rounded down, refresh_token and, unless it is empty, the scope of the access token.
// Send it with Cache-Control: no-store. The error is always nil.
func (c TokenPair) MarshalJSON() ([]byte, error) {
	return json.Marshal(answer51{
		AccessToken:  c.Access.Bearer,
		TokenType:    "Bearer",
		ExpiresIn:    int64(c.ExpiresIn / time.Second),
		RefreshToken: c.Refresh.Bearer,
		Scope:        c.Access.Scope,
	})
}

var errNotBearer = errors.New("lapse: not an answer of RFC 6749 section 5.1: want token_type Bearer")

// UnmarshalJSON reads what a client knows of such an answer: Access.Bearer,
// Access.Scope, Refresh.Bearer and ExpiresIn, and empties every other field. It is an
// error if token_type is anything but Bearer, in whatever case.
func (c *TokenPair) UnmarshalJSON(text []byte) error {
	var a answer51
	if err := json.Unmarshal(text, &a); err != nil {
		return err
	}
	if !strings.EqualFold(a.TokenType, "Bearer") {
		return errNotBearer
	}
	*c = TokenPair{
		Access:    Issued{Token: Token{Scope: a.Scope}, Bearer: a.AccessToken},
		Refresh:   Issued{Bearer: a.RefreshToken},
		ExpiresIn: time.Duration(min(max(a.ExpiresIn, 0), int64(NoLimit/time.Second))) * time.Second,
	}
	return nil
}

// shownPair is a TokenPair without its secrets.
type shownPair struct {
	Access    shown         `json:"access"`
	Refresh   shown         `json:"refresh"`
	ExpiresIn time.Duration `json:"expires_in"`
	Repeated  bool          `json:"repeated,omitempty"`
}

func (c *TokenPair) shown() shownPair {
	return shownPair{c.Access.shown(), c.Refresh.shown(), c.ExpiresIn, c.Repeated}
}

// Format writes everything but the secrets, whatever the verb.
func (c TokenPair) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", c.shown()) }

// LogValue is everything but the secrets.
func (c TokenPair) LogValue() slog.Value { return slog.AnyValue(c.shown()) }
