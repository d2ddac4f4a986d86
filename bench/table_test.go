package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for n, want := range map[int]string{1: "1", 100: "100", 999: "999", 1_000: "1e3", 1_500: "1500", 10_000: "1e4", 250_000: "25e4", 1_000_000: "1e6"} {
		if got := count(n); got != want {
			t.Errorf("%d is counted as %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int]string{1: "1", 999: "999", 1_000: "1,000", 1_000_000: "1,000,000", 123_456: "123,456"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is grouped as %s, want %s", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.25: "0.25", 1.5: "1.5", 2: "2", 1.234: "1.23", 17.26: "17.3", 107.4: "107", 0.0123: "0.012", 1234: "1234"} {
		if got := plain(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{301, "ns", "301 ns"}, {999.4, "ns", "999 ns"}, {999.6, "ns", "1 µs"}, {4200, "ns", "4.2 µs"}, {60e6, "ns", "60 ms"}, {2.5e9, "ns", "2.5 s"}, {90e9, "ns", "90 s"},
		{45_100, "/s", "45.1 k/s"}, {87, "/s", "87 /s"}, {2.5e6, "/s", "2.5 M/s"}, {3e9, "/s", "3 G/s"},
		{160, "B", "160 B"}, {33_558_528, "B", "33.6 MB"}, {1, "tx", "1 tx"}, {0.01, "tx", "0.01 tx"},
	} {
		if got := humane(c.v, c.unit); got != c.want {
			t.Errorf("%v %s is written %s, want %s", c.v, c.unit, got, c.want)
		}
	}
}

// TestTable wants each row in a line with what it says, and the bounds counted.
func TestTable(t *testing.T) {
	peer, zero := figure(5100), 0
	rec := record{Quick: true, Groups: []group{{Title: "Check a token", Results: []result{
		{Row: "check/a", Unit: "ns", LapseIs: 300, PeerIs: &peer, Ratio: &spread{16, 17, 18.5}, RatioOf: "peer/lapse", Must: ">= 18", Verdict: "MISSES 18", Allocs: &zero},
		{Row: "check/b", Unit: "tx", LapseIs: 1, Must: "= 1 tx", Verdict: verdictOK, Note: "planted"},
		{Row: "check/c", Unit: "ns", LapseIs: 300, PeerIs: &peer, Ratio: &spread{0.05, 0.06, 0.07}, RatioOf: "lapse/peer"},
	}}}}
	var b bytes.Buffer
	if err := rec.print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"check/a 300 ns 5.1 µs 17x 16 to 18.5 >= 18 0 MISSES 18",
		"check/b 1 tx = 1 tx ok planted",
		"check/c 300 ns 5.1 µs 0.06 0.05 to 0.07",
		"1 of 2 bounds kept",
		"the figures mean nothing",
	} {
		found := false
		for line := range strings.Lines(b.String()) {
			found = found || strings.Contains(strings.Join(strings.Fields(line), " "), want)
		}
		if !found {
			t.Errorf("no line %q in\n%s", want, &b)
		}
	}
	if err := rec.print(full{}); err == nil {
		t.Error("a table that could not be written was no error")
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("planted") }
