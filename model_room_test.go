package lapse_test

import (
	"cmp"
	"slices"

	"github.com/seed-55daa01a/lapse"
)

// counts reports whether t is one of those that MaxTokens limits: it is alive, and no
// successor that is alive counts for it.
func (m *model) counts(t *modelToken, p modelPolicy) bool {
	return t.prefix == p.prefix && m.live(t, p) && (t.successor == nil || !m.live(t.successor, p))
}

// room says which tokens go to make room for one more under those of the line, or that
// there is none. Where families go, it is the whole one.
func (m *model) room(subject string, p modelPolicy, families bool, line ...*modelToken) (evicted []*modelToken, err error) {
	var live []*modelToken
	for _, t := range m.tokens {
		if t.subject == subject && m.counts(t, p) {
			live = append(live, t)
		}
	}
	left := len(live)
	if left < p.maxTokens {
		return nil, nil
	}
	candidates := slices.DeleteFunc(slices.Clone(live), func(t *modelToken) bool {
		return slices.Contains(line, t) || t.predecessor != nil && slices.Contains(line, t.predecessor)
	})
	if p.atLimit == lapse.LimitRefuse || left-len(candidates) >= p.maxTokens {
		return nil, lapse.ErrLimit
	}
	slices.SortFunc(candidates, func(a, b *modelToken) int {
		return cmp.Or(cmp.Compare(p.since(a), p.since(b)), cmp.Compare(a.id, b.id))
	})
	for _, t := range candidates {
		if left < p.maxTokens || t.ended != never {
			continue
		}
		for _, e := range m.evict(t, families, line) {
			evicted = append(evicted, e)
			if slices.Contains(live, e) {
				left--
			}
		}
	}
	return evicted, nil
}

// since is when the idleness of t began, or its life.
func (p modelPolicy) since(t *modelToken) int64 {
	if p.atLimit == lapse.LimitEndIdlest && t.used != never {
		return max(t.used, t.issued)
	}
	return t.issued
}

// evict ends t with what goes with it, and its predecessor, which would count otherwise,
// unless that is of the line.
func (m *model) evict(t *modelToken, families bool, line []*modelToken) []*modelToken {
	if families {
		return m.endFamily(t.family, lapse.EndEvicted)
	}
	evicted := m.endTied(t, lapse.EndEvicted)
	if slices.Contains(line, t.predecessor) {
		return evicted
	}
	return append(evicted, m.endPredecessor(t, lapse.EndEvicted)...)
}

// endPredecessor ends the token that t replaces, if it is still in its overlap.
func (m *model) endPredecessor(t *modelToken, why lapse.EndReason) []*modelToken {
	if t.predecessor == nil || !m.lives(t.predecessor) {
		return nil
	}
	return m.endTied(t.predecessor, why)
}

// endFamily ends what lives of a family by its own record, in the order of the IDs.
func (m *model) endFamily(family *modelToken, why lapse.EndReason) (ended []*modelToken) {
	for _, t := range m.tokens {
		if t.family == family && m.lives(t) {
			ended = append(ended, t)
		}
	}
	slices.SortFunc(ended, func(a, b *modelToken) int { return cmp.Compare(a.id, b.id) })
	for _, t := range ended {
		if t.parent != nil && why != lapse.EndReused {
			m.end(t, lapse.EndParent)
			continue
		}
		m.end(t, why)
	}
	return ended
}
