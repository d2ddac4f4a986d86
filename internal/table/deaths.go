package table

import "math/bits"

// deaths finds the records that may be dead by an instant. Each is filed under an
// instant at which it may die, or an earlier one: a renewal moves nothing.
//
// It is a tree over that instant in milliseconds, six bits a level. What has the
// same digits down to some level lies in one list there; a list is spread over a
// node of its own once it has grown long, or has to be cut at some instant.
type deaths struct {
	slabs *slabs
	nodes []*deathNode // the first one is the root, the second one holds the lists of records put aside
	spare []uint32     // numbers of nodes that are free
	last  uint32       // the node of the record that was filed last, or the node that has its number now
}

type deathNode struct {
	start     int64 // the first key that belongs here
	level     uint8 // each of the 64 lists spans 64^level keys
	kid       uint8 // which it is of its parent's
	parent    uint32
	filled    uint64     // the lists that are not empty
	nodes     uint64     // those of them that are nodes
	rest      uint32     // a list that is yet to be spread over the others
	heads     [64]uint32 // first records, or numbers of nodes
	estimates [64]uint8  // at least how many records a list has, up to crowd
}

// The head of a list keeps where the list is instead of the record before:
// inNode, number of the node, and list 7.
const (
	inNode   = 1 << 31
	listBits = 7
	restList = 64

	root      = 0
	asideNode = 1
	rootLevel = 8
	lastKey   = 1<<((rootLevel+1)*6) - 1

	crowd      = 255 // records that make a list long
	coarsest   = 4   // lists of this level, 4.7 hours, are spread only to be cut
	putAside   = 0   // lists of asideNode: to be looked at again
	lookedOver = 1   // and already looked at in this round
)

// deathKey turns Unix milliseconds into a key, in the same order.
func deathKey(ms int64) int64 { return max(0, min(ms-zeroMilli, lastKey)) }

func (x *deaths) file(slot uint32, ms int64) {
	if x.nodes == nil {
		x.nodes = []*deathNode{{level: rootLevel}, {}}
	}
	key := deathKey(ms)
	if !x.holds(x.last, key) { // what is issued together mostly dies together
		x.last = root
	}
	x.last = x.fileFrom(x.last, slot, key)
}

// holds reports whether records with the key belong below the node.
func (x *deaths) holds(number uint32, key int64) bool {
	n := x.nodes[number]
	return n != nil && (key^n.start)>>(6*(n.level+1)) == 0
}

// fileFrom files the record below a node to which its key belongs, and returns the one
// that it is in.
func (x *deaths) fileFrom(number, slot uint32, key int64) (in uint32) {
	for {
		n := x.nodes[number]
		kid := uint8(key >> (6 * n.level) & 63)
		bit := uint64(1) << kid
		if n.nodes&bit == 0 {
			if n.estimates[kid] < crowd || n.level <= coarsest {
				x.push(number, kid, slot)
				return number
			}
			child := x.open(number, kid)
			for x.nodes[child].rest != 0 && x.spreadOne(child) {
			}
			number = root // for what the renewed have left is gone
			continue
		}
		number = n.heads[kid]
	}
}

// push puts the record at the head of a list.
func (x *deaths) push(number uint32, list uint8, slot uint32) {
	n := x.nodes[number]
	head := &n.rest
	if list != restList {
		head = &n.heads[list]
		n.filled |= 1 << list
		n.estimates[list] = min(n.estimates[list], crowd-1) + 1
	}
	x.slabs.cell(slot).death = link{prev: inNode | number<<listBits | uint32(list), next: *head}
	if *head != 0 {
		x.slabs.cell(*head).death.prev = slot
	}
	*head = slot
}

// unlink takes the record out of its list.
func (x *deaths) unlink(slot uint32) {
	l := x.slabs.cell(slot).death
	if l.next != 0 {
		x.slabs.cell(l.next).death.prev = l.prev
	}
	if l.prev&inNode == 0 {
		x.slabs.cell(l.prev).death.next = l.next
		return
	}
	number, list := l.prev&^inNode>>listBits, uint8(l.prev%(1<<listBits))
	n := x.nodes[number]
	switch {
	case list == restList:
		n.rest = l.next
	case l.next != 0:
		n.heads[list] = l.next
		return
	default:
		n.empty(list)
	}
	x.prune(number)
}

