package model

import (
	"context"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
)

// proving is a context with the proof of a key, or without one for 0.
func proving(key byte) context.Context {
	if key == 0 {
		return context.Background()
	}
	return lapse.WithProof(context.Background(), lapse.Thumbprint{key})
}

// puts is a store that puts what change makes of each record.
func puts(change func(put *storage.Record)) func(storage.Store) storage.Store {
	return func(s storage.Store) storage.Store {
		return &lapsetest.Wrong{Store: s, OnPut: func(r storage.Record) storage.Record {
			change(&r)
			return r
		}}
	}
}

// boundAna is a grant that is bound to the first key, and to a client.
var boundAna = lapse.Grant{Subject: "ana", Scope: "a b", Client: "app", Thumbprint: lapse.Thumbprint{1}}

// withProofs are all of deeds with the proof of the first key, without one, and with that of another key.
func withProofs(deeds []deed) (all []deed) {
	for _, key := range []byte{1, 0, 2} {
		for _, a := range deeds {
			a.proof = key
			all = append(all, a)
		}
	}
	return all
}

// boundScenario is one token that is bound to a key.
func boundScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "a bound token", setup: worldSetup{policies: []modelPolicy{p}}, begin: []deed{{verb: "issue", grant: boundAna}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := each(texts, deed{verb: "authenticate"}, deed{verb: "peek"}, deed{verb: "renew"}, deed{verb: "confirm"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})
			all = withProofs(append(all, each(odd(texts[0], mistyped), deed{verb: "confirm"})...))
			all = append(all, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "expire"}, deed{verb: "sweep"})
			return append(all, m.jumps(&p)...)
		},
	}
}

// boundSessionScenario is one session that is bound to a key.
func boundSessionScenario() scenario {
	ps := coverPairs()
	return scenario{
		name: "a bound session", setup: worldSetup{pairs: []modelPairs{ps}}, begin: []deed{{verb: "log in", grant: boundAna}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			opens, renews := m.texts(0, accessText, hand), m.texts(0, refreshText, hand)
			all := each(opens, deed{verb: "authenticate"}, deed{verb: "confirm"}, deed{verb: "expire bearer"}, deed{verb: "expire pair"})
			all = append(all, each(renews, deed{verb: "refresh"}, deed{verb: "peek pair"}, deed{verb: "expire pair"}, deed{verb: "confirm"})...)
			all = append(all, each(odd(renews[0], otherKind), deed{verb: "confirm"}, deed{verb: "expire pair"})...)
			return append(append(withProofs(all), deed{verb: "sweep"}), m.jumps(&ps.access)...)
		},
	}
}

// boundDelegateScenario is a bound token and its delegates, one of which is bound to another key.
func boundDelegateScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "bound delegates", setup: worldSetup{policies: []modelPolicy{p}}, begin: []deed{{verb: "issue", grant: boundAna}},
		deeds: func(m *model, hand func(modelText) bool) (all []deed) {
			for n := range m.records {
				texts := m.texts(n, plainText, hand)[:1]
				all = append(all, each(texts, deed{verb: "authenticate"}, deed{verb: "confirm"})...)
				if len(m.records) < 3 {
					all = append(all, each(texts, deed{verb: "delegate"}, deed{verb: "delegate", grant: lapse.Grant{Thumbprint: lapse.Thumbprint{2}}})...)
				}
			}
			return append(withProofs(all), m.jumps(&p)...)
		},
	}
}

// gapConfirmScenario is a token of which something changes while Confirm is under way.
func gapConfirmScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "Confirm between two calls", setup: worldSetup{policies: []modelPolicy{p}}, gap: true,
		begin: []deed{{verb: "issue", grant: lapse.Grant{Subject: "ana", Scope: "a b"}}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			outer := each(texts, deed{verb: "confirm"})
			inner := each(texts[:1], deed{verb: "confirm"}, deed{verb: "authenticate"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap})
			inner = append(append(inner, deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "expire"}), m.jumps(&p)...)
			outer = append(outer, each(texts[:1], deed{verb: "renew"}, deed{verb: "rotate", ms: coverOverlap})...)
			return append(append(m.jumps(&p), inner...), within(outer, inner)...)
		},
	}
}
