package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// history plays a script on two Managers over one store and on the model, and
// compares them after each step. The script decides everything that is not
// secret, so a failure can be played again.
type history struct {
	ctx      context.Context
	script   []byte
	model    model
	clock    *stepClock
	store    storage.Store
	reopen   func(storage.Store) (storage.Store, error) // nil: the store cannot
	policies [2]modelPolicy
	managers [2]*lapse.Manager
	log      []string
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
		renewal:    pick(h, lapse.OnUse, lapse.OnRequest, lapse.Never),
		renewEvery: pick[int64](h, 0, minute, 10*minute),
		maxTokens:  pick(h, 2, 1, 3, 100),
		atLimit:    pick(h, lapse.Refuse, lapse.ExpireOldest, lapse.ExpireIdlest),
		retention:  pick[int64](h, 1, hour, day),
	}
}

// play runs the script to its end and returns the first difference.
func play(script []byte, store storage.Store, reopen func(storage.Store) (storage.Store, error)) error {
	h := &history{ctx: context.Background(), script: script, clock: newClock(), store: store, reopen: reopen}
	h.model.now = start.UnixMilli()
	if err := h.configure(); err != nil {
		return err
	}
	defer func() { h.store.Close() }()
	for len(h.script) > 0 {
		err := h.step()
		if err == nil {
			err = h.compare()
		}
		if err != nil {
			return fmt.Errorf("after %d steps\n%s\n%w", len(h.log), strings.Join(h.log, "\n"), err)
		}
	}
	return nil
}

// configure makes both Managers anew, under policies from the script.
func (h *history) configure() error {
	for n, prefix := range []string{"a", "b"} {
		p := h.policy(prefix)
		m, err := lapse.New(h.store, lapse.Config{Policy: p.real(), Prefix: prefix, Clock: h.clock})
		if err != nil {
			return err
		}
		h.policies[n], h.managers[n] = p, m
	}
	return nil
}

func (h *history) say(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf("%13d  ", h.model.now)+fmt.Sprintf(format, args...))
}

// step takes one step of the script on both sides.
func (h *history) step() error {
	steps := []func(int) error{
		h.issue, h.issue, h.authenticate, h.authenticate, h.authenticate, h.peek, h.renew, h.expire, h.expireBearer,
		h.expireSubject, h.sweep, h.forward, h.forward, h.forward, h.back, h.restart, h.forge,
	}
	return steps[h.next(len(steps))](h.next(2))
}

