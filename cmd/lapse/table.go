package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
)

// bufferedRows is how many rows a table measures before it prints the first.
const bufferedRows = 1000

// table prints rows in columns that are as wide as their widest cell among the first rows.
type table struct {
	out    io.Writer
	colour bool
	head   []string // nil: there is none
	widths []int
	rows   []row
	begun  bool
}

// row is a row of a table, faint if it is of something dead.
type row struct {
	cells []string
	faint bool
}

// add adds a row.
func (t *table) add(r row) error {
	for i, c := range r.cells {
		r.cells[i] = cell(c)
	}
	t.rows = append(t.rows, r)
	if len(t.rows) < bufferedRows {
		return nil
	}
	return t.flush()
}

// flush prints the rows that were added. A table without rows is not printed.
func (t *table) flush() error {
	if len(t.rows) == 0 {
		return nil
	}
	lines := t.rows
	if !t.begun && t.head != nil {
		lines = append([]row{{cells: t.head}}, lines...)
	}
	t.begun = true
	for _, r := range lines {
		t.widths = append(t.widths, make([]int, max(0, len(r.cells)-len(t.widths)))...)
		for i, c := range r.cells {
			t.widths[i] = max(t.widths[i], runewidth.StringWidth(c))
		}
	}
	t.rows = t.rows[:0]
	for _, r := range lines {
		if _, err := fmt.Fprintln(t.out, t.line(r)); err != nil {
			return err
		}
	}
	return nil
}

// line returns r with its cells under each other.
func (t *table) line(r row) string {
	var b strings.Builder
	for i, c := range r.cells {
		b.WriteString(c)
		if i < len(r.cells)-1 {
			b.WriteString(strings.Repeat(" ", t.widths[i]-runewidth.StringWidth(c)+2))
		}
	}
	if r.faint && t.colour {
		return "\x1b[2m" + b.String() + "\x1b[0m"
	}
	return b.String()
}
