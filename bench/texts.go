package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-55daa01a/lapse"
)

// textExperiments present texts of tokens and sessions whose secrets were replaced, and
// texts that are refused.
func textExperiments(p plan, size int) []experiment {
	return []experiment{
		textContest(p, size), replayContest(p, size), replayWrites(p, size),
		refusals(p, size, "check", refusedChecks), refusals(p, size, "refresh", refusedRefreshes),
	}
}

// textContest checks texts of replaced secrets that work, beside tokens that were never
// rotated.
func textContest(p plan, size int) experiment {
	id := "text/" + count(size)
	of := func(lapse string, must bound) row {
		return row{id: id + "/" + lapse + "/memory", lapse: lapse, peer: "memory", of: perOp, must: must, allocs: 0}
	}
	c := &contest{
		group: group{ID: id, Kind: "text", Tokens: size, Callers: 1,
			Title: fmt.Sprintf("Check a text of a rotated token or a refreshed session beside that of a plain token, %s live of each", grouped(size))},
		pairs: []row{
			of("access", atMost(1.25)), of("access-previous", atMost(2)),
			of("rotated", atMost(1.25)), of("rotated-previous", atMost(2)),
		},
		side: func(w *world, name string) (*side, error) {
			t, err := w.replaced(size)
			if err != nil {
				return nil, err
			}
			return &side{op: check(t.manager(name), t.good[name])}, nil
		},
	}
	c.pace(p, false)
	return c
}

// replayContest presents replaced texts of a session that is dead, and replaced texts
// that end nothing, beside a check of a token that is good.
func replayContest(p plan, size int) experiment {
	id := "replay/" + count(size)
	of := func(lapse string) row {
		return row{id: id + "/" + lapse + "/memory", lapse: lapse, peer: "memory", of: perOp, must: atMost(3), allocs: noLimit}
	}
	c := &contest{
		group: group{ID: id, Kind: "replay", Tokens: size, Callers: 1, Title: "Present a replaced text beside the check of a good one"},
		pairs: []row{of("refresh-spent"), of("access-spent"), of("spent"), of("first-spent")},
		side: func(w *world, name string) (*side, error) {
			t, err := w.replaced(size)
			if err != nil {
				return nil, err
			}
			if name == "memory" {
				return &side{op: check(t.tokens, t.good[name])}, nil
			}
			return &side{op: t.refusal(name)}, nil
		},
	}
	c.pace(p, false)
	return c
}

// replayWrites counts the durable commits of the first replay of a replaced refresh text,
// which ends its session, and of the next ones.
func replayWrites(p plan, size int) experiment {
	one := func(lapse string, tx float64) row {
		return row{id: "replay/" + lapse + "/commits", lapse: lapse, must: itselfExactly(tx, "tx"), allocs: uncounted}
	}
	return &measurement{
		group: group{ID: "replay/bolt", Kind: "replay-writes", Tokens: size, Callers: 1,
			Title: "Durable commits by the replay of a refresh text: the first, and those once its session is dead"},
		lines: []row{one("bolt", 1), one("bolt-dead", 0)},
		measure: func(_ context.Context, w *world, rows []row) ([]result, error) {
			first, next, err := w.replayCommits(size)
			var all []result
			for _, r := range rows {
				n := map[string]int{"bolt": first, "bolt-dead": next}[r.lapse]
				all = append(all, r.judge(r.compare("tx", []float64{float64(n) / float64(p.refreshed)}, nil)))
			}
			return all, err
		},
	}
}

// replayCommits replays a text of each of some sessions on bolt, twice.
func (w *world) replayCommits(size int) (first, next int, err error) {
	k, err := w.bolt(size)
	if err != nil {
		return 0, 0, err
	}
	pairs, err := newPairs(k.store, lapse.NoGrace, nil)
	if err != nil {
		return 0, 0, err
	}
	s := sessions{pairs: pairs}
	if err := s.logIn(w.plan.refreshed); err != nil {
		return 0, 0, err
	}
	old := makeTexts(len(s.texts), func(i int) string { return s.texts[i] })
	if err := s.refreshAll(len(s.texts), 1); err != nil {
		return 0, 0, err
	}
	replay := refused(func(bearer string) error { _, err := pairs.Refresh(context.Background(), bearer); return err }, old, lapse.ErrReused)
	all := func() error {
		for i := range old.len() {
			if err := replay(i); err != nil {
				return err
			}
		}
		return nil
	}
	if first, err = commits(k, all); err == nil {
		next, err = commits(k, all)
	}
	return first, next, err
}

