package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// unknownCases returns the case about Updates whose outcome is unknown to one process. The context of
// each Update ends about when it commits. A store whose Updates all have a known outcome passes.
func unknownCases() []testCase {
	return []testCase{
		{"S28_unknown_in_one_process", "A process that does not know the outcome of a write acts as if it had happened, and another one reads what is there.",
			across(checkUnknownAcross)},
	}
}

// unknown is a change of a record and what was seen of its outcome.
type unknown struct {
	name     string
	old      storage.Record
	changed  *storage.Record // nil: the change is a deletion
	err      error           // of the Update
	undone   string          // how the process of the Update has read old after ErrOutcomeUnknown; "" if it has not
	happened string          // how another process has read the change; "" if it has not
}

// takings are the four kinds of writes of which S28 tells, by their names.
func takings() map[string]func(*storage.Record) {
	return map[string]func(*storage.Record){
		"an end":         ended(instant(1), storage.EndRevoked),
		"a suspension":   suspended(instant(1)),
		"another secret": func(r *storage.Record) { rotated(7)(r); r.PreviousUntil = time.Time{} },
		"a deletion":     nil,
	}
}

func checkUnknownAcross(e, other *env) error {
	const rounds = 16
	var all []*unknown
	for name, change := range takings() {
		for n := range rounds {
			u := &unknown{name: name, old: e.record("ana")}
			if change != nil {
				changed := with(u.old, change)
				u.changed = &changed
			}
			if err := errors.Join(e.put(u.old), other.has(u.old)); err != nil {
				return err
			}
			u.err = u.begin(e, time.Duration(n)*time.Millisecond/10)
			if err := u.look(e, other); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			all = append(all, u)
		}
	}
	pauseFor(e.ctx, moment) // for a write that comes late
	for _, u := range all {
		if err := errors.Join(u.settled(e), u.settled(other)); err != nil {
			return fmt.Errorf("%s, after the error %v: %w", u.name, u.err, err)
		}
	}
	return nil
}

// begin makes the change by an Update whose context ends the given time after its function.
func (u *unknown) begin(e *env, after time.Duration) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	return e.store.Update(ctx, "ana", func(tx storage.Tx) error {
		defer func() { go func() { pauseFor(ctx, after); cancel() }() }()
		if u.changed == nil {
			return tx.Delete(u.old.ID)
		}
		return tx.Put(*u.changed)
	})
}

// look reads the record in every way, by both processes in turn.
func (u *unknown) look(e, other *env) error {
	if c, err := e.cacher(); err == nil && errors.Is(u.err, storage.ErrOutcomeUnknown) {
		if got, ok := c.Cached(u.old.ID); ok && got.Equal(u.old) {
			return errors.New("after ErrOutcomeUnknown a copy is the record as it was")
		}
	}
	theirs := other.readers()
	for name, read := range e.readers() {
		is, err := u.has("of another process", theirs[name])
		if err != nil {
			return fmt.Errorf("%s of another process: %w", name, err)
		}
		if is {
			u.happened = name
		}
		if got, err := read("ana", u.old.ID); err == nil && got.Equal(u.old) && u.err != nil {
			u.undone = name
		}
	}
	return nil
}

// has reports whether read shows the change. The error says that it shows neither that nor the old record.
func (u *unknown) has(what string, read func(string, storage.ID) (storage.Record, error)) (bool, error) {
	got, err := read("ana", u.old.ID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		if u.changed != nil && u.changed.EndedAt.IsZero() {
			return false, err
		}
		return true, nil
	case err != nil:
		return false, err
	case got.Equal(u.old):
		return false, nil
	case u.changed == nil:
		return false, fmt.Errorf("a record that was neither put nor deleted: %v", got)
	}
	return true, sameRecord(what, *u.changed, got)
}

// settled checks that the process of e reads an outcome that agrees with all that was seen before.
func (u *unknown) settled(e *env) error {
	return e.eventually(func() error {
		is, err := u.has("at the end", func(_ string, id storage.ID) (storage.Record, error) { return e.store.Get(e.ctx, id) })
		switch {
		case err != nil:
			return err
		case !is && u.err == nil:
			return errors.New("the change is lost")
		case !is && u.happened != "":
			return fmt.Errorf("another process has read the change with %s, and it has not happened", u.happened)
		case is && u.err != nil && !errors.Is(u.err, storage.ErrOutcomeUnknown):
			return errors.New("the change has happened")
		case is && u.undone != "":
			return fmt.Errorf("the change has happened, and its process has read the old record with %s after the Update", u.undone)
		}
		return nil
	})
}
