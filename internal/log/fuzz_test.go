package log

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// FuzzReplay opens arbitrary bytes, with the sums made right if reseal is set, so that
// what lies behind them is reached.
func FuzzReplay(f *testing.F) {
	for seed := range uint64(3) {
		d := &memory{}
		h, err := play(newRand(seed), d, 12, false)
		if err != nil || h.last() == 0 {
			f.Fatal(err)
		}
		f.Add(d.data, uint64(seed), true)
		f.Add(d.data[:len(d.data)-testSlot/2], uint64(0), false)
	}
	f.Add([]byte(magic), uint64(0), true)
	f.Fuzz(func(t *testing.T, data []byte, after uint64, reseal bool) {
		data = append([]byte(nil), data...)
		if reseal && len(data) >= block {
			resealAll(data)
		}
		d := &memory{data: data}
		l, err := load(d, int64(len(data)))
		if err != nil {
			return
		}
		total := 0
		last, err := l.Replay(after, func(number uint64, payload []byte) error {
			if total += len(payload); number <= after {
				t.Errorf("group %d, after %d", number, after)
			}
			return nil
		})
		if total > len(data) {
			t.Errorf("%d bytes of groups in %d", total, len(data))
		}
		if err != nil {
			return
		}
		if last != l.Last() || l.Highest() < last {
			t.Errorf("last %d, %d, highest %d", last, l.Last(), l.Highest())
		}
		l.Free(last)
		l.Append([]byte("more"), l.Size())
	})
}

// resealAll makes the sums of all sectors right that are not zero.
func resealAll(data []byte) {
	binary.BigEndian.PutUint32(data[summed:], sum(0, data[:summed]))
	var h head
	if h.parse(data[:sector]) != nil {
		return
	}
	for at := block; at+sector <= len(data); at += sector {
		if s := data[at : at+sector]; !isZero(s) {
			h.seal(s, binary.BigEndian.Uint64(s[cargo:]), int64(at))
		}
	}
}
