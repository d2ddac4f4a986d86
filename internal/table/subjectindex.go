package table

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// subjectIndex finds the records of a subject. Their cells form three lists: the main list, the
// list of expired records and the list of ended ones. The first record of the main list is the
// leader of the subject. A leader is found by the hash of the subject: the leaders of one bucket
// form a chain. No record precedes a leader in its list, so that its prev link holds the next
// leader of the bucket, with the bit chained set.
//
// Buckets are split and merged a few at a time, whenever a subject comes or goes, so that no call
// waits for the whole index to grow.
type subjectIndex struct {
	slabs    *slabs
	pieces   []*piece
	buckets  uint32
	count    uint32               // how many subjects there are
	dead     map[uint32]deadLists // by leader; only subjects that have such lists are in it
	restored uint64               // how often a record was moved back to a main list
}

// piece is some of the buckets. A line of it is one cache line.
type piece [bucketsPiece / bucketsLine]line

// line holds the first leaders of some buckets. For each bucket it also holds a filter of 8 bits:
// one bit is set for every hash of a leader there. A new subject is mostly recognised by the filter
// alone, without a read of cells elsewhere in memory.
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

// subjectHash returns the hash of a subject, in as many bits as a cell keeps of it.
func (t *Table) subjectHash(subject string) uint64 {
	return maphash.String(t.seed, subject) & (1<<(2*hashBits) - 1)
}

// bucket returns the first leader of bucket n, and the filter of the bucket.
func (x *subjectIndex) bucket(n uint32) (first *uint32, hashes *uint8) {
	l := &x.pieces[n/bucketsPiece][n%bucketsPiece/bucketsLine]
	return &l.first[n%bucketsLine], &l.hashes[n%bucketsLine]
}

// bucketOf returns the bucket of a hash: the number in the lowest bits of the hash, one bit less if
// there is no such bucket yet.
func (x *subjectIndex) bucketOf(hash uint64) uint32 {
	mask := uint32(1)<<bits.Len32(x.buckets-1) - 1
	n := uint32(hash) & mask
	if n >= x.buckets {
		n &= mask >> 1
	}
	return n
}

// hashBit returns the bit of a hash in the filter of its bucket.
func hashBit(hash uint64) uint8 { return 1 << (hash >> (2*hashBits - 3)) }

// hashOf returns the hash of the subject of a record.
func (x *subjectIndex) hashOf(ref uint32) uint64 {
	c := x.slabs.cell(ref)
	return c.load(wIssued)&halfHash<<hashBits | c.load(wCap)&halfHash
}

// leader returns the leader of the subject, or 0 if the subject has no records.
func (x *subjectIndex) leader(hash uint64, subject string, texts *texts) uint32 {
	if !x.mayHave(hash) {
		return 0
	}
	first, _ := x.bucket(x.bucketOf(hash))
	for ref := *first; ref != 0; {
		c := x.slabs.cell(ref)
		if c.load(wIssued)&halfHash == hash>>hashBits && x.matches(ref, hash, subject, texts) {
			return ref
		}
		ref = c.subjectLink.prev &^ chained
	}
	return 0
}

// mayHave reports whether there may be a leader with the hash. It reads the filter alone.
func (x *subjectIndex) mayHave(hash uint64) bool {
	if x.buckets == 0 {
		return false
	}
	_, hashes := x.bucket(x.bucketOf(hash))
	return *hashes&hashBit(hash) != 0
}

// matches reports whether the record in the cell is of the subject. hash is the hash of that.
func (x *subjectIndex) matches(ref uint32, hash uint64, subject string, texts *texts) bool {
	c := x.slabs.cell(ref)
	if x.hashOf(ref) != hash {
		return false
	}
	text := c.load(wText)
	return texts.subject(text, c.load(wMeta), texts.chunk(text)) == subject
}

// link adds the record to the main list of its subject, behind the leader. A record that is the
// first of its subject becomes the leader. The cell holds the hash already.
func (x *subjectIndex) link(ref uint32, hash uint64, subject string, texts *texts) {
	c := x.slabs.cell(ref)
	if first := x.leader(hash, subject, texts); first != 0 {
		x.insertAfter(ref, first)
		return
	}
	if x.buckets == 0 {
		x.buckets, x.pieces = bucketsPiece, append(x.pieces, new(piece))
	}
	x.addLeader(ref, hash, x.bucketOf(hash))
	c.subjectLink.next = 0
	if x.count++; x.count >= x.buckets+splitsAtOnce {
		x.splitSome()
	}
}

// linkAlias is link for an alias, which no walk through the living records of a subject needs: behind
// the leader it goes to the list of ended records. A subject that had issued 2,000 tokens by a
// RequestID took 70 times as long for the next Issue otherwise.
func (x *subjectIndex) linkAlias(ref uint32, hash uint64, subject string, texts *texts) {
	first := x.leader(hash, subject, texts)
	if first == 0 {
		x.link(ref, hash, subject, texts)
		return
	}
	x.slabs.cell(ref).setList(inEnded)
	x.linkDead(ref, first, 0, inEnded)
}

