package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// testName is the name of a journal that no file has.
var testName = journalName{'a', ' ', 'j', 'o', 'u', 'r', 'n', 'a', 'l', ' ', 'o', 'f', ' ', 'o', 'n', 'e'}

// puts returns an op that puts what is given under the IDs of the records from n on.
func puts(n int, values ...string) *op {
	o := new(op)
	for i, v := range values {
		o.puts = append(o.puts, entry{id: record(n + i).ID, value: []byte(v)})
	}
	return o
}

// deletes returns an op that deletes the records of those numbers.
func deletes(numbers ...int) *op {
	o := new(op)
	for _, n := range numbers {
		o.deletes = append(o.deletes, record(n).ID)
	}
	return o
}

type frameCase struct {
	name string
	ops  []*op
	mark []byte
	want []change
}

func frameCases() []frameCase {
	put := func(n int, value string) change { return change{id: record(n).ID, value: []byte(value)} }
	gone := func(n int) change { return change{id: record(n).ID} }
	long := string(bytes.Repeat([]byte("v"), 3*blockLen))
	mark := encodeMark(storage.Mark{At: markInstant, Epoch: 7})
	return []frameCase{
		{"nothing", nil, nil, nil},
		{"an op with nothing", []*op{{}}, nil, nil},
		{"one put", []*op{puts(1, "v")}, nil, []change{put(1, "v")}},
		{"a put of nothing", []*op{puts(1, "")}, nil, []change{put(1, "")}},
		{"a put of zeros", []*op{puts(1, "\x00\x00\x00\x00")}, nil, []change{put(1, "\x00\x00\x00\x00")}},
		{"a put over several blocks", []*op{puts(1, long)}, nil, []change{put(1, long)}},
		{"one of many", []*op{puts(1, "a", "", "c")}, nil, []change{put(1, "a"), put(2, ""), put(3, "c")}},
		{"deletes", []*op{deletes(2, 1)}, nil, []change{gone(2), gone(1)}},
		{"many", []*op{puts(1, "a"), deletes(1), puts(1, "b")}, nil, []change{put(1, "a"), gone(1), put(1, "b")}},
		{"a mark", nil, mark, nil},
		{"a mark behind others", []*op{deletes(1), puts(2, "v")}, mark, []change{gone(1), put(2, "v")}},
	}
}

// TestFrame: what is in a frame comes out of it, in its order, whatever is behind it, and
// it takes no more room than was foreseen.
func TestFrame(t *testing.T) {
	for _, row := range frameCases() {
		b := appendFrame(nil, testName, 42, row.ops, row.mark)
		if spare := frameLen(row.ops) - len(b); spare < 0 || row.mark != nil && spare != 0 {
			t.Errorf("%s: %d bytes; %d were foreseen", row.name, len(b), frameLen(row.ops))
		}
		f, ok := parseFrame(append(bytes.Clone(b), make([]byte, inBlocks(len(b))-len(b))...), testName)
		if !ok || f.seq != 42 || f.sum != binary.BigEndian.Uint32(b) || frameHeader+len(f.entries) != len(b) {
			t.Errorf("%s: %+v, %v", row.name, f, ok)
		}
		before := []change{{id: record(99).ID}}
		got, mark, err := f.changes(before)
		want := append(slices.Clone(before), row.want...)
		if err != nil || !cmp.Equal(want, got, cmp.AllowUnexported(change{})) || !bytes.Equal(mark, row.mark) || (mark == nil) != (row.mark == nil) {
			t.Errorf("%s: %v, %x, %v; want %v", row.name, got, mark, err, want)
		}
		for i := range got {
			if (got[i].value == nil) != (want[i].value == nil) {
				t.Errorf("%s: change %d deletes: %v", row.name, i, got[i].value == nil)
			}
		}
	}
}

// TestFrameLayout pins the bytes of a frame: what a crash has left must be read by later
// versions, too.
func TestFrameLayout(t *testing.T) {
	got := appendFrame(nil, testName, 0x0102030405060708, []*op{puts(1, "value"), deletes(2)}, []byte("mark"))
	want := "fedbb617" + "00000045" + hex.EncodeToString(testName[:]) + "0102030405060708" +
		hex.EncodeToString(id(1)) + "00000005" + hex.EncodeToString([]byte("value")) +
		hex.EncodeToString(id(2)) + "ffffffff" +
		"00000000000000000000000000000000" + "00000004" + hex.EncodeToString([]byte("mark"))
	if hex.EncodeToString(got) != want {
		t.Errorf("%x; want %s", got, want)
	}
}

