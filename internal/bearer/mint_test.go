package bearer

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// testInstant is when the tests mint.
var testInstant = time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)

// TestIDIsUUIDv7 reads every minted ID as RFC 9562 section 5.7 lays it out.
func TestIDIsUUIDv7(t *testing.T) {
	instants := []time.Time{
		testInstant,
		testInstant.Add(time.Millisecond),
		time.UnixMilli(0).UTC(),
		time.UnixMilli(1).UTC(),
		time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC),
		time.UnixMilli(steady.LastInstant).UTC(),
	}
	for _, now := range instants {
		for range 100 { // the other bits of these bytes are random
			var c Credential
			if err := c.Mint(now, "ana"); err != nil {
				t.Fatal(err)
			}
			id := c.ID()
			if got := binary.BigEndian.Uint64(id[:8]) >> 16; got != uint64(now.UnixMilli()) {
				t.Fatalf("timestamp at %v = %d, want %d", now, got, now.UnixMilli())
			}
			if got := id[6] >> 4; got != 7 {
				t.Fatalf("version = %d, want 7", got)
			}
			if got := id[8] >> 6; got != 0b10 {
				t.Fatalf("variant = %b, want 10", got)
			}
		}
	}
}

// TestIDBefore1970: the layout has no negative time. Nothing of a token's life
// is read from its ID, so 0 does.
func TestIDBefore1970(t *testing.T) {
	for _, now := range []time.Time{time.UnixMilli(-1), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)} {
		var c Credential
		if err := c.Mint(now, "ana"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(make([]byte, 6), c[:6]); diff != "" || c[6]>>4 != 7 {
			t.Errorf("timestamp at %v (-want +got):\n%s", now, diff)
		}
	}
}

// TestIDsSortByTimeOfIssue, to the millisecond.
func TestIDsSortByTimeOfIssue(t *testing.T) {
	var before storage.ID
	for ms := range 1_000 {
		var c Credential
		if err := c.Mint(testInstant.Add(time.Duration(ms)*time.Millisecond), "ana"); err != nil {
			t.Fatal(err)
		}
		if id := c.ID(); before.Compare(id) >= 0 {
			t.Fatalf("%v of the millisecond before does not sort before %v", before, id)
		} else {
			before = id
		}
	}
}

// TestShardTag: engines route by the last 16 bits, so they are the subject's and
// can never change.
func TestShardTag(t *testing.T) {
	for subject, want := range map[string][2]byte{"ana": {0xde, 0xac}, "": {0x1c, 0xd9}} {
		if got := storage.ShardTag(subject); got != want {
			t.Errorf("shard tag of %q = %x, want %x", subject, got, want)
		}
	}
	seen := map[uint16]bool{}
	for _, subject := range []string{"ana", "Ana", "an", "anaa", "bob", "a\u0301na", "\u00e1na"} {
		want := foldedFNV(subject)
		for range 20 {
			var c Credential
			if err := c.Mint(testInstant, subject); err != nil {
				t.Fatal(err)
			}
			if got := binary.BigEndian.Uint16(c[14:16]); got != want {
				t.Fatalf("shard tag of %q = %x, want %x", subject, got, want)
			}
		}
		seen[want] = true
	}
	if len(seen) != 7 {
		t.Errorf("7 subjects have %d shard tags; this list was chosen so that they differ", len(seen))
	}
}

// foldedFNV is the shard tag by the standard library.
func foldedFNV(subject string) uint16 {
	h := fnv.New32a()
	io.WriteString(h, subject)
	return uint16(h.Sum32()>>16 ^ h.Sum32())
}

// TestShardTagsSpread: subjects that are much alike have tags all over, in the bits
// that an engine of few shards looks at as well.
func TestShardTagsSpread(t *testing.T) {
	for name, subject := range map[string]func(i int) string{
		"numbers":   strconv.Itoa,
		"padded":    func(i int) string { return fmt.Sprintf("subject-%06d", i) },
		"addresses": func(i int) string { return fmt.Sprintf("user%d@example.com", i) },
		"uuids":     func(i int) string { return fmt.Sprintf("0192f1a0-0000-7000-8000-%012x", i) },
	} {
		const n, shards = 100_000, 256
		var high, low [shards]int
		for i := range n {
			tag := storage.ShardTag(subject(i))
			high[tag[0]]++
			low[tag[1]]++
		}
		// Were each tag drawn at random, a shard would have 391 with a deviation of 20.
		for _, counts := range [][shards]int{high, low} {
			if least, most := slices.Min(counts[:]), slices.Max(counts[:]); least < 270 || most > 512 {
				t.Errorf("%s: %d to %d of %d subjects in each of %d shards", name, least, most, n, shards)
			}
		}
	}
}

// TestMintRepeatsNothing: neither an ID nor a secret, in one millisecond and for
// one subject.
func TestMintRepeatsNothing(t *testing.T) {
	const n = 100_000
	ids, secrets := make(map[storage.ID]bool, n), make(map[[SecretLen]byte]bool, n)
	for range n {
		var c Credential
		if err := c.Mint(testInstant, "ana"); err != nil {
			t.Fatal(err)
		}
		ids[c.ID()], secrets[[SecretLen]byte(c[IDLen:])] = true, true
	}
	if len(ids) != n || len(secrets) != n {
		t.Errorf("%d IDs and %d secrets are different of %d", len(ids), len(secrets), n)
	}
}

// TestEverySecretBitVaries: no bit of the secret is fixed, and of the ID only
// time, version, variant and shard tag are.
func TestEverySecretBitVaries(t *testing.T) {
	var ones, zeros Credential
	for range 200 {
		var c Credential
		if err := c.Mint(testInstant, "ana"); err != nil {
			t.Fatal(err)
		}
		for i, b := range c {
			ones[i] |= b
			zeros[i] |= ^b
		}
	}
	for i := range ones {
		want := byte(0xff)
		switch {
		case i < 6 || i == 14 || i == 15:
			want = 0
		case i == 6:
			want = 0x0f
		case i == 8:
			want = 0x3f
		}
		if got := ones[i] & zeros[i]; got != want {
			t.Errorf("byte %d varies in %08b, want %08b", i, got, want)
		}
	}
}
