package table

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// ids finds cells by ID. Each shard is a hash table of words with open addressing. The upper half
// of a word is the tag of an ID, a part of its hash; the lower half is the number of the cell.
// Readers take no lock; writers hold the table's lock. If a reader finds no cell, there was an
// instant since the look-up began at which there was none.
type ids [64]shard

type shard struct {
	words      atomic.Pointer[[]uint64] // its elements are read and written atomically
	used       int                      // words that are not empty
	tombstones int                      // words that are tombstones; used includes them
}

// tombstone takes the place of a removed ID, since other IDs may lie behind it.
const tombstone = 1 << 32

// key is an ID in the form in which the table looks for it.
type key struct{ hash, high, low uint64 }

func (t *Table) key(id *storage.ID) key {
	return key{maphash.Bytes(t.seed, id[:]), binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])}
}

func (k key) tag() uint32           { return uint32(k.hash) }
func (x *ids) shard(k key) *shard   { return &x[k.hash>>58] }
func home(tag uint32, size int) int { return int(uint64(tag) * uint64(size) >> 32) }

// find returns the cell of the ID k, or nil. Unless the caller holds the table's lock, the cell may
// belong to another record by now.
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
		if ref := uint32(w); uint32(w>>32) == k.tag() && ref != 0 {
			if c := t.slabs.cell(ref); c.load(wHigh) == k.high && c.load(wLow) == k.low {
				return ref, c
			}
		}
		if i++; i == len(words) {
			i = 0
		}
	}
}

// insert files ref under k. k must not be in the index.
func (x *ids) insert(k key, ref uint32) {
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
	atomic.StoreUint64(&words[i], uint64(k.tag())<<32|uint64(ref))
}

// remove removes ref from under k, where it must be.
func (x *ids) remove(k key, ref uint32) {
	s := x.shard(k)
	words := *s.words.Load()
	i := home(k.tag(), len(words))
	for uint32(words[i]) != ref {
		if i++; i == len(words) {
			i = 0
		}
	}
	atomic.StoreUint64(&words[i], tombstone)
	s.tombstones++
	// No ID lies behind the end of a run, so that tombstones there can become empty words.
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

// A shard with fewer than roomyWords words is at most half full, a larger one at most 7/8.
const (
	leastWords = 16
	roomyWords = 256
)

// growIfFull rebuilds a shard that is full to its limit. At least two words are empty afterwards.
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

// wordsFor returns how many words a shard should have for n IDs. size is its present number of
// words, which IDs and tombstones have filled.
func wordsFor(n, size int) int {
	switch {
	case n < roomyWords*2/5:
		return max(leastWords, 4*n)
	case n <= size*7/10 && n > size*4/10:
		return size
	}
	return n * 10 / 7
}

// rebuild moves the IDs to a new array of words. It reads no cell. The order by tag hardly changes,
// so that it walks through both arrays in step.
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
