package lapse_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// use is what Authenticate really did at an instant.
type use struct {
	at      time.Time
	err     error
	token   lapse.Token // as the store has it afterwards
	written bool
}

// randomPolicy draws a policy whose limits lie a few units apart, so that uses fall
// on them often.
func randomPolicy(r *rand.Rand, unit time.Duration) lapse.Policy {
	p := lapse.Policy{
		TTL:     unit * time.Duration(1+r.IntN(12)),
		Renewal: lapse.Renewal((r.IntN(8) + 1) % 8 % 5 % 4), // RenewOnUse, given or by default, most of the time
	}
	switch p.MaxTTL = p.TTL + unit*time.Duration(r.IntN(30)); r.IntN(4) {
	case 0:
		p.MaxTTL = lapse.NoLimit
	case 1:
		p.MaxTTL = 0
	}
	if r.IntN(3) > 0 {
		p.RenewEvery = unit * time.Duration(r.IntN(6))
	}
	return p
}

// randomUse draws the instant of the next use: a few units on, or a few back, or
// just before, at or just after the token's expiry, which is the likeliest place for
// two opinions. A dead token is often brought back by a clock that is set back.
func randomUse(r *rand.Rand, unit time.Duration, now time.Time, tok lapse.Token) time.Time {
	near := time.Duration(r.IntN(3)-1) * time.Millisecond
	if !tok.Live(now) && r.IntN(2) == 0 {
		return tok.ExpiresAt.Add(-unit * time.Duration(1+r.IntN(3)))
	}
	switch r.IntN(8) {
	case 0:
		return tok.ExpiresAt.Add(near)
	case 1:
		return now.Add(-unit * time.Duration(r.IntN(15)))
	case 2:
		return now.Add(near + time.Duration(r.IntN(2_000_000)))
	case 3:
		return tok.IssuedAt.Add(unit*time.Duration(r.IntN(40)) + near)
	default:
		return now.Add(unit * time.Duration(r.IntN(5)))
	}
}

// live drives a real Manager under p, and returns what each use did.
func live(t *testing.T, r *rand.Rand, p lapse.Policy, unit time.Duration) []use {
	f := newFixture(t, lapse.Config{Policy: p, ClockGuard: lapse.GuardOff}) // uses may lie before each other
	tok := f.issue(lapse.Grant{Subject: "ana"})
	uses := make([]use, 1+r.IntN(15))
	for n := range uses {
		u := &uses[n]
		u.at = randomUse(r, unit, f.clock.Now(), f.token(tok.ID))
		f.clock.set(u.at)
		calls := f.calls(func() { u.token, u.err = f.Authenticate(f.ctx, tok.Bearer) })
		u.written = slices.Contains(calls, storagetest.OpTouch)
		stored := f.token(tok.ID)
		if u.err == nil && stored != u.token {
			t.Fatalf("returned %+v, stored %+v", u.token, stored)
		}
		u.token = stored
	}
	return uses
}

// differs says what s and u disagree on, if anything. It does not ask lapse what a
// kind of step means.
func (u use) differs(s lapse.Step, p lapse.Policy) error {
	limit, at := u.token.MaxExpiresAt, u.at.UTC().Truncate(time.Millisecond)
	var want lapse.StepKind
	switch {
	case errors.Is(u.err, lapse.ErrExpired) && u.token.ExpiresAt.Equal(limit):
		want = lapse.StepCapEnded
	case errors.Is(u.err, lapse.ErrExpired):
		want = lapse.StepRanOut
	case u.err != nil:
		return u.err
	case !u.written:
		want = lapse.StepNotDue
	case p.Renewal == lapse.RenewOnRequest || p.Renewal == lapse.RenewNever:
		want = lapse.StepRecorded
	case u.token.ExpiresAt.Equal(at.Add(p.TTL)):
		want = lapse.StepRenewed
	case u.token.ExpiresAt.Equal(limit):
		want = lapse.StepCapped
	default:
		return fmt.Errorf("a use wrote and renewed to %v, not for a TTL and not to the cap", u.token.ExpiresAt)
	}
	if real := (lapse.Step{At: at, Kind: want, ExpiresAt: u.token.ExpiresAt}); s != real || s.Kind.Good() != (u.err == nil) {
		return fmt.Errorf("the timeline says %v; what Authenticate did is %v (%v)", s, real, u.err)
	}
	return nil
}