func same(what string, want, got any) error {
	if diff := cmp.Diff(want, got); diff != "" {
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

func (h *history) subject() string { return pick(h, "ana", "bob", "an") }

func (h *history) issue(n int) error {
	p, subject := h.policies[n], h.subject()
	ttl := pick(h, 0, minute, hour, 1, 3*hour)
	h.say("%s issues for %s, ttl %d", p.prefix, subject, ttl)
	got, err := h.managers[n].Issue(h.ctx, lapse.Grant{Subject: subject, TTL: time.Duration(ttl) * time.Millisecond})
	if int64(ttl) > p.maxTTL {
		return sameError(lapse.ErrInvalidGrant, err)
	}
	evicted, want := h.model.issue(subject, p)
	if want != nil || err != nil {
		return sameError(want, err)
	}
	t := &modelToken{
		id: got.ID.String(), prefix: p.prefix, subject: subject, bearer: got.Bearer,
		issued: h.model.now, used: never, ended: never, ttl: int64(ttl), limit: plus(h.model.now, p.maxTTL),
	}
	if ttl == 0 {
		t.ttl = p.ttl
	}
	t.expires = min(h.model.now+t.ttl, t.limit)
	h.model.tokens = append(h.model.tokens, t)
	var ids []string
	for _, e := range evicted {
		ids = append(ids, e.id)
	}
	var gotIDs []string
	for _, id := range got.Evicted {
		gotIDs = append(gotIDs, id.String())
	}
	return errors.Join(same("issued", t.view(p), got.Token), same("evicted", ids, gotIDs))
}

// present compares a verb that takes a bearer with what the model says of it.
func (h *history) present(n int, name string, verb func(context.Context, string) (lapse.Token, error), model func(*modelToken, modelPolicy) error) error {
	t := h.any()
	if t == nil {
		return nil
	}
	h.say("%s: %s %s", h.policies[n].prefix, name, t.id)
	got, err := verb(h.ctx, t.bearer)
	if want := model(t, h.policies[n]); want != nil || err != nil {
		return sameError(want, err)
	}
	return same(name, t.view(h.policies[n]), got)
}

func (h *history) authenticate(n int) error {
	return h.present(n, "authenticate", h.managers[n].Authenticate, h.model.authenticate)
}

func (h *history) peek(n int) error {
	return h.present(n, "peek", h.managers[n].Peek, h.model.judge)
}

func (h *history) renew(n int) error {
	return h.present(n, "renew", h.managers[n].Renew, h.model.renew)
}

func (h *history) expireBearer(n int) error {
	return h.present(n, "expire bearer", h.managers[n].ExpireBearer, func(t *modelToken, p modelPolicy) error {
		if err := h.model.judge(t, p); err != nil && !errors.Is(err, lapse.ErrExpired) {
			return err
		}
		h.model.expire(t)
		return nil
	})
}

func (h *history) expire(n int) error {
	t := h.any()
	if t == nil {
		return nil
	}
	h.say("%s: expire %s", h.policies[n].prefix, t.id)
	id, _ := lapse.ParseID(t.id)
	got, err := h.managers[n].Expire(h.ctx, id)
	return errors.Join(err, same("ended", h.model.expire(t), got))
}

func (h *history) expireSubject(n int) error {
	subject, keep := h.subject(), h.any()
	h.say("%s: expire subject %s", h.policies[n].prefix, subject)
	var ids []lapse.ID
	if keep != nil && h.next(2) == 0 {
		id, _ := lapse.ParseID(keep.id)
		ids = append(ids, id)
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

func (h *history) move(ms int64) {
	h.say("clock moves by %d", ms)
	h.model.now += ms
	h.clock.add(time.Duration(ms) * time.Millisecond)
}

func (h *history) forward(int) error {
	h.move(pick[int64](h, 1, second, minute, 10*minute, 29*minute, 30*minute, hour, day))
	return nil
}

func (h *history) back(int) error {
	h.move(-pick[int64](h, 1, minute, 30*minute, day))
	return nil
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

// compare holds everything that is stored against the model.
func (h *history) compare() error {
	for n, p := range h.policies {
		for _, subject := range []string{"ana", "bob", "an"} {
			var want []lapse.Token
			for _, t := range h.model.tokens {
				if t.subject == subject && !t.swept {
					want = append(want, t.view(p))
				}
			}
			slices.SortFunc(want, func(a, b lapse.Token) int { return a.ID.Compare(b.ID) })
			got, err := collect(h.managers[n].Tokens(h.ctx, subject))
			if err == nil && slices.Equal(want, got) {
				continue // without the cost of finding out how they differ
			}
			if err := errors.Join(err, same("tokens of "+subject, want, got)); err != nil {
				return err
			}
		}
	}
	return nil
}

// playOnBoth plays the script in memory and on a file in dir.
func playOnBoth(script []byte, dir string) error {
	if err := play(script, memory.New(), nil); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	path := filepath.Join(dir, "tokens.db")
	defer os.Remove(path)
	s, err := bolt.Open(path, nil)
	if err != nil {
		return err
	}
	err = play(script, s, func(old storage.Store) (storage.Store, error) {
		if err := old.Close(); err != nil {
			return nil, err
		}
		return bolt.Open(path, nil)
	})
	if err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	return nil
}

// script returns steps bytes that depend on the seed alone.
func script(seed uint64, bytes int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestHistories(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(500) {
		if err := playOnBoth(script(seed, 400), dir); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func FuzzHistory(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(script(seed, 300))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 1000 {
			t.Skip("long scripts find nothing that shorter ones do not")
		}
		if err := playOnBoth(script, t.TempDir()); err != nil {
			t.Fatal(err)
		}
	})
}
