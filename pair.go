package lapse

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// NoGrace is the PairConfig.Grace with which Refresh gives no answer twice: a client that loses
// the answer to a Refresh has to log in again.
const NoGrace time.Duration = math.MinInt64

const (
	defaultGrace         = 10 * time.Second
	maxGrace             = time.Minute
	defaultAccessTTL     = 15 * time.Minute
	defaultRefreshTTL    = 30 * 24 * time.Hour
	defaultRefreshMaxTTL = 90 * 24 * time.Hour
)

// PairConfig says how Pairs work. The zero PairConfig serves a web or mobile log-in: access
// texts live 15 minutes; a session lives 30 days after its last refresh, and 90 days in all; and
// when a subject has 100 sessions, a new one ends the idlest.
type PairConfig struct {
	// Access is for the access texts, and its Prefix "" means "lapse". Policy.TTL is how long
	// an access secret lives, and 0 means 15 minutes. Policy.Renewal and MaxTTL are for plain
	// tokens that Pairs.Access() issues, and RenewDefault means RenewNever. MaxTokens must be
	// 0 or NoTokenLimit: Refresh.Policy.MaxTokens limits the sessions, and plain tokens are
	// not limited.
	Access Config

	// Refresh is for the sessions and their refresh texts. Prefix "" means "lapse_refresh";
	// the two prefixes must differ. Pairs refresh only sessions of Pairs with the same two
	// prefixes.
	//
	// Policy.TTL is how long a session lives after the log-in and after each refresh, and 0
	// means 30 days. MaxTTL is how long it lives in all, and 0 means 90 days, or TTL if that
	// is longer. MaxTokens is how many live sessions a subject can have, and LimitDefault
	// means LimitEndIdlest. Renewal, RenewEvery, MaxDelegates and Retention have no meaning:
	// Sweep of Access sweeps sessions, too.
	//
	// A nil Clock, Admit or Observe means that of Access, and so does a zero ClockGuard,
	// ClockTolerance or ClockSettle. Both Managers must have one time: leave Clock and
	// ClockGuard to Access.
	Refresh Config

	// Grace is how long, after a refresh, the replaced refresh text gives the same answer
	// again: to a client that lost the answer, and to each of many that ask at once. The
	// replaced access text still works for as long. But it ends at once if the new access
	// scope has a word that the old one lacks.
	//
	// Each refresh stores the instant at which its grace ends; at that instant the texts are
	// dead. A repeated answer does not prolong the grace and writes nothing, and Observe is told
	// EventRepeated. 0 means 10 seconds, or Access.Policy.TTL if that is shorter. The most is 60
	// seconds, or that TTL if shorter. NoGrace is none. A session whose Grant.TTL is shorter
	// than the grace has that TTL as its grace.
	Grace time.Duration
}

// Pairs make sessions. A session is one record with two secrets: a short-lived access text
// authenticates, and a refresh text replaces both secrets. Both texts contain the ID of the
// session, and ending the session by either ends both. Pairs are safe for concurrent use and
// have no state of their own.
type Pairs struct {
	access, refresh *Manager
	rules           *sessionRules
	grace           time.Duration // zero: none
}

// NewPairs returns Pairs that keep their sessions in store. NewPairs validates PairConfig, and
// nothing reads it again. ErrInvalidConfig names the field and its limit.
func NewPairs(store storage.Store, cfg PairConfig) (*Pairs, error) {
	a := cfg.Access
	if n := a.Policy.MaxTokens; n != 0 && n != NoTokenLimit {
		return nil, fmt.Errorf("PairConfig.Access: %w: Policy.MaxTokens: %d; Refresh.Policy.MaxTokens limits sessions, leave this 0", ErrInvalidConfig, n)
	}
	a.Policy.MaxTokens = NoTokenLimit
	a.Policy.TTL = cmp.Or(a.Policy.TTL, defaultAccessTTL)
	a.Policy.Renewal = cmp.Or(a.Policy.Renewal, RenewNever)
	if cfg.Refresh.Foreign != nil {
		return nil, fmt.Errorf("%w: Refresh.Foreign: a refresh text cannot be imported; set Access.Foreign, or leave this nil", ErrInvalidConfig)
	}
	access, err := newManager(store, a, nil)
	if err != nil {
		return nil, fmt.Errorf("PairConfig.Access: %w", err)
	}
	refresh, err := newManager(store, cfg.refreshConfig(), access.marks)
	if err != nil {
		return nil, fmt.Errorf("PairConfig.Refresh: %w", err)
	}
	if refresh.prefix == access.prefix {
		return nil, fmt.Errorf("%w: Refresh.Prefix: %q is that of Access; choose another", ErrInvalidConfig, refresh.prefix)
	}
	grace, err := checkGrace(cfg.Grace, access.policy.TTL)
	if err != nil {
		return nil, err
	}
	refresh.binding, refresh.refreshes = bearer.NewRefreshBinding(refresh.prefix), true
	rules := &sessionRules{policy: refresh.policy, access: access.prefix, refresh: refresh.prefix}
	access.rules, refresh.rules = rules, rules
	refresh.counts = access.counts
	return &Pairs{access, refresh, rules, grace}, nil
}

