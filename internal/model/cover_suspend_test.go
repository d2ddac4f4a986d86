package model

import "github.com/seed-55daa01a/lapse"

// suspending are deeds that suspend and resume each of the records.
func suspending(m *model) (all []deed) {
	for n := range m.records {
		all = append(all, deed{verb: "suspend", record: n}, deed{verb: "resume", record: n})
	}
	return all
}

// suspendScenario is one token that is suspended, resumed and rotated.
func suspendScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "a suspended token", setup: worldSetup{policies: []modelPolicy{p}}, begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", MaxUses: 3}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := each(texts, deed{verb: "authenticate"}, deed{verb: "peek"}, deed{verb: "renew"}, deed{verb: "confirm"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})
			all = append(append(all, suspending(m)...), deed{verb: "rotate ID"}, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "expire"},
				deed{verb: "expire subject", record: nowhere, grant: lapse.Grant{Subject: "ana"}}, deed{verb: "sweep"})
			return append(all, m.moves(&p)...)
		},
	}
}

// suspendSessionScenario is one session that is suspended, resumed and refreshed.
func suspendSessionScenario() scenario {
	ps := coverPairs()
	return scenario{
		name: "a suspended session", setup: worldSetup{pairs: []modelPairs{ps}}, begin: []deed{{verb: "log in", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			opens, renews := m.texts(0, accessText, hand), m.texts(0, refreshText, hand)
			all := each(opens, deed{verb: "authenticate"}, deed{verb: "expire bearer"})
			all = append(all, each(renews, deed{verb: "refresh"}, deed{verb: "refresh", scope: "a"}, deed{verb: "peek pair"}, deed{verb: "expire pair"})...)
			all = append(append(all, suspending(m)...), deed{verb: "sweep"}, deed{verb: "sessions", grant: lapse.Grant{Subject: "ana"}})
			return append(all, m.moves(&ps.access)...)
		},
	}
}

// suspendDelegateScenario is a token and its delegates, each of which is suspended and resumed.
func suspendDelegateScenario() scenario {
	p := coverPolicy("a")
	p.maxDelegates = 1
	return scenario{
		name: "suspended delegates", setup: worldSetup{policies: []modelPolicy{p}}, begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := append(delegating(m, hand, 3), suspending(m)...)
			all = append(all, each(m.texts(0, plainText, hand)[:1], deed{verb: "authenticate"}, deed{verb: "rotate"})...)
			return append(append(all, deed{verb: "sweep"}), m.jumps(&p)...)
		},
	}
}

// suspendLimitScenario is a subject with two plain tokens at most, some of them suspended.
func suspendLimitScenario() scenario {
	p := coverPolicy("a")
	p.maxTokens, p.atLimit = 2, lapse.LimitEndIdlest
	ana := lapse.Grant{Subject: "ana"}
	return scenario{
		name: "a limit on suspended tokens", setup: worldSetup{policies: []modelPolicy{p}}, ages: true,
		begin: []deed{{verb: "issue", grant: ana}, {verb: "move", ms: 1}, {verb: "issue", grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := append(suspending(m), deed{verb: "move", ms: 1})
			if len(m.records) < 4 {
				all = append(all, deed{verb: "issue", grant: ana})
			}
			for n := range m.records {
				if m.lives(&m.records[n]) {
					all = append(all, each(m.texts(n, plainText, hand)[:1], deed{verb: "authenticate"})...)
				}
			}
			return all
		},
	}
}

// suspendObtainScenario is a token of Obtain, and a Manager with another key.
func suspendObtainScenario() scenario {
	policies := []modelPolicy{coverPolicy("a"), coverPolicy("a")}
	policies[0].keys, policies[1].keys = []byte{1}, []byte{2}
	ana := lapse.Grant{Subject: "ana", Name: "laptop", Scope: "a"}
	return scenario{
		name: "a suspended token of Obtain", setup: worldSetup{policies: policies}, begin: []deed{{verb: "obtain", grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := suspending(m)
			for by := range policies {
				if len(m.records) < 3 {
					all = append(all, deed{verb: "obtain", by: by, grant: ana})
				}
			}
			all = append(all, each(m.texts(0, plainText, hand), deed{verb: "authenticate"}, deed{verb: "expire bearer"})...)
			return append(append(all, deed{verb: "rotate ID", ms: coverOverlap}), m.jumps(&policies[0])...)
		},
	}
}

// gapSuspendScenario is a token that is suspended or resumed while a verb is under way.
func gapSuspendScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "Suspend between two calls", setup: worldSetup{policies: []modelPolicy{p}}, gap: true,
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			outer := append(each(texts[:1], deed{verb: "authenticate"}, deed{verb: "renew"}, deed{verb: "confirm"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"}), suspending(m)...)
			inner := append(append(suspending(m), deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "expire"}), m.jumps(&p)...)
			return append(append(m.jumps(&p), inner...), within(outer, inner)...)
		},
	}
}

// heldSuspendScenario is a token with a delegate, by both of which connections are held.
func heldSuspendScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "a held suspended token", setup: worldSetup{policies: []modelPolicy{p}},
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana"}}, {verb: "delegate", text: modelText{kind: plainText}, grant: lapse.Grant{MaxUses: 2}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := append(m.texts(0, plainText, hand)[:1], m.texts(1, plainText, hand)[:1]...)
			all := append(holding(m, texts, 2), suspending(m)...)
			all = append(all, each(texts[1:], deed{verb: "authenticate"})...)
			return append(append(all, deed{verb: "rotate ID"}, deed{verb: "expire", record: 1}), m.jumps(&p)...)
		},
	}
}
