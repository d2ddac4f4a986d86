package log

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

var images = flag.Int("images", 300, "crash images to build, for each test of them")

// crash is a disk at a moment of a history.
type crash struct {
	*history
	r      *rand.Rand
	data   []byte
	buf    []byte // of the image before
	ghost  []byte // behind the end, of a truncation that is not durable
	late   []op   // planted: what should be durable and is not
	isLate func(op) bool
}

// step does the next op.
func (c *crash) step(o op) {
	if len(c.late) > 0 && !c.isLate(o) && c.late[0].at/testSlot != o.at/testSlot {
		c.data = c.late[0].do(c.data)
		c.late = c.late[1:]
	}
	if c.isLate != nil && c.isLate(o) {
		c.late = append(c.late, o)
		return
	}
	before := c.data
	c.data = o.do(c.data)
	switch {
	case o.cut && len(c.data) < len(before):
		c.ghost = append([]byte(nil), before[len(c.data):]...)
	case len(c.data) > len(before):
		c.ghost = nil
	}
}

// image returns a disk as the power cut in the middle of o may leave it.
func (c *crash) image(o op) []byte {
	data := append(c.buf[:0], c.data...)
	defer func() { c.buf = data }()
	if c.r.IntN(2) == 0 {
		data = append(data, c.ghost...)
	}
	for _, late := range c.late {
		if c.r.IntN(2) == 0 {
			data = late.do(data)
		}
	}
	if o.cut || len(o.b) == 0 {
		return data
	}
	o.kept = someSectors(c.r, len(o.b)/sector)
	data = o.do(data)
	if end := o.at + int64(len(o.b)); int64(len(data)) < end && c.r.IntN(2) == 0 {
		data = append(data, make([]byte, end-int64(len(data)))...)
	}
	return data
}

// check builds an image before op n and checks it, and that the log can be continued.
func (c *crash) check(n int) error {
	var next op
	if n < len(c.disk.ops) {
		next = c.disk.ops[n]
	}
	d := &memory{data: c.image(next), r: c.r}
	after := c.freedAt(n)
	if k := c.r.IntN(len(c.groups) + 1); k < len(c.groups) && c.groups[k].till <= n {
		after = max(after, c.groups[k].number)
	}
	l, err := c.history.check(d, int64(len(d.data)), n, after)
	if err != nil || l == nil {
		return err
	}
	return continues(l, d, after)
}

// continues appends to a log that was opened, opens it again and expects what was there
// and the new group.
func continues(l *Log, d *memory, after uint64) error {
	last := l.Last()
	highest := l.Highest()
	number, err := l.Append([]byte("more"), l.Size()+2*testSlot)
	if err != nil {
		return err
	}
	if number <= highest {
		return fmt.Errorf("group %d, though %d was the highest", number, highest)
	}
	again, err := load(d, int64(len(d.data)))
	if err != nil {
		return err
	}
	seen, was := "", uint64(0)
	got, err := again.Replay(after, func(n uint64, payload []byte) error {
		if n < number {
			was = n
		}
		seen = string(payload)
		return nil
	})
	if err == nil && (got != number || seen != "more" || was > last || last > after && was != last) {
		err = fmt.Errorf("continued after %d with %d: got %d, %q after %d", last, number, got, seen, was)
	}
	return err
}

// crashImages checks images of histories with these seeds, and returns the first error.
func crashImages(seeds, perOp int, early bool, isLate func(op) bool) (count int, err error) {
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		h, err := play(r, &memory{}, 40, early)
		if err != nil {
			return count, fmt.Errorf("seed %d: %w", seed, err)
		}
		for _, g := range h.groups {
			if g.err != nil {
				return count, fmt.Errorf("seed %d: %w", seed, g.err)
			}
		}
		c := &crash{history: h, r: r, isLate: isLate}
		for n := 0; n <= len(h.disk.ops); n++ {
			for range perOp {
				count++
				if err := c.check(n); err != nil {
					return count, fmt.Errorf("seed %d, image before op %d of %d: %w", seed, n, len(h.disk.ops), err)
				}
			}
			if n < len(h.disk.ops) {
				c.step(h.disk.ops[n])
			}
		}
	}
	return count, nil
}

// Every acknowledged group that was not freed is in every image, and of others at most
// the one that was being written.
func TestCrashImages(t *testing.T) {
	const perOp = 4
	count, err := crashImages(max(1, *images/(60*perOp)), perOp, false, nil)
	t.Logf("%d images", count)
	if err != nil {
		t.Fatal(err)
	}
}

// The images show a log that has one of these faults.
func TestCrashImagesPlanted(t *testing.T) {
	isHeader := func(o op) bool { return !o.cut && len(o.b) == block && (o.at-block)%testSlot == 0 }
	for _, c := range []struct {
		name   string
		early  bool
		isLate func(op) bool
	}{
		{"a header that is not durable before its first frame", false, isHeader},
		{"a slot that is free one group too early", true, nil},
		{"frames that are not durable", false, func(o op) bool { return !o.cut && len(o.b) > 0 && o.at > block && !isHeader(o) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			count, err := crashImages(100, 2, c.early, c.isLate)
			if err == nil {
				t.Fatalf("%d images did not show it", count)
			}
			t.Logf("after %d images: %v", count, err)
		})
	}
}

// blind reads older sectors, or rotten ones, as something else.
type blind struct {
	*memory
	h     *head
	older bool
}

func (b blind) ReadAt(p []byte, at int64) (int, error) {
	n, err := b.memory.ReadAt(p, at)
	newest := uint64(0)
	for i := block; i+sector <= n; i += sector {
		if number := b.h.number(p[i:], at+int64(i)); number != rotten {
			newest = max(newest, number)
		}
	}
	for i := block; i+sector <= n && n == testSlot; i += sector {
		number := b.h.number(p[i:], at+int64(i))
		switch {
		case b.older && number < newest:
			p[i], p[i+summed] = 1, ^p[i+summed]
		case !b.older && number == rotten:
			clear(p[i : i+sector])
		}
	}
	return n, err
}

// A reader that takes older sectors for rotten ones refuses torn frames.
func TestBlindToOlder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		d := &memory{r: r}
		l, err := start(d, Parent{}, testSlot)
		if err != nil {
			t.Fatal(err)
		}
		d.fails = func(n int) bool { return n >= 2 } // the frame, and what would void it
		l.Append(make([]byte, 3000), l.at(9))
		for _, older := range []bool{false, true} {
			again, err := load(blind{d, &l.head, older}, int64(len(d.data)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = again.Replay(0, func(uint64, []byte) error { return nil })
			switch {
			case !older && err != nil:
				t.Fatal(err)
			case older && errors.Is(err, ErrDamaged):
				return
			}
		}
	}
	t.Fatal("no torn frame was refused")
}
