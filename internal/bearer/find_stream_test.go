package bearer_test

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/bearertest"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
)

var pattern = regexp.MustCompile(lapse.BearerPattern)

// reference is Find by the pattern and Parse.
func reference(input string) (found []bearer.Found) {
	for _, match := range pattern.FindAllStringIndex(input, -1) {
		for start := match[0]; start < match[1]; start++ {
			var c bearer.Credential
			text := input[start:match[1]]
			if prefix, ok := c.Parse(text, ""); ok {
				before := input[:start]
				found = append(found, bearer.Found{
					Prefix: prefix, ID: c.ID(), Offset: int64(start), Bearer: text,
					Line: int64(strings.Count(before, "\n") + 1), Column: int64(start - strings.LastIndexByte(before, '\n')),
				})
				break
			}
		}
	}
	return found
}

// finding is the type of Find.
type finding func(io.Reader) iter.Seq2[bearer.Found, error]

// differs says how what find finds in input, read in pieces of size bytes, differs from what the
// reference finds.
func differs(find finding, input string, size int) string {
	var found []bearer.Found
	for f, err := range find(&pieces{input, size}) {
		if err != nil {
			return err.Error()
		}
		found = append(found, f)
	}
	return cmp.Diff(reference(input), found)
}

// pieces is a reader of left that reads size bytes at most.
type pieces struct {
	left string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.left == "" {
		return 0, io.EOF
	}
	n := copy(b, p.left[:min(len(p.left), p.size)])
	p.left = p.left[n:]
	return n, nil
}

// sealedIn returns input with the checksum made right of each run that the pattern matches, for the
// prefix that is skip bytes shorter than the longest one.
func sealedIn(input string, skip int) string {
	b := []byte(input)
	for _, match := range pattern.FindAllIndex(b, -1) {
		start := min(match[0]+skip, match[1]-bearer.BodyLen-2)
		copy(b[start:], bearertest.Sealed(string(b[start:match[1]-6])))
	}
	return string(b)
}

// findSeeds are inputs of FuzzFind.
func findSeeds() []string {
	a, b, long := bearertest.Text("lapse", bearertest.Credential(1)), bearertest.Text("my_lapse", bearertest.Credential(2)), bearertest.Text("abcdefghijklmnop", bearertest.Credential(3))
	return []string{
		"", a, "\n" + a + "\n" + b, "Bearer " + a + ".\n\"" + b + "\\n" + long + "\"", a + b, a + "_" + b, a + "0", a + "_", "my_" + a, "x" + long + "-" + long,
		strings.Repeat("x", 80) + "_" + a, a + strings.Repeat("x", 80), strings.Repeat("_", 80) + a, "__" + strings.Repeat("0", 72) + " a_" + strings.Repeat("0", 72),
	}
}

// FuzzFind: Find finds what the pattern and Parse find, however the input is cut.
func FuzzFind(f *testing.F) {
	for i, seed := range findSeeds() {
		f.Add(seed, i, i)
	}
	f.Fuzz(func(t *testing.T, input string, skip, size int) {
		for _, input := range []string{input, sealedIn(input, max(0, skip)%20)} {
			for _, size := range []int{max(1, size), 1 + max(0, size)%100, len(input) + 1} {
				if diff := differs(bearer.Find, input, size); diff != "" {
					t.Fatalf("%q in pieces of %d (-want +got):\n%s", input, size, diff)
				}
			}
		}
	})
}

