package lapse

import (
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Step says what one use of a token does.
type Step struct {
	At        time.Time // the instant of the use, in UTC and whole milliseconds
	Kind      StepKind  // what the use does
	ExpiresAt time.Time // the expiry of the token after the use, also of a dead token
}

// StepKind says what a use does to a token, or why the use is refused.
type StepKind uint8

const (
	StepRenewed  StepKind = 1 + iota // good: the token lives for a TTL from this use
	StepCapped                       // good: the token lives until its cap, which comes before a TTL has passed
	StepNotDue                       // good: nothing is written, because RenewEvery has not passed, or no time, or the clock was set back
	StepRecorded                     // good: LastUsedAt is recorded, and under this policy no use renews
	StepRanOut                       // refused: no renewal came in time
	StepCapEnded                     // refused: the token has reached its cap, which no renewal passes
)

var stepKinds = [...]string{
	"unknown", "renewed until", "capped at", "not due, lives until", "recorded, lives until", "refused, ran out at", "refused, at its cap since",
}

// String returns a few lower-case words that an expiry can follow, as "renewed until".
func (k StepKind) String() string {
	if int(k) < len(stepKinds) {
		return stepKinds[k]
	}
	return stepKinds[0]
}

// MarshalText returns the words of String. The error is always nil.
func (k StepKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Good reports whether Authenticate accepts such a use.
func (k StepKind) Good() bool { return k >= StepRenewed && k <= StepRecorded }

// String returns one line for people: the instant of the use, the words of Kind, and the
// expiry.
func (s Step) String() string {
	const layout = "2006-01-02T15:04:05.999Z07:00"
	return s.At.Format(layout) + " " + s.Kind.String() + " " + s.ExpiresAt.Format(layout)
}

// Timeline says what each of uses would do to a token that is issued at issued under p, by a
// Grant without a TTL of its own. The i-th Step is that of uses[i], a call of Authenticate at
// that instant. Timeline decides as Authenticate does, and uses neither a store nor a clock.
// With a TTL of 30 minutes, a MaxTTL of one hour and a RenewEvery of 10 minutes, a token of
// 09:00
//
//	used at   does
//	09:06     not due, lives until 09:30
//	09:10     renewed until 09:40
//	09:19     not due, lives until 09:40
//	09:20     renewed until 09:50
//	09:35     capped at 10:00
//	09:59     capped at 10:00
//	10:00     refused, at its cap since 10:00
//
// The uses happen in the order given. A use that is earlier than the use before is judged as
// Authenticate judges after the clock was set back, under GuardOff: the life gets no shorter,
// and a token that has run out is good again.
//
// The error is the ErrInvalidConfig that New would return for p.
func (p Policy) Timeline(issued time.Time, uses ...time.Time) ([]Step, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	var rec storage.Record
	new(Grant).record(&rec, &p, "", steady.Normalise(issued))
	steps := make([]Step, len(uses))
	for i, at := range uses {
		steps[i] = p.step(&rec, steady.Normalise(at))
	}
	return steps, nil
}

// step uses the token of rec at now as Authenticate does, and raises rec.
func (p *Policy) step(rec *storage.Record, now time.Time) Step {
	tok := rec.Token
	p.view(&tok)
	kind := StepRenewed
	use, raises := p.use(&tok, rec.TTL, now)
	switch {
	case !tok.Live(now) && tok.ExpiresAt.Equal(tok.MaxExpiresAt):
		return Step{At: now, Kind: StepCapEnded, ExpiresAt: tok.ExpiresAt}
	case !tok.Live(now):
		return Step{At: now, Kind: StepRanOut, ExpiresAt: tok.ExpiresAt}
	case !raises:
		kind = StepNotDue
	case p.Renewal != RenewOnUse:
		kind = StepRecorded
	case use.ExpiresAt.Before(steady.Add(now, rec.TTL)):
		kind = StepCapped
	}
	if raises {
		use.Raise(rec)
	}
	return Step{At: now, Kind: kind, ExpiresAt: rec.ExpiresAt}
}
