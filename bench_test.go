package lapse

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/internal/ratio"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// tickClock is the system clock, a millisecond later with every reading: no two
// uses fall on one instant, where the second would have nothing to renew.
type tickClock struct{ ticks time.Duration }

func (c *tickClock) Now() time.Time {
	c.ticks += time.Millisecond
	return time.Now().Add(c.ticks)
}
func (c *tickClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// benchManager returns a Manager on memory with tokens live tokens, one to a
// subject, and their bearers. A nil clock is the system's.
func benchManager(b *testing.B, tokens int, renewEvery time.Duration, clock Clock) (*Manager, []string) {
	b.Helper()
	return benchGuarded(b, tokens, Config{
		Policy: Policy{TTL: 10_000 * time.Hour, MaxTTL: NoLimit, RenewEvery: renewEvery, MaxTokens: NoTokenLimit},
		Clock:  clock,
	})
}

func benchGuarded(b *testing.B, tokens int, cfg Config) (*Manager, []string) {
	b.Helper()
	m, err := New(memory.New(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	bearers := make([]string, tokens)
	for i := range bearers {
		bearers[i] = benchIssue(b, m, fmt.Sprint("subject ", i)).Bearer
	}
	return m, bearers
}

func benchIssue(b *testing.B, m *Manager, subject string) Issued {
	b.Helper()
	i, err := m.Issue(context.Background(), Grant{Subject: subject})
	if err != nil {
		b.Fatal(err)
	}
	return i
}

func using(b *testing.B, verb func(context.Context, string) (Token, error), bearers []string) func(int) {
	ctx := context.Background()
	return func(i int) {
		if _, err := verb(ctx, bearers[i%len(bearers)]); err != nil {
			b.Fatal(err)
		}
	}
}

// bareParts returns what no check of such a token can do without, and nothing
// more: the checksum of the text, decode 48 bytes, look up in a map, hash once,
// compare, read the clock.
func bareParts(b *testing.B, bearers []string) func(int) {
	digests := make(map[ID]*[32]byte, len(bearers))
	for _, bearer := range bearers {
		var c credential
		c.Parse(bearer, "lapse", begin("lapse"))
		sum := sha256.Sum256(c[:])
		digests[c.ID()] = &sum
	}
	expires := time.Now().Add(time.Hour)
	return func(i int) {
		bearer := bearers[i%len(bearers)]
		var c credential
		typed, _ := base62.Decode32(bearer[len(bearer)-6:])
		base62.Decode(c[:], bearer[len(bearer)-bodyLen:])
		want := digests[c.ID()]
		sum := sha256.Sum256(c[:])
		if checksum(0, bearer[:len(bearer)-6]) != typed || subtle.ConstantTimeCompare(sum[:], want[:]) != 1 || !time.Now().Before(expires) {
			b.Fatal("the parts do not work")
		}
	}
}

// never is longer than any benchmark runs: no renewal is due.
const never = 9_000 * time.Hour

func BenchmarkAuthenticate(b *testing.B) {
	for _, tokens := range []int{1_000, 100_000} {
		m, bearers := benchManager(b, tokens, never, nil)
		b.Run(fmt.Sprintf("tokens=%d/peer=parts", tokens), func(b *testing.B) {
			ratio.Of(b, 20_000, using(b, m.Authenticate, bearers), bareParts(b, bearers))
		})
	}
}

// BenchmarkGuard is what a clock that cannot be turned back costs each call.
func BenchmarkGuard(b *testing.B) {
	cfg := Config{Policy: Policy{TTL: 10_000 * time.Hour, MaxTTL: NoLimit, RenewEvery: never, MaxTokens: NoTokenLimit}}
	on, onBearers := benchGuarded(b, 1_000, cfg)
	cfg.ClockGuard = GuardOff
	off, offBearers := benchGuarded(b, 1_000, cfg)
	b.Run("tokens=1000/peer=guardoff", func(b *testing.B) {
		ratio.Of(b, 20_000, using(b, on.Authenticate, onBearers), using(b, off.Authenticate, offBearers))
	})
}

func BenchmarkPeek(b *testing.B) {
	m, bearers := benchManager(b, 1_000, never, nil)
	b.Run("tokens=1000/peer=parts", func(b *testing.B) {
		ratio.Of(b, 20_000, using(b, m.Peek, bearers), bareParts(b, bearers))
	})
}

func BenchmarkAuthenticateRenewing(b *testing.B) {
	idle, idleBearers := benchManager(b, 1_000, never, new(tickClock))
	due, dueBearers := benchManager(b, 1_000, 0, new(tickClock))
	b.Run("tokens=1000/peer=notdue", func(b *testing.B) {
		ratio.Of(b, 20_000, using(b, due.Authenticate, dueBearers), using(b, idle.Authenticate, idleBearers))
	})
}

// BenchmarkAuthenticateCrowd checks a token of a subject that has 10,000 of them.
func BenchmarkAuthenticateCrowd(b *testing.B) {
	m, bearers := benchManager(b, 10_000, never, nil)
	crowd, _ := benchManager(b, 0, never, nil)
	var crowded []string
	for range 10_000 {
		crowded = append(crowded, benchIssue(b, crowd, "one").Bearer)
	}
	b.Run("tokens=10000/peer=onetokenasubject", func(b *testing.B) {
		ratio.Of(b, 20_000, using(b, crowd.Authenticate, crowded), using(b, m.Authenticate, bearers))
	})
}

func BenchmarkParse(b *testing.B) {
	_, bearers := benchManager(b, 1_000, never, nil)
	parse := func(i int) {
		var c credential
		if _, ok := c.Parse(bearers[i%len(bearers)], "lapse", begin("lapse")); !ok {
			b.Fatal("refused")
		}
	}
	b.Run("peer=sha256of48bytes", func(b *testing.B) {
		var buf [48]byte
		ratio.Of(b, 50_000, parse, func(i int) { buf[i%48] ^= sha256.Sum256(buf[:])[0] })
	})
}

func BenchmarkIssue(b *testing.B) {
	m, _ := benchManager(b, 0, never, nil)
	subjects := make([]string, 100_000)
	for i := range subjects {
		subjects[i] = fmt.Sprint("subject ", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		benchIssue(b, m, subjects[i%len(subjects)])
	}
}

// BenchmarkSweep sweeps 100 dead records among many live ones and among few.
func BenchmarkSweep(b *testing.B) {
	sweeping := func(live int) func(int) {
		m, _ := benchManager(b, live, never, new(tickClock))
		short, err := New(m.store, Config{
			Policy: Policy{TTL: time.Millisecond, Renewal: RenewNever, MaxTokens: NoTokenLimit, Retention: time.Millisecond},
			Clock:  m.clock,
		})
		if err != nil {
			b.Fatal(err)
		}
		return func(int) {
			for range 100 {
				benchIssue(b, short, "dying")
			}
			m.clock.Now() // two more milliseconds
			m.clock.Now()
			if n, err := short.Sweep(context.Background()); n != 100 || err != nil {
				b.Fatalf("swept %d, %v", n, err)
			}
		}
	}
	b.Run("live=100000/peer=live1000", func(b *testing.B) {
		ratio.Of(b, 50, sweeping(100_000), sweeping(1_000))
	})
}
