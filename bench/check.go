package main

import (
	"fmt"
	"slices"
)

// checkContests check tokens of a store of the given size, one caller after another
// and no token twice in a row. The smallest store meets every peer, and the collector;
// it then meets once more those whose cost depends on the size, without the
// collector, as the larger stores do.
func checkContests(p plan, size int) []experiment {
	id := "check/" + count(size)
	of := checkRow(id)
	title := fmt.Sprintf("Check a token, %s live", grouped(size))
	switch size {
	case p.small():
		rows := slices.Concat(storedRows(of, atMost(1.5), atLeast), statelessRows(of), barestRows(of))
		return []experiment{
			checkContest(p, group{ID: id, Kind: "check-peers", Title: title}, size, rows),
			checkContest(p, group{ID: "check-still/" + count(size), Kind: "check", Title: title + ", the collector at rest"}, size,
				storedRows(checkRow("check-still/"+count(size)), bound{}, unbound)),
		}
	case p.large():
		return []experiment{checkContest(p, group{ID: id, Kind: "check", Title: title}, size, storedRows(of, atMost(1.7), unbound))}
	}
	return []experiment{checkContest(p, group{ID: id, Kind: "check", Title: title}, size, storedRows(of, bound{}, unbound))}
}

func checkContest(p plan, g group, size int, rows []row) experiment {
	g.Tokens, g.Callers = size, 1
	c := &contest{group: g, pairs: rows, side: func(w *world, name string) (*side, error) { return w.checker(name, size) }}
	c.pace(p, g.Kind == "check-peers")
	return c
}

type makeRow func(lapse, peer string, faster bool, must bound) row

func checkRow(id string) makeRow {
	return func(lapse, peer string, faster bool, must bound) row {
		return row{id: id + "/" + lapse + "/" + peer, lapse: lapse, peer: peer, of: perOp, faster: faster, must: must, allocs: noLimit}
	}
}

// unbound is the bound that every row keeps.
func unbound(float64) bound { return bound{} }

// storedRows compare with peers that store tokens, too.
func storedRows(of makeRow, parts bound, faster func(float64) bound) []row {
	rows := []row{
		of("memory", "parts", false, parts),
		of("bolt", "parts", false, parts),
		of("bolt", "memory", false, atMost(1.2)),
		of("memory", "plain-map", false, bound{}),
		of("bolt", "bbolt-view", true, bound{}),
		of("memory", "scs-memory", true, faster(60)),
		of("bolt", "scs-bbolt", true, faster(100)),
	}
	rows[0].allocs, rows[1].allocs = 0, 0
	return rows
}

// statelessRows compare with peers that store nothing: their cost does not depend on how
// many tokens they have issued.
func statelessRows(of makeRow) []row {
	rows := []row{
		of("memory", "jwt-hs256", true, atLeast(18)),
		of("bolt", "jwt-hs256", true, atLeast(18)),
	}
	for _, peer := range []string{"jwt-eddsa", "jwt-es256", "paseto-local", "paseto-public", "securecookie"} {
		rows = append(rows, of("memory", peer, true, bound{}))
	}
	return rows
}

// barestRows compare the bare parts with the peers that have bounds: where the bare parts do
// not keep a bound on some machine, no check that hashes can keep it there.
func barestRows(of makeRow) []row {
	var rows []row
	for _, peer := range []string{"scs-memory", "scs-bbolt", "jwt-hs256"} {
		r := of("parts", peer, true, bound{})
		r.allocs = uncounted
		rows = append(rows, r)
	}
	return rows
}

// crowdedCheckContest checks with many callers at once.
func crowdedCheckContest(p plan, size int) experiment {
	callers := p.callers[2]
	id := fmt.Sprintf("check-many/%d", callers)
	of := func(lapse, peer string) row {
		return row{id: id + "/" + lapse + "/" + peer, lapse: lapse, peer: peer, of: rate, faster: true, allocs: uncounted}
	}
	return &contest{
		group: group{ID: id, Kind: "check-many", Tokens: size, Callers: callers,
			Title: fmt.Sprintf("Check a token, %s live, %d callers at once", grouped(size), callers)},
		pairs: []row{
			of("memory", "plain-map"), of("memory", "scs-memory"), of("bolt", "bbolt-view"), of("bolt", "scs-bbolt"),
		},
		rounds: p.rounds / 3, turn: 4 * p.turn, timed: true,
		side: func(w *world, name string) (*side, error) { return w.checker(name, size) },
	}
}

// checker returns the side of that name that checks tokens of a store of that size.
func (w *world) checker(name string, size int) (s *side, err error) {
	var op func(i int) error
	switch name {
	case "memory", "bolt":
		var k *kept
		if k, err = w.kept(name, size); err == nil {
			op = check(k.tokens, k.bearers)
		}
	case "parts":
		var p *parts
		p, err = w.parts(size)
		op = p.check
	case "plain-map":
		var p *plainMap
		p, err = w.plainMap(size)
		op = p.check
	case "bbolt-view":
		var b *bareBolt
		b, err = w.bareBolt(size)
		op = b.view
	case "scs-memory":
		var p *scsPeer
		p, err = w.scsMemory(size)
		op = p.check
	case "scs-bbolt":
		var p *scsPeer
		p, _, err = w.scsOnBolt(size)
		op = p.check
	default:
		op, err = w.statelessCheck(name, size)
	}
	return &side{op: op}, err
}

// statelessCheck returns the check of tokens that no store knows.
func (w *world) statelessCheck(name string, n int) (func(i int) error, error) {
	switch {
	case name == "securecookie":
		p, err := newCookies(n)
		return p.check, err
	case name == "paseto-local", name == "paseto-public":
		return newPaseto(n, name == "paseto-public").check, nil
	case slices.Contains([]string{"jwt-hs256", "jwt-eddsa", "jwt-es256"}, name):
		p, err := w.jwt(name, n)
		return p.check, err
	}
	return nil, fmt.Errorf("no side is called %s", name)
}

// kept returns the store of lapse of that name and size.
func (w *world) kept(name string, size int) (*kept, error) {
	if name == "bolt" {
		return w.bolt(size)
	}
	return w.memory(size)
}
