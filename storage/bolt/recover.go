package bolt

import (
	"fmt"

	"github.com/seed-55daa01a/lapse/storage"
)

// trouble is why nothing is written until the file has been looked at anew.
type trouble struct {
	err     error // for whoever wants to write
	unknown []*op // of the group that may or may not be in the file
	finish  []*op // what is left to do of those that did not
}

// deny has the table show those of o's writes that end a token, though nobody knows
// whether they are in the file: they will be before anything else is.
func (s *Store) deny(o *op) {
	for i := range o.writes {
		if !o.writes[i].Record.EndedAt.IsZero() {
			s.stage.Show(o.writes[i : i+1])
		}
	}
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
// anew, sees what became of the commit of unknown outcome, and finishes the ends
// that were in it. Its caller has the turn, and nothing is being written.
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
	for _, o := range t.unknown {
		if happened {
			s.showAgain(o)
			continue
		}
		t.finish = append(t.finish, o.lastWill())
		s.takeBack(o)
	}
	t.unknown = nil
	if len(t.finish) == 0 {
		return nil
	}
	return s.log.commit(t.finish)
}

// showAgain has the table show what o wrote but for what somebody after o has ended:
// that was shown before, and must not be seen alive again.
func (s *Store) showAgain(o *op) {
	var r storage.Record
	for i := range o.writes {
		w := o.writes[i : i+1]
		if w[0].Record.EndedAt.IsZero() && s.table.Get(w[0].Record.ID, &r) && !r.EndedAt.IsZero() {
			s.stage.LetGo(w)
		} else {
			s.stage.Show(w)
		}
	}
}

// lastWill returns the part of o that must come to be although o did not: ends, for
// this process has shown them.
func (o *op) lastWill() *op {
	will := new(op)
	for i := range o.writes {
		if !o.writes[i].Record.EndedAt.IsZero() {
			will.puts = append(will.puts, o.puts[i])
		}
	}
	return will
}
