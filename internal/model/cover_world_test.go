package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
)

// world is the real side of a comparison with the model: Managers and Pairs on one store,
// and every text that they gave.
type world struct {
	ctx      context.Context
	clock    worldClock
	store    storage.Store // what the Managers use
	policies []*modelPolicy
	managers []*lapse.Manager
	pairs    []*lapse.Pairs
	setups   []*modelPairs // of pairs
	twin     *world        // where a record has a future that does not come about, or nil
	holds    []worldHold
	telling  sync.Mutex // guards told while a deed runs
	told     []string

	texts  []heldText
	salts  []heldSalt
	stored []storage.Record // after the last step

	model   *model // what the step under way is compared with
	between func() // what happens before the next write, once
	bearer  func(w *world, m *model, a *deed, bearer string) string
	after   func(w *world, m *model, a *deed, got *outcome)
	skip    func(m *model, a *deed) bool
	use     func(w *world, m *model, i int) error // in the place of the Hold.Use of the connection i
}

// worldClock is a clock that a world moves.
type worldClock interface {
	lapse.Clock
	Add(time.Duration)
}

// heldText is a text in hand.
type heldText struct {
	modelText
	bearer string
}

// heldSalt is a salt that a record had.
type heldSalt struct {
	record, generation int
	salt               string
}

type worldHold struct {
	hold    *lapse.Hold
	ctx     context.Context
	release context.CancelFunc
}

// useHold is Hold.Use by the connection i. Of one that is over the outcome is what the model
// knows of that.
func (w *world) useHold(m *model, i int) (o outcome, err error) {
	use := w.use
	if use == nil {
		use = func(w *world, _ *model, i int) error { return w.holds[i].hold.Use(w.ctx) }
	}
	if err = use(w, m, i); w.holds[i].ctx.Err() == nil {
		if err == nil {
			o.token = heldToken(w.holds[i].hold.Token())
		}
		return o, err
	}
	if o.failed(err); errors.Is(err, context.Canceled) {
		o.err = errReleased
	}
	o.rejected = lapse.Rejection{Reason: o.rejected.Reason}
	return o, nil
}

// worldSetup says which Managers and Pairs a world has. Those of a policy come first, then the
// Manager of each Pairs.
type worldSetup struct {
	policies []modelPolicy
	pairs    []modelPairs
	guard    lapse.ClockGuard
}

// build makes the Managers of s on store.
func build(s *worldSetup, clock worldClock, store storage.Store) (*world, error) {
	w := &world{ctx: context.Background(), clock: clock, store: store}
	config := func(p *modelPolicy) lapse.Config {
		cfg := lapsetest.Keyed(p.real(), p.keys...)
		cfg.Prefix, cfg.Clock, cfg.ClockGuard, cfg.Foreign = p.prefix, clock, s.guard, readForeign
		if _, bubble := clock.(bubbleClock); bubble {
			cfg.Clock = nil
		}
		cfg.Observe = func(_ context.Context, e lapse.Event) { w.hear(e) }
		return cfg
	}
	for n := range s.policies {
		p := &s.policies[n]
		m, err := lapse.New(store, config(p))
		if err != nil {
			return nil, err
		}
		w.policies, w.managers = append(w.policies, p), append(w.managers, m)
	}
	for n := range s.pairs {
		ps := &s.pairs[n]
		ps.access.sessions, ps.refresh.sessions = ps, ps
		ps.access.maxTokens = lapse.NoTokenLimit
		cfg := lapse.PairConfig{Access: config(&ps.access), Refresh: config(&ps.refresh), Grace: cmp.Or(ms(ps.grace), lapse.NoGrace)}
		cfg.Refresh.Foreign = nil
		pairs, err := lapse.NewPairs(store, cfg)
		if err != nil {
			return nil, err
		}
		w.setups, w.pairs = append(w.setups, ps), append(w.pairs, pairs)
		w.policies, w.managers = append(w.policies, &ps.access), append(w.managers, pairs.Access())
	}
	return w, nil
}

// newWorld is build in memory, and gives the world a twin.
func newWorld(s *worldSetup, clock worldClock, store storage.Store) (*world, error) {
	w, err := build(s, clock, store)
	if err == nil {
		w.twin, err = build(s, clock, lapsetest.NewByID())
	}
	return w, err
}

// hear notes the events that the model decides, too. The model leaves out that a connection begins or
// is cut, that an answer is given again, and that a verb could not tell: the tests beside event.go look
// at these.
func (w *world) hear(e lapse.Event) {
	switch e.Kind {
	case lapse.EventHeld, lapse.EventCut, lapse.EventRepeated, lapse.EventCouldNotTell:
		return
	}
	what := e.Kind.String()
	if e.Kind == lapse.EventEnded {
		what += " " + e.Token.EndReason.String()
	}
	w.telling.Lock() // an end by the scheduler is told in a goroutine of its own
	defer w.telling.Unlock()
	w.told = append(w.told, what)
}

