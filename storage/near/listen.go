package near

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// listen follows the watch of the store until ctx ends, and begins a new one whenever one has failed.
func (s *Store) listen(ctx context.Context, watcher storage.Watcher, proved func()) {
	defer close(s.stopped)
	for ctx.Err() == nil {
		var ended error
		for c, err := range watcher.Watch(ctx) {
			if ended = err; err != nil {
				break
			}
			s.hear(c, proved)
		}
		s.copies.dropAll()
		if errors.Is(ended, storage.ErrClosed) {
			return
		}
		fires, end := s.after(listenAgain)
		select {
		case <-fires:
		case <-ctx.Done():
		}
		end()
	}
}

// listenAgain is how long the store is left alone after a watch has failed.
const listenAgain = 50 * time.Millisecond

// hear acts on a change. A proof counts once all that was told before it has been acted on.
func (s *Store) hear(c storage.Change, proved func()) {
	switch {
	case c.AsOf != 0:
		s.until.Store(int64(c.AsOf + s.lease))
		proved()
	case c.Gap:
		s.copies.dropAll()
	default:
		s.copies.drop(c.ID)
	}
}
