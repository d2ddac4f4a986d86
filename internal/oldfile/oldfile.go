// Package oldfile reads the old journal of files of schemas 1 and 2, which earlier programs wrote
// without bbolt. The package goes after one release.
//
// The journal is a value of the bucket "lapse.journal". It begins with a name of 16 bytes and a
// checksum; its two halves begin at the next block of the file. A frame begins at a block. In
// big-endian order: a CRC-32 of everything behind it, the length of its entries (4 bytes each),
// the name, the frame's number (8 bytes), and entries: ID, length of the encoded record (4 bytes)
// and that record. The number of the last frame that the tree has is a value of the bucket
// "lapse.meta", and the sum of all records the sequence of the bucket "lapse.tokens".
package oldfile

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
)

// The bucket and the key that a file has no more once it is converted.
const (
	Bucket = "lapse.journal" // of the journal alone
	SeqKey = "merged"        // in the bucket lapse.meta
)

var (
	errSeq     = fmt.Errorf("%w: it does not say how much of its journal it has", boltfile.ErrDamaged)
	errGap     = fmt.Errorf("%w: a part of its journal is missing; restore the file from a backup", boltfile.ErrDamaged)
	errRecords = fmt.Errorf("%w: its records are not the ones that were written last; restore the file from a backup", boltfile.ErrDamaged)
)

const (
	block       = 4 << 10
	nameLen     = 16
	idLen       = 16
	sumLen      = 4
	frameHeader = 4 + 4 + nameLen + 8
	deleted     = math.MaxUint32                  // a length that stands for no record
	halvesAt    = block - 16 - 16 - len("halves") // in the value, behind a page's header, its element and its key
	headLen     = nameLen + sumLen + block        // how much longer the value is than the halves
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Read calls fn, in order, for the entries of the journal of f that the tree does not have. value is
// nil for a record that was deleted, and id is zero for the mark. An error of fn is returned as it
// is. Other errors wrap boltfile.ErrDamaged, or are errors of reading.
func Read(f io.ReaderAt, m boltfile.Meta, fn func(id [16]byte, value []byte) error) error {
	v, err := boltfile.Get(f, m, "lapse.meta", SeqKey)
	if err != nil {
		return err
	}
	if len(v) != 8+sumLen || crc32.Checksum(append([]byte(SeqKey), v[:8]...), castagnoli) != binary.BigEndian.Uint32(v[8:]) {
		return errSeq
	}
	seq := binary.BigEndian.Uint64(v)
	value, err := boltfile.Get(f, m, Bucket, "halves")
	if err != nil {
		return err
	}
	found, err := frames(value)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.number <= seq {
			continue
		}
		if seq++; f.number != seq {
			return errGap
		}
		if err := each(f.entries, fn); err != nil {
			return err
		}
	}
	return nil
}

// CheckRecords compares the records of f with the sum that the last transaction wrote. The error
// wraps boltfile.ErrDamaged if they do not fit, or is an error of reading.
func CheckRecords(f io.ReaderAt, m boltfile.Metas) error {
	said, err := boltfile.Sequence(f, m.Newest, "lapse.tokens")
	if err != nil {
		return err
	}
	var records, fingerprints uint64
	err = boltfile.Walk(f, m.Newest, boltfile.Visitor{Bucket: "lapse.tokens", Pair: func(key, value []byte) error {
		records, fingerprints = records+1, fingerprints+fingerprint(key, value)
		return nil
	}})
	if err != nil {
		return err
	}
	word := func(tx uint64) uint64 { return max(mix(fingerprints^mix(records^mix(tx))), 1) }
	if said == 0 || said == word(m.Newest.Tx) || m.Lost != nil && said == word(m.Newest.Tx+1) {
		return nil
	}
	return errRecords
}

// fingerprint returns 64 bits that differ between records, and between versions of one record.
func fingerprint(key, value []byte) uint64 {
	m := uint64(crc32.Update(crc32.ChecksumIEEE(key), crc32.IEEETable, value)) << 32
	if len(value) >= sumLen {
		m |= uint64(binary.BigEndian.Uint32(value[len(value)-sumLen:]))
	}
	return mix(m)
}

func mix(m uint64) uint64 {
	const odd = 0xd6e8feb86659fd93
	m = (m ^ m>>32) * odd
	m = (m ^ m>>32) * odd
	return m ^ m>>32
}

type frame struct {
	number  uint64
	entries []byte
}

// frames returns the whole frames of the journal in the order of their numbers.
func frames(value []byte) (all []frame, err error) {
	if len(value) < headLen {
		return nil, errGap
	}
	name, half := value[:nameLen], uint64(len(value)-headLen)/2
	if crc32.Checksum(binary.BigEndian.AppendUint64(slices.Clone(name), half), castagnoli) != binary.BigEndian.Uint32(value[nameLen:]) {
		return nil, errGap
	}
	for at := halvesAt; at+frameHeader <= len(value); {
		n := 1
		if f, ok := parse(value[at:], name); ok {
			n = (frameHeader + len(f.entries) + block - 1) / block
			all = append(all, f)
		}
		at += n * block
	}
	slices.SortFunc(all, func(a, b frame) int { return cmp.Compare(a.number, b.number) })
	return all, nil
}

func parse(b, name []byte) (f frame, ok bool) {
	n := uint64(binary.BigEndian.Uint32(b[4:]))
	if string(b[8:8+nameLen]) != string(name) || n > uint64(len(b)-frameHeader) {
		return f, false
	}
	f = frame{binary.BigEndian.Uint64(b[8+nameLen:]), b[frameHeader : frameHeader+int(n)]}
	return f, crc32.Checksum(b[4:frameHeader+int(n)], castagnoli) == binary.BigEndian.Uint32(b)
}

func each(b []byte, fn func(id [16]byte, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < idLen+4 {
			return errGap
		}
		id, n := [idLen]byte(b), binary.BigEndian.Uint32(b[idLen:])
		var value []byte
		if b = b[idLen+4:]; n != deleted {
			if uint64(n) > uint64(len(b)) {
				return errGap
			}
			value, b = b[:n:n], b[n:]
		}
		if err := fn(id, value); err != nil {
			return err
		}
	}
	return nil
}
