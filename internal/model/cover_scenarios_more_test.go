package model

import "github.com/seed-55daa01a/lapse"

// delegateScenario is a token and its delegates.
func delegateScenario() scenario {
	p := coverPolicy("a")
	p.maxDelegates = 1
	return scenario{
		name: "delegates", setup: worldSetup{policies: []modelPolicy{p}},
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := each(texts[:1], deed{verb: "authenticate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})
			all = append(all, delegating(m, hand, 3)...)
			all = append(all, deed{verb: "expire subject", record: len(m.records) - 1, grant: lapse.Grant{Subject: "ana"}},
				deed{verb: "forget subject", grant: lapse.Grant{Subject: "ana"}}, deed{verb: "sweep"})
			return append(all, m.moves(&p)...)
		},
	}
}

// delegating are delegations from each of the records, and uses of what was delegated.
func delegating(m *model, hand func(modelText) bool, most int) (all []deed) {
	for n := range m.records {
		texts := m.texts(n, plainText, hand)
		if m.records[n].kind == lapse.KindSession {
			texts = m.texts(n, accessText, hand)
		}
		if len(m.records) < most {
			all = append(all, each(texts, deed{verb: "delegate", grant: lapse.Grant{Scope: "a"}})...)
			all = append(all, each(texts[:1], deed{verb: "delegate", grant: lapse.Grant{Scope: "a c"}})...)
		}
		if n > 0 {
			all = append(all, each(texts[:1], deed{verb: "authenticate"}, deed{verb: "renew"})...)
			all = append(all, deed{verb: "expire", record: n})
		}
	}
	return all
}

// leakScenario is a token whose text has leaked, and its delegates.
func leakScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "delegates of a leaked token", setup: worldSetup{policies: []modelPolicy{p}},
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := each(m.texts(0, plainText, hand), deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap})
			all = append(all, deed{verb: "rotate ID"}, deed{verb: "expire"}, deed{verb: "sweep"})
			all = append(all, delegating(m, hand, 3)...)
			for _, a := range m.moves(&p) {
				if len(m.records) < 3 || a.ms > 1 {
					all = append(all, a)
				}
			}
			return all
		},
	}
}

// sessionDelegateScenario is a session and its delegates.
func sessionDelegateScenario() scenario {
	ps := coverPairs()
	return scenario{
		name: "delegates of a session", setup: worldSetup{pairs: []modelPairs{ps}},
		begin: []deed{{verb: "log in", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			renews := m.texts(0, refreshText, hand)
			all := append(each(renews, deed{verb: "refresh"}), each(renews[:1], deed{verb: "refresh", scope: "b"}, deed{verb: "expire pair"})...)
			all = append(all, delegating(m, hand, 2)...)
			return append(all, m.moves(&ps.access)...)
		},
	}
}

// limitScenario is a subject with two sessions at most.
func limitScenario(name string, atLimit lapse.AtLimit) scenario {
	ps := coverPairs()
	ps.refresh.maxTokens, ps.refresh.atLimit = 2, atLimit
	ana := lapse.Grant{Subject: "ana", Scope: "a b"}
	return scenario{
		name: name, setup: worldSetup{pairs: []modelPairs{ps}}, ages: true,
		begin: []deed{{verb: "log in", grant: ana}, {verb: "move", ms: 1}, {verb: "log in", grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := []deed{{verb: "move", ms: 1}, {verb: "move", ms: 700}}
			if len(m.records) < 4 {
				all = append(all, deed{verb: "log in", grant: ana})
			}
			for n := range m.records {
				if !m.lives(&m.records[n]) {
					continue
				}
				opens, renews := m.texts(n, accessText, hand), m.texts(n, refreshText, hand)
				all = append(all, each(opens[:1], deed{verb: "authenticate"}, deed{verb: "expire bearer"})...)
				all = append(all, each(renews, deed{verb: "refresh"})...)
				for _, t := range renews {
					all = append(all, each(odd(t, otherID), deed{verb: "refresh"}, deed{verb: "expire pair"})...)
				}
				all = append(all, each(odd(opens[0], otherID), deed{verb: "authenticate"}, deed{verb: "expire pair"})...)
			}
			return all
		},
	}
}

// plainLimitScenario is a subject with two plain tokens at most.
func plainLimitScenario() scenario {
	p := coverPolicy("a")
	p.maxTokens, p.atLimit, p.renewEvery = 2, lapse.LimitEndIdlest, 200
	ana := lapse.Grant{Subject: "ana", Scope: "a b"}
	return scenario{
		name: "a limit on plain tokens", setup: worldSetup{policies: []modelPolicy{p}}, ages: true,
		begin: []deed{{verb: "issue", grant: ana}, {verb: "delegate", text: modelText{kind: plainText}}, {verb: "move", ms: 1}, {verb: "issue", grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := []deed{{verb: "move", ms: 1}, {verb: "move", ms: 199}}
			if len(m.records) < 4 {
				all = append(all, deed{verb: "issue", grant: ana})
			}
			for n := range m.records {
				if !m.lives(&m.records[n]) {
					continue
				}
				texts := m.texts(n, plainText, hand)
				all = append(all, each(texts[:1], deed{verb: "authenticate"}, deed{verb: "rotate", ms: coverOverlap})...)
			}
			return all
		},
	}
}

// gapScenario is a token of which something changes while a verb is under way.
func gapScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "a token between two calls", setup: worldSetup{policies: []modelPolicy{p}}, gap: true,
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			outer := each(m.texts(0, plainText, hand), deed{verb: "authenticate"}, deed{verb: "renew"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})
			inner := each(m.texts(0, plainText, hand)[:1], deed{verb: "authenticate"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap})
			inner = append(append(inner, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "expire"}), m.jumps(&p)...)
			return append(append(m.moves(&p), inner...), within(outer, inner)...)
		},
	}
}

