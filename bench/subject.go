package main

import (
	"context"
	"fmt"

	"github.com/seed-55daa01a/lapse"
)

// subjectExperiments end all tokens of a subject at once.
func subjectExperiments(p plan, size int) []experiment {
	var all []experiment
	for i, crowd := range p.crowds {
		all = append(all, crowdContest(p, size, i, crowd))
	}
	return append(all, crowdWrites(p, size))
}

// crowdContest ends the tokens of one subject after another, crowd of them each,
// beside transactions that put one record.
func crowdContest(p plan, size, place, crowd int) experiment {
	id := "expire-subject/" + count(crowd)
	c := &contest{
		group: group{ID: id, Kind: "expire-subject", Tokens: size, Callers: 1,
			Title: fmt.Sprintf("End all tokens of a subject on bolt, durably: it has %s", grouped(crowd))},
		rounds: p.durableRounds, ops: 10, timed: true,
		side: func(w *world, name string) (*side, error) { return w.logOut(name, size, crowd) },
	}
	one := row{id: id + "/bolt/bbolt-put", lapse: "bolt", peer: "bbolt-put", of: perOp, allocs: uncounted}
	switch place {
	case 0:
		one.must = atMost(2)
	case 1:
		one.must = atMost(3)
	default:
		c.rounds, c.ops = p.costlyRounds, 1
		one.must = itselfAtMost(60e6, "ns")
	}
	c.pairs = []row{one}
	if crowd > 1 {
		c.pairs = append(c.pairs, row{id: id + "/bolt/bbolt-puts", lapse: "bolt", peer: "bbolt-puts", of: perOp, allocs: uncounted})
	}
	return c
}

// logOut returns the side of that name.
func (w *world) logOut(name string, size, crowd int) (*side, error) {
	if name != "bolt" {
		b, err := w.bareBolt(size)
		if err != nil {
			return nil, err
		}
		if name == "bbolt-puts" {
			return &side{op: b.puts(crowd)}, nil
		}
		return &side{op: b.put(b.scattered)}, nil
	}
	k, err := w.bolt(size)
	if err != nil {
		return nil, err
	}
	m, err := lapse.New(k.store, lapse.Config{Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, MaxTokens: lapse.NoTokenLimit}})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	who := func(i int) string { return fmt.Sprintf("crowd of %d, %d", crowd, i) }
	return &side{
		prepare: func(from, n int) error {
			return together(w.plan.builders, n*crowd, func(i int) error {
				_, err := m.Issue(ctx, grantTo(who(from+i/crowd)))
				return err
			})
		},
		op: func(i int) error {
			ended, err := m.ExpireSubject(ctx, who(i))
			if err == nil && ended != crowd {
				err = fmt.Errorf("%d of %d tokens ended", ended, crowd)
			}
			return err
		},
	}, nil
}

// crowdWrites counts the durable commits of one ExpireSubject.
func crowdWrites(p plan, size int) experiment {
	var lines []row
	crowds := map[string]int{}
	for _, crowd := range p.crowds {
		id := "expire-subject/" + count(crowd) + "/bolt/commits"
		crowds[id] = crowd
		lines = append(lines, row{id: id, lapse: "bolt", must: itselfExactly(1, "tx"), allocs: uncounted})
	}
	return &measurement{
		group: group{ID: "expire-subject", Kind: "expire-subject-writes", Tokens: size, Callers: 1,
			Title: "Durable commits by ExpireSubject"},
		lines: lines,
		measure: func(_ context.Context, w *world, rows []row) ([]result, error) {
			var all []result
			for _, r := range rows {
				n, err := w.crowdCommits(size, crowds[r.id])
				if err != nil {
					return nil, err
				}
				all = append(all, r.judge(r.compare("tx", []float64{float64(n)}, nil)))
			}
			return all, nil
		},
	}
}

func (w *world) crowdCommits(size, crowd int) (int, error) {
	s, err := w.logOut("bolt", size, crowd)
	if err != nil {
		return 0, err
	}
	const last = 1 << 30 // a number that no turn comes to
	if err := s.prepare(last, 1); err != nil {
		return 0, err
	}
	k, err := w.bolt(size)
	if err != nil {
		return 0, err
	}
	return commits(k, func() error { return s.op(last) })
}
