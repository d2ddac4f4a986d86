package model

import "github.com/seed-55daa01a/lapse"

// secret says what a text is for.
type secret byte

const (
	plainText   secret = 'p'
	accessText  secret = 'a'
	refreshText secret = 'r'
)

// modelText is a text, by what made it.
type modelText struct {
	record     int
	kind       secret
	generation int
	twin       bool // it was made in a future of the record that did not come about
	odd        oddity
}

// oddity says what was done to a text since it was made.
type oddity byte

const (
	asMade    oddity = 0
	mistyped  oddity = 'm' // a letter is another one
	otherID   oddity = 'i' // its secret stands behind the ID of the first other record
	otherKind oddity = 'k' // an access secret stands behind the prefix of refresh texts, or the reverse
)

// modelStanding says what a text is to the record that it names.
type modelStanding byte

const (
	isUnknown  modelStanding = iota // nothing proves that it was ever a text of that record
	isAhead                         // it is of a generation that the record has not come to
	isSpent                         // its secret has been replaced
	isPrevious                      // its secret was replaced last, and works until its instant
	isCurrent
)

// standing says what t is to its record now.
func (m *model) standing(t modelText) modelStanding {
	r := &m.records[t.record]
	kept, until := r.before != nowhere, r.until
	if t.kind == accessText {
		kept, until = r.accessBefore, r.accessUntil
	}
	switch {
	case r.swept, t.odd != asMade:
		return isUnknown
	case t.twin && t.generation > r.generation:
		return isAhead
	case t.twin && t.generation == r.generation, t.twin && kept && t.generation == r.before:
		return isUnknown // its secret is known to be another one
	case t.generation == r.generation:
		return isCurrent
	case kept && t.generation == r.before && m.now < until:
		return isPrevious
	}
	return isSpent
}

// outcome is what a verb returned, or is to return.
type outcome struct {
	err      error           // the first of errorClasses that it is
	rejected lapse.Rejection // what the error says, without Err
	token    lapse.Token
	session  lapse.Token // that comes with a refresh text
	given    []modelText // the texts that the answer holds, or of what was made
	ok       bool        // Repeated, Existing, or whether Expire took anything
	count    int         // of what was ended, swept or listed
	left     int64       // ExpiresIn
	evicted  []lapse.ID
	reduced  bool
}

// rejection is the outcome of a text whose secret has been proved.
func (m *model) rejection(err error, r *modelRecord, generation int, at int64, why lapse.EndReason) outcome {
	return outcome{err: err, rejected: lapse.Rejection{
		ID: r.id, Subject: r.subject, Generation: uint32(generation), At: instantOf(at), Reason: why,
	}}
}

// refuse is rejection, and tells of it.
func (m *model) refuse(err error, r *modelRecord, generation int, at int64, why lapse.EndReason) outcome {
	if err == lapse.ErrReplaced || err == lapse.ErrReused {
		m.tell("spent")
	} else {
		m.tell("rejected")
	}
	return m.rejection(err, r, generation, at, why)
}

// dead is the outcome of a text whose token s is dead.
func (m *model) dead(s *modelRecord, generation int) outcome {
	why := lapse.ErrExpired
	switch s.reason {
	case 0:
		if s.uses > 0 && s.left <= 0 {
			why = lapse.ErrExhausted
		}
	case lapse.EndExhausted:
		why = lapse.ErrExhausted
	default:
		why = lapse.ErrRevoked
	}
	return m.refuse(why, s, generation, s.deadFrom(), s.reason)
}

// proved says what t is to a verb that takes texts of that kind and prefix: its record
// and standing, or what it is refused with.
func (m *model) proved(t modelText, kind secret, prefix string) (r *modelRecord, found modelStanding, refused *outcome) {
	r = &m.records[t.record]
	alias, foreign := m.foreign(t)
	if t.odd == mistyped && !foreign {
		m.tell("rejected")
		return r, isUnknown, &outcome{err: lapse.ErrMalformed}
	}
	own := r.prefix
	if t.kind == refreshText {
		own = r.refreshPrefix
	}
	found = m.standing(t)
	if foreign && (alias == nil || own != prefix || r.swept) { // nothing leads to a token
		m.tell("rejected")
		return r, isUnknown, &outcome{err: lapse.ErrUnknown}
	}
	if own != prefix || (t.kind == refreshText) != (kind == refreshText) {
		found = isUnknown
	}
	if found != isUnknown && r.bound != 0 && m.proof != r.bound {
		o := m.refuse(lapse.ErrProof, r, t.generation, unset, 0)
		return r, isUnknown, &o
	}
	switch found {
	case isAhead:
		m.tell("ahead")
		fallthrough
	case isUnknown:
		m.tell("rejected")
		return r, isUnknown, &outcome{err: lapse.ErrUnknown, rejected: lapse.Rejection{ID: m.named(t)}}
	}
	return r, found, nil
}

// named is the ID that t holds.
func (m *model) named(t modelText) lapse.ID {
	if t.odd == otherID {
		return m.records[m.other(t.record)].id
	}
	return m.records[t.record].id
}

// other is the first record that is not that of n, or nowhere.
func (m *model) other(n int) int {
	for i := range m.records {
		if i != n {
			return i
		}
	}
	return nowhere
}

// good is proved for what authenticates under p, and judges the life of the token, which
// is seen as t shows it.
func (m *model) good(p *modelPolicy, t modelText) (r *modelRecord, found modelStanding, seen modelRecord, refused *outcome) {
	if r, found, refused = m.proved(t, plainText, p.prefix); refused != nil {
		return r, found, seen, refused
	}
	o := outcome{}
	seen = m.by(p, r, found)
	switch {
	case found == isSpent:
		o = m.refuse(lapse.ErrReplaced, r, t.generation, unset, 0)
	case !seen.live(m.now):
		if own := p.capped(r); r.parent != nowhere && !own.live(m.now) { // then those above it are not asked
			seen = own
		}
		o = m.dead(&seen, t.generation)
	case seen.suspended != unset:
		o = m.refuse(lapse.ErrSuspended, r, t.generation, seen.suspended, 0)
	case r.uses > 0 && r.left <= 0:
		o = m.refuse(lapse.ErrExhausted, r, t.generation, unset, 0)
	default:
		return r, found, seen, nil
	}
	return r, found, seen, &o
}
