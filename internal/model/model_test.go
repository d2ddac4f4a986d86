package model

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// model is what lapse does, said once more and as plainly as can be: integers in Unix
// milliseconds, a slice, and no idea of storage, digests or tags.
type model struct {
	now     int64
	records []modelRecord // in the order in which they were made
	holds   []modelHold
	aliases []modelAlias
	told    []string // what Observe is to be told of, in this step
	proof   byte     // the key that the context of this step proves; 0: none
}

const (
	second = 1000
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour

	unset   = 0             // of an instant: the zero Time
	never   = math.MaxInt64 // of a cap: there is none
	gone    = math.MinInt64 // of an expiry: there is none left
	nowhere = -1            // of a record or a generation
)

// modelRecord is a token or a session. Its secrets are known by their generations.
type modelRecord struct {
	id        lapse.ID
	swept     bool // the record is gone
	forgotten bool // by ForgetSubject
	kind      lapse.Kind

	prefix, subject, name, scope, data, client string
	issued, used, rotated, expires, limit, ttl int64
	ended                                      int64
	suspended                                  int64 // unset while it is not suspended itself
	confirmed                                  int64 // unset until Confirm, except of a delegate
	bound                                      byte  // the key that the token is bound to; 0: none
	reason                                     lapse.EndReason
	capEdited                                  bool // Edit set limit: only rotateID begins a new one
	uses, left                                 int  // of a budget; uses: 0, if there is none
	parent, family                             int  // places in model.records, or nowhere

	generation int
	before     int   // the generation of the previous secret, or nowhere
	until      int64 // when the previous secret ends
	tagged     bool  // of a plain token: it was rotated
	unused     bool  // the current secret of a plain token has not been used
	salted     bool  // the current secret can be given again
	floor      int
	key        byte // which derives the current secret; 0: none does
	requestKey byte // of a RequestID, which derives the first secret; 0: none does
	foreign    byte // the key of its first text, which is foreign; 0: it is not

	// Of a session. until is that of its refresh text.
	refreshPrefix, accessScope            string
	accessExpires, accessTTL, accessUntil int64
	accessBefore                          bool // the access text before the current one works until accessUntil
}

// modelPolicy is a lapse.Config, with nothing left to default. sessions are those that a
// Manager of Pairs knows, or nil.
type modelPolicy struct {
	prefix                             string
	ttl, maxTTL, renewEvery, retention int64 // maxTTL: never, if there is no cap
	renewal                            lapse.Renewal
	maxTokens, maxDelegates            int
	atLimit                            lapse.AtLimit
	keys                               []byte
	sessions                           *modelPairs
}

// modelPairs is a lapse.PairConfig with nothing left to default. grace: 0 is none.
type modelPairs struct {
	access, refresh modelPolicy
	grace           int64
}

