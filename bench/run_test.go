package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestQuick runs everything on small stores: every row that is listed has figures,
// the record can be read back and prints the same table, and every chart is drawn.
func TestQuick(t *testing.T) {
	dir := t.TempDir()
	out, charted := filepath.Join(dir, "record.json"), filepath.Join(dir, "img")
	var table, progress bytes.Buffer
	opts := options{quick: true, dir: dir, out: out, charts: charted}
	if err := run(t.Context(), opts, &table, &progress); err != nil {
		t.Fatal(err)
	}
	rec, err := readRecord(out)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range rec.Groups {
		for _, res := range g.Results {
			got = append(got, res.Row)
			checkFigures(t, res)
		}
	}
	if want := listed(t); !slices.Equal(got, want) {
		t.Errorf("the rows of the record are\n%q\nand those of -list\n%q", got, want)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "lapse-bench-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	for _, c := range charts() {
		picture, err := os.ReadFile(filepath.Join(charted, c.file))
		if err != nil {
			t.Error(err)
			continue
		}
		checkSVG(t, c.file, picture)
	}

	var again bytes.Buffer
	redrawn := filepath.Join(dir, "again")
	if err := run(t.Context(), options{from: out, charts: redrawn}, &again, io.Discard); err != nil {
		t.Fatal(err)
	}
	if again.String() != table.String() {
		t.Errorf("the table of the record is\n%s\nand that of the run\n%s", &again, &table)
	}
	for _, c := range charts() {
		a, _ := os.ReadFile(filepath.Join(charted, c.file))
		b, _ := os.ReadFile(filepath.Join(redrawn, c.file))
		if !bytes.Equal(a, b) {
			t.Errorf("%s is another one when it is drawn from the record", c.file)
		}
	}
}

// checkFigures wants figures that can be: finite and above zero, except for counts,
// for the memory of stores so small that it is lost among that of everything else, and for
// the log, which a store may do without.
func checkFigures(t *testing.T, res result) {
	t.Helper()
	figures := map[string]float64{"lapse": float64(res.LapseIs)}
	if res.PeerIs != nil {
		figures["peer"] = float64(*res.PeerIs)
		figures["q1"], figures["ratio"], figures["q3"] = float64(res.Ratio.Q1), float64(res.Ratio.Median), float64(res.Ratio.Q3)
		if res.Ratio.Q1 > res.Ratio.Median || res.Ratio.Median > res.Ratio.Q3 {
			t.Errorf("%s: the quartiles are %v", res.Row, *res.Ratio)
		}
	}
	for name, v := range figures {
		lost := res.Unit == "tx" || strings.HasPrefix(res.Row, "memory/") || res.Lapse == "bolt-log"
		if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 && !lost {
			t.Errorf("%s: %s is %v", res.Row, name, v)
		}
	}
	if res.Turns < 1 {
		t.Errorf("%s: %d turns", res.Row, res.Turns)
	}
}

// listed returns the rows that -list names, each of which must name itself alone.
func listed(t *testing.T) []string {
	t.Helper()
	var names bytes.Buffer
	if err := run(t.Context(), options{quick: true, list: true}, &names, io.Discard); err != nil {
		t.Fatal(err)
	}
	rows := strings.Fields(names.String())
	if unique := slices.Compact(slices.Sorted(slices.Values(rows))); len(unique) != len(rows) {
		t.Errorf("%d rows have %d names", len(rows), len(unique))
	}
	return rows
}

// TestFullRows wants a full run to have rows of the same shapes as a quick one, under
// names that no two share.
func TestFullRows(t *testing.T) {
	names := map[string]bool{}
	quick, full := experiments(quickPlan()), experiments(fullPlan(1_000_000))
	for i, e := range full {
		if len(e.rows()) != len(quick[i].rows()) {
			t.Errorf("%s has %d rows, and %d in a quick run", e.about().ID, len(e.rows()), len(quick[i].rows()))
		}
		for _, r := range e.rows() {
			if names[r.id] {
				t.Errorf("two rows are called %s", r.id)
			}
			names[r.id] = true
		}
	}
	for _, want := range []string{"check/1e3/memory/parts", "check/1e6/bolt/parts", "issue-bolt/256/bolt/scs-bbolt", "sweep/1e6/bolt/idle/p99",
		"settled-renew/256/bolt/group-commit", "settled-issue/64/bolt/sqlite", "open-issue-close/bolt/bbolt",
		"sweep-issue/1e6/bolt/idle/p99", "open-crashed/1e6/bolt/allowed"} {
		if !names[want] {
			t.Errorf("no row is called %s", want)
		}
	}
}

func TestRowsOfARun(t *testing.T) {
	var table bytes.Buffer
	opts := options{quick: true, dir: t.TempDir(), rows: regexp.MustCompile(`^check/100/memory/(parts|jwt-hs256)$`)}
	rec, err := measureAll(t.Context(), quickPlan(), opts, &table, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Groups) != 1 || len(rec.Groups[0].Results) != 2 || len(rec.Groups[0].Sides) != 3 {
		t.Errorf("%+v", rec.Groups)
	}
	if want := `go -C bench run . -quick -rows "^check/100/memory/(parts|jwt-hs256)$"`; rec.Command != want {
		t.Errorf("the command is %s, want %s", rec.Command, want)
	}
	opts.rows = regexp.MustCompile("nothing is called this")
	if _, err := measureAll(t.Context(), quickPlan(), opts, io.Discard, io.Discard); err == nil {
		t.Error("a run without rows was no error")
	}
}

// TestInterrupted wants a run that is interrupted to say so and to leave no file.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := measureAll(ctx, quickPlan(), options{quick: true, dir: dir}, io.Discard, io.Discard)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v instead of a run that was interrupted", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-rows", "("}, {"-renewing", "-1s"}, {"-tokens", "5"}, {"-tokens", "200000", "-quick"}, {"argument"}, {"-no-such-flag"},
	} {
		var complaint bytes.Buffer
		if _, err := parse(args, &complaint); err == nil || complaint.Len() == 0 {
			t.Errorf("%q: %v, %q", args, err, &complaint)
		}
	}
	o, err := parse([]string{"-tokens", "300000", "-renewing", "5s"}, io.Discard)
	if err != nil || o.plan().large() != 300_000 || o.plan().quick || o.plan().renewing != 5*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	if want := `go -C bench run . -tokens 300000 -renewing 5s`; o.command() != want {
		t.Errorf("the command is %s, want %s", o.command(), want)
	}
}

// TestRecords plants records that must not be believed.
func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	for _, text := range []string{"", "{", `{"format": "lapse bench 0"}`, `[]`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readRecord(path); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	if _, err := readRecord(path + " is not there"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	bad := record{Format: recordFormat, Groups: []group{{Results: []result{{LapseIs: figure(math.NaN())}}}}}
	if err := bad.write(path); err == nil {
		t.Error("a record with no number in it was written")
	}
	good := record{Format: recordFormat, Machine: machine{Cores: 2, Sync: 140_000}}
	if err := good.write(path); err != nil {
		t.Fatal(err)
	}
	back, err := readRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(good)
	if b, _ := json.Marshal(back); !bytes.Equal(a, b) {
		t.Errorf("%s came back as %s", a, b)
	}
}
