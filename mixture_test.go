package lapse_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

var mixtures = flag.Int("mixtures", 60, "how many times all verbs are mixed on one subject")

// mixture is one subject, everything that makes, changes and ends its tokens, and who
// remembers what was said of it. Nothing here foretells what a verb does: what it
// leaves behind must make sense.
type mixture struct {
	*pairs
	*rand.Rand
	policy   lapse.Policy
	managers []*lapse.Manager // of the access tokens' prefix, with other keys each
	bearers  []string         // of whatever prefix, in the order in which they were given
	last     map[lapse.ID]storage.Record
	issued   map[lapse.ID]bool // told so
	ended    map[lapse.ID]bool
}

const mixedPairs = 2 // families at most

func newMixture(t *testing.T, r *rand.Rand) *mixture {
	x := &mixture{Rand: r, last: map[lapse.ID]storage.Record{}, issued: map[lapse.ID]bool{}, ended: map[lapse.ID]bool{}}
	x.policy = lapse.Policy{
		TTL: 10 * time.Minute, MaxTTL: time.Hour, Retention: time.Minute, RenewEvery: time.Duration(r.IntN(2)) * time.Minute,
		MaxTokens: 3 + r.IntN(3), AtLimit: lapse.AtLimit(r.IntN(3)), Renewal: lapse.Renewal(r.IntN(3)),
	}
	cfg := keyed(x.policy, 1, 2)
	x.pairs = newPairs(t, memory.New(), lapse.PairConfig{
		Access:  cfg,
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: 20 * time.Minute, MaxTTL: time.Hour, MaxTokens: mixedPairs, AtLimit: lapse.AtLimit(r.IntN(3))}},
		Grace:   []time.Duration{lapse.NoGrace, 0, time.Minute}[r.IntN(3)],
	})
	x.managers = []*lapse.Manager{x.Manager, x.manager(keyed(x.policy, 2)), x.manager(keyed(x.policy, 2, 1))}
	return x
}

// pick returns a bearer, more often than not one of the last.
func (x *mixture) pick() string {
	if len(x.bearers) == 0 {
		return ""
	}
	from := 0
	if x.IntN(3) > 0 {
		from = max(0, len(x.bearers)-5)
	}
	return x.bearers[from+x.IntN(len(x.bearers)-from)]
}

func (x *mixture) duration(d ...time.Duration) time.Duration { return d[x.IntN(len(d))] }

// step does something, and returns what it was and said.
func (x *mixture) step() (what string, err error) {
	m := x.managers[x.IntN(len(x.managers))]
	g := lapse.Grant{
		Subject: "ana", Name: []string{"", "laptop"}[x.IntN(2)], MaxUses: max(0, x.IntN(6)-3), Jitter: float64(x.IntN(2)) / 2,
		TTL: x.duration(0, 0, time.Minute, time.Hour),
	}
	var i lapse.Issued
	var c lapse.Credentials
	switch what = mixed[x.IntN(len(mixed))]; what {
	case "Issue":
		i, err = m.Issue(x.ctx, g)
	case "Login":
		ana := lapse.VerifierFunc[int](func(context.Context, int) (string, error) { return "ana", nil })
		i, err = lapse.Login(x.ctx, m, 0, g, ana)
	case "Obtain":
		i, err = m.Obtain(x.ctx, g)
	case "Delegate":
		i, err = m.Delegate(x.ctx, x.pick(), g)
	case "Rotate":
		i, err = m.Rotate(x.ctx, x.pick(), x.duration(0, time.Second, time.Minute, time.Hour))
	case "Issue of a pair":
		g.MaxUses = 0
		c, err = x.Pairs.Issue(x.ctx, g)
	case "Refresh":
		c, err = x.Refresh(x.ctx, x.pick())
	case "Authenticate":
		_, err = m.Authenticate(x.ctx, x.pick())
	case "Renew":
		_, err = m.Renew(x.ctx, x.pick())
	case "Expire of a pair":
		err = x.Pairs.Expire(x.ctx, x.pick())
	case "ExpireBearer":
		_, err = m.ExpireBearer(x.ctx, x.pick())
	case "ExpireSubject":
		var keep []lapse.ID
		for id := range x.issued {
			keep = append(keep, id)
		}
		_, err = m.ExpireSubject(x.ctx, "ana", keep[:len(keep)/2]...)
	case "time":
		x.clock.add(x.duration(time.Millisecond, time.Second, 5*time.Second, time.Minute, 10*time.Minute))
	case "Sweep":
		_, err = m.Sweep(x.ctx)
	}
	for _, bearer := range [...]string{i.Bearer, c.Access.Bearer, c.Refresh.Bearer} {
		if bearer != "" {
			x.bearers = append(x.bearers, bearer)
		}
	}
	if made := i.Bearer + c.Access.Bearer; made != "" && !c.Repeated {
		if _, err := x.Peek(x.ctx, made); err != nil {
			return what, fmt.Errorf("made a moment ago: %v", err) // which is no decision
		}
	}
	return what, err
}