// refreshConfig returns Refresh with its defaults, some of which are the values of Access.
func (cfg *PairConfig) refreshConfig() Config {
	r := cfg.Refresh
	r.Prefix = cmp.Or(r.Prefix, "lapse_refresh")
	r.Policy.TTL = cmp.Or(r.Policy.TTL, defaultRefreshTTL)
	r.Policy.MaxTTL = cmp.Or(r.Policy.MaxTTL, max(defaultRefreshMaxTTL, r.Policy.TTL))
	r.Policy.AtLimit = cmp.Or(r.Policy.AtLimit, LimitEndIdlest)
	if r.Clock == nil {
		r.Clock = cfg.Access.Clock
	}
	r.ClockGuard = cmp.Or(r.ClockGuard, cfg.Access.ClockGuard)
	r.ClockTolerance = cmp.Or(r.ClockTolerance, cfg.Access.ClockTolerance)
	r.ClockSettle = cmp.Or(r.ClockSettle, cfg.Access.ClockSettle)
	if r.Admit == nil {
		r.Admit = cfg.Access.Admit
	}
	if r.Observe == nil {
		r.Observe = cfg.Access.Observe
	}
	return r
}

// checkGrace returns how long the grace d is if access secrets live for ttl, 0 for none. It
// returns ErrInvalidConfig if d is out of its limits.
func checkGrace(d, ttl time.Duration) (time.Duration, error) {
	if d == NoGrace {
		return 0, nil
	}
	if err := checkDuration(d, false); err != nil {
		return 0, fmt.Errorf("%w: Grace: %w; NoGrace is none", ErrInvalidConfig, err)
	}
	if d > maxGrace {
		return 0, fmt.Errorf("%w: Grace: %v is over %v", ErrInvalidConfig, d, maxGrace)
	}
	d = d.Truncate(time.Millisecond)
	if d > ttl {
		return 0, fmt.Errorf("%w: Grace: %v is over the Access.Policy.TTL of %v; an answer given again would hold a dead access text", ErrInvalidConfig, d, ttl)
	}
	return cmp.Or(d, min(defaultGrace, ttl)), nil
}

// RefreshPrefix returns the prefix of the refresh texts of p. That of the access texts is Prefix of
// Access.
func (p *Pairs) RefreshPrefix() string { return p.refresh.prefix }

// Access returns the Manager that authenticates the access texts. Its verbs end sessions, too,
// by ID or by access text.
func (p *Pairs) Access() *Manager { return p.access }

// Issue stores a new session for g: it logs a client in. The session is durable before Issue
// returns. Issue checks no credentials and does not ask Admit: call Identify first.
//
// Grant.Scope is the scope of the session, and of its access texts unless Refresh narrows it.
// Grant.TTL is how long every access secret lives; 0 means the TTL of Access.Policy.
// Grant.SessionTTL is how long the session lives after the log-in and after each refresh; 0
// means the TTL of Refresh.Policy. No access secret outlives the session.
//
// ErrInvalidGrant names the field: TTL and SessionTTL may not be over the MaxTTL of
// Refresh.Policy, nor TTL over that of Access.Policy, and MaxUses must be 0. ErrLimit means that
// the subject has MaxTokens sessions. Neither has changed anything. Of the store's errors,
// ErrOutcomeUnknown means that a session may exist, until it runs out, of which no client has a
// text.
//
// The cost of Issue grows with the live records of the subject, unless MaxTokens is
// NoTokenLimit.
func (p *Pairs) Issue(ctx context.Context, g Grant) (c TokenPair, err error) {
	verb := p.refresh.begin(VerbIssuePair, &err)
	defer p.refresh.finish(ctx, &verb, &err)
	if err := p.check(&g); err != nil {
		return TokenPair{}, err
	}
	if err := g.drawTTL(&p.access.policy); err != nil {
		return TokenPair{}, err
	}
	l := sessionDraft{p: p, grant: g}
	if err := l.save(ctx, &verb); err != nil {
		return TokenPair{}, err
	}
	p.refresh.tellEnded(ctx, &verb, l.room.evicted)
	p.refresh.tell(ctx, &verb, Event{Kind: EventIssued, At: l.rec.IssuedAt, Token: p.refresh.token(&l.rec)})
	c = p.pair(&l.rec, &l.access, &l.refresh, l.rec.IssuedAt)
	for _, tok := range l.room.evicted {
		c.Refresh.Evicted = append(c.Refresh.Evicted, tok.ID)
	}
	return c, nil
}