func id(n int) []byte { r := record(n); return r.ID[:] }

// TestFrameDamaged: what is not to the bit what was written is no frame.
func TestFrameDamaged(t *testing.T) {
	for _, row := range frameCases() {
		b := appendFrame(nil, testName, 42, row.ops, row.mark)
		for n := range b {
			if _, ok := parseFrame(b[:n], testName); ok {
				t.Errorf("%s: cut to %d of %d bytes it is a frame", row.name, n, len(b))
			}
		}
		for bit := 0; bit < 8*len(b); bit += 1 + len(b)/1000 {
			b[bit/8] ^= 1 << (bit % 8)
			if _, ok := parseFrame(b, testName); ok {
				t.Errorf("%s: without bit %d it is a frame", row.name, bit)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
		other := testName
		other[15] ^= 1
		if _, ok := parseFrame(b, other); ok {
			t.Errorf("%s: it is a frame of another journal", row.name)
		}
	}
}

// TestFrameLengths: a frame whose checksum fits says how long it is, which may be nothing
// that can be.
func TestFrameLengths(t *testing.T) {
	whole := appendFrame(nil, testName, 42, []*op{puts(1, "value")}, nil)
	n := uint32(len(whole) - frameHeader)
	for _, row := range []struct {
		name  string
		len   uint32
		value uint32
		frame bool
		fails bool
	}{
		{"as it was", n, 5, true, false},
		{"no entry", 0, 5, true, false},
		{"entries as long as all", n, 4, true, true},
		{"one byte short of the value", n - 1, 5, true, true},
		{"one byte short of the value, which says so", n - 1, 4, true, false},
		{"half of an entry's beginning", entryHeader - 1, 5, true, true},
		{"an entry's beginning alone", entryHeader, 5, true, true},
		{"an entry's beginning, which says so", entryHeader, 0, true, false},
		{"a value longer than the frame", n, 6, true, true},
		{"a value of the greatest length", n, math.MaxUint32 - 1, true, true},
		{"a delete with a value", n, deletedLen, true, true},
		{"a byte more than there is", n + 1, 5, false, false},
		{"more than an int32", 1 << 31, 5, false, false},
		{"the greatest length", math.MaxUint32, 5, false, false},
	} {
		b := bytes.Clone(whole)
		binary.BigEndian.PutUint32(b[4:], row.len)
		binary.BigEndian.PutUint32(b[frameHeader+16:], row.value)
		binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:min(uint64(len(b)), uint64(frameHeader)+uint64(row.len))], castagnoli))
		f, ok := parseFrame(b, testName)
		if ok != row.frame {
			t.Errorf("%s: a frame: %v; want %v", row.name, ok, row.frame)
		}
		if !ok {
			continue
		}
		if _, _, err := f.changes(nil); (err != nil) != row.fails || err != nil && !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v; want an error: %v", row.name, err, row.fails)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, row := range frameCases() {
		b := appendFrame(nil, testName, 42, row.ops, row.mark)
		f.Add(b, true)
		f.Add(b, false)
		f.Add(append(b, b...), true)
	}
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if n := frameHeader; mend && len(b) >= n { // so that what lies behind the checksum is reached
			b = bytes.Clone(b)
			copy(b[8:], testName[:])
			if length := uint64(binary.BigEndian.Uint32(b[4:])); length <= uint64(len(b)-n) {
				n += int(length)
			} else {
				n = len(b)
				binary.BigEndian.PutUint32(b[4:], uint32(n-frameHeader))
			}
			binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:n], castagnoli))
		}
		f, ok := parseFrame(b, testName)
		if !ok {
			if mend && len(b) >= frameHeader {
				t.Fatalf("%x is none", b)
			}
			return
		}
		list, mark, err := f.changes(nil)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("refused with %v; want ErrCorrupt", err)
			}
			return
		}
		var ops []*op
		for _, c := range list {
			o := &op{deletes: []storage.ID{c.id}}
			if c.value != nil {
				o = &op{puts: []entry{{id: c.id, value: c.value}}}
			}
			ops = append(ops, o)
		}
		again := appendFrame(nil, testName, f.seq, ops, nil)
		if mark == nil && !bytes.Contains(f.entries, make([]byte, 16)) && !bytes.Equal(again, b[:len(again)]) {
			t.Fatalf("accepted %x, which encodes as %x", b, again)
		}
	})
}
