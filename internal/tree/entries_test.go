package tree

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestAddUse: what a raise makes of the entry before it.
func TestAddUse(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	living := storage.Record{
		Token: storage.Token{ID: storage.ID{15: 1}, Prefix: "lapse", Subject: "s", IssuedAt: at, ExpiresAt: at.Add(time.Hour), MaxExpiresAt: at.Add(24 * time.Hour)},
		TTL:   time.Hour, Digest: storage.NewDigest(storage.SHA256, [32]byte{1}),
	}
	ended := living
	ended.EndedAt, ended.EndReason = at, storage.EndRevoked
	use := storage.Use{At: at.Add(time.Minute), ExpiresAt: at.Add(time.Minute + time.Hour)}
	for name, r := range map[string]storage.Record{"living": living, "ended": ended} {
		value, err := wire.Encode(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		e := wire.Entry{Kind: wire.PutEntry, ID: r.ID, Value: value}
		if err := addUse(&e, use); err != nil {
			t.Fatal(err)
		}
		raised := r
		if use.Raise(&raised) != (name == "living") {
			t.Fatalf("%s: the use does not do what this test is about", name)
		}
		if got, err := wire.Decode(r.ID[:], e.Value); err != nil || !got.Equal(raised) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, raised)
		}
	}
}
