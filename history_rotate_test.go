package lapse_test

import (
	"errors"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// own is mostly the Manager of t's own prefix, or else n.
func (h *history) own(t *modelToken, n int) int {
	own := slices.IndexFunc(h.policies[:], func(p modelPolicy) bool { return p.prefix == t.prefix })
	if h.next(8) == 0 || own < 0 {
		return n
	}
	return own
}

// overlapping is one of the newest tokens that live on beside their successors, if any do.
func (h *history) overlapping() *modelToken {
	both := slices.DeleteFunc(slices.Clone(h.model.tokens), func(t *modelToken) bool { return t.successor == nil || !h.model.lasts(t) })
	if len(both) == 0 {
		return nil
	}
	return both[len(both)-1-h.next(min(2, len(both)))]
}

// rotate is of a new token, mostly, and often of one whose answer got lost.
func (h *history) rotate(n int) error {
	t := h.some(3)
	if t == nil {
		return nil
	}
	if t.predecessor != nil && !t.predecessor.swept && h.next(2) == 0 {
		t = t.predecessor
	}
	n = h.own(t, n)
	p := h.policies[n]
	overlap := pick[int64](h, minute, 0, 10*minute, 1, hour, 0, 3*hour)
	if t.uses > 0 && h.next(4) > 0 { // or it is refused
		overlap = 0
	}
	h.say("%s: rotate %s, overlap %d", p.prefix, t.id, overlap)
	got, err := h.managers[n].Rotate(h.ctx, t.bearer, time.Duration(overlap)*time.Millisecond)
	next, want := h.model.rotate(t, overlap, p)
	if want != nil || err != nil {
		return sameError(want, err)
	}
	return h.issued(p, next, got, nil)
}

func (h *history) obtain(n int) error {
	p := h.policies[n]
	g := lapse.Grant{
		Subject: h.subject(), Name: pick(h, "", "laptop"), Data: pick(h, "", "d"), TTL: pick[time.Duration](h, 0, hour, 0, minute, 3*hour) * time.Millisecond,
		MaxUses: pick(h, 0, 0, 0, 2),
	}
	if t := h.some(8); t != nil && t.key != 0 && h.next(4) > 0 { // what there is, or was
		n = h.own(t, n)
		p, g.Subject, g.Name, g.MaxUses = h.policies[n], t.subject, t.name, t.uses
	}
	h.say("%s obtains for %s, name %q, ttl %v, %d uses", p.prefix, g.Subject, g.Name, g.TTL, g.MaxUses)
	got, err := h.managers[n].Obtain(h.ctx, g)
	t, reused, evicted, want := h.model.obtain(g, p)
	if want != nil || err != nil {
		return sameError(want, err)
	}
	if !reused {
		return h.issued(p, t, got, evicted)
	}
	return errors.Join(
		same("obtained", t.view(p), got.Token), same("bearer", t.bearer, got.Bearer),
		same("reused, and nobody evicted", []bool{true, true}, []bool{got.Reused, len(got.Evicted) == 0}),
	)
}
