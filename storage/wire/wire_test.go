package wire_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/wire"
)

func at(ms int64) time.Time { return time.UnixMilli(4102444800_000 + ms).UTC() }

// samples returns records by name: with few fields, with every field, and at the limits.
func samples() map[string]storage.Record {
	plain := storage.Record{
		Token: storage.Token{
			ID: storage.ID{1, 6: 0x70, 8: 0x80, 15: 7}, Prefix: "lapse", Subject: "ana", Name: "tablet", Scope: "read", Data: "{}",
			IssuedAt: at(0), LastUsedAt: at(1), ExpiresAt: at(2), MaxExpiresAt: at(3),
		},
		TTL: time.Hour, Digest: storage.NewDigest(storage.SHA256, [32]byte{1, 31: 2}),
	}
	full := plain
	full.Family, full.Parent = storage.ID{3}, storage.ID{4}
	full.MaxUses, full.UsesLeft, full.UseGrace = 300, 299, 10_001*time.Millisecond
	full.EndedAt, full.EndReason, full.EndedBy, full.EndNote = at(4), storage.EndRevoked, "support", "lost \x00 \xff"
	full.AuthenticatedAt, full.SuspendedAt, full.RotatedAt, full.PreviousUntil = at(5), at(6), at(7), at(8)
	full.Kind, full.Generation, full.Epoch, full.CapEdited = storage.KindSession, 70_000, 3, true
	full.Sealed, full.Thumbprint = storage.NewSealed("\x00 sealed \xff"), storage.Thumbprint{9}
	full.Client = "app \x00 \xff"
	bare := storage.Record{Token: storage.Token{ID: storage.ID{2}}, Digest: plain.Digest}
	ends := plain
	ends.IssuedAt, ends.LastUsedAt = time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC), time.UnixMilli(0).UTC()
	ends.ExpiresAt, ends.MaxExpiresAt = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), time.Time{}
	return map[string]storage.Record{"plain": plain, "full": full, "bare": bare, "first and last instants": ends}
}

func encoded(t *testing.T, r storage.Record) []byte {
	t.Helper()
	b, err := wire.Encode(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	for name, r := range samples() {
		b := encoded(t, r)
		got, err := wire.Decode(r.ID, b)
		if err != nil || !got.Equal(r) {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, cmp.Diff(r, got))
		}
		clear(b)
		if !got.Equal(r) {
			t.Errorf("%s: the record shares memory with the bytes", name)
		}
	}
}

// TestEncodeUsesMemory: Encode begins in the memory that it is given.
func TestEncodeUsesMemory(t *testing.T) {
	r := samples()["full"]
	b := make([]byte, 0, 4096)
	got, err := wire.Encode(b, &r)
	if err != nil || &got[0] != &b[:1][0] {
		t.Errorf("Encode allocated, with room for %d bytes: %v", cap(b), err)
	}
}

// wantDamaged checks that b is no record of id.
func wantDamaged(t *testing.T, what string, id storage.ID, b []byte) {
	t.Helper()
	got, err := wire.Decode(id, b)
	if !errors.Is(err, storage.ErrCorrupt) || !got.Equal(storage.Record{Token: storage.Token{ID: id}}) {
		t.Errorf("%s: got %v, error %v; want the ID alone and ErrCorrupt", what, got, err)
	}
}

// TestDamage changes every bit, and takes off and adds every number of bytes.
func TestDamage(t *testing.T) {
	for name, r := range samples() {
		b := encoded(t, r)
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				wantDamaged(t, name, r.ID, b)
				b[i] ^= 1 << bit
			}
			wantDamaged(t, name+", cut", r.ID, b[:i])
			wantDamaged(t, name+", without its begin", r.ID, b[i+1:])
		}
		wantDamaged(t, name+", longer", r.ID, append(b, 0))
	}
	wantDamaged(t, "nothing", storage.ID{1}, nil)
}

// TestOtherID: the bytes of one record are none of another one.
func TestOtherID(t *testing.T) {
	for name, r := range samples() {
		b := encoded(t, r)
		for i := range r.ID {
			other := r.ID
			other[i] ^= 1
			wantDamaged(t, name, other, b)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(r *storage.Record){
		"long subject": func(r *storage.Record) { r.Subject = string(make([]byte, storage.MaxSubject+1)) },
		"long data":    func(r *storage.Record) { r.Data = string(make([]byte, storage.MaxData+1)) },
		"year 10000":   func(r *storage.Record) { r.ExpiresAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		r := samples()["plain"]
		change(&r)
		if _, err := wire.Encode(nil, &r); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}
