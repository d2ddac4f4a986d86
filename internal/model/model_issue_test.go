package model

import (
	"cmp"
	"slices"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// issue is Issue. id is that of the token, if there is to be one.
func (m *model) issue(p *modelPolicy, g lapse.Grant, id lapse.ID) outcome {
	if g.TTL.Milliseconds() > p.maxTTL || g.SessionTTL != 0 {
		return outcome{err: lapse.ErrInvalidGrant}
	}
	if g.RequestID != "" {
		return m.request(p, g, id)
	}
	return m.issueNew(p, g, id)
}

// issueNew is issue for a grant that no token stands for.
func (m *model) issueNew(p *modelPolicy, g lapse.Grant, id lapse.ID) outcome {
	evicted, err := m.room(p, p, lapse.KindPlain, g.Subject)
	if err != nil {
		return outcome{err: err}
	}
	o := m.issued(p, m.add(m.draft(p, g), id))
	o.evicted = evicted
	return o
}

func (m *model) issued(p *modelPolicy, n int) outcome {
	m.tell("issued")
	return outcome{token: m.token(m.seen(p, &m.records[n])), given: []modelText{m.currentText(n, plainText)}}
}

// delegate is Delegate.
func (m *model) delegate(p *modelPolicy, t modelText, g lapse.Grant, id lapse.ID) outcome {
	r, found, s, refused := m.good(p, t)
	if refused != nil {
		return *refused
	}
	depth := 0
	for up := r.parent; up != nowhere; up = m.records[up].parent {
		depth++
	}
	count := 0
	for n := range m.records {
		d := m.seen(p, &m.records[n])
		if d.parent == t.record && d.live(m.now) {
			count++
		}
	}
	switch {
	case g.TTL.Milliseconds() > p.maxTTL, g.Subject != "" && g.Subject != r.subject:
		return outcome{err: lapse.ErrInvalidGrant}
	case common(g.Scope, s.scope) != strings.Join(strings.Fields(g.Scope), " "):
		return outcome{err: lapse.ErrScope}
	case r.uses > 0 || depth >= lapse.MaxDelegation:
		return outcome{err: lapse.ErrNotDelegable}
	case count >= p.maxDelegates:
		return outcome{err: lapse.ErrLimit}
	}
	if found == isCurrent {
		m.useSecret(r)
	}
	if r.family == nowhere {
		r.family = t.record
	}
	g.Subject = r.subject
	d := m.draft(p, g)
	asked := d.expires
	d.family, d.parent, d.confirmed = r.family, t.record, r.present()
	if d.bound == 0 {
		d.bound = r.bound
	}
	d.limit = min(d.limit, s.limit)
	switch { // it outlives neither the token nor the text
	case r.kind == lapse.KindSession:
		d.limit = min(d.limit, s.expires)
	case found == isPrevious:
		d.limit = min(d.limit, s.expires, r.until)
	}
	d.expires = min(asked, d.limit)
	n := m.add(d, id)
	o := m.issued(p, n)
	o.reduced = min(m.records[n].expires, s.expires) < asked
	return o
}

// obtain is Obtain. id is that of the token, if there is to be a new one.
func (m *model) obtain(p *modelPolicy, g lapse.Grant, id lapse.ID) outcome {
	if len(p.keys) == 0 {
		return outcome{err: lapse.ErrNoKeys}
	}
	n := m.obtained(p, &g)
	if g.TTL.Milliseconds() > p.maxTTL || n == nowhere {
		o := m.issue(p, g, id)
		if o.err == nil {
			m.records[len(m.records)-1].key, m.records[len(m.records)-1].salted = p.keys[0], true
		}
		return o
	}
	r := &m.records[n]
	s := m.seen(p, r)
	if s.suspended != unset {
		return m.refuse(lapse.ErrSuspended, r, r.generation, s.suspended, 0)
	}
	until, ttl, overlap := s.expires, cmp.Or(g.TTL.Milliseconds(), p.ttl), int64(0)
	if p.renewal != lapse.RenewNever {
		until = max(until, min(m.now+r.ttl, s.limit))
	}
	known := p.derives(r.key)
	if known && 10*(until-m.now) >= cmp.Or(10*g.MinLeft.Milliseconds(), ttl) {
		if p.renewal != lapse.RenewNever {
			m.renewed(r, &s)
			m.tell("renewed")
		}
		return outcome{token: m.token(m.seen(p, r)), given: []modelText{m.currentText(n, plainText)}, ok: true, reduced: r.ttl != ttl}
	}
	if known {
		overlap = s.expires - m.now
	}
	r.ttl = ttl
	o := m.replace(p, r, overlap, true)
	o.ok = true
	return o
}

func (p *modelPolicy) derives(key byte) bool { return slices.Contains(p.keys, key) }

// obtained is the newest live token that Obtain made for what g asks for, or nowhere if there is none.
func (m *model) obtained(p *modelPolicy, g *lapse.Grant) int {
	found := nowhere
	for _, n := range m.byID() {
		r := &m.records[n]
		fits := r.subject == g.Subject && r.prefix == p.prefix && r.name == g.Name && r.data == g.Data && r.client == g.Client && r.bound == g.Thumbprint[0] && common(r.scope, g.Scope) == r.scope && common(g.Scope, r.scope) == g.Scope && r.uses == g.MaxUses
		s := m.seen(p, r)
		if !fits || r.key == 0 || r.uses > 0 && r.left == 0 || !s.live(m.now) ||
			r.capEdited && s.limit != never && 10*(s.limit-m.now) < cmp.Or(10*g.MinLeft.Milliseconds(), g.TTL.Milliseconds(), p.ttl) {
			continue
		}
		if found == nowhere || r.issued >= m.records[found].issued {
			found = n
		}
	}
	return found
}
