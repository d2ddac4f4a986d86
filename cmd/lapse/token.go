package main

import (
	"time"

	"github.com/seed-55daa01a/lapse"
)

// tokenJSON is a token as --json prints it. Data may be any bytes, and so is base64.
type tokenJSON struct {
	lapse.Token
	Data  []byte `json:"data,omitempty"`
	State string `json:"state"`
}

func toJSON(tok lapse.Token, now time.Time) tokenJSON {
	data := tok.Data
	tok.Data = ""
	return tokenJSON{tok, []byte(data), state(tok, now)}
}

// state returns the state of tok at now in one word.
func state(tok lapse.Token, now time.Time) string {
	switch {
	case tok.EndReason != 0:
		return "ended"
	case !tok.Live(now):
		return "expired"
	case tok.MaxUses > 0 && tok.UsesLeft == 0:
		return "spent"
	case !tok.SuspendedAt.IsZero():
		return "suspended"
	}
	return "live"
}

// told returns the state of tok at now with why and by whom.
func told(tok lapse.Token, now time.Time) string {
	text := state(tok, now)
	if tok.EndReason == 0 {
		return text
	}
	text += ": " + tok.EndReason.String()
	if tok.EndedBy != "" {
		text += ", by " + tok.EndedBy
	}
	return text
}
