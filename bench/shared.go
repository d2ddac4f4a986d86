package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/near"
	"github.com/seed-55daa01a/lapse/storage/postgres"
)

// sharedExperiments compare lapse on PostgreSQL with bare statements and with scs, all on one server
// by connections of the same kind. Each call is one of a caller who is alone.
func sharedExperiments(p plan, size int) []experiment {
	of := func(id, kind, title string, rows []row, side func(*world, string) (*side, error)) experiment {
		return &contest{
			group: group{ID: id, Kind: kind, Title: title + fmt.Sprintf(" on PostgreSQL, %s live", grouped(size)), Tokens: size, Callers: 1},
			pairs: rows, rounds: p.durableRounds, turn: p.durableTurn, timed: true, side: side,
		}
	}
	pg := func(id, lapse, peer string, must bound) row {
		return row{id: id + "/" + lapse + "/" + peer, lapse: lapse, peer: peer, of: p50, must: must, allocs: uncounted}
	}
	slower := func(id, lapse, peer string, must bound) row { // the peer's time by lapse's
		r := pg(id, lapse, peer, must)
		r.faster = true
		return r
	}
	return []experiment{
		of("check-pg", "check-pg", "Check a token", []row{
			pg("check-pg", "postgres", "select", atMost(1.3)),
			slower("check-pg", "postgres", "scs", atLeast(1.4)),
			pg("check-pg", "renewing", "postgres", atMost(2)),
		}, func(w *world, name string) (*side, error) { return w.pgChecker(name, size) }),
		of("issue-pg", "issue-pg", "Issue a token within a limit of its subject", []row{
			pg("issue-pg", "postgres", "insert", atMost(1.5)),
			pg("issue-pg", "postgres", "scs", atMost(1.1)),
		}, func(w *world, name string) (*side, error) { return w.pgIssuer(name, size) }),
		of("logout-pg", "logout-pg", "Issue a token and log out by its text", []row{
			pg("logout-pg", "postgres", "notifying", atMost(1.5)),
			pg("logout-pg", "postgres", "scs", atMost(1.3)),
			pg("logout-pg", "notifying", "scs", bound{}),
		}, func(w *world, name string) (*side, error) { return w.pgLogOut(name, size) }),
		nearContest(p, size),
	}
}

// nearContest compares a check by a copy at hand with one on the store in memory.
func nearContest(p plan, size int) experiment {
	c := &contest{
		group: group{ID: "check-near", Kind: "check-near", Title: fmt.Sprintf("Check a token by a copy at hand, %s live", grouped(size)), Tokens: size, Callers: 1},
		pairs: []row{{id: "check-near/near/memory", lapse: "near", peer: "memory", of: perOp, must: atMost(1.75), allocs: 0}},
		side: func(w *world, name string) (*side, error) {
			if name == "near" {
				return w.nearChecker(size)
			}
			k, err := w.memory(size)
			if err != nil {
				return nil, err
			}
			return &side{op: check(k.tokens, k.bearers)}, nil
		},
	}
	c.pace(p, false)
	return c
}

// onPG returns a store on the server of the run with n live tokens, one to a subject.
func (w *world) onPG(n int) (*kept, error) {
	return once(w, fmt.Sprintf("lapse in PostgreSQL, %s tokens", grouped(n)), func() (*kept, error) {
		pool, err := w.pgPool("lapse")
		if err != nil {
			return nil, err
		}
		if _, err := pool.Exec(w.ctx, "DROP SCHEMA IF EXISTS lapse CASCADE"); err != nil {
			return nil, err
		}
		if err := postgres.Migrate(w.ctx, pool, nil); err != nil {
			return nil, err
		}
		store, err := postgres.New(w.ctx, pool, nil)
		if err != nil {
			return nil, err
		}
		k, err := w.keep(store, "", n, 16, w.grant(n))
		if err == nil {
			_, err = pool.Exec(w.ctx, "VACUUM ANALYZE lapse.token")
		}
		return k, err
	})
}

// pgChecker returns the side of that name that checks tokens.
func (w *world) pgChecker(name string, size int) (*side, error) {
	switch name {
	case "select":
		b, err := w.barePG(size)
		if err != nil {
			return nil, err
		}
		return &side{op: b.read}, nil
	case "scs":
		p, err := w.scsOnPG(size)
		if err != nil {
			return nil, err
		}
		return &side{op: p.check}, nil
	}
	k, err := w.onPG(size)
	if err != nil {
		return nil, err
	}
	m := k.tokens
	if name == "renewing" { // each use is recorded
		if m, err = w.ticking(k, time.Minute); err != nil {
			return nil, err
		}
	}
	return &side{op: check(m, k.bearers)}, nil
}

// pgIssuer returns the side of that name that issues. lapse keeps its limit of tokens of a subject.
func (w *world) pgIssuer(name string, size int) (*side, error) {
	switch name {
	case "insert":
		b, err := w.barePG(size)
		if err != nil {
			return nil, err
		}
		return &side{op: b.insert(w.subjects().at)}, nil
	case "scs":
		p, err := w.scsOnPG(size)
		if err != nil {
			return nil, err
		}
		return &side{op: p.issue(w.subjects().at)}, nil
	}
	k, err := w.onPG(size)
	if err != nil {
		return nil, err
	}
	limited, err := lapse.New(k.store, lapse.Config{Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, MaxTokens: 1000}})
	if err != nil {
		return nil, err
	}
	return &side{op: issue(limited, w.subjects().at)}, nil
}

// pgLogOut returns the side of that name that issues and logs out.
func (w *world) pgLogOut(name string, size int) (*side, error) {
	ctx := context.Background()
	switch name {
	case "notifying":
		b, err := w.barePG(size)
		if err == nil {
			b, err = w.listening(b)
		}
		if err != nil {
			return nil, err
		}
		return &side{op: b.logOut(subject)}, nil
	case "scs":
		p, err := w.scsOnPG(size)
		if err != nil {
			return nil, err
		}
		return &side{op: func(i int) error {
			token, err := p.issued(subject(i))
			if err != nil {
				return err
			}
			return p.destroy(token)
		}}, nil
	}
	k, err := w.onPG(size)
	if err != nil {
		return nil, err
	}
	return &side{op: func(i int) error {
		issued, err := k.tokens.Issue(ctx, grantTo(subject(i)))
		if err == nil {
			_, err = k.tokens.ExpireBearer(ctx, issued.Bearer)
		}
		return err
	}}, nil
}

// nearChecker checks tokens by copies at hand, each of which was read once from PostgreSQL.
func (w *world) nearChecker(size int) (*side, error) {
	k, err := w.onPG(size)
	if err != nil {
		return nil, err
	}
	copies, err := near.New(w.ctx, k.store, near.Options{MaxTokens: 2 * size})
	if err != nil {
		return nil, err
	}
	m, err := manager(copies, never, nil)
	if err != nil {
		return nil, err
	}
	w.atRelease(copies.Close)
	checks := check(m, k.bearers)
	for i := range size {
		if err := checks(i); err != nil {
			return nil, err
		}
	}
	return &side{op: checks}, nil
}
