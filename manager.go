package lapse

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/counter"
	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
)

// Manager issues, authenticates, renews and ends tokens in one store under one policy and
// one prefix. It is safe for concurrent use. Any number of Managers may share a store. New makes a
// Manager. It has goroutines only for held connections (Hold) and for Await of its DeviceLogins.
type Manager struct {
	store     storage.Store
	reader    *table.Reader     // of store
	cache     storage.Cacher    // store, if it has copies at hand; else nil
	byID      storage.IDUpdater // store, if it is one; else nil
	policy    Policy            // with defaults
	prefix    string
	binding   bearer.Binding
	clock     Clock
	time      *steady.Time   // nil with GuardOff
	marks     *storage.Marks // the store's, if it has any
	guarded   bool           // time can begin a new epoch
	strict    bool           // GuardStrict
	witnessed bool           // time asks the clock of the store, too
	admission func(ctx context.Context, tok Token) error
	foreign   func(text string) (key string, digest []byte, ok bool)
	observe   func(context.Context, Event)
	keys      []bearer.Key // of Config.Keys, the one in use first
	holds     *hold.Scheduler
	rules     *sessionRules  // of the Pairs that this Manager belongs to, or nil
	refreshes bool           // its texts are the refresh texts of those Pairs
	counts    *counter.Table // by statIndex; nil: nothing is counted
	drafts    sync.Pool      // of *draft, for issue
	ended     atomic.Uint32  // the epoch up to which endEarlierEpochs has written the ends
	apart     atomic.Int32   // the number of goroutines of tellApart
	cuts      hold.Cuts      // that Observe is to be told of
}

// New returns a Manager that keeps its tokens in store. It validates cfg and keeps a copy.
// ErrInvalidConfig names the field and its limit.
//
// New starts no goroutine. The caller closes the store.
func New(store storage.Store, cfg Config) (*Manager, error) {
	return newManager(store, cfg, nil)
}

// newManager is New. On a store that is neither a storage.Marker nor a storage.MarkSharer, the Manager
// uses shared, or marks of its own if shared is nil.
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
		cache:     cacherOf(store),
		byID:      idUpdaterOf(store),
		policy:    policy,
		prefix:    prefix,
		binding:   bearer.NewBinding(prefix),
		clock:     clock,
		time:      guard,
		marks:     marks,
		guarded:   guard != nil && guard.Epochs(),
		strict:    cfg.ClockGuard == GuardStrict,
		witnessed: guard != nil && guard.Witnessed(),
		admission: cfg.Admit,
		foreign:   cfg.Foreign,
		observe:   cfg.Observe,
		keys:      keys,
		counts:    counter.New(statCount),
	}
	m.holds = hold.New(m.holdConfig(&cfg))
	m.checkMark()
	return m, nil
}

// Prefix returns the prefix of the texts of m: Config.Prefix, or "lapse".
func (m *Manager) Prefix() string { return m.prefix }
