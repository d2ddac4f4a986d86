package bearer

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestForeignStays: the stored form of foreign texts and of requests may never change.
func TestForeignStays(t *testing.T) {
	var c Credential
	c.SetForeign(storage.ID{1}, "text")
	sum := ForeignSum("lapse", []byte("digest"))
	foreign, request := ForeignAlias("lapse", "key"), RequestAlias("lapse", "ana", "request")
	for name, row := range map[string]struct {
		got  []byte
		want string
	}{
		"the alias of a foreign text": {foreign[:], "74caefaf467b8229876a886762d44324"},
		"the alias of a request":      {request[:], "128b4932b7c9881ab2460ebb8eb95081"},
		"the sum of a digest":         {sum[:], "b0f7855dea0d5ab923f84128a278901cc732e1ba996d34d2d00216edc1710430"},
		"a foreign credential":        {c[:], "0100000000000000000000000000000046a52e01d293498cd845e7e2fb1461809782ab707ecefd35cce4194efb18d72a"},
	} {
		if got := hex.EncodeToString(row.got); got != row.want {
			t.Errorf("%s is %s; want %s", name, got, row.want)
		}
	}
}

// TestForeignHashesDiffer: each label, and each place where one part ends and the next begins, counts.
func TestForeignHashesDiffer(t *testing.T) {
	seen := map[[32]byte]string{}
	for name, sum := range map[string][32]byte{
		"one part": Hash("l", "ab"), "two parts": Hash("l", "a", "b"), "an empty part": Hash("l", "ab", ""), "one before": Hash("l", "", "ab"),
		"another label": Hash("m", "ab"), "no part": Hash("l"), "a length as a text": Hash("l", "a\x00\x00\x00\x01b"),
		"a long part": Hash("l", strings.Repeat("a", 10_000)), "a longer part": Hash("l", strings.Repeat("a", 10_001)),
	} {
		if other, known := seen[sum]; known {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[sum] = name
	}
	if ForeignAlias("a", "bc") == ForeignAlias("ab", "c") || RequestAlias("p", "a", "b") == ForeignAlias("p", "ab") || RequestAlias("p", "a", "bc") == RequestAlias("p", "ab", "c") {
		t.Error("two aliases have one ID")
	}
	var drawn Credential
	if err := drawn.Mint(testInstant, "ana"); err != nil || drawn[6]>>4 == ForeignAlias("p", "k")[6]>>4 {
		t.Errorf("an alias has the version of a drawn ID; %v", err)
	}
}
