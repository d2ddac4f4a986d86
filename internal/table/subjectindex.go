package table

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// subjectIndex finds the records of a subject. They form a list through their cells, the main
// one, whose first record, its leader, is found by hash: the leaders of one bucket are
// chained. A leader has no record before it and keeps the next leader of its bucket there,
// marked by chained. What is put aside is in two other lists.
//
// Buckets are split and merged one at a time, whenever a subject comes or goes, so
// that no call ever waits for a table to grow.
type subjectIndex struct {
	slabs    *slabs
	pieces   []*piece
	buckets  uint32
	count    uint32               // distinct subjects
	dead     map[uint32]deadLists // by the leader, of the subjects that have any
	restored uint64               // how often a record has come back from there
}

// piece is some of the buckets, as many to a cache line as fit.
type piece [bucketsPiece / bucketsLine]line

// line is the first leaders of buckets, and for each a bit for every hash that one
// of its leaders may have. A new subject mostly learns from that alone that it is
// new, without a look at cells elsewhere in memory.
type line struct {
	first  [bucketsLine]uint32
	hashes [bucketsLine]uint8
	_      [4]byte
}

const (
	chained      = 1 << 31
	bucketsLine  = 12
	bucketsPiece = 336 * bucketsLine
	splitsAtOnce = 64
)

// subjectHash returns as many bits as cells have room for.
func (t *Table) subjectHash(subject string) uint64 {
	return maphash.String(t.seed, subject) & (1<<(2*hashBits) - 1)
}

// bucket returns the first leader of bucket n, and the hashes there.
func (x *subjectIndex) bucket(n uint32) (first *uint32, hashes *uint8) {
	l := &x.pieces[n/bucketsPiece][n%bucketsPiece/bucketsLine]
	return &l.first[n%bucketsLine], &l.hashes[n%bucketsLine]
}

// bucketOf returns the bucket of a hash: the lowest bits of it that name one.
func (x *subjectIndex) bucketOf(hash uint64) uint32 {
	mask := uint32(1)<<bits.Len32(x.buckets-1) - 1
	n := uint32(hash) & mask
	if n >= x.buckets {
		n &= mask >> 1
	}
	return n
}

func hashBit(hash uint64) uint8 { return 1 << (hash >> (2*hashBits - 3)) }

func (x *subjectIndex) hashOf(slot uint32) uint64 {
	c := x.slabs.cell(slot)
	return c.load(wIssued)&halfHash<<hashBits | c.load(wCap)&halfHash
}

// leader returns the first record of the subject, 0 if it has none.
func (x *subjectIndex) leader(hash uint64, subject string, texts *texts) uint32 {
	if !x.mayHave(hash) {
		return 0
	}
	first, _ := x.bucket(x.bucketOf(hash))
	for slot := *first; slot != 0; {
		c := x.slabs.cell(slot)
		if c.load(wIssued)&halfHash == hash>>hashBits && x.matches(slot, hash, subject, texts) {
			return slot
		}
		slot = c.subjectLink.prev &^ chained
	}
	return 0
}

// mayHave reports whether there may be a leader with the hash.
func (x *subjectIndex) mayHave(hash uint64) bool {
	if x.buckets == 0 {
		return false
	}
	_, hashes := x.bucket(x.bucketOf(hash))
	return *hashes&hashBit(hash) != 0
}

// matches reports whether the record in the cell is of the subject, whose hash it is.
func (x *subjectIndex) matches(slot uint32, hash uint64, subject string, texts *texts) bool {
	c := x.slabs.cell(slot)
	if x.hashOf(slot) != hash {
		return false
	}
	text := c.load(wText)
	return texts.subject(text, c.load(wMeta), texts.chunk(text)) == subject
}

// link files slot, whose cell holds the hash, behind the leader or as one.
func (x *subjectIndex) link(slot uint32, hash uint64, subject string, texts *texts) {
	c := x.slabs.cell(slot)
	if first := x.leader(hash, subject, texts); first != 0 {
		x.insertAfter(slot, first)
		return
	}
	if x.buckets == 0 {
		x.buckets, x.pieces = bucketsPiece, append(x.pieces, new(piece))
	}
	x.addLeader(slot, hash, x.bucketOf(hash))
	c.subjectLink.next = 0
	if x.count++; x.count >= x.buckets+splitsAtOnce {
		x.splitSome()
	}
}

// insertAfter files slot behind another one of its list.
func (x *subjectIndex) insertAfter(slot, before uint32) {
	next := &x.slabs.cell(before).subjectLink.next
	x.slabs.cell(slot).subjectLink = link{prev: before, next: *next}
	if *next != 0 {
		x.slabs.cell(*next).subjectLink.prev = slot
	}
	*next = slot
}

