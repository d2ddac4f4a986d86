package lapse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// NoGrace is the PairConfig.Grace of those who give nobody the same credentials
// again: a client that loses the answer to a Refresh has to log in anew.
const NoGrace time.Duration = math.MinInt64

const (
	defaultGrace         = 10 * time.Second
	maxGrace             = time.Minute
	defaultRefreshTTL    = 30 * 24 * time.Hour
	defaultRefreshMaxTTL = 90 * 24 * time.Hour
)

// PairConfig says how Pairs works. The zero PairConfig is usable.
type PairConfig struct {
	// Access is for the access tokens, and its Prefix "" means "lapse". Set its
	// Policy.Renewal to Never for access tokens that live for what expires_in says,
	// however much they are used.
	Access Config

	// Refresh is for the refresh tokens. Prefix "" means "lapse_refresh"; it must differ
	// from that of Access. Pairs that share it and differ in Access.Prefix take no
	// refresh token of each other. Policy.TTL is how long a refresh token waits to be
	// used, and 0 means 30 days; MaxTTL is how long a family lives in all, and 0 means
	// 90 days, or TTL if longer. (One that is lowered later counts for a family from the
	// refresh token that it has then.) MaxTokens is how many families a subject has, and
	// whoever AtLimit evicts goes with its family. Renewal and RenewEvery have no
	// meaning, since a refresh token is rotated, not renewed, nor has Retention, since
	// Sweep of Access sweeps both. A nil Clock, CheckSubject or Observe is that of
	// Access, and so is what is zero of ClockGuard, ClockTolerance and ClockSettle.
	Refresh Config

	// Grace is for how long a refresh token that has been rotated gives the same
	// credentials again, and the access token from before it still works. 0 means 10
	// seconds, 60 seconds are the most, NoGrace is none. Pairs that share a store should
	// have the same, and clocks that differ by less.
	Grace time.Duration
}

// Pairs issues pairs of a short-lived access token and a refresh token that gets the
// next pair, once. All that come from one Issue are a family (Token.Family): it lives
// as long as the first refresh token's cap says, however often it is refreshed, and
// ends as one. It is safe for concurrent use and has no state of its own.
type Pairs struct {
	access, refresh *Manager
	grace           time.Duration // zero: none
}

// NewPairs returns Pairs that keep their tokens in store. PairConfig is validated
// once and never read again. ErrInvalidConfig names the field and its limit.
func NewPairs(store storage.Store, cfg PairConfig) (*Pairs, error) {
	access, err := New(store, cfg.Access)
	if err != nil {
		return nil, fmt.Errorf("PairConfig.Access: %w", err)
	}
	r := cfg.Refresh
	r.Prefix = cmp.Or(r.Prefix, "lapse_refresh")
	r.Policy.TTL = cmp.Or(r.Policy.TTL, defaultRefreshTTL)
	r.Policy.MaxTTL = cmp.Or(r.Policy.MaxTTL, max(defaultRefreshMaxTTL, r.Policy.TTL))
	if r.Clock == nil {
		r.Clock = cfg.Access.Clock
	}
	r.ClockGuard = cmp.Or(r.ClockGuard, cfg.Access.ClockGuard)
	r.ClockTolerance = cmp.Or(r.ClockTolerance, cfg.Access.ClockTolerance)
	r.ClockSettle = cmp.Or(r.ClockSettle, cfg.Access.ClockSettle)
	if r.CheckSubject == nil {
		r.CheckSubject = cfg.Access.CheckSubject
	}
	if r.Observe == nil {
		r.Observe = cfg.Access.Observe
	}
	refresh, err := New(store, r)
	if err != nil {
		return nil, fmt.Errorf("PairConfig.Refresh: %w", err)
	}
	if refresh.prefix == access.prefix {
		return nil, fmt.Errorf("%w: Refresh.Prefix: %q is that of Access; choose another", ErrInvalidConfig, r.Prefix)
	}
	grace, err := checkGrace(cfg.Grace)
	if err != nil {
		return nil, err
	}
	return &Pairs{access, refresh, grace}, nil
}

// checkGrace returns how long the grace is.
func checkGrace(d time.Duration) (time.Duration, error) {
	if d == NoGrace {
		return 0, nil
	}
	if err := checkDuration(d, false); err != nil {
		return 0, fmt.Errorf("%w: Grace: %w; NoGrace is none", ErrInvalidConfig, err)
	}
	if d > maxGrace {
		return 0, fmt.Errorf("%w: Grace: %v is over %v", ErrInvalidConfig, d, maxGrace)
	}
	return cmp.Or(d.Truncate(time.Millisecond), defaultGrace), nil
}

