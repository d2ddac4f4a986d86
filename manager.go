package lapse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
)

// Manager issues, authenticates, renews and ends tokens in one store under one
// policy and one prefix. It is safe for concurrent use. It has neither a goroutine nor
// a state of its own, but while it holds connections (Hold): any number of Managers may
// share a store. Make one with New.
type Manager struct {
	store     storage.Store
	reader    *table.Reader // of store
	policy    Policy        // with defaults
	prefix    string
	binding   bearer.Binding
	begun     uint32 // bearer.PrefixChecksum(prefix)
	clock     Clock
	time      *steady.Time   // nil with GuardOff
	marks     *storage.Marks // the store's, if it has any
	guarded   bool           // time can begin a new epoch
	strict    bool           // GuardStrict
	admission func(ctx context.Context, tok Token) error
	observe   func(context.Context, Event)
	keys      []bearer.Key // of Config.Keys, the one in use first
	holds     *hold.Scheduler
	rules     *sessionRules // of the Pairs that this Manager belongs to, or nil
	refreshes bool          // its texts refresh the sessions of those Pairs
	drafts    sync.Pool     // of *draft, for issue
	ended     atomic.Uint32 // the epoch for which the tokens of earlier ones have been ended in their records
	apart     atomic.Int32  // how many goroutines of tellApart there are
}

// Config says how a Manager works. The zero Config is usable.
type Config struct {
	Policy Policy

	// Prefix is the first part of every token's text: a lower-case letter, then
	// lower-case letters, digits and underscores, 16 bytes at most, no underscore
	// at the end; "" means "lapse". A token authenticates under its own prefix
	// only.
	Prefix string

	// Clock tells the time; nil means the system clock. While a mock is set back, time
	// stands still until the mock has caught up. With GuardOff time goes back with it.
	Clock Clock

	// ClockGuard says what happens when Clock proves to have been wrong; zero value:
	// GuardDefault. It did when it is behind by more than ClockTolerance, 0: 5 minutes,
	// for longer than ClockSettle, 0: 10 minutes.
	ClockGuard     ClockGuard
	ClockTolerance time.Duration
	ClockSettle    time.Duration

	// Admit is asked on every Authenticate, Peek, Hold, Renew, Rotate and Delegate, once
	// the token is known to be live and before its use counts, renews or is spent, on
	// every Refresh of Pairs that is not a reuse, and on every Login and Identify once the
	// credentials are known to be good: then about a Token without an ID. Issue, Obtain
	// and what ends tokens do not ask. Admit can narrow what a token opens, never widen
	// it: an error that wraps ErrRefused refuses the token; any other error means "could
	// not tell" and is what the verb returns. ctx is the caller's. nil lets every token
	// pass.
	Admit func(ctx context.Context, tok Token) error

	// Recheck is how often Admit is asked again about each token that connections are held
	// by (Hold), as it is stored then. A refusal cuts its connections; any other error cuts
	// none, nor does a call that panics or takes longer than 10
	// seconds, and Observe is told. 8 calls run at a time, and 32 at most with those that
	// have taken longer: while so many hang, of no other connection is Admit asked. Their
	// context ends with the last hold, or when they are given up. 0: never.
	Recheck time.Duration

	// PollHolds is how often the tokens of held connections are read again where the
	// store is no storage.Watcher, or its Watch has failed, and how soon a token is that
	// could not be read; 0: 5 seconds. Memory and bolt are Watchers.
	PollHolds time.Duration

	// Observe is told of every issue, renewal, end and rejection, after its effect,
	// outside all locks, in the goroutine that caused it and with its context: a slow
	// Observe makes that call slow and no other. Of what happens to held connections by
	// itself Observe is told in goroutines of their own; while 64 of them run, more is not
	// told, and a panic there is told as EventHookFailed. nil tells of nothing.
	Observe func(ctx context.Context, e Event)

	// Keys are what Obtain derives secrets from: 32 random bytes each, made Keys by
	// NewKey, no two the same. The first is in use; the tokens of the others are still
	// given again, so a new key goes to the front and an old one behind it until it is
	// retired. Keep them where the records are not. None: Obtain is refused.
	Keys []Key
}

// New returns a Manager that keeps its tokens in store. Config is validated once
// and never read again. ErrInvalidConfig names the field and its limit.
//
// New starts nothing. The store remains the caller's to close.
func New(store storage.Store, cfg Config) (*Manager, error) {
	return newManager(store, cfg, nil)
}

