package log

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

// Replay calls fn for every group that counts and whose number is above after, in order.
// It returns the number of the last group that counts. Where no group counts, it returns the
// number of the last group that was freed. payload belongs to fn only during the call.
//
// Replay treats the groups up to after as freed. It is called once, between Open and the
// first Append; a log that Create has returned needs no Replay. ErrDamaged: groups are
// missing or damaged, or a group above after was freed. fn may have been called for some
// groups by then, and the caller must discard these. An error of fn or of reading is
// returned as it is. Replay writes nothing.
func (l *Log) Replay(after uint64, fn func(number uint64, payload []byte) error) (last uint64, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.usable(false); err != nil {
		return 0, err
	}
	headers, err := l.headers()
	if err != nil {
		return 0, err
	}
	r := replay{Log: l, after: after, fn: fn, reach: after, ends: make([]slot, len(l.slots))}
	if err := r.run(headers); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(headers); n > 0 {
		l.cur, l.serial = headers[n-1].index, headers[n-1].serial
	}
	l.slots, l.freed, l.ready = r.ends, after, true
	l.last.Store(r.last)
	l.tried.Store(max(r.tried, after))
	return r.last, nil
}

// headers returns the slots that were begun, in the order of their serials.
func (l *Log) headers() (all []slotHeader, err error) {
	s := make([]byte, sector)
	for i := range l.slots {
		if err := readAt(l.disk, s, l.at(i)); err != nil {
			return nil, err
		}
		b, err := l.parseHeader(s, i)
		if err != nil {
			return nil, err
		}
		if b.serial > 0 {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b slotHeader) int { return cmp.Compare(a.serial, b.serial) })
	return all, nil
}

// replay is one run through the slots.
type replay struct {
	*Log
	after uint64
	fn    func(uint64, []byte) error

	slot    []byte // the slot that is being read
	base    int64  // its place in the file
	reach   uint64 // up to this number no frame is missing
	group   []byte // the parts of the group so far
	inGroup bool   // the last part is still to come
	last    uint64 // the number of the last group that counts
	tried   uint64 // the highest number that a frame may have
	ends    []slot // by index in the file
}

// run reads the slots in the order of their serials.
func (r *replay) run(headers []slotHeader) error {
	r.slot = make([]byte, r.Slot)
	ends := make([]uint64, len(headers)) // the least base of later slots
	end := uint64(math.MaxUint64)
	for i, b := range slices.Backward(headers) {
		ends[i], end = end, min(end, b.base)
	}
	for i, b := range headers {
		tail := i == len(headers)-1
		if !tail && ends[i] <= max(b.base, r.after) {
			continue // no frame above after counts in this slot
		}
		if err := r.readSlot(b, ends[i], tail); err != nil {
			return err
		}
		r.reach = ends[i]
	}
	for i := range r.ends { // parts of a group without its last part do not count
		r.ends[i].end = min(r.ends[i].end, r.last)
	}
	return nil
}

// readSlot reads the frames of one slot that count: up to end, or, in the tail, up to the end
// of the log. The tail is the slot with the highest serial.
func (r *replay) readSlot(b slotHeader, end uint64, tail bool) error {
	if b.base > r.reach || end < b.first {
		return damaged("frames after number %d are missing", r.reach)
	}
	if !r.inGroup {
		r.last = max(r.last, b.base)
	}
	r.base = r.at(b.index)
	if err := readAt(r.disk, r.slot, r.base); err != nil {
		return err
	}
	number, pos, err := r.readFrames(b.first, end)
	if err != nil {
		return err
	}
	r.ends[b.index], r.tried = slot{b.first, number - 1}, number
	if !tail && number <= end || tail && r.laterThan(number, pos) {
		return damaged("frame %d, which was acknowledged, is missing", number)
	}
	return nil
}

// readFrames reads the frames of r.slot from number up to end, or until the next frame is
// not there. It returns the number of the next frame, and its place in the slot.
func (r *replay) readFrames(number, end uint64) (next uint64, pos int, err error) {
	for pos = block; number <= end && pos < len(r.slot); number++ {
		size, err := r.frameAt(pos, number)
		if err == nil && size > 0 {
			err = r.addFrame(r.slot[pos:], number)
		}
		if err != nil {
			return 0, 0, err
		}
		if size == 0 {
			break
		}
		pos += size
	}
	return number, pos, nil
}

// laterThan reports whether r.slot has, from pos on, a sector of a frame after number.
func (r *replay) laterThan(number uint64, pos int) bool {
	for ; pos < len(r.slot); pos += sector {
		if n := r.number(r.slot[pos:], r.base+int64(pos)); n > number && n != rotten {
			return true
		}
	}
	return false
}

// frameAt returns the size of the frame with this number at pos, and 0 if the frame is not
// there or is torn.
func (r *replay) frameAt(pos int, number uint64) (size int, err error) {
	torn := false
	for at, end := pos, pos+sector; at < end; at += sector {
		n := r.number(r.slot[at:], r.base+int64(at))
		if n == number && at == pos {
			size = r.frameSize(int(min(binary.BigEndian.Uint32(r.slot[pos:]), largestSlot)))
			end = pos + size
		}
		switch {
		case n > number || end > len(r.slot):
			return 0, damaged("the sector at byte %d is not what was written there", r.base+int64(at))
		case n < number && at == pos:
			return 0, nil
		case n < number:
			torn = true
		}
	}
	if torn {
		return 0, nil
	}
	return size, nil
}

// addFrame adds a whole frame to its group. With the last part it calls fn for the group.
func (r *replay) addFrame(frame []byte, number uint64) error {
	left, flags := int(binary.BigEndian.Uint32(frame)), binary.BigEndian.Uint32(frame[4:])
	first := flags&flagFirst != 0
	if first == r.inGroup && (first || number > r.after) {
		return damaged("a part of the group with frame %d is missing", number)
	}
	if first {
		r.group, r.inGroup = r.group[:0], true
	}
	for begin := lead; left > 0; frame, begin = frame[sector:], 0 {
		n := min(left, cargo-begin)
		r.group = append(r.group, frame[begin:][:n]...)
		left -= n
	}
	if flags&flagLast == 0 {
		return nil
	}
	r.inGroup, r.last = false, number
	if number <= r.after {
		return nil
	}
	return r.fn(number, r.group)
}
