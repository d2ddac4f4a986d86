package postgres

import (
	"context"
	"time"
)

// sweepBatch is how many rows one statement of Sweep looks at.
const sweepBatch = 1000

// Sweep implements storage.Store. Sweeps of several processes pass over each other's rows.
func (s *Store) Sweep(ctx context.Context, deadBefore time.Time, limit int) (deleted int, err error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.end()
	if err := s.touches.flush(ctx); err != nil {
		return 0, err
	}
	for deleted < limit {
		var looked, gone int
		var subjects []int64
		batch := min(sweepBatch, limit-deleted)
		err := s.pool.QueryRow(ctx, s.sql.sweep, deadBefore.UnixMilli(), batch).Scan(&looked, &gone, &subjects)
		if err != nil {
			return deleted, classify(err)
		}
		deleted += gone
		if err := s.sweepHeaders(ctx, subjects); err != nil {
			return deleted, err
		}
		if looked < batch {
			break
		}
	}
	return deleted, nil
}

// sweepHeaders deletes the headers of those subjects that have no token left. Two calls that meet may
// deadlock, since a header must not be locked before it is judged; then one of them begins again.
func (s *Store) sweepHeaders(ctx context.Context, subjects []int64) (err error) {
	for n := 0; len(subjects) > 0 && n < maxAttempts; n++ {
		if err := pause(ctx, n); err != nil {
			return err
		}
		if _, err = s.pool.Exec(ctx, s.sql.sweepHeaders, subjects); !again(err) {
			break
		}
	}
	return classify(err)
}
