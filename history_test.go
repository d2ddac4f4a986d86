package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// history plays a script on three Managers over one store and on the model, and
// compares them after each step. The script decides everything that is not
// secret, so a failure can be played again.
type history struct {
	ctx      context.Context
	script   []byte
	model    model
	clock    *stepClock
	store    storage.Store
	reopen   func(storage.Store) (storage.Store, error) // nil: the store cannot
	policies [3]modelPolicy
	managers [3]*lapse.Manager
	pairs    *lapse.Pairs // the last Manager is that of its access tokens
	log      []string

	modelPairs modelPairs
	told       []string // IDs of the tokens of which an end was told, in this step
}

// next takes a number below n from the script, 0 once it has ended.
func (h *history) next(n int) int {
	if len(h.script) == 0 {
		return 0
	}
	v := int(h.script[0]) % n
	h.script = h.script[1:]
	return v
}

func pick[T any](h *history, values ...T) T { return values[h.next(len(values))] }

const (
	second = 1000
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

func (h *history) policy(prefix string) modelPolicy {
	return modelPolicy{
		prefix:     prefix,
		ttl:        pick[int64](h, 30*minute, minute, hour),
		maxTTL:     pick[int64](h, 30*day, 2*hour, hour, never),
		renewal:    pick(h, lapse.RenewOnUse, lapse.RenewOnRequest, lapse.RenewNever),
		renewEvery: pick[int64](h, 0, minute, 10*minute),
		maxTokens:  pick(h, 2, 100, 1, 100, 3),
		atLimit:    pick(h, lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest),
		retention:  pick[int64](h, 1, hour, day),
		keys:       pick(h, []byte{1}, []byte{2, 1}, []byte{2}, []byte{3, 1, 2}, nil),
	}
}

// play runs the script to its end and returns the first difference.
func play(script []byte, store storage.Store, reopen func(storage.Store) (storage.Store, error)) error {
	h := &history{ctx: context.Background(), script: script, clock: newClock(), store: store, reopen: reopen}
	h.model.now = start.UnixMilli()
	if err := h.configure(); err != nil {
		return err
	}
	h.look()
	defer func() { h.store.Close() }()
	for len(h.script) > 0 {
		h.told, h.model.told = nil, nil
		err := h.step()
		if err == nil {
			err = errors.Join(h.compareEnds(), h.compare(), h.compareRecords(), h.sound())
		}
		if err != nil {
			return fmt.Errorf("after %d steps\n%s\n%w", len(h.log), strings.Join(h.log, "\n"), err)
		}
	}
	return nil
}

// configure makes all Managers anew, under policies from the script.
func (h *history) configure() error {
	for n, prefix := range []string{"a", "b"} {
		p := h.policy(prefix)
		m, err := lapse.New(h.store, h.config(p))
		if err != nil {
			return err
		}
		h.policies[n], h.managers[n] = p, m
	}
	return h.configurePairs()
}

func (h *history) config(p modelPolicy) lapse.Config {
	cfg := keyed(p.real(), p.keys...)
	cfg.Prefix, cfg.Clock, cfg.Observe = p.prefix, h.clock, h.observe
	return cfg
}

func (h *history) say(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf("%13d  ", h.model.now)+fmt.Sprintf(format, args...))
}

// step takes one step of the script on both sides.
func (h *history) step() error {
	steps := []func(int) error{
		h.issue, h.issue, h.delegate, h.delegate, h.delegate, h.authenticate, h.authenticate, h.authenticate, h.authenticate,
		h.rotate, h.rotate, h.rotate, h.obtain, h.obtain,
		h.issuePair, h.issuePair, h.refresh, h.refresh, h.refresh, h.refresh, h.refresh, h.expirePair, h.replay, h.peek, h.renew, h.renew, h.expire, h.expireBearer, h.expireSubject, h.sweep, h.sweep, h.forward, h.forward, h.edge, h.edge, h.back, h.restart, h.forge,
	}
	return steps[h.next(len(steps))](pick(h, 0, 1, 0, 1, 2))
}

func same(what string, want, got any) error {
	if diff := gocmp.Diff(want, got); diff != "" {
		return fmt.Errorf("%s (-want +got):\n%s", what, diff)
	}
	return nil
}

func sameError(want, got error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("error %v; want %v", got, want)
	}
	return nil
}

// any returns one of all tokens ever issued, nil while there is none.
func (h *history) any() *modelToken {
	if len(h.model.tokens) == 0 {
		return nil
	}
	return h.model.tokens[h.next(len(h.model.tokens))]
}

// some returns one of the newest tokens that live, mostly, for the dead are many.
func (h *history) some(newest int) *modelToken {
	alive := slices.DeleteFunc(slices.Clone(h.model.tokens), func(t *modelToken) bool { return !h.model.lasts(t) })
	if len(alive) == 0 || h.next(4) == 0 {
		return h.any()
	}
	return alive[len(alive)-1-h.next(min(newest, len(alive)))]
}

func (h *history) subject() string { return pick(h, "ana", "bob", "an") }

