package bolt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// journal is where a group is made durable, with one write and one sync: a place within
// the file that was written before, so that the file system has nothing to note of its
// own. It has two halves. Frames fill one of them, one behind the other; then they go on
// in the other one, while what is in the first is merged into the tree of bbolt. A half
// is written over only when both meta pages lead to a tree that has all of it.
//
// Frames are numbered without a gap, and the tree says up to which number it has them.
// Whoever opens the file merges those behind that number; if one is missing before the
// last, the file is damaged.
type journal struct {
	file *os.File // what is written to it is durable at once, where there is such a thing
	name journalName
	at   int64 // of the first half
	half int   // how long each is

	end  int64  // of the frames, in the file
	left int    // behind them, in the half that they are in
	in   int    // which half that is
	seq  uint64 // of the last frame
	page []byte
	sum  uint32 // of the frame that was tried last

	write func(j *journal, b []byte, at int64) error // writeThrough; tests put a disk that fails in its place
}

// begin has the next frame written to the beginning of a half.
func (j *journal) begin(half int) {
	j.in, j.end, j.left = half, j.at+int64(half*j.half), j.half
}

// fits reports whether there is room for a frame of n bytes in the half that is being
// filled.
func (j *journal) fits(n int) bool { return inBlocks(n) <= j.left }

// add makes ops durable, and mark unless it is nil, in one frame, which fits. happened
// reports, where there is an error, that they may be durable all the same: whoever
// opens the file will see.
func (j *journal) add(ops []*op, mark []byte) (happened bool, err error) {
	b := appendFrame(j.page[:0], j.name, j.seq+1, ops, mark)
	n := inBlocks(len(b))
	b = append(b, make([]byte, n-len(b))...)
	j.page, j.sum = b, binary.BigEndian.Uint32(b)
	if cap(j.page) > maxKept {
		j.page = nil
	}
	if err := j.write(j, b, j.end); err != nil {
		return !j.undo(b), err
	}
	j.seq++
	j.end, j.left = j.end+int64(n), j.left-n
	return false, nil
}

// maxKept is how much memory is kept for the next frame.
const maxKept = 1 << 20

// undo reports whether b, which could not be written as it should have been, is not in
// the file and never will be.
func (j *journal) undo(b []byte) bool {
	is := make([]byte, len(b))
	if _, err := j.file.ReadAt(is, j.end); err == nil {
		if f, whole := parseFrame(is, j.name); !whole || f.seq != j.seq+1 {
			return true
		}
	}
	return j.write(j, make([]byte, blockLen), j.end) == nil
}

// writeThrough writes b at, durably.
func (j *journal) writeThrough(b []byte, at int64) error {
	_, err := j.file.WriteAt(b, at)
	if err == nil && !writesThrough {
		err = syncData(j.file)
	}
	return err
}

// after returns the frames behind number seq, in their order. Nobody writes to the
// halves that it reads.
func (j *journal) after(seq uint64, halves ...int) ([]frame, error) {
	var found []frame
	for _, half := range halves {
		b := make([]byte, j.half)
		if _, err := j.file.ReadAt(b, j.at+int64(half*j.half)); err != nil {
			return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
		}
		for len(b) > 0 {
			n := blockLen
			if f, ok := parseFrame(b, j.name); ok {
				n = inBlocks(frameHeader + len(f.entries))
				if f.seq > seq {
					found = append(found, f)
				}
			}
			b = b[n:]
		}
	}
	slices.SortFunc(found, func(a, b frame) int { return cmp.Compare(a.seq, b.seq) })
	for i := range found {
		if found[i].seq != seq+1+uint64(i) {
			return nil, errGap
		}
	}
	return found, nil
}

// has reports whether the frame of number seq, behind which there is none, has that
// checksum. It may have been merged, if nothing has been written over it.
func (j *journal) has(seq uint64, sum uint32) bool {
	frames, err := j.after(seq-1, 0, 1)
	return err == nil && len(frames) == 1 && frames[0].sum == sum
}

var errGap = fmt.Errorf("%w: %w", storage.ErrCorrupt, errors.New("a part of its journal is missing; restore the file from a backup"))
