package bearer_test

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/bearertest"
	"github.com/seed-55daa01a/lapse/storage"
)

func TestKnownAnswers(t *testing.T) {
	for _, tt := range bearertest.KnownAnswers() {
		t.Run(tt.Name, func(t *testing.T) {
			if got := tt.Credential.Text(tt.Prefix); got != tt.Text {
				t.Errorf("text = %q, want %q", got, tt.Text)
			}
			if got := tt.Credential.ID().String(); got != tt.ID {
				t.Errorf("ID = %q, want %q", got, tt.ID)
			}
			sum := tt.Credential.Digest(bearer.NewBinding(tt.Prefix)).Sum()
			if got := hex.EncodeToString(sum[:]); got != tt.Digest {
				t.Errorf("digest = %s, want %s", got, tt.Digest)
			}
			if got := tt.Credential.Digest(bearer.NewBinding(tt.Prefix)).Algorithm(); got != 1 {
				t.Errorf("algorithm byte = %d, want 1", got)
			}
			if got := bearertest.Text(tt.Prefix, &tt.Credential); got != tt.Text {
				t.Errorf("the second implementation writes %q, want %q", got, tt.Text)
			}
			var back bearer.Credential
			prefix, ok := back.Parse(tt.Text, "lapse")
			if !ok || prefix != tt.Prefix || back != tt.Credential {
				t.Errorf("parse = %q, %v, %x, want %q, true, %x", prefix, ok, back, tt.Prefix, tt.Credential)
			}
		})
	}
}

// TestRoundTrip also holds both implementations against each other.
func TestRoundTrip(t *testing.T) {
	prefixes := []string{"lapse", "a", "z9", "a_b", "a__b", "acme_live", "abcdefghijklmnop", "a_0_1_2_3_4_5_67"}
	for i := range uint64(2_000) {
		c, prefix := bearertest.Credential(i), prefixes[int(i)%len(prefixes)]
		text := c.Text(prefix)
		if want := bearertest.Text(prefix, c); text != want {
			t.Fatalf("text = %q, want %q", text, want)
		}
		for _, own := range []string{prefix, "lapse", "other"} {
			var back bearer.Credential
			if got, ok := back.Parse(text, own); !ok || got != prefix || back != *c {
				t.Fatalf("parse(%q, %q) = %q, %v, %x, want %q, true, %x", text, own, got, ok, back, prefix, *c)
			}
		}
	}
}

// TestTextIsOneWord: nothing of a token needs quoting or padding, and its length
// depends on the prefix alone.
func TestTextIsOneWord(t *testing.T) {
	for i := range uint64(500) {
		text := bearertest.Credential(i).Text("acme_live")
		if len(text) != len("acme_live_")+72 {
			t.Fatalf("%q has %d bytes, want %d", text, len(text), len("acme_live_")+72)
		}
		if rest := strings.Trim(text, bearertest.Digits+"_"); rest != "" {
			t.Fatalf("%q holds %q", text, rest)
		}
	}
}

// TestDigestBinds: the digest changes with the prefix, the ID and the secret, so
// that none of the three can be taken from another token.
func TestDigestBinds(t *testing.T) {
	base := bearertest.Credential(1)
	seen := map[[32]byte]string{base.Digest(bearer.NewBinding("lapse")).Sum(): "the token itself"}
	add := func(what string, c *bearer.Credential, prefix string) {
		t.Helper()
		sum := c.Digest(bearer.NewBinding(prefix)).Sum()
		if before, taken := seen[sum]; taken {
			t.Errorf("%s has the digest of %s", what, before)
		}
		seen[sum] = what
	}
	for _, prefix := range []string{"lapse2", "laps", "l", "lapse_x"} {
		add("prefix "+prefix, base, prefix)
	}
	for at := range base {
		c := *base
		c[at] ^= 1
		add(fmt.Sprintf("byte %d", at), &c, "lapse")
	}
	if base.Digest(bearer.NewBinding("lapse")).Equal(base.Digest(bearer.NewBinding("lapse2"))) {
		t.Error("digests of two prefixes are equal")
	}
}

