package bolt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// model knows what may be in the file of a workload, by what the workload said. An
// operation is done, refused, or of unknown outcome; what is found afterwards
// settles that, and it stays as it was found.
type model struct {
	atOnce   bool // a Touch is durable when it is answered
	next     int  // the least number that no operation has had
	records  map[int]*fate
	open     map[int]*operation // of this round, by number
	unsaved  []*operation       // touches that were answered, with more to come before they are durable
	flushing map[int][]*operation
	counts   map[string]int // acknowledged operations by kind, and what else is worth telling
}

// fate is what may be stored of one record. Expiry and last use only rise and an end
// is set once, so it matters little in which order operations took effect.
type fate struct {
	found   *storage.Record // as the last round found it; nil for a record of this one
	issue   *operation      // of this round
	ends    []*operation
	renews  []*operation
	deletes []*operation
	rotates []*operation // in the order of their numbers, which is that in which they were done
	caps    []*operation
	expires time.Time // not before this: what is durable
	used    time.Time
	seen    time.Time // the same for the process that wrote it, durable or not
	gone    bool      // a sweep may have deleted it
}

func newModel() *model {
	m := &model{next: 1, records: make(map[int]*fate), counts: make(map[string]int)}
	m.settle(nil)
	return m
}

// hear takes one line of a workload. It reports whether that acknowledged a call,
// and an error if it is a line that must not be.
func (m *model) hear(line string) (acknowledged bool, err error) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case saidOpening, saidOpened:
		return false, nil
	case saidBegun:
		o, err := parse(rest)
		if err == nil {
			m.begin(o)
		}
		return false, err
	case string(saidDone), string(saidRefused), string(saidUnknown):
		var number int
		if _, err := fmt.Sscan(rest, &number); err != nil || m.open[number] == nil {
			return false, fmt.Errorf("the workload says %q", line)
		}
		o := m.open[number]
		m.end(o, answer(verb))
		return o.answer == saidDone && o.kind != doFlush, nil
	}
	return false, fmt.Errorf("the workload says %q", line)
}

// begin notes what o may write. Of a record that is known to have ended, a renewal
// writes nothing.
func (m *model) begin(o *operation) {
	m.open[o.number] = o
	m.next = max(m.next, o.number+1)
	for i := range o.issues {
		r := issued(o.serial(i))
		m.records[o.serial(i)] = &fate{issue: o, expires: r.ExpiresAt, used: r.LastUsedAt, seen: r.ExpiresAt}
	}
	for _, serial := range o.targets {
		switch f := m.records[serial]; {
		case f == nil: // deleted in an earlier round
		case o.ends():
			f.ends = append(f.ends, o)
		case o.kind == doDelete:
			f.deletes = append(f.deletes, o)
		case o.kind == doRotate:
			f.rotates = append(f.rotates, o)
		case o.kind == doCap:
			f.caps = append(f.caps, o)
		case !f.ended():
			f.renews = append(f.renews, o)
		}
	}
	switch o.kind {
	case doFlush:
		m.flushing[o.number] = slices.Clone(m.unsaved)
	case doSweep:
		for _, f := range m.records {
			f.gone = f.gone || f.mayBeDead(o.deadBefore())
		}
	}
}

func (m *model) end(o *operation, a answer) {
	if o.answer, o.told = a, true; a != saidDone {
		return
	}
	m.counts[string(o.kind)]++
	switch o.kind {
	case doRenew:
		m.see(o)
		m.save(o)
	case doTouch:
		if f := m.records[o.targets[0]]; f == nil || f.mayHaveEnded() || f.gone || happened(f.deletes) {
			return // it may have had no effect, on what a sweep had hidden for instance
		}
		m.see(o)
		if m.atOnce {
			m.save(o)
		} else {
			m.unsaved = append(m.unsaved, o)
		}
	case doFlush:
		for _, touch := range m.flushing[o.number] {
			m.save(touch)
		}
	}
}

// see notes that the process knows of a renewal.
func (m *model) see(o *operation) {
	if f := m.records[o.targets[0]]; f != nil {
		f.seen = later(f.seen, o.expiry())
	}
}

// save notes that a renewal is durable.
func (m *model) save(o *operation) {
	f := m.records[o.targets[0]]
	if f == nil {
		return
	}
	f.expires = later(f.expires, o.expiry())
	if o.kind == doTouch {
		f.used = later(f.used, o.at())
	}
}

// ended reports whether an end was acknowledged.
func (f *fate) ended() bool {
	return f.found != nil && !f.found.EndedAt.IsZero() ||
		slices.ContainsFunc(f.ends, func(o *operation) bool { return o.answer == saidDone && !f.passedOver(o) })
}

// passedOver reports whether o may have left the record as it was, though it was done:
// what a sweep has found dead is out of sight at once, and back, as dead as before, if
// the power is cut before that is durable. Who ends a whole subject does not see it.
func (f *fate) passedOver(o *operation) bool {
	return o.kind == doSubject && (f.gone || happened(f.deletes))
}

// happened reports whether one of ops may have.
func happened(ops []*operation) bool {
	return slices.ContainsFunc(ops, func(o *operation) bool { return o.answer != saidRefused })
}

func done(o *operation) bool { return o.answer == saidDone }

func (f *fate) mayHaveEnded() bool {
	return f.ended() || happened(f.ends)
}

// mayBeDead reports whether the record may have been dead before the instant, for
// the process that swept.
func (f *fate) mayBeDead(before time.Time) bool {
	return f.seen.Before(before) || f.found != nil && !f.found.EndedAt.IsZero() && f.found.EndedAt.Before(before) ||
		slices.ContainsFunc(f.ends, func(o *operation) bool { return o.answer != saidRefused && o.at().Before(before) })
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// settle takes what was found for what there is, whatever was unknown before.
func (m *model) settle(found map[int]storage.Record) {
	m.records = make(map[int]*fate)
	for serial, r := range found {
		m.records[serial] = &fate{found: &r, expires: r.ExpiresAt, used: r.LastUsedAt, seen: r.ExpiresAt}
	}
	m.open, m.flushing, m.unsaved = make(map[int]*operation), make(map[int][]*operation), nil
}

// covered is the counts as text.
func (m *model) covered() string {
	var text []string
	for _, name := range slices.Sorted(maps.Keys(m.counts)) {
		text = append(text, fmt.Sprint(name, " ", m.counts[name]))
	}
	return strings.Join(text, ", ")
}
