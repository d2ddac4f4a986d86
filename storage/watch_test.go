package storage_test

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func TestMustTell(t *testing.T) {
	at := time.UnixMilli(4102444800_000).UTC()
	before, after := at.Add(-time.Millisecond), at.Add(time.Millisecond)
	old := storage.Record{Token: storage.Token{Subject: "ana", LastUsedAt: at, ExpiresAt: at, MaxExpiresAt: at.Add(time.Hour)}}
	dead := old
	dead.EndedAt = at
	for _, c := range []struct {
		name   string
		old    *storage.Record
		change func(r *storage.Record)
		want   bool
	}{
		{"first put", nil, func(*storage.Record) {}, false},
		{"nothing", &old, func(*storage.Record) {}, false},
		{"earlier use", &old, func(r *storage.Record) { r.LastUsedAt = before }, true},
		{"later use", &old, func(r *storage.Record) { r.LastUsedAt = after }, false},
		{"earlier expiry", &old, func(r *storage.Record) { r.ExpiresAt, r.MaxExpiresAt = before, before }, true},
		{"later expiry", &old, func(r *storage.Record) { r.ExpiresAt = after }, false},
		{"expiry at the cap", &old, func(r *storage.Record) { r.ExpiresAt = r.MaxExpiresAt }, false},
		{"later expiry and cap", &old, func(r *storage.Record) { r.ExpiresAt, r.MaxExpiresAt = after, after }, true},
		{"later use and another name", &old, func(r *storage.Record) { r.LastUsedAt, r.Name = after, "tablet" }, true},
		{"end", &old, func(r *storage.Record) { r.EndedAt = after }, true},
		{"suspension", &old, func(r *storage.Record) { r.SuspendedAt = at }, true},
		{"another secret", &old, func(r *storage.Record) { r.Digest = storage.NewDigest(storage.SHA256, [32]byte{1}) }, true},
		{"later expiry of a dead record", &dead, func(r *storage.Record) { r.ExpiresAt = after }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := old
			if c.old != nil {
				r = *c.old
			}
			c.change(&r)
			if got := storage.MustTell(c.old, r); got != c.want {
				t.Errorf("MustTell = %v, want %v", got, c.want)
			}
		})
	}
}
