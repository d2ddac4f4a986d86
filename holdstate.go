package lapse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

const defaultPollHolds = 5 * time.Second // Config.PollHolds

// holdConfig returns what the scheduler of held connections needs of m. cfg has the
// intervals.
func (m *Manager) holdConfig(cfg *Config) hold.Config {
	_, elapses := m.clock.(steady.Elapser)
	h := hold.Config{
		Recheck:      cfg.Recheck,
		Poll:         cmp.Or(cfg.PollHolds, defaultPollHolds),
		Elapses:      elapses,
		Marks:        m.marks,
		Now:          m.now,
		After:        m.clock.After,
		FollowClock:  m.followClockHeld,
		Read:         m.holdState,
		Check:        m.checkHeld,
		CheckFailed:  m.tellCheckFailed,
		Exhaust:      m.exhaust,
		RanOut:       heldRanOut,
		Replaced:     heldReplaced,
		Cut:          m.heldCut,
		ByGeneration: ofGeneration,
	}
	if watcher, ok := m.store.(storage.Watcher); ok {
		h.Watch = watchHeld(watcher)
	}
	if getter := m.batchGetter(); getter != nil {
		h.ReadAll = m.holdStates(getter)
	}
	return h
}

// watchHeld returns watcher.Watch with errors that this package may show to its callers.
func watchHeld(watcher storage.Watcher) func(context.Context) iter.Seq2[storage.Change, error] {
	return func(ctx context.Context) iter.Seq2[storage.Change, error] {
		return func(yield func(storage.Change, error) bool) {
			for change, err := range watcher.Watch(ctx) {
				if err != nil {
					err = storeError(VerbHold, err)
				}
				if !yield(change, err) {
					return
				}
			}
		}
	}
}

// holdState reads the token of id and its ancestors, and returns what that means for the
// connections of the token. The state was true at some instant during the call.
func (m *Manager) holdState(ctx context.Context, id ID) hold.State {
	return m.holdStateBy(id, m.getter(ctx))
}

// errForgotten is the reason why connections are cut whose token has no record any more.
var errForgotten = fmt.Errorf("%w: its record was deleted", ErrUnknown)

// holdStateBy is holdState by the records that get returns.
func (m *Manager) holdStateBy(id ID, get func(ID) (storage.Record, error)) (st hold.State) {
	rec, err := get(id)
	err = ofID(id, &rec, err)
	switch {
	case errors.Is(err, errGone):
		st.Cause = &Rejection{Err: errForgotten, ID: id}
		return st
	case errors.Is(err, ErrClosed):
		st.Cause = storeError(VerbHold, err)
		return st
	case err != nil:
		st.Unreadable = true
		return st
	}
	tok := m.token(&rec)
	if !tok.EndedAt.IsZero() {
		st.Cause = expired(&tok, tok.Generation)
		return st
	}
	if st.Ancestors, st.Cause, err = m.underHeld(&tok, get); err != nil {
		st.Unreadable = true
	}
	if st.Unreadable || st.Cause != nil {
		return st
	}
	st.Generation, st.Floor, st.ExpiresAt = rec.Generation, floorOf(&rec), capped(tok.ExpiresAt, accessEnd(&rec))
	tok.ExpiresAt = st.ExpiresAt
	st.Cause = unusable(&tok, tok.Generation, m.now())
	return st
}

// accessEnd returns when the access secret of rec expires, or the zero time if rec is no
// session.
func accessEnd(rec *storage.Record) (end time.Time) {
	if s, ok := sessionOf(rec); ok && rec.Kind == KindSession {
		end = s.accessExpires()
	}
	return end
}

// underHeld gets the ancestors of tok, limits tok by them, and returns their IDs. cause is
// not nil if an ancestor was ended: the records of its delegates may show that later.
func (m *Manager) underHeld(tok *Token, get func(ID) (storage.Record, error)) (ancestors []ID, cause, err error) {
	if tok.Parent == (ID{}) {
		return nil, nil, nil
	}
	_, err = m.clamp(tok, func(id ID) (storage.Record, error) {
		ancestors = append(ancestors, id)
		return get(id)
	})
	if err == nil && !tok.EndedAt.IsZero() {
		cause = expired(tok, tok.Generation)
	}
	return ancestors, cause, err
}

