package recovery

import "testing"

// TestProgressBegins at the first file of more than 16 MB.
func TestProgressBegins(t *testing.T) {
	for _, row := range []struct{ total, want int }{{1, 0}, {4095, 0}, {4096, 0}, {4097, 100}, {5000, 100}, {1_000_000, 100}} {
		told := 0
		rec := &Recovered{opts: Options{Progress: func(int, int) { told++ }}}
		for done := range row.total {
			rec.progress(done+1, row.total)
		}
		if told < row.want || told > row.want+row.want/10 {
			t.Errorf("%d pages: told %d times; want %d", row.total, told, row.want)
		}
	}
	new(Recovered).progress(1, 5000) // nobody wants to be told
}
