package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
)

// swap turns the numbers of a meta page into the other byte order.
func swap(b []byte) {
	for at := 0; at < atRoot; at += 4 {
		slices.Reverse(b[at : at+4])
	}
	for at := atRoot; at < metaLen; at += 8 {
		slices.Reverse(b[at : at+8])
	}
}

// TestReadMetas changes one thing in a file of a few commits, whose newest meta page is
// page n and whose other is page o.
func TestReadMetas(t *testing.T) {
	t.Parallel()
	steps := []step{fill(told, 0, 10, 10), fill(told, 10, 200, 100), fill(told, 200, 210, 10), fill(told, 210, 220, 10)}
	var files [][]byte
	for commits := 2; commits <= len(steps); commits++ {
		file := build(t, bbolt.Options{}, steps[:commits]...)
		files = append(files, file[:metasOf(t, file).Newest.Pages*4096]) // without what bbolt allocates ahead
	}
	const both, lost, bad = "both", "lost", "bad"
	for _, row := range []struct {
		name, want string
		newest     bool // the newest page counts, if one is lost
		text       string
		do         func(f []byte, n, o int) []byte
	}{
		{"nothing", both, true, "", func(f []byte, n, o int) []byte { return f }},
		{"longer than it counts", both, true, "", func(f []byte, n, o int) []byte { return append(f, 1, 2, 3) }},
		{"reverted", both, false, "", func(f []byte, n, o int) []byte { copy(content(f, 4096, n), content(f, 4096, o)); return f }},
		{"newest copied", both, true, "", func(f []byte, n, o int) []byte { copy(content(f, 4096, o), content(f, 4096, n)); return f }},
		{"header of a meta page", both, true, "", func(f []byte, n, o int) []byte { f[n*4096] ^= 1; return f }},
		{"freelist abandoned", both, true, "", func(f []byte, n, o int) []byte {
			setMeta(f, 4096, n, atFreelist, math.MaxUint64)
			setMeta(f, 4096, o, atFreelist, math.MaxUint64)
			return f
		}},
		{"newest zeroed", lost, false, "no mark", func(f []byte, n, o int) []byte { clear(f[n*4096:][:4096]); return f }},
		{"older zeroed", lost, true, "no mark", func(f []byte, n, o int) []byte { clear(f[o*4096:][:4096]); return f }},
		{"newest torn", lost, false, "checksum", func(f []byte, n, o int) []byte { clear(content(f, 4096, n)[atTx:]); return f }},
		{"older of another version", lost, true, "version", func(f []byte, n, o int) []byte { setMeta(f, 4096, o, atVersion, 3); return f }},
		{"older out of date", lost, true, "out of date", func(f []byte, n, o int) []byte {
			setMeta(f, 4096, o, atTx, getTx(f, o)-2)
			return f
		}},
		{"newest from far ahead", lost, true, "out of date", func(f []byte, n, o int) []byte {
			setMeta(f, 4096, n, atTx, getTx(f, n)+2)
			return f
		}},
		{"older counts more pages than the newest", lost, true, "out of date", func(f []byte, n, o int) []byte {
			setMeta(f, 4096, o, atPages, uint64(len(f)/4096+1))
			return f
		}},
		{"older in the other byte order", lost, true, "byte order", func(f []byte, n, o int) []byte { swap(content(f, 4096, o)); return f }},
		{"both zeroed", bad, false, "mark of bbolt", func(f []byte, n, o int) []byte { clear(f[:8192]); return f }},
		{"one zeroed, one torn", bad, false, "checksum", func(f []byte, n, o int) []byte {
			clear(f[:4096])
			clear(content(f, 4096, 1)[atTx:])
			return f
		}},
		{"both in the other byte order", bad, false, "byte order", func(f []byte, n, o int) []byte {
			swap(content(f, 4096, 0))
			swap(content(f, 4096, 1))
			return f
		}},
		{"same transaction, other content", bad, false, "contradict", func(f []byte, n, o int) []byte {
			setMeta(f, 4096, o, atTx, getTx(f, n))
			return f
		}},
		{"two page sizes", bad, false, "contradict", func(f []byte, n, o int) []byte { setMeta(f, 4096, 1, atPageSize, 8192); return f }},
		{"page size of 0", bad, false, " 0 bytes long", func(f []byte, n, o int) []byte {
			setMeta(f, 4096, 0, atPageSize, 0)
			setMeta(f, 4096, 1, atPageSize, 0)
			return f
		}},
		{"page size of 3000", bad, false, "3000 bytes long", func(f []byte, n, o int) []byte { setMeta(f, 4096, 0, atPageSize, 3000); return f }},
		{"page size of 128 KiB", bad, false, "131072 bytes long", func(f []byte, n, o int) []byte { setMeta(f, 4096, 0, atPageSize, 1<<17); return f }},
		{"newest counts more pages than the file", bad, false, "cut short", func(f []byte, n, o int) []byte {
			setMeta(f, 4096, n, atPages, uint64(len(f)/4096+1))
			return f
		}},
		{"number of pages beyond all", bad, false, "cut short", func(f []byte, n, o int) []byte { setMeta(f, 4096, n, atPages, 1<<63); return f }},
		{"one byte less than it counts", bad, false, "cut short", func(f []byte, n, o int) []byte { return f[:len(f)-1] }},
		{"the first page alone", bad, false, "cut short", func(f []byte, n, o int) []byte { return f[:4096] }},
		{"the first and half of the second", bad, false, "cut short", func(f []byte, n, o int) []byte { return f[:6000] }},
		{"half of the first meta page", bad, false, "checksum", func(f []byte, n, o int) []byte { return f[:50] }},
		{"last of all transactions", bad, false, "can follow", func(f []byte, n, o int) []byte { setMeta(f, 4096, n, atTx, math.MaxUint64); return f }},
		{"transaction 0 copied", bad, false, "can follow", func(f []byte, n, o int) []byte {
			setMeta(f, 4096, 0, atTx, 0)
			setMeta(f, 4096, 1, atTx, math.MaxUint64)
			return f
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, file := range files {
				was := metasOf(t, file)
				n := int(was.Newest.Tx % 2)
				file = row.do(bytes.Clone(file), n, 1-n)
				m, err := ReadMetas(bytes.NewReader(file), int64(len(file)))
				if row.want == bad {
					if !errors.Is(err, ErrDamaged) || !says(err, row.text) || m != (Metas{}) {
						t.Fatalf("%+v, %v; want ErrDamaged that says %q", m, err, row.text)
					}
					continue
				}
				if err != nil || (m.Lost != nil) != (row.want == lost) {
					t.Fatalf("%+v, %v; want %s", m, err, row.want)
				}
				if m.Lost != nil && (!errors.Is(m.Lost, ErrDamaged) || errors.Is(m.Lost, ErrForeign) || !says(m.Lost, row.text) || m.Older != (Meta{})) {
					t.Errorf("%+v; want a loss that says %q", m, row.text)
				}
				if row.newest != (m.Newest.Root == was.Newest.Root) {
					t.Errorf("newest %+v of %+v", m.Newest, was)
				}
			}
		})
	}
}

