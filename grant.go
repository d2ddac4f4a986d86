package lapse

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/graphic"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Grant says for whom and for what Issue makes a token. Lengths are in bytes. A field that is
// out of its limits is ErrInvalidGrant, with a *GrantError that names the field.
//
// Subject, Name and Client end up in logs, terminals and lists, where no character may forge a line,
// reverse the text after it, or be invisible. So all three are valid UTF-8 of graphic characters
// (unicode.IsGraphic): no controls, no U+2028 and U+2029, no bidirectional and zero-width
// characters, no fillers, no private use, and no code points that this version of Go does not
// know. The joiner U+200D is allowed between two symbols, as in emoji, and not within words.
// Variation selectors are allowed anywhere. ClipName makes a Name of any text. Tokens with
// other subjects, which an earlier version issued, live on, and are listed and ended by their
// subject.
type Grant struct {
	Subject    string        // required: 1 to 255 bytes; compared byte for byte, and not normalised
	Name       string        // for people: "Ana's laptop"; at most 255 bytes
	Scope      string        // words with one space between them, as in RFC 6749 section 3.3; at most 1,024 bytes
	Data       string        // opaque bytes of the caller; at most 4,096
	TTL        time.Duration // 0: the policy's; over its MaxTTL, negative or under a millisecond: ErrInvalidGrant
	MaxUses    int           // the number of uses in all, each spent durably; 0: no limit; 1: a one-time token
	UseGrace   time.Duration // with MaxUses: how long after the last use a text of the token is good again (Token.Repeated), except for Hold; 0: not at all; at most a minute
	SessionTTL time.Duration // of a session: how long it lives from the log-in and from each refresh; 0: the policy's; a plain token has none
	MinLeft    time.Duration // of Obtain: how much life is left at least of a token that is given again; 0: a tenth of the TTL; over half of the TTL: ErrInvalidGrant
	Client     string        // the program or party that the token is issued to, such as the client_id of OAuth: at most 255 bytes; never changes; "": not told
	Thumbprint Thumbprint    // of the key that the token, or both texts of the session, are bound to (WithProof); zero: they are not bound
	Jitter     float64       // 0 to 0.5: the TTL, also of renewals, is shorter by a random share of at most Jitter; the cap is not
	RequestID  string        // of Issue and Login: the caller's name for this request, 1 to 255 bytes, so that a repetition makes no second token; only a hash is stored; "": none
}

// check returns ErrInvalidGrant, with the name of the first field that is out of its limits,
// unless g is good for a plain token.
func (g *Grant) check(p *Policy) error {
	if err := checkSubject(g.Subject); err != nil {
		return err
	}
	return g.checkPlain(p)
}

// errMinLeft is the error of a MinLeft for a token that Obtain does not issue.
func errMinLeft(g *Grant) error {
	return invalidGrant("MinLeft", "%v; Obtain alone gives a token again, leave it 0", g.MinLeft)
}

// errRequestID is the error of a RequestID for a verb that does not take any.
func errRequestID(verb string) error {
	return invalidGrant("RequestID", "%s gives no token again by it; leave it empty", verb)
}

// checkObtain is check for Obtain.
func (g *Grant) checkObtain(p *Policy) error {
	if err := checkSubject(g.Subject); err != nil {
		return err
	}
	if g.RequestID != "" {
		return errRequestID("Obtain")
	}
	if err := g.checkToken(p); err != nil {
		return err
	}
	if err := checkDuration(g.MinLeft, false); err != nil {
		return invalidGrant("MinLeft", "%v", err)
	}
	if half := g.leastTTL(p) / 2; g.MinLeft > half {
		return invalidGrant("MinLeft", "%v is over %v, half of what a new token may live", g.MinLeft, half)
	}
	return nil
}

// minLeft returns how much life is left at least of a token that Obtain gives again.
func (g *Grant) minLeft(p *Policy) time.Duration { return cmp.Or(g.MinLeft, g.ttl(p)/10) }

// checkPlain is check for every field except Subject.
func (g *Grant) checkPlain(p *Policy) error {
	if g.MinLeft != 0 {
		return errMinLeft(g)
	}
	return g.checkToken(p)
}

