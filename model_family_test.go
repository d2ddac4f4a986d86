package lapse_test

import (
	"cmp"
	"slices"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// line is t and those that it was delegated from.
func (t *modelToken) line() (line []*modelToken) {
	for ; t != nil; t = t.parent {
		line = append(line, t)
	}
	return line
}

// lasts reports whether t and those above it are alive by their records, whatever a
// policy makes of them.
func (m *model) lasts(t *modelToken) bool {
	return !slices.ContainsFunc(t.line(), func(t *modelToken) bool { return !m.lives(t) })
}

// lives is lasts by the record of t alone.
func (m *model) lives(t *modelToken) bool {
	return !t.swept && t.ended == never && m.now < t.expires
}

// delegate says what delegating from t to one with that scope comes to, and what has to
// go for it.
func (m *model) delegate(t *modelToken, scope string, p modelPolicy) (evicted []*modelToken, err error) {
	for word := range strings.FieldsSeq(scope) {
		if !slices.Contains(strings.Fields(t.scope), word) {
			return nil, lapse.ErrScope
		}
	}
	if t.uses > 0 || len(t.line()) > lapse.MaxDelegation {
		return nil, lapse.ErrNotDelegable
	}
	if evicted, err = m.room(t.subject, p, false, t.line()...); err == nil && t.family == nil {
		t.family = t
	}
	return evicted, err
}

// endTied ends t, and what was delegated from it near or far, and returns all of them.
func (m *model) endTied(t *modelToken, why lapse.EndReason) []*modelToken {
	m.end(t, why)
	return m.endDelegates([]*modelToken{t})
}

// endDelegates ends what was delegated from those that have been ended, generation by
// generation.
func (m *model) endDelegates(ended []*modelToken) []*modelToken {
	byID := slices.SortedFunc(slices.Values(m.tokens), func(a, b *modelToken) int { return cmp.Compare(a.id, b.id) })
	for i := 0; i < len(ended); i++ {
		for _, t := range byID {
			if t.parent == ended[i] && m.lives(t) {
				m.end(t, lapse.EndParent)
				ended = append(ended, t)
			}
		}
	}
	return ended
}