var mixed = [...]string{
	"Issue", "Login", "Obtain", "Obtain", "Delegate", "Delegate", "Rotate", "Rotate", "Rotate", "Issue of a pair", "Refresh", "Refresh",
	"Refresh", "Authenticate", "Authenticate", "Renew", "Expire of a pair", "ExpireBearer", "ExpireSubject", "time", "time", "time", "Sweep",
}

// decisions are what a verb may say where the store and the callers do nothing wrong.
var decisions = []error{
	lapse.ErrUnauthenticated, lapse.ErrLimit, lapse.ErrNotDelegable, lapse.ErrRotated, lapse.ErrNotRenewable, lapse.ErrInvalidGrant,
}

// TestMixture mixes all verbs at random.
func TestMixture(t *testing.T) {
	seed := rand.Uint64()
	for n := range *mixtures {
		x := newMixture(t, rand.New(rand.NewPCG(seed, uint64(n))))
		for step := range 250 {
			what, err := x.step()
			known := err == nil
			for _, d := range decisions {
				known = known || errors.Is(err, d)
			}
			if !known {
				t.Fatalf("seed %d, mixture %d, step %d, %s: %v", seed, n, step, what, err)
			}
			if fault := x.fault(err != nil && !errors.Is(err, lapse.ErrReused)); fault != nil {
				t.Fatalf("seed %d, mixture %d, step %d, %s (%v): %v", seed, n, step, what, err, fault)
			}
		}
	}
}

// fault says what is wrong with what is stored and with what was told, if anything.
// After what failed nothing may have changed.
func (x *mixture) fault(failed bool) error {
	records := map[lapse.ID]storage.Record{}
	for _, r := range x.contents() {
		records[r.ID] = r
	}
	if err := x.told(records, failed); err != nil {
		return err
	}
	seen := map[lapse.ID]lapse.Token{} // those that are alive
	all, err := collect(x.Tokens(x.ctx, "ana"))
	if err != nil {
		return err
	}
	for _, tok := range all {
		if tok.Live(x.clock.Now()) {
			seen[tok.ID] = tok
		}
	}
	x.last = records
	return x.tied(seen, records)
}

// told compares what is stored with what was told of: each issue and each end, once.
func (x *mixture) told(records map[lapse.ID]storage.Record, failed bool) error {
	for _, e := range x.events {
		id := e.Token.ID
		switch e.Kind {
		case lapse.EventIssued:
			if x.issued[id] || failed {
				return fmt.Errorf("told that %v was issued", id)
			}
			x.issued[id] = true
		case lapse.EventEnded:
			if x.ended[id] || failed || records[id].EndReason != e.Token.EndReason || !records[id].EndedAt.Equal(e.Token.EndedAt) {
				return fmt.Errorf("told that %v was ended (%v); stored: %+v", id, e.Token.EndReason, records[id])
			}
			x.ended[id] = true
		}
	}
	x.events = nil
	for id, r := range records {
		old, before := x.last[id]
		switch {
		case !x.issued[id] || !r.EndedAt.IsZero() && !x.ended[id]:
			return fmt.Errorf("nobody was told of %+v", r)
		case failed && before && r != old:
			return fmt.Errorf("%+v has become %+v", old, r)
		case before && r.ExpiresAt.Before(old.ExpiresAt) && r.Successor == old.Successor:
			return fmt.Errorf("the life of %+v has become shorter: %+v", old, r)
		}
	}
	return nil
}

// tied says what is wrong with the ties between those that are alive.
func (x *mixture) tied(seen map[lapse.ID]lapse.Token, records map[lapse.ID]storage.Record) error {
	count := map[string]int{}
	successors := map[lapse.ID]int{}
	obtained := map[string]int{}
	for id, tok := range seen {
		parent, delegate := seen[tok.Parent]
		switch {
		case tok.Parent != (lapse.ID{}) && !delegate:
			return fmt.Errorf("%+v is alive, and its parent is not", tok)
		case delegate && (tok.ExpiresAt.After(parent.ExpiresAt) || tok.Family != parent.Family):
			return fmt.Errorf("%+v is a delegate of %+v", tok, parent)
		}
		if _, alive := seen[tok.Successor]; alive {
			if _, alive = seen[tok.Predecessor]; alive {
				return fmt.Errorf("%+v has a successor, and its predecessor lives", tok)
			}
			continue
		}
		count[tok.Prefix]++
		if tok.Predecessor != (lapse.ID{}) {
			successors[tok.Predecessor]++
		}
		if text := records[id].Sealed.Text(); len(text) > 2 && text[:2] == "o1" && tok.Successor == (lapse.ID{}) && tok.Predecessor == (lapse.ID{}) {
			obtained[fmt.Sprint(tok.Name, tok.MaxUses)]++
		}
	}
	for old, n := range successors {
		if n > 1 {
			return fmt.Errorf("%d successors of %v live", n, old)
		}
	}
	for g, n := range obtained {
		if n > 1 {
			return fmt.Errorf("%d tokens live that Obtain made for %q", n, g)
		}
	}
	if count["lapse"] > x.policy.MaxTokens || count["lapse_refresh"] > mixedPairs {
		return fmt.Errorf("%v live", count)
	}
	return nil
}
