package table

import "math/bits"

// expiryIndex finds the records that may be dead by an instant. Each is filed under an
// instant at which it may die, or an earlier one: a renewal moves nothing.
//
// It is a tree over that instant in milliseconds, six bits a level. What has the
// same digits down to some level lies in one list there; a list is spread over a
// node of its own once it has grown long, or has to be cut at some instant.
type expiryIndex struct {
	slabs     *slabs
	nodes     []*expiryNode // the first one is the root, the second one holds the lists of records put aside
	freeNodes []uint32      // numbers of nodes that are free
	lastNode  uint32        // the node of the record that was filed last, or the node that has its number now
}

type expiryNode struct {
	start    int64 // the first key that belongs here
	level    uint8 // each of the 64 lists spans 64^level keys
	digit    uint8 // which it is of its parent's
	parent   uint32
	filled   uint64     // the lists that are not empty
	nodes    uint64     // those of them that are nodes
	unsorted uint32     // a list that is yet to be spread over the others
	heads    [64]uint32 // first records, or numbers of nodes
	counts   [64]uint8  // at least how many records a list has, up to crowd
}

// The head of a list keeps where the list is instead of the record before:
// inNode, number of the node, and list 7.
const (
	inNode       = 1 << 31
	listBits     = 7
	unsortedList = 64

	root      = 0
	busyNode  = 1
	rootLevel = 8
	lastKey   = 1<<((rootLevel+1)*6) - 1

	longList    = 255 // records that make a list long
	lazyLevel   = 4   // lists of this level, 4.7 hours, are spread only to be cut
	busyPending = 0   // lists of asideNode: to be looked at again
	busyDone    = 1   // and already looked at in this round
)

// expiryKey turns Unix milliseconds into a key, in the same order.
func expiryKey(ms int64) int64 { return max(0, min(ms-zeroMilli, lastKey)) }

func (x *expiryIndex) insert(slot uint32, ms int64) {
	if x.nodes == nil {
		x.nodes = []*expiryNode{{level: rootLevel}, {}}
	}
	key := expiryKey(ms)
	if !x.covers(x.lastNode, key) { // what is issued together mostly dies together
		x.lastNode = root
	}
	x.lastNode = x.insertBelow(x.lastNode, slot, key)
}

// covers reports whether records with the key belong below the node.
func (x *expiryIndex) covers(number uint32, key int64) bool {
	n := x.nodes[number]
	return n != nil && (key^n.start)>>(6*(n.level+1)) == 0
}

// insertBelow files the record below a node to which its key belongs, and returns the one
// that it is in.
func (x *expiryIndex) insertBelow(number, slot uint32, key int64) (in uint32) {
	for {
		n := x.nodes[number]
		kid := uint8(key >> (6 * n.level) & 63)
		bit := uint64(1) << kid
		if n.nodes&bit == 0 {
			if n.counts[kid] < longList || n.level <= lazyLevel {
				x.push(number, kid, slot)
				return number
			}
			child := x.openNode(number, kid)
			for x.nodes[child].unsorted != 0 && x.sortOne(child) {
			}
			number = root // for what the renewed have left is gone
			continue
		}
		number = n.heads[kid]
	}
}

// push puts the record at the head of a list.
func (x *expiryIndex) push(number uint32, list uint8, slot uint32) {
	n := x.nodes[number]
	head := &n.unsorted
	if list != unsortedList {
		head = &n.heads[list]
		n.filled |= 1 << list
		n.counts[list] = min(n.counts[list], longList-1) + 1
	}
	x.slabs.cell(slot).expiryLink = link{prev: inNode | number<<listBits | uint32(list), next: *head}
	if *head != 0 {
		x.slabs.cell(*head).expiryLink.prev = slot
	}
	*head = slot
}

