package lapse

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

const base62Digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// spell writes n in base62 with math/big, which has nothing in common with
// internal/base62. It writes 0-9a-zA-Z where lapse writes 0-9A-Za-z.
func spell(n *big.Int, width int) string {
	swapped := strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, n.Text(62))
	return strings.Repeat("0", width-len(swapped)) + swapped
}

// sealed appends the checksum to a text that ends before it.
func sealed(text string) string {
	return text + spell(big.NewInt(int64(crc32.ChecksumIEEE([]byte(text)))), 6)
}

// spellToken is a second implementation of credential.text.
func spellToken(prefix string, c *credential) string {
	text := prefix + "_"
	for group := c[:]; len(group) > 0; group = group[8:] {
		text += spell(new(big.Int).SetBytes(group[:8]), 11)
	}
	return sealed(text)
}

// credentialOf makes a credential from a seed, the same on every run.
func credentialOf(seed uint64) *credential {
	var c credential
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(c[:])
	return &c
}

// filled returns a credential with byte i set to b(i).
func filled(b func(i int) byte) (c credential) {
	for i := range c {
		c[i] = b(i)
	}
	return c
}

// knownAnswers were computed outside this repository. Tokens that have been
// handed out look like this, and digests that have been stored: none of these
// literals may ever change.
var knownAnswers = []struct {
	name, prefix     string
	c                credential
	text, id, digest string
}{
	{
		name: "counting up", prefix: "lapse", c: filled(func(i int) byte { return byte(i) }),
		text:   "lapse_001IYT0XLWR0glqewhlWlr1NWOlQOzi1H24Gwru6DtGh2l1UyNnS4W73Rm34rUgFlX2QwXdy",
		id:     "001IYT0XLWR0glqewhlWlr",
		digest: "1759f4bac2f334110fec9868c29e87abefcbf21ade2e9ad5bd4c5370a0f30b92",
	},
	{
		name: "all zero", prefix: "lapse", c: credential{},
		text:   "lapse_00000000000000000000000000000000000000000000000000000000000000000027HfOM",
		id:     "0000000000000000000000",
		digest: "8061da1654973e37b868b38b8e491c22478e22e7b639430ffca55b4a2c2d7311",
	},
	{
		name: "all one", prefix: "lapse", c: filled(func(int) byte { return 0xff }),
		text:   "lapse_LygHa16AHYFLygHa16AHYFLygHa16AHYFLygHa16AHYFLygHa16AHYFLygHa16AHYF42UpQY",
		id:     "LygHa16AHYFLygHa16AHYF",
		digest: "1a1c2c396403b6817b85fd56e6f0c182263a89d721344762d1116a31a8fc010e",
	},
	{
		name: "shortest prefix", prefix: "a", c: filled(func(i int) byte { return byte(255 - i) }),
		text:   "a_Lyez1Y5cw1oLHuQv4OOkmOKb9soahAZWyJuPKi6zwOHYJDembdIiD28IWuEV9bU1mi28PfFJ",
		id:     "Lyez1Y5cw1oLHuQv4OOkmO",
		digest: "eaf0f6d97e999fd8afde29fb7c4aecdb93a010c0c2b0b2b0c25e3b53d0c5b45e",
	},
	{
		name: "longest prefix", prefix: "acme_live_v2abcd", c: fromHex("0195486f5c007abc8def0123456789ab" +
			"030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dc"),
		text:   "acme_live_v2abcd_08QTNi2Q3J6CBVZg28X45j0GB3BChDzsa55QtuYZpGcW9ugkduSQXMSEjwbNGL1o6O4ehkah",
		id:     "08QTNi2Q3J6CBVZg28X45j",
		digest: "bba75be8f072358f45f426e393ad88ac9dcd5fc68538dd4db774e50090ee4786",
	},
}

