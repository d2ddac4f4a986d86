package tree

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestRaised: what a raise makes of a put beside it, on either side of it.
func TestRaised(t *testing.T) {
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
		want := r
		if use.Raise(&want) != (name == "living") {
			t.Fatalf("%s: the use does not do what this test is about", name)
		}
		put := wire.Entry{Kind: wire.PutEntry, ID: r.ID, Value: value}
		raise := wire.Entry{Kind: wire.RaiseEntry, ID: r.ID, Use: use}
		for order, all := range map[string][]wire.Entry{
			"put, raise": {put, raise}, "raise, put": {raise, put},
		} {
			got, err := Combine(table.New(), all)
			if err != nil || len(got) != 1 || got[0].Kind != wire.PutEntry {
				t.Fatalf("%s, %s: %+v, %v; want one put", name, order, got, err)
			}
			if is, err := wire.Decode(r.ID[:], got[0].Value); err != nil || !is.Equal(want) {
				t.Errorf("%s, %s: %+v, %v; want %+v", name, order, is, err, want)
			}
		}
	}
}
