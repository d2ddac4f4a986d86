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

var errLost = errors.New("its records are not the ones that were written last: a page is older than the others, or some are missing; " +
	"restore the file from a backup")

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
	return spread(m) // or differences would cancel out
}

// spread makes each bit of m depend on all of them.
func spread(m uint64) uint64 {
	const odd = 0xd6e8feb86659fd93
	m = (m ^ m>>32) * odd
	m = (m ^ m>>32) * odd
	return m ^ m>>32
}

// word returns what a file says of s, as it is by transaction tx: never 0, which a file
// says that was never written to. It holds tx too, since the page that it lies on may
// itself be the older one.
func (s *sum) word(tx uint64) uint64 {
	return max(spread(s.marks^spread(s.records^spread(tx))), 1)
}

// put writes s as the sequence of the bucket of tokens, which lies beside the number of
// its root page.
func (s *sum) put(tokens *bbolt.Bucket) error {
	return tokens.SetSequence(s.word(uint64(tokens.Tx().ID())))
}

// check compares s, which was made from all records, with what the last commit said.
// That is transaction tx, or, under a meta page that mirrors it, the one after.
func (s *sum) check(tokens *bbolt.Bucket, tx uint64, mirrored bool) error {
	switch tokens.Sequence() {
	case 0, s.word(tx):
		return nil
	case s.word(tx + 1):
		if mirrored {
			return nil
		}
		return errMetaLost // the newest one, which is as it was some time ago
	}
	return errLost
}
