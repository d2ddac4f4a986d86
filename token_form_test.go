package lapse

import (
	"errors"
	"hash/crc32"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestChecksumIsOverPrefixAndBody, with all six digits.
func TestChecksumIsOverPrefixAndBody(t *testing.T) {
	shortened := 0
	for i := range uint64(200) {
		text := credentialOf(i).Text("lapse")
		unsealed := text[:len(text)-6]
		ofBody := crc32.ChecksumIEEE([]byte(strings.TrimPrefix(unsealed, "lapse_")))
		refuseText(t, unsealed+spell(big.NewInt(int64(ofBody)), 6))
		ofPrefix := crc32.ChecksumIEEE([]byte("lapse_"))
		refuseText(t, unsealed+spell(big.NewInt(int64(ofPrefix)), 6))
		castagnoli := crc32.Checksum([]byte(unsealed), crc32.MakeTable(crc32.Castagnoli))
		refuseText(t, unsealed+spell(big.NewInt(int64(castagnoli)), 6))
		if sum := strings.TrimLeft(text[len(unsealed):], "0"); len(sum) < 6 {
			shortened++
			refuseText(t, unsealed+sum)
		}
		refuseText(t, unsealed+"0"+text[len(unsealed):])
	}
	if shortened == 0 {
		t.Error("no checksum began with a zero, so shortening one was not tried")
	}
}

// prefixCases are judged the same in Config and in a token's text.
var prefixCases = []struct {
	name, prefix string
	err          error // nil: valid
}{
	{"one letter", "a", nil},
	{"first and last letter", "az", nil},
	{"the default", "lapse", nil},
	{"digits", "v2", nil},
	{"underscore inside", "acme_live", nil},
	{"two underscores inside", "a__b", nil},
	{"digit after underscore", "a_1", nil},
	{"16 bytes", "abcdefghijklmnop", nil},
	{"17 bytes", "abcdefghijklmnopq", bearer.ErrPrefixLength},
	{"1 MiB", strings.Repeat("a", 1<<20), bearer.ErrPrefixLength},
	{"upper case", "Lapse", bearer.ErrPrefixLetters},
	{"upper case inside", "laPse", bearer.ErrPrefixLetters},
	{"digit first", "1a", bearer.ErrPrefixLetters},
	{"underscore first", "_a", bearer.ErrPrefixLetters},
	{"underscore alone", "_", bearer.ErrPrefixLetters},
	{"underscore last", "lapse_", bearer.ErrPrefixEnd},
	{"two underscores last", "a__", bearer.ErrPrefixEnd},
	{"hyphen", "la-pse", bearer.ErrPrefixLetters},
	{"space", "la pse", bearer.ErrPrefixLetters},
	{"space last", "lapse ", bearer.ErrPrefixLetters},
	{"newline last", "lapse\n", bearer.ErrPrefixLetters},
	{"NUL", "la\x00pse", bearer.ErrPrefixLetters},
	{"dot", "la.pse", bearer.ErrPrefixLetters},
	{"percent", "la%70se", bearer.ErrPrefixLetters},
	{"byte before a", "la`se", bearer.ErrPrefixLetters},
	{"byte after z", "la{se", bearer.ErrPrefixLetters},
	{"byte before 0", "la/se", bearer.ErrPrefixLetters},
	{"byte after 9", "la:se", bearer.ErrPrefixLetters},
	{"umlaut", "läpse", bearer.ErrPrefixLetters},
	{"invalid UTF-8", "la\xffse", bearer.ErrPrefixLetters},
}

// TestPrefixes: the grammar is one, for New and for the parser, and a right
// checksum does not help a prefix that no Config could have.
func TestPrefixes(t *testing.T) {
	for _, tt := range prefixCases {
		t.Run(tt.name, func(t *testing.T) {
			if got := checkPrefix(tt.prefix); got != tt.err {
				t.Errorf("checkPrefix = %v, want %v", got, tt.err)
			}
			text := spellToken(tt.prefix, credentialOf(1))
			if tt.err == nil {
				mustParse(t, text)
			} else {
				refuseText(t, text)
			}
			m, err := New(newTallyStore(), Config{Prefix: tt.prefix})
			switch {
			case tt.err == nil && err != nil:
				t.Errorf("New = %v", err)
			case tt.err != nil && (m != nil || !errors.Is(err, ErrInvalidConfig) || !errors.Is(err, tt.err)):
				t.Errorf("New = %v, %v, want nil, ErrInvalidConfig with %q", m, err, tt.err)
			case tt.err != nil && !strings.Contains(err.Error(), "Prefix"):
				t.Errorf("New = %v, want the name of the field", err)
			}
		})
	}
	refuseText(t, spellToken("", credentialOf(1))) // which is the default in Config alone
}

// TestDefaultPrefix: the empty one means lapse.
func TestDefaultPrefix(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	if diff := cmp.Diff("lapse", issued.Prefix); diff != "" || !strings.HasPrefix(issued.Bearer, "lapse_") {
		t.Errorf("prefix of %.6q... (-want +got):\n%s", issued.Bearer, diff)
	}
}

// TestExtremesAreWellFormed: all zero and all one are tokens as good as any
// other, which nobody has.
func TestExtremesAreWellFormed(t *testing.T) {
	for name, b := range map[string]byte{"all zero": 0, "all one": 0xff} {
		t.Run(name, func(t *testing.T) {
			store := newTallyStore()
			m, _ := managerOver(t, store, Config{})
			c := filled(func(int) byte { return b })
			text := spellToken("lapse", &c)
			for verb, err := range bearerVerbs(t.Context(), m, text) {
				if !errors.Is(err, ErrUnknown) {
					t.Errorf("%s = %v, want ErrUnknown", verb, err)
				}
			}
			if diff := cmp.Diff(map[string]int{"Get": 6}, store.calls); diff != "" {
				t.Errorf("calls of the store (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnknownIsNotAdopted: a well-formed token that nobody issued is not known
// after it has been presented either.
func TestUnknownIsNotAdopted(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	text := credentialOf(5).Text("lapse")
	_, _ = m.Authenticate(t.Context(), text)
	issueTo(t, m, Grant{Subject: "ana"})
	if _, err := m.Authenticate(t.Context(), text); !errors.Is(err, ErrUnknown) {
		t.Errorf("Authenticate = %v, want ErrUnknown", err)
	}
}

// TestDigestIsNoSecret: who has read the store cannot present what he found.
func TestDigestIsNoSecret(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	rec, err := store.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	var c credential
	sum := rec.Digest.Sum()
	copy(c[:], rec.ID[:])
	copy(c[len(rec.ID):], sum[:])
	if _, err := m.Authenticate(t.Context(), c.Text("lapse")); !errors.Is(err, ErrUnknown) {
		t.Errorf("Authenticate with the stored digest for a secret = %v, want ErrUnknown", err)
	}
}

// TestRecordWithoutDigest: absence means deny. No secret opens a record whose
// digest is missing, or was made by an algorithm that is not ours; but neither is
// its holder told that the token is no good.
func TestRecordWithoutDigest(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	rec, err := store.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	sum := rec.Digest.Sum()
	for name, row := range map[string]struct {
		digest storage.Digest
		want   error
	}{
		"none":                 {storage.Digest{}, ErrCorrupt},
		"of no algorithm":      {storage.NewDigest(0, sum), ErrCorrupt},
		"of another algorithm": {storage.NewDigest(2, sum), ErrCorrupt},
		"all zero":             {storage.NewDigest(storage.SHA256, [32]byte{}), ErrUnknown},
		"of the last bit":      {storage.NewDigest(storage.SHA256, flipped(sum, 31)), ErrUnknown},
		"of the first bit":     {storage.NewDigest(storage.SHA256, flipped(sum, 0)), ErrUnknown},
	} {
		damaged := rec
		damaged.Digest = row.digest
		put := func(tx storage.Tx) error { return tx.Put(damaged) }
		if err := store.Update(t.Context(), "ana", put); err != nil {
			t.Fatal(err)
		}
		for verb, err := range bearerVerbs(t.Context(), m, issued.Bearer) {
			if !errors.Is(err, row.want) {
				t.Errorf("%s: %s = %v, want %v", name, verb, err, row.want)
			}
		}
	}
}

// TestRecordOfAnotherPrefix: who rewrites the prefix of a record has not made it
// a token of that prefix, nor left it one of its own.
func TestRecordOfAnotherPrefix(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	other, _ := managerOver(t, store, Config{Prefix: "other"})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	rewrite := func(tx storage.Tx) error {
		rec, err := tx.Get(issued.ID)
		if err != nil {
			return err
		}
		rec.Prefix = "other"
		return tx.Put(rec)
	}
	if err := store.Update(t.Context(), "ana", rewrite); err != nil {
		t.Fatal(err)
	}
	renamed := sealed("other_" + strings.Join(body(issued.Bearer), ""))
	for _, m := range []*Manager{m, other} {
		for _, text := range []string{issued.Bearer, renamed} {
			if _, err := m.Authenticate(t.Context(), text); !errors.Is(err, ErrUnknown) {
				t.Errorf("%.5s as %.5s = %v, want ErrUnknown", text, m.prefix, err)
			}
		}
	}
}

func flipped(sum [32]byte, at int) [32]byte {
	sum[at] ^= 1
	return sum
}

// TestJunkCostsNothing, however much there is of it.
func TestJunkCostsNothing(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	for _, size := range []int{1, 71, 72, 73, 74, 78, 89, 90, 1 << 10, 1 << 20, 16 << 20} {
		for _, unit := range []string{"a", ".", "_", "\x00", "a_"} {
			junk := strings.Repeat(unit, size)
			refuseText(t, junk)
			if race.Enabled {
				continue
			}
			if n := testing.AllocsPerRun(3, func() { _, _ = m.Authenticate(t.Context(), junk) }); n != 0 {
				t.Errorf("refusing %d times %q makes %v allocations", size, unit, n)
			}
		}
	}
}
