package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// row is one line of the table: lapse against a peer, or lapse by itself.
type row struct {
	id     string // experiment/lapse's side/peer, and what is compared if it is not time
	lapse  string // a side of lapse, or "parts"
	peer   string // what it is compared with; "" for nothing
	of     quantity
	faster bool // the ratio is how many times lapse is faster: the peer's time by lapse's
	must   bound
	allocs int // how many allocations an operation may make; noLimit, or uncounted
}

const (
	noLimit   = -1 // counted, for information
	uncounted = -2
)

// bound is a condition that a row must meet. Every row meets the zero bound.
type bound struct {
	sign  string  // "<=", ">=" or "="
	limit float64 // of the ratio, unless unit says something
	unit  string  // of lapse's own figure, which limit is about then
}

func atMost(ratio float64) bound                     { return bound{"<=", ratio, ""} }
func atLeast(ratio float64) bound                    { return bound{">=", ratio, ""} }
func itselfAtMost(limit float64, unit string) bound  { return bound{"<=", limit, unit} }
func itselfExactly(limit float64, unit string) bound { return bound{"=", limit, unit} }

func (b bound) String() string {
	switch {
	case b.sign == "":
		return ""
	case b.unit != "":
		return b.sign + " " + humane(b.limit, b.unit)
	}
	return b.sign + " " + plain(b.limit)
}

// kept reports whether a row with this ratio and this figure of lapse meets b. A figure that
// is not a number never does.
func (b bound) kept(ratio, lapse float64) bool {
	value := ratio
	if b.unit != "" {
		value = lapse
	}
	switch b.sign {
	case "<=":
		return value <= b.limit
	case ">=":
		return value >= b.limit
	case "=":
		return value == b.limit
	}
	return true
}

// result is a row with its measured figures.
type result struct {
	Row     string  `json:"row"`
	Lapse   string  `json:"lapse"`
	Peer    string  `json:"peer,omitempty"`
	Unit    string  `json:"unit"`
	LapseIs figure  `json:"lapse_is"` // the median
	PeerIs  *figure `json:"peer_is,omitempty"`
	RatioOf string  `json:"ratio_of,omitempty"`
	Ratio   *spread `json:"ratio,omitempty"`
	Turns   int     `json:"turns"`
	Allocs  *int    `json:"allocs,omitempty"`
	Must    string  `json:"must,omitempty"`
	Verdict string  `json:"verdict,omitempty"`
	Note    string  `json:"note,omitempty"`
}

const verdictOK = "ok"

// compare makes the result of a row from figures of the same rounds. peer is empty
// for a row that compares with nothing.
func (r row) compare(unit string, lapse, peer []float64) result {
	res := result{Row: r.id, Lapse: r.lapse, Peer: r.peer, Unit: unit, LapseIs: spreadOf(lapse).Median, Turns: len(lapse)}
	if len(peer) > 0 {
		is := spreadOf(peer).Median
		over := divide(lapse, peer)
		res.RatioOf = "lapse/peer"
		if r.faster && r.of != rate { // of rates the higher is the faster one already
			over, res.RatioOf = divide(peer, lapse), "peer/lapse"
		}
		ratio := spreadOf(over)
		res.PeerIs, res.Ratio = &is, &ratio
	}
	return res
}

// judge sets whether the result meets the bound of the row.
func (r row) judge(res result) result {
	res.Must = r.must.String()
	ratio := math.NaN()
	if res.Ratio != nil {
		ratio = float64(res.Ratio.Median)
	}
	var missed []string
	if !r.must.kept(ratio, float64(res.LapseIs)) {
		missed = append(missed, strings.TrimLeft(res.Must, "<>= "))
	}
	if r.allocs >= 0 {
		res.Must = strings.TrimLeft(fmt.Sprintf("%s, %d allocs", res.Must, r.allocs), ", ")
		if res.Allocs == nil || *res.Allocs > r.allocs {
			missed = append(missed, fmt.Sprintf("%d allocs", r.allocs))
		}
	}
	switch {
	case len(missed) > 0:
		res.Verdict = "MISSES " + strings.Join(missed, ", ")
	case res.Must != "":
		res.Verdict = verdictOK
	}
	return res
}

// figure is a number with four digits, which is more than any measurement here is good for.
// So a table or a chart is the same whether it comes from a run or from its record.
type figure float64

func rounded(v float64) figure {
	f, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64) // it was one before
	return figure(f)
}

// MarshalJSON fails for a figure that is not finite: a record with such a figure is worthless.
func (f figure) MarshalJSON() ([]byte, error) {
	v := float64(f)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, fmt.Errorf("a figure is %v", v)
	}
	return strconv.AppendFloat(nil, v, 'g', 4, 64), nil
}
