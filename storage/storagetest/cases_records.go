package storagetest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func recordCases() []testCase {
	return []testCase{
		{"S1_every_field", "A record comes back as it was put: every field.",
			roundTrip(fieldRows)},
		{"S1_each_field", "A record comes back as it was put: each field of the types alone, also one that is new in them.",
			checkEachField},
		{"S1_every_instant", "Instants come back to the millisecond in UTC from year 1 to 9999, the zero Time included.",
			roundTrip(instantRows)},
		{"S1_every_string", "Strings come back byte for byte up to the limits Max....",
			roundTrip(stringRows)},
		{"S1_ties", "A record comes back as it was put: the IDs of others, the budget of uses, what is sealed, each alone and all.",
			roundTrip(extraRows)},
		{"S1_secrets", "A record comes back as it was put: its kind, its generation, and the instants of its secrets, each alone and all.",
			roundTrip(secretRows)},
		{"S1_presence_and_ends", "A record comes back as it was put: when its user was present, its client, its key, and what is noted of its end, each alone and all.",
			roundTrip(presenceRows)},
		{"S1_every_number", "Numbers that this version gives no meaning to come back as they were put.",
			roundTrip(numberRows)},
		{"S2_the_dead_are_found", "Get finds the dead as well as the living.",
			checkDeadFound},
		{"S2_absent_is_not_found", "An ID that was never put is ErrNotFound.",
			checkAbsent},
		{"S3_answers_stay_as_they_are", "No later write changes an answer already given.",
			checkAnswersStay},
	}
}

// roundTrip puts the rows and checks that every method that reads returns them.
func roundTrip(rows func(e *env) []storage.Record) func(*env) error {
	return func(e *env) error {
		want := rows(e)
		if err := e.put(want...); err != nil {
			return err
		}
		return e.andReopened(func() error {
			return errors.Join(e.has(want...), e.holds(want...), e.inTx(want...), e.inUTC(want...))
		})
	}
}

// inTx checks that an Update finds exactly want among the records of their subjects, by ID and by
// iteration, in order.
func (e *env) inTx(want ...storage.Record) error {
	bySubject := make(map[string][]storage.Record)
	for _, r := range sorted(want...) {
		bySubject[r.Subject] = append(bySubject[r.Subject], r)
	}
	var errs []error
	for subject, want := range bySubject {
		errs = append(errs, e.update(subject, func(tx storage.Tx) error { return sees(tx, want...) }))
	}
	return errors.Join(errs...)
}

// sees checks that tx sees exactly want, which is in order.
func sees(tx storage.Tx, want ...storage.Record) error {
	var all []storage.Record
	for r, err := range tx.Records() {
		if err != nil {
			return fmt.Errorf("Tx.Records: %w", err)
		}
		all = append(all, r)
	}
	errs := []error{sameRecords("Tx.Records", want, all)}
	for _, w := range want {
		got, err := tx.Get(w.ID)
		if err != nil {
			errs = append(errs, fmt.Errorf("Tx.Get(%s): %w", w.ID, err))
			continue
		}
		errs = append(errs, sameRecord("Tx.Get", w, got))
	}
	return errors.Join(errs...)
}

// inUTC checks that instants are in UTC and have no monotonic reading. A comparison of instants
// does not show that.
func (e *env) inUTC(rs ...storage.Record) error {
	var errs []error
	for _, r := range rs {
		got, err := e.store.Get(e.ctx, r.ID)
		errs = append(errs, err)
		for _, t := range []time.Time{
			got.IssuedAt, got.LastUsedAt, got.ExpiresAt, got.MaxExpiresAt, got.EndedAt, got.RotatedAt, got.PreviousUntil, got.AuthenticatedAt,
			got.SuspendedAt,
		} {
			if t.Location() != time.UTC || t != t.Round(0) {
				errs = append(errs, fmt.Errorf("instant %v is not plain UTC", t))
			}
		}
	}
	return errors.Join(errs...)
}

func fieldRows(e *env) []storage.Record {
	least := func(r *storage.Record) {
		*r = storage.Record{Token: storage.Token{ID: r.ID, Subject: r.Subject}, Digest: r.Digest}
	}
	return []storage.Record{
		e.record("ana"),
		e.record("ana", least),
		e.record("ana", ended(instant(3), storage.EndRevoked)),
		e.record("ana", ended(instant(5), storage.EndSubject), expires(instant(4))),
		e.record("bob", ended(instant(6), storage.EndEvicted)),
		e.record("bob", func(r *storage.Record) { r.LastUsedAt, r.MaxExpiresAt = time.Time{}, time.Time{} }),
	}
}

