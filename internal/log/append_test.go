package log

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
)

const noLimit = 1 << 40

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// replayed opens the log on d and returns it with the groups above after.
func replayed(t testing.TB, d disk, size int64, after uint64) (*Log, [][]byte) {
	t.Helper()
	l := must[*Log](t)(load(d, size))
	var got [][]byte
	last := must[uint64](t)(l.Replay(after, func(_ uint64, payload []byte) error {
		got = append(got, bytes.Clone(payload))
		return nil
	}))
	if last != l.Last() || l.Highest() < last {
		t.Fatalf("Replay returned %d, Last is %d, Highest %d", last, l.Last(), l.Highest())
	}
	return l, got
}

func TestParts(t *testing.T) {
	const slot = defaultSlot
	whole := (&head{Slot: slot}).longest()
	for _, c := range []struct{ length, frames, slots int }{
		{0, 1, 1}, {1, 1, 1}, {492, 1, 1}, {493, 1, 1}, {3992, 1, 1}, {3993, 1, 1},
		{whole - 1, 1, 1}, {whole, 1, 1}, {whole + 1, 2, 2}, {5 * whole, 5, 5}, {5*whole + 4000, 6, 6},
	} {
		t.Run(fmt.Sprint(c.length), func(t *testing.T) {
			d := &memory{}
			l := must[*Log](t)(start(d, Parent{}, slot))
			payload := bytes.Repeat([]byte("0123456789abc"), c.length/13+1)[:c.length]
			for i, p := range [][]byte{payload, []byte("next")} {
				if n := must[uint64](t)(l.Append(p, noLimit)); n != uint64(c.frames+i) || l.Last() != n {
					t.Errorf("number %d, last %d", n, l.Last())
				}
				if i == 0 && l.Used() != int64(c.slots*slot) {
					t.Errorf("%d bytes used", l.Used())
				}
			}
			_, got := replayed(t, d, int64(len(d.data)), 0)
			if len(got) != 2 || !bytes.Equal(got[0], payload) || string(got[1]) != "next" {
				t.Errorf("%d groups came back", len(got))
			}
		})
	}
}

func TestOneWritePerGroup(t *testing.T) {
	d := &memory{}
	l := must[*Log](t)(start(d, Parent{}, defaultSlot))
	must[uint64](t)(l.Append(nil, noLimit))
	for range 20 {
		before := len(d.ops)
		must[uint64](t)(l.Append(make([]byte, 9000), noLimit))
		if n := len(d.ops) - before; n != 1 {
			t.Fatalf("%d writes", n)
		}
	}
}

func TestLimit(t *testing.T) {
	d := &memory{}
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	limit := l.at(3)
	full := make([]byte, l.longest())
	var numbers []uint64
	for range 3 {
		numbers = append(numbers, must[uint64](t)(l.Append(full, limit)))
	}
	refused := func(n int, when string) {
		t.Helper()
		ops, last := len(d.ops), l.Last()
		if _, err := l.Append(make([]byte, n), limit); !errors.Is(err, ErrFull) || len(d.ops) != ops || l.Last() != last {
			t.Fatalf("%s: %v, %d writes", when, err, len(d.ops)-ops)
		}
	}
	refused(0, "all slots are full")
	l.Free(numbers[0])
	refused(l.longest()+1, "one slot is free, two are needed")
	if l.Used() != 2*testSlot || l.Size() != limit {
		t.Fatalf("%d of %d bytes used", l.Used(), l.Size())
	}
	must[uint64](t)(l.Append(full, limit))
	refused(1, "full again")
	before := l.Last()
	l.Free(before)
	large := bytes.Repeat([]byte("large"), testSlot)
	number := must[uint64](t)(l.Append(large, limit)) // everything before is free
	if l.Size() <= limit {
		t.Fatalf("%d bytes hold it", l.Size())
	}
	refused(3*testSlot, "the file is longer than its limit")
	if _, got := replayed(t, d, int64(len(d.data)), before); len(got) != 1 || !bytes.Equal(got[0], large) {
		t.Fatalf("%d groups came back", len(got))
	}
	l.Free(number)
	must[uint64](t)(l.Append(full, limit))
	l.Free(l.Last())
	must[uint64](t)(l.Append(full, limit))
	l.Free(l.Last())
	if l.Size() > limit || int64(len(d.data)) != l.Size() {
		t.Errorf("%d bytes (%d), limit %d, after everything was freed", l.Size(), len(d.data), limit)
	}
}

