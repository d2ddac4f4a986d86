package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
)

// history plays a script on three Managers and Pairs over one store, and on the model: more
// tokens, subjects, policies and stores than a cover has, for longer, and not all of them.
// The script decides everything that is not secret, so that a failure can be played again.
type history struct {
	w      *world
	m      *model
	clock  *lapsetest.StepClock
	script []byte
	reopen func(storage.Store) (storage.Store, error) // nil: the store cannot
	log    []string
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

func (h *history) policy(prefix string) modelPolicy {
	return modelPolicy{
		prefix:       prefix,
		ttl:          pick[int64](h, 30*minute, minute, hour),
		maxTTL:       pick[int64](h, 30*day, 2*hour, hour, never),
		renewal:      pick(h, lapse.RenewOnUse, lapse.RenewOnRequest, lapse.RenewNever),
		renewEvery:   pick[int64](h, 0, minute, 10*minute),
		maxTokens:    pick(h, 2, 100, 1, 100, 3),
		maxDelegates: pick(h, 100, 100, 1),
		atLimit:      pick(h, lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest),
		retention:    pick[int64](h, 1, hour, day),
		keys:         pick(h, []byte{1}, []byte{2, 1}, []byte{2}, []byte{3, 1, 2}, nil),
	}
}

// configure makes all Managers and Pairs, under policies from the script.
func (h *history) configure(store storage.Store) error {
	s := &worldSetup{policies: []modelPolicy{h.policy("a"), h.policy("b")}}
	s.pairs = []modelPairs{{access: h.policy("c"), refresh: h.policy("r"), grace: pick[int64](h, 10*second, minute, 0, second)}}
	w, err := build(s, h.clock, store)
	if err != nil {
		return err
	}
	if h.w != nil {
		w.texts, w.salts = h.w.texts, h.w.salts
	}
	h.w = w
	return nil
}

// play runs the script to its end and returns the first difference.
func play(script []byte, store storage.Store, reopen func(storage.Store) (storage.Store, error)) error {
	h := &history{clock: lapsetest.NewClock(), script: script, reopen: reopen}
	h.m = &model{now: normal(h.clock.Now())}
	if err := h.configure(store); err != nil {
		return err
	}
	defer func() { h.w.store.Close() }()
	if err := h.look(); err != nil {
		return err
	}
	for len(h.script) > 0 {
		if err := errors.Join(h.step(), h.compare()); err != nil {
			return fmt.Errorf("after %d steps\n%s\n%w", len(h.log), strings.Join(h.log, "\n"), err)
		}
	}
	return nil
}

// step takes one step of the script on both sides.
func (h *history) step() error {
	switch h.next(24) {
	case 0:
		return h.restart()
	case 1:
		return h.move(-pick[int64](h, 1, minute, 30*minute, day))
	case 2, 3:
		return h.move(pick[int64](h, 1, second, minute, 10*minute, 29*minute, 30*minute, hour, day))
	case 4, 5:
		return h.edge()
	}
	a, ok := h.deed()
	if !ok {
		return nil
	}
	h.log = append(h.log, fmt.Sprintf("%13d  %v", h.m.now, a))
	return h.w.step(h.m, &a)
}

// history deeds by what they need: nothing, a record or a text.
var (
	historyMakes   = []string{"issue", "log in", "obtain", "issue", "import", "log in"}
	historyByID    = []string{"expire", "rotate ID", "expire subject", "sweep", "sessions", "suspend", "resume", "rotate ID", "edit scope", "expire", "edit expiry", "rotate ID", "edit uses", "forget subject"}
	historyByText  = []string{"authenticate", "delegate", "rotate", "authenticate", "renew", "peek", "expire bearer", "expire pair", "rotate", "authenticate", "confirm"}
	historyByPairs = []string{"refresh", "refresh", "refresh", "peek pair", "expire pair"}
)

// deed draws what happens next. ok is false where there is nothing to do that with.
func (h *history) deed() (a deed, ok bool) {
	a = deed{by: pick(h, 0, 1, 0, 1, 2), scope: pick(h, "", "", "a", "", "b a", "c"), lost: h.next(16) == 1}
	a.ms = pick[int64](h, minute, 0, 10*minute, 1, hour, 0, 3*hour)
	a.grant = lapse.Grant{
		Subject: pick(h, "ana", "bob", "an"), Name: pick(h, "", "laptop"), Scope: pick(h, "a b", "", "a b", "a"),
		TTL: ms(pick[int64](h, 0, minute, 0, hour, 1, 3*hour)), MaxUses: pick(h, 0, 0, 0, 0, 0, 2, 1),
		Thumbprint: lapse.Thumbprint{pick[byte](h, 0, 0, 1, 0, 0, 0, 2, 0)},
	}
	a.grant.Client = strings.TrimSuffix(a.grant.Name, "top") // a draw of its own would change what the seeds find
	switch h.next(6) {
	case 0:
		h.make(&a)
	case 1:
		a.verb = pick(h, historyByID...)
		if len(h.m.records) == 0 {
			return a, false
		}
		a.record = h.next(len(h.m.records))
		if a.verb == "expire subject" && h.next(2) == 0 {
			a.record = nowhere
		}
	case 2, 3:
		a.verb = pick(h, historyByPairs...)
		a.text, ok = h.text(func(t modelText) bool { return t.kind == refreshText })
		return h.own(a), ok
	default:
		a.verb = pick(h, historyByText...)
		a.text, ok = h.text(func(t modelText) bool { return t.kind != refreshText })
		if a.verb == "delegate" {
			a.grant.Subject = pick(h, "", "", "", a.grant.Subject)
		}
		return h.own(a), ok
	}
	return h.own(a), true
}

// make has a make a token, or find one by a key.
func (h *history) make(a *deed) {
	a.verb = pick(h, historyMakes...)
	switch a.verb {
	case "import":
		a.foreign = foreignText{key: pick[byte](h, 'k', 'l', 'm'), digest: pick[byte](h, '3', '3', '3', '5')}
	case "issue":
		a.grant.RequestID = pick(h, "", "first", "", "second", "")
		if n := len(h.m.aliases); n > 0 && a.grant.RequestID != "" && h.next(2) == 1 {
			if asked := h.m.aliases[n-1-h.next(n)].grant; asked.RequestID != "" {
				a.grant = asked
			}
		}
	}
}

// own is a by a Manager that can do it, and with the proof of the key that it takes, mostly.
func (h *history) own(a deed) deed {
	if a.text != (modelText{}) {
		bound := h.m.records[a.text.record].bound
		a.proof = pick(h, bound, bound, 1, bound, bound, 0, bound, bound, 2, bound)
	}
	_, plain := plainVerbs[a.verb]
	if a.text != (modelText{}) && !plain && a.verb != "expire bearer" {
		if _, foreign := h.m.foreign(a.text); foreign { // no refresh text is foreign
			a.verb = "expire bearer"
		}
	}
	if !plain && !slices.Contains([]string{"expire", "expire bearer", "expire subject", "forget subject", "sweep", "suspend", "resume", "edit scope", "edit expiry", "edit uses"}, a.verb) {
		a.by = 0 // of the Pairs
		return a
	}
	if a.text != (modelText{}) && h.next(8) > 0 {
		prefix := h.m.records[a.text.record].prefix
		a.by = slices.IndexFunc(h.w.policies, func(p *modelPolicy) bool { return p.prefix == prefix })
	}
	return a
}

// text is a text in hand, mostly one of the newest of those wanted, now and then altered.
func (h *history) text(wanted func(modelText) bool) (t modelText, ok bool) {
	any := h.next(12) == 1
	var some []modelText
	for _, held := range h.w.texts {
		if any || wanted(held.modelText) && h.m.lives(&h.m.records[held.record]) {
			some = append(some, held.modelText)
		}
	}
	if len(some) == 0 {
		return t, false
	}
	t = some[len(some)-1-h.next(min(6, len(some)))]
	if odd := pick(h, asMade, mistyped, otherID, otherKind); h.next(16) == 1 {
		session := h.m.records[t.record].kind == lapse.KindSession
		_, foreign := h.m.foreign(t)
		if (odd != otherID || len(h.m.records) > 1 && !foreign) && (odd != otherKind || session) {
			t.odd = odd
		}
	}
	return t, true
}

// move moves the clock. Time does not go back with it.
func (h *history) move(by int64) error {
	h.log = append(h.log, fmt.Sprintf("clock moves by %d", by))
	h.clock.Add(ms(by))
	h.m.now = max(h.m.now, normal(h.clock.Now()))
	return h.look()
}

// look has a Manager see what the clock says, so that time does not go back behind that.
func (h *history) look() error {
	_, err := h.w.managers[0].ExpireSubject(h.w.ctx, "nobody")
	return err
}

// edge moves the clock to where something changes for a record, or a millisecond beside.
func (h *history) edge() error {
	if len(h.m.records) == 0 {
		return nil
	}
	n := len(h.m.records) - 1 - h.next(min(4, len(h.m.records)))
	limits := h.m.limits(h.w.policies[h.next(3)], n)
	if len(limits) == 0 {
		return nil
	}
	to := limits[h.next(len(limits))] + pick[int64](h, 0, 1, -1)
	if to <= h.m.now || to > h.m.now+2*day {
		return nil
	}
	return h.move(to - normal(h.clock.Now()))
}

// restart closes the store, where it can be opened again, and comes back with other
// policies.
func (h *history) restart() error {
	h.log = append(h.log, "restart")
	store := h.w.store
	if h.reopen != nil {
		var err error
		if store, err = h.reopen(store); err != nil {
			return err
		}
	}
	return h.configure(store)
}

// compare holds what every Manager shows against the model: the pages of all tokens, how many live,
// and the tokens of every subject.
func (h *history) compare() error {
	for n, p := range h.w.policies {
		if err := h.comparePages(h.w.managers[n], p); err != nil {
			return err
		}
	}
	return h.compareSubjects()
}

// comparePages compares the pages that m, which has policy p, lists of all tokens, and its count of
// the live ones.
func (h *history) comparePages(m *lapse.Manager, p *modelPolicy) error {
	var want, got []lapse.Token
	live := 0
	for _, i := range h.m.byID() {
		if r := &h.m.records[i]; !r.swept {
			s := h.m.seen(p, r)
			if want = append(want, h.m.token(s)); s.live(h.m.now) && !(r.uses > 0 && r.left <= 0) {
				live++
			}
		}
	}
	for q := (lapse.Query{Limit: 4}); ; {
		q.Next = &q.After
		page, err := lapsetest.Collect(m.List(h.w.ctx, q))
		if got = append(got, page...); err != nil || q.After == "" {
			slices.SortFunc(got, func(a, b lapse.Token) int { return a.ID.Compare(b.ID) })
			n, failed := m.Count(h.w.ctx, lapse.Query{Live: true})
			if slices.Equal(want, got) && n == live && err == nil && failed == nil {
				return nil
			}
			return errors.Join(err, failed, same("pages of all tokens", want, got), same("live tokens", live, n))
		}
	}
}

// compareSubjects compares what every Manager lists of every subject.
func (h *history) compareSubjects() error {
	for n, p := range h.w.policies {
		for _, subject := range []string{"ana", "bob", "an"} {
			var want []lapse.Token
			for _, i := range h.m.byID() {
				if r := &h.m.records[i]; r.subject == subject && !r.swept {
					want = append(want, h.m.token(h.m.seen(p, r)))
				}
			}
			got, err := lapsetest.Collect(h.w.managers[n].List(h.w.ctx, lapse.Query{Subject: subject}))
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