// instantRows returns records that have each instant in one field, and then in all fields.
func instantRows(e *env) []storage.Record {
	var rs []storage.Record
	for _, at := range instants() {
		fields := []func(*storage.Record){
			func(r *storage.Record) { r.IssuedAt = at },
			func(r *storage.Record) { r.LastUsedAt = at },
			func(r *storage.Record) { r.ExpiresAt = at },
			func(r *storage.Record) { r.MaxExpiresAt = at },
			func(r *storage.Record) { r.EndedAt, r.EndReason = at, storage.EndRevoked },
		}
		for _, field := range fields {
			rs = append(rs, e.record("ana", field))
		}
		rs = append(rs, e.record("ana", fields...))
	}
	return rs
}

// instants returns the instants at which a store's representation of time may break: where it means
// "not set", and where its numbers overflow.
func instants() []time.Time {
	var all []time.Time
	for _, text := range []string{
		"0001-01-01T00:00:00Z", // the zero Time
		"0001-01-01T00:00:00.001Z",
		"1677-09-21T00:12:43.145Z", // just before the first of UnixNano
		"1969-12-31T23:59:59.999Z",
		"1970-01-01T00:00:00Z", // zero for Unix, and not the zero Time
		"1970-01-01T00:00:00.001Z",
		"2038-01-19T03:14:08Z",
		"2262-04-11T23:47:16.855Z", // just after the last of UnixNano
		"2300-02-28T12:30:45.678Z",
		"9999-12-31T23:59:59.999Z",
	} {
		at, _ := time.Parse(time.RFC3339Nano, text) // the texts are constants
		all = append(all, at)
	}
	return all
}

func stringRows(e *env) []storage.Record {
	var every [256]byte
	for i := range every {
		every[i] = byte(i)
	}
	all := string(every[:])
	data := func(s string) func(*storage.Record) { return func(r *storage.Record) { r.Data = s } }
	longest := func(r *storage.Record) {
		r.Prefix = strings.Repeat("p", storage.MaxPrefix)
		r.Name = strings.Repeat("é", storage.MaxName/2) + "e"
		r.Scope = strings.Repeat("s", storage.MaxScope)
		r.Data = strings.Repeat(all, storage.MaxData/len(all))
	}
	empty := func(r *storage.Record) { r.Name, r.Scope, r.Data = "", "", "" }
	return []storage.Record{
		e.record("ana", longest),
		e.record(strings.Repeat("s", storage.MaxSubject), longest),
		e.record("ana", empty),
		e.record("ana", data(all)),
		e.record("ana", data("\x00")),
		e.record("ana", data("\xff\xfe\x80 is not UTF-8 \xed\xa0\x80")),
		e.record("ana", data(" \r\n\t"), named("line\nline")),
		e.record("\x01\x7f", named("\u2028 \U0010ffff")),
	}
}

func extraRows(e *env) []storage.Record {
	var every [storage.MaxSealed]byte
	for i := range every {
		every[i] = byte(i)
	}
	rs := []storage.Record{e.record("ana", withExtras), e.record("ana", withExtras, ended(instant(1), storage.EndRotated))}
	for _, change := range []func(*storage.Record){
		func(r *storage.Record) { r.Family = r.ID },
		func(r *storage.Record) { r.Parent = storage.ID{15: 1} },
		func(r *storage.Record) { r.MaxUses, r.UsesLeft = 1, 1 },
		func(r *storage.Record) { r.Epoch = math.MaxUint32 },
		func(r *storage.Record) { r.MaxUses = math.MaxInt32 },
		func(r *storage.Record) { r.MaxUses, r.UsesLeft = math.MaxInt32, math.MaxInt32 },
		func(r *storage.Record) { r.MaxUses, r.UsesLeft, r.UseGrace = 1, 1, time.Millisecond },
		func(r *storage.Record) { r.MaxUses, r.UsesLeft, r.UseGrace = 1, 0, storage.MaxUseGrace },
		func(r *storage.Record) { r.CapEdited = true },
		func(r *storage.Record) { r.Sealed = storage.NewSealed("\x00") },
		func(r *storage.Record) { r.Sealed = storage.NewSealed(string(every[:])) },
	} {
		rs = append(rs, e.record("ana", change), e.record("bob", withExtras, change))
	}
	return rs
}