// checkHeld asks Admit about the token of id as it is stored now, for a connection whose values
// ctx has. If Admit refuses, refused is the cause for the connection. If Admit could not tell, failed says why.
func (m *Manager) checkHeld(ctx context.Context, id ID, subject string) (refused, failed error) {
	err := m.admitAgain(ctx, id)
	if errors.Is(err, ErrRefused) {
		return &Rejection{Err: fromOutside(err, ErrUnauthenticated, ErrRefused), ID: id, Subject: subject}, nil
	}
	return nil, err
}

// admitAgain returns what Admit says of the token of id as it is stored now. It returns nil
// and does not ask Admit if the token is dead or suspended: that cuts the connections by itself.
func (m *Manager) admitAgain(ctx context.Context, id ID) error {
	rec, err := m.record(ctx, id)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return storeError(VerbHold, err)
	}
	m.showClockEnd(&rec)
	m.viewText(&rec, currentText)
	tok := rec.Token
	if _, err := m.clampStored(ctx, VerbHold, &tok); err != nil || unusable(&tok, 0, m.now()) != nil {
		return err
	}
	return m.admission(ctx, tok)
}

// tellCheckFailed tells Observe that Admit, asked about the token of id, could not tell.
func (m *Manager) tellCheckFailed(id ID, subject string, err error) {
	m.tellApart(VerbHold, Event{Kind: EventHookFailed, At: m.now(), Token: Token{ID: id, Subject: subject},
		Err: fmt.Errorf("lapse: hold: Admit could not tell: %w", fromOutside(err, ErrUnavailable))})
}

// maxCuts is how many cuts can wait until Observe is told of them. If Observe hangs, later cuts are
// counted and not told.
const maxCuts = 1 << 20

// cuts are the cuts of held connections that Observe is to be told of. One goroutine at a time tells
// of them, one after the other: a logout of many connections is many events at once.
type cuts struct {
	mu      sync.Mutex
	waiting []cut
	telling bool // the goroutine runs
}

// cut is the end of a held connection by cause.
type cut struct {
	at    time.Time
	cause error
}

// add adds all to the cuts that wait, and reports whether the caller is to start the goroutine.
func (c *cuts) add(all []cut) (start bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, all[:min(len(all), maxCuts-len(c.waiting))]...)
	start = !c.telling && len(c.waiting) > 0
	c.telling = c.telling || start
	return start
}

// take returns the cuts that wait. If there are none, the goroutine is over.
func (c *cuts) take() []cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waiting
	c.waiting = nil
	c.telling = len(all) > 0
	return all
}

// heldCut counts the connections that were cut with causes, and has Observe told of each. One whose
// cause is nil had been left by the client before, and counts as released.
func (m *Manager) heldCut(causes []error) {
	var all []cut
	for _, cause := range causes {
		if cause == nil {
			m.count(VerbRelease, outcomeOK, 1)
			continue
		}
		m.count(VerbCut, outcomeOf(cause), 1)
		if m.observe != nil {
			all = append(all, cut{m.now(), cause})
		}
	}
	if m.cuts.add(all) {
		go m.tellCuts()
	}
}

// tellCuts tells Observe of the cuts that wait, until none does.
func (m *Manager) tellCuts() {
	for all := m.cuts.take(); len(all) > 0; all = m.cuts.take() {
		for _, c := range all {
			m.tellSafely(VerbHold, refusedEvent(EventCut, c.at, c.cause))
		}
	}
}

// heldRanOut returns the cause for the connections of a token that expired while the store
// could not be read.
func heldRanOut(id ID, subject string, expiry time.Time) error {
	return &Rejection{Err: ErrExpired, ID: id, Subject: subject, At: expiry}
}

// heldReplaced returns the cause for a connection whose text had a secret of generation,
// which was replaced with an overlap of 0.
func heldReplaced(id ID, subject string, generation uint32) error {
	return &Rejection{Err: ErrReplaced, ID: id, Subject: subject, Generation: generation}
}

// ofGeneration returns cause, of a token, for a connection whose text had a secret of
// generation.
func ofGeneration(cause error, generation uint32) error {
	r, ok := cause.(*Rejection)
	if !ok || r.Generation == generation {
		return cause
	}
	own := *r
	own.Generation = generation
	return &own
}
