package lapse_test

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// modelPairs is a lapse.PairConfig with nothing left to default. grace: 0 is none.
type modelPairs struct {
	access, refresh modelPolicy
	grace           int64
}

// modelPair is what Issue or Refresh makes, before it has IDs, and who goes for each.
type modelPair struct {
	access, refresh               *modelToken
	evictedAccess, evictedRefresh []*modelToken
	repeated                      bool
}

// whole does what fn does, or nothing if that returns an error.
func (m *model) whole(fn func() error) error {
	told := slices.Clone(m.told)
	before := make([]modelToken, len(m.tokens))
	for i, t := range m.tokens {
		before[i] = *t
	}
	err := fn()
	if err != nil {
		m.told = told
		for i, t := range m.tokens {
			*t = before[i]
		}
	}
	return err
}

func (m *model) issuePair(g lapse.Grant, ps modelPairs) (pair modelPair, err error) {
	if g.TTL.Milliseconds() > min(ps.access.maxTTL, ps.refresh.maxTTL) || g.MaxUses != 0 {
		return pair, lapse.ErrInvalidGrant
	}
	ttl := cmp.Or(g.TTL.Milliseconds(), ps.access.ttl)
	g.TTL = 0
	return pair, m.whole(func() (err error) {
		m.survey(g.Subject, nil, ps)
		r := m.draft(ps.refresh, g)
		r.family, r.ttl = r, ttl
		if pair.evictedRefresh, err = m.room(g.Subject, ps.refresh, true); err != nil {
			return err
		}
		pair.refresh, pair.access = r, m.accessUnder(r, g, ps)
		pair.evictedAccess, err = m.room(g.Subject, ps.access, false)
		return err
	})
}

// accessUnder is the access token that comes with the refresh token r.
func (m *model) accessUnder(r *modelToken, g lapse.Grant, ps modelPairs) *modelToken {
	g.TTL = time.Duration(r.ttl) * time.Millisecond
	a := m.draft(ps.access, g)
	a.family, a.paired, r.with = r.family, true, a
	a.limit = min(a.limit, r.limit)
	a.expires = min(a.expires, a.limit)
	return a
}

// survey wipes what is sealed of a subject's and out of its grace, or leads to old.
func (m *model) survey(subject string, old *modelToken, ps modelPairs) {
	for _, t := range m.tokens {
		if t.subject == subject && !t.swept && t.reason == lapse.EndRotated && t.sealed && (!m.within(t, ps) || old != nil && t.successor == old) {
			t.sealed = false
		}
	}
}

// within reports whether t was rotated less than the grace away from now.
func (m *model) within(t *modelToken, ps modelPairs) bool {
	return m.now < t.ended+ps.grace && t.ended < m.now+ps.grace
}

// refresh gives the next pair for t, or the one that it gave a moment ago, or ends the
// family.
func (m *model) refresh(t *modelToken, scope string, ps modelPairs) (pair modelPair, err error) {
	usable, rotated := m.live(t, ps.refresh), t.reason == lapse.EndRotated
	again := rotated && t.sealed && m.within(t, ps)
	var narrow []string
	for word := range strings.FieldsSeq(t.scope) {
		if scope == "" || slices.Contains(strings.Fields(scope), word) {
			narrow = append(narrow, word)
		}
	}
	switch {
	case t.swept || t.prefix != ps.refresh.prefix:
		return pair, lapse.ErrUnknown
	case !usable && !rotated:
		return pair, lapse.ErrExpired
	case !usable && !again:
		m.survey(t.subject, t, ps)
		m.endFamily(t.family, lapse.EndReused)
		return pair, lapse.ErrReused
	case len(narrow) < len(strings.Fields(scope)):
		return pair, lapse.ErrScope
	case again && !m.live(t.successor, ps.refresh):
		return pair, lapse.ErrExpired
	case again:
		return modelPair{refresh: t.successor, access: t.successor.with, repeated: true}, nil
	}
	return pair, m.whole(func() error {
		m.survey(t.subject, t, ps)
		pair, err = m.replace(t, strings.Join(narrow, " "), ps)
		return err
	})
}

// replace rotates t, which is alive, to a pair whose access token has that scope.
func (m *model) replace(t *modelToken, scope string, ps modelPairs) (pair modelPair, err error) {
	g := lapse.Grant{Subject: t.subject, Name: t.name, Scope: t.scope, Data: t.data}
	r := m.draft(ps.refresh, g)
	r.family, r.predecessor, r.ttl, r.limit = t.family, t, t.ttl, t.seen(ps.refresh).limit // never from now on
	r.expires = min(r.expires, r.limit)
	g.Scope = scope
	a := m.accessUnder(r, g, ps)
	t.successor, t.sealed = r, ps.grace > 0
	m.use(t, ps.refresh, false)
	m.end(t, lapse.EndRotated)
	pair = modelPair{access: a, refresh: r}
	if inPlace := m.retire(t.family, a, ps); !inPlace {
		pair.evictedAccess, err = m.room(t.subject, ps.access, false)
	}
	return pair, err
}

// retire has the access tokens of the family give way to next, and reports whether one
// was alive, so that next has its room.
func (m *model) retire(family, next *modelToken, ps modelPairs) (inPlace bool) {
	for _, t := range m.tokens {
		if t.family != family || !t.paired || !m.lives(t) {
			continue
		}
		if t.successor != nil {
			m.endTied(t, lapse.EndRotated)
			continue
		}
		inPlace = inPlace || m.live(t, ps.access)
		next.predecessor, t.successor = t, next
		if ps.grace == 0 {
			m.endTied(t, lapse.EndRotated)
			continue
		}
		t.limit = min(t.limit, m.now+ps.grace)
		t.expires = min(t.expires, t.limit)
	}
	return inPlace
}

// expirePair ends the family of t, or t alone where it has none of Pairs.
func (m *model) expirePair(t *modelToken, ps modelPairs) error {
	switch {
	case t.swept || t.prefix != ps.access.prefix && t.prefix != ps.refresh.prefix:
		return lapse.ErrUnknown
	case t.prefix == ps.access.prefix && !t.paired:
		m.expire(t)
	default:
		m.survey(t.subject, nil, ps)
		m.endFamily(t.family, lapse.EndExpired)
	}
	return nil
}
