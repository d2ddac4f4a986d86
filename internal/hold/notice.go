package hold

import (
	"slices"
	"time"
)

// notice is a function that the caller of Hold has registered. The function runs before each
// end of the connection, or after each replacement of the secret of its token.
type notice struct {
	f          func()
	lead       time.Duration // how long before the end f runs; not above 0: f runs after a replacement
	warned     instant       // the end before which f has run, or unknown
	generation uint32        // the generation of secret that f has run for, or that the caller knew
	started    bool          // f has run
}

// warning says when the tick loop tells the read loop to read a token, because a notice before
// the end is due. The read may show a later end, since a renewal by a use is not told to watchers.
// If every notice that a warning is for has been stopped, the warning costs that read.
type warning struct {
	at   instant
	read bool // the token is being read; at is when the notice runs without an answer
}

// warnPatience is how long a notice before the end waits for the read.
const warnPatience = time.Second

// WarnFunc runs f, in its own goroutine, when lead is left until the end of c. f runs once for
// each end that a read shows. If lead is under a millisecond, f is nil, or c was cut or dropped, f
// never runs. stop unregisters f. It returns true if f was registered and has never run.
func (s *Scheduler) WarnFunc(c *Conn, lead time.Duration, f func()) (stop func() bool) {
	n := &notice{f: f, lead: lead, warned: unknown}
	return s.register(c, n, lead.Milliseconds() > 0)
}

// RotatedFunc runs f, in its own goroutine, when a read shows a later secret than that of
// generation, and again when a read shows a still later secret. If f is nil, or c was cut or
// dropped, f never runs. stop is as that of WarnFunc.
func (s *Scheduler) RotatedFunc(c *Conn, generation uint32, f func()) (stop func() bool) {
	return s.register(c, &notice{f: f, generation: generation}, true)
}

// register adds n to c if n can ever run, and returns its stop.
func (s *Scheduler) register(c *Conn, n *notice, runs bool) (stop func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := c.of; t != nil && runs && n.f != nil && c.ctx.Err() == nil {
		if s.notices == nil {
			s.notices, s.warnings = make(map[*Conn][]*notice), make(map[*token]warning)
		}
		c.noticed = true
		s.notices[c] = append(s.notices[c], n)
		if n.lead > 0 {
			s.warnBy(t, n.at(t.expires))
		} else {
			s.run.readLater(t) // the secret may have been replaced since it was held
		}
	}
	return func() bool { return s.unregister(c, n) }
}

// unregister removes n from c. It returns true if c had n, and n has never run.
func (s *Scheduler) unregister(c *Conn, n *notice) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.notices[c], n)
	if i < 0 {
		return false
	}
	if left := slices.Delete(s.notices[c], i, i+1); len(left) > 0 {
		s.notices[c] = left
	} else {
		delete(s.notices, c)
		c.noticed = false
	}
	return !n.started
}

// warnBy tells the tick loop to have t read at the given instant or before. A t in no queue has
// expired, and its read runs.
func (s *Scheduler) warnBy(t *token, at instant) {
	if w, ok := s.warnings[t]; ok && w.at <= at {
		return
	}
	s.warnings[t] = warning{at: at}
	if t.position > 0 {
		s.schedule(t)
	}
}

// warnIfDue tells the read loop to read t if a notice before the end is due at now. If that read
// has not been answered for warnPatience, the notices run by the end that is known. Its caller
// has the lock.
func (r *run) warnIfDue(t *token, now instant) {
	s := r.s
	w, ok := s.warnings[t]
	switch {
	case !ok || w.at > now:
	case w.read:
		s.giveNotices(t, 0, now)
	default:
		s.warnings[t] = warning{at: now.plus(warnPatience), read: true}
		r.readLater(t)
	}
}

// giveNotices runs the notices of the connections of t that are due at now. It replaces the
// warning of t by that for the next notice, or by none. generation is that of the current secret,
// or 0 if that was not read. Its caller has the lock.
func (s *Scheduler) giveNotices(t *token, generation uint32, now instant) {
	delete(s.warnings, t)
	if len(s.notices) == 0 {
		return
	}
	next := never
	for c := t.conns; c != nil; c = c.next {
		if !c.noticed || c.ctx.Err() != nil {
			continue
		}
		for _, n := range s.notices[c] {
			if n.due(t.expires, generation, now) {
				n.started = true
				go n.f()
			}
			next = min(next, n.at(t.expires))
		}
	}
	if next != never {
		s.warnings[t] = warning{at: next}
	}
}

// at returns when n runs before end. It returns never if n has run for end, or does not run before
// an end.
func (n *notice) at(end instant) instant {
	if n.lead <= 0 || n.warned == end || end == unknown {
		return never
	}
	return end - instant(n.lead.Milliseconds())
}

// due reports whether n runs now, and notes that n has run.
func (n *notice) due(end instant, generation uint32, now instant) bool {
	switch {
	case n.at(end) <= now && now < end:
		n.warned = end
		return true
	case n.lead <= 0 && generation > n.generation:
		n.generation = generation
		return true
	}
	return false
}