func (p *modelPolicy) real() lapse.Policy {
	real := lapse.Policy{
		TTL: ms(p.ttl), MaxTTL: lapse.NoLimit, Renewal: p.renewal, RenewEvery: ms(p.renewEvery),
		MaxTokens: p.maxTokens, AtLimit: p.atLimit, Retention: ms(p.retention), MaxDelegates: p.maxDelegates,
	}
	if p.maxTTL != never {
		real.MaxTTL = ms(p.maxTTL)
	}
	return real
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func plus(a, b int64) int64 {
	if b == never {
		return never
	}
	return a + b
}

// clone returns a model that m does not change.
func (m *model) clone() *model {
	return &model{now: m.now, records: slices.Clone(m.records), holds: slices.Clone(m.holds), aliases: slices.Clone(m.aliases), proof: m.proof}
}

func (m *model) tell(what string) { m.told = append(m.told, what) }

// draft is a token of p for g, before it has an ID.
func (m *model) draft(p *modelPolicy, g lapse.Grant) modelRecord {
	r := modelRecord{
		prefix: p.prefix, subject: g.Subject, name: g.Name, scope: g.Scope, data: g.Data, uses: g.MaxUses, left: g.MaxUses,
		issued: m.now, ttl: cmp.Or(g.TTL.Milliseconds(), p.ttl), limit: plus(m.now, p.maxTTL),
		parent: nowhere, family: nowhere, before: nowhere, client: g.Client, bound: g.Thumbprint[0],
	}
	r.expires = min(m.now+r.ttl, r.limit)
	return r
}

// add stores r under its ID, and returns where.
func (m *model) add(r modelRecord, id lapse.ID) int {
	r.id = id
	m.records = append(m.records, r)
	return len(m.records) - 1
}

// lives reports whether r is alive by its record alone.
func (m *model) lives(r *modelRecord) bool { return !r.swept && r.ended == unset && m.now < r.expires }

// lasts reports whether r and those above it are alive by their records.
func (m *model) lasts(r *modelRecord) bool {
	for m.lives(r) {
		if r.parent == nowhere {
			return true
		}
		r = &m.records[r.parent]
	}
	return false
}

// knows reports whether p is of the Pairs that made the session r.
func (p *modelPolicy) knows(r *modelRecord) bool {
	return r.kind == lapse.KindSession && p.sessions != nil &&
		r.prefix == p.sessions.access.prefix && r.refreshPrefix == p.sessions.refresh.prefix
}

// capped is r under the cap that p has for it.
func (p *modelPolicy) capped(r *modelRecord) modelRecord {
	s := *r
	switch {
	case p.knows(r):
		s.limit = min(s.limit, plus(r.issued, p.sessions.refresh.maxTTL))
	case r.kind == lapse.KindPlain && r.prefix == p.prefix && r.generation > 0:
		s.limit = min(s.limit, plus(r.rotated, p.maxTTL))
	case r.kind == lapse.KindPlain && r.prefix == p.prefix:
		s.limit = min(s.limit, plus(r.issued, p.maxTTL))
	}
	s.expires = min(s.expires, s.limit)
	return s
}

// seen is r as a Manager of p sees it.
func (m *model) seen(p *modelPolicy, r *modelRecord) modelRecord {
	s := p.capped(r)
	for up := r.parent; r.ended == unset && up != nowhere; {
		if m.records[up].swept {
			s.expires = gone
			break
		}
		above := p.capped(&m.records[up])
		s.limit, s.expires = min(s.limit, above.limit), min(s.expires, above.expires)
		if above.suspended != unset && (s.suspended == unset || above.suspended < s.suspended) {
			s.suspended = above.suspended
		}
		s.scope = common(s.scope, above.scope)
		if above.ended != unset && (s.ended == unset || above.ended < s.ended) {
			s.ended, s.reason = above.ended, lapse.EndParent
		}
		up = above.parent
	}
	return s
}

// by is r as a Manager of p sees it by a text of that standing. Of a session that was ended
// the end says when it died, whatever its access secret had left.
func (m *model) by(p *modelPolicy, r *modelRecord, found modelStanding) modelRecord {
	s := m.seen(p, r)
	if r.kind == lapse.KindSession && s.ended == unset {
		until := r.accessExpires
		if found == isPrevious {
			until = r.accessUntil
		}
		s.expires, s.scope = min(s.expires, until), r.accessScope
	}
	return s
}

func (s *modelRecord) live(now int64) bool { return !s.swept && s.ended == unset && now < s.expires }

// deadFrom is the first instant at which s is dead.
func (s *modelRecord) deadFrom() int64 {
	if s.ended != unset {
		return min(s.ended, s.expires)
	}
	return s.expires
}

func instantOf(ms int64) time.Time {
	if ms == unset || ms == never || ms == gone {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// token is what everyone may know of r.
func (m *model) token(r modelRecord) lapse.Token {
	return lapse.Token{
		ID: r.id, Prefix: r.prefix, Subject: r.subject, Name: r.name, Scope: r.scope, Data: r.data,
		IssuedAt: instantOf(r.issued), LastUsedAt: instantOf(r.used), ExpiresAt: instantOf(r.expires), MaxExpiresAt: instantOf(r.limit),
		EndedAt: instantOf(r.ended), EndReason: r.reason, Kind: r.kind, Generation: uint32(r.generation), RotatedAt: instantOf(r.rotated),
		Family: m.idOf(r.family), Parent: m.idOf(r.parent), MaxUses: r.uses, UsesLeft: r.left,
		AuthenticatedAt: instantOf(r.present()), Client: r.client, Thumbprint: lapse.Thumbprint{r.bound}, SuspendedAt: instantOf(r.suspended),
	}
}

// present is when the user of r was present last.
func (r *modelRecord) present() int64 { return cmp.Or(r.confirmed, r.issued) }

func (m *model) idOf(n int) lapse.ID {
	if n == nowhere {
		return lapse.ID{}
	}
	return m.records[n].id
}

// stored is the record of r, without what a Manager keeps to itself.
func (m *model) stored(r *modelRecord) storage.Record {
	rec := storage.Record{Token: m.token(*r), TTL: ms(r.ttl), PreviousUntil: instantOf(r.until), CapEdited: r.capEdited}
	rec.AuthenticatedAt = instantOf(r.confirmed)
	return rec
}
