package table

import "math/bits"

// expiryIndex finds the records that may be dead before an instant. A record is filed under the
// instant of its death, or under an earlier one: a renewal does not move the record, and its place
// is corrected when that place comes up.
//
// The index is a tree over the key, which is that instant in milliseconds, with six bits (a digit)
// at each level. The records whose keys share their digits down to some level form one list there.
// A list becomes a node of its own when it has grown long, or when a search must divide it at some
// instant.
type expiryIndex struct {
	slabs     *slabs
	nodes     []*expiryNode // nodes[root] is the root of the tree, nodes[busyNode] holds the lists of busy records
	freeNodes []uint32      // numbers of nodes that are free
	lastNode  uint32        // number of the node that the last insert used; another node may have that number by now
}

// expiryNode is a node of the tree.
type expiryNode struct {
	start    int64 // the first key that belongs here
	level    uint8 // each of the 64 lists spans 64^level keys
	digit    uint8 // the place of this node among the lists of its parent
	parent   uint32
	filled   uint64     // a bit for each list that is not empty
	nodes    uint64     // a bit for each list that has become a node
	unsorted uint32     // first record of the list whose records are not yet filed in heads
	heads    [64]uint32 // first record of each list, or the number of its node
	counts   [64]uint8  // a lower bound of the length of each list, at most longList
}

// The first record of a list has no previous record. Its prev link says where the list is instead:
// inNode, the number of the node, and the list in the lowest 7 bits.
const (
	inNode       = 1 << 31
	listBits     = 7
	unsortedList = 64

	root      = 0
	busyNode  = 1
	rootLevel = 8
	lastKey   = 1<<((rootLevel+1)*6) - 1

	longList    = 255 // how many records make a list long
	lazyLevel   = 4   // a list of this level (4.7 hours) or below becomes a node only when a search must divide it
	busyPending = 0   // list of busyNode: records to examine in this round
	busyDone    = 1   // list of busyNode: records examined in this round
)

// expiryKey returns the key of an instant in Unix milliseconds. Keys have the order of the
// instants.
func expiryKey(ms int64) int64 { return max(0, min(ms-zeroMilli, lastKey)) }

// fileUnder files the record under an instant in Unix milliseconds. It begins at the node of the last
// insert if that covers the key, because tokens that are issued together mostly die together.
func (x *expiryIndex) fileUnder(ref uint32, ms int64) {
	if x.nodes == nil {
		x.nodes = []*expiryNode{{level: rootLevel}, {}}
	}
	key := expiryKey(ms)
	if !x.covers(x.lastNode, key) {
		x.lastNode = root
	}
	x.lastNode = x.fileBelow(x.lastNode, ref, key)
}

// covers reports whether records with the key belong into the node or below it. It returns false
// for a number that no node has.
func (x *expiryIndex) covers(number uint32, key int64) bool {
	n := x.nodes[number]
	return n != nil && (key^n.start)>>(6*(n.level+1)) == 0
}

// fileBelow files the record below a node that covers its key. It returns the number of the node
// whose list the record is in then.
func (x *expiryIndex) fileBelow(number, ref uint32, key int64) (in uint32) {
	for {
		n := x.nodes[number]
		digit := uint8(key >> (6 * n.level) & 63)
		bit := uint64(1) << digit
		if n.nodes&bit == 0 {
			if n.counts[digit] < longList || n.level <= lazyLevel {
				x.push(number, digit, ref)
				return number
			}
			child := x.openNode(number, digit)
			for x.nodes[child].unsorted != 0 && x.sortOne(child) {
			}
			number = root // sortOne may have pruned this node: renewed records have left it
			continue
		}
		number = n.heads[digit]
	}
}

// push puts the record first into a list.
func (x *expiryIndex) push(number uint32, list uint8, ref uint32) {
	n := x.nodes[number]
	head := &n.unsorted
	if list != unsortedList {
		head = &n.heads[list]
		n.filled |= 1 << list
		n.counts[list] = min(n.counts[list], longList-1) + 1
	}
	x.slabs.cell(ref).expiryLink = link{prev: inNode | number<<listBits | uint32(list), next: *head}
	if *head != 0 {
		x.slabs.cell(*head).expiryLink.prev = ref
	}
	*head = ref
}

// unlink takes the record out of its list.
func (x *expiryIndex) unlink(ref uint32) {
	l := x.slabs.cell(ref).expiryLink
	if l.next != 0 {
		x.slabs.cell(l.next).expiryLink.prev = l.prev
	}
	if l.prev&inNode == 0 {
		x.slabs.cell(l.prev).expiryLink.next = l.next
		return
	}
	number, list := l.prev&^inNode>>listBits, uint8(l.prev%(1<<listBits))
	n := x.nodes[number]
	switch {
	case list == unsortedList:
		n.unsorted = l.next
	case l.next != 0:
		n.heads[list] = l.next
		return
	default:
		n.clearList(list)
	}
	x.prune(number)
}

