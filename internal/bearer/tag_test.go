package bearer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// credentialOf makes a credential from a seed, the same on every run.
func credentialOf(seed uint64) *Credential {
	var c Credential
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(c[:])
	return &c
}

// filled returns a credential with byte i set to b(i).
func filled(b func(i int) byte) (c Credential) {
	for i := range c {
		c[i] = b(i)
	}
	return c
}

// tagKeyOf makes a key from a seed, the same on every run.
func tagKeyOf(seed byte) (k TagKey) {
	_, _ = rand.NewChaCha8([32]byte{seed, 't'}).Read(k[:])
	return k
}

var secretKinds = []Kind{PlainSecret, AccessSecret, RefreshSecret}

// TestTagIsHMAC: the tag is what crypto/hmac makes of the same message, cut to eight
// bytes.
func TestTagIsHMAC(t *testing.T) {
	for n := range 1_000 {
		c, k, kind := credentialOf(uint64(n)), tagKeyOf(byte(n)), secretKinds[n%3]
		b := NewBinding(fmt.Sprint("p", n))
		mac := hmac.New(sha256.New, k[:])
		fmt.Fprintf(mac, "lapse:t1%s%c%s", b[:], kind, c[:IDLen+GenerationLen+RandomLen])
		if got := k.tag(b, c, kind); string(got[:]) != string(mac.Sum(nil)[:tagLen]) {
			t.Fatalf("tag %d is %x; want the first bytes of %x", n, got, mac.Sum(nil))
		}
	}
}

// TestTagsStay: texts that have been handed out have these tags; none of these literals
// may ever change.
func TestTagsStay(t *testing.T) {
	k := TagKey{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	c := filled(func(i int) byte { return byte(i) })
	for kind, want := range map[Kind]string{PlainSecret: "c2a92aa2e2aa95f8", AccessSecret: "63b1c25c7aad30af", RefreshSecret: "35575899bd3aedc3"} {
		b := NewBinding("lapse")
		if kind == RefreshSecret {
			b = NewRefreshBinding("lapse_refresh")
		}
		if got := k.tag(b, &c, kind); hex.EncodeToString(got[:]) != want {
			t.Errorf("kind %d: %x; want %s", kind, got, want)
		}
	}
}

// TestEveryBitOfATagCounts: with one bit changed of the ID, the generation, the random
// bytes, the tag, the binding or the key, or for another kind, a text is not tagged.
func TestEveryBitOfATagCounts(t *testing.T) {
	const generation = 0x01020304
	k, b := tagKeyOf(1), NewBinding("lapse")
	for _, kind := range secretKinds {
		c := *credentialOf(5)
		c.SetTagged(&k, b, kind, generation, credentialOf(6)[:])
		if !c.Tagged(&k, b, kind) || c.Generation() != generation || c.ID() != credentialOf(5).ID() {
			t.Fatalf("kind %d: tagged: %v, of generation %x", kind, c.Tagged(&k, b, kind), c.Generation())
		}
		for bit := range 8 * len(c) {
			d := c
			if d[bit/8] ^= 1 << (bit % 8); d.Tagged(&k, b, kind) {
				t.Errorf("kind %d: bit %d of the text does not count", kind, bit)
			}
		}
		for bit := range 8 * len(b) {
			other := b
			if other[bit/8] ^= 1 << (bit % 8); c.Tagged(&k, other, kind) {
				t.Errorf("kind %d: bit %d of the Binding does not count", kind, bit)
			}
		}
		for bit := range 8 * len(k) {
			other := k
			if other[bit/8] ^= 1 << (bit % 8); c.Tagged(&other, b, kind) {
				t.Errorf("kind %d: bit %d of the key does not count", kind, bit)
			}
		}
		for other := range Kind(8) {
			if c.Tagged(&k, b, other) != (other == kind) {
				t.Errorf("kind %d: as kind %d it is tagged: %v", kind, other, other != kind)
			}
		}
	}
}

// TestBindingsDiffer: of what authenticates and what refreshes, under every prefix.
func TestBindingsDiffer(t *testing.T) {
	seen := map[Binding]string{}
	for _, prefix := range []string{"a", "b", "lapse", "lapse_refresh", "a_b", "acme_live_v2abcd"} {
		for what, b := range map[string]Binding{"authenticates": NewBinding(prefix), "refreshes": NewRefreshBinding(prefix)} {
			if other, known := seen[b]; known {
				t.Errorf("%s %s is bound as %s", prefix, what, other)
			}
			seen[b] = prefix + " " + what
		}
	}
}

// TestGenerationsAtTheLimits are written and read as they are.
func TestGenerationsAtTheLimits(t *testing.T) {
	k, b := tagKeyOf(1), NewBinding("lapse")
	for _, generation := range []uint32{0, 1, 255, 256, 1 << 31, math.MaxUint32 - 1, math.MaxUint32} {
		var c Credential
		c.SetTagged(&k, b, PlainSecret, generation, credentialOf(6)[:])
		if c.Generation() != generation || !c.Tagged(&k, b, PlainSecret) {
			t.Errorf("generation %d is read as %d", generation, c.Generation())
		}
	}
}

// TestSuccessorIsHMAC: what replaces a secret is derived from it, and from all that it is
// for.
func TestSuccessorIsHMAC(t *testing.T) {
	c, b, salt := credentialOf(1), NewBinding("lapse"), credentialOf(2)[:SaltLen]
	mac := hmac.New(sha256.New, c[IDLen:])
	fmt.Fprintf(mac, "lapse:r1%s%s%c%s%s", b[:], c[:IDLen], PlainSecret, binary.BigEndian.AppendUint32(nil, 7), salt)
	got := c.Successor(b, PlainSecret, 7, salt)
	if string(got[:]) != string(mac.Sum(nil)) {
		t.Errorf("%x; want %x", got, mac.Sum(nil))
	}
	d, e := *c, *c
	d[0] ^= 1
	e[len(e)-1] ^= 1
	seen := map[[sha256.Size]byte]string{got: "itself"}
	for what, other := range map[string][sha256.Size]byte{
		"another ID":         d.Successor(b, PlainSecret, 7, salt),
		"another secret":     e.Successor(b, PlainSecret, 7, salt),
		"another prefix":     c.Successor(NewBinding("other"), PlainSecret, 7, salt),
		"another kind":       c.Successor(b, AccessSecret, 7, salt),
		"another generation": c.Successor(b, PlainSecret, 8, salt),
		"another salt":       c.Successor(b, PlainSecret, 7, credentialOf(3)[:SaltLen]),
	} {
		if same, known := seen[other]; known {
			t.Errorf("%s gives the same as %s", what, same)
		}
		seen[other] = what
	}
}