// unlinkMember takes slot, which is not the first of its list, out of that.
func (x *subjectIndex) unlinkMember(slot uint32) {
	l := x.slabs.cell(slot).subjectLink
	x.slabs.cell(l.prev).subjectLink.next = l.next
	if l.next != 0 {
		x.slabs.cell(l.next).subjectLink.prev = l.prev
	}
}

// addLeader makes slot the first leader of the bucket.
func (x *subjectIndex) addLeader(slot uint32, hash uint64, bucket uint32) {
	first, hashes := x.bucket(bucket)
	x.slabs.cell(slot).subjectLink.prev = chained | *first
	*first = slot
	*hashes |= hashBit(hash)
}

// unlink undoes link, wherever the record is by now. The cell still holds the hash, and
// keeps its flags.
func (x *subjectIndex) unlink(slot uint32) {
	c := x.slabs.cell(slot)
	if c.load(wMeta)&inDead != 0 {
		x.unlinkDead(slot)
		return
	}
	l := c.subjectLink
	if l.prev&chained == 0 {
		x.unlinkMember(slot)
		return
	}
	if l.next == 0 {
		l.next = x.promote(slot)
	}
	heir := l.prev &^ chained
	if l.next != 0 {
		heir = l.next
		x.slabs.cell(heir).subjectLink.prev = l.prev
		x.moveDeadLists(slot, heir)
	}
	first, hashes := x.bucket(x.bucketOf(x.hashOf(slot)))
	if *first == slot {
		if *first = heir; heir == 0 {
			*hashes = 0
		}
	} else {
		before := x.slabs.cell(*first)
		for before.subjectLink.prev&^chained != slot {
			before = x.slabs.cell(before.subjectLink.prev &^ chained)
		}
		before.subjectLink.prev = chained | heir
	}
	if l.next != 0 {
		return
	}
	x.count--
	// Two at a time, so that the buckets keep up with the subjects that they lose.
	for range 2 {
		if x.count < x.buckets/2 && x.buckets > bucketsPiece {
			x.mergeLast()
		}
	}
}

// splitSome splits some buckets. It looks at their leaders first, at the first ones,
// then at the second ones and so on: those lie anywhere in memory, and so the
// processor waits for many of them at once instead of for one after the other.
func (x *subjectIndex) splitSome() {
	var ahead [splitsAtOnce]uint32
	for i := range ahead {
		n := x.buckets + uint32(i)
		first, _ := x.bucket(n - highest(n))
		ahead[i] = *first
	}
	for range 3 {
		for i, slot := range ahead {
			c := x.slabs.cell(slot) // of cell 0 nothing
			c.load(wCap)            // half of the hash lies in the other line
			ahead[i] = c.subjectLink.prev &^ chained
		}
	}
	for range splitsAtOnce {
		x.split()
	}
}

// highest returns the highest bit of n. Bucket n is split off the one without it.
func highest(n uint32) uint32 { return 1 << (bits.Len32(n) - 1) }

// split adds a bucket, to which the leaders of another go whose hashes have one bit
// more.
func (x *subjectIndex) split() {
	added := x.buckets
	if added%bucketsPiece == 0 {
		x.pieces = append(x.pieces, new(piece))
	}
	x.buckets++
	high := highest(added)
	x.addLeaders(x.takeLeaders(added-high), func(hash uint64) uint32 {
		if uint32(hash)&high != 0 {
			return added
		}
		return added - high
	})
}

// mergeLast undoes the last split.
func (x *subjectIndex) mergeLast() {
	x.buckets--
	last := x.buckets
	x.addLeaders(x.takeLeaders(last), func(uint64) uint32 { return last - highest(last) })
	if last%bucketsPiece == 0 {
		x.pieces = slices.Delete(x.pieces, len(x.pieces)-1, len(x.pieces))
	}
}

// takeLeaders empties a bucket and returns the leaders that were there.
func (x *subjectIndex) takeLeaders(bucket uint32) (chain uint32) {
	first, hashes := x.bucket(bucket)
	chain, *first, *hashes = *first, 0, 0
	return chain
}

// addLeaders makes all of the chain leaders of the buckets that their hashes go to.
func (x *subjectIndex) addLeaders(chain uint32, to func(hash uint64) uint32) {
	for chain != 0 {
		hash, next := x.hashOf(chain), x.slabs.cell(chain).subjectLink.prev&^chained
		x.addLeader(chain, hash, to(hash))
		chain = next
	}
}