// Access returns the Manager of the access tokens, to authenticate them with. What it
// ends is a token with its delegates; Pairs.Expire ends a family.
func (p *Pairs) Access() *Manager { return p.access }

// Issue stores a new family of one access token and one refresh token for g. Both are
// durable before it returns.
//
// Name, Scope and Data are those of every token to come, the scope of an access token
// unless Refresh narrows it. Grant.TTL is the life of every access token of the family,
// 0 that of Access.Policy as it is now. It is ErrInvalidGrant over the MaxTTL of
// either policy, and so is any MaxUses. No access token outlives the family's cap.
//
// ErrLimit means that there is no room under one of the policies, and nothing has
// changed. Of the store's errors, ErrOutcomeUnknown means that a pair nobody holds
// may exist until it runs out. Its cost grows with the records of the subject, dead
// ones included until they are swept.
func (p *Pairs) Issue(ctx context.Context, g Grant) (Credentials, error) {
	if err := p.check(g); err != nil {
		return Credentials{}, err
	}
	if err := g.spread(&p.access.policy); err != nil {
		return Credentials{}, err
	}
	d := p.drafts(g, g.ttl(&p.access.policy))
	d.refresh.tie = func(_ storage.Tx, r *draft) error {
		r.rec.Family, r.rec.TTL, r.rec.Sealed = r.rec.ID, d.access.grant.TTL, p.awaits()
		return nil
	}
	err := d.put(ctx, "issue pair", g.Subject, func(tx storage.Tx, now time.Time) error {
		if _, err := p.survey(tx, now, nil); err != nil {
			return err
		}
		return d.storeAt(tx, now)
	})
	if err != nil {
		return Credentials{}, err
	}
	return d.credentials(), nil
}

func (p *Pairs) check(g Grant) error {
	if err := g.check(&p.access.policy); err != nil {
		return err
	}
	if limit := p.refresh.policy.MaxTTL; g.TTL.Truncate(time.Millisecond) > limit {
		return fmt.Errorf("%w: TTL: %v is over the family's MaxTTL of %v", ErrInvalidGrant, g.TTL, limit)
	}
	if g.MaxUses != 0 {
		return fmt.Errorf("%w: MaxUses: %d; a pair has no budget of uses", ErrInvalidGrant, g.MaxUses)
	}
	return nil
}

// Expire ends the family of the token whose text bearer is, access or refresh token,
// dead or alive: every token of it that lives, with EndExpired, and what was delegated
// from them, in one transaction. To end what is dead already is no error. CheckSubject
// is not asked. It is durable before it returns. A delegate ends itself and what was
// delegated from it, no more, and so does an access token that came without a refresh
// token.
//
// Errors are ErrMalformed and ErrUnknown, or the store's, ErrOutcomeUnknown among
// them. (RFC 7009 section 2.2 answers the first two like a success.)
func (p *Pairs) Expire(ctx context.Context, bearer string) error {
	const verb = "expire pair"
	m := p.access
	var c credential
	if prefix, ok := c.parse(bearer, m.prefix, m.begun); ok && prefix == p.refresh.prefix {
		m = p.refresh
	}
	rec, err := m.prove(ctx, verb, bearer)
	if err != nil {
		return err
	}
	if rec.Family == (ID{}) || rec.Parent != (ID{}) || m == p.access && !ofPair(&rec) {
		_, _, err := m.expire(ctx, verb, rec.Subject, rec.ID)
		if errors.Is(err, ErrNotFound) { // swept meanwhile
			return nil
		}
		return err
	}
	var ended []Token
	err = m.update(ctx, verb, rec.Subject, func(tx storage.Tx, now time.Time) (err error) {
		if _, err := p.survey(tx, now, nil); err != nil {
			return err
		}
		ended, err = m.endFamily(tx, rec.Family, EndExpired, now)
		return err
	})
	if err == nil {
		p.tellEnded(ended)
	}
	return err
}

// tellEnded tells of each token the observer of its kind.
func (p *Pairs) tellEnded(tokens []Token) {
	for _, tok := range tokens {
		p.of(&tok).tellEnded([]Token{tok})
	}
}

// of returns the Manager of tok.
func (p *Pairs) of(tok *Token) *Manager {
	if tok.Prefix == p.refresh.prefix {
		return p.refresh
	}
	return p.access
}
