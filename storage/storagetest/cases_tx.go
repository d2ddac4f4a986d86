package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-55daa01a/lapse/storage"
)

func txCases() []testCase {
	return []testCase{
		{"S4_whole_and_in_order", "A Tx sees its subject whole: every record of it, dead ones too, in ID order.",
			checkTxWhole},
		{"S4_own_puts", "A Tx sees what the same Tx put, in ID order.",
			checkTxOwnPuts},
		{"S4_put_while_iterating", "The loop body of Tx.Records may Put; what it creates is not among those yet to come.",
			checkTxPutWhileIterating},
		{"S4_subjects_are_apart", "A Tx sees nothing of another subject, however alike their names are.",
			checkSubjectsApart},
		{"S5_error_comes_back_as_it_is", "An error from fn comes back unwrapped.",
			checkErrorAsItIs},
		{"S5_error_leaves_nothing", "All or nothing: an error from fn aborts, whatever fn put before.",
			checkErrorLeavesNothing},
		{"S5_error_frees_the_id", "What an aborted Update put holds no ID.",
			checkErrorFreesID},
		{"S5_nil_keeps_all", "All or nothing: nil means that every Put happened.",
			checkNilKeepsAll},
	}
}

// mixed returns n records of subject in no order, some of them dead.
func (e *env) mixed(n int, subject string) []storage.Record {
	rs := e.records(n, subject)
	for i := range rs {
		switch i % 4 {
		case 1:
			ended(instant(int64(i)), storage.EndSubject)(&rs[i])
		case 2:
			expires(instant(int64(i)))(&rs[i])
		}
	}
	slices.Reverse(rs)
	return slices.Concat(rs[n/3:], rs[:n/3])
}

func checkTxWhole(e *env) error {
	var anas []storage.Record
	for range 4 {
		some := e.mixed(12, "ana")
		if err := e.put(append(some, e.mixed(12, "bob")...)...); err != nil {
			return err
		}
		anas = append(anas, some...)
	}
	return e.andReopened(func() error { return e.inTx(anas...) })
}

