package tree

import "testing"

// TestAllocSize: a file grows by a sixteenth, by 16 KiB at least and 16 MiB at most.
func TestAllocSize(t *testing.T) {
	for _, row := range []struct {
		size int64
		want int
	}{{0, 16 << 10}, {256 << 10, 16 << 10}, {1 << 20, 64 << 10}, {256 << 20, 16 << 20}, {10 << 30, 16 << 20}} {
		if got := allocSize(row.size); got != row.want {
			t.Errorf("a file of %d grows by %d; want %d", row.size, got, row.want)
		}
	}
}
