package lapse_test

import (
	"time"

	"github.com/seed-55daa01a/lapse"
)

// delegate is mostly by the token's own Manager, so that generations come about.
func (h *history) delegate(n int) error {
	t := h.some(2)
	if t == nil {
		return nil
	}
	n = h.own(t, n)
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
	next := h.model.draft(p, g)
	next.family = t.family
	next.under(t, p)
	return h.issued(p, next, got, evicted)
}