func checkTxOwnPuts(e *env) error {
	rs := e.records(40, "ana")
	if err := e.put(rs[10], rs[20], rs[30]); err != nil {
		return err
	}
	want := slices.Clone(rs)
	want[20] = with(want[20], named("replaced"))
	want[5] = with(want[5], named("put twice"))
	err := e.update("ana", func(tx storage.Tx) error {
		if err := puts(rs[39], rs[0], rs[5])(tx); err != nil {
			return err
		}
		if err := sees(tx, rs[0], rs[5], rs[10], rs[20], rs[30], rs[39]); err != nil {
			return fmt.Errorf("after three puts: %w", err)
		}
		for _, r := range slices.Backward(want) {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return sees(tx, want...)
	})
	return errors.Join(err, e.holds(want...))
}

func checkTxPutWhileIterating(e *env) error {
	rs := e.records(6, "ana")
	want := slices.Clone(rs)
	for i := range want {
		named("seen")(&want[i])
	}
	// The new records lie before, between and after the existing ones.
	if err := e.put(rs[1], rs[2], rs[4]); err != nil {
		return err
	}
	fresh := []storage.Record{want[0], want[3], want[5]}
	err := e.update("ana", func(tx storage.Tx) error {
		var came []storage.ID
		for r, err := range tx.Records() {
			if err != nil {
				return err
			}
			came = append(came, r.ID)
			if err := puts(append(fresh, with(r, named("seen")))...)(tx); err != nil {
				return err
			}
		}
		for range tx.Records() {
			break // an iteration that stops early must not disturb later ones
		}
		return diff("IDs that Tx.Records yielded", []storage.ID{rs[1].ID, rs[2].ID, rs[4].ID}, came)
	})
	return errors.Join(err, e.holds(want...))
}

// alikes returns subjects that a store would confuse if it joined, folded or cut its keys.
func alikes() []string {
	foxes := strings.Repeat("🦊", 63)
	return []string{
		"a", "ab", "abc", "b", "a/", "a/b", "a:b", "a:", "a b", "a\x01", "a\u00ff", "A", "%61", "a%", "a_", "*",
		"\u00e9", "e\u0301", // one letter to people, composed and decomposed
		foxes, foxes + "ab", foxes + "abc", foxes + "abd", // up to 255 bytes
	}
}

func checkSubjectsApart(e *env) error {
	of := make(map[string][]storage.Record)
	var all []storage.Record
	for range 2 {
		for _, subject := range alikes() {
			r := e.record(subject)
			of[subject], all = append(of[subject], r), append(all, r)
		}
	}
	if err := e.put(sortedBySubject(all)...); err != nil {
		return err
	}
	return e.andReopened(func() error {
		errs := []error{e.holds(all...)}
		for _, subject := range alikes() {
			errs = append(errs, e.apart(subject, of[subject], all))
		}
		return errors.Join(errs...)
	})
}

func sortedBySubject(rs []storage.Record) []storage.Record {
	return slices.SortedStableFunc(slices.Values(rs), func(a, b storage.Record) int {
		return strings.Compare(a.Subject, b.Subject)
	})
}

// apart checks that List and an Update of subject show exactly own, and that the Update finds no
// other record of all.
func (e *env) apart(subject string, own, all []storage.Record) error {
	listed, err := e.list(storage.Filter{Subject: subject})
	inTx := e.update(subject, func(tx storage.Tx) error {
		errs := []error{sees(tx, own...)}
		for _, r := range all {
			if r.Subject == subject {
				continue
			}
			_, err := tx.Get(r.ID)
			errs = append(errs, wants(fmt.Sprintf("Tx.Get of a record of %q", r.Subject), err, storage.ErrNotFound))
		}
		return errors.Join(errs...)
	})
	if err := errors.Join(err, sameRecords("List", own, listed), inTx); err != nil {
		return fmt.Errorf("subject %q: %w", subject, err)
	}
	return nil
}

// errNo is an error that fn returns. Update must return this very value.
var errNo = errors.New("fn says no")

func checkErrorAsItIs(e *env) error {
	var errs []error
	for _, saying := range []error{errNo, storage.ErrConflict, fmt.Errorf("wrapped: %w", storage.ErrNotFound)} {
		for n := range 3 {
			err := e.update("ana", func(tx storage.Tx) error {
				if err := puts(e.records(n, "ana")...)(tx); err != nil {
					return err
				}
				return saying
			})
			if err != saying {
				errs = append(errs, fmt.Errorf("after %d puts fn returned %#v, and Update %#v", n, saying, err))
			}
		}
	}
	return errors.Join(errs...)
}

func checkErrorLeavesNothing(e *env) error {
	first := e.record("ana") // its ID comes before all others
	before := append(e.mixed(6, "ana"), e.record("bob"))
	if err := e.put(before...); err != nil {
		return err
	}
	for _, n := range []int{1, 12} {
		err := e.update("ana", func(tx storage.Tx) error {
			rs := append(e.records(n, "ana", expires(instant(1))), first)
			if err := puts(append(rs, with(before[2], named("changed")), with(before[2], named("again")))...)(tx); err != nil {
				return err
			}
			for range tx.Records() {
				break // an order that is found among what was put must not outlive it
			}
			return errNo
		})
		if err := wants("Update", err, errNo); err != nil {
			return err
		}
	}
	return e.andReopened(func() error { return errors.Join(e.holds(before...), e.has(before...), e.inTx(before...)) })
}

func checkErrorFreesID(e *env) error {
	r := e.record("ana")
	err := e.update("ana", func(tx storage.Tx) error { return errors.Join(tx.Put(r), errNo) })
	if err := wants("Update", err, errNo); err != nil {
		return err
	}
	r.Subject = rival
	if err := e.put(r); err != nil {
		return err
	}
	return errors.Join(e.holds(r), e.inTx(r), e.empty("ana"))
}

func checkNilKeepsAll(e *env) error {
	many := e.mixed(300, "ana")
	if err := e.put(many...); err != nil {
		return err
	}
	for i := range many {
		named("replaced")(&many[i])
	}
	if err := e.put(many...); err != nil {
		return err
	}
	return e.andReopened(func() error { return errors.Join(e.holds(many...), e.inTx(many...)) })
}
