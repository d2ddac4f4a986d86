package bolt

import (
	"math/rand/v2"
	"slices"
)

// imageWays are the ways in which a crash treats the data that no sync covers. A block
// holds what some of the writes to it, up to one of them, have left there: the system
// writes out whole blocks of its cache, at any time.
var imageWays = []string{"all", "none", "sectors", "pages", "most sectors", "few sectors", "writes", "torn last"}

// imageNameWays are the same for the directory: a journalled one keeps the first of its
// changes; another file system may keep any of them.
var imageNameWays = []string{"first names", "any names"}

// crash is what a crash at a moment leaves: what has begun before it, and of what is not
// durable then as much as way and names say.
type crash struct {
	at         int
	way, names string
	r          *rand.Rand
}

// image returns the files that c leaves of the directory.
func (t *imageTrace) image(c crash) map[string][]byte {
	left := make(map[string]*imageFile)
	for _, n := range c.keepNames(t.names) {
		if n.from != "" {
			delete(left, n.from)
		}
		if n.to != "" {
			left[n.to] = n.file
		}
	}
	files := make(map[string][]byte)
	for name, f := range left {
		files[name] = c.content(f)
	}
	return files
}

func (c *crash) keepNames(all []*imageName) (kept []*imageName) {
	var open []*imageName
	for _, n := range all {
		if n.begin < c.at && n.safe >= c.at {
			open = append(open, n)
		}
	}
	first := c.r.IntN(len(open) + 1)
	for _, n := range all {
		i := slices.Index(open, n)
		switch {
		case n.begin >= c.at:
		case i < 0, c.names == "all names", c.names == "first names" && i < first, c.names == "any names" && c.r.IntN(2) == 0:
			kept = append(kept, n)
		}
	}
	return kept
}

// content returns what c leaves of the bytes of f.
func (c *crash) content(f *imageFile) []byte {
	steps := f.steps
	for i, s := range steps {
		if s.begin >= c.at {
			steps = steps[:i]
			break
		}
	}
	size, sized := c.length(steps)
	cut := &imageCut{crash: c, steps: steps, sized: sized, block: int64(512), until: make(map[int64]int)}
	if c.way == "pages" {
		cut.block = 4096
	}
	cut.draw()
	b := make([]byte, size)
	for i, s := range steps {
		switch {
		case s.cuts && i < sized:
			if s.at < size {
				clear(b[s.at:])
			}
		case s.cuts || s.at >= size:
		case s.safe < c.at:
			copy(b[s.at:], s.data)
		default:
			cut.each(s, func(block, from, to int64) {
				if i < cut.until[block] && from < size {
					copy(b[from:min(to, size)], s.data[from-s.at:])
				}
			})
		}
	}
	return b
}

// length returns how long the file is, and how many of the steps have changed that: at
// least all up to the last durable one that did.
func (c *crash) length(steps []*imageStep) (size int64, n int) {
	var now int64
	var changed []int
	least := 0
	for i, s := range steps {
		end := s.at
		if !s.cuts {
			end = max(now, s.at+int64(len(s.data)))
		}
		if s.safe < c.at {
			least = i + 1
		}
		if end != now {
			changed, now = append(changed, i+1), end
		}
	}
	n = len(steps)
	open := slices.DeleteFunc(slices.Clone(changed), func(i int) bool { return i <= least })
	switch {
	case c.way == "none":
		n = least
	case len(open) > 0 && c.way != "all":
		n = append(open, least)[c.r.IntN(len(open)+1)]
	}
	var before int64
	for _, s := range steps[:n] {
		if before = size; s.cuts {
			size = s.at
		} else {
			size = max(size, s.at+int64(len(s.data)))
		}
	}
	if n > least && size > before && !steps[n-1].cuts && c.r.IntN(4) == 0 && c.way != "all" {
		size -= c.r.Int64N(size-before) &^ 4095 // a long write makes the file longer page by page
	}
	return size, n
}

// imageCut says of each block which of the steps have reached it.
type imageCut struct {
	*crash
	steps []*imageStep
	sized int
	block int64
	until map[int64]int // the number of the first step that has not
}

// each calls do with every block that s touches, and which bytes of the file that are.
func (c *imageCut) each(s *imageStep, do func(block, from, to int64)) {
	for from, end := s.at, s.at+int64(len(s.data)); from < end; {
		block := from / c.block
		to := min(end, (block+1)*c.block)
		do(block, from, to)
		from = to
	}
}

// draw chooses. Steps that are durable have reached all their blocks, and with them what
// was written to those before.
func (c *imageCut) draw() {
	touching := make(map[int64][]int)
	least := make(map[int64]int)
	var order []int64
	first := slices.IndexFunc(c.steps, func(s *imageStep) bool { return !s.cuts && s.safe >= c.at })
	if first < 0 {
		return
	}
	for i, s := range c.steps[first:] {
		c.each(s, func(block, _, _ int64) {
			switch {
			case s.safe < c.at:
				least[block], touching[block] = first+i+1, nil
			default:
				if len(touching[block]) == 0 {
					order = append(order, block)
				}
				touching[block] = append(touching[block], first+i)
			}
		})
	}
	whole := make(map[int]bool)
	for i := range c.steps {
		whole[i] = c.r.IntN(2) == 0
	}
	torn := c.r.Float64()
	for n, block := range order {
		if len(touching[block]) > 0 {
			c.until[block] = max(least[block], c.choose(touching[block], whole, float64(n)/float64(len(order)) < torn))
		}
	}
	for block, i := range least {
		c.until[block] = max(c.until[block], i)
	}
}

// choose returns how far the steps have reached one block that those numbers touch.
func (c *imageCut) choose(steps []int, whole map[int]bool, early bool) int {
	drawn, all := 0, steps[len(steps)-1]+1
	if n := c.r.IntN(len(steps) + 1); n > 0 {
		drawn = steps[n-1] + 1
	}
	switch c.way {
	case "none":
		return 0
	case "all":
		return all
	case "most sectors":
		if c.r.IntN(16) > 0 {
			return all
		}
		return drawn
	case "few sectors":
		if c.r.IntN(16) > 0 {
			return 0
		}
		return drawn
	case "writes":
		reach := 0
		for _, i := range steps {
			if whole[i] {
				reach = i + 1
			}
		}
		return reach
	case "torn last":
		if last := len(c.steps) - 1; steps[len(steps)-1] == last && !early {
			return last
		}
		return all
	}
	return drawn
}
