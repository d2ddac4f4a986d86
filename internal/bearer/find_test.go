package bearer_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/bearertest"
)

// findIn returns the texts in input.
func findIn(t testing.TB, input string) []bearer.Found {
	t.Helper()
	return findAll(t, strings.NewReader(input))
}

// TestFindNeighbours: what may stand before a text and behind it. <…> in a row stands for the text
// of that prefix.
func TestFindNeighbours(t *testing.T) {
	for _, tt := range []struct{ input, want string }{
		{"<lapse>", "lapse"},
		{"Authorization: Bearer <lapse>\r\n", "lapse"},
		{`{"access_token":"<lapse>","refresh_token":"<lapse_refresh>"}`, "lapse lapse_refresh"},
		{`"text\n<lapse>\n"`, "lapse"}, // a backslash, then the letter n
		{`\u0022<lapse>\u0022`, "lapse"},
		{"https://example.com/?token=<lapse>&next=1", "lapse"},
		{"https://example.com/?token%3D<lapse>%26", "lapse"},
		{"https://example.com/<lapse>/x#<a>", "lapse a"},
		{"It was <lapse>. Or <b>, or (<c>)!", "lapse b c"},
		{"\x1b[31m<lapse>\x1b[0m", "lapse"},
		{"<lapse>-<lapse>", "lapse lapse"},
		{"é<lapse>é", "lapse"},
		{"\x00<lapse>\x00\xff<b>\xff", "lapse b"},
		{"-----<lapse>=", "lapse"},

		// Before the text: the prefix is the longest one for which the checksum is right.
		{"<my_lapse> <lapse>", "my_lapse lapse"},
		{"my_<lapse>", "lapse"},
		{"MY_TOKEN<lapse>", "lapse"},
		{"_<lapse>", "lapse"},
		{"0123456789abcdef<lapse>", "lapse"},
		{strings.Repeat("x", 100) + "<abcdefghijklmnop>", "abcdefghijklmnop"},
		{strings.Repeat("a", 72) + "_<lapse>", "lapse"},
		{"a_" + strings.Repeat("0", 67) + "<lapse>", "lapse"}, // the prefix is the end of 72 digits

		// Behind the text.
		{"<lapse>0", ""}, {"<lapse>z", ""}, {"<lapse>A", ""}, {"<lapse>_", ""}, {"<lapse>_old", ""},
		{"<lapse><lapse>", "lapse"}, // the second one alone
		{"<lapse>_<lapse>", "lapse"},
		{"<lapse>/", "lapse"}, {"<lapse>:", "lapse"}, {"<lapse>@", "lapse"}, {"<lapse>[", "lapse"}, {"<lapse>`", "lapse"}, {"<lapse>{", "lapse"},

		// No prefix of lapse.
		{"<Lapse>", ""}, {"<LAPSE>", ""}, {"<0lapse>", ""}, {"<lapse_>", ""}, {"<>", ""}, {"<abcdefghijklmnopq>", ""}, {"<_lapse>", ""},
		{"", ""}, {"_", ""}, {strings.Repeat("_", 200), ""}, {strings.Repeat("a", 200), ""},
	} {
		t.Run(fmt.Sprintf("%.40q", tt.input), func(t *testing.T) {
			input, n := tt.input, uint64(0)
			for strings.Contains(input, "<") {
				before, rest, _ := strings.Cut(input, "<")
				prefix, behind, _ := strings.Cut(rest, ">")
				n++
				input = before + bearertest.Text(prefix, bearertest.Credential(n)) + behind
			}
			var prefixes []string
			for _, f := range findIn(t, input) {
				prefixes = append(prefixes, f.Prefix)
				if at := input[f.Offset:]; !strings.HasPrefix(at, f.Bearer) || !strings.HasPrefix(f.Bearer, f.Prefix+"_"+f.ID.String()) {
					t.Errorf("%+v is not at its place in %q", f, input)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(prefixes, " ")); diff != "" {
				t.Errorf("the prefixes of the texts in %q (-want +got):\n%s", input, diff)
			}
		})
	}
}

// TestFindPlaces: offset, line and column, over lines that are longer than the window.
func TestFindPlaces(t *testing.T) {
	text := bearertest.Text("lapse", bearertest.Credential(1))
	for _, before := range []string{
		"", "a ", "\n", "a\n", "\n\n a ", "\r\n\t", "é ",
		strings.Repeat(" ", 1<<16), strings.Repeat(" ", 1<<18) + "\n", "\n" + strings.Repeat(" ", 1<<18),
		strings.Repeat("\n", 1<<17), strings.Repeat("ab cd\n", 1<<16) + "x ", strings.Repeat("a", 1<<17) + "\n ",
		text + "\n" + text + " " + text + " \n ", text + strings.Repeat(" \n"+text, 5_000) + " ",
	} {
		found := findIn(t, before+text+"\n"+text)
		if len(found) < 2 {
			t.Fatalf("behind %.20q: %d texts", before, len(found))
		}
		last := found[len(found)-2:]
		line := int64(strings.Count(before, "\n"))
		column := int64(len(before) - strings.LastIndexByte(before, '\n'))
		for i, want := range []bearer.Found{
			{Prefix: "lapse", ID: bearertest.Credential(1).ID(), Offset: int64(len(before)), Line: line + 1, Column: column, Bearer: text},
			{Prefix: "lapse", ID: bearertest.Credential(1).ID(), Offset: int64(len(before) + len(text) + 1), Line: line + 2, Column: 1, Bearer: text},
		} {
			if diff := cmp.Diff(want, last[i]); diff != "" {
				t.Errorf("behind %.20q (-want +got):\n%s", before, diff)
			}
		}
	}
}

// TestFindWantsEveryByte: with one byte of a text changed, or left out, nothing is found.
func TestFindWantsEveryByte(t *testing.T) {
	text := []byte(bearertest.Text("lapse", bearertest.Credential(1)))
	var input bytes.Buffer
	for i := range text {
		for c := range 256 {
			changed := bytes.Clone(text)
			if changed[i] = byte(c); changed[i] != text[i] {
				fmt.Fprintf(&input, "%s\n", changed)
			}
		}
		fmt.Fprintf(&input, "%s%s\n", text[:i], text[i+1:])
	}
	fmt.Fprintf(&input, "%s\n", text)
	if found := findIn(t, input.String()); len(found) != 1 || found[0].Offset != int64(input.Len()-len(text)-1) {
		t.Errorf("found %+v; want the last text alone", found)
	}
}

// TestFindNothingInGarbage: of many runs of the right form none is found by chance. The random
// bytes are the same on each run.
func TestFindNothingInGarbage(t *testing.T) {
	const n = 50_000
	r := rand.New(rand.NewPCG(1, 2))
	for name, alphabet := range map[string]string{
		"digits": bearertest.Digits, "words": bearertest.Digits + "_", "base64url": bearertest.Digits + "-_", "small digits": "0123456789",
	} {
		input := make([]byte, 0, 80*n)
		for range n { // the form of a text, and nothing more
			input = append(input, "\nlapse_"...)
			for range bearer.BodyLen {
				input = append(input, alphabet[r.IntN(len(alphabet))])
			}
		}
		if found := findIn(t, string(input)); found != nil {
			t.Errorf("%s: %d texts of %d, the first is %+v", name, len(found), n, found[0])
		}
		if matches := len(pattern.FindAllIndex(input[:len(input)/100], -1)); name == "digits" && matches != n/100 {
			t.Errorf("%d of %d have the form of a text", matches, n/100)
		}
	}
}
