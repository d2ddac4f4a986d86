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

// Manager issues, authenticates, renews and ends tokens in one store under one policy and
// one prefix. It is safe for concurrent use. Any number of Managers may share a store: a
// Manager has a goroutine and state of its own only while it holds connections (Hold). Make
// one with New.
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
	refreshes bool          // its texts are the refresh texts of those Pairs
	drafts    sync.Pool     // of *draft, for issue
	ended     atomic.Uint32 // the epoch up to which endEarlierEpochs has written the ends
	apart     atomic.Int32  // the number of goroutines of tellApart
}

// Config says how a Manager works. The zero Config is usable.
type Config struct {
	Policy Policy

	// Prefix is the first part of every token's text: a lower-case letter, then lower-case
	// letters, digits and underscores, 16 bytes at most, and no underscore at the end. ""
	// means "lapse". A token authenticates only under its own prefix.
	Prefix string

	// Clock tells the time; nil means the system clock. While a mock is set back, time
	// stands still until the mock has caught up. With GuardOff time goes back with it.
	Clock Clock

	// ClockGuard says what happens when Clock proves to have been wrong: when it has been
	// behind by more than ClockTolerance (0: 5 minutes) for longer than ClockSettle (0: 10
	// minutes). The zero value is GuardDefault.
	ClockGuard     ClockGuard
	ClockTolerance time.Duration
	ClockSettle    time.Duration

	// Admit is asked about each token before it is used, with the context of the caller. An
	// error that wraps ErrRefused refuses the token. Any other error means that Admit could
	// not tell, and the verb returns it. nil lets every token pass.
	//
	// Authenticate, Peek, Hold, Renew, Rotate and Delegate ask once the token is known to be
	// live, before the use counts, renews or is spent. Refresh of Pairs asks unless the text
	// is reused. Login and Identify ask once the credentials are known to be good, about a
	// Token without an ID. Issue, Obtain and the verbs that end tokens do not ask.
	Admit func(ctx context.Context, tok Token) error

	// Recheck is how often Admit is asked again about each token that connections are held
	// by (Hold), as the token is stored then. 0: never. A refusal cuts its connections. Any
	// other error cuts none, nor does a call that panics or takes longer than 10 seconds;
	// Observe is told of these.
	//
	// 8 calls run at a time. A call that takes longer than 10 seconds is given up: its
	// context ends, and it does not count among the 8. While 32 calls run in all, Admit is
	// asked about no other connection. The context of a call also ends with the last hold.
	Recheck time.Duration

	// PollHolds is how often the tokens of held connections are read again where the store
	// is no storage.Watcher or its Watch has failed. It is also how soon a token is read
	// again that could not be read. 0: 5 seconds. Memory and bolt are Watchers.
	PollHolds time.Duration

	// Observe is told of every issue, renewal, end and rejection, after its effect and
	// outside all locks. It runs in the goroutine that caused the event, with its context: a
	// slow Observe slows that call and no other. Events of held connections that no call
	// caused are told in goroutines of their own. While 64 of these run, further events are
	// dropped. A panic in one is told as EventHookFailed. nil: no event is told.
	Observe func(ctx context.Context, e Event)

	// Keys are the keys that Obtain derives secrets from: 32 random bytes each, which NewKey
	// makes a Key, no two the same. Obtain makes new secrets with the first key. It still
	// gives tokens again whose secrets were made with another one. So a new key goes to the
	// front, and the old one stays behind it until it is retired. Keep the keys apart from
	// the records. Without keys Obtain is refused.
	Keys []Key
}

// New returns a Manager that keeps its tokens in store. It validates cfg and keeps a copy.
// ErrInvalidConfig names the field and its limit.
//
// New starts no goroutine. The caller closes the store.
func New(store storage.Store, cfg Config) (*Manager, error) {
	return newManager(store, cfg, nil)
}

// newManager is New. On a store that neither keeps marks nor shares any, the Manager uses
// shared, or marks of its own if shared is nil.
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
	clock, err := cfg.clock()
	if err != nil {
		return nil, err
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
	m.checkMark()
	return m, nil
}

// clock returns Config.Clock, or the system clock if that is nil.
func (cfg *Config) clock() (Clock, error) {
	switch {
	case cfg.Clock == nil:
		return steady.NewSystem(), nil
	case isNil(cfg.Clock):
		return nil, fmt.Errorf("%w: Clock is a nil %T", ErrInvalidConfig, cfg.Clock)
	}
	return cfg.Clock, nil
}

// checkIntervals returns ErrInvalidConfig for a Recheck or PollHolds that no hold can keep.
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

// isNil reports whether v is nil, or holds a nil pointer, function, map, slice or channel.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return r.IsNil()
	}
	return false
}

// verdict returns err, which a transaction over the token of id returned. It tells Observe if
// err refuses the token. A record that is gone is ErrUnknown.
func (m *Manager) verdict(ctx context.Context, id ID, err error) error {
	switch {
	case errors.Is(err, errGone): // swept since the text was proved, after it had long been dead
		return m.refuse(ctx, &Rejection{Err: ErrUnknown, ID: id})
	case errors.Is(err, ErrUnauthenticated):
		return m.refuse(ctx, err)
	}
	return err
}

// token returns the token of rec as callers see it. The policy of m applies to tokens of its
// own prefix. Tokens of other prefixes keep the cap in their records.
func (m *Manager) token(rec *storage.Record) (tok Token) {
	m.tokenInto(rec, &tok)
	return tok
}

// tokenInto sets *tok to the token of rec as callers see it.
func (m *Manager) tokenInto(rec *storage.Record, tok *Token) {
	if *tok = rec.Token; m.fromEarlierEpoch(rec) {
		seen := *rec
		m.showClockEnd(&seen)
		*tok = seen.Token
	}
	m.view(rec, tok)
}

// view changes tok, the token of rec, into what callers see, in its place: its cap and its
// expiry are those of the policy that applies.
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

// viewText changes rec, which m owns, into what callers see for a text that found describes.
// For the access text of a session these are the expiry and the scope of that text. The
// caller has called showClockEnd.
func (m *Manager) viewText(rec *storage.Record, found standing) {
	if rec.Kind == KindPlain {
		m.policy.view(&rec.Token)
		return
	}
	m.view(rec, &rec.Token)
	s, ok := sessionOf(rec)
	if !ok || m.refreshes || !rec.EndedAt.IsZero() {
		return
	}
	until := s.accessExpires()
	if found == previousText {
		until = s.previousUntil()
	}
	rec.ExpiresAt, rec.Scope = capped(rec.ExpiresAt, until), s.accessScope()
}

// getIn returns the record of id in tx. The error is errGone if there is none, and
// errWrongRecord if tx returned another record.
func getIn(tx storage.Tx, id ID) (storage.Record, error) {
	rec, err := tx.Get(id)
	return rec, ofID(id, &rec, err)
}

// record returns the record of id in the store, with the errors of getIn.
func (m *Manager) record(ctx context.Context, id ID) (storage.Record, error) {
	rec, err := m.store.Get(ctx, id)
	return rec, ofID(id, &rec, err)
}

// ofID returns nil if rec, which a store returned with err for id, is the record of id.
func ofID(id ID, rec *storage.Record, err error) error {
	switch {
	case absent(err):
		return errGone
	case err == nil && rec.ID != id:
		return errWrongRecord
	}
	return fromOutside(err, storeErrors...)
}
