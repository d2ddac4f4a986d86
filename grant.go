package lapse

import (
	"cmp"
	"fmt"
	"math"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse/storage"
)

// Grant says for whom and for what Issue makes a token. Lengths are in bytes.
type Grant struct {
	Subject    string        // required: 1 to 255 bytes, valid UTF-8, no control characters; compared byte for byte
	Name       string        // for people: "Ana's laptop"; at most 255 bytes, valid UTF-8
	Scope      string        // words with one space between them, as in RFC 6749 section 3.3; at most 1,024 bytes
	Data       string        // the caller's own, opaque; at most 4,096 bytes
	TTL        time.Duration // 0: the policy's; over its MaxTTL, negative or under a millisecond: ErrInvalidGrant, never clamped
	MaxUses    int           // how often it can be used in all, each use spent durably; 0: as often as it lives; 1: a one-time token
	UseGrace   time.Duration // with MaxUses: for how long after the last use its text is good again, as Token.Repeated tells; 0: not at all; at most a minute
	SessionTTL time.Duration // of a log-in with Pairs: how long it lives after the log-in and after each refresh; 0: the policy's; a plain token has none
	MinLeft    time.Duration // of Obtain: the least that is left of the life of a token that is given again; 0: a tenth of the TTL; over that: ErrInvalidGrant
	Jitter     float64       // 0 to 0.5: the TTL, of renewals too, is shorter by a random share, this one at most; the cap stays
}

// check returns ErrInvalidGrant with the name of the first field out of limits, for a
// plain token.
func (g *Grant) check(p *Policy) error {
	if g.MinLeft != 0 {
		return errMinLeft(g)
	}
	return g.checkPlain(p)
}

func errMinLeft(g *Grant) error {
	return fmt.Errorf("%w: MinLeft: %v; Obtain alone gives a token again, leave it 0", ErrInvalidGrant, g.MinLeft)
}

// checkObtain is check for Obtain.
func (g *Grant) checkObtain(p *Policy) error {
	if err := g.checkPlain(p); err != nil {
		return err
	}
	if err := checkDuration(g.MinLeft, false); err != nil {
		return fmt.Errorf("%w: MinLeft: %w", ErrInvalidGrant, err)
	}
	if least := g.leastTTL(p); g.MinLeft > least {
		return fmt.Errorf("%w: MinLeft: %v is over the %v that a new token may live", ErrInvalidGrant, g.MinLeft, least)
	}
	return nil
}

// minLeft returns how much of its life a token has left at least that Obtain gives again.
func (g *Grant) minLeft(p *Policy) time.Duration { return cmp.Or(g.MinLeft, g.ttl(p)/10) }

// checkPlain is check for the fields that only a session has, and those of both.
func (g *Grant) checkPlain(p *Policy) error {
	if g.SessionTTL != 0 {
		return fmt.Errorf("%w: SessionTTL: %v; a plain token has none, leave it 0", ErrInvalidGrant, g.SessionTTL)
	}
	return g.checkAll(p)
}

// checkAll is check for the fields that a plain token and a session have.
func (g *Grant) checkAll(p *Policy) error {
	if err := checkSubject(g.Subject); err != nil {
		return err
	}
	switch {
	case len(g.Name) > storage.MaxName:
		return tooLong("Name", g.Name, storage.MaxName)
	case !utf8.ValidString(g.Name):
		return fmt.Errorf("%w: Name: not valid UTF-8", ErrInvalidGrant)
	case len(g.Scope) > storage.MaxScope:
		return tooLong("Scope", g.Scope, storage.MaxScope)
	case !validScope(g.Scope):
		return fmt.Errorf("%w: Scope: want words of printable ASCII without quote and backslash, one space between them", ErrInvalidGrant)
	case len(g.Data) > storage.MaxData:
		return tooLong("Data", g.Data, storage.MaxData)
	}
	if g.MaxUses < 0 || g.MaxUses > math.MaxInt32 {
		return fmt.Errorf("%w: MaxUses: %d is not between 0 and %d", ErrInvalidGrant, g.MaxUses, math.MaxInt32)
	}
	if err := g.checkUseGrace(); err != nil {
		return err
	}
	if err := checkDuration(g.TTL, false); err != nil {
		return fmt.Errorf("%w: TTL: %w", ErrInvalidGrant, err)
	}
	if g.TTL.Truncate(time.Millisecond) > p.MaxTTL {
		return fmt.Errorf("%w: TTL: %v is over the policy's MaxTTL of %v", ErrInvalidGrant, g.TTL, p.MaxTTL)
	}
	return checkJitter(g.Jitter)
}

// checkUseGrace returns ErrInvalidGrant unless UseGrace is one of a budget, or 0.
func (g *Grant) checkUseGrace() error {
	if err := checkDuration(g.UseGrace, false); err != nil {
		return fmt.Errorf("%w: UseGrace: %w", ErrInvalidGrant, err)
	}
	if g.UseGrace > storage.MaxUseGrace {
		return fmt.Errorf("%w: UseGrace: %v is over %v", ErrInvalidGrant, g.UseGrace, storage.MaxUseGrace)
	}
	if g.UseGrace != 0 && g.MaxUses == 0 {
		return fmt.Errorf("%w: UseGrace: %v without MaxUses; a token without a budget has no last use", ErrInvalidGrant, g.UseGrace)
	}
	return nil
}

// checkSubject returns ErrInvalidGrant unless subject can be one.
func checkSubject(subject string) error {
	switch {
	case subject == "":
		return fmt.Errorf("%w: Subject: empty", ErrInvalidGrant)
	case len(subject) > storage.MaxSubject:
		return tooLong("Subject", subject, storage.MaxSubject)
	case printable(subject):
		return nil
	case !utf8.ValidString(subject):
		return fmt.Errorf("%w: Subject: not valid UTF-8", ErrInvalidGrant)
	}
	for _, c := range subject {
		if unicode.IsControl(c) {
			return fmt.Errorf("%w: Subject: holds a control character", ErrInvalidGrant)
		}
	}
	return nil
}

// printable reports whether all of s is printable ASCII, as most subjects are.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

func tooLong(field, value string, limit int) error {
	return fmt.Errorf("%w: %s: %d bytes are more than %d", ErrInvalidGrant, field, len(value), limit)
}

// validScope reports whether scope is empty or scope-tokens as RFC 6749 section
// 3.3 defines them, with a single space between two of them.
func validScope(scope string) bool {
	space := true // so that the first byte cannot be one
	for _, c := range []byte(scope) {
		if c == ' ' {
			if space {
				return false
			}
			space = true
			continue
		}
		if c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
		space = false
	}
	return scope == "" || !space
}

// record sets rec to what is stored of a token granted by g at now, without its ID
// and digest.
func (g *Grant) record(rec *storage.Record, p *Policy, prefix string, now time.Time) {
	*rec = storage.Record{TTL: g.ttl(p)}
	rec.Prefix, rec.Subject, rec.Name, rec.Scope, rec.Data = prefix, g.Subject, g.Name, g.Scope, g.Data
	rec.IssuedAt, rec.MaxExpiresAt = now, p.capFrom(now)
	rec.ExpiresAt = capped(add(now, rec.TTL), rec.MaxExpiresAt)
	rec.MaxUses, rec.UsesLeft, rec.UseGrace = g.MaxUses, g.MaxUses, g.UseGrace.Truncate(time.Millisecond)
}

// ttl returns the life, in whole milliseconds, that g asks for.
func (g *Grant) ttl(p *Policy) time.Duration { return cmp.Or(g.TTL.Truncate(time.Millisecond), p.TTL) }