// within is every one of outer with every one of inner happening between its calls.
func within(outer, inner []deed) (all []deed) {
	for _, a := range outer {
		for _, b := range inner {
			a.between = &b
			all = append(all, a)
		}
	}
	return all
}

// gapSessionScenario is gapScenario for a session.
func gapSessionScenario() scenario {
	ps := coverPairs()
	return scenario{
		name: "a session between two calls", setup: worldSetup{pairs: []modelPairs{ps}}, gap: true,
		begin: []deed{{verb: "log in", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			opens, renews := m.texts(0, accessText, hand), m.texts(0, refreshText, hand)
			outer := append(each(opens[:1], deed{verb: "authenticate"}, deed{verb: "expire bearer"}), each(renews, deed{verb: "refresh"})...)
			inner := append(each(renews[:1], deed{verb: "refresh"}, deed{verb: "refresh", scope: "a"}), deed{verb: "expire"})
			inner = append(inner, m.jumps(&ps.access)...)
			return append(append(m.moves(&ps.access), inner...), within(outer, inner)...)
		},
	}
}

// obtainScenario is a token of Obtain, and Managers with other keys.
func obtainScenario() scenario {
	policies := []modelPolicy{coverPolicy("a"), coverPolicy("a"), coverPolicy("a")}
	policies[0].keys, policies[1].keys, policies[2].keys = []byte{1}, []byte{2, 1}, []byte{2}
	ana := lapse.Grant{Subject: "ana", Name: "laptop", Scope: "a"}
	return scenario{
		name: "a token of Obtain", setup: worldSetup{policies: policies}, begin: []deed{{verb: "obtain", grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) (all []deed) {
			for by := range policies {
				if len(m.records) < 3 {
					all = append(all, deed{verb: "obtain", by: by, grant: ana})
				}
				all = append(all, each(m.texts(0, plainText, hand), deed{verb: "rotate", by: by, ms: coverOverlap})...)
			}
			all = append(all, each(m.texts(0, plainText, hand), deed{verb: "authenticate"}, deed{verb: "rotate"}, deed{verb: "expire bearer"})...)
			all = append(all, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "sweep"})
			return append(all, m.moves(&policies[0])...)
		},
	}
}

// twoPairsScenario is a session of each of two Pairs, with graces and caps of their own.
func twoPairsScenario() scenario {
	first, second := coverPairs(), coverPairs()
	second.refresh.prefix, second.grace, second.refresh.maxTTL = "s", 0, 1500
	ana := lapse.Grant{Subject: "ana", Scope: "a b"}
	return scenario{
		name: "two Pairs", setup: worldSetup{pairs: []modelPairs{first, second}}, begin: []deed{{verb: "log in", grant: ana}, {verb: "log in", by: 1, grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) (all []deed) {
			for by := range 2 {
				for n := range m.records {
					renews, opens := m.texts(n, refreshText, hand), m.texts(n, accessText, hand)
					all = append(all, each(renews[:min(2, len(renews))], deed{verb: "refresh", by: by}, deed{verb: "expire pair", by: by})...)
					all = append(all, each(opens[:min(2, len(opens))], deed{verb: "authenticate", by: by})...)
				}
				all = append(all, deed{verb: "sessions", by: by, grant: ana})
			}
			return append(all, m.jumps(&first.access)...)
		},
	}
}