func fromHex(s string) (c credential) {
	if n, err := hex.Decode(c[:], []byte(s)); err != nil || n != len(c) {
		panic("a vector of the wrong length")
	}
	return c
}

func TestKnownAnswers(t *testing.T) {
	for _, tt := range knownAnswers {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.c.Text(tt.prefix); got != tt.text {
				t.Errorf("text = %q, want %q", got, tt.text)
			}
			if got := tt.c.ID().String(); got != tt.id {
				t.Errorf("ID = %q, want %q", got, tt.id)
			}
			sum := tt.c.Digest(newBinding(tt.prefix)).Sum()
			if got := hex.EncodeToString(sum[:]); got != tt.digest {
				t.Errorf("digest = %s, want %s", got, tt.digest)
			}
			if got := tt.c.Digest(newBinding(tt.prefix)).Algorithm(); got != 1 {
				t.Errorf("algorithm byte = %d, want 1", got)
			}
			if got := spellToken(tt.prefix, &tt.c); got != tt.text {
				t.Errorf("the second implementation writes %q, want %q", got, tt.text)
			}
			var back credential
			prefix, ok := back.Parse(tt.text, "lapse", begin("lapse"))
			if !ok || prefix != tt.prefix || back != tt.c {
				t.Errorf("parse = %q, %v, %x, want %q, true, %x", prefix, ok, back, tt.prefix, tt.c)
			}
		})
	}
}

// TestRoundTrip also holds both implementations against each other.
func TestRoundTrip(t *testing.T) {
	prefixes := []string{"lapse", "a", "z9", "a_b", "a__b", "acme_live", "abcdefghijklmnop", "a_0_1_2_3_4_5_67"}
	for i := range uint64(2_000) {
		c, prefix := credentialOf(i), prefixes[int(i)%len(prefixes)]
		text := c.Text(prefix)
		if want := spellToken(prefix, c); text != want {
			t.Fatalf("text = %q, want %q", text, want)
		}
		for _, own := range []string{prefix, "lapse", "other"} {
			var back credential
			if got, ok := back.Parse(text, own, begin(own)); !ok || got != prefix || back != *c {
				t.Fatalf("parse(%q, %q) = %q, %v, %x, want %q, true, %x", text, own, got, ok, back, prefix, *c)
			}
		}
	}
}

// TestTextIsOneWord: nothing of a token needs quoting or padding, and its length
// depends on the prefix alone.
func TestTextIsOneWord(t *testing.T) {
	for i := range uint64(500) {
		text := credentialOf(i).Text("acme_live")
		if len(text) != len("acme_live_")+72 {
			t.Fatalf("%q has %d bytes, want %d", text, len(text), len("acme_live_")+72)
		}
		if rest := strings.Trim(text, base62Digits+"_"); rest != "" {
			t.Fatalf("%q holds %q", text, rest)
		}
	}
}

// TestDigestBinds: the digest changes with the prefix, the ID and the secret, so
// that none of the three can be taken from another token.
func TestDigestBinds(t *testing.T) {
	base := credentialOf(1)
	seen := map[[32]byte]string{base.Digest(newBinding("lapse")).Sum(): "the token itself"}
	add := func(what string, c *credential, prefix string) {
		t.Helper()
		sum := c.Digest(newBinding(prefix)).Sum()
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
	if base.Digest(newBinding("lapse")).Equal(base.Digest(newBinding("lapse2"))) {
		t.Error("digests of two prefixes are equal")
	}
}

func TestIDIsTheHeadOfTheBody(t *testing.T) {
	for i := range uint64(200) {
		c := credentialOf(i)
		text := c.Text("acme")
		if got, want := text[len("acme_"):][:22], c.ID().String(); got != want {
			t.Fatalf("the text begins with %q, the ID prints as %q", got, want)
		}
		id, err := ParseID(c.ID().String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.ID(), id); diff != "" {
			t.Fatalf("ParseID (-want +got):\n%s", diff)
		}
	}
}
