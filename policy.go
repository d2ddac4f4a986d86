package lapse

import (
	"math"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// NoLimit lifts a limit on time: Policy.MaxTTL and Policy.Retention take it.
const NoLimit time.Duration = math.MaxInt64

// NoTokenLimit lifts Policy.MaxTokens.
const NoTokenLimit int = math.MaxInt

// Policy says how long tokens live and what renews them. Under the zero Policy a token
// lives for 30 minutes from its issue and from each use, and for 30 days at most. A zero
// field means the default given here, never "for ever". Durations are rounded down to whole
// milliseconds.
//
// TTL and the cap are copied onto each token at issue: a later policy lengthens neither,
// and a lower MaxTTL applies at once. The other fields apply as they are now. A RenewEvery
// at or above a token's TTL means that no use renews it.
type Policy struct {
	TTL        time.Duration // how long a token lives from issue, and from each renewal; 0: 30 minutes
	MaxTTL     time.Duration // how long it lives in all, with renewals; 0: 30 days, or TTL if longer; NoLimit lifts it
	Renewal    Renewal       // what renews a token; zero value: RenewOnUse
	RenewEvery time.Duration // least time between two recorded uses; 0: every use is recorded

	// MaxTokens limits the live tokens of a subject under one prefix. 0: 100; NoTokenLimit lifts it. It
	// counts no delegate, and no token with no uses left unless this Manager holds a connection by it.
	MaxTokens    int
	AtLimit      AtLimit       // what Issue does when MaxTokens are live; zero value: LimitRefuse
	MaxDelegates int           // live delegates of one token, not those with no uses left; 0: 100; NoTokenLimit lifts it
	Retention    time.Duration // how long a dead record is kept before Sweep deletes it; 0: 24 hours; NoLimit keeps it
}

// Renewal says what renews a token.
type Renewal uint8

const (
	RenewDefault   Renewal = iota // RenewOnUse in New, RenewNever for Access in NewPairs
	RenewOnUse                    // every successful Authenticate, as often as RenewEvery lets it, and Renew
	RenewOnRequest                // only Renew
	RenewNever                    // nothing: a token lives for its TTL
)

// AtLimit says what Issue does when the subject has MaxTokens live tokens.
type AtLimit uint8

const (
	LimitDefault   AtLimit = iota // LimitRefuse in New, LimitEndIdlest for Refresh in NewPairs
	LimitRefuse                   // fail with ErrLimit
	LimitEndOldest                // end the token issued first; either of two that were issued in the same millisecond

	// LimitEndIdlest: end the token unused for longest, counted from log-in, refresh or rotation if
	// that is later; never a suspended one.
	LimitEndIdlest
)

// capFrom returns the instant that no renewal of a token issued at issued passes. Zero means
// that there is none.
func (p *Policy) capFrom(issued time.Time) time.Time {
	if p.MaxTTL == NoLimit {
		return time.Time{}
	}
	return steady.Add(issued, p.MaxTTL)
}

// view changes t, the token of a record, into what callers see. Its cap becomes the earlier one
// of the cap of the record and the cap of the policy, and its expiry does not pass that cap.
// Everywhere in lapse the token is alive at an instant if Token.Live of the result says so.
//
// The cap of the policy counts from the last rotation of a plain token, and from the log-in of
// a session.
func (p *Policy) view(t *Token) {
	from := t.IssuedAt
	if t.Generation != 0 && t.Kind == KindPlain {
		from = t.RotatedAt
	}
	if p.MaxTTL != NoLimit && (t.MaxExpiresAt.IsZero() || t.MaxExpiresAt.Sub(from) > p.MaxTTL) {
		t.MaxExpiresAt = p.capFrom(from)
	}
	t.ExpiresAt = capped(t.ExpiresAt, t.MaxExpiresAt)
}

// alive is t.Live(now) without a copy of the token.
func alive(t *Token, now time.Time) bool { return t.EndedAt.IsZero() && now.Before(t.ExpiresAt) }

// unusable returns nil if t is alive at now and not suspended: then a text of t may be good. Otherwise
// it returns the *Rejection: ErrExpired, ErrRevoked, ErrExhausted or ErrSuspended. generation is that
// of the secret that is refused.
func unusable(t *Token, generation uint32, now time.Time) error {
	switch {
	case !alive(t, now):
		return expired(t, generation)
	case !t.SuspendedAt.IsZero():
		return suspended(t, generation)
	}
	return nil
}

// outOfUses returns the *Rejection of tok if tok has a budget and no uses left, and nil otherwise. by is
// the generation of the secret that is refused.
func outOfUses(tok *Token, by uint32) error {
	if tok.MaxUses != 0 && tok.UsesLeft <= 0 {
		return exhausted(tok, by)
	}
	return nil
}

// earlierCap returns the earlier of two caps. Zero means that there is no cap.
func earlierCap(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// capped returns the earlier of t and limit, or t if limit is zero.
func capped(t, limit time.Time) time.Time {
	if !limit.IsZero() && limit.Before(t) {
		return limit
	}
	return t
}

// latest returns the latest of t and more.
func latest(t time.Time, more ...time.Time) time.Time {
	for _, u := range more {
		if u.After(t) {
			t = u
		}
	}
	return t
}

// renewal returns what renewing t at now records. At the cap, and when the clock has stepped
// back, that may change nothing.
func renewal(t *Token, ttl time.Duration, now time.Time) storage.Use {
	return storage.Use{At: now, ExpiresAt: renewedUntil(t, ttl, now)}
}

// renewedUntil returns when t, renewed at now, expires.
func renewedUntil(t *Token, ttl time.Duration, now time.Time) time.Time {
	return capped(steady.Add(now, ttl), t.MaxExpiresAt)
}

// due reports whether at now RenewEvery has passed since the last recorded use of t, or since
// its issue if none was recorded.
func (p *Policy) due(t *Token, now time.Time) bool {
	since := now.UnixMilli() - p.RenewEvery.Milliseconds()
	return t.IssuedAt.UnixMilli() <= since && t.LastUsedAt.UnixMilli() <= since
}

// use returns what a successful use of t at now records, and whether the record changes by it:
// whether a use is due, and is later than the last one or moves the expiry. Uses are recorded
// whatever Renewal is.
func (p *Policy) use(t *Token, ttl time.Duration, now time.Time) (storage.Use, bool) {
	if !p.due(t, now) {
		return storage.Use{}, false
	}
	expires, raises := p.dueUse(t, ttl, now)
	return storage.Use{At: now, ExpiresAt: expires}, raises
}

// dueUse returns the ExpiresAt of use, and whether the record changes, where a use is known to
// be due. ExpiresAt is zero if a use does not renew t.
func (p *Policy) dueUse(t *Token, ttl time.Duration, now time.Time) (expires time.Time, raises bool) {
	if p.Renewal == RenewOnUse && t.Kind == KindPlain { // only Refresh moves the expiry of a session
		expires = renewedUntil(t, ttl, now)
	}
	return expires, now.After(t.LastUsedAt) || expires.After(t.ExpiresAt)
}
