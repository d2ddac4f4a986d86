package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// chart draws one picture from a record, or nothing if the record lacks its figures.
type chart struct {
	file string
	draw func(r *record) ([]byte, error)
}

func charts() []chart {
	return []chart{
		{"check.svg", drawChecks},
		{"durable.svg", drawDurable},
		{"sizes.svg", drawSizes},
		{"memory.svg", drawMemory},
	}
}

// drawCharts writes the charts for which r has figures into dir.
func drawCharts(r *record, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range charts() {
		picture, err := c.draw(r)
		if err != nil {
			return fmt.Errorf("%s: %w", c.file, err)
		}
		if picture == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, c.file), picture, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// shown returns the name of a side in charts, and "" if the name of the side itself is good
// enough.
func shown(side string) string {
	names := map[string]string{
		"memory":         "lapse, memory",
		"bolt":           "lapse, bolt",
		"memory-crowded": "lapse, memory, ten to a subject",
		"parts":          "bare parts of a check",
		"plain-map":      "locked map, plain tokens",
		"pointer-map":    "map of pointers to records",
		"bbolt-view":     "bbolt View + Get",
		"bbolt-update":   "bbolt Update",
		"bbolt-batch":    "bbolt Batch",
		"group-commit":   "bare group commit",
		"scs-memory":     "scs, memory",
		"scs-bbolt":      "scs, bbolt",
		"jwt-hs256":      "JWT HS256",
		"jwt-eddsa":      "JWT EdDSA",
		"jwt-es256":      "JWT ES256",
		"paseto-local":   "PASETO v4.local",
		"paseto-public":  "PASETO v4.public",
		"securecookie":   "securecookie",
	}
	return cmp.Or(names[side], side)
}

// colour is the tint of a side in all charts.
func (t theme) colour(side string) tint {
	switch side {
	case "memory", "memory-crowded":
		return t.first
	case "bolt":
		return t.second
	}
	return t.other
}

// drawChecks shows how many times as long as lapse in memory a check takes.
func drawChecks(r *record) ([]byte, error) {
	groups := r.find("check-peers")
	if len(groups) == 0 {
		return nil, nil
	}
	g := groups[0]
	own, ok := g.side("memory")
	if !ok {
		return nil, nil
	}
	b := bars{
		title:    "Checking a token",
		subtitle: fmt.Sprintf("times as long as lapse takes in memory; %s live tokens, one caller, logarithmic scale", grouped(g.Tokens)),
	}
	for _, s := range g.Sides {
		times := g.times(s, own)
		b.bars = append(b.bars, bar{
			side: s.Side, name: shown(s.Side), length: times,
			label: plain(times) + "x", more: humane(float64(s.NS.Median), "ns"),
		})
	}
	slices.SortStableFunc(b.bars, func(x, y bar) int { return cmp.Compare(x.length, y.length) })
	return b.draw()
}

// times returns how many times as long as own a side takes: the median of the turns
// where the table has it, else that of the medians.
func (g *group) times(s, own sideFigures) float64 {
	for _, res := range g.Results {
		if res.Lapse != own.Side || res.Peer != s.Side || res.Ratio == nil {
			continue
		}
		if res.RatioOf == "peer/lapse" {
			return float64(res.Ratio.Median)
		}
		return 1 / float64(res.Ratio.Median)
	}
	return float64(s.NS.Median / own.NS.Median)
}

// drawDurable shows durable issues a second by the number of callers.
func drawDurable(r *record) ([]byte, error) {
	groups := r.find("issue-bolt")
	if len(groups) < 2 {
		return nil, nil
	}
	l := lines{
		title:    "Issuing tokens durably",
		subtitle: fmt.Sprintf("a second, by callers at once; %s live tokens, logarithmic scales", grouped(groups[0].Tokens)),
		unit:     "/s",
	}
	for _, g := range groups {
		l.ticks = append(l.ticks, tick{float64(g.Callers), count(g.Callers)})
	}
	for _, name := range []string{"bolt", "group-commit", "bbolt-batch", "bbolt-update", "scs-bbolt"} {
		l.add(name, groups, func(g group) float64 { return float64(g.Callers) },
			func(s sideFigures) float64 { return 1e9 / float64(s.NS.Median) })
	}
	return l.draw()
}

// drawSizes shows the time of a check by the number of live tokens.
func drawSizes(r *record) ([]byte, error) {
	groups := r.find("check")
	if len(groups) < 2 {
		return nil, nil
	}
	l := lines{
		title:    "Checking a token, by how many are live",
		subtitle: "time of one check, one caller, logarithmic scales",
		unit:     "ns",
	}
	for _, g := range groups {
		l.ticks = append(l.ticks, tick{float64(g.Tokens), grouped(g.Tokens)})
	}
	for _, name := range []string{"memory", "bolt", "plain-map", "bbolt-view", "scs-memory", "scs-bbolt"} {
		l.add(name, groups, func(g group) float64 { return float64(g.Tokens) },
			func(s sideFigures) float64 { return float64(s.NS.Median) })
	}
	return l.draw()
}

// drawMemory shows the memory that a live token takes.
func drawMemory(r *record) ([]byte, error) {
	groups := r.find("space")
	if len(groups) == 0 {
		return nil, nil
	}
	b := bars{
		title:    "Memory of a live token",
		subtitle: fmt.Sprintf("bytes, with every index, of a token that has a subject and nothing else; %s live", grouped(groups[0].Tokens)),
		linear:   true,
	}
	for _, res := range groups[0].Results {
		if res.Unit != "B" || res.Peer == "record" {
			continue
		}
		b.addBytes(res.Lapse, float64(res.LapseIs))
		b.addBytes(res.Peer, float64(*res.PeerIs))
	}
	if len(b.bars) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(b.bars, func(x, y bar) int { return cmp.Compare(x.length, y.length) })
	return b.draw()
}

func (b *bars) addBytes(side string, bytes float64) {
	if !slices.ContainsFunc(b.bars, func(x bar) bool { return x.side == side }) {
		b.bars = append(b.bars, bar{side: side, name: shown(side), length: bytes, label: humane(bytes, "B")})
	}
}
