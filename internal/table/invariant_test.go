package table

import (
	"math/bits"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// checkTable compares what the parts of an idle table say about each other.
func checkTable(t *testing.T, table *Table) {
	t.Helper()
	count := table.Len()
	checkIDs(t, table, count)
	checkSubjects(t, table, count)
	checkDeaths(t, table, count)
	checkTexts(t, table)
	free := 0
	for ref := table.slabs.free; ref != 0; ref = table.slabs.cell(ref).expiryLink.next {
		free++
	}
	if top := int(table.slabs.top.Load()); count+free != top {
		t.Errorf("%d records and %d free cells of %d", count, free, top)
	}
}

func checkIDs(t *testing.T, table *Table, count int) {
	t.Helper()
	filed := 0
	for i := range table.ids {
		s := &table.ids[i]
		words := s.words.Load()
		if words == nil {
			continue
		}
		used, gone := 0, 0
		for j := range *words {
			switch w := (*words)[j]; {
			case w == 0:
			case uint32(w) == 0:
				used, gone = used+1, gone+1
			default:
				used, filed = used+1, filed+1
			}
		}
		if used != s.used || gone != s.tombstones || used >= len(*words) {
			t.Errorf("shard of %d words: %d used and %d gone; it says %d and %d", len(*words), used, gone, s.used, s.tombstones)
		}
	}
	if filed != count {
		t.Errorf("%d IDs for %d records", filed, count)
	}
}

func checkSubjects(t *testing.T, table *Table, count int) {
	t.Helper()
	x, leaders, records, asides := &table.subjects, uint32(0), 0, 0
	for n := range x.buckets {
		first, hashes := x.bucket(n)
		for ref := *first; ref != 0; ref = x.slabs.cell(ref).subjectLink.prev &^ chained {
			leaders++
			if hash := x.hashOf(ref); x.bucketOf(hash) != n || *hashes&hashBit(hash) == 0 {
				t.Error("a leader in the wrong bucket")
			}
			if prev := x.slabs.cell(ref).subjectLink.prev; prev&chained == 0 {
				t.Error("a leader has a record before it")
			}
			records += checkList(t, table, ref, x.slabs.cell(ref).subjectLink.prev, 0)
			if a, ok := x.dead[ref]; ok {
				asides++
				there := checkList(t, table, a.expired, chained|ref, inExpired) + checkList(t, table, a.ended, chained|ref, inEnded)
				if records += there; there == 0 {
					t.Error("nothing is aside, and that is kept")
				}
			}
		}
	}
	if leaders != x.count || records != count || x.buckets > bucketsPiece && x.buckets > 2*x.count+2 {
		t.Errorf("%d leaders of %d, %d records of %d, %d buckets", leaders, x.count, records, count, x.buckets)
	}
	if asides != len(x.dead) {
		t.Errorf("%d leaders have something aside; %d are said to", asides, len(x.dead))
	}
}

// checkList checks a list of a subject, whose first record has prev where others have who
// comes before them, and returns its length.
func checkList(t *testing.T, table *Table, first, prev uint32, list uint64) (n int) {
	t.Helper()
	before := int64(lastMilli)
	for ref := first; ref != 0; n++ {
		c := table.slabs.cell(ref)
		expires, ended := int64(c.load(wExpires)), int64(c.load(wEnded)) != zeroMilli
		switch {
		case c.subjectLink.prev != prev:
			t.Error("the lists of subjects are torn")
		case c.load(wMeta)&(occupied|inDead) != occupied|list:
			t.Errorf("flags %x in list %x", c.load(wMeta)&inDead, list)
		case list == inExpired && (ended || expires > before), list == inEnded && !ended && !isAlias(table, c):
			t.Errorf("in list %x: ended %v, expires %d behind %d", list, ended, expires, before)
		}
		if list == inExpired {
			before = expires
		}
		prev, ref = ref, c.subjectLink.next
	}
	return n
}

func isAlias(table *Table, c *cell) bool {
	var r storage.Record
	return table.Get(c.id(), &r) && r.Kind == storage.KindAlias
}

func checkDeaths(t *testing.T, table *Table, count int) {
	t.Helper()
	x := &table.expiries
	if x.nodes == nil {
		return
	}
	filed, alive := 0, 0
	list := func(head uint32, number uint32, list uint8, start, end int64) {
		prev := inNode | number<<listBits | uint32(list)
		for ref := head; ref != 0; prev, ref = ref, x.slabs.cell(ref).expiryLink.next {
			filed++
			if x.slabs.cell(ref).expiryLink.prev != prev {
				t.Error("the lists of deaths are torn")
			}
			if key := expiryKey(x.deadFrom(ref)); key < start {
				t.Errorf("filed under %d, but dead from %d", start, key)
			}
		}
	}
	for number, n := range x.nodes {
		if n == nil {
			continue
		}
		alive++
		if number > busyNode && n.filled == 0 && n.unsorted == 0 {
			t.Error("a node of nothing")
		}
		list(n.unsorted, uint32(number), unsortedList, n.start, 0)
		for left := n.filled; left != 0; left &= left - 1 {
			kid := uint8(bits.TrailingZeros64(left))
			start := n.start + int64(kid)<<(6*n.level)
			if number == busyNode {
				start = 0
			}
			if n.nodes>>kid&1 == 0 {
				list(n.heads[kid], uint32(number), kid, start, 0)
			} else if child := x.nodes[n.heads[kid]]; child.start != start || child.parent != uint32(number) || child.digit != kid {
				t.Error("a node in the wrong place")
			}
		}
	}
	if filed != count || alive+len(x.freeNodes) != len(x.nodes) {
		t.Errorf("%d deaths of %d records, %d nodes and %d spare ones of %d", filed, count, alive, len(x.freeNodes), len(x.nodes))
	}
}

func checkTexts(t *testing.T, table *Table) {
	t.Helper()
	x := &table.texts
	held := make([]int, len(x.info))
	live0, size := 0, 0
	for ref := uint32(1); ref <= table.slabs.top.Load(); ref++ {
		if w, ok := table.slabs.cell(ref).snapshot(); ok && x.length(&w) > 0 {
			held[w[wText]>>(placeShift+offsetBits)] += x.length(&w)
			live0 += x.length(&w)
		}
	}
	for number, info := range x.info {
		size += info.size
		if there := (*x.chunks.Load())[number].Load() != nil; info.live != held[number] || there != (info.size > 0) {
			t.Errorf("chunk %d of %d bytes: %d live; it says %d", number, info.size, held[number], info.live)
		}
	}
	if live0 != x.live || size != x.size || x.garbage() < 0 {
		t.Errorf("%d bytes live of %d, %d garbage; it says %d of %d", live0, size, x.garbage(), x.live, x.size)
	}
}
