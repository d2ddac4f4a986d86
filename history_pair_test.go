package lapse_test

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// configurePairs makes Pairs anew, whose access tokens the last of the Managers is for.
func (h *history) configurePairs() error {
	ps := modelPairs{access: h.policy("c"), refresh: h.policy("r"), grace: pick[int64](h, 10*second, minute, 0, second)}
	cfg := lapse.PairConfig{Access: h.config(ps.access), Refresh: h.config(ps.refresh), Grace: time.Duration(ps.grace) * time.Millisecond}
	cfg.Grace = cmp.Or(cfg.Grace, lapse.NoGrace)
	pairs, err := lapse.NewPairs(h.store, cfg)
	if err != nil {
		return err
	}
	h.modelPairs, h.pairs = ps, pairs
	h.policies[2], h.managers[2] = ps.access, pairs.Access()
	return nil
}

func (h *history) issuePair(int) error {
	g := lapse.Grant{
		Subject: h.subject(), Name: "pair", Scope: pick(h, "a b", "", "a b"), TTL: pick[time.Duration](h, 0, minute, hour, 1, 0, 3*hour) * time.Millisecond, MaxUses: pick(h, 0, 0, 0, 0, 0, 0, 1),
	}
	h.say("pair for %s, scope %q, ttl %v, %d uses", g.Subject, g.Scope, g.TTL, g.MaxUses)
	got, err := h.pairs.Issue(h.ctx, g)
	pair, want := h.model.issuePair(g, h.modelPairs)
	if want != nil || err != nil {
		return sameError(want, err)
	}
	return h.paired(pair, got)
}

// refreshToken is one of the newest refresh tokens, those before the last one too.
func (h *history) refreshToken() *modelToken {
	held := slices.DeleteFunc(slices.Clone(h.model.tokens), func(t *modelToken) bool { return t.swept || t.prefix != "r" })
	if len(held) == 0 || h.next(16) == 0 {
		return h.any()
	}
	return held[len(held)-1-h.next(min(3, len(held)))]
}

func (h *history) refresh(int) error {
	if t := h.refreshToken(); t != nil {
		return h.refreshWith(t)
	}
	return nil
}

// replay presents a refresh token that was rotated, where its grace ends or beside.
func (h *history) replay(int) error {
	t := h.refreshToken()
	if t == nil || t.reason != lapse.EndRotated {
		return nil
	}
	if to := t.ended + h.modelPairs.grace + pick[int64](h, -1, 0, 1); to > h.model.now {
		h.move(to - h.model.now)
	}
	return h.refreshWith(t)
}

func (h *history) refreshWith(t *modelToken) error {
	scope := pick(h, "", "", "a", "", "", "b a", "c")
	h.say("refresh %s, scope %q", t.id, scope)
	got, err := h.pairs.Refresh(h.ctx, t.bearer, scope)
	pair, want := h.model.refresh(t, scope, h.modelPairs)
	if want == lapse.ErrReused {
		return errors.Join(sameError(want, err), h.robbed(t.family))
	}
	if want != nil || err != nil {
		return sameError(want, err)
	}
	return h.paired(pair, got)
}

// paired compares credentials, and takes them into the model if they are new.
func (h *history) paired(pair modelPair, got lapse.Credentials) error {
	ps := h.modelPairs
	var errs []error
	if pair.repeated {
		access := pair.access.view(ps.access)
		if pair.access.swept { // no more is known of it
			access = lapse.Token{ID: access.ID, Prefix: access.Prefix, Subject: access.Subject, Family: access.Family}
		}
		errs = []error{
			same("access token again", access, got.Access.Token), same("refresh token again", pair.refresh.view(ps.refresh), got.Refresh.Token),
			same("bearers again", []string{pair.access.bearer, pair.refresh.bearer}, []string{got.Access.Bearer, got.Refresh.Bearer}),
		}
	} else {
		pair.refresh.id = got.Refresh.ID.String() // which is in the family of the other
		pair.access.id = got.Access.ID.String()
		errs = []error{
			h.issued(ps.refresh, pair.refresh, got.Refresh, pair.evictedRefresh),
			h.issued(ps.access, pair.access, got.Access, pair.evictedAccess),
		}
	}
	var left int64
	if h.model.live(pair.access, ps.access) {
		left = pair.access.seen(ps.access).expires - h.model.now
	}
	errs = append(errs, same("expires in", left, got.ExpiresIn.Milliseconds()), same("repeated", pair.repeated, got.Repeated))
	return errors.Join(errs...)
}

func (h *history) expirePair(int) error {
	t := h.some(4)
	if h.next(2) == 0 {
		t = h.refreshToken()
	}
	if t == nil {
		return nil
	}
	h.say("expire the pair of %s", t.id)
	err := h.pairs.Expire(h.ctx, t.bearer)
	return sameError(h.model.expirePair(t, h.modelPairs), err)
}
