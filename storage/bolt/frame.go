package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/seed-55daa01a/lapse/storage"
)

// A frame is what one group puts and deletes, as the journal has it. In big-endian order:
//
//	4   CRC-32 (Castagnoli) of everything behind it
//	4   length of the entries
//	16  the journal's own name, which nobody can guess who fills a record's data
//	8   its number: the frame that was written before it has one less
//	…   entries: ID, length of the encoded record behind it, and that record
//
// An entry of length deletedLen deletes. One of the zero ID, which no token has, is how
// far time has come (mark.go).
const (
	frameHeader = 4 + 4 + len(journalName{}) + 8
	entryHeader = 16 + 4
	deletedLen  = math.MaxUint32
)

// blockLen is what a frame takes a multiple of, from a multiple of it: no frame shares
// with another one what a disk may write as one, so a torn write takes none that was
// durable.
const blockLen = 4 << 10

func inBlocks(n int) int { return (n + blockLen - 1) / blockLen * blockLen }

type journalName [16]byte

// frame is one that was read.
type frame struct {
	seq     uint64
	sum     uint32
	entries []byte
}

// frameLen returns how long the frame of ops is.
func frameLen(ops []*op) int {
	n := frameHeader + entryHeader + markLen
	for _, o := range ops {
		n += o.bytes()
	}
	return n
}

// appendFrame appends to b, which is empty, the frame of ops, and mark unless it is nil.
func appendFrame(b []byte, name journalName, seq uint64, ops []*op, mark []byte) []byte {
	b = append(b, make([]byte, 8)...)
	b = append(b, name[:]...)
	b = binary.BigEndian.AppendUint64(b, seq)
	for _, o := range ops {
		for i := range o.puts {
			b = appendEntry(b, &o.puts[i].id, o.puts[i].value)
		}
		for i := range o.deletes {
			b = appendEntry(b, &o.deletes[i], nil)
		}
	}
	if mark != nil {
		b = appendEntry(b, new(storage.ID), mark)
	}
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-frameHeader))
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// appendEntry appends an entry of id to b: what it puts, or that it deletes if value is
// nil.
func appendEntry(b []byte, id *storage.ID, value []byte) []byte {
	b = append(b, id[:]...)
	if value == nil {
		return binary.BigEndian.AppendUint32(b, deletedLen)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// parseFrame returns the frame of that name that b begins with. What is not whole is
// none.
func parseFrame(b []byte, name journalName) (f frame, ok bool) {
	if len(b) < frameHeader || journalName(b[8:]) != name {
		return f, false
	}
	n := uint64(binary.BigEndian.Uint32(b[4:]))
	if n > uint64(len(b)-frameHeader) {
		return f, false
	}
	f = frame{
		seq: binary.BigEndian.Uint64(b[8+len(name):]), sum: binary.BigEndian.Uint32(b),
		entries: b[frameHeader : frameHeader+int(n)],
	}
	return f, crc32.Checksum(b[4:frameHeader+int(n)], castagnoli) == f.sum
}

// changes appends to list what f does, in its order, and returns how far it says that
// time has come, or nil.
func (f *frame) changes(list []change) (_ []change, mark []byte, err error) {
	for b := f.entries; len(b) > 0; {
		if len(b) < entryHeader {
			return nil, nil, errFrame
		}
		c := change{id: storage.ID(b)}
		n := binary.BigEndian.Uint32(b[len(c.id):])
		b = b[entryHeader:]
		if n != deletedLen {
			if uint64(n) > uint64(len(b)) {
				return nil, nil, errFrame
			}
			c.value, b = b[:n:n], b[n:]
		}
		if c.id == (storage.ID{}) {
			mark = c.value
			continue
		}
		list = append(list, c)
	}
	return list, mark, nil
}

// changesOf returns what the first n of frames do, in their order, and how far they say
// that time has come, or nil. It stops behind as many changes as most.
func changesOf(frames []frame, most int) (all []change, mark []byte, n int, err error) {
	size := 0
	for i := range frames {
		size += len(frames[i].entries)
	}
	all = make([]change, 0, min(size/(entryHeader+fixedLen), most))
	for n < len(frames) && len(all) < most {
		var m []byte
		if all, m, err = frames[n].changes(all); err != nil {
			return nil, nil, 0, err
		}
		if n++; m != nil {
			mark = m
		}
	}
	return all, mark, n, nil
}

var errFrame = fmt.Errorf("%w: what the journal holds cannot be read", storage.ErrCorrupt)

// change is what becomes of a record: value, or, where that is nil, nothing.
type change struct {
	id    storage.ID
	value []byte
}