// held returns the bearer of t, "" if it is not in hand.
func (w *world) held(t modelText) string {
	for _, h := range w.texts {
		if h.modelText == t {
			return h.bearer
		}
	}
	return ""
}

// spell returns the bearer of t as it is presented, "" if it is not in hand.
func (w *world) spell(m *model, t modelText) string {
	odd := t.odd
	t.odd = asMade
	bearer := w.held(t)
	if bearer == "" || odd == asMade {
		return bearer
	}
	r := &m.records[t.record]
	prefix, other := r.prefix, r.refreshPrefix
	if t.kind == refreshText {
		prefix, other = other, prefix
	}
	switch odd {
	case otherKind:
		return respell(bearer, prefix, other, r.id)
	case otherID:
		return respell(bearer, prefix, prefix, m.records[m.other(t.record)].id)
	}
	b := []byte(bearer)
	b[len(b)-1] ^= 1
	return string(b)
}

// contents are all records in the order of their IDs, appended to all.
func (w *world) contents(all []storage.Record) ([]storage.Record, error) {
	for rec, err := range w.store.List(w.ctx, storage.Filter{}) {
		if err != nil {
			return nil, err
		}
		all = append(all, rec)
	}
	return all, nil
}

// put replaces all that is stored.
func (w *world) put(all []storage.Record) error {
	if _, err := w.store.Sweep(w.ctx, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 1000); err != nil {
		return err
	}
	var subjects []string
	for _, rec := range all {
		if !slices.Contains(subjects, rec.Subject) {
			subjects = append(subjects, rec.Subject)
		}
	}
	for _, subject := range subjects {
		err := w.store.Update(w.ctx, subject, func(tx storage.Tx) error {
			for _, rec := range all {
				if rec.Subject == subject {
					if err := tx.Put(rec); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// twins are how many generations the other future of a record has.
const twins = 10

// branch takes the texts of another future of the record n, which has just come to be
// one whose secrets have tags.
func (w *world) branch(m *model, n int) error {
	r := &m.records[n]
	all, err := w.contents(nil)
	if err != nil {
		return err
	}
	if err := w.twin.put(all); err != nil {
		return err
	}
	add := func(kind secret, generation int, bearer string) {
		w.texts = append(w.texts, heldText{modelText{record: n, kind: kind, generation: generation, twin: true}, bearer})
	}
	w.texts = slices.Clip(w.texts)
	bearer, ctx := w.held(m.currentText(n, refreshText)), proving(r.bound)
	for generation := r.generation + 1; generation <= r.generation+twins; generation++ {
		if r.kind == lapse.KindSession {
			p := slices.IndexFunc(w.setups, func(ps *modelPairs) bool { return ps.access.knows(r) })
			c, err := w.twin.pairs[p].Refresh(ctx, bearer)
			if err != nil {
				return fmt.Errorf("another future: %w", err)
			}
			bearer = c.Refresh.Bearer
			add(accessText, generation, c.Access.Bearer)
			add(refreshText, generation, bearer)
			continue
		}
		p := slices.IndexFunc(w.policies, func(p *modelPolicy) bool { return p.prefix == r.prefix })
		i, err := w.twin.managers[p].RotateID(w.ctx, r.id, time.Millisecond)
		if err != nil {
			return fmt.Errorf("another future: %w", err)
		}
		add(plainText, generation, i.Bearer)
	}
	return nil
}

// gapped is a store on which something happens between a verb's reading and its writing.
type gapped struct {
	storage.Store
	w *world
}

func (g *gapped) fill() {
	if f := g.w.between; f != nil {
		g.w.between = nil
		f()
	}
}

func (g *gapped) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	g.fill()
	return g.Store.Update(ctx, subject, fn)
}

func (g *gapped) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	g.fill()
	return g.Store.Touch(ctx, id, use)
}

// errorClasses are what errors are told apart by, the more particular ones first.
var errorClasses = []error{
	lapse.ErrMalformed, lapse.ErrUnknown, lapse.ErrExpired, lapse.ErrRevoked, lapse.ErrSuspended, lapse.ErrReplaced, lapse.ErrExhausted, lapse.ErrReused, lapse.ErrRefused, lapse.ErrProof,
	lapse.ErrInvalidGrant, lapse.ErrLimit, lapse.ErrNotRenewable, lapse.ErrNotDelegable, lapse.ErrRotated, lapse.ErrScope, lapse.ErrNoKeys,
	lapse.ErrNotFound,
}

// failed sets what err says.
func (o *outcome) failed(err error) {
	if err == nil {
		return
	}
	o.err = err
	for _, class := range errorClasses {
		if errors.Is(err, class) {
			o.err = class
			break
		}
	}
	var r *lapse.Rejection
	if errors.As(err, &r) {
		o.rejected = *r
		o.rejected.Err = nil
	}
}

// countOf returns how many s yields, or the first error.
func countOf[T any](s iter.Seq2[T, error]) (n int, err error) {
	for _, e := range s {
		if e != nil {
			return n, e
		}
		n++
	}
	return n, nil
}
