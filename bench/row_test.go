package main

import (
	"encoding/json"
	"math"
	"testing"
)

// TestVerdicts plants what rows may turn out to be, at their bounds and beside them.
func TestVerdicts(t *testing.T) {
	never := math.NaN()
	for _, c := range []struct {
		name           string
		must           bound
		allocs, counts int // the limit, and how many there were
		lapse, peer    float64
		want, verdict  string
	}{
		{"below", atMost(1.5), uncounted, 0, 149, 100, "<= 1.5", "ok"},
		{"at", atMost(1.5), uncounted, 0, 150, 100, "<= 1.5", "ok"},
		{"above", atMost(1.5), uncounted, 0, 151, 100, "<= 1.5", "MISSES 1.5"},
		{"no number", atMost(1.5), uncounted, 0, never, 100, "<= 1.5", "MISSES 1.5"},
		{"least, at", atLeast(0.5), uncounted, 0, 50, 100, ">= 0.5", "ok"},
		{"least, below", atLeast(0.5), uncounted, 0, 49, 100, ">= 0.5", "MISSES 0.5"},
		{"least, no number", atLeast(0.5), uncounted, 0, never, 100, ">= 0.5", "MISSES 0.5"},
		{"itself, at", itselfAtMost(60e6, "ns"), uncounted, 0, 60e6, 1, "<= 60 ms", "ok"},
		{"itself, above", itselfAtMost(60e6, "ns"), uncounted, 0, 61e6, 1e9, "<= 60 ms", "MISSES 60 ms"},
		{"exactly", itselfExactly(1, "tx"), uncounted, 0, 1, 1, "= 1 tx", "ok"},
		{"exactly, none", itselfExactly(1, "tx"), uncounted, 0, 0, 1, "= 1 tx", "MISSES 1 tx"},
		{"exactly, more", itselfExactly(1, "tx"), uncounted, 0, 2, 1, "= 1 tx", "MISSES 1 tx"},
		{"allocs, at", bound{}, 4, 4, 1, 1, "4 allocs", "ok"},
		{"allocs, above", bound{}, 4, 5, 1, 1, "4 allocs", "MISSES 4 allocs"},
		{"both", atMost(2), 0, 1, 3, 1, "<= 2, 0 allocs", "MISSES 2, 0 allocs"},
		{"one of two", atMost(2), 0, 1, 1, 1, "<= 2, 0 allocs", "MISSES 0 allocs"},
		{"nothing asked", bound{}, noLimit, 7, 1e9, 1, "", ""},
	} {
		r := row{id: c.name, must: c.must, allocs: c.allocs}
		res := r.compare("ns", []float64{c.lapse}, []float64{c.peer})
		if c.allocs != uncounted {
			res.Allocs = &c.counts
		}
		if res = r.judge(res); res.Must != c.want || res.Verdict != c.verdict {
			t.Errorf("%s: must %q, %q; want %q, %q", c.name, res.Must, res.Verdict, c.want, c.verdict)
		}
	}
	if res := (row{must: atMost(2), allocs: uncounted}).judge(result{LapseIs: 1}); res.Verdict == verdictOK {
		t.Error("a bound on a ratio was kept without a ratio")
	}
	if res := (row{allocs: 0}).judge(result{}); res.Verdict == verdictOK {
		t.Error("a bound on allocations was kept that nobody counted")
	}
}

// TestCompare wants the median of the ratios of the rounds, not the ratio of the
// medians, and the right way round.
func TestCompare(t *testing.T) {
	lapse, peer := []float64{10, 40, 100}, []float64{20, 100, 110}
	for _, c := range []struct {
		row   row
		ratio figure
		of    string
	}{
		{row{of: perOp}, 0.5, "lapse/peer"},
		{row{of: perOp, faster: true}, 2, "peer/lapse"},
		{row{of: rate, faster: true}, 0.5, "lapse/peer"},
		{row{of: p50}, 0.5, "lapse/peer"},
	} {
		res := c.row.compare("ns", lapse, peer)
		if res.Ratio.Median != c.ratio || res.RatioOf != c.of || res.LapseIs != 40 || *res.PeerIs != 100 || res.Turns != 3 {
			t.Errorf("%+v: %+v, ratio %v", c.row, res, *res.Ratio)
		}
	}
	if res := (row{}).compare("tx", lapse, nil); res.Ratio != nil || res.PeerIs != nil {
		t.Errorf("a ratio to nothing: %+v", res)
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[figure]string{0: "0", 1234567: "1.235e+06", 0.123456: "0.1235", 42: "42"} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("%v is written %s, %v; want %s", float64(v), got, err, want)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		if _, err := json.Marshal(figure(v)); err == nil {
			t.Errorf("%v was recorded", v)
		}
	}
}
