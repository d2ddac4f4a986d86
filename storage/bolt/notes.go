package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// A note is what a transaction does to the subjects some of whose tokens it ends. It is
// written before the first sync of its transaction, and so is durable before its meta
// page, which may be lost, is even written. Who opens the file at an earlier transaction
// does the same: all of what an Update did, or nothing.
//
// Notes lie in two slots, by the parity of their transactions: the one before, whose
// meta page is the other one, keeps its own until the next. The slots are within a
// value that bbolt wrote when the file was made and never moves, as nobody opens its
// bucket to write.
type notes struct {
	file *os.File
	at   int64 // of the first slot; 0 in a file without them
	page []byte
	ends map[string]struct{} // the subjects, while a note is made
}

var (
	notesBucket = []byte("lapse.notes") // holds noteKey alone
	noteKey     = []byte("slots")
)

const (
	slotLen    = 32 << 10
	slotAlign  = 4 << 10 // the slots share no sector with each other, or with bbolt's part of the page
	slotsLen   = 2*slotLen + slotAlign
	noteHeader = 4 + 8 + 4 // CRC-32 (Castagnoli) of the rest, transaction, length of the entries
	noteEntry  = 16 + 4    // ID, length of the encoded record behind it
)

// makeNotes makes room for notes in a new file.
func makeNotes(btx *bbolt.Tx) error {
	bucket, err := btx.CreateBucket(notesBucket)
	if err != nil {
		return err
	}
	return bucket.Put(noteKey, make([]byte, slotsLen))
}

// clear empties both slots.
func (n *notes) clear() error {
	if n.at == 0 {
		return nil
	}
	_, err := n.file.WriteAt(make([]byte, 2*slotLen), n.at)
	return err
}

// findNotes returns the slots of the file that btx reads.
func findNotes(btx *bbolt.Tx, file *os.File) (notes, error) {
	bucket := btx.Bucket(notesBucket)
	if bucket == nil {
		return notes{}, nil
	}
	size := int64(btx.DB().Info().PageSize)
	head := make([]byte, pageHeader+elementLen+len(noteKey)+slotsLen)
	page := int64(bucket.Root()) * size
	if _, err := file.ReadAt(head, page); err != nil && err != io.EOF {
		return notes{}, err
	}
	els, err := elements(nil, head, true)
	if err != nil || len(els) != 1 || string(els[0].key) != string(noteKey) || len(els[0].value) != slotsLen ||
		binary.NativeEndian.Uint16(head[pageFlags:]) != leafPage {
		return notes{}, fmt.Errorf("%w: the room for what its transactions end is not there", storage.ErrCorrupt)
	}
	at := page + pageHeader + elementLen + int64(len(noteKey))
	return notes{file: file, at: (at + slotAlign - 1) / slotAlign * slotAlign}, nil
}

func (n *notes) slot(tx uint64) int64 { return n.at + int64(tx%2)*slotLen }

// write notes for transaction tx what ops do to the subjects of whose tokens they end
// some, durably with the next sync, and reports whether the slot has anything of that:
// nothing if it does not fit.
func (n *notes) write(tx uint64, ops []*op) (noted bool, err error) {
	if n.at == 0 {
		return false, nil
	}
	n.collect(ops)
	b := append(n.page[:0], make([]byte, noteHeader)...)
	for _, o := range ops {
		if o.mark {
			return false, nil
		}
		if _, ends := n.ends[o.subject]; !ends && !o.ends {
			continue
		}
		for i := range o.puts {
			p := &o.puts[i]
			if len(b)+noteEntry+len(p.value) > slotLen {
				return false, nil
			}
			b = append(b, p.id[:]...)
			b = binary.BigEndian.AppendUint32(b, uint32(len(p.value)))
			b = append(b, p.value...)
		}
	}
	n.page = b
	binary.BigEndian.PutUint64(b[4:], tx)
	binary.BigEndian.PutUint32(b[12:], uint32(len(b)-noteHeader))
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	written, err := n.file.WriteAt(b, n.slot(tx))
	return written > 0, err
}

// collect finds the subjects some of whose tokens are ended, if they matter: where
// every op ends some, all of them are noted.
func (n *notes) collect(ops []*op) {
	clear(n.ends)
	if !slices.ContainsFunc(ops, func(o *op) bool { return !o.ends && o.subject != "" }) {
		return
	}
	if n.ends == nil {
		n.ends = make(map[string]struct{})
	}
	for _, o := range ops {
		if o.ends && o.subject != "" {
			n.ends[o.subject] = struct{}{}
		}
	}
}

// erase takes back the note of tx, whose commit never happened, durably.
func (n *notes) erase(tx uint64) error {
	if _, err := n.file.WriteAt(make([]byte, noteHeader), n.slot(tx)); err != nil {
		return err
	}
	return syncData(n.file)
}

// after returns what is noted of transactions later than tx, the earlier of them
// first. A note that is not whole was never finished, and nobody was told of its ends.
func (n *notes) after(tx uint64) ([]entry, error) {
	if n.at == 0 {
		return nil, nil
	}
	var first, second []entry
	var firstTx uint64
	for parity := range uint64(2) {
		b := make([]byte, slotLen)
		if _, err := n.file.ReadAt(b, n.slot(parity)); err != nil {
			return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
		}
		of, noted := readNote(b)
		switch {
		case of%2 != parity || of <= tx:
		case first == nil || of < firstTx:
			first, second, firstTx = noted, first, of
		default:
			second = noted
		}
	}
	return append(first, second...), nil
}

// readNote returns the note at the beginning of b, or nothing.
func readNote(b []byte) (tx uint64, noted []entry) {
	order := binary.BigEndian
	tx, n := order.Uint64(b[4:]), order.Uint32(b[12:])
	if n > slotLen-noteHeader {
		return 0, nil
	}
	sum, b := order.Uint32(b), b[4:noteHeader+n]
	if crc32.Checksum(b, castagnoli) != sum {
		return 0, nil
	}
	for b = b[noteHeader-4:]; len(b) > 0; {
		if len(b) < noteEntry || uint64(order.Uint32(b[16:])) > uint64(len(b)-noteEntry) {
			return 0, nil
		}
		end := noteEntry + order.Uint32(b[16:])
		noted = append(noted, entry{id: storage.ID(b), value: b[noteEntry:end]})
		b = b[end:]
	}
	return tx, noted
}

// recall returns what is noted of transactions later than the newest that is in the
// file, as an op, and the records that it puts. What is damaged is left as it is, and
// nothing that was ended lives again.
func (l *log) recall() (will *op, records []storage.Record, err error) {
	noted, err := l.notes.after(l.tx)
	if err != nil || len(noted) == 0 {
		return nil, nil, err
	}
	will = &op{ends: true}
	err = l.guardEdge(func() error {
		return l.db.View(func(btx *bbolt.Tx) error {
			bucket := btx.Bucket(tokensBucket)
			for _, e := range noted {
				r, err := decode(e.id[:], e.value)
				if err != nil {
					continue
				}
				if value := bucket.Get(e.id[:]); value != nil {
					was, err := decode(e.id[:], value)
					if err != nil || bytes.Equal(value, e.value) || !was.EndedAt.IsZero() && r.EndedAt.IsZero() {
						continue
					}
				}
				will.puts, records = append(will.puts, e), append(records, r)
			}
			return nil
		})
	})
	return will, records, err
}