func TestIDIsTheHeadOfTheBody(t *testing.T) {
	for i := range uint64(200) {
		c := bearertest.Credential(i)
		text := c.Text("acme")
		if got, want := text[len("acme_"):][:22], c.ID().String(); got != want {
			t.Fatalf("the text begins with %q, the ID prints as %q", got, want)
		}
		id, err := storage.ParseID(c.ID().String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.ID(), id); diff != "" {
			t.Fatalf("ParseID (-want +got):\n%s", diff)
		}
	}
}

// TestChecksumIsOverPrefixAndBody, with all six digits.
func TestChecksumIsOverPrefixAndBody(t *testing.T) {
	shortened := 0
	for i := range uint64(200) {
		text := bearertest.Credential(i).Text("lapse")
		unsealed := text[:len(text)-6]
		ofBody := crc32.ChecksumIEEE([]byte(strings.TrimPrefix(unsealed, "lapse_")))
		bearertest.Refuse(t, unsealed+bearertest.Spell(big.NewInt(int64(ofBody)), 6))
		ofPrefix := crc32.ChecksumIEEE([]byte("lapse_"))
		bearertest.Refuse(t, unsealed+bearertest.Spell(big.NewInt(int64(ofPrefix)), 6))
		castagnoli := crc32.Checksum([]byte(unsealed), crc32.MakeTable(crc32.Castagnoli))
		bearertest.Refuse(t, unsealed+bearertest.Spell(big.NewInt(int64(castagnoli)), 6))
		if sum := strings.TrimLeft(text[len(unsealed):], "0"); len(sum) < 6 {
			shortened++
			bearertest.Refuse(t, unsealed+sum)
		}
		bearertest.Refuse(t, unsealed+"0"+text[len(unsealed):])
	}
	if shortened == 0 {
		t.Error("no checksum began with a zero, so shortening one was not tried")
	}
}

// TestEveryGroupHasOneSpelling: eleven digits have room for a second spelling of
// every group, its value plus 2^64. A right checksum does not make it a token.
func TestEveryGroupHasOneSpelling(t *testing.T) {
	two64 := new(big.Int).Lsh(big.NewInt(1), 64)
	creds := []bearer.Credential{{}, bearertest.Filled(func(int) byte { return 0xff }), *bearertest.Credential(7), *bearertest.Credential(8)}
	for _, c := range creds {
		groups := bearertest.Groups(c.Text("lapse"))
		bearertest.Accept(t, bearertest.Sealed("lapse_"+strings.Join(groups, "")))
		for at := range groups {
			value := new(big.Int).SetBytes(c[8*at : 8*at+8])
			other := append([]string{}, groups...)
			other[at] = bearertest.Spell(value.Add(value, two64), 11)
			bearertest.Refuse(t, bearertest.Sealed("lapse_"+strings.Join(other, "")))
		}
	}
}

// TestChecksumHasOneSpelling: six digits have room for the checksum plus 2^32.
func TestChecksumHasOneSpelling(t *testing.T) {
	for i := range uint64(50) {
		text := bearertest.Credential(i).Text("lapse")
		unsealed := text[:len(text)-6]
		sum := big.NewInt(int64(crc32.ChecksumIEEE([]byte(unsealed))))
		bearertest.Accept(t, unsealed+bearertest.Spell(sum, 6))
		for n := int64(1); n <= 12; n++ { // 62^6 is over 13 * 2^32
			bearertest.Refuse(t, unsealed+bearertest.Spell(new(big.Int).Add(sum, big.NewInt(n<<32)), 6))
		}
	}
}

func TestSingleSubstitutions(t *testing.T) {
	for _, prefix := range []string{"lapse", "a_b9"} {
		text := bearertest.Credential(3).Text(prefix)
		tried := 0
		for at := range text {
			for _, b := range []byte(bearertest.Digits + bearertest.Foreign) {
				if b == text[at] {
					continue
				}
				tried++
				bearertest.Refuse(t, text[:at]+string([]byte{b})+text[at+1:])
			}
		}
		if want := len(text) * (62 + len(bearertest.Foreign) - 1); tried != want {
			t.Errorf("tried %d substitutions, want %d", tried, want)
		}
	}
}

func TestNeighboursSwapped(t *testing.T) {
	for i := range uint64(20) {
		text := bearertest.Credential(i).Text("lapse")
		for at := range len(text) - 1 {
			if text[at] != text[at+1] {
				bearertest.Refuse(t, text[:at]+text[at+1:at+2]+text[at:at+1]+text[at+2:])
			}
		}
	}
}
