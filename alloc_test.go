package lapse

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// tickingClock moves on at every reading, so that every use is due again.
type tickingClock struct{ ms int64 }

func (c *tickingClock) Now() time.Time {
	c.ms++
	return testInstant.Add(time.Duration(c.ms) * time.Millisecond)
}

func (c *tickingClock) After(time.Duration) <-chan time.Time { return nil }

// allocations returns how many fn makes on average, once it has run a few times.
func allocations(t *testing.T, fn func()) float64 {
	t.Helper()
	if race.Enabled {
		t.Skip("the race detector allocates by itself")
	}
	for range 10 {
		fn()
	}
	return testing.AllocsPerRun(500, fn)
}

// authenticateCases are the ways to authenticate that allocate nothing.
var authenticateCases = []struct {
	name string
	cfg  Config
	due  bool // a renewal, at each use
}{
	{"not due", Config{Policy: Policy{RenewEvery: time.Hour}}, false},
	{"due", Config{Policy: Policy{MaxTTL: NoLimit}}, true},
	{"due, last use alone", Config{Policy: Policy{Renewal: RenewNever, TTL: day}}, true},
	{"due, at the cap", Config{Policy: Policy{TTL: day, MaxTTL: day}}, true},
	{"not due, watched", Config{Policy: Policy{RenewEvery: time.Hour}, Admit: letPass, Observe: func(context.Context, Event) {}}, false},
	{"due, watched", Config{Policy: Policy{MaxTTL: NoLimit}, Admit: letPass, Observe: func(context.Context, Event) {}}, true},
}

func letPass(context.Context, Token) error { return nil }

// TestAuthenticateAllocatesNothing, nor does Peek.
func TestAuthenticateAllocatesNothing(t *testing.T) {
	for _, tt := range authenticateCases {
		t.Run(tt.name, func(t *testing.T) {
			clock, touched := &tickingClock{}, newTallyStore()
			tt.cfg.Clock = clock
			m, _ := managerOver(t, touched, tt.cfg)
			bearer := issueTo(t, m, Grant{Subject: "ana", Scope: "read write", Data: "data"}).Bearer
			ctx := t.Context()
			use := func() {
				if _, err := m.Authenticate(ctx, bearer); err != nil {
					t.Fatal(err)
				}
			}
			use()
			clear(touched.calls)
			if n := allocations(t, use); n != 0 {
				t.Errorf("Authenticate makes %v allocations", n)
			}
			if due := touched.calls["Touch"] == touched.calls["Get"]; due != tt.due {
				t.Errorf("calls of the store: %v, which is not what was to be measured", touched.calls)
			}
			peek := func() {
				if _, err := m.Peek(ctx, bearer); err != nil {
					t.Fatal(err)
				}
			}
			if n := allocations(t, peek); n != 0 {
				t.Errorf("Peek makes %v allocations", n)
			}
		})
	}
}

// TestRefusingMalformedAllocatesNothing, whoever is watching.
func TestRefusingMalformedAllocatesNothing(t *testing.T) {
	for name, cfg := range map[string]Config{"plain": {}, "watched": {Admit: letPass, Observe: func(context.Context, Event) {}}} {
		m, _ := managerOver(t, memory.New(), cfg)
		good := issueTo(t, m, Grant{Subject: "ana"}).Bearer
		ctx := t.Context()
		for _, text := range []string{"", "lapse_", good[1:], good + "\n", "Bearer " + good, good[:40] + "-" + good[41:], good[:77] + "\x00", "Lapse" + good[5:]} {
			n := allocations(t, func() {
				if _, err := m.Authenticate(ctx, text); err != ErrMalformed {
					t.Fatalf("%q = %v, want ErrMalformed itself", text, err)
				}
			})
			if n != 0 {
				t.Errorf("%s: refusing %q makes %v allocations", name, text, n)
			}
		}
	}
}

// TestIssueAllocations: the same budget for the first token of a subject, for one
// more of a handful, and for one more of very many.
func TestIssueAllocations(t *testing.T) {
	const budget = 3
	for _, tt := range []struct {
		name     string
		policy   Policy
		subjects int // that take turns
		live     int // tokens of each, before
	}{
		{"default limit, first token", Policy{}, 600, 0},
		{"default limit, five live tokens", Policy{}, 600, 5},
		{"no limit, first token", Policy{MaxTokens: NoTokenLimit}, 600, 0},
		{"no limit, 1,000 live tokens", Policy{MaxTokens: NoTokenLimit}, 1, 1_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := managerOver(t, memory.New(), Config{Policy: tt.policy})
			subjects := make([]string, tt.subjects)
			for i := range subjects {
				subjects[i] = fmt.Sprintf("subject %d", i)
				for range tt.live {
					issueTo(t, m, Grant{Subject: subjects[i]})
				}
			}
			turn, ctx := 0, t.Context()
			n := allocations(t, func() {
				turn++
				if _, err := m.Issue(ctx, Grant{Subject: subjects[turn%len(subjects)], Name: "laptop"}); err != nil {
					t.Fatal(err)
				}
			})
			if n > budget {
				t.Errorf("Issue makes %v allocations, want %d at most", n, budget)
			}
		})
	}
}

// TestAuthenticateDoesNotGrow with the number of the subject's tokens: not in
// calls of the store, and not in allocations.
func TestAuthenticateDoesNotGrow(t *testing.T) {
	type cost struct {
		Calls       map[string]int
		Allocations float64
	}
	for _, tt := range authenticateCases {
		t.Run(tt.name, func(t *testing.T) {
			var costs []cost
			for _, tokens := range []int{1, 10_000} {
				cfg := tt.cfg
				cfg.Clock, cfg.Policy.MaxTokens = &tickingClock{}, NoTokenLimit
				store := newTallyStore()
				m, _ := managerOver(t, store, cfg)
				bearer := ""
				for range tokens {
					bearer = issueTo(t, m, Grant{Subject: "ana"}).Bearer
				}
				ctx := t.Context()
				use := func() { _, _ = m.Authenticate(ctx, bearer) }
				use()
				clear(store.calls)
				n := allocations(t, use)
				costs = append(costs, cost{store.calls, n})
			}
			if diff := cmp.Diff(costs[0], costs[1]); diff != "" {
				t.Errorf("cost (-of 1 token +of 10,000):\n%s", diff)
			}
		})
	}
}
