package bolt

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// How far time has come is a value of the bucket that holds the schema, which lies on a
// page that every commit writes. In big-endian order:
//
//	8      At
//	4      Epoch
//	3 × 8  Since, Quiet, Behind
//	4      CRC-32 (Castagnoli) of the key and everything before
//
// Instants are Unix milliseconds; the zero Time is what it is in that count. The sequence
// of the bucket is 1 once there is a mark, so that one that is lost is missed.
const markLen = 8 + 4 + 3*8 + sumLen

// Marks implements storage.Marker. They are in the file with whatever is written next,
// and within Options.FlushEvery once they are a minute ahead of that, and when s is
// closed. A mark that is damaged, lost, or older than a record ends every token.
func (s *Store) Marks() *storage.Marks { return s.marks }

// readMark returns how far time had come when btx was made, and whether that can be
// believed.
func readMark(btx *bbolt.Tx) (m storage.Mark, ok bool) {
	bucket := btx.Bucket(metaBucket)
	v := bucket.Get(markKey)
	if v == nil {
		return m, bucket.Sequence() == 0
	}
	return parseMark(v)
}

func parseMark(v []byte) (m storage.Mark, ok bool) {
	if len(v) != markLen || checksum(markKey, v[:markLen-sumLen]) != binary.BigEndian.Uint32(v[markLen-sumLen:]) {
		return m, false
	}
	m.Epoch = binary.BigEndian.Uint32(v[8:])
	for at, t := range map[int]*time.Time{0: &m.At, 12: &m.Since, 20: &m.Quiet, 28: &m.Behind} {
		*t = time.UnixMilli(int64(binary.BigEndian.Uint64(v[at:]))).UTC()
	}
	return m, true
}

// encodeMark returns m as it is stored.
func encodeMark(m storage.Mark) []byte {
	b := make([]byte, 0, markLen)
	b = binary.BigEndian.AppendUint64(b, uint64(m.At.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, m.Epoch)
	for _, t := range [3]time.Time{m.Since, m.Quiet, m.Behind} {
		b = binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
	}
	return binary.BigEndian.AppendUint32(b, crc32.Update(crc32.Checksum(markKey, castagnoli), castagnoli, b))
}

// putMark stores an encoded mark, unless it is nil.
func putMark(btx *bbolt.Tx, mark []byte) error {
	if mark == nil {
		return nil
	}
	bucket := btx.Bucket(metaBucket)
	if bucket.Sequence() == 0 {
		if err := bucket.SetSequence(1); err != nil {
			return err
		}
	}
	return bucket.Put(markKey, mark)
}

// believe returns the mark that a store begins with whose file holds m, or one that
// cannot be believed, and records up to the given epoch.
func believe(m storage.Mark, ok bool, epoch uint32) storage.Mark {
	if ok && epoch <= m.Epoch {
		return m
	}
	return storage.Mark{Epoch: max(epoch, m.Epoch) + 1}
}
