package lapse

import (
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/bearertest"
)

// parseSeeds are tokens, and what is nearly one.
func parseSeeds() (valid, invalid []string) {
	for _, answer := range bearertest.KnownAnswers() {
		valid = append(valid, answer.Text)
	}
	for _, prefix := range []string{"a", "lapse", "a_b", "acme_live_v2abcd"} {
		valid = append(valid, credentialOf(42).Text(prefix))
	}
	for _, miss := range nearMisses(valid[0]) {
		invalid = append(invalid, miss)
	}
	groups := body(valid[0])
	for at := range groups {
		over := append([]string{}, groups...)
		over[at] = "LygHa16AHYG" // 2^64
		invalid = append(invalid, sealed("lapse_"+strings.Join(over, "")))
	}
	for _, tt := range prefixCases {
		if tt.err != nil && len(tt.prefix) < 100 {
			invalid = append(invalid, spellToken(tt.prefix, credentialOf(42)))
		}
	}
	return valid, append(invalid, strings.Repeat("_", 78), strings.Repeat("0", 78), "lapse_"+strings.Repeat("z", 72))
}

// TestParseSeeds keeps the seeds from becoming empty, or all of one kind,
// unseen.
func TestParseSeeds(t *testing.T) {
	valid, invalid := parseSeeds()
	if len(valid) < 5 || len(invalid) < 100 {
		t.Errorf("%d valid and %d invalid seeds", len(valid), len(invalid))
	}
	for _, text := range valid {
		mustParse(t, text)
	}
	for _, text := range invalid {
		refuseText(t, text)
	}
}

// FuzzParse: what is accepted is exactly what would be written for it, by this
// package and by the second implementation. The expected prefix only makes it
// faster.
func FuzzParse(f *testing.F) {
	valid, invalid := parseSeeds()
	for _, text := range append(valid, invalid...) {
		f.Add(text, "lapse")
		f.Add(sealed(text), "a_b") // so that mutations of the seeds get past the checksum
	}
	f.Fuzz(func(t *testing.T, text, own string) {
		for _, text := range []string{text, sealed(text)} {
			var c, again credential
			prefix, ok := c.Parse(text, own)
			if !ok {
				if _, ok := again.Parse(text, "lapse"); ok && checkPrefix(own) == nil {
					t.Fatalf("%q is a token if lapse is expected, and none if %q is", text, own)
				}
				continue
			}
			// An own prefix is one that New has checked.
			if checkPrefix(own) == nil && (c.Text(prefix) != text || spellToken(prefix, &c) != text || checkPrefix(prefix) != nil) {
				t.Fatalf("%q was accepted, and is written %q", text, c.Text(prefix))
			}
			if got, ok := again.Parse(text, prefix); !ok || got != prefix || again != c {
				t.Fatalf("%q = %q %x, and read again %q %x", text, prefix, c, got, again)
			}
		}
	})
}

// FuzzParseID: the same for the ID by itself.
func FuzzParseID(f *testing.F) {
	for _, answer := range bearertest.KnownAnswers() {
		f.Add(answer.ID)
	}
	for _, text := range []string{"", "0", "LygHa16AHYG00000000000", strings.Repeat("z", 22), strings.Repeat("0", 23), "-000000000000000000000"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err == nil && id.String() != text {
			t.Fatalf("%q was accepted, and is written %q", text, id)
		}
		if err != nil && id != (ID{}) {
			t.Fatalf("%q was refused with the ID %v", text, id)
		}
	})
}
