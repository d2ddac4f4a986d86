package model

import (
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// modelHold is a connection.
type modelHold struct {
	record, generation int
	cut                error // nil while it is held; errReleased once its holder let go
	reason             lapse.EndReason
	asked              bool // Use was called, so that the connection may know when the next use is due
}

var errReleased = errors.New("released")

// hold is Hold. Its answer is that of Authenticate.
func (m *model) hold(p *modelPolicy, t modelText) outcome {
	o := m.authenticate(p, t, toHold)
	if o.err == nil {
		m.holds = append(m.holds, modelHold{record: t.record, generation: t.generation})
	}
	return o
}

// heldToken is what Hold.Token shows at once of a change.
func heldToken(tok lapse.Token) lapse.Token {
	tok.LastUsedAt, tok.ExpiresAt = time.Time{}, time.Time{}
	return tok
}

// useHold is Hold.Use by the connection i.
func (m *model) useHold(p *modelPolicy, i int) outcome {
	h := &m.holds[i]
	r := &m.records[h.record]
	switch {
	case h.cut != nil:
		return outcome{err: h.cut, rejected: lapse.Rejection{Reason: h.reason}}
	case r.swept:
		m.tell("rejected")
		return outcome{err: lapse.ErrUnknown, rejected: lapse.Rejection{ID: r.id}}
	case r.uses > 0:
		return outcome{err: lapse.ErrNotRenewable}
	}
	h.asked = true
	before := m.by(p, r, isCurrent)
	o := outcome{token: heldToken(m.token(before))}
	if r.kind == lapse.KindPlain && r.generation != h.generation {
		return o
	}
	if r.unused || p.due(&before, m.now) {
		m.useSecret(r)
		m.use(p, r, &before)
	}
	if m.by(p, r, isCurrent).expires > before.expires {
		m.tell("renewed")
	}
	return o
}

// held reports whether a connection is held by the token n.
func (m *model) held(n int) bool {
	for _, h := range m.holds {
		if h.record == n && h.cut == nil {
			return true
		}
	}
	return false
}

// holdsBy reports whether a connection is held by r.
func (m *model) holdsBy(r *modelRecord) bool {
	for n := range m.records {
		if &m.records[n] == r {
			return m.held(n)
		}
	}
	return false
}

// release lets go of the connection i, and ends a token without uses left that has no
// other one.
func (m *model) release(i int) {
	h := &m.holds[i]
	h.cut = errReleased
	m.exhaust(h.record)
}

func (m *model) exhaust(n int) {
	if r := &m.records[n]; r.uses > 0 && r.left == 0 && m.lives(r) && !m.held(n) {
		m.end(r, lapse.EndExhausted)
	}
}

// cutHolds ends the connections that have no right to go on.
func (m *model) cutHolds(p *modelPolicy) {
	for i := range m.holds {
		h := &m.holds[i]
		if h.cut != nil {
			continue
		}
		r := &m.records[h.record]
		s := m.by(p, r, isCurrent)
		switch {
		case r.swept: // it had no uses left, so that its end cut nothing
			if m.now >= r.expires || r.forgotten {
				h.cut = lapse.ErrUnknown
			}
		case s.ended != unset:
			h.cut, h.reason = lapse.ErrRevoked, s.reason
		case h.generation < r.floor:
			h.cut = lapse.ErrReplaced
		case m.now >= s.expires && s.uses > 0 && s.left <= 0:
			h.cut = lapse.ErrExhausted
		case m.now >= s.expires:
			h.cut = lapse.ErrExpired
		case s.suspended != unset:
			h.cut = lapse.ErrSuspended
		}
		if h.cut != nil {
			m.exhaust(h.record)
		}
	}
}