// checkToken is checkPlain for every field except MinLeft.
func (g *Grant) checkToken(p *Policy) error {
	if g.SessionTTL != 0 {
		return invalidGrant("SessionTTL", "%v; a plain token has none, leave it 0", g.SessionTTL)
	}
	return g.checkAll(p)
}

// checkAll is checkToken for the fields that a session has as well.
func (g *Grant) checkAll(p *Policy) error {
	if err := g.checkContent(); err != nil {
		return err
	}
	if len(g.RequestID) > maxRequestID {
		return tooLong("RequestID", g.RequestID, maxRequestID)
	}
	if err := g.checkUseGrace(); err != nil {
		return err
	}
	if err := checkText("Client", g.Client, storage.MaxClient); err != nil {
		return err
	}
	if err := checkDuration(g.TTL, false); err != nil {
		return invalidGrant("TTL", "%v", err)
	}
	if g.TTL.Truncate(time.Millisecond) > p.MaxTTL {
		return invalidGrant("TTL", "%v is over the policy's MaxTTL of %v", g.TTL, p.MaxTTL)
	}
	return checkJitter(g.Jitter)
}

// checkContent is checkAll for the fields that Edit can change.
func (g *Grant) checkContent() error {
	if err := checkText("Name", g.Name, storage.MaxName); err != nil {
		return err
	}
	switch {
	case len(g.Scope) > storage.MaxScope:
		return tooLong("Scope", g.Scope, storage.MaxScope)
	case !validScope(g.Scope):
		return invalidGrant("Scope", "want words of printable ASCII without quote and backslash, one space between them")
	case len(g.Data) > storage.MaxData:
		return tooLong("Data", g.Data, storage.MaxData)
	}
	if g.MaxUses < 0 || g.MaxUses > math.MaxInt32 {
		return invalidGrant("MaxUses", "%d is not between 0 and %d", g.MaxUses, math.MaxInt32)
	}
	return nil
}

// checkUseGrace returns ErrInvalidGrant unless UseGrace is 0, or within its limits and beside a
// MaxUses.
func (g *Grant) checkUseGrace() error {
	if err := checkDuration(g.UseGrace, false); err != nil {
		return invalidGrant("UseGrace", "%v", err)
	}
	if g.UseGrace > storage.MaxUseGrace {
		return invalidGrant("UseGrace", "%v is over %v", g.UseGrace, storage.MaxUseGrace)
	}
	if g.UseGrace != 0 && g.MaxUses == 0 {
		return invalidGrant("UseGrace", "%v without MaxUses; a token without a budget has no last use", g.UseGrace)
	}
	return nil
}

// tooLong is the error of a value of more bytes than limit.
func tooLong(field, value string, limit int) error {
	return invalidGrant(field, "%d bytes are more than %d", len(value), limit)
}

// validScope reports whether scope is empty or words with a single space between two of
// them.
func validScope(scope string) bool {
	if scope == "" {
		return true
	}
	for word := range strings.SplitSeq(scope, " ") {
		if !isWord(word) {
			return false
		}
	}
	return true
}

