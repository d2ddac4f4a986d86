package lapse

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// NoLimit lifts a limit on time: Policy.MaxTTL and Policy.Retention take it.
const NoLimit time.Duration = math.MaxInt64

// NoTokenLimit lifts Policy.MaxTokens.
const NoTokenLimit int = math.MaxInt

// Policy says how long tokens live and what renews them. The zero Policy is a
// token of 30 minutes that each use renews, for 30 days at most. Zero always
// means the default given here, never "for ever". Durations are rounded down to
// whole milliseconds.
//
// TTL and the cap are copied onto each token at issue: a later policy changes
// neither upwards, and a lower MaxTTL applies at once. The other fields apply as
// they are now. A RenewEvery at or above a token's TTL means that no use renews it.
type Policy struct {
	TTL        time.Duration // how long a token lives from issue, and from each renewal; 0: 30 minutes
	MaxTTL     time.Duration // how long it lives in all, renewals included; 0: 30 days, or TTL if longer; NoLimit lifts it
	Renewal    Renewal       // what renews a token; zero value: OnUse
	RenewEvery time.Duration // least time between two recorded uses, due when at least this much has passed; 0: every use
	MaxTokens  int           // live tokens per subject and prefix; 0: 100; NoTokenLimit lifts it
	AtLimit    AtLimit       // what Issue does when MaxTokens are live; zero value: Refuse
	Retention  time.Duration // how long a dead record is kept before Sweep deletes it; 0: 24 hours; NoLimit keeps it
}

// Renewal says what renews a token.
type Renewal uint8

const (
	OnUse     Renewal = iota // every successful Authenticate, as often as RenewEvery lets it, and Renew
	OnRequest                // only Renew
	Never                    // nothing: a token lives for its TTL
)

// AtLimit says what Issue does when the subject has MaxTokens live tokens.
type AtLimit uint8

const (
	Refuse       AtLimit = iota // fail with ErrLimit
	ExpireOldest                // end the one issued first, of two at the same millisecond either
	ExpireIdlest                // end the one unused for longest, counted from issue if it was never used
)

const (
	defaultTTL       = 30 * time.Minute
	defaultMaxTTL    = 30 * 24 * time.Hour
	defaultMaxTokens = 100
	defaultRetention = 24 * time.Hour
)

// withDefaults returns p with every zero replaced by its default and every
// duration in whole milliseconds, or ErrInvalidConfig with the field's name.
func (p Policy) withDefaults() (Policy, error) {
	durations := []struct {
		name    string
		value   *time.Duration
		noLimit bool
	}{
		{"TTL", &p.TTL, false},
		{"MaxTTL", &p.MaxTTL, true},
		{"RenewEvery", &p.RenewEvery, false},
		{"Retention", &p.Retention, true},
	}
	for _, d := range durations {
		if err := checkDuration(*d.value, d.noLimit); err != nil {
			return p, fmt.Errorf("%w: Policy.%s: %w", ErrInvalidConfig, d.name, err)
		}
		if *d.value != NoLimit {
			*d.value = d.value.Truncate(time.Millisecond)
		}
	}
	p.TTL = cmp.Or(p.TTL, defaultTTL)
	p.MaxTTL = cmp.Or(p.MaxTTL, max(defaultMaxTTL, p.TTL))
	p.MaxTokens = cmp.Or(p.MaxTokens, defaultMaxTokens)
	p.Retention = cmp.Or(p.Retention, defaultRetention)
	switch {
	case p.MaxTTL < p.TTL:
		return p, fmt.Errorf("%w: Policy.MaxTTL: %v is below the TTL of %v", ErrInvalidConfig, p.MaxTTL, p.TTL)
	case p.MaxTokens < 0:
		return p, fmt.Errorf("%w: Policy.MaxTokens: %d is negative; NoTokenLimit lifts the limit", ErrInvalidConfig, p.MaxTokens)
	case p.Renewal > Never:
		return p, fmt.Errorf("%w: Policy.Renewal: %d is none of OnUse, OnRequest, Never", ErrInvalidConfig, p.Renewal)
	case p.AtLimit > ExpireIdlest:
		return p, fmt.Errorf("%w: Policy.AtLimit: %d is none of Refuse, ExpireOldest, ExpireIdlest", ErrInvalidConfig, p.AtLimit)
	}
	return p, nil
}

// checkDuration refuses what is neither zero nor at least a millisecond, and
// NoLimit where it has no meaning.
func checkDuration(d time.Duration, noLimit bool) error {
	switch {
	case d == NoLimit && !noLimit:
		return fmt.Errorf("NoLimit has no meaning here")
	case d < 0:
		return fmt.Errorf("%v is negative", d)
	case d > 0 && d < time.Millisecond:
		return fmt.Errorf("%v is under a millisecond", d)
	}
	return nil
}