// refusedChecks and refusedRefreshes are the texts that Authenticate and Refresh refuse
// after one read, by name, and the error with which they do.
var (
	refusedChecks = []refusedText{
		{"absent", lapse.ErrUnknown}, {"wrong-secret", lapse.ErrUnknown}, {"wrong-secret-rotated", lapse.ErrUnknown},
		{"wrong-secret-access", lapse.ErrUnknown}, {"other-prefix", lapse.ErrUnknown}, {"ended", lapse.ErrRevoked},
		{"ran-out", lapse.ErrExpired}, {"exhausted", lapse.ErrExhausted}, {"access-ended", lapse.ErrRevoked},
		{"access-ran-out", lapse.ErrExpired}, {"spent", lapse.ErrReplaced}, {"first-spent", lapse.ErrReplaced},
		{"access-spent", lapse.ErrReplaced},
	}
	refusedRefreshes = []refusedText{
		{"refresh-absent", lapse.ErrUnknown}, {"refresh-wrong-secret", lapse.ErrUnknown}, {"refresh-other-prefix", lapse.ErrUnknown},
		{"refresh-ended", lapse.ErrRevoked}, {"refresh-spent", lapse.ErrReused},
	}
)

type refusedText struct {
	name string
	with error
}

// refusal returns what presents the texts of that name.
func (t *replaced) refusal(name string) func(i int) error {
	ctx := context.Background()
	named := func(r refusedText) bool { return r.name == name }
	if i := slices.IndexFunc(refusedRefreshes, named); i >= 0 {
		return refused(func(bearer string) error { _, err := t.pairs.Refresh(ctx, bearer); return err }, t.bad[name], refusedRefreshes[i].with)
	}
	i := slices.IndexFunc(refusedChecks, named)
	return refused(func(bearer string) error { _, err := t.pairs.Access().Authenticate(ctx, bearer); return err }, t.bad[name], refusedChecks[i].with)
}

// refusals compare how long each kind of text takes to refuse with a text of no record, and
// the slowest kind with the fastest.
func refusals(p plan, size int, verb string, kinds []refusedText) experiment {
	id := "refuse-" + verb + "/" + count(size)
	extremes := row{id: id + "/slowest/fastest", lapse: "slowest", peer: "fastest", of: perOp, must: atMost(1.2), allocs: uncounted}
	lines := []row{extremes}
	for _, kind := range kinds[1:] {
		lines = append(lines, row{id: id + "/" + kind.name + "/" + kinds[0].name, lapse: kind.name, peer: kinds[0].name, of: perOp, allocs: uncounted})
	}
	c := &contest{group: group{ID: id, Kind: "refuse", Tokens: size, Callers: 1, Title: "Refuse a text after one read: " + verb}}
	c.pace(p, false)
	return &measurement{
		group: c.group,
		lines: lines,
		measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
			t, err := w.replaced(size)
			if err != nil {
				return nil, err
			}
			var sides []*side
			for _, kind := range kinds {
				sides = append(sides, &side{name: kind.name, op: t.refusal(kind.name)})
			}
			turns, err := c.play(ctx, sides, oneCaller)
			if err != nil {
				return nil, err
			}
			return compareRefusals(rows, sides, turns), nil
		},
	}
}

// compareRefusals makes the results of rows.
func compareRefusals(rows []row, sides []*side, turns [][]turn) []result {
	time := func(i int) float64 { return float64(spreadOf(perOp.each(turns[i])).Median) }
	fastest, slowest := 0, 0
	for i := range sides {
		if time(i) < time(fastest) {
			fastest = i
		}
		if time(i) > time(slowest) {
			slowest = i
		}
	}
	var all []result
	for _, r := range rows {
		one, other, note := named(sides, r.lapse), named(sides, r.peer), ""
		if one < 0 {
			one, other = slowest, fastest
			note = sides[slowest].name + " by " + sides[fastest].name
		}
		res := r.compare("ns", perOp.each(turns[one]), perOp.each(turns[other]))
		res.Note = note
		all = append(all, r.judge(res))
	}
	return all
}

// refused is a presentation that must be refused with an error.
func refused(present func(bearer string) error, bearers texts, with error) func(i int) error {
	return func(i int) error {
		err := present(bearers.at(i))
		if errors.Is(err, with) {
			return nil
		}
		return fmt.Errorf("%w: refused with %w instead of %w", errNothing, err, with)
	}
}