// secretRows returns records that have each field of a rotation alone, at its limits, and among the
// rest.
func secretRows(e *env) []storage.Record {
	changes := []func(*storage.Record){
		func(r *storage.Record) { r.Kind = storage.KindSession },
		func(r *storage.Record) { r.Kind = math.MaxUint8 },
		func(r *storage.Record) { r.Generation = 1 },
		func(r *storage.Record) { r.Generation = math.MaxUint32 },
	}
	for _, at := range instants() {
		changes = append(changes,
			func(r *storage.Record) { r.RotatedAt = at },
			func(r *storage.Record) { r.PreviousUntil = at },
			func(r *storage.Record) { r.RotatedAt, r.PreviousUntil = at, at })
	}
	longest := func(r *storage.Record) {
		r.Sealed = storage.NewSealed(strings.Repeat("\xff\x00s", storage.MaxSealed/3))
	}
	var rs []storage.Record
	for _, change := range changes {
		rs = append(rs, e.record("ana", change), e.record("bob", withExtras, longest, change))
	}
	return rs
}

// presenceRows returns records that have AuthenticatedAt, SuspendedAt, a Client, a Thumbprint and the texts of an
// end, each alone, at its limits, and among the rest.
func presenceRows(e *env) []storage.Record {
	why := ended(instant(2), storage.EndRevoked)
	changes := []func(*storage.Record){
		bound(storage.Thumbprint{31: 1}),
		bound(storage.Thumbprint([]byte(strings.Repeat("\xff", 32)))),
		func(r *storage.Record) { r.Client = "c" },
		func(r *storage.Record) { r.Client = strings.Repeat("\x00\xff\n", storage.MaxClient/3) },
		endedBy("b", ""),
		endedBy("", "n"),
		endedBy(strings.Repeat("\x00\xff\n", storage.MaxEndedBy/3), strings.Repeat("é", storage.MaxEndNote/2)+"n"),
	}
	for _, at := range instants() {
		changes = append(changes, func(r *storage.Record) { r.AuthenticatedAt = at }, suspended(at))
	}
	var rs []storage.Record
	for _, change := range changes {
		rs = append(rs, e.record("ana", why, change), e.record("bob", why, withExtras, bound(storage.Thumbprint{1}), endedBy("b", "n"), change))
	}
	return append(rs, e.record("ana", changes[0]), e.record("ana", withExtras, changes[1]), e.record("ana", changes[len(changes)-1]))
}

func numberRows(e *env) []storage.Record {
	ttl := func(d time.Duration) func(*storage.Record) { return func(r *storage.Record) { r.TTL = d } }
	sum := digest(1).Sum()
	return []storage.Record{
		e.record("ana", ttl(time.Millisecond)),
		e.record("ana", ttl(time.Duration(math.MaxInt64).Truncate(time.Millisecond))),
		e.record("ana", ended(instant(1), math.MaxUint8)),
		e.record("ana", func(r *storage.Record) { r.Digest = storage.NewDigest(math.MaxUint8, sum) }),
		e.record("ana", func(r *storage.Record) { r.Digest = storage.NewDigest(storage.SHA256, [32]byte{31: 1}) }),
		e.record("ana", func(r *storage.Record) { copy(r.ID[:6], "\x00\x00\x00\x00\x00\x00") }),
		e.record("ana", func(r *storage.Record) { copy(r.ID[:6], "\xff\xff\xff\xff\xff\xff") }),
	}
}

func checkDeadFound(e *env) error {
	longAgo := time.UnixMilli(86_400_000).UTC()
	dead := []storage.Record{
		e.record("ana", expires(longAgo)),
		e.record("ana", expires(time.Time{})),
		e.record("ana", expires(longAgo), ended(longAgo.Add(-time.Hour), storage.EndRevoked)),
		e.record("ana", expires(longAgo), ended(longAgo.Add(time.Hour), storage.EndEvicted)),
	}
	if err := e.put(append(dead, e.record("ana"))...); err != nil {
		return err
	}
	return e.andReopened(func() error { return e.has(dead...) })
}

func checkAbsent(e *env) error {
	r := e.record("ana")
	near := with(r, func(r *storage.Record) { r.ID[15] ^= 1 })
	zero := storage.Record{}
	if err := e.lacks(r, near, zero); err != nil {
		return fmt.Errorf("in an empty store: %w", err)
	}
	if err := e.put(r); err != nil {
		return err
	}
	return e.andReopened(func() error { return e.lacks(near, zero) })
}
