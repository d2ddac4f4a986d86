package bolt

import "slices"

// A recording is read with one of these faults, or with imageSound.
const (
	imageSound     = "sound"
	imageNoFsync   = "no fsync and fdatasync of the store's file"
	imageNoThrough = "O_DSYNC is nothing"
	imageNoDirSync = "no sync of the directory"
)

// promise computes after which moment each step is durable: a sync covers the writes that
// had returned before it was called. A sync of a file says nothing of its name.
func (t *imageTrace) promise(fault string) {
	for _, f := range t.files {
		syncs := f.syncs
		if fault == imageNoFsync && f.main {
			syncs = nil
		}
		for _, s := range f.steps {
			if s.safe = covered(s.end, syncs); s.through && (fault != imageNoThrough || s.end < 0) {
				s.safe = min(s.safe, s.end)
			}
		}
	}
	for _, n := range t.names {
		syncs := t.dirSyncs
		if fault == imageNoDirSync {
			syncs = slices.DeleteFunc(slices.Clone(syncs), func(s [2]int) bool { return s[1] >= 0 })
		}
		n.safe = covered(n.end, syncs)
	}
}

// covered returns the end of the first of syncs that began when end was over.
func covered(end int, syncs [][2]int) int {
	first := imageNever
	for _, s := range syncs {
		if s[0] >= end {
			first = min(first, s[1])
		}
	}
	return first
}

// pending returns the moments at which something has begun and is not durable.
func (t *imageTrace) pending() []int {
	change := make([]int, t.last+3)
	mark := func(begin, safe int) {
		if begin >= 0 {
			change[begin+1]++
			change[min(safe, t.last+1)+1]--
		}
	}
	for _, f := range t.files {
		for _, s := range f.steps {
			mark(s.begin, s.safe)
		}
	}
	for _, n := range t.names {
		mark(n.begin, n.safe)
	}
	var all []int
	sum := 0
	for at, c := range change {
		if sum += c; sum > 0 && at <= t.last+1 {
			all = append(all, at)
		}
	}
	return all
}
