package main

import (
	"sync"

	"go.etcd.io/bbolt"
)

// grouping is bare group commit: one goroutine takes the requests that wait and commits
// them in one Update, a transaction for each group. The values have the size of lapse's
// records, the keys are in order of time and pages are filled to the end. It validates
// nothing, and has no work left once a request has returned.
type grouping struct {
	bare     *bareBolt
	requests chan *request
	pool     sync.Pool
	stopped  chan struct{}
}

type request struct {
	key  [16]byte
	i    int
	done chan error
}

const maxGroup = 1_000

func newGrouping(b *bareBolt) *grouping {
	g := &grouping{bare: b, requests: make(chan *request, maxGroup), stopped: make(chan struct{})}
	g.pool.New = func() any { return &request{done: make(chan error, 1)} }
	go g.commit()
	return g
}

// put returns when the record is on disk.
func (g *grouping) put(key func(i int) [16]byte) func(i int) error {
	return func(i int) error {
		r := g.pool.Get().(*request)
		defer g.pool.Put(r)
		r.key, r.i = key(i), i
		g.requests <- r
		return <-r.done
	}
}

// commit runs until close.
func (g *grouping) commit() {
	defer close(g.stopped)
	group := make([]*request, 0, maxGroup)
	for r := range g.requests {
		group = g.gather(append(group[:0], r))
		err := g.bare.db.Update(func(tx *bbolt.Tx) error {
			for _, r := range group {
				if err := g.bare.putIn(tx, r.key, r.i); err != nil {
					return err
				}
			}
			return nil
		})
		for _, r := range group {
			r.done <- err
		}
	}
}

// gather adds to group what waits, until nothing does or it is full.
func (g *grouping) gather(group []*request) []*request {
	for len(group) < maxGroup {
		select {
		case r, ok := <-g.requests:
			if !ok {
				return group
			}
			group = append(group, r)
		default:
			return group
		}
	}
	return group
}

func (g *grouping) close() error {
	close(g.requests)
	<-g.stopped
	return nil
}
