package log

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

var bits = flag.Int("bits", 1000, "bits that TestRot flips; 0 for each")

// rotting returns a log whose slots were used several times, and the groups above after.
func rotting(t *testing.T) (d *memory, after uint64, want [][]byte) {
	t.Helper()
	d = &memory{}
	r := rand.New(rand.NewPCG(5, 5))
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	for i := range 60 {
		payload := make([]byte, r.IntN(1500)+3*block*(i%7/6))
		for k := range payload {
			payload[k] = byte(r.Uint32())
		}
		number, err := l.Append(payload, l.at(5))
		if errors.Is(err, ErrFull) {
			after, want = l.Last(), nil
			l.Free(after)
			number = must[uint64](t)(l.Append(payload, l.at(5)))
		}
		if number > after {
			want = append(want, payload)
		}
	}
	return d, after, want
}

// flipped replays d with one bit flipped, and returns an error if groups are missing or
// other ones and nothing says so.
func flipped(read func(*memory) disk, d *memory, bit int, after uint64, want [][]byte) (refused bool, err error) {
	d.data[bit/8] ^= 1 << (bit % 8)
	defer func() { d.data[bit/8] ^= 1 << (bit % 8) }()
	l, err := load(read(d), int64(len(d.data)))
	n := 0
	if err == nil {
		_, err = l.Replay(after, func(number uint64, payload []byte) error {
			if n++; n > len(want) || !bytes.Equal(payload, want[n-1]) {
				return fmt.Errorf("bit %d: group %d is another one", bit, number)
			}
			return nil
		})
	}
	switch {
	case errors.Is(err, ErrDamaged):
		return true, nil
	case err != nil:
		return false, err
	case n != len(want):
		return false, fmt.Errorf("bit %d: %d groups of %d, and no error", bit, n, len(want))
	}
	return false, nil
}

func TestRot(t *testing.T) {
	d, after, want := rotting(t)
	if len(want) < 5 {
		t.Fatalf("%d groups", len(want))
	}
	all := len(d.data) * 8
	step := 1
	if *bits > 0 {
		step = max(1, all / *bits) | 1
	}
	refused := 0
	for bit := 0; bit < all; bit += step {
		said, err := flipped(func(m *memory) disk { return m }, d, bit, after, want)
		if err != nil {
			t.Fatal(err)
		}
		if said {
			refused++
		}
	}
	t.Logf("%d of %d flips refused, %d groups", refused, all/step, len(want))
	if refused == 0 {
		t.Error("no flip was refused")
	}
}

// A reader that takes what is rotten for torn loses groups, and the flips show that.
func TestRotPlanted(t *testing.T) {
	d, after, want := rotting(t)
	l := must[*Log](t)(load(d, int64(len(d.data))))
	for bit := range len(d.data) * 8 / 997 {
		_, err := flipped(func(m *memory) disk { return blind{m, &l.head, false} }, d, bit*997, after, want)
		if err != nil {
			t.Log(err)
			return
		}
	}
	t.Fatal("nothing was found")
}

// Frames, headers and slots that were lost as a whole are noticed where later ones tell. The
// frames of version 1 take a block each.
func TestLost(t *testing.T) {
	for _, v := range []uint16{oldVersion, version} {
		unit, perSlot := int64(sector), int64(testSlot-block)/sector
		if v == oldVersion {
			unit, perSlot = block, int64(testSlot-block)/block
		}
		last := perSlot - 2 // the frame before the last one in slot 2
		build := func() (*memory, *Log) {
			d := &memory{}
			l := startVersion(t, d, v)
			for range 2*perSlot + last + 1 {
				must[uint64](t)(l.Append([]byte("group"), noLimit))
			}
			return d, l
		}
		all := int(2*perSlot + last + 1)
		frame := func(l *Log, slot int, i int64) int64 { return l.at(slot) + block + i*unit }
		zero := func(d *memory, at, n int64) { clear(d.data[at:][:n]) }
		for _, c := range []struct {
			name string
			do   func(d *memory, l *Log)
			want int // groups, or -1 for ErrDamaged
		}{
			{"nothing", func(d *memory, l *Log) {}, all},
			{"the last frame", func(d *memory, l *Log) { zero(d, frame(l, 2, last), unit) }, all - 1}, // as if never written
			{"the last frame but one", func(d *memory, l *Log) { zero(d, frame(l, 2, last-1), unit) }, -1},
			{"the first sector of the last frame but one", func(d *memory, l *Log) { zero(d, frame(l, 2, last-1), sector) }, -1},
			{"a frame of another slot", func(d *memory, l *Log) { zero(d, frame(l, 1, perSlot-1), unit) }, -1},
			{"the header of the first slot", func(d *memory, l *Log) { zero(d, l.at(0), block) }, -1},
			{"the header of the second slot", func(d *memory, l *Log) { zero(d, l.at(1), block) }, -1},
			{"half of a header", func(d *memory, l *Log) { zero(d, l.at(1), 20) }, -1},
			{"a sector in another place", func(d *memory, l *Log) { copy(d.data[frame(l, 1, 0):], d.data[frame(l, 1, 1):][:sector]) }, -1},
			{"a slot in another place", func(d *memory, l *Log) { copy(d.data[l.at(0):], d.data[l.at(1):l.at(2)]) }, -1},
			{"block 0", func(d *memory, l *Log) { zero(d, 0, block) }, -1},
			{"the end of the last slot", func(d *memory, l *Log) { d.data = d.data[:l.at(3)-1] }, -1},
			{"the end of block 0", func(d *memory, l *Log) { d.data = d.data[:sector-1] }, -1},
			{"the last slot before its header", func(d *memory, l *Log) { d.data = append(d.data, make([]byte, 700)...) }, all},
		} {
			t.Run(fmt.Sprintf("version %d, %s", v, c.name), func(t *testing.T) {
				d, l := build()
				c.do(d, l)
				again, err := load(d, int64(len(d.data)))
				n := 0
				if err == nil {
					_, err = again.Replay(0, func(uint64, []byte) error { n++; return nil })
				}
				if c.want < 0 && !errors.Is(err, ErrDamaged) || c.want >= 0 && (err != nil || n != c.want) {
					t.Errorf("%d groups, %v", n, err)
				}
			})
		}
	}
}

