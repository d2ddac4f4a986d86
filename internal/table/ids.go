package table

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// ids finds cells by ID. Each shard is a table of words with open addressing: the
// upper half is the tag of an ID, the lower half the number of its cell. Readers
// look without a lock; who writes holds the table's. Where a reader finds no
// cell there was an instant, since it began, at which there was none.
type ids [64]shard

type shard struct {
	words      atomic.Pointer[[]uint64] // read and written atomically once it is here
	used       int                      // words that are not empty
	tombstones int                      // of those, the ones whose ID was removed
}

// tombstone stands where an ID was and others may come behind it.
const tombstone = 1 << 32

// key is an ID as the table looks for it.
type key struct{ hash, high, low uint64 }

func (t *Table) key(id *storage.ID) key {
	return key{maphash.Bytes(t.seed, id[:]), binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])}
}

func (k key) tag() uint32           { return uint32(k.hash) }
func (x *ids) shard(k key) *shard   { return &x[k.hash>>58] }
func home(tag uint32, size int) int { return int(uint64(tag) * uint64(size) >> 32) }

// find returns the cell whose ID is k, or nil. Unless the table's lock is held, it
// may be another one's by now.
func (t *Table) find(k key) (uint32, *cell) {
	p := t.ids.shard(k).words.Load()
	if p == nil {
		return 0, nil
	}
	words := *p
	for i := home(k.tag(), len(words)); ; {
		w := atomic.LoadUint64(&words[i])
		if w == 0 {
			return 0, nil
		}
		if slot := uint32(w); uint32(w>>32) == k.tag() && slot != 0 {
			if c := t.slabs.cell(slot); c.load(wHigh) == k.high && c.load(wLow) == k.low {
				return slot, c
			}
		}
		if i++; i == len(words) {
			i = 0
		}
	}
}

// insert files slot under k, which must not be there.
func (x *ids) insert(k key, slot uint32) {
	s := x.shard(k)
	s.growIfFull()
	words := *s.words.Load()
	i := home(k.tag(), len(words))
	for uint32(words[i]) != 0 {
		if i++; i == len(words) {
			i = 0
		}
	}
	if words[i] == 0 {
		s.used++
	} else {
		s.tombstones--
	}
	atomic.StoreUint64(&words[i], uint64(k.tag())<<32|uint64(slot))
}

// remove takes slot out from under k, where it must be.
func (x *ids) remove(k key, slot uint32) {
	s := x.shard(k)
	words := *s.words.Load()
	i := home(k.tag(), len(words))
	for uint32(words[i]) != slot {
		if i++; i == len(words) {
			i = 0
		}
	}
	atomic.StoreUint64(&words[i], tombstone)
	s.tombstones++
	// At the end of a run nothing comes behind, so the word may be empty again.
	if words[(i+1)%len(words)] != 0 {
		return
	}
	for words[i] == tombstone {
		atomic.StoreUint64(&words[i], 0)
		s.used--
		s.tombstones--
		if i--; i < 0 {
			i = len(words) - 1
		}
	}
}

// A small shard is roomy, a large one full to at most 7/8.
const (
	leastWords = 16
	roomyWords = 256
)

// growIfFull leaves at least two empty words, and the words much as full as they
// should be.
func (s *shard) growIfFull() {
	size := 0
	if p := s.words.Load(); p != nil {
		size = len(*p)
	}
	most := size - size/8
	if size < roomyWords {
		most = size / 2
	}
	if s.used < most {
		return
	}
	s.rebuild(wordsFor(s.used-s.tombstones, size))
}

// wordsFor returns how many words n IDs should have that have outgrown size, or
// littered it with removed ones.
func wordsFor(n, size int) int {
	switch {
	case n < roomyWords*2/5:
		return max(leastWords, 4*n)
	case n <= size*7/10 && n > size*4/10:
		return size
	}
	return n * 10 / 7
}

// rebuild moves the IDs to new words. Their order by tag hardly changes, so that it
// walks through both in step, and it looks at no cell.
func (s *shard) rebuild(size int) {
	words := make([]uint64, size)
	if old := s.words.Load(); old != nil {
		for _, w := range *old {
			if uint32(w) == 0 {
				continue
			}
			at := home(uint32(w>>32), size)
			for words[at] != 0 {
				if at++; at == size {
					at = 0
				}
			}
			words[at] = w
		}
	}
	s.used, s.tombstones = s.used-s.tombstones, 0
	s.words.Store(&words)
}
