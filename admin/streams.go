package admin

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

const (
	pageLimit = 1000      // how many items a page of a list has at most
	blockSize = 128 << 10 // how long the items of a part are, in bytes, before the part is sent
)

// block gathers items for parts of an answer.
type block struct {
	c     *call
	items []json.RawMessage
	size  int
}

// add adds i. It sends the part if that is long enough.
func (b *block) add(i item) error {
	text := raw(i)
	b.items = append(b.items, text)
	if b.size += len(text); b.size < blockSize {
		return nil
	}
	return b.flush()
}

// flush sends the items that were added.
func (b *block) flush() error {
	if len(b.items) == 0 {
		return nil
	}
	err := b.c.part(part{Items: b.items})
	b.items, b.size = nil, 0
	return err
}

// addPair adds what a loop over tokens yields. It returns err if that ends the loop.
func (b *block) addPair(tok lapse.Token, connections int, err error) error {
	if err != nil && !errors.Is(err, lapse.ErrCorrupt) {
		return err
	}
	return b.add(item{Token: toToken(tok), Connections: connections, Error: toFault(err)})
}

func (v *verbs) list(ctx context.Context, c *call) (any, error) {
	q := c.p.Query.query()
	if q.Limit == 0 || q.Limit > pageLimit {
		q.Limit = pageLimit
	}
	var next string
	q.Next = &next
	b := block{c: c}
	for tok, err := range v.any().List(ctx, q) {
		if err := b.addPair(tok, 0, err); err != nil {
			return nil, err
		}
	}
	return result{Next: next}, b.flush()
}

func (v *verbs) sessions(ctx context.Context, c *call) (any, error) {
	all, err := v.pairsOf(c.p.Prefix)
	if err != nil {
		return nil, err
	}
	b := block{c: c}
	for _, p := range all {
		for tok, err := range p.Sessions(ctx, *c.p.Subject) {
			if err := b.addPair(tok, 0, err); err != nil {
				return nil, err
			}
		}
	}
	return result{}, b.flush()
}

func (v *verbs) holds(ctx context.Context, c *call) (any, error) {
	all, err := v.managersOf(c.p.Prefix)
	if err != nil {
		return nil, err
	}
	b := block{c: c}
	for _, m := range all {
		for held, err := range m.Holds(ctx) {
			if err := b.addPair(held.Token, held.Connections, err); err != nil {
				return nil, err
			}
		}
	}
	return result{}, b.flush()
}

// watch sends each change by itself. A reader that is slow makes the loop slow: then the Manager puts a
// gap in the place of the changes that the loop misses.
func (v *verbs) watch(ctx context.Context, c *call) (any, error) {
	for change, err := range v.any().Watch(ctx, c.p.Query.query()) {
		if err != nil && !errors.Is(err, lapse.ErrCorrupt) {
			return nil, err
		}
		text := raw(item{Token: toToken(change.Token), Deleted: change.Deleted, Gap: change.Gap, Error: toFault(err)})
		if err := c.part(part{Items: []json.RawMessage{text}}); err != nil {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

// counter is a counter of a Manager on the wire.
type counter struct {
	Verb    string `json:"verb"`
	Outcome string `json:"outcome"`
	N       uint64 `json:"n"`
}

func (v *verbs) stats(_ context.Context, c *call) (any, error) {
	m, err := v.manager(c.p.Prefix)
	if err != nil {
		return nil, err
	}
	all := []counter{}
	for key, n := range m.Stats().All() {
		all = append(all, counter{key.Verb.String(), key.Outcome, n})
	}
	return all, nil
}

// fileStats are storage.Stats on the wire: the errors are beside it.
type fileStats struct {
	storage.Stats
	Err           *fault
	NoLog         *fault
	CheckpointErr *fault
}

func (v *verbs) storeStats(context.Context, *call) (any, error) {
	if v.store == nil {
		return nil, errNoStore
	}
	s := v.store.Stats()
	sent := fileStats{Err: toFault(s.Err), NoLog: toFault(s.NoLog), CheckpointErr: toFault(s.CheckpointErr)}
	s.Err, s.NoLog, s.CheckpointErr = nil, nil, nil
	sent.Stats = s
	return sent, nil
}

// chunkSize is how many bytes of a backup a part has at most.
const chunkSize = 256 << 10

// chunks is a Writer that sends parts with Data.
type chunks struct {
	c       *call
	written int64
}

// Write sends p in parts.
func (w *chunks) Write(p []byte) (n int, err error) {
	for n < len(p) {
		chunk := p[n:min(len(p), n+chunkSize)]
		if err := w.c.part(part{Data: chunk}); err != nil {
			return n, err
		}
		n += len(chunk)
		w.written += int64(len(chunk))
	}
	return n, nil
}

func (v *verbs) backup(ctx context.Context, c *call) (any, error) {
	if v.store == nil {
		return nil, errNoStore
	}
	w := chunks{c: c}
	err := v.store.Backup(ctx, &w)
	return size{w.written}, err
}

// size is the answer of a backup, by which the client knows that no part is missing.
type size struct {
	Bytes int64 `json:"bytes"`
}
