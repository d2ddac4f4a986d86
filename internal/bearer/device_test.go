package bearer

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestParseUserCode: case, spaces and dashes are forgiven, and nothing else.
func TestParseUserCode(t *testing.T) {
	for text, ok := range map[string]bool{
		"WDJB-MJHT": true, "wdjbmjht": true, " WDJB MJHT ": true, "w-d-j-b-m-j-h-t": true, "--wdjb mjht--": true,
		"": false, "WDJB-MJH": false, "WDJB-MJHTT": false, "WDJB-MJHA": false, "WDJB-MJHY": false, "WDJB-MJH0": false,
		"WDJB_MJHT": false, "WDJB\tMJHT": false, "WDJB‐MJHT": false, "ＷDJB-MJHT": false, "WDJB-MJHT\x00": false, "WDJB-MJHſ": false,
		"WDJBMJHT" + strings.Repeat("-", 56): true, "WDJBMJHT" + strings.Repeat("-", 57): false,
	} {
		c, got := ParseUserCode(text)
		if got != ok || ok && c.String() != "WDJB-MJHT" {
			t.Errorf("%q: %q, %v", text, c, got)
		}
	}
}

// TestDrawUserCode: every letter stands in every place about as often, and each code is read again.
func TestDrawUserCode(t *testing.T) {
	const draws = 20000
	var counts [userLen][256]int
	for range draws {
		c, err := DrawUserCode()
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := ParseUserCode(c.String()); !ok || again != c {
			t.Fatalf("%q is read as %q, %v", c, again, ok)
		}
		for i, letter := range c {
			counts[i][letter]++
		}
	}
	for i := range counts {
		for _, letter := range userAlphabet {
			if n := counts[i][letter]; n < draws/20*8/10 || n > draws/20*12/10 { // 6 standard deviations and more
				t.Errorf("%c stands %d times in place %d of %d", letter, n, i, draws)
			}
		}
	}
}

// TestDeviceIDs: the records of a log-in and of guesses are aliases, no prefix or subject shares one
// with another, and a session has an ID as Mint makes it.
func TestDeviceIDs(t *testing.T) {
	c, _ := ParseUserCode("WDJB-MJHT")
	seen := map[storage.ID]bool{}
	for _, p := range [][2]string{{"a", "b"}, {"b", "a"}, {"ab", "c"}, {"a", "bc"}} {
		for _, id := range []storage.ID{DeviceAlias(p[0], p[1], c), GuessAlias(p[0], p[1], string(c[:])), GuessAlias(p[0], p[1], "ana")} {
			if seen[id] || !IsAlias(id) {
				t.Errorf("%v: seen before: %v, an alias: %v", id, seen[id], IsAlias(id))
			}
			seen[id] = true
		}
	}
	var minted Credential
	if err := minted.Mint(time.UnixMilli(1767603600123), "ana"); err != nil {
		t.Fatal(err)
	}
	made, other := DeviceSession([32]byte{1}, "ana", time.UnixMilli(1767603600123)), DeviceSession([32]byte{1}, "bob", time.UnixMilli(1767603600123))
	tag := storage.ShardTag("ana")
	if made == other || IsAlias(made) || made[6]>>4 != 7 || made[8]>>6 != 2 || [6]byte(made[:]) != [6]byte(minted[:]) || [2]byte(made[14:]) != tag {
		t.Errorf("%v and %v; Mint made %v", made, other, minted.ID())
	}
	if CheckPrefix(DevicePrefix) == nil || len(DevicePrefix) > storage.MaxPrefix {
		t.Error("a Manager could have the prefix of device codes")
	}
}