// check returns ErrInvalidGrant unless g can be that of a session.
func (p *Pairs) check(g *Grant) error {
	if g.UseGrace != 0 {
		return invalidGrant("UseGrace", "%v; a session has no budget of uses", g.UseGrace)
	}
	if err := checkSubject(g.Subject); err != nil {
		return err
	}
	if err := g.checkAll(&p.access.policy); err != nil {
		return err
	}
	limit := p.rules.policy.MaxTTL
	if g.TTL.Truncate(time.Millisecond) > limit {
		return invalidGrant("TTL", "%v is over the session's MaxTTL of %v", g.TTL, limit)
	}
	if err := checkDuration(g.SessionTTL, false); err != nil {
		return invalidGrant("SessionTTL", "%v", err)
	}
	if g.SessionTTL.Truncate(time.Millisecond) > limit {
		return invalidGrant("SessionTTL", "%v is over the policy's MaxTTL of %v", g.SessionTTL, limit)
	}
	if g.MinLeft != 0 {
		return errMinLeft(g)
	}
	if g.RequestID != "" {
		return errRequestID("Pairs.Issue")
	}
	if g.MaxUses != 0 {
		return invalidGrant("MaxUses", "%d; a session has no budget of uses", g.MaxUses)
	}
	return nil
}

// pair returns the answer to the client of the session rec at now.
func (p *Pairs) pair(rec *storage.Record, access, refresh *bearer.Credential, now time.Time) TokenPair {
	seen := *rec
	var c TokenPair
	c.Refresh.Token, c.Refresh.Bearer = p.refresh.token(rec), refresh.Text(p.refresh.prefix)
	p.access.viewText(&seen, currentText)
	c.Access.Token, c.Access.Bearer = seen.Token, access.Text(p.access.prefix)
	c.ExpiresIn, c.Scope = Seconds(left(&c.Access.Token, now)), c.Access.Scope
	return c
}

// Sessions yields the live sessions of subject that these Pairs made, suspended ones among them, in
// the order of their IDs.
// Each tells the instants of its log-in (IssuedAt), last refresh (RotatedAt) and last use
// (LastUsedAt), until when it lives unless it is refreshed (ExpiresAt), and the name of its
// device (Name). Manager.Expire and the keep of ExpireSubject take its ID. The loop body may
// call any verb.
//
// An error that wraps ErrCorrupt stands for one damaged record, and the loop goes on; any other
// error is the last pair. ErrInvalidGrant means that no session can have such a subject.
func (p *Pairs) Sessions(ctx context.Context, subject string) iter.Seq2[Token, error] {
	return p.access.list(ctx, VerbSessions, Query{Subject: subject, Live: true}, checkStoredSubject(subject), p.refresh.owns)
}

// Peek returns the session whose refresh text it is given, if Refresh would accept that text,
// and changes nothing. The error for a replaced text is ErrReplaced, except within its grace,
// and the session lives on. A new text that only Peek was given counts as not presented. Other
// errors are those of Refresh.
func (p *Pairs) Peek(ctx context.Context, refreshToken string) (tok Token, err error) {
	verb := p.refresh.begin(VerbPeekPair, &err)
	defer p.refresh.finish(ctx, &verb, &err)
	if _, tok, err = p.refresh.proveLive(ctx, &verb, refreshToken); err != nil {
		return Token{}, err
	}
	return tok, nil
}

// ExpireBearer logs a client out: it ends the session whose access or refresh text is bearer,
// with EndRevoked, and the delegates of the session with EndParent, in one transaction. A
// replaced text ends the session as well; a replaced refresh text ends it with EndReused.
// ExpireBearer returns the session as it is then. It is no error if the session is dead already.
// Admit is not asked. The end is durable before ExpireBearer returns. For a plain token of the
// access prefix it is Manager.ExpireBearer.
//
// Errors are ErrMalformed and ErrUnknown, ErrReplaced as from Manager.ExpireBearer, or the
// store's, ErrOutcomeUnknown among them. (RFC 7009 section 2.2 answers the first three like a
// success.)
func (p *Pairs) ExpireBearer(ctx context.Context, bearer string) (Token, error) {
	return p.managerOf(bearer).ExpireBearer(ctx, bearer)
}

// managerOf returns the Manager of the refresh texts if text has its prefix, or else that of the
// access texts.
func (p *Pairs) managerOf(text string) *Manager {
	var c bearer.Credential
	if prefix, ok := c.Parse(text, p.access.prefix); ok && prefix == p.refresh.prefix {
		return p.refresh
	}
	return p.access
}
