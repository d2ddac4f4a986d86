package log

import (
	"fmt"
	"slices"
)

// slot says which frames of a slot count: those from first to end. If end is smaller than
// first, none counts.
type slot struct{ first, end uint64 }

// Free frees the groups with numbers up to number: the database has merged them, durably.
// Slots that hold nothing else may be written over or cut off from then on, and Replay has
// to be called with number or a larger one. A number that no group has yet stands for the
// number of the last group. Free does not wait for an Append.
func (l *Log) Free(number uint64) {
	l.mu.Lock()
	l.freed = max(l.freed, min(number, l.Last()))
	l.mu.Unlock()
	if l.writing.TryLock() { // an Append that holds it trims
		defer l.writing.Unlock()
		if l.usable(true) == nil {
			l.trim()
		}
	}
}

// Size returns the bytes of the file.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(len(l.slots))
}

// Used returns the bytes of the slots that are not free.
func (l *Log) Used() int64 { return l.Size() - l.at(len(l.free())) }

// free returns the slots that may be written over. The slot with the highest serial never
// may, even where none of its frames counts: it voids the frames that failed before it.
func (l *Log) free() (free []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.slots {
		if i != l.cur && (s.end < s.first || s.end <= l.freed) {
			free = append(free, i)
		}
	}
	return free
}

// reserve appends slots until n are free. It returns ErrFull, with nothing written, if the
// file would exceed limit. Where all groups are free, the limit does not apply.
func (l *Log) reserve(n int, limit int64) error {
	if n == 0 {
		return nil
	}
	l.mu.Lock()
	empty, have := l.freed >= l.Last(), len(l.slots)
	l.mu.Unlock()
	need := have + n - len(l.free())
	if need > have && l.at(need) > limit && !empty {
		return fmt.Errorf("%w: it has %d bytes of %d", ErrFull, l.Size(), limit)
	}
	for ; have < need; have++ {
		if err := l.grow(have); err != nil {
			return err
		}
	}
	return nil
}

// grow appends slot i, zeroed. After an error a part of the slot may be in the file; it is
// written over later.
func (l *Log) grow(i int) error {
	l.buf = slices.Grow(l.buf[:0], int(l.Slot))[:l.Slot]
	clear(l.buf)
	if err := l.disk.Write(l.buf, l.at(i)); err != nil {
		l.disk.Truncate(l.at(i))
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots = append(l.slots, slot{})
	return nil
}

// trim cuts free slots off the end of a file that is longer than its limit. l.writing is
// held. After an error the file stays longer, and the slots are written over later.
func (l *Log) trim() {
	free, n := l.free(), len(l.slots)
	for n > 1 && l.at(n) > l.limit && slices.Contains(free, n-1) {
		n--
	}
	if n == len(l.slots) {
		return
	}
	l.mu.Lock()
	l.slots = l.slots[:n]
	l.mu.Unlock()
	l.disk.Truncate(l.at(n))
}
