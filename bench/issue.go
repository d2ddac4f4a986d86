package main

import (
	"context"
	"fmt"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// issueContest issues tokens in memory, into stores that begin with the given number
// of them and grow alike.
func issueContest(p plan, size int) experiment {
	id := "issue-memory/" + count(size)
	of := func(peer string, faster bool, must bound, allocs int) row {
		return row{id: id + "/memory/" + peer, lapse: "memory", peer: peer, of: perOp, faster: faster, must: must, allocs: allocs}
	}
	return &contest{
		group: group{ID: id, Kind: "issue-memory", Tokens: size, Callers: 1,
			Title: fmt.Sprintf("Issue a token in memory, beginning with %s live", grouped(size))},
		pairs: []row{
			of("parts", false, atMost(2), 4),
			of("scs-memory", true, bound{}, noLimit),
			of("jwt-hs256", true, bound{}, noLimit),
		},
		rounds: p.rounds, turn: p.turn,
		side: func(w *world, name string) (*side, error) { return w.issuer(name, size) },
	}
}

// issuer returns the side of that name. Small stores are its own: the rows about
// checks go on to have as many tokens as they say.
func (w *world) issuer(name string, size int) (*side, error) {
	switch name {
	case "memory":
		k, err := w.growing(size)
		if err != nil {
			return nil, err
		}
		return &side{op: issue(k.tokens, w.subjects().at)}, nil
	case "parts":
		p, err := w.parts(size)
		if err != nil {
			return nil, err
		}
		return &side{op: p.issuer(w.subjects()).issue}, nil
	case "scs-memory":
		p, err := w.scsMemory(size)
		if err != nil {
			return nil, err
		}
		return &side{op: p.issue(w.subjects().at)}, nil
	case "jwt-hs256":
		p, err := w.jwt(name, w.plan.small())
		return &side{op: p.issue(w.subjects().at)}, err
	}
	return nil, fmt.Errorf("no side is called %s", name)
}

// growing returns a store in memory to issue into.
func (w *world) growing(size int) (*kept, error) {
	if size == w.plan.large() { // where some more are nothing
		return w.memory(size)
	}
	return w.keep(memory.New(), "", size, 1, w.grant(size))
}

// issue is an Issue under the default policy, which counts what the subject has.
func issue(m *lapse.Manager, subject func(i int) string) func(i int) error {
	ctx := context.Background()
	return func(i int) error {
		_, err := m.Issue(ctx, grantTo(subject(i)))
		return err
	}
}
