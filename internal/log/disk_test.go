package log

import (
	"errors"
	"io"
	"math/rand/v2"
)

var errDisk = errors.New("the disk fails")

// op is one write, or, with cut, one truncation to at.
type op struct {
	at   int64
	b    []byte
	cut  bool
	kept []bool // the sectors that were written; nil for all
}

// memory is a disk in memory that records what is done to it.
type memory struct {
	data   []byte
	ops    []op
	fails  func(n int) bool           // whether op n fails
	lies   func(at int64, n int) bool // whether a write is not done and reported as done
	before func()
	r      *rand.Rand
}

func (m *memory) ReadAt(b []byte, at int64) (int, error) {
	if at > int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(b, m.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) Write(b []byte, at int64) error {
	if m.before != nil {
		m.before()
	}
	if m.lies != nil && m.lies(at, len(b)) {
		return nil
	}
	o := op{at: at, b: append([]byte(nil), b...)}
	failed := m.fails != nil && m.fails(len(m.ops))
	if failed {
		o.kept = someSectors(m.r, len(b)/sector)
	}
	m.ops = append(m.ops, o)
	m.data = o.do(m.data)
	if failed {
		return errDisk
	}
	return nil
}

func (m *memory) Truncate(size int64) error {
	failed := m.fails != nil && m.fails(len(m.ops))
	o := op{at: size, cut: true}
	if failed {
		o.kept = []bool{}
	}
	m.ops = append(m.ops, o)
	m.data = o.do(m.data)
	if failed {
		return errDisk
	}
	return nil
}

func (m *memory) Close() error { return nil }

// do returns data with the op done.
func (o op) do(data []byte) []byte {
	if o.cut {
		if o.kept == nil && int64(len(data)) > o.at {
			data = data[:o.at]
		}
		return data
	}
	for i := 0; i < len(o.b); i += sector {
		if o.kept != nil && !o.kept[i/sector] {
			continue
		}
		if end := o.at + int64(i) + sector; end > int64(len(data)) {
			data = append(data, make([]byte, end-int64(len(data)))...)
		}
		copy(data[o.at+int64(i):], o.b[i:i+sector])
	}
	return data
}

// someSectors returns which of n sectors reach the disk when a write is cut off.
func someSectors(r *rand.Rand, n int) []bool {
	kept := make([]bool, n)
	switch r.IntN(5) {
	case 0: // none
	case 1: // all
		for i := range kept {
			kept[i] = true
		}
	case 2: // the first ones
		for i := range r.IntN(n + 1) {
			kept[i] = true
		}
	case 3: // all except one
		for i := range kept {
			kept[i] = true
		}
		kept[r.IntN(n)] = false
	default:
		for i := range kept {
			kept[i] = r.IntN(2) == 0
		}
	}
	return kept
}
