package model

import (
	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// editable says why no administrator may change r, seen as s, or nil. Observe is told of no refusal.
func (m *model) editable(r, s *modelRecord) *outcome {
	o := outcome{}
	switch {
	case r.swept:
		o.err = lapse.ErrNotFound
	case !s.live(m.now):
		told := m.told
		o = m.dead(s, r.generation)
		m.told = told
	case r.uses > 0 && r.left <= 0:
		o = m.rejection(lapse.ErrExhausted, r, r.generation, unset, 0)
	default:
		return nil
	}
	return &o
}

// edit is Edit. change changes the record of a token that is seen as s, and reports whether it may.
func (m *model) edit(p *modelPolicy, n int, change func(r, s *modelRecord) bool) outcome {
	r := &m.records[n]
	s := m.seen(p, r)
	if refused := m.editable(r, &s); refused != nil {
		return *refused
	}
	was := *r
	if !change(r, &s) {
		*r = was
		return outcome{err: lapse.ErrInvalidGrant}
	}
	if *r != was {
		m.tell("edited")
	}
	return outcome{token: m.token(m.seen(p, r))}
}

// editScope sets the scope. A delegate has no word that a token above it lacks.
func (m *model) editScope(p *modelPolicy, scope string) func(r, s *modelRecord) bool {
	return func(r, _ *modelRecord) bool {
		if r.parent != nowhere && common(scope, m.seen(p, &m.records[r.parent]).scope) != scope {
			return false
		}
		r.scope, r.accessScope = scope, common(r.accessScope, scope)
		return true
	}
}

// editExpiry sets the expiry. An earlier one is the cap as well.
func (m *model) editExpiry(p *modelPolicy, at int64) func(r, s *modelRecord) bool {
	return func(r, s *modelRecord) bool {
		limit := s.limit
		if r.parent != nowhere {
			limit = min(limit, m.seen(p, &m.records[r.parent]).expires)
		}
		if at <= m.now || at > limit {
			return false
		}
		if at < r.expires {
			r.limit, r.capEdited = at, true
		}
		r.expires = at
		return true
	}
}

// editUses sets how many uses there are in all. Those that are spent stay spent.
func (m *model) editUses(p *modelPolicy, n, most int) func(r, s *modelRecord) bool {
	return func(r, _ *modelRecord) bool {
		used := r.uses - r.left
		switch {
		case most == r.uses:
			return true
		case r.kind == lapse.KindSession, most > 0 && (most <= used || m.liveDelegates(p, n) > 0):
			return false
		}
		r.uses, r.left = most, max(0, most-used)
		return true
	}
}

// liveDelegates is how many live delegates the record n has.
func (m *model) liveDelegates(p *modelPolicy, n int) (count int) {
	for i := range m.records {
		if d := p.capped(&m.records[i]); d.parent == n && (d.uses == 0 || d.left > 0) && d.live(m.now) {
			count++
		}
	}
	return count
}

// edits are the verbs that change the record of a deed: its scope and name, its expiry to so many
// milliseconds from now, and its uses.
var edits = map[string]coverVerb{
	"edit scope": {
		func(w *world, a *deed, id lapse.ID, _ string) (outcome, []string, error) {
			return tokenOutcome(w.managers[a.by].Edit(w.ctx, id, lapse.Changes{Scope: &a.scope, Name: &a.grant.Name}))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome {
			return m.edit(w.policies[a.by], a.record, func(r, s *modelRecord) bool {
				r.name = a.grant.Name
				return m.editScope(w.policies[a.by], a.scope)(r, s)
			})
		},
	},
	"edit expiry": {
		func(w *world, a *deed, id lapse.ID, _ string) (outcome, []string, error) {
			at := instantOf(w.model.now + a.ms)
			return tokenOutcome(w.managers[a.by].Edit(w.ctx, id, lapse.Changes{ExpiresAt: &at}))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome {
			return m.edit(w.policies[a.by], a.record, m.editExpiry(w.policies[a.by], m.now+a.ms))
		},
	},
	"edit uses": {
		func(w *world, a *deed, id lapse.ID, _ string) (outcome, []string, error) {
			return tokenOutcome(w.managers[a.by].Edit(w.ctx, id, lapse.Changes{MaxUses: &a.grant.MaxUses}))
		},
		func(m *model, w *world, a *deed, _ lapse.ID) outcome {
			return m.edit(w.policies[a.by], a.record, m.editUses(w.policies[a.by], a.record, a.grant.MaxUses))
		},
	},
}

// editing are edits of the record n.
func editing(n int) []deed {
	all := []deed{
		{verb: "edit scope", scope: "a"}, {verb: "edit scope", scope: "b a"}, {verb: "edit uses", grant: lapse.Grant{MaxUses: 2}}, {verb: "edit uses"},
		{verb: "edit expiry", ms: 1}, {verb: "edit expiry", ms: coverOverlap}, {verb: "edit expiry", ms: 1200},
	}
	for i := range all {
		all[i].record = n
	}
	return all
}

// editScenario is a token that is edited.
func editScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "an edited token", setup: worldSetup{policies: []modelPolicy{p}},
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := append(editing(0), each(texts[:1], deed{verb: "authenticate"}, deed{verb: "renew"}, deed{verb: "rotate", ms: coverOverlap})...)
			all = append(all, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "expire"}, deed{verb: "sweep"})
			return append(all, m.jumps(&p)...)
		},
	}
}

