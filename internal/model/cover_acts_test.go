package model

import (
	"slices"

	"github.com/seed-55daa01a/lapse"
)

// texts are texts in hand of the record n, one of each standing and of each way to come
// to it: the current one, the one before, the first and the newest of the spent ones, and
// of another future the next one, and those of generations that are known.
func (m *model) texts(n int, kind secret, hand func(modelText) bool) (all []modelText) {
	r := &m.records[n]
	add := func(generation int, twin bool) {
		t := modelText{record: n, kind: kind, generation: generation, twin: twin}
		if hand(t) && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	add(r.generation, false)
	if r.before != nowhere {
		add(r.before, false)
		add(r.before, true)
	}
	add(0, false)
	for generation := r.generation - 1; generation > 0; generation-- {
		if generation != r.before && hand(modelText{record: n, kind: kind, generation: generation}) {
			add(generation, false)
			break
		}
	}
	add(r.generation+1, true)
	add(r.generation, true)
	add(2, true)
	return all
}

// limits are the instants to come at which something changes for r, by what does.
func (m *model) limits(p *modelPolicy, n int) []int64 {
	r, all := &m.records[n], m.aliasLimits(p, n)
	if r.swept {
		return all
	}
	s := m.seen(p, r)
	all = append(all, r.until)
	if r.kind == lapse.KindSession {
		all = append(all, r.accessUntil)
	}
	if !s.live(m.now) {
		all = append(all, r.deadFrom()+p.retention)
	} else {
		all = append(all, s.expires, s.limit, r.accessExpires)
		if p.renewEvery > 0 && len(m.holds) > 0 {
			all = append(all, max(s.issued, s.used)+p.renewEvery)
		}
	}
	return slices.DeleteFunc(all, func(ms int64) bool { return ms == unset || ms == never || ms == gone })
}

// moves move the clock to each of the next limits, and to a millisecond before and after.
func (m *model) moves(p *modelPolicy) (all []deed) {
	var targets []int64
	for n := range m.records {
		for _, limit := range m.limits(p, n) {
			for _, to := range []int64{limit - 1, limit, limit + 1} {
				if to > m.now && !slices.Contains(targets, to) {
					targets = append(targets, to)
				}
			}
		}
	}
	for _, to := range targets {
		all = append(all, deed{verb: "move", ms: to - m.now})
	}
	return all
}

// jumps are those of moves that go to a limit, and not beside it.
func (m *model) jumps(p *modelPolicy) (all []deed) {
	for _, a := range m.moves(p) {
		for n := range m.records {
			if slices.Contains(m.limits(p, n), m.now+a.ms) && !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// each is every one of verbs with every one of texts.
func each(texts []modelText, verbs ...deed) (all []deed) {
	for _, t := range texts {
		for _, a := range verbs {
			a.text, a.record = t, t.record
			all = append(all, a)
		}
	}
	return all
}

// lost are those of deeds whose text is in hand, with an answer that gets lost.
func lost(hand func(modelText) bool, deeds ...deed) (all []deed) {
	for _, a := range deeds {
		if hand(a.text) {
			a.lost = true
			all = append(all, a)
		}
	}
	return all
}

// odd are the given text, altered.
func odd(t modelText, how ...oddity) (all []modelText) {
	for _, o := range how {
		t.odd = o
		all = append(all, t)
	}
	return all
}
