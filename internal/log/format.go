package log

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
)

const (
	magic      = "lapse log\n"
	version    = 2
	oldVersion = 1 // each frame takes whole blocks

	block  = 4096
	sector = 512
	cargo  = 500 // bytes of a sector before its number
	summed = 508 // bytes of a sector before its sum
	lead   = 8   // bytes of a frame before its part

	defaultSlot = 256 << 10
	largestSlot = 1 << 20

	flagFirst = 1
	flagLast  = 2

	rotten = math.MaxUint64 // the number of a sector that this log has not written
)

// head is the beginning of block 0.
type head struct {
	Magic   [len(magic)]byte
	Version uint16
	ID      ID
	Parent  Parent
	Slot    uint32 // bytes
}

// at returns the place of slot i in the file.
func (h *head) at(i int) int64 { return block + int64(i)*int64(h.Slot) }

// longest returns how many bytes of a group one frame holds at most.
func (h *head) longest() int { return (int(h.Slot)-block)/sector*cargo - lead }

// frameSize returns how many bytes of the file a part of n bytes takes.
func (h *head) frameSize(n int) int {
	size := (n + lead + cargo - 1) / cargo * sector
	if h.Version == oldVersion {
		size = blocks(size)
	}
	return size
}

// blocks returns n, rounded up to whole blocks.
func blocks(n int) int { return (n + block - 1) / block * block }

func sum(seed uint32, b []byte) uint32 {
	return crc32.Update(seed, crc32.MakeTable(crc32.Castagnoli), b)
}

// sum returns the checksum of the sector s whose place in the file is at.
func (h *head) sum(s []byte, at int64) uint32 {
	var place [8]byte
	binary.BigEndian.PutUint64(place[:], uint64(at))
	return sum(sum(sum(0, h.ID[:]), place[:]), s[:summed])
}

// seal puts number and sum at the end of a sector.
func (h *head) seal(s []byte, number uint64, at int64) {
	binary.BigEndian.PutUint64(s[cargo:], number)
	binary.BigEndian.PutUint32(s[summed:], h.sum(s, at))
}

// number returns the number of a sector: 0 if the sector is zero, and rotten if this log
// has not written the sector at this place.
func (h *head) number(s []byte, at int64) uint64 {
	switch {
	case isZero(s[:sector]):
		return 0
	case binary.BigEndian.Uint32(s[summed:]) != h.sum(s, at):
		return rotten
	}
	return binary.BigEndian.Uint64(s[cargo:])
}

func isZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// appendFrame appends to buf the frame of a part, for the place at.
func (h *head) appendFrame(buf, part []byte, flags uint32, number uint64, at int64) []byte {
	begin, size := len(buf), h.frameSize(len(part))
	buf = slices.Grow(buf, size)[:begin+size]
	frame := buf[begin:]
	binary.BigEndian.PutUint32(frame, uint32(len(part)))
	binary.BigEndian.PutUint32(frame[4:], flags)
	for i, used := 0, lead; i < size; i, used = i+sector, 0 {
		s := frame[i : i+sector]
		n := copy(s[used:cargo], part)
		part = part[n:]
		clear(s[used+n : cargo])
		h.seal(s, number, at+int64(i))
	}
	return buf
}

// slotHeader is the content of the header of a slot.
type slotHeader struct {
	index       int // in the file
	serial      uint64
	base, first uint64
}

// header returns the first block of a slot.
func (h *head) header(b slotHeader) []byte {
	buf := make([]byte, block)
	copy(buf, h.ID[:])
	binary.BigEndian.PutUint64(buf[16:], b.base)
	binary.BigEndian.PutUint64(buf[24:], b.first)
	h.seal(buf[:sector], b.serial, h.at(b.index))
	return buf
}

// parseHeader reads the first sector of slot i. The serial is 0 if the slot was never begun.
func (h *head) parseHeader(s []byte, i int) (slotHeader, error) {
	b := slotHeader{i, h.number(s, h.at(i)), binary.BigEndian.Uint64(s[16:]), binary.BigEndian.Uint64(s[24:])}
	if b.serial == rotten || b.serial > 0 && b.first <= b.base {
		return b, damaged("the header of slot %d is not one that was written", i)
	}
	return b, nil
}

// block returns block 0.
func (h *head) block() ([]byte, error) {
	b, err := binary.Append(make([]byte, 0, block), binary.BigEndian, h)
	b = b[:block]
	binary.BigEndian.PutUint32(b[summed:], sum(0, b[:summed]))
	return b, err
}

// parse reads the first sector of a file.
func (h *head) parse(s []byte) error {
	_, err := binary.Decode(s, binary.BigEndian, h)
	switch {
	case err != nil || len(s) < sector || string(h.Magic[:]) != magic:
		return damaged("it does not begin as a log does")
	case binary.BigEndian.Uint32(s[summed:]) != sum(0, s[:summed]):
		return damaged("its first sector is not what was written")
	case h.Version != version && h.Version != oldVersion:
		return ErrNewer
	case h.Slot%block != 0 || h.Slot < 2*block || h.Slot > largestSlot:
		return damaged("its slots have %d bytes", h.Slot)
	}
	return nil
}