// insertAfter puts ref into the list of before, right behind that.
func (x *subjectIndex) insertAfter(ref, before uint32) {
	next := &x.slabs.cell(before).subjectLink.next
	x.slabs.cell(ref).subjectLink = link{prev: before, next: *next}
	if *next != 0 {
		x.slabs.cell(*next).subjectLink.prev = ref
	}
	*next = ref
}

// unlinkMember takes ref out of its list. ref must not be the first record of it.
func (x *subjectIndex) unlinkMember(ref uint32) {
	l := x.slabs.cell(ref).subjectLink
	x.slabs.cell(l.prev).subjectLink.next = l.next
	if l.next != 0 {
		x.slabs.cell(l.next).subjectLink.prev = l.prev
	}
}

// addLeader puts ref first into the chain of leaders of the bucket.
func (x *subjectIndex) addLeader(ref uint32, hash uint64, bucket uint32) {
	first, hashes := x.bucket(bucket)
	x.slabs.cell(ref).subjectLink.prev = chained | *first
	*first = ref
	*hashes |= hashBit(hash)
}

// unlink takes the record out of whichever list it is in. The cell still holds the hash and the
// flags, and keeps them.
func (x *subjectIndex) unlink(ref uint32) {
	c := x.slabs.cell(ref)
	if c.load(wMeta)&inDead != 0 {
		x.unlinkDead(ref)
		return
	}
	l := c.subjectLink
	if l.prev&chained == 0 {
		x.unlinkMember(ref)
		return
	}
	x.unlinkLeader(ref)
}

// unlinkLeader removes a leader. The next record of its list becomes the leader, or else a record
// of its dead lists. If there is no such record, the subject is gone.
func (x *subjectIndex) unlinkLeader(ref uint32) {
	l := x.slabs.cell(ref).subjectLink
	if l.next == 0 {
		l.next = x.promote(ref)
	}
	heir := l.prev &^ chained // the leader that follows in the bucket, if no record takes the place
	if l.next != 0 {
		heir = l.next
		x.slabs.cell(heir).subjectLink.prev = l.prev
		x.moveDeadLists(ref, heir)
	}
	x.replaceLeader(ref, heir)
	if l.next == 0 {
		x.dropSubject()
	}
}

// replaceLeader puts heir into the place of ref in the chain of its bucket. Cell ref still holds the
// hash.
func (x *subjectIndex) replaceLeader(ref, heir uint32) {
	first, hashes := x.bucket(x.bucketOf(x.hashOf(ref)))
	if *first == ref {
		if *first = heir; heir == 0 {
			*hashes = 0
		}
		return
	}
	before := x.slabs.cell(*first)
	for before.subjectLink.prev&^chained != ref {
		before = x.slabs.cell(before.subjectLink.prev &^ chained)
	}
	before.subjectLink.prev = chained | heir
}

// dropSubject notes that a subject has lost its last record.
func (x *subjectIndex) dropSubject() {
	x.count--
	// Two merges for one subject, so that the buckets become fewer as fast as the subjects.
	for range 2 {
		if x.count < x.buckets/2 && x.buckets > bucketsPiece {
			x.mergeLast()
		}
	}
}

// splitSome splits splitsAtOnce buckets.
func (x *subjectIndex) splitSome() {
	for range splitsAtOnce {
		x.split()
	}
}

// highest returns the highest bit of n. Bucket n is split off bucket n-highest(n).
func highest(n uint32) uint32 { return 1 << (bits.Len32(n) - 1) }

// split adds one bucket and distributes the leaders of the bucket that it is split off over both,
// by one more bit of their hashes.
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

// mergeLast removes the last bucket. It is the inverse of split.
func (x *subjectIndex) mergeLast() {
	x.buckets--
	last := x.buckets
	x.addLeaders(x.takeLeaders(last), func(uint64) uint32 { return last - highest(last) })
	if last%bucketsPiece == 0 {
		x.pieces = slices.Delete(x.pieces, len(x.pieces)-1, len(x.pieces))
	}
}

// takeLeaders empties a bucket and returns the first leader of the chain that was there.
func (x *subjectIndex) takeLeaders(bucket uint32) (chain uint32) {
	first, hashes := x.bucket(bucket)
	chain, *first, *hashes = *first, 0, 0
	return chain
}

// addLeaders adds each leader of the chain to the bucket that to returns for its hash.
func (x *subjectIndex) addLeaders(chain uint32, to func(hash uint64) uint32) {
	for chain != 0 {
		hash, next := x.hashOf(chain), x.slabs.cell(chain).subjectLink.prev&^chained
		x.addLeader(chain, hash, to(hash))
		chain = next
	}
}