// TestReadMetasOfOthers: what is no file of bbolt is told apart from a damaged one.
func TestReadMetasOfOthers(t *testing.T) {
	for _, row := range []struct {
		name string
		file []byte
		want error
	}{
		{"empty", nil, ErrEmpty},
		{"a byte", []byte("x"), ErrForeign},
		{"text", bytes.Repeat([]byte("plain text, and no table\n"), 4000), ErrForeign},
		{"zeros", make([]byte, 1<<16), ErrForeign},
	} {
		m, err := ReadMetas(bytes.NewReader(row.file), int64(len(row.file)))
		if !errors.Is(err, row.want) || !errors.Is(err, ErrDamaged) || m != (Metas{}) {
			t.Errorf("%s: %+v, %v; want %v", row.name, m, err, row.want)
		}
	}
}

// TestMetaBits flips every bit of each meta page: that page is lost, and the other one
// counts, at every page size.
func TestMetaBits(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		file := build(t, bbolt.Options{PageSize: size}, fill(told, 0, 10, 10), fill(told, 10, 20, 10))
		was := metasOf(t, file)
		for page := range 2 {
			left := was.Newest
			if was.Newest.Tx%2 == uint64(page) {
				left = was.Older
			}
			for bit := range metaLen * 8 {
				b := content(file, size, page)
				b[bit/8] ^= 1 << (bit % 8)
				m, err := ReadMetas(bytes.NewReader(file), int64(len(file)))
				if err != nil || m.Lost == nil || m.Newest != left {
					t.Fatalf("page size %d, page %d, bit %d: %+v, %v", size, page, bit, m, err)
				}
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
}

// TestMetasThatBboltLeaves: copies by Tx.WriteTo, reverted and doubled meta pages, and
// what the commits after them leave are sound, and never an older state than bbolt takes.
func TestMetasThatBboltLeaves(t *testing.T) {
	t.Parallel()
	double := func(file []byte, newest bool) []byte {
		n := 0
		if (getTx(file, 1) > getTx(file, 0)) == newest {
			n = 1
		}
		copy(content(file, 4096, 1-n), content(file, 4096, n))
		return file
	}
	for _, row := range []struct {
		name string
		do   func(file []byte) []byte
	}{
		{"nothing", func(f []byte) []byte { return f }},
		{"copied", func(f []byte) []byte { return copied(t, f) }},
		{"reverted", func(f []byte) []byte { return double(f, false) }},
		{"newest doubled", func(f []byte) []byte { return double(f, true) }},
		{"copied, then reverted", func(f []byte) []byte { return double(copied(t, f), false) }},
		{"copied, committed, reverted", func(f []byte) []byte {
			return double(commit(t, copied(t, f), bbolt.Options{}, fill(told, 5, 6, 1)), false)
		}},
		{"reverted, then copied", func(f []byte) []byte { return copied(t, double(f, false)) }},
	} {
		for commits := 1; commits < 5; commits++ {
			file := build(t, bbolt.Options{}, slices.Repeat([]step{fill(told, 0, 10, 10)}, commits)...)
			file = row.do(file)
			for after := range 4 {
				m := metasOf(t, file)
				inBbolt(t, file, func(tx *bbolt.Tx) error {
					if uint64(tx.ID()) != m.Newest.Tx {
						t.Errorf("%s after %d commits and %d more: transaction %d; bbolt has %d", row.name, commits, after, m.Newest.Tx, tx.ID())
					}
					return nil
				})
				if _, err := walkedBytes(file); err != nil {
					t.Errorf("%s after %d commits and %d more: %v", row.name, commits, after, err)
				}
				file = commit(t, file, bbolt.Options{}, fill(told, 10*after, 10*after+10, 10))
			}
		}
	}
}

// TestReadHead: the head changes with a commit, and only then.
func TestReadHead(t *testing.T) {
	file := build(t, bbolt.Options{PageSize: 1024}, fill(told, 0, 10, 10))
	head, err := ReadHead(bytes.NewReader(file), 1024)
	again, err2 := ReadHead(bytes.NewReader(bytes.Clone(file)), 1024)
	if err != nil || err2 != nil || head != again {
		t.Fatal(err, err2, head == again)
	}
	if binary.NativeEndian.Uint32(head[0][:]) != magic || binary.NativeEndian.Uint32(head[1][:]) != magic {
		t.Errorf("%x", head)
	}
	next, err := ReadHead(bytes.NewReader(commit(t, file, bbolt.Options{}, fill(told, 0, 1, 1))), 1024)
	if err != nil || next == head {
		t.Errorf("after a commit: %v, changed: %v", err, next != head)
	}
	if _, err := ReadHead(bytes.NewReader(file[:1100]), 1024); !errors.Is(err, ErrDamaged) {
		t.Errorf("cut short: %v", err)
	}
}
