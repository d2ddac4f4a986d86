package counter

import (
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/seed-55daa01a/lapse/internal/ratio"
)

// TestSums: what is added to a counter, by any number of goroutines, is in its
// sum and in no other one.
func TestSums(t *testing.T) {
	for _, keys := range []int{1, lineLen - 1, lineLen, lineLen + 1, 900} {
		table := New(keys)
		want := make([]uint64, keys)
		if got := table.Sums(); !slices.Equal(got, want) {
			t.Fatalf("%d keys: a new table has %v", keys, got)
		}
		var adders sync.WaitGroup
		for adder := range 4 {
			adders.Go(func() {
				for range 256 {
					for _, key := range []int{0, keys / 2, keys - 1} {
						table.Add(key, uint64(adder+1))
					}
				}
			})
		}
		adders.Wait()
		for _, key := range []int{0, keys / 2, keys - 1} {
			want[key] += 256 * (1 + 2 + 3 + 4)
		}
		if got := table.Sums(); !slices.Equal(got, want) {
			t.Errorf("%d keys: %v; want %v", keys, got, want)
		}
	}
}

// TestStripesShareNoLine: neighbouring stripes of a counter are at least 128 bytes apart, and there
// is more than one stripe.
func TestStripesShareNoLine(t *testing.T) {
	table := New(1)
	if len(table.stripes) < 2 {
		t.Fatalf("%d stripes", len(table.stripes))
	}
	table.add(0, 0, 1)
	table.add(0, 1, 1)
	a, b := *table.stripes[0].Load(), *table.stripes[1].Load()
	if a[0].Load() != 1 || b[0].Load() != 1 {
		t.Errorf("%d in the first stripe, %d in the second", a[0].Load(), b[0].Load())
	}
	if apart := int64(uintptr(unsafe.Pointer(&a[0]))) - int64(uintptr(unsafe.Pointer(&b[0]))); max(apart, -apart) < 128 {
		t.Errorf("the stripes are %d bytes apart", apart)
	}
}

// TestStripesAreMadeWhenAddedTo: a new table has no stripe, and additions to one make that one, even
// if many goroutines make the first.
func TestStripesAreMadeWhenAddedTo(t *testing.T) {
	table := New(3)
	var adders sync.WaitGroup
	for range 32 {
		adders.Go(func() { table.add(2, 1, 1) })
	}
	adders.Wait()
	for i := range table.stripes {
		if made := table.stripes[i].Load() != nil; made != (i == 1) {
			t.Errorf("stripe %d: made is %v", i, made)
		}
	}
	if got := table.Sums()[2]; got != 32 {
		t.Errorf("counted %d of 32", got)
	}
}

// TestHere: of many goroutines each keeps to one stripe, and all together they use many.
func TestHere(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]int{}
	var all, back sync.WaitGroup
	all.Add(256) // none gives its stack to another one
	for range 256 {
		back.Go(func() {
			first := here()
			for range 1000 {
				if n := here(); n != first || n < 0 || n >= maxStripes {
					t.Errorf("%d after %d", n, first)
				}
			}
			mu.Lock()
			seen[first]++
			mu.Unlock()
			all.Done()
			all.Wait()
		})
	}
	back.Wait()
	if len(seen) < maxStripes/2 {
		t.Errorf("256 goroutines use %d stripes of %d", len(seen), maxStripes)
	}
}

// TestNilTable: a nil Table counts nothing.
func TestNilTable(t *testing.T) {
	var table *Table
	table.Add(3, 1)
	if got := table.Sums(); got != nil {
		t.Errorf("%v", got)
	}
}

// BenchmarkStripes compares two goroutines that add to two stripes with two that add to one.
func BenchmarkStripes(b *testing.B) {
	table := New(900)
	both := func(other int) func(int) {
		return func(int) {
			var adders sync.WaitGroup
			for _, stripe := range []int{0, other} {
				adders.Go(func() {
					for range 100000 {
						table.add(1, stripe, 1)
					}
				})
			}
			adders.Wait()
		}
	}
	ratio.Of(b, 5, both(1), both(0))
}
