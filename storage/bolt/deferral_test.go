package bolt

import "time"

// flushEvery returns the options of a store that writes a Touch after at most d, 0
// meaning before Touch returns, and whether that is what such a store does.
func flushEvery(d time.Duration) (opts *Options, atOnce bool) {
	if d == 0 {
		return &Options{FlushEvery: FlushAtOnce}, true
	}
	return &Options{FlushEvery: d}, false
}

// unsaved returns how many Touches s has not written yet.
func unsaved(s *Store) int { return s.Stats().Unsaved }
