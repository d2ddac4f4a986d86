package lapse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/ratio"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
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
		c.Parse(bearer, "lapse")
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
		if _, ok := c.Parse(bearers[i%len(bearers)], "lapse"); !ok {
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

// refused is a kind of text that is refused by one read and no write.
type refused struct {
	name string
	want error
	text func(s *textScene) string
}

// refusedTexts are the ways in which Authenticate refuses.
func refusedTexts() []refused {
	wrong := func(c *credential) { c[idLen+generationLen] ^= 1 }
	return []refused{
		{"unknown ID", ErrUnknown, func(s *textScene) string { return respelled(s.texts[3], "lapse", func(c *credential) { c[8] ^= 1 }) }},
		{"wrong secret", ErrUnknown, func(s *textScene) string { return respelled(s.first("plain").Bearer, "lapse", wrong) }},
		{"forged tag", ErrUnknown, func(s *textScene) string { return respelled(s.texts[3], "lapse", wrong) }},
		{"wrong prefix", ErrUnknown, func(s *textScene) string {
			var c credential
			_, _ = c.Parse(s.texts[3], "lapse")
			return c.Text("lapso")
		}},
		{"record of another prefix", ErrUnknown, func(s *textScene) string {
			i, err := s.p.refresh.Issue(context.Background(), Grant{Subject: s.subject})
			s.need(err)
			var c credential
			_, _ = c.Parse(i.Bearer, "lapse_refresh")
			return c.Text("lapse")
		}},
		{"spent", ErrReplaced, func(s *textScene) string { return s.texts[1] }},
		{"spent, the first", ErrReplaced, func(s *textScene) string { return s.texts[0] }},
		{"spent, the previous", ErrReplaced, func(s *textScene) string {
			i, err := s.m.Rotate(context.Background(), s.texts[3], 0)
			s.need(err)
			_ = i
			return s.texts[3]
		}},
		{"bound", ErrProof, func(s *textScene) string { return s.boundTo(Thumbprint{7}).first("bound").Bearer }},
		{"bound and rotated", ErrProof, func(s *textScene) string { return s.boundTo(Thumbprint{7}).scene("plain", true).texts[3] }},
		{"bound, the previous", ErrProof, func(s *textScene) string { return s.boundTo(Thumbprint{7}).scene("plain", true).texts[2] }},
		{"bound, spent", ErrProof, func(s *textScene) string { return s.boundTo(Thumbprint{7}).scene("plain", true).texts[1] }},
		{"bound access text", ErrProof, func(s *textScene) string { return s.boundTo(Thumbprint{7}).scene("session", true).texts[3] }},
		{"bound, spent access text", ErrProof, func(s *textScene) string { return s.boundTo(Thumbprint{7}).scene("session", true).texts[1] }},
		{"bound and ended", ErrProof, func(s *textScene) string {
			i := s.boundTo(Thumbprint{7}).first("ended")
			_, err := s.m.Expire(context.Background(), i.ID)
			s.need(err)
			return i.Bearer
		}},
		{"bound, forged tag", ErrUnknown, func(s *textScene) string {
			return respelled(s.boundTo(Thumbprint{7}).scene("plain", true).texts[3], "lapse", wrong)
		}},
		{"spent access text", ErrReplaced, func(s *textScene) string { return s.scene("session", true).texts[1] }},
		{"forged access text", ErrUnknown, func(s *textScene) string { return respelled(s.scene("session", true).texts[3], "lapse", wrong) }},
		{"ended", ErrRevoked, func(s *textScene) string {
			i := s.first("ended")
			_, err := s.m.Expire(context.Background(), i.ID)
			s.need(err)
			return i.Bearer
		}},
		{"ended and rotated", ErrRevoked, func(s *textScene) string {
			s = s.scene("plain", true)
			_, err := s.m.Expire(context.Background(), s.id)
			s.need(err)
			return s.texts[3]
		}},
		{"ran out", ErrExpired, func(s *textScene) string {
			i, err := s.m.Issue(context.Background(), Grant{Subject: s.subject, TTL: time.Millisecond})
			s.need(err)
			s.wait(time.Millisecond)
			return i.Bearer
		}},
		{"ended access text", ErrRevoked, func(s *textScene) string {
			s = s.scene("session", true)
			_, err := s.m.Expire(context.Background(), s.id)
			s.need(err)
			return s.texts[3]
		}},
	}
}

// boundTo returns a scene like s whose later tokens are bound to key, in a world of its own with the
// same Managers.
func (s *textScene) boundTo(key Thumbprint) *textScene {
	w := &textWorld{t: s.t, store: s.store, clock: s.clock, p: s.p, m: s.m, scenes: s.scenes + 1000, bound: key}
	s.scenes++
	return &textScene{textWorld: w, kind: "plain", subject: s.subject}
}

// benchTexts returns a scene whose Managers have no Observe.
func benchTexts(b *testing.B, kind string) *textScene {
	b.Helper()
	s := newTextWorld(b, memory.New()).scene(kind, true)
	s.m.observe, s.p.refresh.observe = nil, nil
	return s
}

// BenchmarkWorkingTexts sets what works beside the text of a plain token that was never
// rotated, whose record keeps nothing sealed.
func BenchmarkWorkingTexts(b *testing.B) {
	s := benchTexts(b, "plain")
	s.m.policy.RenewEvery, s.p.refresh.policy.RenewEvery = never, never
	ctx, rotated := context.Background(), s.scene("plain", true)
	plain := s.first("plain")
	_, err := s.m.Rotate(ctx, s.texts[3], textOverlap)
	s.need(err)
	uses := func(text string) func(int) {
		return func(int) {
			if _, err := s.m.Authenticate(ctx, text); err != nil {
				b.Fatal(err)
			}
		}
	}
	bound, proved := s.boundTo(Thumbprint{7}).first("bound").Bearer, WithProof(ctx, Thumbprint{7})
	b.Run("bound/peer=plain", func(b *testing.B) {
		ratio.Of(b, 200, func(int) {
			if _, err := s.m.Authenticate(proved, bound); err != nil {
				b.Fatal(err)
			}
		}, uses(plain.Bearer))
	})
	session := s.scene("session", true)
	for _, row := range []struct{ name, text string }{
		{"rotated", rotated.texts[3]},
		{"access", session.texts[3]},
		{"previous", s.texts[3]},
		{"previous access", session.texts[2]},
	} {
		b.Run(fmt.Sprintf("%s/peer=plain", row.name), func(b *testing.B) { ratio.Of(b, 200, uses(row.text), uses(plain.Bearer)) })
	}
}

// BenchmarkRefusedTexts: how long a refusal takes tells little of why. Each pays for one
// digest, one tag and one read.
func BenchmarkRefusedTexts(b *testing.B) {
	refuses := func(r refused, s *textScene) func(int) {
		text, ctx := r.text(s), context.Background()
		return func(int) {
			if _, err := s.m.Authenticate(ctx, text); !errors.Is(err, r.want) {
				b.Fatalf("%s: %v; want %v", r.name, err, r.want)
			}
		}
	}
	s := benchTexts(b, "plain")
	rows := refusedTexts()
	unknown := refuses(rows[0], s)
	for _, r := range rows[1:] {
		thing := refuses(r, s)
		b.Run(fmt.Sprintf("%s/peer=unknownID", r.name), func(b *testing.B) { ratio.Of(b, 200, thing, unknown) })
	}
}

// BenchmarkReplayOfADeadSession: a refresh text that was replaced, of a session that is
// dead, costs one read and takes no lock.
func BenchmarkReplayOfADeadSession(b *testing.B) {
	s := benchTexts(b, "session")
	s.m.policy.RenewEvery = never
	ctx, plain := context.Background(), s.scene("plain", true)
	bearer := plain.first("checked").Bearer
	_, err := s.m.Expire(ctx, s.id)
	s.need(err)
	replay := func(int) {
		if _, err := s.p.Refresh(ctx, s.refresh[1]); !errors.Is(err, ErrReused) {
			b.Fatal(err)
		}
	}
	check := func(int) {
		if _, err := s.m.Authenticate(ctx, bearer); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("peer=check", func(b *testing.B) { ratio.Of(b, 200, replay, check) })
}

// refreshingAnew returns a function that refreshes one session again and again, and logs in
// again once it has done that a number of times.
func refreshingAnew(b *testing.B, times int) func(int) {
	b.Helper()
	p, err := NewPairs(memory.New(), PairConfig{Refresh: Config{Policy: Policy{MaxTokens: NoTokenLimit}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, left, c := context.Background(), 0, TokenPair{}
	return func(int) {
		if left == 0 {
			left = times
			c, err = p.Issue(ctx, Grant{Subject: "ana", Name: "phone", Scope: "read write"})
		}
		if left--; err == nil {
			c, err = p.Refresh(ctx, c.Refresh.Bearer)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefresh: the 10,000th refresh of a session costs what its first ones did, and
// no more than three times what it costs to issue a token.
func BenchmarkRefresh(b *testing.B) {
	const n = 100
	late, ctx := refreshingAnew(b, math.MaxInt), context.Background()
	for i := range 10_000 {
		late(i)
	}
	b.Run("the10000th/peer=thefirst100", func(b *testing.B) { ratio.Of(b, n, late, refreshingAnew(b, n)) })
	b.Run("one/peer=issue", func(b *testing.B) {
		m, _ := benchManager(b, 0, never, nil)
		subjects := make([]string, 100_000)
		for i := range subjects {
			subjects[i] = fmt.Sprint("subject ", i)
		}
		ratio.Of(b, n, late, func(i int) {
			if _, err := m.Issue(ctx, Grant{Subject: subjects[i%len(subjects)], Name: "phone", Scope: "read write"}); err != nil {
				b.Fatal(err)
			}
		})
	})
}

const (
	benchHolds = 100_000
	benchCrowd = 10_000 // of them are one subject's
)

// haltedClock stands still until it is told to go.
type haltedClock struct {
	from    time.Time
	started atomic.Pointer[time.Time]
	timers  sync.Map // of its channels
}

func (c *haltedClock) Now() time.Time {
	if started := c.started.Load(); started != nil {
		return c.from.Add(time.Since(*started))
	}
	return c.from
}

// After returns a channel that fires after d, and as the clock starts.
func (c *haltedClock) After(d time.Duration) <-chan time.Time {
	fires := make(chan time.Time, 1)
	time.AfterFunc(d, func() { fire(fires) })
	c.timers.Store(fires, nil)
	return fires
}

func fire(c chan time.Time) {
	select {
	case c <- time.Now():
	default:
	}
}

func (c *haltedClock) start() {
	now := time.Now()
	c.started.Store(&now)
	for fires := range c.timers.Range {
		fire(fires.(chan time.Time))
	}
}

// readings counts how often a store in memory is read.
type readings struct {
	*memory.Store
	n atomic.Int64
}

func (r *readings) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r.n.Add(1)
	return r.Store.Get(ctx, id)
}

// crowd is many tokens and the connections that are held by them.
type crowd struct {
	b       *testing.B
	m       *Manager
	store   *readings
	clock   *haltedClock
	bearers []string
	held    []context.Context
	release context.CancelFunc
}

// newCrowd issues tokens of which the first belong to one subject. All run out at once.
func newCrowd(b *testing.B, ttl time.Duration) *crowd {
	b.Helper()
	c := &crowd{b: b, clock: &haltedClock{from: time.Now()}, store: &readings{Store: memory.New()}}
	c.bearers, c.held = make([]string, benchHolds), make([]context.Context, benchHolds)
	var err error
	c.m, err = New(c.store, Config{Policy: Policy{TTL: ttl, Renewal: RenewNever, RenewEvery: day, MaxTokens: NoTokenLimit}, Clock: c.clock})
	if err != nil {
		b.Fatal(err)
	}
	for i := range c.bearers {
		subject := "ana"
		if i >= benchCrowd {
			subject = fmt.Sprint("subject ", i)
		}
		c.bearers[i] = benchIssue(b, c.m, subject).Bearer
	}
	return c
}

// callers returns a context for each connection.
func (c *crowd) callers() []context.Context {
	ctxs, releases := make([]context.Context, benchHolds), make([]context.CancelFunc, benchHolds)
	for i := range ctxs {
		ctxs[i], releases[i] = context.WithCancel(context.Background())
	}
	c.release = func() {
		for _, release := range releases {
			release()
		}
	}
	return ctxs
}

func (c *crowd) hold(ctxs []context.Context) {
	for i, ctx := range ctxs {
		var err error
		if c.held[i], _, err = opened(c.m.Hold(ctx, c.bearers[i])); err != nil {
			c.b.Fatal(err)
		}
	}
}

// awaitAll begins with the last, so as not to be woken by each.
func awaitAll(held []context.Context) {
	for _, ctx := range slices.Backward(held) {
		<-ctx.Done()
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// BenchmarkHold sets up 100,000 holds and has them all run out at one instant.
func BenchmarkHold(b *testing.B) {
	const ttl = time.Second
	var setUp, cut time.Duration
	for b.Loop() {
		c := newCrowd(b, ttl)
		ctxs := c.callers()
		begin := time.Now()
		c.hold(ctxs)
		setUp += time.Since(begin)
		c.clock.start()
		awaitAll(c.held)
		cut += c.clock.Now().Sub(c.clock.from.Add(ttl))
		c.release()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(setUp)/float64(b.N), "setup-ms")
	b.ReportMetric(milliseconds(cut)/float64(b.N), "cut-ms")
}

// BenchmarkHoldSubject ends the 10,000 tokens of one subject among 100,000 that are
// held, and authenticates another token meanwhile.
func BenchmarkHoldSubject(b *testing.B) {
	var cut time.Duration
	var ratios, idles []float64
	for b.Loop() {
		c := newCrowd(b, day)
		c.hold(c.callers())
		idle := c.p99(nil)
		busy := c.p99(func() {
			if n, err := c.m.ExpireSubject(context.Background(), "ana"); n != benchCrowd || err != nil {
				b.Errorf("ended %d, %v", n, err)
			}
			begin := time.Now()
			awaitAll(c.held[:benchCrowd])
			cut += time.Since(begin)
		})
		ratios, idles = append(ratios, float64(busy)/float64(idle)), append(idles, float64(idle))
		c.release()
	}
	slices.Sort(ratios)
	slices.Sort(idles)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(cut)/float64(b.N), "cut-ms")
	b.ReportMetric(idles[len(idles)/2], "idle-p99-ns")
	b.ReportMetric(ratios[len(ratios)/2], "p99-ratio")
}

// BenchmarkSuspend compares the time from Suspend to the last cut with that from ExpireSubject to the last
// cut, for 10,000 connections of one subject: all by one token, by delegates of the token that is suspended,
// and by a token each, all of which are suspended. Each ratio must be 2 at most.
func BenchmarkSuspend(b *testing.B) {
	suspend := func(m *Manager, ids []ID) error {
		for _, id := range ids {
			if changed, err := m.Suspend(context.Background(), id); !changed || err != nil {
				return fmt.Errorf("changed %v, %w", changed, err)
			}
		}
		return nil
	}
	expire := func(m *Manager, _ []ID) error {
		_, err := m.ExpireSubject(context.Background(), "ana")
		return err
	}
	for name, hold := range map[string]func(b *testing.B, m *Manager) (ids []ID, bearers []string){
		"one token": func(b *testing.B, m *Manager) ([]ID, []string) {
			i := benchIssue(b, m, "ana")
			return []ID{i.ID}, slices.Repeat([]string{i.Bearer}, benchCrowd)
		},
		"delegates": func(b *testing.B, m *Manager) ([]ID, []string) {
			i, bearers := benchIssue(b, m, "ana"), make([]string, benchCrowd)
			for n := range bearers {
				bearers[n] = made(m.Delegate(context.Background(), i.Bearer, Grant{})).Bearer
			}
			return []ID{i.ID}, bearers
		},
		"a token each": func(b *testing.B, m *Manager) (ids []ID, bearers []string) {
			for range benchCrowd {
				i := benchIssue(b, m, "ana")
				ids, bearers = append(ids, i.ID), append(bearers, i.Bearer)
			}
			return ids, bearers
		},
	} {
		cut := func(end func(*Manager, []ID) error) time.Duration {
			m := made(New(memory.New(), Config{Policy: Policy{TTL: day, RenewEvery: day, MaxTokens: NoTokenLimit, MaxDelegates: NoTokenLimit}}))
			ids, bearers := hold(b, m)
			ctx, release := context.WithCancel(context.Background())
			defer release()
			held := make([]context.Context, len(bearers))
			for n, bearer := range bearers {
				held[n] = made(m.Hold(ctx, bearer)).Context()
			}
			begin := time.Now()
			if err := end(m, ids); err != nil {
				b.Fatal(err)
			}
			awaitAll(held)
			return time.Since(begin)
		}
		b.Run(name, func(b *testing.B) {
			var ratios, cuts []float64
			for b.Loop() {
				suspended, ended := cut(suspend), cut(expire)
				ratios, cuts = append(ratios, float64(suspended)/float64(ended)), append(cuts, milliseconds(suspended))
			}
			slices.Sort(ratios)
			slices.Sort(cuts)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(cuts[len(cuts)/2], "cut-ms")
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
		})
	}
}

// p99 returns what one in a hundred calls of Authenticate takes at least, while do runs,
// or of 50,000 calls.
func (c *crowd) p99(do func()) time.Duration {
	var stop atomic.Bool
	var doing sync.WaitGroup
	if do != nil {
		doing.Go(func() {
			do()
			stop.Store(true)
		})
	}
	var took []time.Duration
	for n := 0; !stop.Load() && (do != nil || n < 50_000); n++ {
		begin := time.Now()
		if _, err := c.m.Authenticate(context.Background(), c.bearers[benchCrowd+n%(benchHolds-benchCrowd)]); err != nil {
			c.b.Error(err)
			break
		}
		took = append(took, time.Since(begin))
	}
	doing.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// usingHolds returns a use by each of the connections by bearers in turn.
func usingHolds(b *testing.B, m *Manager, bearers []string, use func(*Hold, context.Context) error) func(int) {
	b.Helper()
	ctx, holds := context.Background(), make([]*Hold, len(bearers))
	for i := range holds {
		var err error
		if holds[i], err = m.Hold(ctx, bearers[i]); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(holds[i].Release)
	}
	return func(i int) {
		if err := use(holds[i%len(holds)], ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHooks compares Authenticate of a bound token, with its proof, and under an Admit that lets
// it pass, with that of a plain token. Each ratio must be 1.1 at most.
func BenchmarkHooks(b *testing.B) {
	policy := Policy{TTL: 2 * never, MaxTTL: NoLimit, RenewEvery: never, MaxTokens: NoTokenLimit}
	ctx := WithProof(context.Background(), proofKeys[0])
	check := func(cfg Config, g Grant) func(int) {
		cfg.Policy = policy
		m, _ := managerOver(b, memory.New(), cfg)
		bearers := make([]string, 1000)
		for i := range bearers {
			bearers[i] = issueTo(b, m, g).Bearer
		}
		return func(i int) {
			if _, err := m.Authenticate(ctx, bearers[i%len(bearers)]); err != nil {
				b.Fatal(err)
			}
		}
	}
	plain := check(Config{}, Grant{Subject: "ana"})
	for name, thing := range map[string]func(int){
		"bound": check(Config{}, Grant{Subject: "ana", Thumbprint: proofKeys[0]}),
		"admit": check(Config{Admit: letPass}, Grant{Subject: "ana"}),
	} {
		b.Run(name+"/peer=plain", func(b *testing.B) { ratio.Of(b, 20_000, thing, plain) })
	}
}

// foreignManager returns a Manager with n imported tokens, and their texts and native ones.
func foreignManager(tb testing.TB, n int) (m *Manager, texts, bearers []string) {
	foreign := func(text string) (string, []byte, bool) {
		key, _, ok := strings.Cut(text, "|")
		return key, foreignDigest, ok
	}
	policy := Policy{TTL: 2 * never, MaxTTL: NoLimit, RenewEvery: never, MaxTokens: NoTokenLimit}
	m, _ = managerOver(tb, memory.New(), Config{Policy: policy, Foreign: foreign})
	for i := range n {
		subject := fmt.Sprint("subject ", i)
		text := fmt.Sprintf("%d|0123456789012345678901234567890123456789", i)
		key, digest, _ := foreign(text)
		made(m.Import(context.Background(), Grant{Subject: subject}, Foreign{Key: key, Digest: digest}))
		texts, bearers = append(texts, text), append(bearers, issueTo(tb, m, Grant{Subject: subject}).Bearer)
	}
	return m, texts, bearers
}

// foreignDigest is a digest as long as SHA-512. That it is the same for each text costs nothing less.
var foreignDigest = bytes.Repeat([]byte{7}, 64)

// BenchmarkForeign compares a check by a foreign text with one by a native text. The ratio must be
// 2.5 at most.
func BenchmarkForeign(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		m, texts, bearers := foreignManager(b, n)
		b.Run(fmt.Sprintf("tokens=%d/peer=native", n), func(b *testing.B) {
			b.ReportAllocs()
			ratio.Of(b, 20_000, using(b, m.Authenticate, texts), using(b, m.Authenticate, bearers))
		})
	}
}

// TestForeignChecksAllocateNothing, nor does the refusal of a text that Foreign does not know; that
// of another unknown text allocates its answer.
func TestForeignChecksAllocateNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates by itself")
	}
	m, texts, _ := foreignManager(t, 10)
	for text, want := range map[string]float64{texts[3]: 0, "no text": 0, "11|unknown": 1} {
		if n := allocations(t, func() { _, _ = m.Authenticate(context.Background(), text) }); n > want {
			t.Errorf("a check of %q makes %v allocations; want %v", text, n, want)
		}
	}
}

// BenchmarkHoldUse compares a use by a connection with a check of its text. Where no use is due
// the ratio must be 0.25 at most.
func BenchmarkHoldUse(b *testing.B) {
	m, bearers := benchManager(b, 1_000, never, nil)
	use := usingHolds(b, m, bearers, (*Hold).Use)
	b.Run("notdue/peer=authenticate", func(b *testing.B) {
		b.ReportAllocs()
		ratio.Of(b, 20_000, use, using(b, m.Authenticate, bearers))
	})
	b.Run("notdue/peer=byrecord", func(b *testing.B) {
		ratio.Of(b, 20_000, use, usingHolds(b, m, bearers, func(h *Hold, ctx context.Context) error { return h.use(ctx, &call{Verb: VerbUse}, h.conn.ReadAt()) }))
	})
	due, dueBearers := benchManager(b, 1_000, 0, new(tickClock))
	dueUse := usingHolds(b, due, dueBearers, (*Hold).Use)
	b.Run("due/peer=authenticate", func(b *testing.B) {
		ratio.Of(b, 20_000, dueUse, using(b, due.Authenticate, dueBearers))
	})
	b.Run("procs=2/peer=procs1", func(b *testing.B) {
		ratio.Of(b, 400_000, inPairs(400_000, use), use) // so many that waking a thread costs little
	})
}

// inPairs returns f such that n calls of it are made by two goroutines, half each, when the last
// of n is asked for. With two processors a function that scales takes half the time.
func inPairs(n int, f func(int)) func(int) {
	return func(i int) {
		if (i+1)%n != 0 {
			return
		}
		var both sync.WaitGroup
		for half := range 2 {
			both.Go(func() {
				for k := half * n / 2; k < (half+1)*n/2; k++ {
					f(k)
				}
			})
		}
		both.Wait()
	}
}

// BenchmarkHoldPeer compares with what people do today: a deadline for each connection,
// and a goroutine for each that asks again every five seconds.
func BenchmarkHoldPeer(b *testing.B) {
	for name, hold := range map[string]func(c *crowd, ctxs []context.Context){
		"hold":             (*crowd).hold,
		"deadline+recheck": (*crowd).recheck,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c := newCrowd(b, day)
				ctxs := c.callers()
				before := inUse()
				hold(c, ctxs)
				b.ReportMetric(float64(inUse()-before)/benchHolds, "bytes/conn")
				reads, busy, begin := c.store.n.Load(), cpu(), time.Now()
				time.Sleep(2 * recheckEvery)
				seconds := time.Since(begin).Seconds()
				b.ReportMetric(float64(c.store.n.Load()-reads)/seconds, "reads/s")
				b.ReportMetric((cpu()-busy)*1000/seconds, "cpu-ms/s")
				if _, err := c.m.ExpireSubject(context.Background(), "ana"); err != nil {
					b.Fatal(err)
				}
				begin = time.Now()
				awaitAll(c.held[:benchCrowd])
				b.ReportMetric(milliseconds(time.Since(begin)), "cut-ms")
				c.release()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

const recheckEvery = 5 * time.Second

func (c *crowd) recheck(ctxs []context.Context) {
	for i, ctx := range ctxs {
		tok, err := c.m.Authenticate(ctx, c.bearers[i])
		if err != nil {
			c.b.Fatal(err)
		}
		ctx, cancel := context.WithDeadline(ctx, tok.ExpiresAt)
		c.held[i] = ctx
		bearer := c.bearers[i]
		go func() {
			defer cancel()
			ticker := time.NewTicker(recheckEvery)
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
				if _, err := c.m.Peek(ctx, bearer); err != nil {
					return
				}
			}
		}()
	}
}

// cpu returns how many seconds of processor time this process has used, without that of the
// garbage collector, which is what brings the figure up to date.
func cpu() float64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/cpu/classes/user:cpu-seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64()
}

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

	allocates float64 // Event.Before, where a renewal is told
}{
	{"not due", Config{Policy: Policy{RenewEvery: time.Hour}}, false, 0},
	{"due", Config{Policy: Policy{MaxTTL: NoLimit}}, true, 0},
	{"due, last use alone", Config{Policy: Policy{Renewal: RenewNever, TTL: day}}, true, 0},
	{"due, at the cap", Config{Policy: Policy{TTL: day, MaxTTL: day}}, true, 0},
	{"not due, watched", Config{Policy: Policy{RenewEvery: time.Hour}, Admit: letPass, Observe: func(context.Context, Event) {}}, false, 0},
	{"due, watched", Config{Policy: Policy{MaxTTL: NoLimit}, Admit: letPass, Observe: func(context.Context, Event) {}}, true, 1},
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
			if n := allocations(t, use); n != tt.allocates {
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

// TestRefusingMalformedAllocatesNothing, with and without an Observe.
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

// TestTextsAllocateNothing: to authenticate by a text of any standing that works allocates
// nothing, and to refuse one allocates the Rejection alone.
func TestTextsAllocateNothing(t *testing.T) {
	for _, kind := range []string{"plain", "session", "obtained", "bound plain", "bound session"} {
		w := newTextWorld(t, memory.New())
		kind, bound := strings.CutPrefix(kind, "bound ")
		if bound {
			w.bound = Thumbprint{7}
		}
		s, ctx := w.scene(kind, true), w.ctx()
		w.m.policy.RenewEvery, w.p.refresh.policy.RenewEvery = never, never
		for name, text := range map[string]string{"current": s.texts[3], "previous": s.texts[2]} {
			for verb, use := range map[string]func(context.Context, string) (Token, error){"Authenticate": s.m.Authenticate, "Peek": s.m.Peek} {
				n := allocations(t, func() {
					if _, err := use(ctx, text); err != nil {
						t.Fatal(err)
					}
				})
				if n > 0 {
					t.Errorf("%s, bound %v, %s by the %s text makes %v allocations", kind, bound, verb, name, n)
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
	const sessions, budget = 10_000, 500
	refreshes := sample.Of(20, 3) // and one of them 10,000 times
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

// watchedTx is a storage.Tx whose calls are noted. It is a storage.Fitter unless it hides that.
type watchedTx struct {
	storage.Tx
	calls *[]string
}

func (w watchedTx) Get(id ID) (storage.Record, error) {
	*w.calls = append(*w.calls, "Get")
	return w.Tx.Get(id)
}

func (w watchedTx) Put(r storage.Record) error {
	*w.calls = append(*w.calls, "Put")
	return w.Tx.Put(r)
}

type watchedFitter struct{ watchedTx }

func (w watchedFitter) PutIfFits(r *storage.Record, n int, now time.Time) bool {
	fits := w.Tx.(storage.Fitter).PutIfFits(r, n, now)
	*w.calls = append(*w.calls, fmt.Sprint("PutIfFits ", n, " ", fits))
	return fits
}

// watchedStore is a store whose transactions are watched.
type watchedStore struct {
	storage.Store
	hides bool
	calls []string
}

func (s *watchedStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error {
		if w := (watchedTx{tx, &s.calls}); s.hides {
			return fn(w)
		} else {
			return fn(watchedFitter{w})
		}
	})
}

// TestFitsIsAskedOnce: where a new record fits, nothing else is done, and where it does
// not, what decides is read as ever.
func TestFitsIsAskedOnce(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, store := range map[string]storage.Store{"memory": memory.New(), "bolt": db} {
		s := &watchedStore{Store: store}
		m, _ := managerOver(t, s, Config{Policy: Policy{MaxTokens: 2, AtLimit: LimitRefuse}})
		for _, want := range [][]string{{"PutIfFits 1 true"}, {"PutIfFits 1 true"}, {"PutIfFits 1 false", "Get"}} {
			s.calls = nil
			_, err := m.Issue(t.Context(), Grant{Subject: "ana"})
			if full := len(want) == 2 && want[1] == "Get"; full != errors.Is(err, ErrLimit) {
				t.Errorf("%s: Issue: %v; want ErrLimit %v", name, err, full)
			}
			if diff := cmp.Diff(want, s.calls); diff != "" {
				t.Errorf("%s: calls (-want +got):\n%s", name, diff)
			}
		}
		unlimited, _ := managerOver(t, s, Config{Policy: Policy{MaxTokens: NoTokenLimit}})
		s.calls = nil
		issueTo(t, unlimited, Grant{Subject: "ana"})
		if diff := cmp.Diff([]string{fmt.Sprint("PutIfFits ", NoTokenLimit-1, " true")}, s.calls); diff != "" {
			t.Errorf("%s: no limit: calls (-want +got):\n%s", name, diff)
		}
	}
}

// TestFitsDecidesNothing: with dead ones among the live, before, at and after the limit,
// Issue does the same over a store whose transactions cannot see whether a record fits.
func TestFitsDecidesNothing(t *testing.T) {
	for _, at := range []AtLimit{LimitRefuse, LimitEndOldest, LimitEndIdlest} {
		for dead := range 5 {
			outcomes := func(hides bool) (all []string) {
				m, _ := managerOver(t, &watchedStore{Store: memory.New(), hides: hides}, Config{Policy: Policy{MaxTokens: 3, AtLimit: at}})
				for range dead {
					i, err := m.Issue(t.Context(), Grant{Subject: "ana"})
					ended, _ := m.Expire(t.Context(), i.ID)
					all = append(all, fmt.Sprint(err, ended))
				}
				for range 6 {
					i, err := m.Issue(t.Context(), Grant{Subject: "ana"})
					all = append(all, fmt.Sprint(len(i.Evicted), errors.Is(err, ErrLimit), err))
				}
				return all
			}
			if diff := cmp.Diff(outcomes(true), outcomes(false)); diff != "" {
				t.Errorf("AtLimit %d, %d dead: (-without +with Fits):\n%s", at, dead, diff)
			}
		}
	}
}

// TestTakenIDWithFits: a random source that repeats itself replaces no record.
func TestTakenIDWithFits(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	old := issueTo(t, m, Grant{Subject: "ana"})
	for _, subject := range []string{"ana", "bob"} {
		d := draft{m: m, grant: Grant{Subject: subject}}
		copy(d.cred[:], old.ID[:])
		if err := m.store.Update(t.Context(), subject, d.store); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v; want ErrConflict", subject, err)
		}
	}
	if tok, err := m.Authenticate(t.Context(), old.Bearer); err != nil || tok.Subject != "ana" {
		t.Errorf("the holder of the ID: %+v, %v", tok, err)
	}
}

// TestFitsAfterARunThatMadeRoom: what an earlier run of the transaction evicted, and was
// undone, is not said to be evicted.
func TestFitsAfterARunThatMadeRoom(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{Policy: Policy{MaxTokens: 1, AtLimit: LimitEndOldest}})
	issueTo(t, m, Grant{Subject: "ana"})
	d := draft{m: m, grant: Grant{Subject: "ana"}}
	if err := m.store.Update(t.Context(), "ana", func(tx storage.Tx) error {
		return errors.Join(d.store(tx), context.Canceled)
	}); !errors.Is(err, context.Canceled) || len(d.evicted) != 1 {
		t.Fatalf("the first run: %v, evicted %d", err, len(d.evicted))
	}
	d.grant.Subject = "bob"
	if err := m.store.Update(t.Context(), "bob", d.store); err != nil || d.issued(t.Context(), new(call)).Evicted != nil {
		t.Errorf("the second run: %v, evicted %v", err, d.evicted)
	}
}

// TestDraftsAreUsedAgain once they are empty, and never after a failure.
func TestDraftsAreUsedAgain(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{Policy: Policy{MaxTokens: 1}})
	issueTo(t, m, Grant{Subject: "ana", Name: "laptop", Data: "x"})
	seen := 0
	for n := range 100 { // a pool may lose some
		if d, _ := m.drafts.Get().(*draft); d != nil {
			seen++
			left := *d
			left.stores = nil // which is of the draft, not of a token
			if !reflect.ValueOf(left).IsZero() {
				t.Fatal("something is left of a token in a draft that is used again")
			}
		}
		issueTo(t, m, Grant{Subject: fmt.Sprint("subject ", n), Name: "laptop", Data: "x"})
	}
	if seen == 0 {
		t.Error("no draft is used again")
	}
	for m.drafts.Get() != nil {
	}
	for range 100 {
		if _, err := m.Issue(t.Context(), Grant{Subject: "ana"}); !errors.Is(err, ErrLimit) {
			t.Fatalf("Issue: %v; want ErrLimit", err)
		}
		if m.drafts.Get() != nil {
			t.Fatal("the draft of a failed Issue is used again")
		}
	}
}

// TestFitsDecidesNothingOfSessions: beside dead sessions, delegates and plain tokens,
// before, at and after the limit, a log-in does the same over a store whose transactions
// cannot see whether a record fits.
func TestFitsDecidesNothingOfSessions(t *testing.T) {
	for _, at := range []AtLimit{LimitRefuse, LimitEndOldest, LimitEndIdlest} {
		for dead := range 5 {
			outcomes := func(hides bool) (all []string) {
				mock := clock.NewMock()
				mock.Set(testInstant)
				p, err := NewPairs(&watchedStore{Store: memory.New(), hides: hides}, PairConfig{
					Access: Config{Clock: mock}, Refresh: Config{Policy: Policy{MaxTokens: 3, AtLimit: at}},
				})
				if err != nil {
					t.Fatal(err)
				}
				for n := range 6 + dead {
					c, err := p.Issue(t.Context(), Grant{Subject: "ana"})
					all = append(all, fmt.Sprint(len(c.Refresh.Evicted), errors.Is(err, ErrLimit), err))
					if n < dead {
						all = append(all, fmt.Sprint(loggedOut(p.ExpireBearer(t.Context(), c.Access.Bearer))))
					}
					if err == nil && n >= dead {
						_, err = p.Access().Delegate(t.Context(), c.Access.Bearer, Grant{})
						all = append(all, fmt.Sprint(err))
					}
					issueTo(t, p.Access(), Grant{Subject: "ana"})
				}
				return all
			}
			if diff := cmp.Diff(outcomes(true), outcomes(false)); diff != "" {
				t.Errorf("AtLimit %d, %d dead: (-without +with PutIfFits):\n%s", at, dead, diff)
			}
		}
	}
}

// TestTakenIDOfASession: a random source that repeats itself replaces no record, and a
// log-in draws another ID, three in all.
func TestTakenIDOfASession(t *testing.T) {
	for taken, want := range map[int]error{0: nil, 1: nil, 2: nil, 3: ErrConflict} {
		store := &takenFirst{Store: memory.New(), left: taken}
		p, err := NewPairs(store, PairConfig{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Issue(t.Context(), Grant{Subject: "ana"})
		if !errors.Is(err, want) || (c.Refresh.Bearer == "") != (want != nil) {
			t.Errorf("%d times: %v; want %v", taken, err, want)
		}
	}
}

// takenFirst is a store that finds the first IDs taken.
type takenFirst struct {
	storage.Store
	left int
}

func (s *takenFirst) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error {
		if s.left > 0 {
			s.left--
			return fn(everyID{tx})
		}
		return fn(tx)
	})
}

type everyID struct{ storage.Tx }

func (everyID) Get(id ID) (storage.Record, error) {
	return storage.Record{Token: Token{ID: id}}, nil
}

// strictMemory and strictBolt are what a program may build around a store: all of its
// methods, with a Get of their own.
type strictMemory struct{ *memory.Store }

func (strictMemory) Get(context.Context, ID) (storage.Record, error) {
	return storage.Record{}, storage.ErrUnavailable
}

type strictBolt struct{ *bolt.Store }

func (*strictBolt) Get(context.Context, ID) (storage.Record, error) {
	return storage.Record{}, storage.ErrUnavailable
}

// TestReader: a check goes past Get only where it would say the same.
func TestReader(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	mem := memory.New()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name          string
		store, around storage.Store
	}{
		{"memory", mem, strictMemory{mem}},
		{"bolt", db, &strictBolt{db}},
	} {
		m, _ := managerOver(t, row.store, Config{})
		i := issueTo(t, m, Grant{Subject: "ana"})
		if table.ReaderOf(row.store).Table() == nil {
			t.Errorf("%s has no Reader", row.name)
		}
		if tok, err := m.Authenticate(t.Context(), i.Bearer); err != nil || tok.ID != i.ID {
			t.Errorf("%s: %+v, %v", row.name, tok, err)
		}
		if tok, err := m.Authenticate(ended, i.Bearer); !errors.Is(err, context.Canceled) || tok != (Token{}) {
			t.Errorf("%s, the context has ended: %+v, %v; want context.Canceled", row.name, tok, err)
		}
		around, _ := managerOver(t, row.around, Config{})
		if tok, err := around.Authenticate(t.Context(), i.Bearer); !errors.Is(err, ErrUnavailable) || tok != (Token{}) {
			t.Errorf("%s in a store whose Get fails: %+v, %v; want ErrUnavailable", row.name, tok, err)
		}
		if err := row.store.Close(); err != nil {
			t.Errorf("%s: Close: %v", row.name, err)
		}
		if tok, err := m.Authenticate(t.Context(), i.Bearer); !errors.Is(err, ErrClosed) || tok != (Token{}) {
			t.Errorf("%s, closed: %+v, %v; want ErrClosed", row.name, tok, err)
		}
	}
}

// opened returns what a Hold shows, or without one the error and a context that has ended.
func opened(h *Hold, err error) (context.Context, Token, error) {
	if err == nil {
		return h.Context(), h.Token(), nil
	}
	ctx, end := context.WithCancelCause(context.Background())
	end(err)
	return ctx, Token{}, err
}

// loggedOut returns what a verb that logs out says besides the token.
func loggedOut(_ Token, err error) error { return err }

// BenchmarkListPage compares a page of 100 tokens of many with 100 Gets, and the last page with the
// first one, in the store and by List. With few tokens the Gets find all that they read in the caches
// of the processor, and the collector, which runs often on a small heap, is what the memory of a page
// costs.
func BenchmarkListPage(b *testing.B) {
	for _, kind := range []string{"memory", "bolt"} {
		for _, tokens := range []int{10_000, 1_000_000} {
			b.Run(kind+"/"+strconv.Itoa(tokens), func(b *testing.B) { benchListPage(b, kind, tokens) })
		}
	}
}

// benchListPage is BenchmarkListPage on a store of that kind with so many tokens.
func benchListPage(b *testing.B, kind string, tokens int) {
	const size = 100
	var store storage.Store = memory.New()
	if kind == "bolt" {
		s, err := bolt.Open(filepath.Join(b.TempDir(), "tokens.db"), nil)
		if err != nil {
			b.Fatal(err)
		}
		store = s
	}
	defer store.Close()
	m := made(New(store, Config{}))
	ids := manyTokens(b, m, tokens)
	page := func(after string) func(int) {
		return func(int) {
			if recs, _, err := store.(storage.Pager).Page(b.Context(), after, size); len(recs) != size || err != nil {
				b.Fatalf("Page: %d, %v", len(recs), err)
			}
		}
	}
	gets := func(i int) {
		for k := range size {
			if _, err := store.Get(b.Context(), ids[(i*size+k)%len(ids)]); err != nil {
				b.Fatal(err)
			}
		}
	}
	list := func(after string) func(int) {
		return func(int) {
			var next string
			n := 0
			for range m.List(b.Context(), Query{Limit: size, After: after, Next: &next}) {
				n++
			}
			if n != size {
				b.Fatalf("List: %d", n)
			}
		}
	}
	var last string
	for next := ""; ; {
		_, after, err := store.(storage.Pager).Page(b.Context(), next, size)
		if err != nil {
			b.Fatal(err)
		}
		if after == "" {
			last = next
			break
		}
		next = after
	}
	lastListed := last + new(Query).tag(orderOfPages, last)
	b.Run("page against gets", func(b *testing.B) { ratio.Of(b, 200, page(""), gets) })
	b.Run("last page against first", func(b *testing.B) { ratio.Of(b, 200, page(last), page("")) })
	b.Run("list against gets", func(b *testing.B) { ratio.Of(b, 200, list(""), gets) })
	b.Run("last list against first", func(b *testing.B) { ratio.Of(b, 200, list(lastListed), list("")) })
	b.Run("count against list", func(b *testing.B) {
		ratio.Of(b, 1, func(int) { made(m.Count(b.Context(), Query{})) }, func(int) {
			for range m.List(b.Context(), Query{}) {
			}
		})
	})
}

// manyTokens puts n tokens, of a thousand each a subject, and returns their IDs.
func manyTokens(b *testing.B, m *Manager, n int) (ids []ID) {
	b.Helper()
	first := made(m.store.Get(b.Context(), made(m.Issue(b.Context(), Grant{Subject: "first", Name: "phone", Scope: "read"})).ID))
	if _, err := m.ForgetSubject(b.Context(), "first"); err != nil {
		b.Fatal(err)
	}
	for from := 0; from < n; from += 1000 {
		subject := "subject " + strconv.Itoa(from)
		err := m.store.Update(b.Context(), subject, func(tx storage.Tx) error {
			for k := from; k < min(n, from+1000); k++ {
				rec := first
				rec.Subject = subject
				binary.BigEndian.PutUint32(rec.ID[8:], uint32(k)|1<<31)
				if err := tx.Put(rec); err != nil {
					return err
				}
				ids = append(ids, rec.ID)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return ids
}
