package bolt

import (
	"fmt"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
)

// trouble is why nothing is written until the file has been looked at anew.
type trouble struct {
	err     error // for whoever wants to write
	unknown []*op // of the group that may or may not be in the file
	finish  []*op // what is left to do of those that did not
}

// deny has the table show those writes of o that end a token or a secret, although
// it is unknown whether they are in the file: they will be before anything else is. Its
// caller denies the ops of a group in their order.
func (s *Store) deny(o *op) {
	for i := range o.writes {
		if w := &o.writes[i]; s.ends(w) {
			o.puts[i].denied = true
			s.stage.Show(o.writes[i : i+1])
		}
	}
}

// ends reports whether w ends something that the table shows: a token, a record, or the
// secret that another one replaces at once.
func (s *Store) ends(w *table.Write) bool {
	if w.Deletes || !w.Record.EndedAt.IsZero() {
		return true
	}
	var shown storage.Record
	return w.Record.PreviousUntil.IsZero() && s.table.Get(w.Record.ID, &shown) && !shown.Digest.Equal(w.Record.Digest)
}

// mistrust begins a time of trouble, which may be over at once. Its caller has the
// turn, and nothing is being written.
func (s *Store) mistrust(unknown []*op) {
	s.trouble.Store(&trouble{err: refusal(s.log.cause), unknown: unknown})
	s.recover()
}

func refusal(cause error) error {
	return fmt.Errorf("%w: the store looks at its file anew every second until it can be written again: %w", storage.ErrUnavailable, cause)
}

// recover ends a time of trouble, if there is one and if it can: it opens the file
// again, sees what became of the commit of unknown outcome, and finishes what was denied
// by it. Its caller has the turn, and nothing is being written.
func (s *Store) recover() error {
	t := s.trouble.Load()
	if t == nil {
		return nil
	}
	next := *t
	err := s.reopen(&next)
	if err == nil {
		s.trouble.Store(nil)
		return nil
	}
	next.err = refusal(err)
	s.trouble.Store(&next)
	ring(s.alarm)
	return err
}

func (s *Store) reopen(t *trouble) error {
	var in *intake
	happened, err := s.log.reopen(s.opts, func() visitor {
		in = newIntake(s.opts)
		return visitor{pair: in.check, changed: in.heal}
	})
	if err != nil {
		return err
	}
	s.setDamaged(in.damaged)
	for id := range in.damaged {
		s.table.Delete(id)
	}
	s.stage.Feed.Gap()
	if happened {
		s.showAgain(t.unknown)
	} else {
		for _, o := range t.unknown {
			t.finish = append(t.finish, o.lastWill())
			s.takeBack(o)
		}
	}
	t.unknown = nil
	if len(t.finish) == 0 {
		return nil
	}
	return s.log.commit(t.finish)
}

// showAgain has the table show what ops, which have happened, have made of each record:
// the last write of it. Those before that may be older than an end that is shown, and
// are never seen.
func (s *Store) showAgain(ops []*op) {
	last := make(map[storage.ID]*table.Write)
	for _, o := range ops {
		for i := range o.writes {
			last[o.writes[i].Record.ID] = &o.writes[i]
		}
	}
	for _, o := range ops {
		for i := range o.writes {
			if w := &o.writes[i]; last[w.Record.ID] == w {
				s.stage.Reveal(o.writes[i : i+1])
			}
		}
		s.stage.LetGo(o.writes)
	}
}

// lastWill returns the part of o that must come to be although o did not: what this
// process has shown of it.
func (o *op) lastWill() *op {
	will := new(op)
	for _, p := range o.puts {
		if p.denied {
			will.puts = append(will.puts, p)
		}
	}
	return will
}
