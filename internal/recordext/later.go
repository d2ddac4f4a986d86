package recordext

import (
	"encoding/binary"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// The second byte of a form says which of these parts follow. They are, in this order: AuthenticatedAt
// in Unix milliseconds, 8 bytes; Thumbprint, 32 bytes; EndedBy and EndNote, each behind a byte with
// its length; SuspendedAt as AuthenticatedAt; Client as EndedBy. CapEdited has no bytes. Few records
// have one of them, and the first byte has no bit left.
const (
	hasAuthenticated = 1 << iota
	hasThumbprint
	hasEndedBy
	hasEndNote
	hasSuspended
	hasCapEdited
	hasClient // an older program refuses a form with this part

	allLater = 1<<iota - 1

	instantLen  = 8
	maxLaterLen = 1 + 2*instantLen + len(storage.Thumbprint{}) + 1 + storage.MaxEndedBy + 1 + storage.MaxEndNote + 1 + storage.MaxClient
)

// notes returns pointers to the texts of an end, in the order of their parts.
func notes(tok *storage.Token) [2]*string {
	return [2]*string{&tok.EndedBy, &tok.EndNote}
}

// later returns the second byte of the form of r, or 0 where the form has no second byte.
func later(r *storage.Record) (mask byte) {
	tok := &r.Token
	if !tok.AuthenticatedAt.IsZero() {
		mask |= hasAuthenticated
	}
	if !tok.Thumbprint.IsZero() {
		mask |= hasThumbprint
	}
	for i, text := range notes(tok) {
		if *text != "" {
			mask |= hasEndedBy << i
		}
	}
	if !tok.SuspendedAt.IsZero() {
		mask |= hasSuspended
	}
	if r.CapEdited {
		mask |= hasCapEdited
	}
	if tok.Client != "" {
		mask |= hasClient
	}
	return mask
}

// laterLen returns the length of the second byte and its parts.
func laterLen(r *storage.Record) (n int) {
	tok, mask := &r.Token, later(r)
	if mask == 0 {
		return 0
	}
	n = 1
	if mask&hasAuthenticated != 0 {
		n += instantLen
	}
	if mask&hasThumbprint != 0 {
		n += len(tok.Thumbprint)
	}
	for _, text := range notes(tok) {
		if *text != "" {
			n += 1 + len(*text)
		}
	}
	if mask&hasSuspended != 0 {
		n += instantLen
	}
	if tok.Client != "" {
		n += 1 + len(tok.Client)
	}
	return n
}

// appendLater appends the parts of the second byte to b. The texts are within their limits.
func appendLater(b []byte, tok *storage.Token) []byte {
	if !tok.AuthenticatedAt.IsZero() {
		b = binary.BigEndian.AppendUint64(b, uint64(tok.AuthenticatedAt.UnixMilli()))
	}
	if !tok.Thumbprint.IsZero() {
		b = append(b, tok.Thumbprint[:]...)
	}
	for _, text := range notes(tok) {
		b = appendText(b, *text)
	}
	if !tok.SuspendedAt.IsZero() {
		b = binary.BigEndian.AppendUint64(b, uint64(tok.SuspendedAt.UnixMilli()))
	}
	return appendText(b, tok.Client)
}

// appendText appends text behind its length, or nothing if text is empty.
func appendText(b []byte, text string) []byte {
	if text == "" {
		return b
	}
	return append(append(b, byte(len(text))), text...)
}

// readLater sets the fields of r whose parts are in mask, the second byte, from the beginning of
// form, and returns the text behind them. It returns false for a form that is too short, and for a
// mask with an unknown part.
func readLater(mask byte, form string, r *storage.Record) (rest string, ok bool) {
	tok := &r.Token
	rest, ok = form, mask&^allLater == 0
	r.CapEdited = mask&hasCapEdited != 0
	if ok && mask&hasAuthenticated != 0 {
		rest, ok = readInstant(rest, &tok.AuthenticatedAt)
	}
	if ok && mask&hasThumbprint != 0 {
		if len(rest) < len(tok.Thumbprint) {
			return "", false
		}
		const half = len(tok.Thumbprint) / 2 // halves are copied without a call
		copy(tok.Thumbprint[:half], rest[:half])
		copy(tok.Thumbprint[half:], rest[half:2*half])
		rest = rest[2*half:]
	}
	if ok && mask&hasEndedBy != 0 {
		rest, ok = readText(rest, &tok.EndedBy)
	}
	if ok && mask&hasEndNote != 0 {
		rest, ok = readText(rest, &tok.EndNote)
	}
	if ok && mask&hasSuspended != 0 {
		rest, ok = readInstant(rest, &tok.SuspendedAt)
	}
	if ok && mask&hasClient != 0 {
		rest, ok = readText(rest, &tok.Client)
	}
	return rest, ok
}

// readInstant sets *at to the instant at the beginning of form, and returns the rest of form. It
// returns false for a form that is too short.
func readInstant(form string, at *time.Time) (rest string, ok bool) {
	if len(form) < instantLen {
		return "", false
	}
	*at = instant(form)
	return form[instantLen:], true
}

// readText sets *text to the text at the beginning of form, and returns the rest of form. It
// returns false for a form that is too short.
func readText(form string, text *string) (rest string, ok bool) {
	if form == "" || len(form) <= int(form[0]) {
		return "", false
	}
	end := 1 + int(form[0])
	*text = form[1:end]
	return form[end:], true
}
