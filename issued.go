package lapse

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Issued is a token with its secret text, shown this once: no store holds it in the
// clear, and nothing but Obtain, and Refresh within its grace, gives one again. fmt, slog,
// JSON, XML and gob of an Issued leave the Bearer out. Out of their reach is an Issued in
// an unexported field of another type, or under a verb that go vet reports (%p, and %w
// outside of Errorf).
type Issued struct {
	Token
	Bearer   string `xml:"-"` // what its holder presents
	Evicted  []ID   // what Policy.AtLimit ended to make room; never the new token itself
	Existing bool   // Obtain found it, and it is not new

	// Reduced names the fields of the Grant that the token's parent made smaller
	// than they were asked for: "TTL", or nothing.
	Reduced []string
}

// shown is an Issued without its secret.
type shown struct {
	Token
	Evicted  []ID     `json:"evicted,omitempty"`
	Existing bool     `json:"existing,omitempty"`
	Reduced  []string `json:"reduced,omitempty"`
}

func (i *Issued) shown() shown { return shown{i.Token, i.Evicted, i.Existing, i.Reduced} }

// Format writes the token and what was evicted, for every verb that go vet lets
// pass.
func (i Issued) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", i.shown()) }

// LogValue is the token and what was evicted.
func (i Issued) LogValue() slog.Value { return slog.AnyValue(i.shown()) }

// MarshalJSON writes the token and what was evicted.
func (i Issued) MarshalJSON() ([]byte, error) { return json.Marshal(i.shown()) }

// GobEncode refuses: what would be stored is the secret.
func (i Issued) GobEncode() ([]byte, error) {
	return nil, errors.New("lapse: an Issued is shown once and not to be stored; encode its Token")
}