// clearList notes that a list of the node is empty.
func (n *expiryNode) clearList(list uint8) {
	n.filled &^= 1 << list
	n.nodes &^= 1 << list
	n.heads[list], n.counts[list] = 0, 0
}

// prune frees the node if it is empty, and then each node above that has become empty.
func (x *expiryIndex) prune(number uint32) {
	for number > busyNode {
		n := x.nodes[number]
		if n.filled != 0 || n.unsorted != 0 {
			return
		}
		x.nodes[number] = nil
		x.freeNodes = append(x.freeNodes, number)
		number = n.parent
		x.nodes[number].clearList(n.digit)
	}
}

// openNode turns a list into a node in which every record is still unsorted, and returns its
// number.
func (x *expiryIndex) openNode(number uint32, digit uint8) (at uint32) {
	n := x.nodes[number]
	child := &expiryNode{start: n.start + int64(digit)<<(6*n.level), level: n.level - 1, digit: digit, parent: number}
	if last := len(x.freeNodes) - 1; last >= 0 {
		at = x.freeNodes[last]
		x.freeNodes = x.freeNodes[:last]
		x.nodes[at] = child
	} else {
		at = uint32(len(x.nodes))
		x.nodes = append(x.nodes, child)
	}
	child.unsorted = n.heads[digit]
	x.slabs.cell(child.unsorted).expiryLink.prev = inNode | at<<listBits | unsortedList
	n.heads[digit] = at
	n.nodes |= 1 << digit
	return at
}

// sortOne files one unsorted record of the node under its present death. It reports whether the
// node still exists.
func (x *expiryIndex) sortOne(number uint32) bool {
	n := x.nodes[number]
	ref := n.unsorted
	n.unsorted = x.slabs.cell(ref).expiryLink.next
	if n.unsorted != 0 {
		x.slabs.cell(n.unsorted).expiryLink.prev = inNode | number<<listBits | unsortedList
	}
	key := expiryKey(x.deadFrom(ref))
	if x.covers(number, key) {
		x.fileBelow(number, ref, key)
		return true
	}
	x.fileBelow(root, ref, key)
	x.prune(number)
	return x.nodes[number] == n
}

// deadFrom returns the instant of death that the cell says now, in Unix milliseconds.
func (x *expiryIndex) deadFrom(ref uint32) int64 {
	var w words
	c := x.slabs.cell(ref)
	w[wExpires], w[wEnded] = c.load(wExpires), c.load(wEnded)
	return w.deadFrom()
}

// due returns a record that is filed under a key below before, and leaves it filed. It takes at
// most *budget steps and subtracts those that it took. It returns 0 and true if the budget ran out
// first, and 0 and false if there is no such record.
func (x *expiryIndex) due(before int64, budget *int) (ref uint32, more bool) {
	if x.nodes == nil {
		return 0, false
	}
	for number := uint32(root); ; {
		n := x.nodes[number]
		if n.unsorted != 0 {
			if *budget == 0 {
				return 0, true
			}
			*budget--
			if !x.sortOne(number) {
				number = root
			}
			continue
		}
		if n.filled == 0 {
			return 0, false
		}
		digit := uint8(bits.TrailingZeros64(n.filled))
		start := n.start + int64(digit)<<(6*n.level)
		switch {
		case start >= before:
			return 0, false
		case n.nodes>>digit&1 != 0:
			number = n.heads[digit]
		case start+1<<(6*n.level) <= before:
			return n.heads[digit], true
		default:
			x.openNode(number, digit)
		}
	}
}

// appendBefore appends the records that are filed under a key below key, and all busy ones, until
// refs has limit elements. It reports whether those were all.
func (x *expiryIndex) appendBefore(refs []uint32, key int64, limit int) ([]uint32, bool) {
	if x.nodes == nil {
		return refs, true
	}
	refs, all := x.appendBelow(refs, root, key, limit)
	for _, head := range x.nodes[busyNode].heads[:2] {
		if all {
			refs, all = x.appendList(refs, head, limit)
		}
	}
	return refs, all
}

// appendBelow does the same for the records of one node and the nodes below it.
func (x *expiryIndex) appendBelow(refs []uint32, number uint32, key int64, limit int) ([]uint32, bool) {
	n := x.nodes[number]
	refs, all := x.appendList(refs, n.unsorted, limit)
	for left := n.filled; left != 0 && all; left &= left - 1 {
		digit := bits.TrailingZeros64(left)
		switch {
		case n.start+int64(digit)<<(6*n.level) >= key:
			return refs, true
		case n.nodes>>digit&1 != 0:
			refs, all = x.appendBelow(refs, n.heads[digit], key, limit)
		default:
			refs, all = x.appendList(refs, n.heads[digit], limit)
		}
	}
	return refs, all
}

// appendList does the same for the list that begins with ref.
func (x *expiryIndex) appendList(refs []uint32, ref uint32, limit int) ([]uint32, bool) {
	for ; ref != 0; ref = x.slabs.cell(ref).expiryLink.next {
		if len(refs) == limit {
			return refs, false
		}
		refs = append(refs, ref)
	}
	return refs, true
}