// TestFuzzFindCatches shows FuzzFind some faults. Its seeds find each.
func TestFuzzFindCatches(t *testing.T) {
	changed := func(change func(f *bearer.Found) bool) finding {
		return func(r io.Reader) iter.Seq2[bearer.Found, error] {
			return func(yield func(bearer.Found, error) bool) {
				for f, err := range bearer.Find(r) {
					if change(&f) && !yield(f, err) {
						return
					}
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		find  finding
		fault bool
	}{
		"no fault":                            {bearer.Find, false},
		"a line too many":                     {changed(func(f *bearer.Found) bool { f.Line++; return true }), true},
		"a column of a second text in a line": {changed(func(f *bearer.Found) bool { f.Column = min(f.Column, 50); return true }), true},
		"not with a long prefix":              {changed(func(f *bearer.Found) bool { return len(f.Prefix) < 16 }), true},
		"each read by itself": {func(r io.Reader) iter.Seq2[bearer.Found, error] {
			return func(yield func(bearer.Found, error) bool) {
				b := make([]byte, 1<<16)
				for n, err := r.Read(b); err == nil; n, err = r.Read(b) {
					for f := range bearer.Find(strings.NewReader(string(b[:n]))) {
						if !yield(f, nil) {
							return
						}
					}
				}
			}
		}, true},
		"what stands behind a text": {func(r io.Reader) iter.Seq2[bearer.Found, error] {
			all, _ := io.ReadAll(r)
			return bearer.Find(strings.NewReader(strings.ReplaceAll(string(all), "_"+bearertest.Text("my_lapse", bearertest.Credential(2)), "")))
		}, true},
	} {
		caught := ""
		for i, seed := range findSeeds() {
			if diff := differs(tt.find, seed, i+1); diff != "" {
				caught = seed
			}
		}
		if (caught != "") != tt.fault {
			t.Errorf("%s: caught by %q", name, caught)
		}
	}
}

// TestFindStraddles: it does not matter where one read ends and the next begins, nor where in the
// window of the finder a text lies.
func TestFindStraddles(t *testing.T) {
	input := strings.Join(findSeeds(), "\n ")
	want := reference(input)
	if len(want) < 12 {
		t.Fatalf("%d texts", len(want))
	}
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(strings.NewReader(input)), "half": iotest.HalfReader(strings.NewReader(input)),
		"the end with the data": iotest.DataErrReader(strings.NewReader(input)), "one byte, the end with it": iotest.DataErrReader(iotest.OneByteReader(strings.NewReader(input))),
	} {
		if diff := cmp.Diff(want, findAll(t, r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for cut := range input {
		if !sample.Every(4, cut) {
			continue
		}
		if diff := cmp.Diff(want, findAll(t, io.MultiReader(strings.NewReader(input[:cut]), strings.NewReader(input[cut:])))); diff != "" {
			t.Fatalf("cut at %d (-want +got):\n%s", cut, diff)
		}
	}
	text := bearertest.Text("my_lapse", bearertest.Credential(2))
	for before := 1<<16 - 110; before < 1<<16+20; before++ {
		for n, fill := range []string{" ", "a", "_"} {
			if !sample.Every(3, before+n) {
				continue
			}
			input := strings.Repeat(fill, before-1) + "." + text
			for _, size := range []int{1 << 20, before, before + 40, 1000} {
				if found := findAll(t, &pieces{input, size}); len(found) != 1 || found[0].Bearer != text || found[0].Offset != int64(before) {
					t.Fatalf("behind %d times %q, in pieces of %d: %+v", before, fill, size, found)
				}
			}
		}
	}
}

func findAll(t testing.TB, r io.Reader) (found []bearer.Found) {
	t.Helper()
	for f, err := range bearer.Find(r) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, f)
	}
	return found
}

// readerFunc is a reader without a state of its own.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestFindErrors: the texts before an error come first, then the error, unchanged and once.
func TestFindErrors(t *testing.T) {
	down := errors.New("down")
	text := bearertest.Text("lapse", bearertest.Credential(1))
	after := func(empty int) io.Reader { // gives nothing so many times, then a text
		return io.MultiReader(readerFunc(func([]byte) (int, error) {
			if empty--; empty < 0 {
				return 0, io.EOF
			}
			return 0, nil
		}), strings.NewReader(text))
	}
	told := false
	withText := readerFunc(func(b []byte) (int, error) {
		if told {
			return 0, io.EOF
		}
		told = true
		return copy(b, text), down
	})
	for name, tt := range map[string]struct {
		r     io.Reader
		texts int
		want  error
	}{
		"at once":              {iotest.ErrReader(down), 0, down},
		"the end, wrapped":     {iotest.ErrReader(fmt.Errorf("torn: %w", io.EOF)), 0, io.EOF},
		"cut off":              {iotest.ErrReader(io.ErrUnexpectedEOF), 0, io.ErrUnexpectedEOF},
		"behind a text":        {io.MultiReader(strings.NewReader(text), iotest.ErrReader(down)), 1, down},
		"behind two texts":     {io.MultiReader(strings.NewReader(text+" "+text+"\n"), iotest.ErrReader(down)), 2, down},
		"behind half a text":   {io.MultiReader(strings.NewReader(text+" "+text[:50]), iotest.ErrReader(down)), 1, down},
		"with the text":        {iotest.DataErrReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(down))), 1, down},
		"with the text, once":  {withText, 1, down},
		"the second read":      {iotest.TimeoutReader(strings.NewReader(text)), 1, iotest.ErrTimeout},
		"99 empty reads":       {after(99), 1, nil},
		"100 empty reads":      {after(100), 0, io.ErrNoProgress},
		"more than was asked":  {readerFunc(func(b []byte) (int, error) { return len(b) + 1, nil }), 0, bearer.ErrReader},
		"less than nothing":    {readerFunc(func(b []byte) (int, error) { return -1, nil }), 0, bearer.ErrReader},
		"nothing and no error": {readerFunc(func(b []byte) (int, error) { return 0, nil }), 0, io.ErrNoProgress},
	} {
		texts, failed := 0, 0
		for f, err := range bearer.Find(tt.r) {
			switch {
			case err == nil && failed == 0 && f.Bearer == text:
				texts++
			case err != nil && f == bearer.Found{} && errors.Is(err, tt.want):
				failed++
			default:
				t.Errorf("%s: %+v, %v", name, f, err)
			}
		}
		if texts != tt.texts || (failed == 1) != (tt.want != nil) {
			t.Errorf("%s: %d texts and %d errors; want %d and %v", name, texts, failed, tt.texts, tt.want)
		}
	}
}

// TestFindStops: a loop that is left reads no more.
func TestFindStops(t *testing.T) {
	text, reads := bearertest.Text("lapse", bearertest.Credential(1))+"\n", 0
	endless := readerFunc(func(b []byte) (int, error) { reads++; return copy(b, text), nil })
	texts := 0
	for _, err := range bearer.Find(endless) {
		if texts++; err != nil || texts == 3 {
			break
		}
	}
	if texts != 3 || reads != 3 {
		t.Errorf("%d texts after %d reads", texts, reads)
	}
}

// TestFindAllocates a window and the texts, and nothing for what is no text.
func TestFindAllocates(t *testing.T) {
	race.Alone(t)
	text := bearertest.Text("lapse", bearertest.Credential(1))
	noText := "lapse_" + strings.Repeat("0", bearer.BodyLen) + " "
	for name, tt := range map[string]struct {
		unit         string
		times, texts int
	}{
		"one line of 64 MiB": {strings.Repeat("a b", 1<<10), 1 << 16 / 3, 0}, "one run of 64 MiB": {strings.Repeat("a", 1<<10), 1 << 16, 0},
		"no texts": {strings.Repeat(noText, 100), 1_000, 0}, "texts": {text + "\n", 10_000, 10_000},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		texts := 0
		for range bearer.Find(&repeated{unit: tt.unit, left: tt.times}) {
			texts++
		}
		runtime.ReadMemStats(&after)
		limit := uint64(80<<10 + 100*tt.texts)
		if used := after.TotalAlloc - before.TotalAlloc; used > limit || texts != tt.texts {
			t.Errorf("%s: %d bytes for %d texts, limit %d", name, used, texts, limit)
		}
	}
}

// repeated reads unit, left times.
type repeated struct {
	unit string
	at   int
	left int
}

func (r *repeated) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.unit[r.at:])
	if r.at += n; r.at == len(r.unit) {
		r.at, r.left = 0, r.left-1
	}
	return n, nil
}
