package storagetest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed-55daa01a/lapse/storage"
)

// These are the numbers of records and commits. An engine that returns memory of its own pages
// shows that late: a page with a few small records is copied whole, and a freed page is
// overwritten only some commits later. So the case needs many of both.
const (
	aliasedRecords = 96
	laterWrites    = 64
)

// answers are all records of a subject, read by each method that reads.
type answers struct {
	gets, lists, txGets, txRecords []storage.Record
}

func checkAnswersStay(e *env) error {
	want := e.records(aliasedRecords, "ana", expires(instant(9)), func(r *storage.Record) {
		r.Data = strings.Repeat(r.Data, 16)
	})
	bystander := e.record("bob")
	if err := e.put(append(want, bystander)...); err != nil {
		return err
	}
	kept, err := e.ask("ana", want)
	if err != nil {
		return err
	}
	if err := e.writeOver(want); err != nil {
		return err
	}
	return errors.Join(
		sameRecords("an answer of Get, after later writes", want, kept.gets),
		sameRecords("an answer of List, after later writes", want, kept.lists),
		sameRecords("an answer of Tx.Get, after later writes", want, kept.txGets),
		sameRecords("an answer of Tx.Records, after later writes", want, kept.txRecords))
}

func (e *env) ask(subject string, rs []storage.Record) (a answers, err error) {
	for _, r := range rs {
		got, err := e.store.Get(e.ctx, r.ID)
		if err != nil {
			return a, err
		}
		a.gets = append(a.gets, got)
	}
	if a.lists, err = e.list(storage.Filter{Subject: subject}); err != nil {
		return a, err
	}
	err = e.update(subject, func(tx storage.Tx) error {
		a.txGets, a.txRecords = nil, nil
		for r, err := range tx.Records() {
			if err != nil {
				return err
			}
			a.txRecords = append(a.txRecords, r)
			if r, err = tx.Get(r.ID); err != nil {
				return err
			}
			a.txGets = append(a.txGets, r)
		}
		return nil
	})
	return a, err
}

// writeOver replaces many of rs by records of another size, adds more, and in the end deletes all
// of rs.
func (e *env) writeOver(rs []storage.Record) error {
	for i := range laterWrites {
		r := rs[i*len(rs)/laterWrites]
		fresh := e.records(2, "ana", named(strings.Repeat("x", i)))
		err := e.update("ana", puts(append(fresh, with(r, func(r *storage.Record) {
			r.Name, r.Scope, r.Data = fmt.Sprint("written over ", i), "", strings.Repeat("#", 40*i)
		}))...))
		if err != nil {
			return err
		}
		if err := e.touch(fresh[0].ID, storage.Use{At: fresh[0].ExpiresAt}); err != nil {
			return err
		}
	}
	return e.sweep(instant(10), 2*len(rs), len(rs))
}