func (h *history) issue(n int) error {
	p := h.policies[n]
	g := lapse.Grant{
		Subject: h.subject(), Scope: pick(h, "a b", "", "a b"), TTL: pick[time.Duration](h, 0, minute, hour, 1, 3*hour) * time.Millisecond, MaxUses: pick(h, 0, 0, 0, 0, 1, 3),
	}
	g.Name, g.Data = "name of "+g.Subject, "data of "+g.Subject
	h.say("%s issues for %s, scope %q, ttl %v, %d uses", p.prefix, g.Subject, g.Scope, g.TTL, g.MaxUses)
	got, err := h.managers[n].Issue(h.ctx, g)
	if g.TTL.Milliseconds() > p.maxTTL {
		return sameError(lapse.ErrInvalidGrant, err)
	}
	evicted, want := h.model.room(g.Subject, p, false)
	if want != nil || err != nil {
		return sameError(want, err)
	}
	return h.issued(p, h.model.draft(p, g), got, evicted)
}

// issued takes a new token into the model, and compares it with what the real one is.
func (h *history) issued(p modelPolicy, t *modelToken, got lapse.Issued, evicted []*modelToken) error {
	t.id, t.bearer = got.ID.String(), got.Bearer
	h.model.tokens = append(h.model.tokens, t)
	var reduced, ids, gotIDs []string
	if t.parent != nil && t.seen(p).expires < min(t.issued+t.ttl, plus(t.issued, p.maxTTL)) {
		reduced = []string{"TTL"}
	}
	for _, e := range evicted {
		ids = append(ids, e.id)
	}
	for _, id := range got.Evicted {
		gotIDs = append(gotIDs, id.String())
	}
	return errors.Join(
		same("issued", t.view(p), got.Token), same("evicted", ids, gotIDs), same("reduced", reduced, got.Reduced), same("reused", false, got.Reused),
	)
}

// present compares a verb that takes a bearer with what the model says of it.
func (h *history) present(n int, name string, verb func(*lapse.Manager, context.Context, string) (lapse.Token, error), model func(*modelToken, modelPolicy) error) error {
	t := h.some(4)
	if t == nil {
		return nil
	}
	if o := h.overlapping(); o != nil && h.next(3) == 0 {
		t, n = o, h.own(o, n)
	}
	h.say("%s: %s %s", h.policies[n].prefix, name, t.id)
	got, err := verb(h.managers[n], h.ctx, t.bearer)
	if want := model(t, h.policies[n]); want != nil || err != nil {
		return sameError(want, err)
	}
	return same(name, t.view(h.policies[n]), got)
}

func (h *history) authenticate(n int) error {
	return h.present(n, "authenticate", (*lapse.Manager).Authenticate, h.model.authenticate)
}

func (h *history) peek(n int) error {
	return h.present(n, "peek", (*lapse.Manager).Peek, h.model.judge)
}

func (h *history) renew(n int) error {
	return h.present(n, "renew", (*lapse.Manager).Renew, h.model.renew)
}

func (h *history) expireBearer(n int) error {
	return h.present(n, "expire bearer", (*lapse.Manager).ExpireBearer, func(t *modelToken, p modelPolicy) error {
		if err := h.model.judge(t, p); errors.Is(err, lapse.ErrUnknown) {
			return err
		}
		h.model.expire(t)
		return nil
	})
}

func (h *history) expire(n int) error {
	t := h.some(4)
	if t == nil {
		return nil
	}
	h.say("%s: expire %s", h.policies[n].prefix, t.id)
	got, err := h.managers[n].Expire(h.ctx, t.real())
	return errors.Join(err, same("ended", h.model.expire(t), got))
}

func (h *history) expireSubject(n int) error {
	subject, keep := h.subject(), h.some(4)
	h.say("%s: expire subject %s", h.policies[n].prefix, subject)
	var ids []lapse.ID
	if keep != nil && h.next(2) == 0 {
		ids = append(ids, keep.real())
	} else {
		keep = nil
	}
	got, err := h.managers[n].ExpireSubject(h.ctx, subject, ids...)
	return errors.Join(err, same("ended", h.model.expireSubject(subject, keep), got))
}

func (h *history) sweep(n int) error {
	h.say("%s: sweep", h.policies[n].prefix)
	got, err := h.managers[n].Sweep(h.ctx)
	return errors.Join(err, same("swept", h.model.sweep(h.policies[n]), got))
}

// restart closes the store, where it can be opened again, and comes back with
// other policies.
func (h *history) restart(int) error {
	h.say("restart")
	if h.reopen != nil {
		store, err := h.reopen(h.store)
		if err != nil {
			return err
		}
		h.store = store
	}
	return h.configure()
}

// forge presents a token with one character changed.
func (h *history) forge(n int) error {
	t := h.any()
	if t == nil {
		return nil
	}
	at := h.next(len(t.bearer))
	b := []byte(t.bearer)
	if b[at]++; t.bearer == string(b) {
		return nil
	}
	_, err := h.managers[n].Authenticate(h.ctx, string(b))
	return sameError(lapse.ErrMalformed, err)
}
