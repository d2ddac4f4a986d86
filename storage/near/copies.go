package near

import (
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// shards is how many parts the copies have, each with a lock of its own.
const shards = 64

// copies are the records at hand.
type copies struct{ all [shards]shard }

// shard is one part of the copies.
type shard struct {
	mu    sync.RWMutex
	max   int
	of    map[storage.ID]*held
	fills map[*fill]struct{} // the reads under way
}

// held is a record at hand.
type held struct {
	rec    storage.Record
	readAt time.Duration // the instant of Store.elapsed before it was read
}

// fill is a read of a record from the store. It is registered before it begins, and what it reads is not
// kept if the record was dropped meanwhile: the read may have been from before the change.
type fill struct {
	id      storage.ID
	dropped bool
}

func (c *copies) init(max int) {
	for i := range c.all {
		s := &c.all[i]
		s.max = (max + shards - 1) / shards
		s.of, s.fills = map[storage.ID]*held{}, map[*fill]struct{}{}
	}
}

// shard returns the part that has id. The bytes before the tag are random in every ID.
func (c *copies) shard(id storage.ID) *shard { return &c.all[id[13]%shards] }

func (c *copies) get(id storage.ID) (rec storage.Record, readAt time.Duration, ok bool) {
	s := c.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.of[id]
	if h == nil {
		return rec, 0, false
	}
	return h.rec, h.readAt, true
}

// begin registers a read of id.
func (c *copies) begin(id storage.ID) *fill {
	f := &fill{id: id}
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fills[f] = struct{}{}
	return f
}

// finish ends a read, and keeps its record if that is wanted and was not dropped meanwhile.
func (c *copies) finish(f *fill, rec *storage.Record, readAt time.Duration, wanted bool) {
	s := c.shard(f.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fills, f)
	switch {
	case f.dropped:
		return
	case !wanted:
		delete(s.of, f.id)
		return
	}
	if len(s.of) >= s.max && s.of[f.id] == nil {
		for id := range s.of { // any of them
			delete(s.of, id)
			break
		}
	}
	s.of[f.id] = &held{*rec, readAt}
}

// drop forgets the record of id, and what reads of it under way will find.
func (c *copies) drop(id storage.ID) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(id)
}

// forget is drop for a caller that has the lock.
func (s *shard) forget(id storage.ID) {
	delete(s.of, id)
	for f := range s.fills {
		if f.id == id {
			f.dropped = true
		}
	}
}

// dropAll forgets all records, and what all reads under way will find.
func (c *copies) dropAll() {
	for i := range c.all {
		s := &c.all[i]
		s.mu.Lock()
		clear(s.of)
		for f := range s.fills {
			f.dropped = true
		}
		s.mu.Unlock()
	}
}

// raise applies use to the record of id. Reads under way may have missed the use, and are not kept.
func (c *copies) raise(id storage.ID, use storage.Use) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.of[id]
	s.forget(id)
	if h != nil {
		raised := *h
		use.Raise(&raised.rec)
		s.of[id] = &raised
	}
}
