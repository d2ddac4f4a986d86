package lapse_test

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// delegate is mostly by the token's own Manager, so that generations come about.
func (h *history) delegate(n int) error {
	t := h.some(2)
	if t == nil {
		return nil
	}
	if h.next(8) > 0 {
		n = slices.IndexFunc(h.policies[:], func(p modelPolicy) bool { return p.prefix == t.prefix })
	}
	p := h.policies[n]
	g := lapse.Grant{
		Scope: pick(h, t.scope, "a", "b a", t.scope, "", "a c"), TTL: pick[time.Duration](h, 0, hour, minute, 0, 3*hour, 1) * time.Millisecond, MaxUses: pick(h, 0, 0, 0, 0, 2),
	}
	h.say("%s delegates from %s, scope %q, ttl %v, %d uses", p.prefix, t.id, g.Scope, g.TTL, g.MaxUses)
	got, err := h.managers[n].Delegate(h.ctx, t.bearer, g)
	want := h.model.judge(t, p)
	if want == nil && g.TTL.Milliseconds() > p.maxTTL {
		want = lapse.ErrInvalidGrant
	}
	var evicted []*modelToken
	if want == nil {
		evicted, want = h.model.delegate(t, g.Scope, p)
	}
	if want != nil || err != nil {
		return sameError(want, err)
	}
	g.Subject = t.subject
	return h.issued(p, g, t, got, evicted)
}

func (h *history) observe(e lapse.Event) {
	if e.Kind == lapse.EventEnded {
		h.told = append(h.told, e.Token.ID.String())
	}
}

// compareEnds: each end is told of once, and nothing else is.
func (h *history) compareEnds() error {
	return same("ends told of", slices.Sorted(slices.Values(h.model.told)), slices.Sorted(slices.Values(h.told)))
}

// compareRecords holds what is stored itself against the model: it is not enough that a
// Manager makes the same of it.
func (h *history) compareRecords() error {
	var want []*modelToken
	for _, t := range h.model.tokens {
		if !t.swept {
			want = append(want, t)
		}
	}
	slices.SortFunc(want, func(a, b *modelToken) int { return strings.Compare(a.id, b.id) })
	for rec, err := range h.store.List(h.ctx, storage.Filter{}) {
		if err != nil {
			return err
		}
		if len(want) == 0 {
			return same("a record of nobody's", lapse.Token{}, rec.Token)
		}
		t := want[0]
		want = want[1:]
		if rec.Token == t.stored() && rec.TTL.Milliseconds() == t.ttl {
			continue // without the cost of finding out how they differ
		}
		if err := same("record", storage.Record{Token: t.stored(), TTL: time.Duration(t.ttl) * time.Millisecond, Digest: rec.Digest}, rec); err != nil {
			return err
		}
	}
	return same("records that are missing", 0, len(want))
}
