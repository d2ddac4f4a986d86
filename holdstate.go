package lapse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
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

// heldCut counts the connections that were cut with causes, and has Observe told of each. One whose
// cause is nil had been left by the client before, and counts as released.
func (m *Manager) heldCut(causes []error) {
	var all []hold.Cut
	for _, cause := range causes {
		if cause == nil {
			m.count(VerbRelease, outcomeOK, 1)
			continue
		}
		m.count(VerbCut, outcomeOf(cause), 1)
		if m.observe != nil {
			all = append(all, hold.Cut{At: m.now(), Cause: cause})
		}
	}
	if m.cuts.Add(all) {
		go m.tellCuts()
	}
}

// tellCuts tells Observe of the cuts that wait, until none does.
func (m *Manager) tellCuts() {
	for all := m.cuts.Take(); len(all) > 0; all = m.cuts.Take() {
		for _, c := range all {
			m.tellSafely(VerbHold, refusedEvent(EventCut, c.At, c.Cause))
		}
	}
}

// holdStates returns holdState for many tokens at once, as getter reads them. The tokens above
// delegates are read together, too: one call of Gets for each level of delegation.
func (m *Manager) holdStates(getter storage.BatchGetter) func(ctx context.Context, ids []ID, alive func()) []hold.State {
	return func(ctx context.Context, ids []ID, alive func()) []hold.State {
		b := readBatch(ctx, getter, ids, alive)
		states := make([]hold.State, len(ids))
		for i, id := range ids {
			states[i] = m.holdStateBy(id, b.get)
		}
		return states
	}
}

// batch has the answers of several calls of Gets.
type batch struct {
	getter  storage.BatchGetter
	answers map[ID]answer
	alive   func() // called for every pair that Gets yields
}

// answer is what a Get of the record would have returned.
type answer struct {
	rec storage.Record
	err error
}

// readBatch returns the answers for ids and for all tokens above them.
func readBatch(ctx context.Context, getter storage.BatchGetter, ids []ID, alive func()) *batch {
	b := &batch{getter: getter, answers: make(map[ID]answer, len(ids)), alive: alive}
	for wanted := ids; len(wanted) > 0; {
		b.read(ctx, wanted)
		wanted = b.parents(wanted)
	}
	return b
}

// batchGetter returns the store as a BatchGetter, or nil if it is none.
func (m *Manager) batchGetter() storage.BatchGetter {
	if getter, ok := m.store.(storage.BatchGetter); ok && getter.GetsFor(m.store) {
		return getter
	}
	return nil
}

// getterOf returns a function that gets the records of ids and of all tokens above them: those that
// a BatchGetter has read, or else Store.Get.
func (m *Manager) getterOf(ctx context.Context, ids []ID) func(ID) (storage.Record, error) {
	if getter := m.batchGetter(); getter != nil {
		return readBatch(ctx, getter, ids, func() {}).get
	}
	return m.getter(ctx)
}

// get returns the answer for id. holdStateBy calls it instead of Store.Get.
func (b *batch) get(id ID) (storage.Record, error) {
	a := b.answers[id]
	return a.rec, a.err
}

// read sets the answers for ids. An ID that Gets has not yielded is absent if Gets came to its
// end, and otherwise has the error of Gets.
func (b *batch) read(ctx context.Context, ids []ID) {
	for _, id := range ids {
		b.answers[id] = answer{err: storage.ErrNotFound}
	}
	err := b.readUntilError(ctx, ids)
	for _, id := range ids {
		if err != nil && b.answers[id].err == storage.ErrNotFound {
			b.answers[id] = answer{err: err}
		}
	}
}

// readUntilError sets what Gets yields, and returns the error that ended it. A record that was not
// asked for, and an absence that is told as an error, are ErrCorrupt. After these, and after ctx has
// ended, nothing that is missing can be taken for absent.
func (b *batch) readUntilError(ctx context.Context, ids []ID) error {
	for rec, err := range b.getter.Gets(ctx, ids) {
		b.alive()
		_, asked := b.answers[rec.ID]
		switch {
		case absent(err), !asked && (err == nil || damaged(err)):
			return errWrongRecord
		case err != nil && !damaged(err):
			return err
		}
		b.answers[rec.ID] = answer{rec, err}
	}
	return ctx.Err() // a store may end without an error where its context ends
}

// parents returns the IDs of the parents of the records of ids that have not been looked for.
func (b *batch) parents(ids []ID) (above []ID) {
	for _, id := range ids {
		parent := b.answers[id].rec.Parent
		if _, ok := b.answers[parent]; !ok && parent != (ID{}) {
			above = append(above, parent)
		}
	}
	slices.SortFunc(above, ID.Compare)
	return slices.Compact(above)
}
