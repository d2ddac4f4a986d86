package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// line writes a line of prose.
func (t *tour) line(format string, args ...any) {
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *tour) heading(format string, args ...any) { t.line("\n"+format, args...) }

// say writes what happened to which token, with the mock time of day before it.
func (t *tour) say(what, token, who, format string, args ...any) {
	t.line("%s  %-11s  %-15s  %-13s  %s", t.now(), what, token, who, fmt.Sprintf(format, args...))
}

// note writes what happened to no token in particular.
func (t *tour) note(what, format string, args ...any) {
	t.line("%s  %-11s  %s", t.now(), what, fmt.Sprintf(format, args...))
}

// sayState writes one line of a list of tokens.
func (t *tour) sayState(tok lapse.Token) { t.say("", brief(tok), tok.Name, "%s", t.state(tok)) }

func (t *tour) now() string { return t.clock.Now().Format("15:04") }

// state says whether a token is alive, and if not, how it died.
func (t *tour) state(tok lapse.Token) string {
	switch {
	case tok.Live(t.clock.Now()):
		return "live until " + t.when(tok.ExpiresAt)
	case tok.EndedAt.IsZero():
		return "ran out at " + t.when(tok.ExpiresAt)
	default:
		return fmt.Sprintf("ended at %s: %s", t.when(tok.EndedAt), tok.EndReason)
	}
}

// when writes an instant without its date if it is today.
func (t *tour) when(at time.Time) string {
	const day = "2 Jan 2006"
	if at.Format(day) == t.clock.Now().Format(day) {
		return at.Format("15:04")
	}
	return at.Format("2 Jan 15:04")
}

// brief names a token as a log would, shortened for the width of a page: the
// prefix and the first characters of the ID, which is no secret.
func brief(tok lapse.Token) string { return briefText(tok.Prefix + "_" + tok.ID.String()) }

// briefText does the same for a bearer text, which may be forged.
func briefText(bearer string) string {
	body := strings.LastIndexByte(bearer, '_') + 1
	return bearer[:min(len(bearer), body+8)] + "…"
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