// unlink takes the record out of its list.
func (x *expiryIndex) unlink(slot uint32) {
	l := x.slabs.cell(slot).expiryLink
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

func (n *expiryNode) clearList(list uint8) {
	n.filled &^= 1 << list
	n.nodes &^= 1 << list
	n.heads[list], n.counts[list] = 0, 0
}

// prune gives up a node that has become empty, and those above it.
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

// openNode turns a list into a node of which all is still to be spread.
func (x *expiryIndex) openNode(number uint32, kid uint8) (at uint32) {
	n := x.nodes[number]
	child := &expiryNode{start: n.start + int64(kid)<<(6*n.level), level: n.level - 1, digit: kid, parent: number}
	if last := len(x.freeNodes) - 1; last >= 0 {
		at = x.freeNodes[last]
		x.freeNodes = x.freeNodes[:last]
		x.nodes[at] = child
	} else {
		at = uint32(len(x.nodes))
		x.nodes = append(x.nodes, child)
	}
	child.unsorted = n.heads[kid]
	x.slabs.cell(child.unsorted).expiryLink.prev = inNode | at<<listBits | unsortedList
	n.heads[kid] = at
	n.nodes |= 1 << kid
	return at
}

// sortOne files one record of the rest again, by its death as it is now, and
// reports whether the node is still there.
func (x *expiryIndex) sortOne(number uint32) bool {
	n := x.nodes[number]
	slot := n.unsorted
	n.unsorted = x.slabs.cell(slot).expiryLink.next
	if n.unsorted != 0 {
		x.slabs.cell(n.unsorted).expiryLink.prev = inNode | number<<listBits | unsortedList
	}
	key := expiryKey(x.deadFrom(slot))
	if x.covers(number, key) {
		x.insertBelow(number, slot, key)
		return true
	}
	x.insertBelow(root, slot, key)
	x.prune(number)
	return x.nodes[number] == n
}

func (x *expiryIndex) deadFrom(slot uint32) int64 {
	var w words
	c := x.slabs.cell(slot)
	w[wExpires], w[wEnded] = c.load(wExpires), c.load(wEnded)
	return w.deadFrom()
}

// due takes at most budget steps towards a record filed under a key below before
// and returns it, still filed, or 0. more is false if there is none.
func (x *expiryIndex) due(before int64, budget *int) (slot uint32, more bool) {
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
		kid := uint8(bits.TrailingZeros64(n.filled))
		start := n.start + int64(kid)<<(6*n.level)
		switch {
		case start >= before:
			return 0, false
		case n.nodes>>kid&1 != 0:
			number = n.heads[kid]
		case start+1<<(6*n.level) <= before:
			return n.heads[kid], true
		default:
			x.openNode(number, kid)
		}
	}
}

// appendBefore appends at most limit records, those filed under a key below the given one,
// and reports whether that was all.
func (x *expiryIndex) appendBefore(slots []uint32, key int64, limit int) ([]uint32, bool) {
	if x.nodes == nil {
		return slots, true
	}
	slots, all := x.appendBelow(slots, root, key, limit)
	for _, head := range x.nodes[busyNode].heads[:2] {
		if all {
			slots, all = x.appendList(slots, head, limit)
		}
	}
	return slots, all
}

func (x *expiryIndex) appendBelow(slots []uint32, number uint32, key int64, limit int) ([]uint32, bool) {
	n := x.nodes[number]
	slots, all := x.appendList(slots, n.unsorted, limit)
	for left := n.filled; left != 0 && all; left &= left - 1 {
		kid := bits.TrailingZeros64(left)
		switch {
		case n.start+int64(kid)<<(6*n.level) >= key:
			return slots, true
		case n.nodes>>kid&1 != 0:
			slots, all = x.appendBelow(slots, n.heads[kid], key, limit)
		default:
			slots, all = x.appendList(slots, n.heads[kid], limit)
		}
	}
	return slots, all
}

func (x *expiryIndex) appendList(slots []uint32, slot uint32, limit int) ([]uint32, bool) {
	for ; slot != 0; slot = x.slabs.cell(slot).expiryLink.next {
		if len(slots) == limit {
			return slots, false
		}
		slots = append(slots, slot)
	}
	return slots, true
}
