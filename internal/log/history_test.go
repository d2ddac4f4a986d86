package log

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

const testSlot = 4 * block // three blocks for frames: parts and new slots come soon

// group is one call of Append, in a history.
type group struct {
	payload    []byte
	number     uint64 // if it was acknowledged
	from, till int    // the numbers of ops done when it began and returned
	err        error
	settled    int // where it was unknown: ops done when the log was opened again
}

// freeing is one call of Free.
type freeing struct {
	number uint64
	at     int // ops done
}

// history is what was done with a log, and the ops that came of it.
type history struct {
	disk   *memory
	groups []group
	frees  []freeing
	slots  int64  // limit, in slots
	early  bool   // planted: a group too many is freed
	newest []byte // the last group that check saw
}

// freedAt returns what was free when n ops had been done.
func (h *history) freedAt(n int) (freed uint64) {
	for _, f := range h.frees {
		if f.at <= n {
			freed = max(freed, f.number)
		}
	}
	return freed
}

// check opens a disk as it is after n ops, or in the middle of the next one, and
// compares the groups in it with those that must and those that may be there.
func (h *history) check(d disk, size int64, n int, after uint64) (*Log, error) {
	l, err := load(d, size)
	if errors.Is(err, ErrUnfinished) && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h.newest = nil
	var must, may []group
	for _, g := range h.groups {
		switch {
		case g.from > n:
		case g.till <= n && g.err == nil, g.settled > 0 && g.settled <= n && g.number > 0:
			may = nil // an unknown one is void by now
			if g.number > after {
				must = append(must, g)
			}
		case g.till > n, errors.Is(g.err, ErrUnknown) && (g.settled == 0 || n < g.settled):
			may = append(may, g)
		}
	}
	_, err = l.Replay(after, func(number uint64, payload []byte) error {
		h.newest = append(h.newest[:0], payload...)
		if len(must) == 0 {
			if !slices.ContainsFunc(may, func(g group) bool { return bytes.Equal(g.payload, payload) }) {
				return fmt.Errorf("group %d with %d bytes counts and should not", number, len(payload))
			}
			may = nil
			return nil
		}
		g := must[0]
		must = must[1:]
		if g.number != number || !bytes.Equal(g.payload, payload) {
			return fmt.Errorf("group %d with %d bytes, want group %d with %d", number, len(payload), g.number, len(g.payload))
		}
		return nil
	})
	if err == nil && len(must) > 0 {
		err = fmt.Errorf("%d acknowledged groups are lost, the first is %d", len(must), must[0].number)
	}
	return l, err
}

// play does so many steps with a new log on d.
func play(r *rand.Rand, d *memory, steps int, early bool) (*history, error) {
	h := &history{disk: d, slots: 3 + r.Int64N(5), early: early}
	d.r = r
	l, err := start(d, Parent{}, testSlot)
	if err != nil {
		return h, nil
	}
	for range steps {
		switch k := r.IntN(12); {
		case k < 8:
			h.append(r, l)
		case k < 11:
			h.free(r, l)
		default:
			if l, err = h.check(d, int64(len(d.data)), len(d.ops), h.freedAt(len(d.ops))); err != nil {
				return h, fmt.Errorf("opened again after %d ops: %w", len(d.ops), err)
			}
			h.settle(l)
		}
		if last := h.last(); l.Last() < last {
			return h, fmt.Errorf("Last is %d, and %d was acknowledged", l.Last(), last)
		}
		if l.Used() > l.Size() || l.Highest() < l.Last() {
			return h, fmt.Errorf("used %d of %d, highest %d, last %d", l.Used(), l.Size(), l.Highest(), l.Last())
		}
	}
	return h, nil
}

// settle notes whether an unknown group counts after all, where a log was opened again.
func (h *history) settle(l *Log) {
	for i := range h.groups {
		g := &h.groups[i]
		if errors.Is(g.err, ErrUnknown) && g.settled == 0 {
			g.settled = len(h.disk.ops)
			if bytes.Equal(h.newest, g.payload) {
				g.number = l.Last()
			}
		}
	}
}

func (h *history) last() (last uint64) {
	for _, g := range h.groups {
		last = max(last, g.number)
	}
	return last
}

// append appends a group of some length, and frees what is there if there is no room.
func (h *history) append(r *rand.Rand, l *Log) {
	most := []int{1, 600, block, 3 * block, 4 * testSlot}[r.IntN(5)]
	payload := make([]byte, r.IntN(most+1), most+9)
	for i := range payload {
		payload[i] = byte(r.Uint32())
	}
	payload = fmt.Append(payload, len(h.groups)) // no two are equal
	from, before := len(h.disk.ops), l.Size()
	number, err := l.Append(payload, l.at(int(h.slots)))
	wrote := slices.ContainsFunc(h.disk.ops[from:], func(o op) bool { return !o.cut })
	if errors.Is(err, ErrFull) && !wrote {
		h.freeTo(l, h.last())
		return
	}
	if err == nil && l.Size() > before && l.Size() > l.at(int(h.slots)) && h.freedAt(from) < h.last() {
		err = fmt.Errorf("%d bytes, limit %d slots", l.Size(), h.slots)
	}
	h.groups = append(h.groups, group{payload, number, from, len(h.disk.ops), err, 0})
}

// free frees up to some group.
func (h *history) free(r *rand.Rand, l *Log) {
	for range 3 {
		if len(h.groups) == 0 {
			return
		}
		if g := h.groups[r.IntN(len(h.groups))]; g.err == nil {
			h.freeTo(l, g.number)
			return
		}
	}
}

func (h *history) freeTo(l *Log, number uint64) {
	h.frees = append(h.frees, freeing{number, len(h.disk.ops)})
	if h.early {
		for _, g := range h.groups {
			if g.number > number {
				number = g.number
				break
			}
		}
	}
	l.Free(number)
}