// editFamilyScenario is a token and its delegates, all of which are edited.
func editFamilyScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "edited delegates", setup: worldSetup{policies: []modelPolicy{p}},
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) (all []deed) {
			for n := range m.records {
				all = append(all, editing(n)...)
			}
			return append(append(all, delegating(m, hand, 3)...), m.jumps(&p)...)
		},
	}
}

// editSessionScenario is a session that is edited.
func editSessionScenario() scenario {
	ps := coverPairs()
	return scenario{
		name: "an edited session", setup: worldSetup{pairs: []modelPairs{ps}},
		begin: []deed{{verb: "log in", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := append(editing(0), each(m.texts(0, accessText, hand), deed{verb: "authenticate"})...)
			all = append(all, each(m.texts(0, refreshText, hand), deed{verb: "refresh"}, deed{verb: "refresh", scope: "a"})...)
			return append(all, m.jumps(&ps.access)...)
		},
	}
}

// gapEditScenario is a token that is edited while another verb is under way.
func gapEditScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "Edit within another verb", setup: worldSetup{policies: []modelPolicy{p}}, gap: true,
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b", MaxUses: 5}}},
		deeds: func(m *model, hand func(modelText) bool) (all []deed) {
			outer := append(editing(0), each(m.texts(0, plainText, hand)[:1], deed{verb: "authenticate"}, deed{verb: "renew"}, deed{verb: "rotate"})...)
			for _, a := range outer {
				all = append(all, a)
				for _, inner := range editing(0) {
					b := a
					b.between = &inner
					all = append(all, b)
				}
			}
			return append(all, m.jumps(&p)...)
		},
	}
}

// editFaults are faults in what an Edit keeps.
func editFaults() []coverFault {
	return []coverFault{
		{name: "a rotation undoes an earlier expiry", in: editScenario(), wrap: over(func(old, put *storage.Record) {
			if old.Generation != put.Generation && old.CapEdited {
				put.MaxExpiresAt = put.RotatedAt.Add(ms(2600))
				put.ExpiresAt = put.RotatedAt.Add(put.TTL)
			}
		})},
		{name: "a delegate keeps what its parent lost", in: editFamilyScenario(), wrap: over(func(old, put *storage.Record) {
			if put.Family == put.ID && put.Scope == "a" {
				put.Scope = old.Scope
			}
		})},
		{name: "the access text keeps what the session lost", in: editSessionScenario(), wrap: over(func(old, put *storage.Record) {
			if old.Scope != put.Scope {
				put.Sealed = old.Sealed
			}
		})},
	}
}
