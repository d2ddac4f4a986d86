package lapse_test

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// model is what lapse does, said once more and as plainly as can be: integers in
// Unix milliseconds, a slice, and no idea of storage.
type model struct {
	now    int64
	tokens []*modelToken
}

type modelToken struct {
	id, prefix, subject, bearer       string
	issued, used, expires, limit, ttl int64 // used: never; limit: never, if there is no cap
	ended                             int64
	reason                            lapse.EndReason
	swept                             bool
}

const never = math.MaxInt64

// modelPolicy is a lapse.Policy in milliseconds, with nothing left to default.
type modelPolicy struct {
	prefix                             string
	ttl, maxTTL, renewEvery, retention int64 // maxTTL: never, if there is no cap
	renewal                            lapse.Renewal
	maxTokens                          int
	atLimit                            lapse.AtLimit
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

// capOf is the cap of t as a Manager of p sees it.
func (t *modelToken) capOf(p modelPolicy) int64 {
	if t.prefix != p.prefix {
		return t.limit
	}
	return min(t.limit, plus(t.issued, p.maxTTL))
}

func (t *modelToken) expiry(p modelPolicy) int64 { return min(t.expires, t.capOf(p)) }

func (m *model) live(t *modelToken, p modelPolicy) bool {
	return !t.swept && t.ended == never && m.now < t.expiry(p)
}

// judge says what presenting t to a Manager of p comes to.
func (m *model) judge(t *modelToken, p modelPolicy) error {
	switch {
	case t.swept || t.prefix != p.prefix:
		return lapse.ErrUnknown
	case !m.live(t, p):
		return lapse.ErrExpired
	}
	return nil
}

func (m *model) authenticate(t *modelToken, p modelPolicy) error {
	if err := m.judge(t, p); err != nil {
		return err
	}
	last := t.issued
	if t.used != never {
		last = max(last, t.used)
	}
	if m.now-last < p.renewEvery || m.now < last {
		return nil
	}
	m.use(t, p, p.renewal == lapse.OnUse)
	return nil
}

func (m *model) renew(t *modelToken, p modelPolicy) error {
	if p.renewal == lapse.Never {
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
		t.expires = max(t.expires, min(m.now+t.ttl, t.capOf(p)))
	}
}

// issue says which tokens go to make room for one more, or that there is none.
func (m *model) issue(subject string, p modelPolicy) (evicted []*modelToken, err error) {
	var live []*modelToken
	for _, t := range m.tokens {
		if t.subject == subject && t.prefix == p.prefix && m.live(t, p) {
			live = append(live, t)
		}
	}
	over := len(live) + 1 - p.maxTokens
	if over <= 0 {
		return nil, nil
	}
	if p.atLimit == lapse.Refuse {
		return nil, lapse.ErrLimit
	}
	since := func(t *modelToken) int64 {
		if p.atLimit == lapse.ExpireIdlest && t.used != never {
			return max(t.used, t.issued)
		}
		return t.issued
	}
	slices.SortFunc(live, func(a, b *modelToken) int {
		return cmp.Or(cmp.Compare(since(a), since(b)), cmp.Compare(a.id, b.id))
	})
	for _, t := range live[:over] {
		m.end(t, lapse.EndEvicted)
	}
	return live[:over], nil
}

func (m *model) end(t *modelToken, why lapse.EndReason) { t.ended, t.reason = m.now, why }

// lasts reports whether t is alive by its record, whatever a policy makes of it.
func (m *model) lasts(t *modelToken) bool { return !t.swept && t.ended == never && m.now < t.expires }

// expire ends t if there is life in it, and says so.
func (m *model) expire(t *modelToken) bool {
	if !m.lasts(t) {
		return false
	}
	m.end(t, lapse.EndExpired)
	return true
}

func (m *model) expireSubject(subject string, keep *modelToken) (ended int) {
	for _, t := range m.tokens {
		if t.subject == subject && t != keep && m.lasts(t) {
			m.end(t, lapse.EndSubject)
			ended++
		}
	}
	return ended
}

func (m *model) sweep(p modelPolicy) (swept int) {
	for _, t := range m.tokens {
		if !t.swept && min(t.expires, t.ended) < m.now-p.retention {
			t.swept = true
			swept++
		}
	}
	return swept
}

// view is what a Manager of p shows of t.
func (t *modelToken) view(p modelPolicy) lapse.Token {
	at := func(ms int64) time.Time {
		if ms == never {
			return time.Time{}
		}
		return time.UnixMilli(ms).UTC()
	}
	id, err := lapse.ParseID(t.id)
	if err != nil {
		panic(err)
	}
	return lapse.Token{
		ID: id, Prefix: t.prefix, Subject: t.subject, IssuedAt: at(t.issued), LastUsedAt: at(t.used),
		ExpiresAt: at(t.expiry(p)), MaxExpiresAt: at(t.capOf(p)), EndedAt: at(t.ended), EndReason: t.reason,
	}
}
