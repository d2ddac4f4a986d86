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

// NoGrace is the PairConfig.Grace of those who give no client the same credentials
// again: a client that loses the answer to a Refresh has to log in again.
const NoGrace time.Duration = math.MinInt64

const (
	defaultGrace         = 10 * time.Second
	maxGrace             = time.Minute
	defaultAccessTTL     = 15 * time.Minute
	defaultRefreshTTL    = 30 * 24 * time.Hour
	defaultRefreshMaxTTL = 90 * 24 * time.Hour
)

// PairConfig says how Pairs works. The zero PairConfig serves a web or mobile log-in:
// access texts live 15 minutes; a session lives 30 days after its last refresh, and 90
// days in all; and with 100 sessions of a subject the idlest makes room for another.
type PairConfig struct {
	// Access is for the access texts, and its Prefix "" means "lapse". Policy.TTL is how
	// long an access secret lives, and 0 means 15 minutes. Policy.Renewal and MaxTTL are
	// for plain tokens that Pairs.Access() issues, and RenewDefault means RenewNever.
	// MaxTokens must be 0 or NoTokenLimit, since Refresh.Policy.MaxTokens limits
	// sessions: plain tokens are not limited.
	Access Config

	// Refresh is for the sessions and their refresh texts. Prefix "" means
	// "lapse_refresh"; it must differ from that of Access. Pairs that differ in either
	// prefix refresh no session of each other. Policy.TTL is how long a session lives
	// after the log-in and after each refresh, and 0 means 30 days; MaxTTL is how long
	// it lives in all, and 0 means 90 days, or TTL if longer. MaxTokens is how many
	// sessions a subject has; LimitDefault means LimitEndIdlest. Renewal, RenewEvery and
	// MaxDelegates have no meaning, nor has Retention, since Sweep of Access sweeps all.
	// A nil Clock, Admit or Observe is that of Access, and so is what is zero of
	// ClockGuard, ClockTolerance and ClockSettle. Both sides go by one time: leave Clock
	// and ClockGuard to Access.
	Refresh Config

	// Grace is for how long a refresh text that has been replaced gives the same
	// credentials again, to a client that lost the answer and to each of many that ask at
	// once, and the access text from before it still works; where the new access scope has
	// a word that the old one lacked, the old access text ends at once. Each refresh stores
	// the instant at which its grace ends, which is dead, and a repetition starts no new
	// one, writes nothing and is told to no observer. 0 means 10 seconds, or
	// Access.Policy.TTL if that is shorter; 60 seconds, and that TTL, are the most; NoGrace
	// is none. A session with a shorter Grant.TTL has a grace of that.
	Grace time.Duration
}

// Pairs makes sessions. A session is one record with two secrets: a short-lived access
// text authenticates, and a refresh text gets both replaced. The two texts have the ID of
// the session, and it ends as one, by either. Pairs is safe for concurrent use and has no
// state of its own.
type Pairs struct {
	access, refresh *Manager
	rules           *sessionRules
	grace           time.Duration // zero: none
}

// NewPairs returns Pairs that keep their sessions in store. PairConfig is validated
// once and never read again. ErrInvalidConfig names the field and its limit.
func NewPairs(store storage.Store, cfg PairConfig) (*Pairs, error) {
	a := cfg.Access
	if n := a.Policy.MaxTokens; n != 0 && n != NoTokenLimit {
		return nil, fmt.Errorf("PairConfig.Access: %w: Policy.MaxTokens: %d; Refresh.Policy.MaxTokens limits sessions, leave this 0", ErrInvalidConfig, n)
	}
	a.Policy.MaxTokens = NoTokenLimit
	a.Policy.TTL = cmp.Or(a.Policy.TTL, defaultAccessTTL)
	a.Policy.Renewal = cmp.Or(a.Policy.Renewal, RenewNever)
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
	return &Pairs{access, refresh, rules, grace}, nil
}

// refreshConfig returns Refresh with its defaults, and what it takes from Access.
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

// checkGrace returns how long the grace is where access secrets live for ttl.
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

// Access returns the Manager of the access texts, to authenticate them with. Its verbs
// by ID and by bearer end a session as Pairs do.
func (p *Pairs) Access() *Manager { return p.access }