// The file stays as short as its limit for many rounds, and all that is not free is there.
func TestRecycling(t *testing.T) {
	d := &memory{}
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	limit := l.at(4)
	held := map[uint64]string{}
	for i := range 3000 {
		payload := fmt.Sprintf("%0*d", i%3000+1, i)
		number, err := l.Append([]byte(payload), limit)
		if errors.Is(err, ErrFull) {
			l.Free(l.Last())
			clear(held)
			number, err = l.Append([]byte(payload), limit)
		}
		if err != nil || l.Size() > limit {
			t.Fatal(i, err, l.Size())
		}
		held[number] = payload
		d.ops = nil
		if i%100 == 0 {
			again := must[*Log](t)(load(d, l.Size()))
			n := 0
			must[uint64](t)(again.Replay(l.freed, func(number uint64, payload []byte) error {
				if n++; held[number] != string(payload) {
					return fmt.Errorf("group %d is another one", number)
				}
				return nil
			}))
			if n != len(held) {
				t.Fatalf("%d groups of %d", n, len(held))
			}
		}
	}
}

// Free and the figures do not wait for a disk that works on an Append.
func TestNothingElseWaits(t *testing.T) {
	d := &memory{}
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	number := must[uint64](t)(l.Append([]byte("first"), noLimit))
	reached, gate := make(chan struct{}), make(chan struct{})
	d.before = func() {
		reached <- struct{}{}
		<-gate
	}
	done := make(chan error)
	go func() {
		_, err := l.Append(make([]byte, 2*testSlot), noLimit)
		done <- err
	}()
	for range 6 { // three slots are appended, then headers and parts are written
		<-reached
		l.Free(number)
		if l.Last() != number || l.Size() < l.at(1) || l.Used() < testSlot || l.Highest() < number {
			t.Errorf("last %d, size %d, used %d", l.Last(), l.Size(), l.Used())
		}
		gate <- struct{}{}
	}
	go func() {
		for range reached {
			gate <- struct{}{}
		}
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	close(reached)
}

func TestFreeIsBounded(t *testing.T) {
	d := &memory{}
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	must[uint64](t)(l.Append(make([]byte, l.longest()), noLimit))
	l.Free(1 << 60)
	must[uint64](t)(l.Append(make([]byte, l.longest()), noLimit))
	must[uint64](t)(l.Append(make([]byte, l.longest()), noLimit))
	if _, got := replayed(t, d, int64(len(d.data)), 1); len(got) != 2 {
		t.Errorf("%d groups of 2: what came after Free was free", len(got))
	}
}

func TestOrder(t *testing.T) {
	d := &memory{}
	l := must[*Log](t)(start(d, Parent{}, testSlot))
	none := func(uint64, []byte) error { return nil }
	if _, err := l.Replay(0, none); !errors.Is(err, errOrder) {
		t.Errorf("Replay after start: %v", err)
	}
	must[uint64](t)(l.Append(nil, noLimit))
	again := must[*Log](t)(load(d, int64(len(d.data))))
	if _, err := again.Append(nil, noLimit); !errors.Is(err, errOrder) {
		t.Errorf("Append before Replay: %v", err)
	}
	again.Free(1)
	if _, err := again.Replay(0, func(uint64, []byte) error { return errDisk }); err != errDisk {
		t.Errorf("the error of fn came back as %v", err)
	}
	again.readOnly = true
	must[uint64](t)(again.Replay(0, none))
	if _, err := again.Append(nil, noLimit); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Append to what is read only: %v", err)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	l.Free(1)
	if _, err := l.Append(nil, noLimit); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Append after Close: %v", err)
	}
}
