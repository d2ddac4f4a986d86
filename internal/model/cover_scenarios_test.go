package model

import "github.com/seed-55daa01a/lapse"

// coverPolicy is a policy whose limits lie apart.
func coverPolicy(prefix string) modelPolicy {
	return modelPolicy{
		prefix: prefix, ttl: 1000, maxTTL: 2600, retention: 300, renewal: lapse.RenewOnUse,
		maxTokens: 100, maxDelegates: 100, atLimit: lapse.LimitRefuse,
	}
}

const coverOverlap = 400

func coverPairs() modelPairs {
	ps := modelPairs{access: coverPolicy("c"), refresh: coverPolicy("r"), grace: coverOverlap}
	ps.access.ttl, ps.access.renewal = 600, lapse.RenewNever
	return ps
}

func scenarios() []scenario {
	return []scenario{
		plainScenario(), budgetScenario(), sessionScenario(), delegateScenario(), leakScenario(), sessionDelegateScenario(),
		limitScenario("the idlest ends", lapse.LimitEndIdlest), limitScenario("the oldest ends", lapse.LimitEndOldest),
		limitScenario("a full house", lapse.LimitRefuse), plainLimitScenario(), gapScenario(), gapSessionScenario(), obtainScenario(), twoPairsScenario(),
		boundScenario(), boundSessionScenario(), boundDelegateScenario(), gapConfirmScenario(),
		suspendScenario(), suspendSessionScenario(), suspendDelegateScenario(), suspendLimitScenario(), suspendObtainScenario(), gapSuspendScenario(),
		editScenario(), editFamilyScenario(), editSessionScenario(), gapEditScenario(),
		importScenario(), requestScenario(), gapAliasScenario(),
	}
}

// plainScenario is one token that is rotated.
func plainScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "a plain token", setup: worldSetup{policies: []modelPolicy{p}},
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := each(texts, deed{verb: "authenticate"}, deed{verb: "peek"}, deed{verb: "renew"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})
			all = append(all, each(odd(texts[0], mistyped), deed{verb: "authenticate"}, deed{verb: "expire bearer"})...)
			all = append(all, deed{verb: "rotate ID"}, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "expire"},
				deed{verb: "expire subject", record: nowhere, grant: lapse.Grant{Subject: "ana"}}, deed{verb: "forget subject", grant: lapse.Grant{Subject: "ana"}}, deed{verb: "sweep"})
			all = append(all, lost(hand, deed{verb: "rotate", text: m.currentText(0, plainText), ms: coverOverlap})...)
			return append(all, m.moves(&p)...)
		},
	}
}

// budgetScenario is one token with a budget of three uses.
func budgetScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "a budget", setup: worldSetup{policies: []modelPolicy{p}},
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", MaxUses: 3}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := each(texts, deed{verb: "authenticate"}, deed{verb: "renew"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})
			all = append(all, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "sweep"})
			return append(all, m.moves(&p)...)
		},
	}
}

// sessionScenario is one session.
func sessionScenario() scenario {
	ps := coverPairs()
	return scenario{
		name: "a session", setup: worldSetup{pairs: []modelPairs{ps}},
		begin: []deed{{verb: "log in", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			opens, renews := m.texts(0, accessText, hand), m.texts(0, refreshText, hand)
			all := each(opens, deed{verb: "authenticate"}, deed{verb: "peek"}, deed{verb: "renew"}, deed{verb: "rotate", ms: 1}, deed{verb: "expire bearer"}, deed{verb: "expire pair"})
			all = append(all, each(renews, deed{verb: "refresh"}, deed{verb: "refresh", scope: "a"}, deed{verb: "refresh", scope: "b c"}, deed{verb: "peek pair"}, deed{verb: "expire pair"}, deed{verb: "authenticate"})...)
			all = append(all, each(odd(opens[0], otherKind, mistyped), deed{verb: "refresh"}, deed{verb: "expire pair"})...)
			all = append(all, each(odd(renews[0], otherKind, mistyped), deed{verb: "authenticate"}, deed{verb: "expire pair"})...)
			all = append(all, deed{verb: "rotate ID", ms: 1}, deed{verb: "expire"},
				deed{verb: "expire subject", record: nowhere, grant: lapse.Grant{Subject: "ana"}}, deed{verb: "forget subject", grant: lapse.Grant{Subject: "ana"}}, deed{verb: "sweep"}, deed{verb: "sessions", grant: lapse.Grant{Subject: "ana"}})
			all = append(all, lost(hand, deed{verb: "refresh", text: m.currentText(0, refreshText)})...)
			return append(all, m.moves(&ps.access)...)
		},
	}
}