// Issue stores a new session for g, which is a log-in. It is durable before it returns.
// Issue checks no credentials and does not ask Admit: call Identify first.
//
// Scope is that of the session, and of its access texts unless Refresh narrows them.
// Grant.TTL is the life of every access secret, 0 that of Access.Policy as it is now;
// Grant.SessionTTL is how long the session lives after the log-in and after each
// refresh, 0 that of Refresh.Policy. Each is ErrInvalidGrant over the MaxTTL of
// Refresh.Policy, and TTL over that of Access.Policy; so is any MaxUses. No access secret
// outlives the session.
//
// ErrLimit means that there is no room under Refresh.Policy, and nothing has changed. Of
// the store's errors, ErrOutcomeUnknown means that a session may exist, until it runs
// out, of which no client has a text. Its cost grows with the live records of the
// subject, unless MaxTokens is NoTokenLimit.
func (p *Pairs) Issue(ctx context.Context, g Grant) (TokenPair, error) {
	if err := p.check(&g); err != nil {
		return TokenPair{}, err
	}
	if err := g.spread(&p.access.policy); err != nil {
		return TokenPair{}, err
	}
	l := sessionDraft{p: p, grant: g}
	if err := l.save(ctx); err != nil {
		return TokenPair{}, err
	}
	p.refresh.tellEnded(ctx, l.room.evicted)
	p.refresh.tell(ctx, Event{Kind: EventIssued, At: l.rec.IssuedAt, Token: p.refresh.token(&l.rec)})
	c := p.pair(&l.rec, &l.access, &l.refresh, l.rec.IssuedAt)
	for _, tok := range l.room.evicted {
		c.Refresh.Evicted = append(c.Refresh.Evicted, tok.ID)
	}
	return c, nil
}

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
	if g.MaxUses != 0 {
		return invalidGrant("MaxUses", "%d; a session has no budget of uses", g.MaxUses)
	}
	return nil
}

// pair returns what the client of the session rec gets at now.
func (p *Pairs) pair(rec *storage.Record, access, refresh *bearer.Credential, now time.Time) TokenPair {
	seen := *rec
	var c TokenPair
	c.Refresh.Token, c.Refresh.Bearer = p.refresh.token(rec), refresh.TextAfter(p.refresh.prefix, p.refresh.begun)
	p.access.viewText(&seen, currentText)
	c.Access.Token, c.Access.Bearer = seen.Token, access.TextAfter(p.access.prefix, p.access.begun)
	c.ExpiresIn, c.Scope = Seconds(left(&c.Access.Token, now)), c.Access.Scope
	return c
}

// left returns how long tok lives from now.
func left(tok *Token, now time.Time) time.Duration {
	if !tok.Live(now) {
		return 0
	}
	return tok.ExpiresAt.Sub(now)
}

// Sessions yields the live sessions of subject that these Pairs made, in the order of
// their IDs. Of each it tells when it was logged in (IssuedAt), last refreshed
// (RotatedAt), last used (LastUsedAt), until when it lives unless it is refreshed
// (ExpiresAt), and which device it is (Name). Token.ID is what Manager.Expire and the
// keep of ExpireSubject take. The loop body may call any verb.
//
// An error that wraps ErrCorrupt stands for one record that is damaged, and the loop goes
// on; any other error is the last pair. ErrInvalidGrant means that no session can have
// such a subject.
func (p *Pairs) Sessions(ctx context.Context, subject string) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		var now time.Time
		ours := func(rec *storage.Record) bool {
			now = p.access.now() // before the record is judged, as Manager.fromEarlierEpoch demands
			return p.refresh.owns(rec)
		}
		for tok, err := range p.access.tokens(ctx, "sessions", subject, ours) {
			if err == nil && !tok.Live(now) {
				continue
			}
			if !yield(tok, err) {
				return
			}
		}
	}
}

// Peek judges a refresh text as Refresh would, and changes nothing: it returns the
// session whose text it is. A text that was replaced is ErrReplaced, except within its
// grace, and the session lives on. A new text that is shown to Peek alone counts as not
// presented. Errors are otherwise those of Refresh.
func (p *Pairs) Peek(ctx context.Context, refreshToken string) (Token, error) {
	_, tok, err := p.refresh.good(ctx, "peek pair", refreshToken)
	if err != nil {
		return Token{}, err
	}
	return tok, nil
}

// ExpireBearer ends the session whose text bearer is, access or refresh text, as its client
// logs out: with EndRevoked, and what was delegated from it with EndParent, in one
// transaction. A text that was replaced ends the session as well; a replaced refresh text
// does so with EndReused. It returns the session as it is then. To end what is dead
// already is no error. Admit is not asked. It is durable before it returns. Of a plain
// token of the access prefix it is Manager.ExpireBearer.
//
// Errors are ErrMalformed and ErrUnknown, ErrReplaced as from Manager.ExpireBearer, or
// the store's, ErrOutcomeUnknown among them. (RFC 7009 section 2.2 answers the first
// three like a success.)
func (p *Pairs) ExpireBearer(ctx context.Context, bearer string) (Token, error) {
	return p.managerOf(bearer).expireBearer(ctx, "expire bearer", bearer)
}

// managerOf returns the Manager whose prefix text has: that of access texts where it has
// another one, or is malformed.
func (p *Pairs) managerOf(text string) *Manager {
	var c bearer.Credential
	if prefix, ok := c.Parse(text, p.access.prefix, p.access.begun); ok && prefix == p.refresh.prefix {
		return p.refresh
	}
	return p.access
}
