// Package bearertest writes the texts of tokens a second time, in another way than package
// bearer, and holds texts and digests that may never change. Only tests import it.
package bearertest

import (
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/seed-55daa01a/lapse/internal/bearer"
)

// Digits are the digits of base62, in the order of their values.
const Digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Foreign are bytes that no token contains, except for the underscore.
const Foreign = "-_+/=.,:;!?*~%&#@$^|\\\"'`<>()[]{} \t\r\n\x00\x01\x1b\x7f\x80\xa0\xc3\xe2\xff"

// Spell returns n in base62 with leading zeros up to width. It uses math/big, which has
// nothing in common with internal/base62. The digits of math/big are 0-9a-zA-Z, those of lapse
// 0-9A-Za-z.
func Spell(n *big.Int, width int) string {
	swapped := strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, n.Text(62))
	return strings.Repeat("0", width-len(swapped)) + swapped
}

// Sealed returns text with its checksum behind it.
func Sealed(text string) string {
	return text + Spell(big.NewInt(int64(crc32.ChecksumIEEE([]byte(text)))), 6)
}

// Text is a second implementation of bearer.Credential.Text.
func Text(prefix string, c *bearer.Credential) string {
	text := prefix + "_"
	for group := c[:]; len(group) > 0; group = group[8:] {
		text += Spell(new(big.Int).SetBytes(group[:8]), 11)
	}
	return Sealed(text)
}

// Groups returns the groups of a text with the prefix lapse, without the checksum.
func Groups(text string) []string {
	digits := strings.TrimPrefix(text, "lapse_")
	var groups []string
	for at := 0; at < 66; at += 11 {
		groups = append(groups, digits[at:at+11])
	}
	return groups
}

// Credential returns a credential made from seed, the same on every run.
func Credential(seed uint64) *bearer.Credential {
	var c bearer.Credential
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(c[:])
	return &c
}

// Filled returns a credential whose byte i is b(i).
func Filled(b func(i int) byte) (c bearer.Credential) {
	for i := range c {
		c[i] = b(i)
	}
	return c
}

// FromHex returns the credential that digits spell.
func FromHex(digits string) (c bearer.Credential) {
	b, _ := hex.DecodeString(digits)
	copy(c[:], b)
	return c
}

// Refuse reports an error if bearer.Credential.Parse takes text, whichever prefix is expected.
func Refuse(t *testing.T, text string) {
	t.Helper()
	for _, own := range []string{"lapse", "other"} {
		var c bearer.Credential
		if prefix, ok := c.Parse(text, own); ok {
			t.Errorf("parse(%.200q, %q) took it as a token of prefix %q", text, own, prefix)
		}
	}
}

// Accept reports an error if bearer.Credential.Parse refuses text.
func Accept(t *testing.T, text string) {
	t.Helper()
	var c bearer.Credential
	if _, ok := c.Parse(text, "lapse"); !ok {
		t.Errorf("parse(%q) refused a good token", text)
	}
}
