package lapse_test

import (
	"cmp"
	"math"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// model is what lapse does, said once more and as plainly as can be: integers in
// Unix milliseconds, a slice, and no idea of storage.
type model struct {
	now    int64
	latest int64 // that now ever was
	tokens []*modelToken
	told   []string // of which ends, in this step
}

type modelToken struct {
	id, prefix, subject, bearer       string
	name, scope, data                 string
	issued, used, expires, limit, ttl int64 // used: never; limit: never, if there is no cap
	ended                             int64
	reason                            lapse.EndReason
	swept                             bool
	uses, left                        int // of a budget; uses: 0, if there is none

	key    byte        // which derives its secret; 0: it is random
	paired bool        // an access token of Pairs
	sealed bool        // its successor and that one's access token are kept in it
	with   *modelToken // the access token that came with a refresh token

	family                         *modelToken
	parent, predecessor, successor *modelToken
}

const (
	never = math.MaxInt64
	gone  = math.MinInt64 // of an expiry: there is none left
)

// modelPolicy is a lapse.Policy in milliseconds, with nothing left to default.
type modelPolicy struct {
	prefix                             string
	ttl, maxTTL, renewEvery, retention int64 // maxTTL: never, if there is no cap
	renewal                            lapse.Renewal
	maxTokens                          int
	atLimit                            lapse.AtLimit
	keys                               []byte
}

func (p modelPolicy) real() lapse.Policy {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	real := lapse.Policy{
		TTL: ms(p.ttl), MaxTTL: lapse.NoLimit, Renewal: p.renewal, RenewEvery: ms(p.renewEvery),
		MaxTokens: p.maxTokens, AtLimit: p.atLimit, Retention: ms(p.retention),
	}
	if p.maxTTL != never {
		real.MaxTTL = ms(p.maxTTL)
	}
	return real
}

func plus(a, b int64) int64 {
	if b == never {
		return never
	}
	return a + b
}

// draft is a token that a Manager of p makes for g now, before it has an ID.
func (m *model) draft(p modelPolicy, g lapse.Grant) *modelToken {
	t := &modelToken{
		prefix: p.prefix, subject: g.Subject, name: g.Name, scope: g.Scope, data: g.Data, uses: g.MaxUses, left: g.MaxUses,
		issued: m.now, used: never, ended: never, ttl: cmp.Or(g.TTL.Milliseconds(), p.ttl), limit: plus(m.now, p.maxTTL),
	}
	t.expires = min(m.now+t.ttl, t.limit)
	return t
}

// under puts t, a draft, under parent, if there is one.
func (t *modelToken) under(parent *modelToken, p modelPolicy) {
	t.parent = parent
	t.limit = t.seen(p).limit
	t.expires = min(t.expires, t.limit)
}

// capOf is the cap of t as a Manager of p sees it, for the part of t alone.
func (t *modelToken) capOf(p modelPolicy) int64 {
	if t.prefix != p.prefix {
		return t.limit
	}
	return min(t.limit, plus(t.issued, p.maxTTL))
}

// seen is t as a Manager of p sees it.
func (t *modelToken) seen(p modelPolicy) modelToken {
	s := *t
	s.limit = t.capOf(p)
	s.expires = min(t.expires, s.limit)
	if t.ended != never {
		return s
	}
	for above := t.parent; above != nil; above = above.parent {
		if above.swept {
			s.expires = gone
			break
		}
		s.limit = min(s.limit, above.capOf(p))
		s.expires = min(s.expires, above.expires, s.limit)
		if s.ended = min(s.ended, above.ended); s.ended != never {
			s.reason = lapse.EndParent
		}
	}
	return s
}

func (m *model) live(t *modelToken, p modelPolicy) bool {
	s := t.seen(p)
	return !t.swept && s.ended == never && m.now < s.expires
}

// judge says what presenting t to a Manager of p comes to.
func (m *model) judge(t *modelToken, p modelPolicy) error {
	switch {
	case t.swept || t.prefix != p.prefix:
		return lapse.ErrUnknown
	case t.reason == lapse.EndExhausted:
		return lapse.ErrExhausted
	case !m.live(t, p):
		return lapse.ErrExpired
	}
	return nil
}

func (m *model) authenticate(t *modelToken, p modelPolicy) error {
	if err := m.judge(t, p); err != nil {
		return err
	}
	t.left = max(0, t.left-1)
	spent := t.uses > 0 && t.left == 0
	last := t.issued
	if t.used != never {
		last = max(last, t.used)
	}
	if m.now-last >= p.renewEvery && m.now >= last || t.used == never && t.predecessor != nil {
		m.use(t, p, p.renewal == lapse.RenewOnUse && !spent)
	}
	if spent {
		m.end(t, lapse.EndExhausted)
	}
	return nil
}

func (m *model) renew(t *modelToken, p modelPolicy) error {
	if p.renewal == lapse.RenewNever {
		return lapse.ErrNotRenewable
	}
	if err := m.judge(t, p); err != nil {
		return err
	}
	m.use(t, p, true)
	return nil
}

func (m *model) use(t *modelToken, p modelPolicy, renews bool) {
	if t.used == never || t.used < m.now {
		t.used = m.now
	}
	if renews {
		t.expires = max(t.expires, min(m.now+t.ttl, t.seen(p).limit))
	}
}

func (m *model) end(t *modelToken, why lapse.EndReason) {
	t.ended, t.reason = m.now, why
	m.told = append(m.told, t.id)
}

// expire ends t if there is life in it, and says so.
func (m *model) expire(t *modelToken) bool {
	if !m.lasts(t) {
		return false
	}
	m.endTied(t, lapse.EndExpired)
	return true
}

func (m *model) expireSubject(subject string, keep *modelToken) int {
	var ended []*modelToken
	for _, t := range m.tokens {
		if t.subject == subject && t != keep && m.lasts(t) {
			ended = append(ended, t)
		}
	}
	for _, t := range ended {
		m.end(t, lapse.EndSubject)
	}
	return len(m.endDelegates(ended))
}

// retained is when the retention of t begins. Who was rotated must be known for longer.
func (t *modelToken) retained() int64 {
	if t.reason == lapse.EndRotated {
		return t.expires
	}
	return min(t.expires, t.ended)
}

func (m *model) sweep(p modelPolicy) (swept int) {
	for _, t := range m.tokens {
		if !t.swept && t.retained() < m.now-p.retention {
			t.swept = true
			swept++
		}
	}
	return swept
}

// view is what a Manager of p shows of t.
func (t *modelToken) view(p modelPolicy) lapse.Token {
	s := t.seen(p)
	return s.stored()
}

// stored is the record of t, but for what a Manager keeps to itself.
func (t *modelToken) stored() lapse.Token {
	at := func(ms int64) time.Time {
		if ms == never || ms == gone {
			return time.Time{}
		}
		return time.UnixMilli(ms).UTC()
	}
	return lapse.Token{
		ID: t.real(), Prefix: t.prefix, Subject: t.subject, Name: t.name, Scope: t.scope, Data: t.data, IssuedAt: at(t.issued), LastUsedAt: at(t.used),
		ExpiresAt: at(t.expires), MaxExpiresAt: at(t.limit), EndedAt: at(t.ended), EndReason: t.reason,
		Family: t.family.real(), Parent: t.parent.real(), Predecessor: t.predecessor.real(), Successor: t.successor.real(),
		MaxUses: t.uses, UsesLeft: t.left,
	}
}

// real is the ID of t, the zero one of nobody.
func (t *modelToken) real() lapse.ID {
	if t == nil {
		return lapse.ID{}
	}
	id, err := lapse.ParseID(t.id)
	if err != nil {
		panic(err)
	}
	return id
}
