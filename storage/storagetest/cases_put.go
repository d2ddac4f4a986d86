package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func putCases() []testCase {
	return []testCase{
		{"S7_put_replaces", "Put creates or replaces: nothing of the earlier record is left.",
			checkPutReplaces},
		{"S7_taken_id_is_a_conflict", "An ID that another subject holds is ErrConflict, from Put or from Update.",
			checkTakenID},
		{"S7_foreign_record_is_a_conflict", "A record that names another subject is ErrConflict, from Put or from Update.",
			checkForeignRecord},
		{"S7_another_key_is_a_conflict", "A record with another Thumbprint than the one that it replaces is ErrConflict.",
			checkNeverRebound},
		{"S8_put_never_revives", "Put never revives: replacing an ended record by a live one is ErrConflict.",
			checkNeverRevives},
		{"S8_put_never_changes_an_end", "Replacing an ended record by one with another EndedAt or EndReason is ErrConflict.",
			checkNeverChangesEnd},
		{"S8_the_texts_of_an_end_are_final", "EndedBy and EndNote come with an end, and never change after it.",
			checkTextsOfEnd},
		{"S8_same_end_may_be_put", "An ended record may be replaced by one with the same end.",
			checkSameEnd},
		{"S22_an_error_writes_nothing", "An error means that nothing was written, unless it is ErrOutcomeUnknown.",
			checkErrorWritesNothing},
	}
}

func checkPutReplaces(e *env) error {
	full := e.record("ana")
	least := storage.Record{Token: storage.Token{ID: full.ID, Subject: "ana"}, Digest: digest(7)}
	lowered(instant(1))(&least)
	shorter := with(full, lowered(instant(2)), func(r *storage.Record) { r.LastUsedAt = instant(1) })
	over := with(full, ended(instant(3), storage.EndEvicted), named("ended now"), endedBy("ana", "a lost laptop"))
	spent := with(full, withExtras, func(r *storage.Record) { r.UsesLeft, r.Sealed = 0, storage.Sealed{} })
	for _, r := range []storage.Record{full, least, with(full, withExtras), spent, full, shorter, over} {
		if err := e.put(r); err != nil {
			return err
		}
		if err := errors.Join(e.has(r), e.holds(r), e.inTx(r)); err != nil {
			return err
		}
	}
	return e.andReopened(func() error { return e.holds(over) })
}

// conflicting checks that putting r in an Update of subject is ErrConflict.
func (e *env) conflicting(what, subject string, r storage.Record) error {
	return wants(what, e.update(subject, puts(r)), storage.ErrConflict)
}

func checkTakenID(e *env) error {
	taken := []storage.Record{
		e.record("ana"),
		e.record("ana", expires(instant(1))),
		e.record("ana", ended(instant(1), storage.EndSubject)),
	}
	if err := e.put(taken...); err != nil {
		return err
	}
	return e.andReopened(func() error {
		var errs []error
		for _, r := range taken {
			r.Subject = rival
			errs = append(errs, e.conflicting("putting an ID that another subject holds", rival, r))
		}
		return errors.Join(errors.Join(errs...), e.holds(taken...), e.has(taken...), e.inTx(taken...), e.empty(rival))
	})
}

// empty checks that subject has no records.
func (e *env) empty(subject string) error {
	listed, err := e.list(storage.Filter{Subject: subject})
	inTx := e.update(subject, func(tx storage.Tx) error { return sees(tx) })
	return errors.Join(err, sameRecords("List of "+subject, nil, listed), inTx)
}

func checkForeignRecord(e *env) error {
	mine, bobs := e.record("ana"), e.record("bob")
	if err := e.put(mine, bobs); err != nil {
		return err
	}
	fresh := e.record("bob")
	return errors.Join(
		e.conflicting("putting another subject's new record", "ana", fresh),
		e.conflicting("putting another subject's record", "ana", with(bobs, named("changed"))),
		e.conflicting("giving a record away", "ana", with(mine, func(r *storage.Record) { r.Subject = "bob" })),
		e.conflicting("taking a record", "bob", with(mine, named("changed"))),
		e.conflicting("putting a record without a subject", "ana", with(fresh, func(r *storage.Record) { r.Subject = "" })),
		e.holds(mine, bobs), e.inTx(mine, bobs))
}

func checkNeverRebound(e *env) error {
	keys := []storage.Thumbprint{{}, {1}, {1, 31: 1}}
	var rs []storage.Record
	for _, key := range keys {
		rs = append(rs, e.record("ana", bound(key)), e.record("ana", bound(key), ended(instant(50), storage.EndRevoked)))
	}
	if err := e.put(rs...); err != nil {
		return err
	}
	return e.andReopened(func() error {
		var errs []error
		for i, r := range rs {
			for j, key := range keys {
				if i/2 != j {
					errs = append(errs, e.conflicting(fmt.Sprintf("binding record %d to key %d", i, j), "ana", with(r, bound(key))))
				}
			}
		}
		return errors.Join(errors.Join(errs...), e.has(rs...), e.holds(rs...), e.put(rs...))
	})
}

