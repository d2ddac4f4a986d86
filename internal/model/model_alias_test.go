package model

import (
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// modelAlias finds a token by the key of a foreign text, or by a RequestID.
type modelAlias struct {
	key, prefix, subject string
	swept                bool
	record               int
	issued, until        int64
	digest               byte        // of the foreign text
	grant                lapse.Grant // that has the RequestID
}

// foreignText is a text of another system.
type foreignText struct{ key, digest byte }

const foreignLabel = "foreign-"

func (f foreignText) String() string { return foreignLabel + string([]byte{f.key, '-', f.digest}) }

// readForeign is Config.Foreign for the texts of foreignText.
func readForeign(text string) (key string, digest []byte, ok bool) {
	rest, ok := strings.CutPrefix(text, foreignLabel)
	if !ok || len(rest) != len("k-d") {
		return "", nil, false
	}
	return rest[:1], []byte(rest[2:]), true
}

// alias is the alias of a key that is stored, dead or alive, or nil.
func (m *model) alias(key, prefix, subject string) *modelAlias {
	for i := range m.aliases {
		a := &m.aliases[i]
		if a.key == key && a.prefix == prefix && (subject == "" || a.subject == subject) && !a.swept {
			return a
		}
	}
	return nil
}

// name puts a in the place of old, which no longer stands, or nil.
func (m *model) name(old *modelAlias, a modelAlias) {
	r := &m.records[a.record]
	a.prefix, a.subject, a.issued = r.prefix, r.subject, m.now
	if old != nil {
		*old = a
		return
	}
	m.aliases = append(m.aliases, a)
}

// foreign returns the alias by which t is found, or nil. ok says whether t is a foreign text.
func (m *model) foreign(t modelText) (a *modelAlias, ok bool) {
	r := &m.records[t.record]
	if r.foreign == 0 || t.kind != plainText || t.generation != 0 || t.twin {
		return nil, false
	}
	return m.alias(string(r.foreign), r.prefix, ""), true
}

// importedLife is the cap of an imported token under a policy without one, and the life of its alias.
const importedLife = 10 * 365 * day

// importToken is Import. id is that of the token, if there is to be a new one.
func (m *model) importToken(w *world, p *modelPolicy, g lapse.Grant, f foreignText, id lapse.ID) outcome {
	if g.TTL.Milliseconds() > p.maxTTL {
		return outcome{err: lapse.ErrInvalidGrant}
	}
	a := m.alias(string(f.key), p.prefix, "")
	if a != nil && a.subject == g.Subject && m.now < a.until {
		r := &m.records[a.record]
		switch {
		case a.digest != f.digest:
			return outcome{err: lapse.ErrInvalidGrant}
		case r.swept:
			return outcome{err: lapse.ErrNotFound}
		}
		return outcome{token: m.token(m.seen(p, r)), given: []modelText{{record: a.record, kind: plainText}}}
	}
	if a != nil && a.subject != g.Subject {
		if _, err := m.clone().room(p, p, lapse.KindPlain, g.Subject); err != nil {
			return outcome{err: err}
		}
		return outcome{err: lapse.ErrInvalidGrant}
	}
	if _, err := m.room(p, p, lapse.KindPlain, g.Subject); err != nil {
		return outcome{err: err}
	}
	w.drop(f)
	r := m.draft(p, g)
	r.foreign, r.limit = f.key, min(r.limit, m.now+importedLife)
	r.expires = min(r.expires, r.limit)
	n := m.add(r, id)
	m.name(a, modelAlias{key: string(f.key), record: n, until: m.now + importedLife, digest: f.digest})
	m.tell("imported")
	return outcome{token: m.token(m.seen(p, &m.records[n])), given: []modelText{m.currentText(n, plainText)}}
}

// request is Issue with a RequestID.
func (m *model) request(p *modelPolicy, g lapse.Grant, id lapse.ID) outcome {
	key := "request " + g.RequestID
	a := m.alias(key, p.prefix, g.Subject)
	if a != nil && m.now < a.until {
		return m.requested(p, a, g)
	}
	o := m.issueNew(p, g, id)
	if o.err == nil {
		n := len(m.records) - 1
		m.records[n].requestKey = p.firstKey()
		m.name(a, modelAlias{key: key, record: n, until: m.now + day, grant: g})
	}
	return o
}

// requested is request where a stands.
func (m *model) requested(p *modelPolicy, a *modelAlias, g lapse.Grant) outcome {
	r := &m.records[a.record]
	s := m.seen(p, r)
	switch {
	case a.grant != g:
		return outcome{err: lapse.ErrInvalidGrant}
	case r.swept:
		m.tell("rejected")
		return outcome{err: lapse.ErrUnknown}
	case !s.live(m.now):
		return m.dead(&s, r.generation)
	case s.suspended != unset:
		return m.refuse(lapse.ErrSuspended, r, r.generation, s.suspended, 0)
	case r.uses > 0 && r.left <= 0:
		return m.refuse(lapse.ErrExhausted, r, r.generation, unset, 0)
	}
	o := outcome{token: m.token(s), ok: true}
	if r.generation == 0 && r.requestKey != 0 && p.derives(r.requestKey) {
		o.given = []modelText{m.currentText(a.record, plainText)}
	}
	return o
}

// sweepAliases deletes the aliases that were dead before that instant, or those of subject.
func (m *model) sweepAliases(before int64, subject string) (count int) {
	for i := range m.aliases {
		if a := &m.aliases[i]; !a.swept && (a.until < before || a.subject == subject) {
			a.swept = true
			count++
		}
	}
	return count
}

// aliasLimits are the instants at which something changes for what names the record n.
func (m *model) aliasLimits(p *modelPolicy, n int) (all []int64) {
	for i := range m.aliases {
		switch a := &m.aliases[i]; {
		case a.swept || a.record != n:
		case a.until > m.now:
			all = append(all, a.until)
		default:
			all = append(all, a.until+p.retention)
		}
	}
	return all
}
