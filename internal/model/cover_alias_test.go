package model

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
)

// importVerb is Import on both sides. The foreign text is the first text of the token.
var importVerb = coverVerb{
	func(w *world, a *deed, _ lapse.ID, _ string) (outcome, []string, error) {
		f := lapse.Foreign{Key: string(a.foreign.key), Digest: []byte{a.foreign.digest}}
		tok, err := w.managers[a.by].Import(w.ctx, a.grant, f)
		if err != nil {
			return outcome{}, nil, err
		}
		return outcome{token: tok}, []string{a.foreign.String()}, nil
	},
	func(m *model, w *world, a *deed, id lapse.ID) outcome {
		return m.importToken(w, w.policies[a.by], a.grant, a.foreign, id)
	},
}

// drop takes the texts of the key of f out of hand: they are texts of another token from now on.
func (w *world) drop(f foreignText) {
	label := f.String()[:len(foreignLabel)+1]
	w.texts = slices.DeleteFunc(slices.Clone(w.texts), func(h heldText) bool { return strings.HasPrefix(h.bearer, label) })
}

// storedAlias has the fields of an alias that are compared.
type storedAlias struct {
	Token           lapse.ID
	Prefix, Subject string
	Issued, Until   time.Time
}

// The stored form of an alias: "a1", the ID of the token, a hash of what that was made for.
const aliasLen = 2 + 16 + 32

// compareAliases holds the aliases that are stored against the model.
func (w *world) compareAliases(m *model, stored []storage.Record) error {
	var want, got []storedAlias
	for _, a := range m.aliases {
		if !a.swept {
			want = append(want, storedAlias{m.records[a.record].id, a.prefix, a.subject, instantOf(a.issued), instantOf(a.until)})
		}
	}
	for _, rec := range stored {
		text := rec.Sealed.Text()
		if len(text) != aliasLen || !strings.HasPrefix(text, "a1") || rec.MaxExpiresAt != rec.ExpiresAt || !rec.EndedAt.IsZero() || rec.Digest != (storage.Digest{}) {
			return fmt.Errorf("%w: %v", errForm, rec.Token)
		}
		got = append(got, storedAlias{lapse.ID([]byte(text[2:18])), rec.Prefix, rec.Subject, rec.IssuedAt, rec.ExpiresAt})
	}
	for _, all := range [][]storedAlias{want, got} {
		slices.SortFunc(all, func(a, b storedAlias) int { return a.Token.Compare(b.Token) })
	}
	if slices.Equal(want, got) {
		return nil
	}
	return same("aliases", want, got)
}

// aliases adds what finds a token by a key.
func (k *keyOfState) aliases(m *model, retention int64) {
	for i := range m.aliases {
		a := &m.aliases[i]
		k.flags(a.swept, a.until <= m.now)
		if a.swept {
			continue
		}
		if a.until > m.now {
			k.until(a.until)
		} else {
			k.since(a.until, retention)
		}
		k.numbers(a.record, int(a.digest))
		k.b = append(append(k.b, a.key...), 0)
	}
}

var importedAna = deed{verb: "import", grant: lapse.Grant{Subject: "ana", Scope: "a b"}, foreign: foreignText{'k', '3'}}

// importing are the import of the first token once more, under another digest and another subject,
// and that of a second token.
func importing(m *model) []deed {
	again, digest, subject, key := importedAna, importedAna, importedAna, importedAna
	digest.foreign.digest, subject.grant.Subject, key.foreign.key = '5', "bob", 'l'
	all := []deed{again, digest, subject}
	if len(m.records) < 2 {
		all = append(all, key)
	}
	return all
}

