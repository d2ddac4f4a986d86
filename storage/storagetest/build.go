package storagetest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// origin is where the suite's time begins, in Unix milliseconds: the year 2100, which is far from
// any instant that a store would set itself.
const origin = 4102444800_000

// instant returns the instant ms milliseconds after origin.
func instant(ms int64) time.Time { return time.UnixMilli(origin + ms).UTC() }

// record returns a live record that differs from every other one. Later records have greater IDs
// and later instants, two minutes apart.
func (e *env) record(subject string, changes ...func(*storage.Record)) storage.Record {
	n := e.serial.Add(1)
	issued := instant(n * 120_007)
	r := storage.Record{
		Token: storage.Token{
			ID:           newID(n, issued, subject),
			Prefix:       "lapse",
			Subject:      subject,
			Name:         fmt.Sprint("device ", n),
			Scope:        fmt.Sprintf("read write:%d", n),
			Data:         fmt.Sprintf(`{"n":%d}`, n),
			IssuedAt:     issued,
			LastUsedAt:   issued.Add(7 * time.Second),
			ExpiresAt:    issued.Add(30 * time.Minute),
			MaxExpiresAt: issued.Add(30 * 24 * time.Hour),
		},
		TTL:    30*time.Minute + time.Duration(n)*time.Millisecond,
		Digest: digest(n),
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

// records returns n records of subject, each with the same changes.
func (e *env) records(n int, subject string, changes ...func(*storage.Record)) []storage.Record {
	rs := make([]storage.Record, n)
	for i := range rs {
		rs[i] = e.record(subject, changes...)
	}
	return rs
}

// newID returns an ID with the layout of a Manager's IDs. The hash of the subject is at its end,
// since an engine may route by it.
func newID(n int64, at time.Time, subject string) storage.ID {
	id := storage.ID{6: 0x70, 8: 0x80}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	binary.BigEndian.PutUint32(id[10:], uint32(n))
	tag := storage.ShardTag(subject)
	copy(id[14:], tag[:])
	return id
}

// rival is a subject with the shard tag of "ana", so that an ID fits both subjects.
const rival = "rival 104116"

func digest(n int64) storage.Digest {
	return storage.NewDigest(storage.SHA256, sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n))))
}

func expires(at time.Time) func(*storage.Record) {
	return func(r *storage.Record) { r.ExpiresAt = at }
}

func ended(at time.Time, why storage.EndReason) func(*storage.Record) {
	return func(r *storage.Record) { r.EndedAt, r.EndReason = at, why }
}

// endedBy sets the texts of an end.
func endedBy(who, note string) func(*storage.Record) {
	return func(r *storage.Record) { r.EndedBy, r.EndNote = who, note }
}

func bound(to storage.Thumbprint) func(*storage.Record) {
	return func(r *storage.Record) { r.Thumbprint = to }
}

// lowered lowers the expiry and sets the cap that S29 requires.
func lowered(to time.Time) func(*storage.Record) {
	return func(r *storage.Record) { r.ExpiresAt, r.MaxExpiresAt = to, to }
}

// withExtras sets every field of r that only some records have.
func withExtras(r *storage.Record) {
	r.Family, r.Parent = storage.ID{1, 15: 9}, storage.ID{2}
	r.MaxUses, r.UsesLeft, r.Epoch, r.Sealed = 300, 299, 3, storage.NewSealed("\x00 sealed \xff")
	r.AuthenticatedAt, r.SuspendedAt = instant(72), instant(73)
	r.UseGrace, r.CapEdited, r.Client = 10_001*time.Millisecond, true, "app \x00 \xff"
	r.Kind, r.Generation, r.RotatedAt, r.PreviousUntil = storage.KindSession, 70_000, instant(70), instant(71)
}

func named(name string) func(*storage.Record) {
	return func(r *storage.Record) { r.Name = name }
}

// with returns a copy of r with changes.
func with(r storage.Record, changes ...func(*storage.Record)) storage.Record {
	for _, change := range changes {
		change(&r)
	}
	return r
}
