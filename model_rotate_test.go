package lapse_test

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// rotate makes a successor of t, before it has an ID, and lets t live on for the overlap.
func (m *model) rotate(t *modelToken, overlap int64, p modelPolicy) (next *modelToken, err error) {
	if overlap > p.maxTTL {
		return nil, lapse.ErrInvalidGrant
	}
	if err := m.judge(t, p); err != nil {
		return nil, err
	}
	used := func(s *modelToken) bool {
		delegated := func(d *modelToken) bool { return d.parent == s && !d.swept }
		return s.swept || s.used != never || s.successor != nil || slices.ContainsFunc(m.tokens, delegated)
	}
	switch {
	case t.paired:
		return nil, lapse.ErrNotRenewable
	case t.uses > 0 && overlap > 0:
		return nil, lapse.ErrInvalidGrant
	case t.successor != nil && used(t.successor):
		return nil, lapse.ErrRotated
	}
	next = m.draft(p, lapse.Grant{
		Subject: t.subject, Name: t.name, Scope: t.scope, Data: t.data, TTL: time.Duration(t.ttl) * time.Millisecond, MaxUses: t.uses,
	})
	if t.key != 0 && len(p.keys) > 0 {
		next.key = p.keys[0]
	}
	if s := t.successor; s != nil && m.lives(s) {
		m.end(s, lapse.EndRotated)
		s.successor = next
	}
	m.succeed(t, next, overlap, p)
	return next, nil
}

// succeed makes next the successor of t. What t replaces has had its time.
func (m *model) succeed(t, next *modelToken, overlap int64, p modelPolicy) {
	if t.family == nil {
		t.family = t
	}
	next.family, next.predecessor, next.left = t.family, t, t.left
	next.under(t.parent, p)
	t.successor = next
	m.endPredecessor(t, lapse.EndRotated)
	if overlap == 0 {
		m.endTied(t, lapse.EndRotated)
		return
	}
	t.expires = min(m.now+overlap, t.expires, t.capOf(p))
	t.limit = t.expires
}

// obtain finds the token of g, or says what there has to be instead: a new one, before
// it has an ID, and who goes for it.
func (m *model) obtain(g lapse.Grant, p modelPolicy) (t *modelToken, reused bool, evicted []*modelToken, err error) {
	switch {
	case len(p.keys) == 0:
		return nil, false, nil, lapse.ErrNoKeys
	case g.TTL.Milliseconds() > p.maxTTL:
		return nil, false, nil, lapse.ErrInvalidGrant
	}
	held := m.held(g, p)
	if held != nil && slices.Contains(p.keys, held.key) {
		if p.renewal != lapse.RenewNever {
			m.use(held, p, true)
		}
		return held, true, nil, nil
	}
	t = m.draft(p, g)
	t.key = p.keys[0]
	if held != nil {
		m.succeed(held, t, 0, p)
		return t, false, nil, nil
	}
	evicted, err = m.room(g.Subject, p, false)
	return t, false, evicted, err
}

// held is the newest live token that Obtain made for what g asks for, nil if there is none.
func (m *model) held(g lapse.Grant, p modelPolicy) (held *modelToken) {
	for _, t := range m.tokens {
		fits := t.subject == g.Subject && t.prefix == p.prefix && t.name == g.Name && t.scope == g.Scope && t.uses == g.MaxUses
		if !fits || t.key == 0 || t.successor != nil || !m.live(t, p) {
			continue
		}
		if held == nil || t.issued > held.issued || t.issued == held.issued && t.id > held.id {
			held = t
		}
	}
	return held
}
