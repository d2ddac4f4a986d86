package lapse

import (
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Step is what one use of a token does.
type Step struct {
	At        time.Time // of the use, as lapse reads it: UTC, whole milliseconds
	Kind      StepKind  // what it does
	ExpiresAt time.Time // how long the token lives then; of a dead one, how long it lived
}

// StepKind says what a use does to a token, or why the token is no good for it.
type StepKind uint8

const (
	StepRenewed  StepKind = 1 + iota // good, and lives for a TTL from this use on
	StepCapped                       // good, and lives until its cap, which comes before a TTL has passed
	StepNotDue                       // good, and nothing is written: RenewEvery has not passed, or no time at all, or the clock was set back
	StepRecorded                     // good, and LastUsedAt is recorded: the policy lets no use renew
	StepRanOut                       // refused: no renewal came in time
	StepCapEnded                     // refused: it has reached its cap, which no renewal passes
)

var stepKinds = [...]string{
	"unknown", "renewed until", "capped at", "not due, lives until", "recorded, lives until", "refused, ran out at", "refused, at its cap since",
}

// String returns a few lower-case words that the expiry completes.
func (k StepKind) String() string {
	if int(k) < len(stepKinds) {
		return stepKinds[k]
	}
	return stepKinds[0]
}

// MarshalText returns the words of String. The error is always nil.
func (k StepKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Good reports whether Authenticate lets such a use in.
func (k StepKind) Good() bool { return k >= StepRenewed && k <= StepRecorded }

// String says what the use does in a line, for people: the instant, what it does, and
// the expiry.
func (s Step) String() string {
	const layout = "2006-01-02T15:04:05.999Z07:00"
	return s.At.Format(layout) + " " + s.Kind.String() + " " + s.ExpiresAt.Format(layout)
}

// Timeline says what each of uses would do to a token that is issued at the given
// instant under p, with a Grant that leaves the TTL to p: uses[i] is the i-th call
// of Authenticate, and the i-th Step. It asks what Authenticate asks, and touches
// neither store nor clock. With a TTL of 30 minutes, a MaxTTL of one hour and a
// RenewEvery of 10 minutes, a token of 09:00
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
// Uses are taken in the order given. One that lies before another is the same to it
// as a clock that was set back is to Authenticate under GuardOff: nothing is
// shortened, and what has run out is good again while the clock says so.
//
// ErrInvalidConfig is what New would say of p.
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

// step uses the token of rec at now, as Authenticate does.
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
