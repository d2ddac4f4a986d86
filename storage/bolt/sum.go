package bolt

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// sum stands for all records of a file at once. Each commit brings it up to date, so
// that a page which is sound in itself, but older than the others, is noticed: the
// disk has lost a write, and a token that was ended might live again.
//
// It finds accidents. Who can write the file can make it fit.
type sum struct{ records, marks uint64 }

var (
	sumKey  = []byte("sum") // in metaBucket; a file that was never written to has none
	errLost = errors.New("its records are not the ones that were written last: a page is older than the others, or some are missing; " +
		"restore the file from a backup")
)

func (s *sum) add(key, value []byte) {
	s.records++
	s.marks += mark(key, value)
}

func (s *sum) remove(key, value []byte) {
	s.records--
	s.marks -= mark(key, value)
}

// mark returns 64 bits that differ between records, and between versions of one. The
// record's own checksum, at its end, is half of what goes in; over both together that
// polynomial would say the same for all.
func mark(key, value []byte) uint64 {
	m := uint64(crc32.Update(crc32.ChecksumIEEE(key), crc32.IEEETable, value)) << 32
	if len(value) >= sumLen {
		m |= uint64(binary.BigEndian.Uint32(value[len(value)-sumLen:]))
	}
	m = (m ^ m>>32) * 0xd6e8feb86659fd93 // spread over all bits, or differences would cancel out
	m = (m ^ m>>32) * 0xd6e8feb86659fd93
	return m ^ m>>32
}

// put writes s, and of which transaction it is, since the page that it lies on may
// itself be the older one.
func (s *sum) put(btx *bbolt.Tx) error {
	value := binary.BigEndian.AppendUint64(nil, s.records)
	value = binary.BigEndian.AppendUint64(value, s.marks)
	return btx.Bucket(metaBucket).Put(sumKey, binary.BigEndian.AppendUint64(value, uint64(btx.ID())))
}

// check compares s, which was made from all records, with what the last commit said.
// That is transaction tx, or, under a meta page that mirrors it, the one after.
func (s *sum) check(btx *bbolt.Tx, tx uint64, mirrored bool) error {
	value := btx.Bucket(metaBucket).Get(sumKey)
	if value == nil {
		return nil
	}
	if len(value) != 3*8 {
		return errLost
	}
	said := sum{binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])}
	of := binary.BigEndian.Uint64(value[2*8:])
	switch {
	case *s != said, of != tx && of != tx+1:
		return errLost
	case of == tx+1 && !mirrored:
		return errMetaLost // the newest one, which is as it was some time ago
	}
	return nil
}
