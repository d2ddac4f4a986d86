package model

import (
	"cmp"
	"slices"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// logIn is Issue of Pairs. id is that of the session, if there is to be one.
func (m *model) logIn(ps *modelPairs, g lapse.Grant, id lapse.ID) outcome {
	ttl, idle, limit := g.TTL.Milliseconds(), g.SessionTTL.Milliseconds(), ps.refresh.maxTTL
	if ttl > ps.access.maxTTL || ttl > limit || idle > limit || g.MaxUses != 0 {
		return outcome{err: lapse.ErrInvalidGrant}
	}
	evicted, err := m.room(&ps.refresh, &ps.access, lapse.KindSession, g.Subject)
	if err != nil {
		return outcome{err: err}
	}
	g.TTL = g.SessionTTL
	r := m.draft(&ps.refresh, g)
	r.kind, r.prefix, r.refreshPrefix, r.accessScope = lapse.KindSession, ps.access.prefix, ps.refresh.prefix, g.Scope
	r.accessTTL = cmp.Or(ttl, ps.access.ttl)
	r.accessExpires = min(m.now+r.accessTTL, r.expires)
	n := m.add(r, id)
	m.tell("issued")
	o := m.credentials(ps, n)
	o.evicted = evicted
	return o
}

// credentials are what the client of the session n gets.
func (m *model) credentials(ps *modelPairs, n int) outcome {
	r := &m.records[n]
	s := m.by(&ps.access, r, isCurrent)
	o := outcome{
		token: m.token(s), session: m.token(m.seen(&ps.refresh, r)),
		given: []modelText{m.currentText(n, accessText), m.currentText(n, refreshText)},
	}
	if s.live(m.now) {
		o.left = s.expires - m.now
	}
	return o
}

// refresh is Refresh.
func (m *model) refresh(ps *modelPairs, t modelText, scope string) outcome {
	r, found, refused := m.proved(t, refreshText, ps.refresh.prefix)
	if refused != nil {
		return *refused
	}
	s := m.seen(&ps.refresh, r)
	if found == isSpent {
		return m.reuse(&ps.refresh, r, t)
	}
	narrow := r.scope
	if scope != "" {
		narrow = common(r.scope, scope)
	}
	lacks := len(strings.Fields(common(scope, r.scope))) < len(strings.Fields(scope))
	switch {
	case !s.live(m.now):
		return m.dead(&s, t.generation)
	case s.suspended != unset:
		return m.refuse(lapse.ErrSuspended, r, t.generation, s.suspended, 0)
	case lacks && (found == isCurrent || narrow == ""):
		return outcome{err: lapse.ErrScope}
	case found == isCurrent:
		m.replaceSession(ps, r, &s, narrow)
		return m.credentials(ps, t.record)
	case common(narrow, r.accessScope) != narrow || common(r.accessScope, narrow) != r.accessScope:
		return outcome{err: lapse.ErrScope}
	}
	o := m.credentials(ps, t.record)
	o.ok = true
	return o
}

// reuse ends the session r by the spent text t.
func (m *model) reuse(p *modelPolicy, r *modelRecord, t modelText) outcome {
	if s := m.seen(p, r); s.live(m.now) {
		m.endTied(r, lapse.EndReused)
	}
	s := m.seen(p, r)
	return m.refuse(lapse.ErrReused, r, t.generation, s.deadFrom(), s.reason)
}

// common are the words of scope that are among those of others.
func common(scope, others string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(w string) bool {
		return !slices.Contains(strings.Fields(others), w)
	}), " ")
}

// replaceSession gives the session r, seen as s, both of its next secrets.
func (m *model) replaceSession(ps *modelPairs, r, s *modelRecord, scope string) {
	r.before, r.until, r.accessBefore, r.accessUntil, r.salted = nowhere, unset, false, unset, false
	if ps.grace > 0 {
		r.before, r.until, r.salted = r.generation, m.now+min(ps.grace, r.accessTTL), true
		if common(scope, r.accessScope) == scope {
			r.accessBefore, r.accessUntil = true, min(r.until, r.accessExpires)
		}
	}
	r.generation++
	r.rotated, r.limit = m.now, s.limit
	r.expires = min(max(s.expires, m.now+r.ttl), r.limit)
	r.accessScope, r.accessExpires = scope, min(m.now+r.accessTTL, r.expires)
	m.tell("rotated")
}

// peekPair is Peek of Pairs.
func (m *model) peekPair(ps *modelPairs, t modelText) outcome {
	r, found, refused := m.proved(t, refreshText, ps.refresh.prefix)
	if refused != nil {
		return *refused
	}
	s := m.seen(&ps.refresh, r)
	switch {
	case found == isSpent:
		return m.refuse(lapse.ErrReplaced, r, t.generation, unset, 0)
	case !s.live(m.now):
		return m.dead(&s, t.generation)
	case s.suspended != unset:
		return m.refuse(lapse.ErrSuspended, r, t.generation, s.suspended, 0)
	}
	return outcome{token: m.token(s)}
}

// expirePair is ExpireBearer of Pairs, by a text of any kind.
func (m *model) expirePair(ps *modelPairs, t modelText) outcome {
	if (t.kind == refreshText) == (t.odd == otherKind) || t.odd == mistyped {
		o := m.expireBearer(&ps.access, t)
		o.token = lapse.Token{}
		return o
	}
	r, found, refused := m.proved(t, refreshText, ps.refresh.prefix)
	switch {
	case refused != nil:
		return *refused
	case found == isSpent:
		m.tell("spent")
		if m.lasts(r) {
			m.endTied(r, lapse.EndReused)
		}
	case m.lasts(r):
		m.endTied(r, lapse.EndRevoked)
	}
	return outcome{}
}

// sessions is how many Sessions yields.
func (m *model) sessions(ps *modelPairs, subject string) (o outcome) {
	for n := range m.records {
		s := m.seen(&ps.access, &m.records[n])
		if s.subject == subject && ps.access.knows(&m.records[n]) && s.live(m.now) {
			o.count++
		}
	}
	return o
}