func checkNeverRevives(e *env) error {
	alive := ended(time.Time{}, 0)
	dead := e.record("ana", ended(instant(50), storage.EndRevoked))
	if err := e.put(dead); err != nil {
		return err
	}
	return e.andReopened(func() error {
		return errors.Join(
			e.conflicting("reviving", "ana", with(dead, alive)),
			e.conflicting("reviving with a later expiry", "ana", with(dead, alive, expires(dead.ExpiresAt.Add(time.Hour)))),
			e.conflicting("leaving out the end and keeping its reason", "ana", with(dead, ended(time.Time{}, dead.EndReason))),
			e.conflicting("a new token under the ID", "ana", with(e.record("ana"), func(r *storage.Record) { r.ID = dead.ID })),
			e.has(dead), e.holds(dead), e.inTx(dead))
	})
}

func checkNeverChangesEnd(e *env) error {
	dead := e.record("ana", ended(instant(50), storage.EndSubject))
	if err := e.put(dead); err != nil {
		return err
	}
	return e.andReopened(func() error {
		var errs []error
		for _, end := range []struct {
			at  time.Time
			why storage.EndReason
		}{
			{instant(49), storage.EndSubject},
			{instant(51), storage.EndSubject},
			{instant(50), storage.EndRevoked},
			{instant(50), 0},
			{instant(49), storage.EndEvicted},
		} {
			what := fmt.Sprintf("ending at %v (%v) what ended at %v (%v)", end.at, end.why, dead.EndedAt, dead.EndReason)
			errs = append(errs, e.conflicting(what, "ana", with(dead, ended(end.at, end.why))))
		}
		return errors.Join(errors.Join(errs...), e.has(dead), e.holds(dead))
	})
}

func checkTextsOfEnd(e *env) error {
	alive := e.record("ana")
	bare := e.record("ana", ended(instant(50), storage.EndSubject))
	dead := e.record("ana", ended(instant(50), storage.EndSubject), endedBy("bob", "a lost laptop"))
	if err := e.put(alive, bare, dead); err != nil {
		return err
	}
	return e.andReopened(func() error {
		return errors.Join(
			e.conflicting("who ended a record without an end", "ana", with(alive, endedBy("bob", ""))),
			e.conflicting("a note of the end of a record without an end", "ana", with(alive, endedBy("", "n"))),
			e.conflicting("a new record without an end that notes one", "ana", e.record("ana", endedBy("bob", "n"))),
			e.conflicting("a later word of who ended it", "ana", with(bare, endedBy("bob", ""))),
			e.conflicting("a later note", "ana", with(bare, endedBy("", "n"))),
			e.conflicting("another who", "ana", with(dead, endedBy("bo", dead.EndNote))),
			e.conflicting("another note", "ana", with(dead, endedBy(dead.EndedBy, ""))),
			e.put(with(dead, named("renamed")), dead),
			e.has(alive, bare, dead), e.holds(alive, bare, dead))
	})
}

func checkSameEnd(e *env) error {
	dead := e.record("ana", ended(instant(50), storage.EndSubject))
	if err := e.put(dead); err != nil {
		return err
	}
	for _, r := range []storage.Record{
		dead,
		with(dead, named("renamed")),
		with(dead, lowered(instant(40))),
		with(dead, func(r *storage.Record) { r.Data, r.LastUsedAt = "", instant(60) }),
	} {
		if err := errors.Join(e.put(r), e.has(r)); err != nil {
			return err
		}
		dead = r
	}
	return e.andReopened(func() error { return e.holds(dead) })
}

// checkErrorWritesNothing checks each write that failed. Other clauses say which writes must fail.
func checkErrorWritesNothing(e *env) error {
	alive, dead := e.record("ana"), e.record("ana", ended(instant(50), storage.EndRevoked))
	bobs := e.record(rival)
	if err := e.put(alive, dead, bobs); err != nil {
		return err
	}
	last := []storage.Record{
		with(bobs, func(r *storage.Record) { r.Subject = "ana" }),
		bobs,
		with(dead, ended(time.Time{}, 0)),
		with(dead, ended(instant(51), storage.EndRevoked)),
	}
	for _, r := range last {
		before, err := e.list(storage.Filter{})
		if err != nil {
			return err
		}
		if e.update("ana", puts(with(alive, named("changed")), e.record("ana"), r)) == nil {
			continue
		}
		if err := e.andReopened(func() error { return errors.Join(e.holds(before...), e.inTx(before...)) }); err != nil {
			return err
		}
	}
	return nil
}
