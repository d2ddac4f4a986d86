package lapse

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestBytesOfHold: a connection takes 1,200 bytes at most, all in all: the Hold with its
// Token, what keeps it, and what of the caller's context it makes grow.
func TestBytesOfHold(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates by itself")
	}
	const holds, budget = 20_000, 1200
	for name, tt := range map[string]struct {
		cfg      Config
		tokens   int
		delegate bool
	}{
		"a token each":                    {Config{}, holds, false},
		"a token each, asked about again": {Config{Admit: letPass, Recheck: day}, holds, false},
		"ten for a token":                 {Config{}, holds / 10, false},
		"a delegate each":                 {Config{}, holds, true},
	} {
		t.Run(name, func(t *testing.T) {
			tt.cfg.Policy.MaxTokens, tt.cfg.Policy.MaxDelegates = NoTokenLimit, NoTokenLimit
			m, _ := managerOver(t, memory.New(), tt.cfg)
			bearers := make([]string, tt.tokens)
			parent := issueTo(t, m, Grant{Subject: "ana"})
			for i := range bearers {
				if tt.delegate {
					d, err := m.Delegate(t.Context(), parent.Bearer, Grant{})
					if err != nil {
						t.Fatal(err)
					}
					bearers[i] = d.Bearer
				} else {
					bearers[i] = issueTo(t, m, Grant{Subject: fmt.Sprint("subject ", i)}).Bearer
				}
			}
			if got := bytesOfHolds(t, m, bearers, holds); got > budget {
				t.Errorf("%d bytes for each of %d, want %d at most", got, holds, budget)
			} else {
				t.Logf("%d bytes each", got)
			}
		})
	}
}

// bytesOfHolds holds n connections and returns what each of them takes.
func bytesOfHolds(t testing.TB, m *Manager, bearers []string, n int) int64 {
	t.Helper()
	callers, held := make([]context.Context, n), make([]*Hold, n)
	all, release := context.WithCancel(t.Context())
	defer release()
	for i := range callers {
		ctx, cancel := context.WithCancel(all)
		defer cancel()
		callers[i] = ctx
	}
	before := inUse()
	for i := range held {
		var err error
		if held[i], err = m.Hold(callers[i], bearers[i%len(bearers)]); err != nil {
			t.Fatal(err)
		}
	}
	after := inUse()
	runtime.KeepAlive(held)
	return (after - before) / int64(n)
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