func (n *deathNode) empty(list uint8) {
	n.filled &^= 1 << list
	n.nodes &^= 1 << list
	n.heads[list], n.estimates[list] = 0, 0
}

// prune gives up a node that has become empty, and those above it.
func (x *deaths) prune(number uint32) {
	for number > asideNode {
		n := x.nodes[number]
		if n.filled != 0 || n.rest != 0 {
			return
		}
		x.nodes[number] = nil
		x.spare = append(x.spare, number)
		number = n.parent
		x.nodes[number].empty(n.kid)
	}
}

// open turns a list into a node of which all is still to be spread.
func (x *deaths) open(number uint32, kid uint8) (at uint32) {
	n := x.nodes[number]
	child := &deathNode{start: n.start + int64(kid)<<(6*n.level), level: n.level - 1, kid: kid, parent: number}
	if last := len(x.spare) - 1; last >= 0 {
		at = x.spare[last]
		x.spare = x.spare[:last]
		x.nodes[at] = child
	} else {
		at = uint32(len(x.nodes))
		x.nodes = append(x.nodes, child)
	}
	child.rest = n.heads[kid]
	x.slabs.cell(child.rest).death.prev = inNode | at<<listBits | restList
	n.heads[kid] = at
	n.nodes |= 1 << kid
	return at
}

// spreadOne files one record of the rest again, by its death as it is now, and
// reports whether the node is still there.
func (x *deaths) spreadOne(number uint32) bool {
	n := x.nodes[number]
	slot := n.rest
	n.rest = x.slabs.cell(slot).death.next
	if n.rest != 0 {
		x.slabs.cell(n.rest).death.prev = inNode | number<<listBits | restList
	}
	key := deathKey(x.deadFrom(slot))
	if x.holds(number, key) {
		x.fileFrom(number, slot, key)
		return true
	}
	x.fileFrom(root, slot, key)
	x.prune(number)
	return x.nodes[number] == n
}

func (x *deaths) deadFrom(slot uint32) int64 {
	var w words
	c := x.slabs.cell(slot)
	w[wExpires], w[wEnded] = c.load(wExpires), c.load(wEnded)
	return w.deadFrom()
}

// due takes at most budget steps towards a record filed under a key below before
// and returns it, still filed, or 0. more is false if there is none.
func (x *deaths) due(before int64, budget *int) (slot uint32, more bool) {
	if x.nodes == nil {
		return 0, false
	}
	for number := uint32(root); ; {
		n := x.nodes[number]
		if n.rest != 0 {
			if *budget == 0 {
				return 0, true
			}
			*budget--
			if !x.spreadOne(number) {
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
			x.open(number, kid)
		}
	}
}

// before appends at most limit records, those filed under a key below the given one,
// and reports whether that was all.
func (x *deaths) before(slots []uint32, key int64, limit int) ([]uint32, bool) {
	if x.nodes == nil {
		return slots, true
	}
	slots, all := x.below(slots, root, key, limit)
	for _, head := range x.nodes[asideNode].heads[:2] {
		if all {
			slots, all = x.listed(slots, head, limit)
		}
	}
	return slots, all
}

func (x *deaths) below(slots []uint32, number uint32, key int64, limit int) ([]uint32, bool) {
	n := x.nodes[number]
	slots, all := x.listed(slots, n.rest, limit)
	for left := n.filled; left != 0 && all; left &= left - 1 {
		kid := bits.TrailingZeros64(left)
		switch {
		case n.start+int64(kid)<<(6*n.level) >= key:
			return slots, true
		case n.nodes>>kid&1 != 0:
			slots, all = x.below(slots, n.heads[kid], key, limit)
		default:
			slots, all = x.listed(slots, n.heads[kid], limit)
		}
	}
	return slots, all
}

func (x *deaths) listed(slots []uint32, slot uint32, limit int) ([]uint32, bool) {
	for ; slot != 0; slot = x.slabs.cell(slot).death.next {
		if len(slots) == limit {
			return slots, false
		}
		slots = append(slots, slot)
	}
	return slots, true
}
