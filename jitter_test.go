package lapse_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// TestJitterSpreads the lives of 10,000 tokens over the whole share, each part of it
// as often as the others, in whole milliseconds and never outside.
func TestJitterSpreads(t *testing.T) {
	alone(t)
	const tokens, parts = 10_000, 10
	for _, share := range []float64{0.01, 0.1, 0.5} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			const ttl = time.Hour
			m, _ := gateManager(t, newFixture(t, lapse.Config{}).store, lapse.Policy{TTL: ttl, MaxTokens: lapse.NoTokenLimit})
			shortest := ttl - time.Duration(float64(ttl)*share)
			var hits [parts]int
			different := map[time.Time]bool{}
			for n := range tokens {
				i, err := m.Issue(t.Context(), lapse.Grant{Subject: fmt.Sprint(n % 100), Jitter: share})
				if err != nil {
					t.Fatal(err)
				}
				life := i.ExpiresAt.Sub(i.IssuedAt)
				if life > ttl || life < shortest || life%time.Millisecond != 0 {
					t.Fatalf("lives for %v, want whole milliseconds from %v to %v", life, shortest, ttl)
				}
				different[i.ExpiresAt] = true
				hits[min(parts-1, int(parts*(life-shortest)/(ttl-shortest)))]++
			}
			for part, n := range hits {
				if n < tokens/parts*7/10 || n > tokens/parts*13/10 { // ten standard deviations
					t.Errorf("%d of %d tokens in part %d of %d: %v", n, tokens, part, parts, hits)
				}
			}
			if len(different) < tokens*7/10 {
				t.Errorf("%d instants for %d tokens", len(different), tokens)
			}
		})
	}
}

// TestJitterOfShortLives rounds to whole milliseconds without reaching none, and
// every length that it may give comes.
func TestJitterOfShortLives(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		ttl   time.Duration
		share float64
		want  []time.Duration
	}{
		{ms, 0.5, []time.Duration{ms}},
		{2*ms - 1, 0.5, []time.Duration{ms}},
		{2 * ms, 0.5, []time.Duration{ms, 2 * ms}},
		{2 * ms, 0.499, []time.Duration{2 * ms}},
		{3 * ms, 0.5, []time.Duration{2 * ms, 3 * ms}},
		{10 * ms, 0.3, []time.Duration{7 * ms, 8 * ms, 9 * ms, 10 * ms}},
		{time.Second, 1e-300, []time.Duration{time.Second}},
		{time.Hour, math.Copysign(0, -1), []time.Duration{time.Hour}},
		{time.Hour, 0, []time.Duration{time.Hour}},
	} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
		got := map[time.Duration]bool{}
		for range 400 {
			got[f.issue(lapse.Grant{Subject: "ana", TTL: tt.ttl, Jitter: tt.share}).ExpiresAt.Sub(startMilli)] = true
		}
		want := map[time.Duration]bool{}
		for _, life := range tt.want {
			want[life] = true
		}
		wantDiff(t, fmt.Sprintf("lives of %v with %v", tt.ttl, tt.share), want, got)
	}
}

// TestJitterOfTheLongest life does not wrap.
func TestJitterOfTheLongest(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}})
	i := f.issue(lapse.Grant{Subject: "ana", TTL: math.MaxInt64 - 1, Jitter: 0.5})
	if life := i.ExpiresAt.Sub(startMilli); life < math.MaxInt64/2-time.Hour || life >= math.MaxInt64-1 {
		t.Errorf("lives for %v", life)
	}
}

// TestJitterIsTheTokensOwn: what was drawn at issue is what renewals give, and the cap
// is that of every token.
func TestJitterIsTheTokensOwn(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 3 * time.Hour}})
	i := f.issue(lapse.Grant{Subject: "ana", Jitter: 0.5})
	life := i.ExpiresAt.Sub(startMilli)
	if want := startMilli.Add(3 * time.Hour); !i.MaxExpiresAt.Equal(want) {
		t.Errorf("its cap is %v, want %v", i.MaxExpiresAt, want)
	}
	if got := f.contents()[0].TTL; got != life {
		t.Errorf("stored TTL %v of a life of %v", got, life)
	}
	f.clock.add(20 * time.Minute)
	used, err := f.Authenticate(f.ctx, i.Bearer)
	if want := startMilli.Add(20*time.Minute + life); err != nil || !used.ExpiresAt.Equal(want) {
		t.Errorf("a use renews until %v, %v; want %v", used.ExpiresAt, err, want)
	}
	f.clock.add(time.Minute)
	renewed, err := f.Renew(f.ctx, i.Bearer)
	if want := startMilli.Add(21*time.Minute + life); err != nil || !renewed.ExpiresAt.Equal(want) {
		t.Errorf("Renew renews until %v, %v; want %v", renewed.ExpiresAt, err, want)
	}
}

// TestJitterOfADelegate is its own, under the cap of its parent.
func TestJitterOfADelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTokens: lapse.NoTokenLimit}})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	different := map[time.Time]bool{}
	for range 50 {
		d, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{Jitter: 0.5})
		if err != nil || d.ExpiresAt.After(parent.ExpiresAt) || d.ExpiresAt.Before(startMilli.Add(30*time.Minute)) {
			t.Fatalf("%+v, %v", d, err)
		}
		different[d.ExpiresAt] = true
	}
	if len(different) < 25 {
		t.Errorf("%d instants for 50 delegates", len(different))
	}
}

// TestJitterOutOfLimits is named, and nothing is stored.
func TestJitterOutOfLimits(t *testing.T) {
	for share, want := range map[float64]error{
		0: nil, 1e-9: nil, 0.5: nil,
		-1e-9: lapse.ErrInvalidGrant, -0.5: lapse.ErrInvalidGrant, math.Nextafter(0.5, 1): lapse.ErrInvalidGrant, 1: lapse.ErrInvalidGrant,
		math.NaN(): lapse.ErrInvalidGrant, math.Inf(1): lapse.ErrInvalidGrant, math.Inf(-1): lapse.ErrInvalidGrant,
	} {
		f := newFixture(t, lapse.Config{})
		_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana", Jitter: share})
		wantIs(t, fmt.Sprint(share), err, want)
		if want != nil && (!strings.Contains(err.Error(), "Jitter") || len(f.contents()) != 0) {
			t.Errorf("%v: %v", share, err)
		}
	}
}

// TestJitterWithoutRandomness issues nothing, even if there is enough for the secret.
func TestJitterWithoutRandomness(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	source := rand.Reader
	defer func() { rand.Reader = source }()
	rand.Reader = &failsOnce{Reader: source}
	i, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana", Jitter: 0.1})
	if !errors.Is(err, errDisk) || i.Bearer != "" || len(f.contents()) != 0 {
		t.Errorf("%+v, %v", i, err)
	}
	f.issue(lapse.Grant{Subject: "ana", Jitter: 0.1})
}

type failsOnce struct {
	io.Reader
	failed bool
}

func (r *failsOnce) Read(p []byte) (int, error) {
	if !r.failed {
		r.failed = true
		return 0, errDisk
	}
	return r.Reader.Read(p)
}
