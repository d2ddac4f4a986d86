package model

import "github.com/seed-55daa01a/lapse"

// usage says what a check does to a token that is good.
type usage byte

const (
	toPeek usage = iota
	toUse
	toHold
)

// authenticate is Authenticate, Peek or Hold.
func (m *model) authenticate(p *modelPolicy, t modelText, use usage) outcome {
	r, found, before, refused := m.good(p, t)
	if refused != nil {
		return *refused
	}
	if use == toPeek {
		return outcome{token: m.token(before)}
	}
	if r.uses > 0 {
		return m.spend(p, r, found, before, use)
	}
	first := r.kind == lapse.KindPlain && r.generation > 0 && r.unused
	if found == isCurrent && (first || p.due(&before, m.now)) {
		m.useSecret(r)
		m.use(p, r, &before)
	}
	after := m.by(p, r, found)
	if after.expires > before.expires {
		m.tell("renewed")
	}
	return outcome{token: m.token(after)}
}

// spend takes a use off the budget of r. The last use renews nothing.
func (m *model) spend(p *modelPolicy, r *modelRecord, found modelStanding, before modelRecord, use usage) outcome {
	r.left--
	if found == isCurrent {
		m.useSecret(r)
		last := *p
		if r.left == 0 {
			last.renewal = lapse.RenewNever
		}
		m.use(&last, r, &before)
	}
	if r.left == 0 && use != toHold && !m.holdsBy(r) {
		m.end(r, lapse.EndExhausted)
	} else if m.seen(p, r).expires > before.expires {
		m.tell("renewed")
	}
	return outcome{token: m.token(m.seen(p, r))}
}

// due reports whether a use of s is to be recorded.
func (p *modelPolicy) due(s *modelRecord, now int64) bool {
	return now-s.issued >= p.renewEvery && now-s.used >= p.renewEvery
}

// use records a use of r, seen as s, by its current secret, if that is due.
func (m *model) use(p *modelPolicy, r, s *modelRecord) {
	if !p.due(s, m.now) {
		return
	}
	r.used = max(r.used, m.now)
	if p.renewal == lapse.RenewOnUse && r.kind == lapse.KindPlain {
		m.renewed(r, s)
	}
}

// renewed gives r, seen as s, its TTL from now.
func (m *model) renewed(r, s *modelRecord) {
	r.used = max(r.used, m.now)
	r.expires = max(r.expires, min(m.now+r.ttl, s.limit))
}

// useSecret notes that the current secret of r has been used. That of Obtain stays to be
// given.
func (m *model) useSecret(r *modelRecord) {
	if r.kind == lapse.KindPlain && r.unused {
		r.unused, r.salted = false, r.key != 0
	}
}

func (m *model) renew(p *modelPolicy, t modelText) outcome {
	if p.renewal == lapse.RenewNever {
		return outcome{err: lapse.ErrNotRenewable}
	}
	r, found, s, refused := m.good(p, t)
	switch {
	case refused != nil:
		return *refused
	case r.kind == lapse.KindSession:
		return outcome{err: lapse.ErrNotRenewable}
	case found == isPrevious:
		return outcome{token: m.token(s)}
	}
	m.useSecret(r)
	m.renewed(r, &s)
	m.tell("renewed")
	return outcome{token: m.token(m.seen(p, r))}
}

// confirm is Confirm.
func (m *model) confirm(p *modelPolicy, t modelText) outcome {
	r, found, _, refused := m.good(p, t)
	if refused != nil {
		return *refused
	}
	if found == isCurrent {
		m.useSecret(r)
	}
	if m.now > r.present() {
		r.confirmed = m.now
	}
	m.tell("confirmed")
	return outcome{token: m.token(m.by(p, r, found))}
}

// rotate is Rotate by the text t.
func (m *model) rotate(p *modelPolicy, t modelText, overlap int64) outcome {
	if overlap > p.maxTTL {
		return outcome{err: lapse.ErrInvalidGrant}
	}
	r, _, refused := m.proved(t, plainText, p.prefix)
	if refused != nil {
		return *refused
	}
	if r.kind == lapse.KindSession {
		return outcome{err: lapse.ErrNotRenewable}
	}
	r, found, s, refused := m.good(p, t)
	switch {
	case refused != nil:
		return *refused
	case found == isCurrent || overlap == 0:
		return m.replace(p, r, overlap, true)
	case !r.unused || !r.salted || r.key != 0 && !p.derives(r.key):
		return outcome{err: lapse.ErrRotated}
	}
	return outcome{token: m.token(s), given: []modelText{m.currentText(t.record, plainText)}}
}

// rotateID is RotateID. It is told of no refusal.
func (m *model) rotateID(p *modelPolicy, n int, overlap int64) outcome {
	r := &m.records[n]
	s := m.seen(p, r)
	switch {
	case overlap > p.maxTTL:
		return outcome{err: lapse.ErrInvalidGrant}
	case r.swept || r.prefix != p.prefix:
		return outcome{err: lapse.ErrNotFound}
	}
	refused := m.editable(r, &s)
	switch {
	case refused != nil:
		return *refused
	case r.kind == lapse.KindSession:
		return outcome{err: lapse.ErrNotRenewable}
	}
	return m.replace(p, r, overlap, false)
}

// replace gives r another secret and a new life. byText says whether it can be derived
// from a text.
func (m *model) replace(p *modelPolicy, r *modelRecord, overlap int64, byText bool) outcome {
	switch s := m.seen(p, r); {
	case overlap == 0:
		r.before, r.until = nowhere, unset
	case byText || !r.unused:
		r.before, r.until = r.generation, min(m.now+overlap, s.expires)
	}
	r.generation++
	r.tagged, r.unused = true, overlap > 0
	if r.key != 0 {
		r.key = p.firstKey()
	}
	r.salted = r.key != 0 || byText && r.unused
	if overlap == 0 {
		r.floor = r.generation
	}
	r.rotated = m.now
	limit := plus(m.now, p.maxTTL)
	r.capEdited = r.capEdited && byText
	if r.parent != nowhere || r.capEdited {
		limit = min(limit, r.limit)
	}
	r.limit, r.expires = limit, min(max(r.expires, m.now+r.ttl), limit)
	if overlap == 0 {
		m.endDelegates(r, lapse.EndRotated)
	}
	m.tell("rotated")
	return outcome{token: m.token(m.seen(p, r)), given: []modelText{m.currentText(m.placeOf(r), plainText)}}
}

func (p *modelPolicy) firstKey() byte {
	if len(p.keys) == 0 {
		return 0
	}
	return p.keys[0]
}

func (m *model) currentText(n int, kind secret) modelText {
	return modelText{record: n, kind: kind, generation: m.records[n].generation}
}

func (m *model) placeOf(r *modelRecord) int {
	for n := range m.records {
		if &m.records[n] == r {
			return n
		}
	}
	return nowhere
}
