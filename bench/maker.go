package main

import (
	"context"
	"hash/crc32"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// replaced is a store in memory with tokens and sessions of all kinds.
type replaced struct {
	tokens *lapse.Manager
	pairs  *lapse.Pairs
	clock  *slowClock
	good   map[string]texts // that work, by the name of their side
	bad    map[string]texts // that are refused
}

// manager returns the Manager that checks the texts of a side.
func (t *replaced) manager(name string) *lapse.Manager {
	if name == "access" || name == "access-previous" {
		return t.pairs.Access()
	}
	return t.tokens
}

// replaced returns the store with n texts of each kind.
func (w *world) replaced(n int) (*replaced, error) {
	return once(w, "replaced secrets", func() (*replaced, error) {
		store := memory.New()
		w.atRelease(store.Close)
		t := &replaced{clock: &slowClock{begin: time.Now()}, good: map[string]texts{}, bad: map[string]texts{}}
		var err error
		if t.tokens, err = manager(store, never, t.clock); err != nil {
			return nil, err
		}
		if t.pairs, err = newPairs(store, time.Minute, t.clock); err != nil {
			return nil, err
		}
		m := maker{t: t, n: n, random: w.order(n)}
		for _, kind := range []func() error{m.plain, m.rotated, m.refreshed, m.dead, m.runOut, m.deadSessions, m.forged} {
			if err := kind(); err != nil {
				return nil, err
			}
		}
		t.clock.ahead = 2 * shortLife // which is within the grace
		return t, nil
	})
}

// maker makes the texts of a store.
type maker struct {
	t      *replaced
	n      int
	random []int // the order in which texts are presented
}

// each makes n texts of each of some kinds at once.
func (m *maker) each(into map[string]texts, make func(i int) (map[string]string, error)) error {
	all := map[string][]string{}
	for i := range m.n {
		made, err := make(i)
		if err != nil {
			return err
		}
		for kind, text := range made {
			all[kind] = append(all[kind], text)
		}
	}
	for kind, made := range all {
		into[kind] = makeTexts(m.n, func(i int) string { return made[m.random[i]] })
	}
	return nil
}

func (m *maker) issue(g lapse.Grant) (lapse.Issued, error) {
	g.Scope = scope
	return m.t.tokens.Issue(context.Background(), g)
}

func (m *maker) plain() error {
	return m.each(m.t.good, func(i int) (map[string]string, error) {
		issued, err := m.issue(lapse.Grant{Subject: subject(i)})
		return map[string]string{"memory": issued.Bearer}, err
	})
}

// rotated makes tokens whose current text has been used, and whose previous one works.
func (m *maker) rotated() error {
	ctx := context.Background()
	return m.each(m.t.good, func(i int) (map[string]string, error) {
		issued, err := m.issue(lapse.Grant{Subject: subject(i)})
		if err != nil {
			return nil, err
		}
		next, err := m.t.tokens.Rotate(ctx, issued.Bearer, time.Hour)
		if err != nil {
			return nil, err
		}
		_, err = m.t.tokens.Authenticate(ctx, next.Bearer)
		return map[string]string{"rotated": next.Bearer, "rotated-previous": issued.Bearer}, err
	})
}

// refreshed makes sessions that were refreshed twice, within the grace.
func (m *maker) refreshed() error {
	spent := map[string][]string{}
	err := m.each(m.t.good, func(i int) (map[string]string, error) {
		all, err := m.session(i, 2)
		if err != nil {
			return nil, err
		}
		spent["access-spent"] = append(spent["access-spent"], all[0].Access.Bearer)
		spent["refresh"] = append(spent["refresh"], all[2].Refresh.Bearer)
		return map[string]string{"access": all[2].Access.Bearer, "access-previous": all[1].Access.Bearer}, nil
	})
	m.t.bad["access-spent"] = makeTexts(m.n, func(i int) string { return spent["access-spent"][m.random[i]] })
	m.t.good["refresh"] = makeTexts(m.n, func(i int) string { return spent["refresh"][m.random[i]] })
	return err
}

// session logs in, refreshes that many times, and returns all texts that it was given.
func (m *maker) session(i, times int) ([]lapse.TokenPair, error) {
	ctx := context.Background()
	c, err := m.t.pairs.Issue(ctx, grantTo(subject(i)))
	all := []lapse.TokenPair{c}
	for range times {
		if err != nil {
			return nil, err
		}
		c, err = m.t.pairs.Refresh(ctx, c.Refresh.Bearer)
		all = append(all, c)
	}
	return all, err
}

// dead makes texts of tokens that are refused although their secrets are right, or were.
func (m *maker) dead() error {
	ctx, tokens := context.Background(), m.t.tokens
	return m.each(m.t.bad, func(i int) (map[string]string, error) {
		var made [4]lapse.Issued
		for j := range made {
			g := lapse.Grant{Subject: subject(i)}
			if j == 1 {
				g.MaxUses = 1
			}
			var err error
			if made[j], err = m.issue(g); err != nil {
				return nil, err
			}
		}
		_, err := tokens.ExpireBearer(ctx, made[0].Bearer)
		if err == nil {
			_, err = tokens.Authenticate(ctx, made[1].Bearer)
		}
		if err != nil {
			return nil, err
		}
		second, err := tokens.Rotate(ctx, made[2].Bearer, 0)
		if err != nil {
			return nil, err
		}
		_, err = tokens.Rotate(ctx, second.Bearer, 0)
		return map[string]string{
			"ended": made[0].Bearer, "exhausted": made[1].Bearer, "first-spent": made[2].Bearer, "spent": second.Bearer,
		}, err
	})
}

// shortLife is the life of texts that run out before they are presented.
const shortLife = time.Second

// runOut makes texts of tokens that run out, and of sessions whose access secrets do.
func (m *maker) runOut() error {
	return m.each(m.t.bad, func(i int) (map[string]string, error) {
		issued, err := m.issue(lapse.Grant{Subject: subject(i), TTL: shortLife})
		if err != nil {
			return nil, err
		}
		c, err := m.t.pairs.Issue(context.Background(), lapse.Grant{Subject: subject(i), Scope: scope, TTL: shortLife})
		return map[string]string{"ran-out": issued.Bearer, "access-ran-out": c.Access.Bearer}, err
	})
}

// deadSessions makes the refresh texts of sessions that were ended: the current ones and
// replaced ones.
func (m *maker) deadSessions() error {
	return m.each(m.t.bad, func(i int) (map[string]string, error) {
		all, err := m.session(i, 2)
		if err != nil {
			return nil, err
		}
		ended, err := m.t.pairs.Access().Expire(context.Background(), all[0].Access.ID)
		if err == nil && !ended {
			err = errNothing
		}
		return map[string]string{
			"refresh-ended": all[2].Refresh.Bearer, "refresh-spent": all[0].Refresh.Bearer, "access-ended": all[2].Access.Bearer,
		}, err
	})
}

// forged makes texts whose ID is that of a live record, with a secret that it never had,
// and texts of no record.
func (m *maker) forged() error {
	elsewhere, err := newPairs(memory.New(), 0, nil)
	if err != nil {
		return err
	}
	digits := newDigitTable()
	return m.each(m.t.bad, func(i int) (map[string]string, error) {
		c, err := elsewhere.Issue(context.Background(), grantTo(subject(i)))
		if err != nil {
			return nil, err
		}
		access, refresh := c.Access.Bearer, c.Refresh.Bearer
		return map[string]string{
			"absent": access, "refresh-absent": refresh, "other-prefix": refresh, "refresh-other-prefix": access,
			"wrong-secret":         digits.withID(access, m.t.good["memory"].at(i)),
			"wrong-secret-rotated": digits.withID(access, m.t.good["rotated"].at(i)),
			"wrong-secret-access":  digits.withID(access, m.t.good["access"].at(i)),
			"refresh-wrong-secret": digits.withID(refresh, m.t.good["refresh"].at(i)),
		}, nil
	})
}

// withID returns the text bearer with the ID that other has.
func (d *digitTable) withID(bearer, other string) string {
	const id, body = 22, 72
	text := []byte(bearer)
	at := len(text) - body
	copy(text[at:at+id], other[len(other)-body:])
	d.encode4((*[6]byte)(text[len(text)-6:]), crc32.ChecksumIEEE(text[:len(text)-6]))
	return string(text)
}
