package lapse

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

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
			var c credential
			if err := c.mint(now, "ana"); err != nil {
				t.Fatal(err)
			}
			id := c.id()
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
		var c credential
		if err := c.mint(now, "ana"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(make([]byte, 6), c[:6]); diff != "" || c[6]>>4 != 7 {
			t.Errorf("timestamp at %v (-want +got):\n%s", now, diff)
		}
	}
}

// TestIDsSortByTimeOfIssue, to the millisecond.
func TestIDsSortByTimeOfIssue(t *testing.T) {
	var before ID
	for ms := range 1_000 {
		var c credential
		if err := c.mint(testInstant.Add(time.Duration(ms)*time.Millisecond), "ana"); err != nil {
			t.Fatal(err)
		}
		if id := c.id(); before.Compare(id) >= 0 {
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
		if got := shardTag(subject); got != want {
			t.Errorf("shard tag of %q = %x, want %x", subject, got, want)
		}
	}
	seen := map[uint16]bool{}
	for _, subject := range []string{"ana", "Ana", "an", "anaa", "bob", "a\u0301na", "\u00e1na"} {
		want := foldedFNV(subject)
		for range 20 {
			var c credential
			if err := c.mint(testInstant, subject); err != nil {
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
			tag := shardTag(subject(i))
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
	ids, secrets := make(map[ID]bool, n), make(map[[secretLen]byte]bool, n)
	for range n {
		var c credential
		if err := c.mint(testInstant, "ana"); err != nil {
			t.Fatal(err)
		}
		ids[c.id()], secrets[[secretLen]byte(c[idLen:])] = true, true
	}
	if len(ids) != n || len(secrets) != n {
		t.Errorf("%d IDs and %d secrets are different of %d", len(ids), len(secrets), n)
	}
}

// TestEverySecretBitVaries: no bit of the secret is fixed, and of the ID only
// time, version, variant and shard tag are.
func TestEverySecretBitVaries(t *testing.T) {
	var ones, zeros credential
	for range 200 {
		var c credential
		if err := c.mint(testInstant, "ana"); err != nil {
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

// replaceRandom gives every Reader of randomness in this process another source
// until the test ends. Such a test must not be parallel.
func replaceRandom(t *testing.T, r io.Reader) {
	t.Helper()
	original := rand.Reader
	rand.Reader = r
	t.Cleanup(func() { rand.Reader = original })
}

// endless repeats one byte.
type endless byte

func (b endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

var errDevice = errors.New("no such device")

// TestBrokenRandomSource: no token is better than one that can be guessed, and
// the store is not even asked.
func TestBrokenRandomSource(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source io.Reader
		cause  error // nil: none but errNoRandomness
	}{
		{"fails", iotest.ErrReader(errDevice), errDevice},
		{"gives nothing", bytes.NewReader(nil), io.EOF},
		{"gives too little", bytes.NewReader(make([]byte, mintLen-1)), io.ErrUnexpectedEOF},
		{"fails after the ID", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{7}, mintLen-secretLen)), iotest.ErrReader(errDevice)), errDevice},
		{"gives only zeros", endless(0), nil},
		{"gives a secret of zeros", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{7}, mintLen-secretLen)), endless(0)), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, events := newTallyStore(), 0
			m, _ := managerOver(t, store, Config{Observe: func(context.Context, Event) { events++ }})
			replaceRandom(t, tt.source)
			issued, err := m.Issue(t.Context(), Grant{Subject: "ana"})
			if !errors.Is(err, errNoRandomness) || tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("Issue = %v, want %q with %v", err, errNoRandomness, tt.cause)
			}
			if errors.Is(err, ErrUnauthenticated) || errors.Is(err, ErrInvalidGrant) {
				t.Errorf("Issue = %v, which blames the caller", err)
			}
			if diff := cmp.Diff(Issued{}, issued); diff != "" {
				t.Errorf("Issued (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]int{}, store.calls); diff != "" || events != 0 {
				t.Errorf("%d events; calls of the store (-want +got):\n%s", events, diff)
			}
		})
	}
}

// TestSlowRandomSource: a source may give one byte at a time.
func TestSlowRandomSource(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	replaceRandom(t, iotest.OneByteReader(rand.Reader))
	issued := issueTo(t, m, Grant{Subject: "ana"})
	if _, err := m.Authenticate(t.Context(), issued.Bearer); err != nil {
		t.Error(err)
	}
}

// TestRepeatingRandomSource: the second token would have the ID of the first. It
// is not issued, and the first one stays as it is.
func TestRepeatingRandomSource(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	replaceRandom(t, endless(7))
	issued := issueTo(t, m, Grant{Subject: "ana", Name: "first"})
	if _, err := m.Issue(t.Context(), Grant{Subject: "ana", Name: "second"}); !errors.Is(err, ErrConflict) {
		t.Errorf("Issue = %v, want ErrConflict", err)
	}
	tok, err := m.Peek(t.Context(), issued.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(issued.Token, tok); diff != "" {
		t.Errorf("first token (-want +got):\n%s", diff)
	}
	if n := recordsIn(t, store); n != 1 {
		t.Errorf("%d records are stored, want 1", n)
	}
}

// TestRepeatingOnce: Issue draws again and nobody notices.
func TestRepeatingOnce(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	same := bytes.Repeat([]byte{7}, mintLen)
	other := bytes.Repeat([]byte{8}, mintLen)
	replaceRandom(t, io.MultiReader(bytes.NewReader(same), bytes.NewReader(same), bytes.NewReader(other)))
	first, second := issueTo(t, m, Grant{Subject: "ana"}), issueTo(t, m, Grant{Subject: "ana"})
	for _, issued := range []Issued{first, second} {
		if tok, err := m.Peek(t.Context(), issued.Bearer); err != nil || tok.ID != issued.ID {
			t.Errorf("Peek = %v, %v, want %v", tok.ID, err, issued.ID)
		}
	}
	if first.Bearer == second.Bearer {
		t.Error("two tokens have one text")
	}
}

// recordsIn counts what is stored.
func recordsIn(t *testing.T, store storage.Store) (n int) {
	t.Helper()
	for _, err := range store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
