package log

import (
	"fmt"
	"slices"
)

// Append makes payload durable as one group, and returns the number of its last frame.
// After a nil error the group counts until Free is called with its number or a larger
// number. payload may be empty, and belongs to the caller again when Append returns.
//
// limit is the most bytes that the file may have. ErrFull: there is no room for the
// group within limit, and nothing was written. A group of any length is admitted when all
// groups before it are free. To void a group that failed, the file may become longer than
// limit by one slot.
//
// ErrUnknown: the write failed, and so did the write that should have voided the group. The
// group may or may not count if the process ends now. The next Append first voids the
// group. While that fails, Append returns the error and writes nothing else.
//
// After any other error nothing of the group counts, now or later.
func (l *Log) Append(payload []byte, limit int64) (number uint64, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.usable(true); err != nil {
		return 0, err
	}
	l.limit = limit
	defer l.trim()
	if err := l.reserve(l.slotsFor(len(payload)), limit); err != nil {
		return 0, fmt.Errorf("log: append: %w", err)
	}
	number = l.Last()
	for flags := uint32(flagFirst); flags&flagLast == 0; flags &^= flagFirst {
		part := payload[:min(len(payload), l.longest())]
		payload = payload[len(part):]
		if len(payload) == 0 {
			flags |= flagLast
		}
		if number, err = l.writePart(part, flags, number); err != nil {
			return 0, fmt.Errorf("log: append: %w", err)
		}
	}
	return number, nil
}

// slotsFor returns how many slots have to be begun at most for a group of n bytes. A group
// that is longer than a slot may need one slot less.
func (l *Log) slotsFor(n int) int {
	if l.fits(n) {
		return 0
	}
	return max(1, (n+l.longest()-1)/l.longest())
}

// fits reports whether a part of n bytes fits into the rest of the current slot.
func (l *Log) fits(n int) bool { return !l.ended && l.pos+l.frameSize(n) <= int(l.Slot) }

// writePart writes one part, into the next slot if the current slot has too little room.
// number is that of the frame before. The errors are those of Append.
func (l *Log) writePart(part []byte, flags uint32, number uint64) (_ uint64, err error) {
	if !l.fits(len(part)) {
		err = l.beginSlot(number)
	}
	begun := err == nil
	if begun {
		number, err = l.writeFrame(part, flags)
	}
	if err == nil {
		return number, nil
	}
	voidErr := l.void()
	if voidErr != nil && begun && flags&flagLast != 0 {
		return 0, fmt.Errorf("%w: %w; voiding it: %v", ErrUnknown, err, voidErr)
	}
	return 0, err // without its last part the group does not count
}

// void begins a slot whose header says that no frame after the last group counts.
func (l *Log) void() error {
	l.mu.Lock()
	for i := range l.slots {
		l.slots[i].end = min(l.slots[i].end, l.Last())
	}
	l.mu.Unlock()
	if err := l.reserve(1, l.limit+int64(l.Slot)); err != nil {
		return err
	}
	return l.beginSlot(l.Last())
}

// writeFrame writes one frame into the current slot. It writes whole blocks: the frames
// that the first block has already are written once more, with the same bytes, and the rest
// of the last block is zero. An error ends the slot.
func (l *Log) writeFrame(part []byte, flags uint32) (uint64, error) {
	number, at := l.tried.Add(1), l.at(l.cur)+int64(l.pos)
	begun := len(l.begun)
	l.buf = l.appendFrame(append(l.buf[:0], l.begun...), part, flags, number, at)
	end := len(l.buf)
	l.buf = slices.Grow(l.buf, blocks(end)-end)[:blocks(end)]
	clear(l.buf[end:])
	if err := l.disk.Write(l.buf, at-int64(begun)); err != nil {
		l.ended = true
		return 0, err
	}
	l.pos += end - begun
	l.begun = append(l.begun[:0], l.buf[end-end%block:end]...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots[l.cur].end = number
	if flags&flagLast != 0 {
		l.last.Store(number)
	}
	return number, nil
}

// beginSlot begins a slot that reserve has found, durably. Frames above base that are in
// the file are void then. After an error no frame may follow in the current slot: the
// header may have been written, and would void the frame.
func (l *Log) beginSlot(base uint64) error {
	i, first := l.free()[0], l.Highest()+1
	l.serial++
	l.ended = true
	if err := l.disk.Write(l.header(slotHeader{i, l.serial, base, first}), l.at(i)); err != nil {
		return err
	}
	l.pos, l.begun, l.ended = block, l.begun[:0], false
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots[i], l.cur = slot{first: first}, i
	return nil
}
