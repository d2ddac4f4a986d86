package admin

import (
	"context"
	"iter"
	"sync"

	"github.com/seed-55daa01a/lapse"
)

// Watch is Manager.Watch. However slow the loop body is, no server waits for it: a body that is more than
// 4,096 changes behind gets a Gap in the place of the changes that it missed. The first error that is not
// of one damaged record ends the loop; when the connection ends, that is lapse.ErrUnavailable.
func (c *Client) Watch(ctx context.Context, q lapse.Query) iter.Seq2[lapse.Change, error] {
	return func(yield func(lapse.Change, error) bool) {
		if q.Next != nil {
			q.Limit = max(q.Limit, 1) // which Watch refuses, as it refuses Next
		}
		b := backlog{ready: make(chan struct{}, 1)}
		watching, stop := context.WithCancel(ctx)
		var reading sync.WaitGroup
		reading.Go(func() {
			b.end(c.read(watching, "watch", params{Query: toQuery(q)}, nil, b.add))
		})
		defer reading.Wait()
		defer stop()
		for range b.ready {
			some, ended, err := b.take()
			for _, i := range some {
				if !yield(lapse.Change{Token: i.Token.token(), Deleted: i.Deleted, Gap: i.Gap}, i.Error.err()) {
					return
				}
			}
			if ended {
				yield(lapse.Change{}, err)
				return
			}
		}
	}
}

// maxBacklog is how many changes a backlog holds.
const maxBacklog = 4096

// backlog holds the changes that the body of a Watch has not taken.
type backlog struct {
	ready chan struct{} // holds a value when there is something to take
	mu    sync.Mutex
	items []item
	ended bool
	err   error
}

// add adds the items of p. It never waits for the body.
func (b *backlog) add(p *part) error {
	all, err := itemsOf(p)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.items = append(b.items, all...); len(b.items) > maxBacklog {
		b.items = []item{{Gap: true}}
	}
	b.ring()
	return nil
}

// end ends the backlog with err.
func (b *backlog) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.err = true, err
	b.ring()
}

// ring says that there is something to take.
func (b *backlog) ring() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take returns all that there is.
func (b *backlog) take() (all []item, ended bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, b.items = b.items, nil
	return all, b.ended, b.err
}
