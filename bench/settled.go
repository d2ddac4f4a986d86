package main

import "fmt"

// settledContests write on bolt beside peers that leave no work for later. Lapse leaves work:
// it writes a log and merges the log into the tree later. So each turn of lapse ends with
// Close, which is timed. A new copy of the store is opened before the next turn, which is not timed:
// otherwise lapse, which issues most, would have the largest store. Turns are long: a store that has
// just been opened begins a log, and Close has a cost of its own that does not grow with the turn.
func settledContests(p plan, size int) []experiment {
	one, many, crowd := p.callers[0], p.callers[2], p.callers[3]
	group := func(must float64) row { return row{peer: "group-commit", must: atLeast(must)} }
	sqlite := func(must float64) row { return row{peer: "sqlite", must: atLeast(must)} }
	return []experiment{ // renewals first: issues make the stores of the peers grow
		settledContest(p, size, "renew", one, group(1.7), sqlite(1)),
		settledContest(p, size, "renew", many, group(3.5), sqlite(20)),
		settledContest(p, size, "renew", crowd, group(2.5)),
		settledContest(p, size, "issue", one, group(1.7), sqlite(1)),
		settledContest(p, size, "issue", many, group(1), sqlite(20)),
	}
}

// settledContest compares lapse with those peers; the rows have no more than a peer and a
// bound.
func settledContest(p plan, size int, verb string, callers int, peers ...row) experiment {
	id := fmt.Sprintf("settled-%s/%d", verb, callers)
	what := map[string]string{"renew": "Renew a token by request", "issue": "Issue a token"}[verb]
	title := fmt.Sprintf("%s on bolt, durably, with Close at the end of each turn, %s live, callers at once: %d", what, grouped(size), callers)
	for i := range peers {
		r := &peers[i]
		r.id, r.lapse, r.of, r.allocs = id+"/bolt/"+r.peer, "bolt", rate, uncounted
	}
	return &contest{
		group: group{ID: id, Kind: "settled-" + verb, Title: title, Tokens: size, Callers: callers},
		pairs: peers, rounds: p.settledRounds, turn: p.settledTurn, timed: true,
		side: func(w *world, name string) (*side, error) { return w.settler(verb, name, size) },
	}
}

// settler returns the side of that name.
func (w *world) settler(verb, name string, size int) (*side, error) {
	switch name {
	case "bolt":
		return w.settlingBolt(verb, size)
	case "sqlite":
		s, err := w.sqlite(size)
		if err != nil {
			return nil, err
		}
		if verb == "renew" {
			return &side{op: s.renew}, nil
		}
		return &side{op: s.issue(w.subjects().at)}, nil
	}
	b, err := w.bareBolt(size)
	if err != nil {
		return nil, err
	}
	if verb == "renew" {
		return b.writer(name, b.scattered)
	}
	return b.writer(name, b.fresh)
}

// settlingBolt is lapse. The store that is open is another one in each turn.
func (w *world) settlingBolt(verb string, size int) (*side, error) {
	r, bearers, err := w.reopened(size)
	if err != nil {
		return nil, err
	}
	var op func(i int) error
	return &side{
		prepare: func(from, n int) error {
			if err := r.open(from, n); err != nil {
				return err
			}
			if op = issue(r.tokens, w.subjects().at); verb == "renew" {
				op = renew(r.tokens, bearers)
			}
			return nil
		},
		op:     func(i int) error { return op(i) },
		settle: r.close,
	}, nil
}
