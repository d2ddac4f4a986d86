package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// List is Manager.List. The Client reads a page of at most 1,000 tokens before the loop body runs, so a
// slow body keeps no server waiting. With a Query.Subject or a Query.Within, each page costs as much as
// all of them.
func (c *Client) List(ctx context.Context, q lapse.Query) iter.Seq2[lapse.Token, error] {
	return func(yield func(lapse.Token, error) bool) {
		asked, rest := toQuery(q), q.Limit
		for {
			asked.Limit = min(cmp.Or(rest, pageLimit), pageLimit)
			page, next, err := c.items(ctx, "list", params{Query: asked})
			if !yieldTokens(page, err, yield) || err != nil {
				return
			}
			if asked.After = next; q.Limit > 0 {
				rest -= len(page)
			}
			if next == "" || q.Limit > 0 && rest == 0 {
				break
			}
		}
		if q.Next != nil {
			*q.Next = asked.After
		}
	}
}

// Sessions is Pairs.Sessions of the Pairs of c, or of all Pairs of the server. The Client reads all
// sessions before the loop body runs.
func (c *Client) Sessions(ctx context.Context, subject string) iter.Seq2[lapse.Token, error] {
	return func(yield func(lapse.Token, error) bool) {
		all, _, err := c.items(ctx, "sessions", params{Subject: sent(subject), Prefix: c.prefix})
		yieldTokens(all, err, yield)
	}
}

// Holds is Manager.Holds of the Manager of c, or of all Managers of the server, one after the other. The
// Client reads all before the loop body runs.
func (c *Client) Holds(ctx context.Context) iter.Seq2[lapse.Held, error] {
	return func(yield func(lapse.Held, error) bool) {
		all, _, err := c.items(ctx, "holds", params{Prefix: c.prefix})
		for _, i := range all {
			if !yield(lapse.Held{Token: i.Token.token(), Connections: i.Connections}, i.Error.err()) {
				return
			}
		}
		if err != nil {
			yield(lapse.Held{}, err)
		}
	}
}

// items calls a method whose answer is a list.
func (c *Client) items(ctx context.Context, name string, p params) (all []item, next string, err error) {
	var got result
	err = c.read(ctx, name, p, &got, func(p *part) error {
		some, err := itemsOf(p)
		all = append(all, some...)
		return err
	})
	return all, got.Next, err
}

// itemsOf returns the items of p.
func itemsOf(p *part) ([]item, error) {
	all := make([]item, len(p.Items))
	for i, text := range p.Items {
		if err := json.Unmarshal(text, &all[i]); err != nil {
			return nil, fmt.Errorf("%w: an item of a list has another form", ErrProtocol)
		}
	}
	return all, nil
}

// yieldTokens yields all, and then err unless that is nil. It returns false if the loop has ended.
func yieldTokens(all []item, err error, yield func(lapse.Token, error) bool) bool {
	for _, i := range all {
		if !yield(i.Token.token(), i.Error.err()) {
			return false
		}
	}
	return err == nil || yield(lapse.Token{}, err)
}

// Stats are the counters of the Manager of c, as Manager.Stats has them: those that are not zero.
func (c *Client) Stats(ctx context.Context) (map[lapse.StatKey]uint64, error) {
	var got []counter
	if err := c.read(ctx, "stats", params{Prefix: c.prefix}, &got, nil); err != nil {
		return nil, err
	}
	words := map[string]lapse.Verb{}
	for v := range lapse.Verb(math.MaxUint8) {
		if _, known := words[v.String()]; !known {
			words[v.String()] = v
		}
	}
	all := map[lapse.StatKey]uint64{}
	for _, n := range got {
		if verb, known := words[n.Verb]; known { // a newer server may have more
			all[lapse.StatKey{Verb: verb, Outcome: n.Outcome}] = n.N
		}
	}
	return all, nil
}

// StoreStats is Stats of Server.Store. The errors in it have the texts and the kinds of the server.
func (c *Client) StoreStats(ctx context.Context) (storage.Stats, error) {
	var got fileStats
	if err := c.read(ctx, "store", params{}, &got, nil); err != nil {
		return storage.Stats{}, err
	}
	s := got.Stats
	s.Err, s.NoLog, s.CheckpointErr = got.Err.err(), got.NoLog.err(), got.CheckpointErr.err()
	return s, nil
}

// Backup is Backup of Server.Store: it writes a copy of the whole store to w, with the digests. The server
// opens no path, and only callers who may write get the copy. w must not pause for 30 seconds, or the
// server ends the backup. After an error the copy is no good.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	var got size
	var written int64
	var failed error
	err := c.read(ctx, "backup", params{}, &got, func(p *part) error {
		n, err := w.Write(p.Data)
		written += int64(n)
		failed = err
		return err
	})
	switch {
	case failed != nil:
		return fmt.Errorf("admin: backup: %w", failed)
	case err == nil && got.Bytes != written:
		return fmt.Errorf("%w: a part of the backup is missing", ErrProtocol)
	}
	return err
}