// isWord reports whether s is a scope-token as RFC 6749 section 3.3 defines it.
func isWord(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// record sets *rec to the record of a token that g grants at now, without its ID and digest.
func (g *Grant) record(rec *storage.Record, p *Policy, prefix string, now time.Time) {
	*rec = storage.Record{TTL: g.ttl(p)}
	rec.Prefix, rec.Subject, rec.Name, rec.Scope, rec.Data = prefix, g.Subject, g.Name, g.Scope, g.Data
	rec.Client, rec.Thumbprint = g.Client, g.Thumbprint
	rec.IssuedAt, rec.MaxExpiresAt = now, p.capFrom(now)
	rec.ExpiresAt = capped(steady.Add(now, rec.TTL), rec.MaxExpiresAt)
	rec.MaxUses, rec.UsesLeft, rec.UseGrace = g.MaxUses, g.MaxUses, g.UseGrace.Truncate(time.Millisecond)
}

// ttl returns the TTL that g asks for, in whole milliseconds.
func (g *Grant) ttl(p *Policy) time.Duration { return cmp.Or(g.TTL.Truncate(time.Millisecond), p.TTL) }

// GrantError says which field is out of its limits. errors.As finds it in an ErrInvalidGrant.
// An OAuth endpoint answers invalid_scope where Field is "Scope", and invalid_request
// otherwise (RFC 6749 section 5.2). Of the value of the field a GrantError contains only
// lengths, numbers and durations, and of Subject, Name and Client the code point of one character.
type GrantError struct {
	Field string // of Grant or Changes, as "Scope" or "TTL"; "Key" and "Digest" of Foreign; "Subject" and "overlap" also for an argument of that name
	Limit string // what is wrong, and the limit, in words
}

// invalidGrant returns the GrantError of a field, with its limit as fmt.Sprintf writes it.
func invalidGrant(field, format string, args ...any) *GrantError {
	return &GrantError{Field: field, Limit: fmt.Sprintf(format, args...)}
}

// Error is the text of ErrInvalidGrant, the field and the limit.
func (e *GrantError) Error() string {
	return ErrInvalidGrant.Error() + ": " + e.Field + ": " + e.Limit
}

// Unwrap returns ErrInvalidGrant.
func (e *GrantError) Unwrap() error { return ErrInvalidGrant }

// maxJitter is the most that Grant.Jitter can be: half of a life.
const maxJitter = 0.5

// checkJitter returns ErrInvalidGrant unless share is between 0 and maxJitter.
func checkJitter(share float64) error {
	if share >= 0 && share <= maxJitter { // false for NaN
		return nil
	}
	return invalidGrant("Jitter", "%v is not between 0 and %v", share, maxJitter)
}

// drawTTL draws the TTL of a token under p if g has a Jitter, and removes the Jitter. Every
// whole number of milliseconds within the Jitter is equally likely.
func (g *Grant) drawTTL(p *Policy) error {
	if g.Jitter == 0 {
		return nil
	}
	var random [8]byte
	if _, err := io.ReadFull(rand.Reader, random[:]); err != nil {
		return fmt.Errorf("%w: %w", bearer.ErrNoRandomness, err)
	}
	ttl := g.ttl(p)
	most := uint64((ttl - g.leastTTL(p)).Milliseconds())
	cut, _ := bits.Mul64(binary.LittleEndian.Uint64(random[:]), most+1)
	g.TTL, g.Jitter = ttl-time.Duration(cut)*time.Millisecond, 0
	return nil
}

// leastTTL returns the shortest TTL that drawTTL can draw.
func (g *Grant) leastTTL(p *Policy) time.Duration {
	ttl := g.ttl(p)
	return ttl - time.Duration(float64(ttl.Milliseconds())*g.Jitter)*time.Millisecond
}

// checkText returns a *GrantError unless value can be the field, which is Subject, Name or Client.
func checkText(field, value string, limit int) error {
	switch {
	case len(value) > limit:
		return tooLong(field, value, limit)
	case graphic.Printable(value):
		return nil
	case !utf8.ValidString(value):
		return invalidGrant(field, "not valid UTF-8")
	}
	if c, found := graphic.Forbidden(value); found {
		return invalidGrant(field, "%U may not stand here; leave it out, as ClipName does", c)
	}
	return nil
}

// checkSubject returns ErrInvalidGrant unless a new token can have subject.
func checkSubject(subject string) error {
	if subject == "" {
		return invalidGrant("Subject", "empty")
	}
	return checkText("Subject", subject, storage.MaxSubject)
}

// ClipName returns text as a valid Grant.Name, for a text from outside such as a User-Agent. A
// text that is a valid Name is returned as it is. White space that may not stand in a Name, such
// as line feeds and tabs, becomes one space, and other such characters are left out. A byte that
// is not valid UTF-8 becomes U+FFFD. A text longer than storage.MaxName, 255 bytes, is cut before
// the first character that does not fit, or before the joiner of an emoji whose next part does
// not fit.
func ClipName(text string) string { return graphic.Clip(text, storage.MaxName) }