// capFrom returns the instant that a token issued at the given one cannot pass,
// zero for none.
func (p *Policy) capFrom(issued time.Time) time.Time {
	if p.MaxTTL == NoLimit {
		return time.Time{}
	}
	return add(issued, p.MaxTTL)
}

// view makes of a record's token what everyone sees of it: its expiry is the one
// that decides, under the cap of the record or of the policy, whichever is
// earlier. Whether it is good at an instant is Token.Live of that, everywhere.
//
// It writes what changes alone: whoever copies t next need not wait for it.
func (p *Policy) view(t *Token) {
	if p.MaxTTL != NoLimit && (t.MaxExpiresAt.IsZero() ||
		t.IssuedAt.UnixMilli()+p.MaxTTL.Milliseconds() < t.MaxExpiresAt.UnixMilli()) { // capFrom costs more
		t.MaxExpiresAt = p.capFrom(t.IssuedAt)
	}
	if !t.MaxExpiresAt.IsZero() && t.MaxExpiresAt.Before(t.ExpiresAt) {
		t.ExpiresAt = t.MaxExpiresAt
	}
}

// alive is t.Live(now) without a copy of t, which is large.
func alive(t *Token, now time.Time) bool { return t.EndedAt.IsZero() && now.Before(t.ExpiresAt) }

// earlierCap returns the earlier of two caps, where zero means none.
func earlierCap(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// capped returns t, or the cap if there is one and t lies behind it.
func capped(t, limit time.Time) time.Time {
	if !limit.IsZero() && limit.Before(t) {
		return limit
	}
	return t
}

// renewal returns what renewing t at now records. Raising r by it may change
// nothing: at the cap, or when the clock has stepped back.
func renewal(t *Token, ttl time.Duration, now time.Time) storage.Use {
	return storage.Use{At: now, ExpiresAt: renewedUntil(t, ttl, now)}
}

// renewedUntil returns when t, renewed at now, expires.
func renewedUntil(t *Token, ttl time.Duration, now time.Time) time.Time {
	return capped(add(now, ttl), t.MaxExpiresAt)
}

// due reports whether RenewEvery has passed, at now, since the last use of t that was
// recorded, or since its issue. The first use of a successor is always due: Rotate must
// know of it.
func (p *Policy) due(t *Token, now time.Time) bool {
	if t.LastUsedAt.IsZero() && t.Predecessor != (ID{}) {
		return true
	}
	since := now.UnixMilli() - p.RenewEvery.Milliseconds()
	return t.IssuedAt.UnixMilli() <= since && t.LastUsedAt.UnixMilli() <= since
}

// use returns what a successful use of t at now records, and whether that is due and
// raises something. The last use is recorded whatever renews the token.
func (p *Policy) use(t *Token, ttl time.Duration, now time.Time) (storage.Use, bool) {
	if !p.due(t, now) {
		return storage.Use{}, false
	}
	expires, raises := p.dueUse(t, ttl, now)
	return storage.Use{At: now, ExpiresAt: expires}, raises
}

// dueUse returns the ExpiresAt of use where that is known to be due. A storage.Use on its
// way through memory would show in the cost of a check.
func (p *Policy) dueUse(t *Token, ttl time.Duration, now time.Time) (expires time.Time, raises bool) {
	if p.Renewal == OnUse {
		expires = renewedUntil(t, ttl, now)
	}
	return expires, now.After(t.LastUsedAt) || expires.After(t.ExpiresAt)
}

// evict returns which of the subject's live tokens end so that one more has
// room, the first to go first: fewer than it takes if too many are to be spared. The
// end of a successor makes no room while what it replaces is spared, which would count
// in its place.
func (p *Policy) evict(live []Token, spare ...ID) []Token {
	n := max(0, len(live)+1-p.MaxTokens)
	live = slices.DeleteFunc(live, func(t Token) bool {
		return slices.Contains(spare, t.ID) || slices.Contains(spare, t.Predecessor)
	})
	since := func(t Token) time.Time { return t.IssuedAt }
	if p.AtLimit == ExpireIdlest {
		since = func(t Token) time.Time {
			if t.LastUsedAt.After(t.IssuedAt) {
				return t.LastUsedAt
			}
			return t.IssuedAt
		}
	}
	slices.SortStableFunc(live, func(a, b Token) int { return since(a).Compare(since(b)) })
	return live[:min(n, len(live))]
}
