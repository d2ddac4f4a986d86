package bolt

import (
	"bytes"
	"math/rand/v2"
	"slices"
)

// mutation is one way to damage a file, or the log beside it. do returns the damaged copy.
type mutation struct {
	name string
	do   func(r *rand.Rand, s *specimen) []byte
	log  bool // it is one of the log; a nil copy is none
}

const (
	sector     = 512
	fromBefore = " of an older version" // what a write that the disk lost leaves
)

// mutations are all of them; the n-th damaged file of a campaign has the n-th, and
// begins again after the last.
func mutations() []mutation {
	all := slices.Concat(pagesLost(), logLost())
	for _, row := range []struct {
		name     string
		kind     pageKind
		from, to int // the bytes of the page where a bit flips
	}{
		{"bit in a meta page", kindMeta, 0, pageHeader + metaLen},
		{"bit in a branch", kindBranch, 0, 2048},
		{"bit in a leaf's header", kindLeaf, 0, pageHeader},
		{"bit in a leaf's elements", kindLeaf, pageHeader, pageHeader + 3*pageElement},
		{"bit in a leaf", kindLeaf, pageHeader, pageSize},
		{"bit in an overflow page", kindOverflow, 0, pageSize},
		{"bit in a free page", kindFree, 0, pageSize},
		{"bit in the log", kindLog, 0, pageSize},
	} {
		all = append(all, mutation{row.name, func(r *rand.Rand, s *specimen) []byte {
			bad := bytes.Clone(s.file())
			if row.kind == kindLog {
				bad = bytes.Clone(s.log())
			}
			at := s.pick(r, row.kind) + row.from + r.IntN(row.to-row.from)
			bad[at] ^= 1 << r.IntN(8)
			return bad
		}, row.kind == kindLog})
	}
	return all
}

// logLost are the mutations of the log of more than a bit.
func logLost() []mutation {
	return []mutation{
		{"log missing", func(*rand.Rand, *specimen) []byte { return nil }, true},
		{"log of another store", func(_ *rand.Rand, s *specimen) []byte { return s.foreign }, true},
		{"log" + fromBefore, func(r *rand.Rand, s *specimen) []byte {
			return s.logs[r.IntN(len(s.logs)-2)] // the one before the last is what it was before the last groups came
		}, true},
		{"log cut", func(r *rand.Rand, s *specimen) []byte { return s.log()[:r.IntN(len(s.log()))] }, true},
		{"log emptied", func(*rand.Rand, *specimen) []byte { return []byte{} }, true},
		{"block of the log zeroed", func(r *rand.Rand, s *specimen) []byte {
			bad := bytes.Clone(s.log())
			clear(bad[s.pick(r, kindLog):][:pageSize])
			return bad
		}, true},
		{"sector of the log zeroed", func(r *rand.Rand, s *specimen) []byte {
			bad := bytes.Clone(s.log())
			clear(bad[s.pick(r, kindLog)+r.IntN(pageSize/sector)*sector:][:sector])
			return bad
		}, true},
		{"blocks of the log swapped", func(r *rand.Rand, s *specimen) []byte {
			bad, a, b := bytes.Clone(s.log()), s.pick(r, kindLog), s.pick(r, kindLog)
			copy(bad[a:a+pageSize], s.log()[b:])
			copy(bad[b:b+pageSize], s.log()[a:])
			return bad
		}, true},
	}
}

