// Package log keeps groups of bytes in an append-only file that lies beside a
// database. A group takes one durable write, and another one where a slot begins, where
// the log grows, and for each further slot that the group needs. The groups that the
// database has merged are freed, and their place in the file is used again. The package
// knows nothing of the database and does not look into a group.
//
// # Format
//
// All numbers are big-endian. A block is 4 KiB, a sector is 512 bytes, and a sector is
// written whole or not at all. A write that is cut short harms no sector in which it changes
// nothing: version 2 relies on that for the frames that a block has already.
//
// Block 0 is written once, by Create. Its first sector, in every version of the
// format, begins with the magic "lapse log\n" and the version (uint16), and ends in the
// CRC-32C of its first 508 bytes. In versions 1 and 2 there follow the ID of the log [16], the
// log ID [16] and the number (uint64) of its parent, and the size of a slot (uint32).
// The rest of the block is zero.
//
// Slots of 256 KiB follow. A slot is zero, durably, when it is appended, and is used
// again in place later. A slot begins with a block whose first sector is the header: the
// ID of the log [16], base (uint64), first (uint64). Frames follow from the second block
// on, each in whole sectors. In version 1, which is read and continued, each takes whole
// blocks.
//
// Every sector of a header and of a frame, with those that only fill its last block,
// ends in a number (uint64) and a CRC-32C over the ID of the log, the place of the
// sector in the file (uint64), and the first 508 bytes of the sector. In a frame the
// number is that of the frame, in a header it is the serial of the slot.
//
// Each write covers whole blocks, which spares the system to read them. So a frame that
// begins within a block is written with the frames before it in that block, whose bytes stay
// the same, and with zero sectors behind it.
//
// A frame begins with the length of its part (uint32) and flags (uint32): 1 for the
// first part of a group, 2 for the last. The parts follow each other in consecutive
// frames. The bytes of the part fill 500 bytes of each sector, 492 of the first.
//
// Serials rise: each time a slot is begun, it gets the next serial. Numbers of frames rise
// too, and none is given twice: of two valid sectors in one place the one with the smaller
// number is older. base is the number of the last frame that counts before the slot. first
// is the number of the first frame in the slot; it is larger than every number that was
// tried before.
//
// # What counts
//
// Slots are read in the order of their serials. Of a slot the frames from first up to the
// least base of all later slots count, and all of them must be there. Frames above that
// are void: their write failed, and a later slot says so. In the slot with the highest
// serial all frames count up to the end of the log. At the place of the next frame there
// is:
//
//   - a first sector that is zero or older: the log ends here;
//   - a first sector of that frame, and others that are zero or older: the frame is torn,
//     it was never acknowledged, and the log ends here;
//   - a sector that is none of these: the frame is rotten, it may have been acknowledged,
//     and the log is damaged;
//   - behind the end of the log, a sector of a later frame: the frame that is missing was
//     acknowledged, and the log is damaged.
//
// A group counts when all its parts do. A header is zero (the slot was never used) or
// valid; every other header is damage. Of a slot that is cut off at the end of the file,
// the first sector must be zero.
//
// A file that lost its last slots as a whole, or its last writes as a whole, looks like a
// file to which they were never written. So the caller compares the last number with the
// number up to which it has merged.
package log