// teller says what each use of a token would do.
type teller func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error)

// compareTimelines plays rounds games, and counts the kinds of steps in which tell
// was right. It stops at the first in which it was not.
func compareTimelines(t *testing.T, rounds int, tell teller) (right map[lapse.StepKind]int, wrong error) {
	right = map[lapse.StepKind]int{}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 22))
		unit := []time.Duration{time.Millisecond, time.Second, time.Minute, 24 * time.Hour}[r.IntN(4)]
		p := randomPolicy(r, unit)
		uses := live(t, r, p, unit)
		var at []time.Time
		for _, u := range uses {
			at = append(at, u.at)
		}
		steps, err := tell(p, start, at...)
		if err != nil || len(steps) != len(uses) {
			return right, fmt.Errorf("seed %d: %d steps for %d uses, %w", seed, len(steps), len(uses), err)
		}
		for n, u := range uses {
			if err := u.differs(steps[n], p); err != nil {
				return right, fmt.Errorf("seed %d, use %d of %d under %+v: %w", seed, n+1, len(uses), p, err)
			}
			right[steps[n].Kind]++
		}
	}
	return right, nil
}

// TestTimelineIsWhatAuthenticateDoes, under thousands of policies.
func TestTimelineIsWhatAuthenticateDoes(t *testing.T) {
	alone(t)
	rounds := 4_000
	if testing.Short() {
		rounds = 400
	}
	right, wrong := compareTimelines(t, rounds, lapse.Policy.Timeline)
	if wrong != nil {
		t.Fatal(wrong)
	}
	for kind := lapse.StepRenewed; kind <= lapse.StepCapEnded; kind++ {
		if right[kind] < rounds/10 {
			t.Errorf("%q was compared %d times alone: the games are too tame", kind, right[kind])
		}
	}
	t.Log(right)
}

// TestTimelineComparisonFindsFaults: tellers that are off by a millisecond, or by one
// rule, are found out.
func TestTimelineComparisonFindsFaults(t *testing.T) {
	const ms = time.Millisecond
	for name, tell := range map[string]teller{
		"TTL": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			if p.TTL += ms; p.MaxTTL != 0 && p.MaxTTL < p.TTL {
				p.MaxTTL = p.TTL
			}
			return p.Timeline(issued, uses...)
		},
		"RenewEvery": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			p.RenewEvery += ms
			return p.Timeline(issued, uses...)
		},
		"MaxTTL": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			if p.MaxTTL != 0 && p.MaxTTL != lapse.NoLimit {
				p.MaxTTL += ms
			}
			return p.Timeline(issued, uses...)
		},
		"the instant of issue": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			return p.Timeline(issued.Add(ms), uses...)
		},
		"modes": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			p.Renewal = lapse.RenewOnUse
			return p.Timeline(issued, uses...)
		},
		"uses put in order": func(p lapse.Policy, issued time.Time, uses ...time.Time) ([]lapse.Step, error) {
			slices.SortFunc(uses, time.Time.Compare)
			return p.Timeline(issued, uses...)
		},
		"each use on its own": func(p lapse.Policy, issued time.Time, uses ...time.Time) (steps []lapse.Step, _ error) {
			for _, at := range uses {
				step, _ := p.Timeline(issued, at)
				steps = append(steps, step...)
			}
			return steps, nil
		},
	} {
		if _, wrong := compareTimelines(t, 200, tell); wrong == nil {
			t.Errorf("%s: 200 games found nothing", name)
		}
	}
}
