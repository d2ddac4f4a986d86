package recordext

import (
	"encoding/binary"

	"github.com/seed-55daa01a/lapse/storage"
)

// The second byte of a form says which of these parts follow. They are, in this order: AuthenticatedAt
// in Unix milliseconds, 8 bytes; Thumbprint, 32 bytes; EndedBy and EndNote, each behind a byte with
// its length. Few records have one of them, and the first byte has no bit left.
const (
	hasAuthenticated = 1 << iota
	hasThumbprint
	hasEndedBy
	hasEndNote

	allLater = 1<<iota - 1

	authenticatedLen = 8
	maxLaterLen      = 1 + authenticatedLen + len(storage.Thumbprint{}) + 1 + storage.MaxEndedBy + 1 + storage.MaxEndNote
)

// notes returns pointers to the texts of the parts, in their order.
func notes(tok *storage.Token) [2]*string {
	return [2]*string{&tok.EndedBy, &tok.EndNote}
}

// later returns the second byte of the form of tok, or 0 where the form has no second byte.
func later(tok *storage.Token) (mask byte) {
	if !tok.AuthenticatedAt.IsZero() {
		mask |= hasAuthenticated
	}
	if tok.Thumbprint != (storage.Thumbprint{}) {
		mask |= hasThumbprint
	}
	for i, text := range notes(tok) {
		if *text != "" {
			mask |= hasEndedBy << i
		}
	}
	return mask
}

// laterLen returns the length of the second byte and its parts.
func laterLen(tok *storage.Token) (n int) {
	mask := later(tok)
	if mask == 0 {
		return 0
	}
	n = 1
	if mask&hasAuthenticated != 0 {
		n += authenticatedLen
	}
	if mask&hasThumbprint != 0 {
		n += len(tok.Thumbprint)
	}
	for _, text := range notes(tok) {
		if *text != "" {
			n += 1 + len(*text)
		}
	}
	return n
}

// appendLater appends the parts of the second byte to b. The texts are within their limits.
func appendLater(b []byte, tok *storage.Token) []byte {
	if !tok.AuthenticatedAt.IsZero() {
		b = binary.BigEndian.AppendUint64(b, uint64(tok.AuthenticatedAt.UnixMilli()))
	}
	if tok.Thumbprint != (storage.Thumbprint{}) {
		b = append(b, tok.Thumbprint[:]...)
	}
	for _, text := range notes(tok) {
		if *text != "" {
			b = append(append(b, byte(len(*text))), *text...)
		}
	}
	return b
}

// readLater sets the fields of tok whose parts are in mask, the second byte, from the beginning of
// form, and returns the text behind them. It returns false for a form that is too short, and for a
// mask with an unknown part.
func readLater(mask byte, form string, tok *storage.Token) (rest string, ok bool) {
	rest = form
	if mask&hasAuthenticated != 0 {
		if len(rest) < authenticatedLen {
			return "", false
		}
		tok.AuthenticatedAt, rest = instant(rest), rest[authenticatedLen:]
	}
	if mask&hasThumbprint != 0 {
		if len(rest) < len(tok.Thumbprint) {
			return "", false
		}
		rest = rest[copy(tok.Thumbprint[:], rest):]
	}
	for i, text := range notes(tok) {
		if mask&(hasEndedBy<<i) == 0 {
			continue
		}
		if rest == "" || len(rest) <= int(rest[0]) {
			return "", false
		}
		end := 1 + int(rest[0])
		*text, rest = rest[1:end], rest[end:]
	}
	return rest, mask&^allLater == 0
}