// startVersion is start for a log of that version.
func startVersion(t *testing.T, d disk, v uint16) *Log {
	t.Helper()
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	l.Version = v
	if err := d.Write(must[[]byte](t)(l.block()), 0); err != nil {
		t.Fatal(err)
	}
	return l
}

// A log of version 1 is read, and goes on in blocks.
func TestOldVersionGoesOn(t *testing.T) {
	d := &memory{}
	l := startVersion(t, d, oldVersion)
	must[uint64](t)(l.Append([]byte("one"), noLimit))
	for _, want := range []int{1, 2, 3} {
		again := must[*Log](t)(load(d, int64(len(d.data))))
		n := 0
		must[uint64](t)(again.Replay(0, func(uint64, []byte) error { n++; return nil }))
		if n != want || again.Version != oldVersion {
			t.Fatalf("%d groups of %d, version %d", n, want, again.Version)
		}
		must[uint64](t)(again.Append([]byte("more"), noLimit))
		if again.pos != 2*block {
			t.Fatalf("the frame ends at %d", again.pos)
		}
	}
}

// Frames that share a block are written again with the same bytes, so that a write that is torn
// loses none of those before it.
func TestSharedBlock(t *testing.T) {
	d := &memory{}
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	const frames = block/sector + 2
	for i := range frames {
		must[uint64](t)(l.Append([]byte{byte(i)}, noLimit))
	}
	for i, o := range d.ops[len(d.ops)-frames:] {
		if len(o.b) != block || o.at%block != 0 {
			t.Errorf("write %d has %d bytes at %d", i, len(o.b), o.at)
		}
		for k := range i % (block / sector) {
			if at := k * sector; !bytes.Equal(o.b[at:][:sector], d.data[o.at+int64(at):][:sector]) {
				t.Errorf("write %d changes frame %d of its block", i, k)
			}
		}
	}
}

// An older state of the database than what was freed is refused.
func TestAfterIsTooOld(t *testing.T) {
	d := &memory{}
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	for range 7 {
		must[uint64](t)(l.Append(make([]byte, 7000), l.at(3)))
		l.Free(l.Last())
	}
	for after := range uint64(8) {
		again := must[*Log](t)(load(d, int64(len(d.data))))
		_, err := again.Replay(after, func(uint64, []byte) error { return nil })
		if lowest := uint64(5); (err != nil) != (after < lowest) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("after %d: %v", after, err)
		}
	}
}

// unreadable fails the n-th read.
type unreadable struct {
	*memory
	n *int
}

func (u unreadable) ReadAt(b []byte, at int64) (int, error) {
	if *u.n--; *u.n < 0 {
		return 0, errDisk
	}
	return u.memory.ReadAt(b, at)
}

// An error of reading is no damage.
func TestReadError(t *testing.T) {
	d, after, want := rotting(t)
	for n := 0; ; n++ {
		left, seen := n, 0
		l, err := load(unreadable{d, &left}, int64(len(d.data)))
		if err == nil {
			_, err = l.Replay(after, func(uint64, []byte) error { seen++; return nil })
		}
		if err == nil && seen == len(want) && n > 5 {
			return
		}
		if err != errDisk {
			t.Fatalf("read %d: %v", n, err)
		}
	}
}