// importScenario is a token that was imported.
func importScenario() scenario {
	p := coverPolicy("a")
	p.maxTokens, p.atLimit = 1, lapse.LimitEndOldest
	return scenario{
		name: "an imported token", setup: worldSetup{policies: []modelPolicy{p}}, begin: []deed{importedAna},
		deeds: func(m *model, hand func(modelText) bool) (all []deed) {
			for n := range m.records {
				texts := m.texts(n, plainText, hand)
				all = append(all, each(texts, deed{verb: "authenticate"}, deed{verb: "renew"}, deed{verb: "rotate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})...)
				if len(texts) > 0 {
					all = append(all, each(odd(texts[0], mistyped), deed{verb: "authenticate"}, deed{verb: "expire bearer"})...)
				}
			}
			all = append(append(all, importing(m)...), deed{verb: "rotate ID", ms: coverOverlap}, deed{verb: "suspend"},
				deed{verb: "forget subject", grant: lapse.Grant{Subject: "ana"}}, deed{verb: "sweep"})
			return append(all, m.jumps(&p)...)
		},
	}
}

// requestScenario is a token with a budget that was issued by a RequestID, and a Manager with another key.
func requestScenario() scenario {
	policies := []modelPolicy{coverPolicy("a"), coverPolicy("a")}
	policies[0].keys, policies[1].keys = []byte{1}, []byte{2}
	ana := lapse.Grant{Subject: "ana", Scope: "a", MaxUses: 2, RequestID: "first"}
	scope, request := ana, ana
	scope.Scope, request.RequestID = "b", "second"
	return scenario{
		name: "a token of a RequestID", setup: worldSetup{policies: policies}, begin: []deed{{verb: "issue", grant: ana}},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			all := []deed{{verb: "issue", grant: ana}, {verb: "issue", grant: ana, by: 1}, {verb: "issue", grant: scope}}
			if len(m.records) < 2 {
				all = append(all, deed{verb: "issue", grant: request})
			}
			all = append(all, each(m.texts(0, plainText, hand), deed{verb: "authenticate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})...)
			all = append(append(all, suspending(m)...), deed{verb: "rotate ID"}, deed{verb: "forget subject", grant: ana}, deed{verb: "sweep"})
			return append(all, m.jumps(&policies[0])...)
		},
	}
}

// gapAliasScenario is an Import, and a token that it stored, of which something changes while a verb is
// under way.
func gapAliasScenario() scenario {
	p := coverPolicy("a")
	ana := lapse.Grant{Subject: "ana", RequestID: "first"}
	return scenario{
		name: "Import within another verb", setup: worldSetup{policies: []modelPolicy{p}}, gap: true, begin: []deed{importedAna},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			texts = texts[:min(1, len(texts))]
			outer := each(texts, deed{verb: "authenticate"}, deed{verb: "rotate", ms: coverOverlap}, deed{verb: "expire bearer"})
			makes := []deed{importedAna}
			if len(m.records) < 3 {
				makes = append(importing(m), deed{verb: "issue", grant: ana})
			}
			inner := append(slices.Clone(makes), deed{verb: "rotate ID"}, deed{verb: "expire"})
			forget := deed{verb: "forget subject", grant: ana}
			all := append(append(m.jumps(&p), inner...), forget)
			return append(append(all, within(append(outer, makes...), inner)...), within(makes, []deed{forget})...)
		},
	}
}

// heldEditScenario is a token that was imported, by which connections are held, and that is edited.
func heldEditScenario() scenario {
	p := coverPolicy("a")
	return scenario{
		name: "a held edited token", setup: worldSetup{policies: []modelPolicy{p}}, begin: []deed{importedAna},
		deeds: func(m *model, hand func(modelText) bool) []deed {
			texts := m.texts(0, plainText, hand)
			all := append(append(holding(m, texts[:1], 1), editing(0)...), each(texts[:1], deed{verb: "rotate", ms: coverOverlap})...)
			return append(all, m.jumps(&p)...)
		},
	}
}

// reads is a store whose transactions read of each alias what change makes of it.
func reads(change func(alias *storage.Record)) func(storage.Store) storage.Store {
	return func(s storage.Store) storage.Store {
		return &lapsetest.Wrong{Store: s, OnRead: func(r storage.Record) storage.Record {
			if r.Kind == storage.KindAlias {
				change(&r)
			}
			return r
		}}
	}
}

// aliasFaults are faults in how a token is found by a key.
func aliasFaults() []coverFault {
	named := ""
	return []coverFault{
		{name: "a foreign text outlives its secret", in: importScenario(), bearer: inPlace(isSpent, "authenticate", func(m *model, t modelText) modelText {
			return m.currentText(t.record, plainText)
		})},
		{name: "an alias outlives its token", in: importScenario(), wrap: puts(func(put *storage.Record) {
			if put.Kind == storage.KindAlias {
				put.ExpiresAt = put.ExpiresAt.Add(time.Millisecond)
				put.MaxExpiresAt = put.ExpiresAt
			}
		})},
		{name: "a repeated Import revives", in: importScenario(), after: func(_ *world, _ *model, a *deed, got *outcome) {
			if a.verb == "import" {
				got.token.EndedAt, got.token.EndReason = time.Time{}, 0
			}
		}},
		{name: "an import takes the key of another subject", in: importScenario(), after: func(_ *world, _ *model, a *deed, got *outcome) {
			if a.verb == "import" && a.grant.Subject == "bob" {
				got.err = nil
			}
		}},
		{name: "a RequestID makes a second token", in: requestScenario(), wrap: reads(func(alias *storage.Record) { alias.ExpiresAt = alias.IssuedAt })},
		{name: "a RequestID gives the token of another", in: requestScenario(), wrap: reads(func(alias *storage.Record) {
			text := alias.Sealed.Text()
			if named == "" {
				named = text[2:18]
			}
			alias.Sealed = storage.NewSealed(text[:2] + named + text[18:])
		})},
		{name: "a RequestID stands for longer than a day", in: requestScenario(), wrap: reads(func(alias *storage.Record) { alias.ExpiresAt = alias.ExpiresAt.Add(time.Millisecond) })},
	}
}
