package main

import (
	"context"
	"fmt"

	"github.com/seed-55daa01a/lapse"
)

// durableIssueContests issue into files, by the number of callers.
func durableIssueContests(p plan, size int) []experiment {
	var all []experiment
	for _, callers := range p.callers {
		id := fmt.Sprintf("issue-bolt/%d", callers)
		rows := durableRows(p, id, callers, true)
		title := fmt.Sprintf("Issue a token on bolt, durably, %s live, callers at once: %d", grouped(size), callers)
		all = append(all, durableContest(p, id, "issue-bolt", title, size, callers, rows,
			func(w *world, name string) (*side, error) { return w.durableIssuer(name, size) }))
	}
	return all
}

// rewriteContests change records that exist, all over the file: explicit renewals
// and ends.
func rewriteContests(p plan, size int) []experiment {
	var all []experiment
	for _, verb := range []string{"renew", "expire"} {
		for _, callers := range []int{p.callers[0], p.callers[2], p.callers[3]} {
			id := fmt.Sprintf("%s-bolt/%d", verb, callers)
			rows := durableRows(p, id, callers, false)
			what := map[string]string{"renew": "Renew a token by request", "expire": "End a token"}[verb]
			title := fmt.Sprintf("%s on bolt, durably, %s live, callers at once: %d", what, grouped(size), callers)
			all = append(all, durableContest(p, id, verb+"-bolt", title, size, callers, rows,
				func(w *world, name string) (*side, error) { return w.rewriter(verb, name, size) }))
		}
	}
	return all
}

func durableContest(p plan, id, kind, title string, size, callers int, rows []row, side func(*world, string) (*side, error)) *contest {
	return &contest{
		group: group{ID: id, Kind: kind, Title: title, Tokens: size, Callers: callers},
		pairs: rows, rounds: p.durableRounds, turn: p.durableTurn, timed: true, side: side,
	}
}

// durableRows compare lapse on bolt with bbolt, bare group commit and scs.
func durableRows(p plan, id string, callers int, batch bool) []row {
	of := func(peer string, q quantity, must bound) row {
		r := row{id: id + "/bolt/" + peer, lapse: "bolt", peer: peer, of: q, must: must, allocs: uncounted}
		if q != rate {
			r.id += "/" + string(q)
		}
		return r
	}
	var group, scs bound
	switch callers {
	case p.callers[2]:
		group, scs = atLeast(0.5), atLeast(12)
	case p.callers[3]:
		scs = atLeast(25)
	}
	var rows []row
	if callers == p.callers[0] { // with several callers the last writer is the next one too, and half of them wait for long
		rows = append(rows, of("bbolt-update", p50, atMost(1.3)))
	}
	rows = append(rows,
		of("bbolt-update", rate, bound{}),
		of("group-commit", rate, group),
		of("scs-bbolt", rate, scs),
	)
	if batch {
		rows = append(rows, of("bbolt-batch", rate, bound{}))
	}
	return rows
}

// durableIssuer returns the side of that name that writes new records.
func (w *world) durableIssuer(name string, size int) (*side, error) {
	switch name {
	case "bolt":
		k, err := w.bolt(size)
		if err != nil {
			return nil, err
		}
		return &side{op: issue(k.tokens, w.subjects().at)}, nil
	case "scs-bbolt":
		p, _, err := w.scsOnBolt(size)
		if err != nil {
			return nil, err
		}
		return &side{op: p.issue(w.subjects().at)}, nil
	}
	b, err := w.bareBolt(size)
	if err != nil {
		return nil, err
	}
	return b.writer(name, b.fresh)
}

// writer returns the side of that name that writes records of bare bbolt.
func (b *bareBolt) writer(name string, key func(i int) [16]byte) (*side, error) {
	switch name {
	case "bbolt-update":
		return &side{op: b.put(key)}, nil
	case "bbolt-batch":
		return &side{op: b.batch(key)}, nil
	case "group-commit":
		return &side{op: b.group.put(key)}, nil
	}
	return nil, fmt.Errorf("no side is called %s", name)
}

// rewriter returns the side of that name that changes records. For ends, tokens are issued
// before each turn.
func (w *world) rewriter(verb, name string, size int) (*side, error) {
	switch {
	case name == "bolt":
		k, err := w.bolt(size)
		if err != nil {
			return nil, err
		}
		if verb == "renew" {
			return &side{op: renew(k.tokens, k.bearers)}, nil
		}
		return w.ender(k)
	case name == "scs-bbolt":
		p, store, err := w.scsOnBolt(size)
		if err != nil {
			return nil, err
		}
		if verb == "renew" {
			return &side{op: p.renew}, nil
		}
		return w.destroyer(p, store), nil
	}
	b, err := w.bareBolt(size)
	if err != nil {
		return nil, err
	}
	return b.writer(name, b.scattered)
}

// renew is a Renew of one token after another.
func renew(m *lapse.Manager, bearers texts) func(i int) error {
	ctx := context.Background()
	return func(i int) error {
		_, err := m.Renew(ctx, bearers.at(i))
		return err
	}
}

// ender ends tokens by ID.
func (w *world) ender(k *kept) (*side, error) {
	ctx := context.Background()
	var ids []lapse.ID
	start := 0
	return &side{
		prepare: func(from, n int) error {
			start, ids = from, make([]lapse.ID, n)
			return together(w.plan.builders, n, func(i int) error {
				issued, err := k.tokens.Issue(ctx, grantTo(subject(from+i)))
				ids[i] = issued.ID
				return err
			})
		},
		op: func(i int) error {
			ended, err := k.tokens.Expire(ctx, ids[i-start])
			if err == nil && !ended {
				err = errNothing
			}
			return err
		},
	}, nil
}

// destroyer destroys sessions of scs.
func (w *world) destroyer(p *scsPeer, store *scsBolt) *side {
	var tokens texts
	start := 0
	return &side{
		prepare: func(from, n int) error {
			start, tokens = from, randomTexts(n)
			return store.load(n, tokens.at, alwaysLong, subject)
		},
		op: func(i int) error { return p.destroy(tokens.at(i - start)) },
	}
}