// pagesLost are the mutations of more than a bit.
func pagesLost() []mutation {
	page := pageSize
	return []mutation{
		{"page zeroed", func(r *rand.Rand, s *specimen) []byte {
			bad := bytes.Clone(s.file())
			clear(bad[s.any(r):][:page])
			return bad
		}, false},
		{"sector zeroed", func(r *rand.Rand, s *specimen) []byte {
			bad := bytes.Clone(s.file())
			clear(bad[s.any(r)+r.IntN(page/sector)*sector:][:sector])
			return bad
		}, false},
		{"pages swapped", func(r *rand.Rand, s *specimen) []byte {
			bad, a, b := bytes.Clone(s.file()), s.any(r), s.any(r)
			copy(bad[a:a+page], s.file()[b:])
			copy(bad[b:b+page], s.file()[a:])
			return bad
		}, false},
		{"page in another's place", func(r *rand.Rand, s *specimen) []byte {
			bad := bytes.Clone(s.file())
			copy(bad[s.any(r):][:page], s.file()[s.any(r):])
			return bad
		}, false},
		{"page" + fromBefore, func(r *rand.Rand, s *specimen) []byte {
			return s.older(r, func(_ *specimen, at int, _ []byte) bool { return at >= 2*page })
		}, false},
		{"meta page" + fromBefore, func(r *rand.Rand, s *specimen) []byte {
			return s.older(r, func(_ *specimen, at int, _ []byte) bool { return at < 2*page })
		}, false},
		{"leaf" + fromBefore, func(r *rand.Rand, s *specimen) []byte {
			return s.older(r, sameLeaf)
		}, false},
		{"cut at a page", func(r *rand.Rand, s *specimen) []byte {
			return bytes.Clone(s.file()[:r.IntN(len(s.file())/page)*page])
		}, false},
		{"cut anywhere", func(r *rand.Rand, s *specimen) []byte {
			return bytes.Clone(s.file()[:r.IntN(len(s.file()))])
		}, false},
		{"zeros behind the end", func(r *rand.Rand, s *specimen) []byte {
			return append(bytes.Clone(s.file()), make([]byte, 1+r.IntN(4*page))...)
		}, false},
		{"noise behind the end", func(r *rand.Rand, s *specimen) []byte {
			noise := make([]byte, 1+r.IntN(4*page))
			for i := range noise {
				noise[i] = byte(r.Uint32())
			}
			return append(bytes.Clone(s.file()), noise...)
		}, false},
	}
}

// mutate returns the n-th damaged file under seed, and what was done to it,
// and the log beside it, nil for none.
func (s *specimen) mutate(seed uint64, n int) (name string, file, log []byte) {
	all := mutations()
	m := all[n%len(all)]
	bad := m.do(chance(seed, n), s)
	if m.log {
		return m.name, s.file(), bad
	}
	return m.name, bad, s.log()
}

// pick returns where a page of that kind begins.
func (s *specimen) pick(r *rand.Rand, kind pageKind) int {
	pages := s.pages[kind]
	return pages[r.IntN(len(pages))]
}

// any returns where a page begins, every kind being as likely.
func (s *specimen) any(r *rand.Rand) int {
	kinds := []pageKind{kindMeta, kindBranch, kindLeaf, kindOverflow, kindFree}
	return s.pick(r, kinds[r.IntN(len(kinds))])
}

// sameLeaf reports whether the page at has been the same leaf of records in an
// older version.
func sameLeaf(s *specimen, at int, old []byte) bool {
	key := firstKey(s.file(), at)
	return key != nil && key[0] == 0 && slices.Contains(s.pages[kindLeaf], at) && bytes.Equal(key, firstKey(old, at))
}

// choices returns the pages that differ in an older version, and which version, of
// those that fit.
func (s *specimen) choices(fits func(s *specimen, at int, old []byte) bool) (all [][2]int) {
	page, file := pageSize, s.file()
	for n, old := range s.versions[:len(s.versions)-1] {
		for at := 0; at+page <= min(len(old), len(file)); at += page {
			if !bytes.Equal(old[at:at+page], file[at:at+page]) && fits(s, at, old) {
				all = append(all, [2]int{n, at})
			}
		}
	}
	return all
}

// older returns the file with one page as it was in an older version.
func (s *specimen) older(r *rand.Rand, fits func(s *specimen, at int, old []byte) bool) []byte {
	bad, choices := bytes.Clone(s.file()), s.choices(fits)
	chosen := choices[r.IntN(len(choices))]
	version, at := chosen[0], chosen[1]
	copy(bad[at:][:pageSize], s.versions[version][at:])
	return bad
}
