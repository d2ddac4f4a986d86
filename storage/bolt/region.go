package bolt

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// The journal lies within a value that bbolt writes once and then never moves, as nobody
// opens its bucket to write: the journal's name, a checksum of that and of how long the
// halves are, and behind it, from the next block on, both halves. A journal of another
// name, or another length, would be an empty one.
var (
	journalBucket = []byte("lapse.journal") // holds journalKey alone
	journalKey    = []byte("halves")
)

const (
	leastHalf = 256 << 10 // bytes
	mostHalf  = 2 << 20   // unless a single op takes more
	halfShare = 8         // of the file is what a half may be
)

// regionHead is how much of the region is in front of the block where halves may begin.
const regionHead = len(journalName{}) + sumLen

func regionLen(half int) int { return regionHead + blockLen + 2*half }

// regionSum returns the checksum of a region with a journal of that name.
func regionSum(name []byte, half int) uint32 {
	return checksum(name, binary.BigEndian.AppendUint64(nil, uint64(half)))
}

// putJournal makes room for an empty journal in place of the one that is there, if any.
func putJournal(btx *bbolt.Tx, half int) error {
	bucket, err := btx.CreateBucketIfNotExists(journalBucket)
	if err != nil {
		return err
	}
	region := make([]byte, regionLen(half))
	name := region[:len(journalName{})]
	if _, err := io.ReadFull(rand.Reader, name); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(region[len(name):], regionSum(name, half))
	return bucket.Put(journalKey, region)
}

// findJournal returns the journal of the file that btx reads, to be filled from its
// first half on.
func findJournal(btx *bbolt.Tx, file *os.File) (j journal, err error) {
	bucket := btx.Bucket(journalBucket)
	if bucket == nil {
		return j, errNoJournal
	}
	page := int64(bucket.Root()) * int64(btx.DB().Info().PageSize)
	head := make([]byte, pageHeader+elementLen+len(journalKey)+regionHead)
	if _, err := file.ReadAt(head, page); err != nil {
		return j, err
	}
	el := head[pageHeader:]
	order := binary.NativeEndian
	pos, keyLen, valueLen := int(order.Uint32(el[4:])), int(order.Uint32(el[8:])), int(order.Uint32(el[12:]))
	j.half = (valueLen - regionLen(0)) / 2
	if order.Uint16(head[pageFlags:]) != leafPage || order.Uint16(head[pageCount:]) != 1 || pos != elementLen ||
		keyLen != len(journalKey) || j.half < blockLen || j.half%blockLen != 0 || valueLen != regionLen(j.half) {
		return j, errNoJournal
	}
	at := len(head) - regionHead
	j.name = journalName(head[at:])
	if string(head[at-keyLen:at]) != string(journalKey) || binary.BigEndian.Uint32(head[at+len(j.name):]) != regionSum(j.name[:], j.half) {
		return j, errNoJournal
	}
	j.at = int64(inBlocks(int(page) + len(head)))
	j.begin(0)
	return j, nil
}

var errNoJournal = fmt.Errorf("%w: %w", storage.ErrCorrupt, errors.New("its journal is not there; restore the file from a backup"))
