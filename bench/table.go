package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// print writes the whole table.
func (r *record) print(w io.Writer) error {
	t := table{w: w}
	t.head(r)
	for _, g := range r.Groups {
		t.group(g)
	}
	t.foot(r)
	return t.err
}

// table writes lines and remembers the first error.
type table struct {
	w   io.Writer
	err error
}

func (t *table) line(format string, args ...any) {
	if t.err == nil {
		text := strings.TrimRight(fmt.Sprintf(format, args...), " ")
		_, t.err = fmt.Fprintln(t.w, text)
	}
}

const columns = "%-46s %9s %9s  %-7s %-15s %-18s %6s  %-20s %s"

func (t *table) head(r *record) {
	t.line("%s", r.Machine)
	if r.Quick {
		t.line("QUICK: small stores and few turns; the figures mean nothing")
	}
	t.line("")
	t.line("ratio: lapse by peer, less is better; with an x it is how many times faster lapse is, more is better")
	t.line("")
	t.line(columns, "row", "lapse", "peer", "ratio", "quartiles", "must", "allocs", "verdict", "")
}

func (t *table) group(g group) {
	t.line("")
	t.line("%s", g.Title)
	for _, res := range g.Results {
		peer, ratio, quartiles, allocs := "", "", "", ""
		if res.PeerIs != nil {
			peer = humane(float64(*res.PeerIs), res.Unit)
		}
		if res.Ratio != nil {
			times := ""
			if res.RatioOf == "peer/lapse" || res.Unit == "/s" {
				times = "x"
			}
			ratio = plain(float64(res.Ratio.Median)) + times
			quartiles = plain(float64(res.Ratio.Q1)) + " to " + plain(float64(res.Ratio.Q3))
		}
		if res.Allocs != nil {
			allocs = strconv.Itoa(*res.Allocs)
		}
		t.line(columns, res.Row, humane(float64(res.LapseIs), res.Unit), peer, ratio, quartiles, res.Must, allocs, res.Verdict, res.Note)
	}
}

func (t *table) foot(r *record) {
	asked, kept := 0, 0
	for _, g := range r.Groups {
		for _, res := range g.Results {
			if res.Verdict != "" {
				asked++
			}
			if res.Verdict == verdictOK {
				kept++
			}
		}
	}
	t.line("")
	t.line("%d of %d bounds kept", kept, asked)
}

// plain writes a ratio or a limit with three digits at most, more only in front of
// the point: 0.25, 1.5, 107.
func plain(v float64) string {
	digits := 2
	switch size := math.Abs(v); {
	case size >= 100:
		digits = 0
	case size >= 10:
		digits = 1
	case size > 0 && size < 0.1:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// humane writes a figure of a unit in steps of a thousand: 301 ns, 4.2 µs, 45.1 k/s.
func humane(v float64, unit string) string {
	switch unit {
	case "ns":
		for _, name := range []string{"ns", "µs", "ms"} {
			if math.Abs(v) < 999.5 {
				return plain(v) + " " + name
			}
			v /= 1000
		}
		return plain(v) + " s"
	case "/s", "B":
		for _, k := range []string{"", "k", "M"} {
			if math.Abs(v) < 999.5 {
				return plain(v) + " " + k + unit
			}
			v /= 1000
		}
		return plain(v) + " G" + unit
	}
	return plain(v) + " " + unit
}
