package lapse_test

import (
	"context"
	"testing"

	"github.com/seed-55daa01a/lapse"
)

type callersKey struct{}

// TestFault21HooksGetTheCallersContext: what a caller has in its context, Admit and Observe
// find there, whatever the verb.
func TestFault21HooksGetTheCallersContext(t *testing.T) {
	var admitted, observed, strange, all int
	count := func(ctx context.Context, n *int) {
		*n, all = *n+1, all+1
		if ctx.Value(callersKey{}) != "mine" {
			strange++
		}
	}
	cfg := lapse.Config{
		Admit:   func(ctx context.Context, _ lapse.Token) error { count(ctx, &admitted); return nil },
		Observe: func(ctx context.Context, _ lapse.Event) { count(ctx, &observed) },
	}
	for _, verb := range verbs {
		s := newScene(t)
		cfg.Clock, cfg.Policy, cfg.Keys = s.clock, scenePolicy, sceneConfig(scenePolicy, 1).Keys
		s.Manager = made(lapse.New(s.store, cfg))
		admitted, observed, strange = 0, 0, 0
		verb.do(context.WithValue(s.ctx, callersKey{}, "mine"), s)
		if strange != 0 {
			t.Errorf("%s: %d of %d calls of Admit and %d of Observe have another context", verb.name, strange, admitted, observed)
		}
	}
	cfg.Policy, cfg.Keys = lapse.Policy{}, nil
	for _, verb := range pairVerbs {
		s := newPairScene(t, nil)
		cfg.Clock = s.clock
		s.Pairs = made(lapse.NewPairs(s.store, lapse.PairConfig{Access: cfg}))
		admitted, observed, strange = 0, 0, 0
		verb.do(context.WithValue(s.ctx, callersKey{}, "mine"), s)
		if strange != 0 {
			t.Errorf("Pairs, %s: %d of %d calls of Admit and %d of Observe have another context", verb.name, strange, admitted, observed)
		}
	}
	if all < len(verbs)+len(pairVerbs) {
		t.Errorf("%d calls by %d verbs", all, len(verbs)+len(pairVerbs))
	}
}
