package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// recordFormat names the form of a record. A change that breaks readers changes it.
const recordFormat = "lapse bench 1"

// record is one run: the machine, the peers and the results.
type record struct {
	Format  string   `json:"format"`
	Command string   `json:"command"`
	Quick   bool     `json:"quick,omitempty"` // its figures mean nothing
	Machine machine  `json:"machine"`
	Peers   []string `json:"peers"` // modules and their versions
	Groups  []group  `json:"groups"`
}

// group is the results of one experiment.
type group struct {
	ID      string        `json:"id"`      // what its rows' names begin with
	Kind    string        `json:"kind"`    // what charts find it by
	Title   string        `json:"title"`   // for people
	Tokens  int           `json:"tokens"`  // live in the store when it begins
	Callers int           `json:"callers"` // at once
	Results []result      `json:"results"`
	Sides   []sideFigures `json:"sides,omitempty"`
}

// sideFigures is what one side of a contest took by itself.
type sideFigures struct {
	Side       string  `json:"side"`
	OpsPerTurn int     `json:"ops_per_turn"`
	NS         spread  `json:"ns"` // by operation; with several callers their number times less than each waited
	P50        *figure `json:"p50,omitempty"`
	P99        *figure `json:"p99,omitempty"`
}

// write replaces the file at path.
func (r *record) write(path string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func readRecord(path string) (*record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Format != recordFormat {
		return nil, fmt.Errorf("%s: its format is %q, not %q; measure again with this version", path, r.Format, recordFormat)
	}
	return &r, nil
}

// find returns the groups of a kind, in the order in which they were measured.
func (r *record) find(kind string) []group {
	var found []group
	for _, g := range r.Groups {
		if g.Kind == kind {
			found = append(found, g)
		}
	}
	return found
}

// side returns the figures of a side of g.
func (g *group) side(name string) (sideFigures, bool) {
	for _, s := range g.Sides {
		if s.Side == name {
			return s, true
		}
	}
	return sideFigures{}, false
}