// newManager is New. On a store that neither keeps marks nor shares any, the Manager goes
// by those of shared, or if that is nil by its own.
func newManager(store storage.Store, cfg Config, shared *storage.Marks) (*Manager, error) {
	if isNil(store) {
		return nil, fmt.Errorf("%w: store is nil; memory.New and bolt.Open make one", ErrInvalidConfig)
	}
	policy, err := cfg.Policy.withDefaults()
	if err != nil {
		return nil, err
	}
	prefix := cmp.Or(cfg.Prefix, "lapse")
	if err := bearer.CheckPrefix(prefix); err != nil {
		return nil, fmt.Errorf("%w: Prefix: %w", ErrInvalidConfig, err)
	}
	if err := cfg.checkIntervals(); err != nil {
		return nil, err
	}
	clock := cfg.Clock
	switch {
	case clock == nil:
		clock = steady.NewSystem()
	case isNil(clock):
		return nil, fmt.Errorf("%w: Clock is a nil %T", ErrInvalidConfig, clock)
	}
	keys, err := newKeys(cfg.Keys)
	if err != nil {
		return nil, err
	}
	marks, guard, err := cfg.guard(clock, store, policy.Retention, shared)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		store:     store,
		reader:    table.ReaderOf(store),
		policy:    policy,
		prefix:    prefix,
		binding:   bearer.NewBinding(prefix),
		begun:     bearer.PrefixChecksum(prefix),
		clock:     clock,
		time:      guard,
		marks:     marks,
		guarded:   guard != nil && guard.Epochs(),
		strict:    cfg.ClockGuard == GuardStrict,
		admission: cfg.Admit,
		observe:   cfg.Observe,
		keys:      keys,
	}
	m.holds = hold.New(m.holdConfig(&cfg))
	m.claim()
	return m, nil
}

// checkIntervals refuses what a hold cannot keep to.
func (cfg *Config) checkIntervals() error {
	if err := checkDuration(cfg.Recheck, false); err != nil {
		return fmt.Errorf("%w: Recheck: %w", ErrInvalidConfig, err)
	}
	if err := checkDuration(cfg.PollHolds, false); err != nil {
		return fmt.Errorf("%w: PollHolds: %w", ErrInvalidConfig, err)
	}
	if cfg.Recheck > 0 && cfg.Admit == nil {
		return fmt.Errorf("%w: Recheck: there is no Admit to ask", ErrInvalidConfig)
	}
	return nil
}

// isNil also sees the nil pointer, function or map inside an interface that is
// not nil.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return r.IsNil()
	}
	return false
}

// verdict returns err, which a transaction over the token of id returned, and tells of
// it if that refuses the token.
func (m *Manager) verdict(ctx context.Context, id ID, err error) error {
	switch {
	case errors.Is(err, errGone): // swept since it was proved, so it had long been dead
		return m.refuse(ctx, &Rejection{Err: ErrUnknown, ID: id})
	case errors.Is(err, ErrUnauthenticated):
		return m.refuse(ctx, err)
	}
	return err
}

// token returns what everyone sees of rec. This Manager's cap is for the tokens
// of its own prefix; those of another one it only administers.
func (m *Manager) token(rec *storage.Record) (tok Token) {
	m.show(rec, &tok)
	return tok
}

// show sets tok to token of rec.
func (m *Manager) show(rec *storage.Record, tok *Token) {
	if *tok = rec.Token; m.earlier(rec) {
		seen := *rec
		m.endedByClock(&seen)
		*tok = seen.Token
	}
	m.view(rec, tok)
}

// view makes of tok, the token of rec, what everyone sees of it.
func (m *Manager) view(rec *storage.Record, tok *Token) {
	switch {
	case rec.Kind == KindSession && m.rules.made(rec):
		m.rules.policy.view(tok)
	case rec.Kind == KindPlain && tok.Prefix == m.prefix:
		m.policy.view(tok)
	default:
		tok.ExpiresAt = capped(tok.ExpiresAt, tok.MaxExpiresAt)
	}
}

// viewText makes of rec, which this Manager owns, what everyone sees of it by a text that
// works: of a session by an access text, no more than that opens. What the clock has
// ended is ended in rec already.
func (m *Manager) viewText(rec *storage.Record, found standing) {
	if rec.Kind == KindPlain {
		m.policy.view(&rec.Token)
		return
	}
	m.view(rec, &rec.Token)
	s, ok := sessionOf(rec)
	if !ok || m.refreshes || !rec.EndedAt.IsZero() { // stands has read it; the end says when it died
		return
	}
	until := s.accessExpires()
	if found == previousText {
		until = s.previousUntil()
	}
	rec.ExpiresAt, rec.Scope = capped(rec.ExpiresAt, until), s.accessScope()
}

// getIn returns the record of id in tx, and nothing else that tx may say. Without one the
// error is errGone.
func getIn(tx storage.Tx, id ID) (storage.Record, error) {
	rec, err := tx.Get(id)
	return rec, ofID(id, &rec, err)
}

// record returns the record of id, and nothing else that the store may say. Without one
// the error is errGone.
func (m *Manager) record(ctx context.Context, id ID) (storage.Record, error) {
	rec, err := m.store.Get(ctx, id)
	return rec, ofID(id, &rec, err)
}

// ofID returns what is wrong with rec, which a store returned with err for id.
func ofID(id ID, rec *storage.Record, err error) error {
	switch {
	case absent(err):
		return errGone
	case err == nil && rec.ID != id:
		return errWrongRecord
	}
	return fromOutside(err, storeErrors...)
}
