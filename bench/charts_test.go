package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
)

// checkSVG wants a picture that is well-formed, with a title, and text that has a
// width of its own and no font that may be missing.
func checkSVG(t *testing.T, name string, picture []byte) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(picture))
	var open []string
	titled := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		switch x := token.(type) {
		case xml.StartElement:
			open = append(open, x.Name.Local)
			if x.Name.Local == "text" && !hasAttributes(x, "textLength", "sans-serif") {
				t.Errorf("%s: a text without a width or a font that is always there: %v", name, x.Attr)
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 && open[len(open)-1] == "text" {
				texts = append(texts, string(x))
			}
			titled = titled || len(open) > 0 && open[len(open)-1] == "title"
		}
	}
	if !titled || len(texts) < 3 {
		t.Errorf("%s: titled %v, texts %q", name, titled, texts)
	}
	return texts
}

func hasAttributes(x xml.StartElement, name, value string) bool {
	named, valued := false, false
	for _, a := range x.Attr {
		named = named || a.Name.Local == name
		valued = valued || strings.Contains(a.Value, value)
	}
	return named && valued
}

// plantedRecord has figures that are known.
func plantedRecord() *record {
	at := func(side string, ns figure) sideFigures { return sideFigures{Side: side, NS: spread{ns, ns, ns}} }
	r := &record{Groups: []group{{
		Kind: "check-peers", Tokens: 1_000,
		Sides:   []sideFigures{at("memory", 300), at("parts", 150), at("jwt-hs256", 5_000), at("scs-bbolt", 30_000)},
		Results: []result{{Lapse: "memory", Peer: "jwt-hs256", RatioOf: "peer/lapse", Ratio: &spread{16, 17, 18}}},
	}}}
	for i, n := range []int{1_000, 1_000_000} {
		r.Groups = append(r.Groups, group{Kind: "check", Tokens: n, Sides: []sideFigures{
			at("memory", figure(300*(i+1))), at("bolt", figure(301*(i+1))), at("bbolt-view", figure(302*(i+1))),
		}})
		r.Groups = append(r.Groups, group{Kind: "issue-bolt", Tokens: 1_000, Callers: 1 + 255*i, Sides: []sideFigures{
			at("bolt", figure(10_000/(i+1))), at("scs-bbolt", 500_000),
		}})
	}
	map360 := figure(360)
	r.Groups = append(r.Groups, group{Kind: "space", Tokens: 1_000, Results: []result{
		{Unit: "B", Lapse: "memory", LapseIs: 120, Peer: "pointer-map", PeerIs: &map360},
	}})
	return r
}

func TestCharts(t *testing.T) {
	said := map[string][]string{
		"check.svg":   {"lapse, memory", "1x", "300 ns", "bare parts of a check", "0.5x", "JWT HS256", "17x", "scs, bbolt", "100x"},
		"durable.svg": {"lapse, bolt", "200 k/s", "scs, bbolt", "2 k/s", "256"},
		"sizes.svg":   {"lapse, memory", "600 ns", "602 ns", "bbolt View + Get", "604 ns", "1,000,000"},
		"memory.svg":  {"lapse, memory", "120 B", "map of pointers to records", "360 B"},
	}
	for _, c := range charts() {
		picture, err := c.draw(plantedRecord())
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		texts := checkSVG(t, c.file, picture)
		for _, want := range said[c.file] {
			if !slices.Contains(texts, want) {
				t.Errorf("%s does not say %q but %q", c.file, want, texts)
			}
		}
		if picture, err := c.draw(&record{}); picture != nil || err != nil {
			t.Errorf("%s of an empty record: %d bytes, %v", c.file, len(picture), err)
		}
	}
}

// TestLabels plants lines that end at one height, and wants their labels apart, in
// order, near their ends and above the floor.
func TestLabels(t *testing.T) {
	const floor = vg.Length(34)
	height := func(v float64) vg.Length { return vg.Length(v) }
	for _, ends := range [][]float64{{100}, {100, 100, 100}, {200, 100, 101, 300}, {35, 36, 34, 37}} {
		var l lines
		for _, y := range ends {
			l.series = append(l.series, series{points: []point{{1, y}}})
		}
		got := l.labels(height, floor)
		for i := range got {
			if got[i] < floor-0.1 {
				t.Errorf("ends %v: a label at %v", ends, got[i])
			}
			for k := range got {
				if ends[i] < ends[k] && got[i] > got[k] {
					t.Errorf("ends %v: labels out of order: %v", ends, got)
				}
				if gap := max(got[i]-got[k], got[k]-got[i]); i != k && gap < 15 {
					t.Errorf("ends %v: labels %v touch", ends, got)
				}
			}
		}
	}
}

// TestTheme wants light tints that no two share, because the dark ones replace them
// by their value.
func TestTheme(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range newTheme().all() {
		if seen[hex(x.light)] {
			t.Errorf("two tints are %s", hex(x.light))
		}
		seen[hex(x.light)] = true
	}
}
