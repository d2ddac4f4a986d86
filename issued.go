package lapse

import (
	"errors"
	"fmt"
	"log/slog"
)

// Issued is a token with its secret text, shown this once: no store holds it in the
// clear, and nothing but Obtain, and Refresh within its grace, gives one again.
//
// Every encoder of the standard library leaves the Bearer out, or refuses an Issued, and
// fmt, slog and templates leave it out wherever they ask the Issued how it prints. fmt,
// and what prints by it, does not ask, but goes by reflection and shows the Bearer:
//   - in an unexported field of another type;
//   - in what a pointer inside of another value points to, as in []any{&T{issued}}, under
//     a verb that pointers do not have, as %s, %q or %t;
//   - under %p and, outside of Errorf, %w, both of which go vet reports.
//
// So keep no Issued in a value that is logged; its Token says all that a log needs.
//
// JSON of a struct that embeds an Issued has the other fields of that struct, too. fmt and
// slog print the embedded Issued alone, since they find its methods: give it a field with
// a name where the others are to be printed.
type Issued struct {
	Token
	Bearer   string `json:"-" xml:"-"`          // what its holder presents
	Evicted  []ID   `json:"evicted,omitempty"`  // what Policy.AtLimit ended to make room; never the new token itself
	Existing bool   `json:"existing,omitempty"` // Obtain found it, and it is not new

	// Reduced names the fields of the Grant that the token does not have as they were
	// asked for: "TTL", if the parent of a delegate made it shorter, or if the token that
	// Obtain found has another. Else it is nil.
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

// Format writes the token and what was evicted, whatever the verb.
func (i Issued) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", i.shown()) }

// LogValue is the token and what was evicted.
func (i Issued) LogValue() slog.Value { return slog.AnyValue(i.shown()) }

// GobEncode refuses: what would be stored is the secret.
func (i Issued) GobEncode() ([]byte, error) {
	return nil, errors.New("lapse: an Issued is shown once and not to be stored; encode its Token")
}
