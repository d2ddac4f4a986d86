package model

import (
	"cmp"
	"slices"

	"github.com/seed-55daa01a/lapse"
)

func (m *model) end(r *modelRecord, why lapse.EndReason) {
	r.ended, r.reason = m.now, why
	m.tell("ended " + why.String())
}

// endTied ends r, and what was delegated from it, and returns the IDs of all of them.
func (m *model) endTied(r *modelRecord, why lapse.EndReason) []lapse.ID {
	m.end(r, why)
	return append([]lapse.ID{r.id}, m.endDelegates(r, lapse.EndParent)...)
}

// endDelegates ends the delegates of r for that reason and theirs with EndParent, and
// returns their IDs, level by level.
func (m *model) endDelegates(r *modelRecord, why lapse.EndReason) (ended []lapse.ID) {
	level := []int{m.placeOf(r)}
	for ; len(level) > 0; why = lapse.EndParent {
		var next []int
		for _, parent := range level {
			for _, n := range m.byID() {
				if d := &m.records[n]; d.parent == parent && m.lives(d) {
					m.end(d, why)
					ended, next = append(ended, d.id), append(next, n)
				}
			}
		}
		level = next
	}
	return ended
}

// byID are the places of all records, in the order of their IDs.
func (m *model) byID() []int {
	places := make([]int, len(m.records))
	for n := range places {
		places[n] = n
	}
	slices.SortFunc(places, func(a, b int) int { return m.records[a].id.Compare(m.records[b].id) })
	return places
}

// expire is Expire.
func (m *model) expire(n int) outcome {
	r := &m.records[n]
	if !m.lasts(r) {
		return outcome{}
	}
	m.endTied(r, lapse.EndRevoked)
	return outcome{ok: true}
}

// suspend is Suspend.
func (m *model) suspend(n int) outcome {
	r := &m.records[n]
	switch {
	case r.swept:
		return outcome{err: lapse.ErrNotFound}
	case !m.lasts(r), r.suspended != unset:
		return outcome{}
	}
	r.suspended = m.now
	m.tell("suspended")
	return outcome{ok: true}
}

// resume is Resume. It is told of no refusal.
func (m *model) resume(p *modelPolicy, n int) outcome {
	r := &m.records[n]
	switch {
	case r.swept:
		return outcome{err: lapse.ErrNotFound}
	case !m.lasts(r):
		s, told := m.seen(p, r), m.told
		o := m.dead(&s, r.generation)
		m.told = told
		return o
	case r.suspended == unset:
		return outcome{}
	}
	r.suspended = unset
	m.tell("resumed")
	return outcome{ok: true}
}

// expireBearer is ExpireBearer.
func (m *model) expireBearer(p *modelPolicy, t modelText) outcome {
	r, found, refused := m.proved(t, plainText, p.prefix)
	switch {
	case refused != nil:
		return *refused
	case found == isSpent && r.kind == lapse.KindPlain:
		return m.refuse(lapse.ErrReplaced, r, t.generation, unset, 0)
	}
	m.expire(t.record)
	return outcome{token: m.token(m.seen(p, r))}
}

// expireSubject is ExpireSubject. keep is a place, or nowhere.
func (m *model) expireSubject(subject string, keep int) outcome {
	var ended []*modelRecord
	for _, n := range m.byID() {
		if r := &m.records[n]; r.subject == subject && n != keep && m.lasts(r) {
			ended = append(ended, r)
		}
	}
	for _, r := range ended {
		m.end(r, lapse.EndSubject)
	}
	count := len(ended)
	for _, r := range ended {
		count += len(m.endDelegates(r, lapse.EndParent))
	}
	return outcome{count: count}
}

// forgetSubject is ForgetSubject.
func (m *model) forgetSubject(subject string) (o outcome) {
	var gone []*modelRecord
	for n := range m.records {
		if r := &m.records[n]; r.subject == subject && !r.swept {
			if gone = append(gone, r); m.lasts(r) {
				m.tell("ended " + lapse.EndSubject.String())
			}
		}
	}
	for _, r := range gone {
		r.swept, r.forgotten = true, true
	}
	m.sweepAliases(unset, subject)
	if o.count = len(gone); o.count > 0 {
		m.tell("forgotten")
	}
	return o
}

func (m *model) sweep(p *modelPolicy) (o outcome) {
	for n := range m.records {
		if r := &m.records[n]; !r.swept && r.deadFrom() < m.now-p.retention {
			r.swept = true
			o.count++
		}
	}
	o.count += m.sweepAliases(m.now-p.retention, "")
	if o.count > 0 {
		m.tell("swept")
	}
	return o
}

// room ends what has to go for one more of kind, or says that there is no room. p is the
// policy of the limit, and as that of the Manager that makes room.
func (m *model) room(p, as *modelPolicy, kind lapse.Kind, subject string) (evicted []lapse.ID, err error) {
	var live []int
	for _, n := range m.byID() {
		r := &m.records[n]
		counts := !(r.uses > 0 && r.left <= 0 && !m.held(n)) && r.subject == subject && r.kind == kind && r.parent == nowhere && r.prefix == as.prefix
		s := m.seen(as, r)
		if counts && (kind == lapse.KindPlain || as.knows(r)) && s.live(m.now) {
			live = append(live, n)
		}
	}
	switch {
	case len(live) < p.maxTokens:
		return nil, nil
	case p.atLimit == lapse.LimitRefuse:
		return nil, lapse.ErrLimit
	}
	more := len(live) + 1 - p.maxTokens
	if p.atLimit == lapse.LimitEndIdlest {
		live = slices.DeleteFunc(live, func(n int) bool { return m.seen(as, &m.records[n]).suspended != unset })
	}
	if len(live) < more {
		return nil, lapse.ErrLimit
	}
	slices.SortStableFunc(live, func(a, b int) int { return cmp.Compare(m.since(p, a), m.since(p, b)) })
	for _, n := range live[:more] {
		evicted = append(evicted, m.endTied(&m.records[n], lapse.EndEvicted)...)
	}
	return evicted, nil
}

// since is what the one of several that goes first has the least of.
func (m *model) since(p *modelPolicy, n int) int64 {
	r := &m.records[n]
	switch {
	case p.atLimit == lapse.LimitEndOldest:
		return r.issued
	case m.held(n):
		return never
	}
	return max(r.issued, r.rotated, r.used)
}
