package storage

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// Thumbprint is the SHA-256 hash of a key to which a token is bound. RFC 9449 calls it jkt: the hash of
// the JWK of a public key, in the form of RFC 7638. RFC 8705 calls it x5t#S256: the hash of the DER form
// of a certificate. A Thumbprint is no secret. The zero Thumbprint is that of no key: a token that has
// the zero Thumbprint is not bound.
type Thumbprint [32]byte

// ThumbprintLen is the length of the text of a Thumbprint: 43 characters of base64url.
const ThumbprintLen = 43

// ErrInvalidThumbprint is returned by ParseThumbprint for a text that is not the text of a
// thumbprint. Check that it is the base64url form of 32 bytes, without padding.
var ErrInvalidThumbprint = errors.New("lapse: not a thumbprint: want 43 characters of base64url, without padding")

// String returns the 43 characters of base64url without padding that the RFCs use, or "" for the
// zero Thumbprint.
func (p Thumbprint) String() string {
	text, _ := p.AppendText(nil)
	return string(text)
}

// AppendText appends the text of String to b. The error is always nil.
func (p Thumbprint) AppendText(b []byte) ([]byte, error) {
	if p.IsZero() {
		return b, nil
	}
	return base64.RawURLEncoding.AppendEncode(b, p[:]), nil
}

// MarshalText returns the text of String. The error is always nil.
func (p Thumbprint) MarshalText() ([]byte, error) {
	return p.AppendText(make([]byte, 0, ThumbprintLen))
}

// UnmarshalText sets p from the text of String, which is empty for the zero Thumbprint. For any
// other text it returns ErrInvalidThumbprint and leaves p as it was.
func (p *Thumbprint) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Thumbprint{}
		return nil
	}
	parsed, err := ParseThumbprint(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}

// IsZero reports whether p is the zero Thumbprint: that of a token that is not bound.
func (p Thumbprint) IsZero() bool {
	order := binary.LittleEndian
	return order.Uint64(p[0:])|order.Uint64(p[8:])|order.Uint64(p[16:])|order.Uint64(p[24:]) == 0
}

// Matches reports whether p and other are the same thumbprint. Its time does not depend on where they
// differ.
func (p *Thumbprint) Matches(other *Thumbprint) bool {
	return subtle.ConstantTimeCompare(p[:], other[:]) == 1
}

// ParseThumbprint returns the Thumbprint of a text as String writes it. Every Thumbprint has one
// spelling, and nothing is trimmed. ParseThumbprint returns ErrInvalidThumbprint for any other text,
// the empty one and the text of 32 zero bytes included.
func ParseThumbprint(s string) (Thumbprint, error) {
	var p Thumbprint
	if len(s) != ThumbprintLen {
		return p, ErrInvalidThumbprint
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(p) || Thumbprint(b) == p { // b is shorter where the decoder skipped a line end
		return p, ErrInvalidThumbprint
	}
	return Thumbprint(b), nil
}
