package bolt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// compare opens the file of a workload that is dead and returns whatever the model
// does not allow there. Then the model goes on from what was found.
func (m *model) compare(path string) (wrong []string) {
	s, err := Open(path, nil)
	if err != nil {
		return []string{fmt.Sprintf("Open: %v", err)}
	}
	found, wrong := readAll(s)
	if err := s.Close(); err != nil {
		wrong = append(wrong, fmt.Sprintf("Close: %v", err))
	}
	wrong = append(wrong, m.judge(found)...)
	m.settle(found)
	return wrong
}

// readAll returns what the store holds, by serial, in every way in which it can be
// asked, and where those ways disagree.
func readAll(s *Store) (found map[int]storage.Record, wrong []string) {
	ctx := context.Background()
	found = make(map[int]storage.Record)
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for r, err := range s.List(ctx, storage.Filter{}) {
		if err != nil {
			bad("List: %v: %v", r.ID, err)
			continue
		}
		found[serialOf(r.ID)] = r
		if got, err := s.Get(ctx, r.ID); err != nil || !got.Equal(r) {
			bad("List has %+v, Get %+v, %v", r, got, err)
		}
	}
	horizon, dueWant, dueGot := epoch.AddDate(1, 0, 0), 0, 0
	for _, r := range found {
		if r.ExpiresAt.Before(horizon) {
			dueWant++
		}
	}
	for range s.List(ctx, storage.Filter{ExpiresBefore: horizon}) {
		dueGot++
	}
	if dueGot != dueWant {
		bad("List by expiry has %d records; want %d", dueGot, dueWant)
	}
	count := 0
	for n := range subjects {
		err := s.Update(ctx, subjectOf(n), func(tx storage.Tx) error {
			for r, err := range tx.Records() {
				if err != nil || !r.Equal(found[serialOf(r.ID)]) {
					bad("Tx.Records has %+v, %v; List %+v", r, err, found[serialOf(r.ID)])
				}
				if got, err := tx.Get(r.ID); err != nil || !got.Equal(r) {
					bad("Tx.Records has %+v, Tx.Get %+v, %v", r, got, err)
				}
				count++
			}
			return nil
		})
		if err != nil {
			bad("Update: %v", err)
		}
		for range s.List(ctx, storage.Filter{Subject: subjectOf(n)}) {
			count++
		}
	}
	if count != 2*len(found) {
		bad("Tx.Records and List by subject have %d records together; want twice %d", count, len(found))
	}
	return found, wrong
}

// judge returns what of the found records the model does not allow.
func (m *model) judge(found map[int]storage.Record) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for serial, r := range found {
		if m.records[serial] == nil {
			bad("a record that nobody issued, or that was seen to be gone: %+v", brief(r))
		}
	}
	for serial, f := range m.records {
		r, ok := found[serial]
		switch {
		case ok && slices.ContainsFunc(f.deletes, done):
			bad("a record that was deleted is there: %+v", brief(r))
		case ok:
			if err := f.allows(serial, r); err != nil {
				bad("%v: %+v", err, brief(r))
			}
		case happened(f.deletes):
			m.counts["deleted"]++
		case f.gone:
			m.counts["swept"]++
		case f.found != nil || f.issue.answer == saidDone:
			bad("a record that was acknowledged is lost: %+v", brief(issued(serial)))
		}
	}
	for _, o := range m.open {
		if err := m.whole(o, found); err != nil {
			bad("%v: operation %+v", err, *o)
		}
	}
	return wrong
}

