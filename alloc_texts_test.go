package lapse

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestTextsAllocateNothing: to authenticate by a text of any standing that works allocates
// nothing, and to refuse one allocates the Rejection alone.
func TestTextsAllocateNothing(t *testing.T) {
	for _, kind := range []string{"plain", "session", "obtained"} {
		w := newTextWorld(t, memory.New())
		s := w.scene(kind, true)
		w.m.policy.RenewEvery, w.p.refresh.policy.RenewEvery = never, never
		for name, text := range map[string]string{"current": s.texts[3], "previous": s.texts[2]} {
			for verb, use := range map[string]func(context.Context, string) (Token, error){"Authenticate": s.m.Authenticate, "Peek": s.m.Peek} {
				n := allocations(t, func() {
					if _, err := use(context.Background(), text); err != nil {
						t.Fatal(err)
					}
				})
				if n > 0 {
					t.Errorf("%s, %s by the %s text makes %v allocations", kind, verb, name, n)
				}
			}
		}
	}
}

// TestRefusedTextsAllocateTheirAnswer and nothing else.
func TestRefusedTextsAllocateTheirAnswer(t *testing.T) {
	s := newTextWorld(t, memory.New()).scene("plain", true)
	s.m.observe, s.p.refresh.observe = nil, nil
	for _, r := range refusedTexts() {
		text := r.text(s)
		n := allocations(t, func() {
			if _, err := s.m.Authenticate(context.Background(), text); !errors.Is(err, r.want) {
				t.Fatalf("%s: %v; want %v", r.name, err, r.want)
			}
		})
		if n > 1 {
			t.Errorf("%s: refusing it makes %v allocations", r.name, n)
		}
	}
	dead := s.scene("session", true)
	_, err := s.m.Expire(context.Background(), dead.id)
	s.need(err)
	n := allocations(t, func() {
		if _, err := s.p.Refresh(context.Background(), dead.refresh[1]); !errors.Is(err, ErrReused) {
			t.Fatal(err)
		}
	})
	if n > 1 {
		t.Errorf("a replay of a dead session makes %v allocations", n)
	}
}

// TestManyRefreshesTakeConstantSpace: however often a session was refreshed, it is one
// record of 500 bytes at most, everything included.
func TestManyRefreshesTakeConstantSpace(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates by itself")
	}
	const sessions, refreshes, budget = 10_000, 20, 500 // and one of them 10,000 times
	ctx, store := context.Background(), memory.New()
	p, err := NewPairs(store, PairConfig{Refresh: Config{Policy: Policy{MaxTokens: NoTokenLimit}}})
	if err != nil {
		t.Fatal(err)
	}
	subjects := make([]string, sessions)
	for i := range subjects {
		subjects[i] = fmt.Sprint("subject ", i)
	}
	before := inUse()
	for i, subject := range subjects {
		c, err := p.Issue(ctx, Grant{Subject: subject, Name: "phone", Scope: "read write"})
		for n := 0; err == nil && (n < refreshes || i == 0 && n < sessions); n++ {
			c, err = p.Refresh(ctx, c.Refresh.Bearer)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	per := float64(inUse()-before) / sessions
	if n := recordsIn(t, store); n != sessions || per > budget {
		t.Errorf("%d records, %.1f bytes each; want %d of %d at most", n, per, sessions, budget)
	}
	t.Logf("%.1f bytes each", per)
	runtime.KeepAlive(subjects)
}
