package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/seed-55daa01a/lapse/storage"
)

// byIDCases returns the cases for a store that is a storage.IDUpdater.
func byIDCases() []testCase {
	return []testCase{
		{"S35_acts_as_update", "UpdateID acts as Update over the subject of the record of id, and over no other.",
			checkByIDSubject},
		{"S35_absent", "UpdateID is ErrNotFound if there is no record of id, and has no effect.",
			checkByIDAbsent},
		{"S35_error_of_fn", "An error from fn aborts UpdateID and comes back unwrapped.",
			checkByIDError},
		{"S35_no_update_is_lost", "UpdateID is serializable with Update over one subject.",
			checkByIDCounter},
		{"S35_deleted_meanwhile", "UpdateID puts no record again that was deleted meanwhile.",
			checkByIDDeleted},
		{"S35_context_and_close", "UpdateID returns the error of a context that has ended, and ErrClosed after Close.",
			checkByIDRefuses},
		{"S35_not_for_a_wrapper", "UpdateIDFor is true of the store itself, and false of a wrapper around it.",
			checkByIDFor},
	}
}

var errNoByID = errors.New("the store needs a subject: it is no storage.IDUpdater")

func (e *env) byID() (storage.IDUpdater, error) {
	u, ok := e.store.(storage.IDUpdater)
	if !ok || !u.UpdateIDFor(e.store) {
		return nil, errNoByID
	}
	return u, nil
}

func checkByIDSubject(e *env) error {
	u, err := e.byID()
	if err != nil {
		return err
	}
	r, dead, fresh := e.record("ana"), e.record("ana", ended(instant(1), storage.EndRevoked)), e.record("ana")
	theirs := []storage.Record{e.record(rival), e.record("bob")}
	if err := e.put(append(theirs, r, dead)...); err != nil {
		return err
	}
	changed := with(r, named("changed"))
	err = u.UpdateID(e.ctx, dead.ID, func(tx storage.Tx) error {
		if err := errors.Join(sees(tx, r, dead), puts(changed, fresh)(tx), sees(tx, changed, dead, fresh)); err != nil {
			return err
		}
		_, err := tx.Get(theirs[0].ID)
		return errors.Join(wants("Tx.Get of another subject", err, storage.ErrNotFound), deletes(dead)(tx))
	})
	return errors.Join(err, e.andReopened(func() error { return e.holds(append(theirs, changed, fresh)...) }))
}

func checkByIDAbsent(e *env) error {
	u, err := e.byID()
	if err != nil {
		return err
	}
	r, gone, never, own := e.record("ana"), e.record("ana"), e.record("ana"), e.record("ana")
	if err := errors.Join(e.put(r, gone), e.update("ana", deletes(gone))); err != nil {
		return err
	}
	var errs []error
	for _, id := range []storage.ID{gone.ID, never.ID, {}} {
		err := u.UpdateID(e.ctx, id, func(tx storage.Tx) error {
			_ = tx.Put(own)
			return nil
		})
		errs = append(errs, wants(fmt.Sprintf("UpdateID of %v", id), err, storage.ErrNotFound))
	}
	return errors.Join(append(errs, e.holds(r))...)
}

func checkByIDError(e *env) error {
	u, err := e.byID()
	if err != nil {
		return err
	}
	r, own := e.record("ana"), e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	for _, want := range []error{errNo, storage.ErrNotFound, storage.ErrConflict} {
		err := u.UpdateID(e.ctx, r.ID, func(tx storage.Tx) error {
			if err := puts(with(r, named("changed")), own)(tx); err != nil {
				return err
			}
			return want
		})
		if err != want {
			return fmt.Errorf("fn returned %v, and UpdateID %w", want, err)
		}
	}
	return e.holds(r)
}

func checkByIDCounter(e *env) error {
	u, err := e.byID()
	if err != nil {
		return err
	}
	r := e.record("ana", counted(0))
	if err := e.put(r); err != nil {
		return err
	}
	err = together(callers, func(i int) error {
		if i%2 == 0 {
			return e.increment("ana", r.ID)
		}
		return u.UpdateID(e.ctx, r.ID, func(tx storage.Tx) error { return incrementIn(tx, r.ID) })
	})
	return errors.Join(err, e.andReopened(func() error { return e.has(with(r, counted(callers))) }))
}

func checkByIDDeleted(e *env) error {
	u, err := e.byID()
	if err != nil {
		return err
	}
	rs, left := e.records(10, "ana", counted(0)), e.record("ana")
	if err := e.put(append(rs, left)...); err != nil {
		return err
	}
	for _, r := range rs {
		err := together(4, func(i int) error {
			if i == 0 {
				return e.update("ana", deletes(r))
			}
			err := u.UpdateID(e.ctx, r.ID, func(tx storage.Tx) error { return incrementIn(tx, r.ID) })
			if errors.Is(err, storage.ErrNotFound) {
				err = nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return e.andReopened(func() error { return errors.Join(e.lacks(rs...), e.holds(left)) })
}

func checkByIDRefuses(e *env) error {
	u, err := e.byID()
	if err != nil {
		return err
	}
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	change := puts(with(r, named("changed")))
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	err = errors.Join(wants("UpdateID", u.UpdateID(ctx, r.ID, change), context.Canceled), e.has(r), e.store.Close())
	return errors.Join(err, wants("UpdateID", u.UpdateID(e.ctx, r.ID, change), storage.ErrClosed))
}

func checkByIDFor(e *env) error {
	u, err := e.byID()
	if err != nil {
		return err
	}
	return diff("UpdateIDFor of a wrapper", false, u.UpdateIDFor(struct{ storage.Store }{e.store}))
}

// incrementIn adds 1 to the number in the record of id.
func incrementIn(tx storage.Tx, id storage.ID) error {
	r, err := tx.Get(id)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.Data)
	if err != nil {
		return err
	}
	return tx.Put(with(r, counted(n+1)))
}
