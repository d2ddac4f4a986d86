package model

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"

	"github.com/seed-55daa01a/lapse"
)

// same reports whether m and o are in the same state.
func (m *model) same(o *model) bool {
	return m.now == o.now && slices.Equal(m.records, o.records) && slices.Equal(m.holds, o.holds) && slices.Equal(m.aliases, o.aliases)
}

// key is a hash of the state of m and of the texts in hand, whenever it is come to. Left
// out is what decides nothing from then on: a limit that has passed, how long a life would
// have been that has ended, a connection that was cut, and how many secrets there were
// beyond those in use.
func (c *cover) key(m *model) uint64 {
	k := keyOfState{now: m.now, b: make([]byte, 0, 512)}
	for n := range m.records {
		c.record(&k, m, n)
	}
	k.aliases(m, c.w.policies[0].retention)
	var held []int
	for _, h := range m.holds {
		if h.cut == nil {
			asked := 0
			if h.asked {
				asked = 1 << 16
			}
			held = append(held, asked+h.record<<8+m.records[h.record].generation-h.generation)
		}
	}
	slices.Sort(held)
	k.numbers(held...)
	return maphash.Bytes(c.seed, k.b)
}

func (c *cover) record(k *keyOfState, m *model, n int) {
	r := &m.records[n]
	k.flags(r.swept, r.forgotten)
	if r.swept {
		return
	}
	dead := r.ended != unset || r.expires <= m.now
	k.flags(dead)
	if dead && c.ages { // nothing is done to it
		return
	}
	if dead {
		k.since(r.deadFrom(), c.w.policies[0].retention)
	} else {
		k.until(r.expires)
		k.until(r.limit)
		k.until(r.accessExpires)
	}
	k.until(r.until)
	k.until(r.accessUntil)
	if c.ages {
		c.age(k, m, n)
	}
	k.numbers(int(r.reason), r.left, r.parent, r.family, min(r.generation, 3), r.generation-max(r.before, r.generation-3), int(r.key), int(r.kind), int(r.bound), int(r.requestKey))
	k.flags(r.before != nowhere, r.tagged, r.unused, r.salted, r.accessBefore, r.confirmed != unset, r.suspended != unset, r.capEdited)
	if len(m.holds) > 0 {
		k.numbers(r.generation - r.floor)
	}
	k.b = append(append(append(append(k.b, r.accessScope...), 0), r.scope...), 0, byte(r.uses))
	kinds := []secret{plainText}
	if r.kind == lapse.KindSession {
		kinds = []secret{accessText, refreshText}
	}
	for _, kind := range kinds {
		for generation := max(0, r.generation-2); generation <= r.generation; generation++ {
			k.flags(c.w.held(modelText{record: n, kind: kind, generation: generation}) != "")
		}
	}
}

// age adds which of the records came after others, as a limit asks, and how long ago the
// last use was, as RenewEvery does.
func (c *cover) age(k *keyOfState, m *model, n int) {
	r := &m.records[n]
	k.since(max(r.issued, r.used), c.w.policies[0].renewEvery)
	for i := range n {
		o := &m.records[i]
		k.numbers(cmp.Compare(r.issued, o.issued), cmp.Compare(max(r.issued, r.used, r.rotated), max(o.issued, o.used, o.rotated)))
	}
}

// keyOfState is what a state is known again by.
type keyOfState struct {
	now int64
	b   []byte
}

// until adds how long it is until an instant that is yet to come.
func (k *keyOfState) until(at int64) {
	if at != never {
		at = max(at-k.now, 0)
	}
	k.b = binary.AppendVarint(k.b, at)
}

// since adds how long ago an instant is, if that is no longer than most.
func (k *keyOfState) since(at, most int64) {
	if at == unset || k.now-at > most {
		at = k.now - most - 1
	}
	k.b = binary.AppendVarint(k.b, k.now-at)
}

func (k *keyOfState) numbers(numbers ...int) {
	for _, n := range numbers {
		k.b = binary.AppendVarint(k.b, int64(n))
	}
}

func (k *keyOfState) flags(flags ...bool) {
	for _, f := range flags {
		if f {
			k.b = append(k.b, 1)
		} else {
			k.b = append(k.b, 0)
		}
	}
}