// allows returns what is wrong with r as the record of f, if anything is.
func (f *fate) allows(serial int, r storage.Record) error {
	want := issued(serial)
	if f.found != nil {
		want = *f.found
	} else if f.issue.answer == saidRefused {
		return errors.New("an operation that was refused has issued it")
	}
	if err := f.settleSecret(&want, r); err != nil {
		return err
	}
	expires, used := f.instants(&want, r)
	ends := f.ended()
	ended := want.EndedAt.Equal(r.EndedAt) && want.EndReason == r.EndReason && !(ends && r.EndedAt.IsZero())
	for _, o := range f.ends {
		ended = ended || o.answer != saidRefused && want.EndedAt.IsZero() && r.EndedAt.Equal(o.at()) && r.EndReason == o.reason()
	}
	fixed := r
	fixed.ExpiresAt, fixed.LastUsedAt, fixed.EndedAt, fixed.EndReason = want.ExpiresAt, want.LastUsedAt, want.EndedAt, want.EndReason
	switch {
	case !fixed.Equal(want):
		return fmt.Errorf("not the record that was put, %+v", brief(want))
	case ends && r.EndedAt.IsZero():
		return errors.New("it was ended and is not")
	case !ended:
		return errors.New("an end that nobody wrote")
	case !slices.Contains(expires, r.ExpiresAt):
		return fmt.Errorf("an expiry that nobody wrote, or an operation that was refused: %v", expires)
	case !slices.Contains(used, r.LastUsedAt):
		return fmt.Errorf("a last use that nobody wrote, or an operation that was refused: %v", used)
	case r.ExpiresAt.Before(f.expires) && r.MaxExpiresAt.IsZero(), r.LastUsedAt.Before(f.used):
		return fmt.Errorf("a renewal was durable and is not there: last used %v, expires %v", f.used, f.expires)
	}
	return nil
}

// instants returns when r may expire, and may have been used last: as want, as it was put,
// unless a renewal was written since. It gives want the cap that r may have; what has one
// expires then.
func (f *fate) instants(want *storage.Record, r storage.Record) (expires, used []time.Time) {
	expires, used = []time.Time{want.ExpiresAt}, []time.Time{want.LastUsedAt}
	for _, o := range f.renews {
		if o.answer == saidRefused {
			continue
		}
		if expires = append(expires, o.expiry()); o.kind == doTouch {
			used = append(used, o.at())
		}
	}
	for _, o := range f.caps {
		if o.answer == saidDone || o.answer != saidRefused && r.MaxExpiresAt.Equal(o.limit()) {
			want.MaxExpiresAt = o.limit()
		}
	}
	if !want.MaxExpiresAt.IsZero() {
		expires = []time.Time{want.MaxExpiresAt}
	}
	return expires, used
}

// settleSecret gives want the secret that r has, if it may have that: of those that were
// written no earlier one than the last that was acknowledged.
func (f *fate) settleSecret(want *storage.Record, r storage.Record) error {
	for _, o := range f.rotates {
		if o.answer == saidDone || o.answer != saidRefused && r.Generation >= uint32(o.number) {
			o.rotate(want)
		}
	}
	if r.Digest.Equal(want.Digest) && r.Generation == want.Generation {
		return nil
	}
	return fmt.Errorf("its secret is number %d; want number %d", r.Generation, want.Generation)
}

// deletedBy reports whether a record that is not there can only be missing because of o.
func (f *fate) deletedBy(o *operation) bool {
	others := slices.DeleteFunc(slices.Clone(f.deletes), func(other *operation) bool { return other == o })
	return (f.found != nil || done(f.issue)) && !f.gone && !happened(others)
}

// whole returns an error if o has happened in part. Parts that another operation
// may hide say nothing. Of an operation that was told that its outcome is unknown, what it ends or deletes may
// have happened alone (S28).
func (m *model) whole(o *operation, found map[int]storage.Record) error {
	there, missing, unissued := 0, 0, 0
	for i := range o.issues {
		_, ok := found[o.serial(i)]
		switch {
		case ok:
			there++
		case !m.records[o.serial(i)].gone && !happened(m.records[o.serial(i)].deletes):
			unissued++
		}
	}
	if o.answer != saidUnknown || !o.told || there > 0 {
		missing = unissued
	}
	for _, serial := range o.targets {
		switch r, ok := found[serial]; {
		case o.kind == doDelete && ok:
			missing++
		case o.kind == doDelete && m.records[serial] != nil && m.records[serial].deletedBy(o):
			there++
		case !ok || !o.ends():
		case r.EndedAt.Equal(o.at()):
			there++
		case r.EndedAt.IsZero() && !m.records[serial].passedOver(o):
			missing++
		}
	}
	switch {
	case there > 0 && missing > 0:
		return fmt.Errorf("%d parts of it have happened and %d have not", there, missing)
	case there > 0 && o.answer == saidRefused:
		return errors.New("it was refused and has happened")
	case missing > 0 && o.answer == saidDone:
		return errors.New("it was acknowledged and has not happened")
	}
	return nil
}
