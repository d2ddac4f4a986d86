package lapse

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	longest = time.Duration(math.MaxInt64 - 1) // that is not NoLimit
	day     = 24 * time.Hour
)

// longestMilli is what rounding leaves of longest.
const longestMilli = longest / time.Millisecond * time.Millisecond

func TestPolicyDefaults(t *testing.T) {
	want := Policy{
		TTL: 30 * time.Minute, MaxTTL: 30 * day, Renewal: RenewOnUse, RenewEvery: 0,
		MaxTokens: 100, AtLimit: LimitRefuse, MaxDelegates: 100, Retention: day,
	}
	got, err := Policy{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("zero Policy (-want +got):\n%s", diff)
	}
}

// TestPolicyValid: what is set stays as it is, but for rounding, and only what
// is zero gets a default.
func TestPolicyValid(t *testing.T) {
	base := Policy{TTL: 30 * time.Minute, MaxTTL: 30 * day, Renewal: RenewOnUse, MaxTokens: 100, AtLimit: LimitRefuse, MaxDelegates: 100, Retention: day}
	with := func(change func(*Policy)) Policy {
		p := base
		change(&p)
		return p
	}
	for _, tt := range []struct {
		name        string
		given, want Policy
	}{
		{"TTL of a millisecond", Policy{TTL: 1e6}, with(func(p *Policy) { p.TTL = 1e6 })},
		{"TTL rounds down", Policy{TTL: 2e6 - 1}, with(func(p *Policy) { p.TTL = 1e6 })},
		{"TTL at the default MaxTTL", Policy{TTL: 30 * day}, with(func(p *Policy) { p.TTL = 30 * day })},
		{"TTL over the default MaxTTL raises it", Policy{TTL: 30*day + 1e6}, with(func(p *Policy) { p.TTL, p.MaxTTL = 30*day+1e6, 30*day+1e6 })},
		{"longest TTL", Policy{TTL: longest}, with(func(p *Policy) { p.TTL, p.MaxTTL = longestMilli, longestMilli })},
		{"MaxTTL at TTL", Policy{TTL: time.Hour, MaxTTL: time.Hour}, with(func(p *Policy) { p.TTL, p.MaxTTL = time.Hour, time.Hour })},
		{"MaxTTL at the default TTL", Policy{MaxTTL: 30 * time.Minute}, with(func(p *Policy) { p.MaxTTL = 30 * time.Minute })},
		{"both round before they are compared", Policy{TTL: 2e6 - 1, MaxTTL: 1e6}, with(func(p *Policy) { p.TTL, p.MaxTTL = 1e6, 1e6 })},
		{"MaxTTL rounds down", Policy{MaxTTL: time.Hour + 1}, with(func(p *Policy) { p.MaxTTL = time.Hour })},
		{"MaxTTL NoLimit", Policy{MaxTTL: NoLimit}, with(func(p *Policy) { p.MaxTTL = NoLimit })},
		{"longest MaxTTL", Policy{MaxTTL: longest}, with(func(p *Policy) { p.MaxTTL = longestMilli })},
		{"longest TTL under NoLimit", Policy{TTL: longest, MaxTTL: NoLimit}, with(func(p *Policy) { p.TTL, p.MaxTTL = longestMilli, NoLimit })},
		{"RenewEvery of a millisecond", Policy{RenewEvery: 1e6}, with(func(p *Policy) { p.RenewEvery = 1e6 })},
		{"RenewEvery rounds down", Policy{RenewEvery: time.Minute + 999_999}, with(func(p *Policy) { p.RenewEvery = time.Minute })},
		{"RenewEvery over TTL", Policy{RenewEvery: time.Hour}, with(func(p *Policy) { p.RenewEvery = time.Hour })},
		{"one token", Policy{MaxTokens: 1}, with(func(p *Policy) { p.MaxTokens = 1 })},
		{"NoTokenLimit", Policy{MaxTokens: NoTokenLimit}, with(func(p *Policy) { p.MaxTokens = NoTokenLimit })},
		{"one delegate", Policy{MaxDelegates: 1}, with(func(p *Policy) { p.MaxDelegates = 1 })},
		{"NoTokenLimit for delegates", Policy{MaxDelegates: NoTokenLimit}, with(func(p *Policy) { p.MaxDelegates = NoTokenLimit })},
		{"Retention of a millisecond", Policy{Retention: 1e6}, with(func(p *Policy) { p.Retention = 1e6 })},
		{"Retention rounds down", Policy{Retention: time.Hour + 1}, with(func(p *Policy) { p.Retention = time.Hour })},
		{"Retention NoLimit", Policy{Retention: NoLimit}, with(func(p *Policy) { p.Retention = NoLimit })},
		{"RenewOnRequest", Policy{Renewal: RenewOnRequest}, with(func(p *Policy) { p.Renewal = RenewOnRequest })},
		{"RenewOnUse", Policy{Renewal: RenewOnUse}, base},
		{"RenewNever", Policy{Renewal: RenewNever}, with(func(p *Policy) { p.Renewal = RenewNever })},
		{"LimitRefuse", Policy{AtLimit: LimitRefuse}, base},
		{"LimitEndOldest", Policy{AtLimit: LimitEndOldest}, with(func(p *Policy) { p.AtLimit = LimitEndOldest })},
		{"LimitEndIdlest", Policy{AtLimit: LimitEndIdlest}, with(func(p *Policy) { p.AtLimit = LimitEndIdlest })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.given.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPolicyInvalid: the error names the field and says what the limit is.
func TestPolicyInvalid(t *testing.T) {
	for _, tt := range []struct {
		name  string
		given Policy
		says  []string
	}{
		{"TTL -1 ns", Policy{TTL: -1}, []string{"Policy.TTL", "-1ns", "negative"}},
		{"TTL most negative", Policy{TTL: math.MinInt64}, []string{"Policy.TTL", "negative"}},
		{"TTL 1 ns", Policy{TTL: 1}, []string{"Policy.TTL", "1ns", "millisecond"}},
		{"TTL just under a millisecond", Policy{TTL: 999_999}, []string{"Policy.TTL", "999.999µs", "millisecond"}},
		{"TTL NoLimit", Policy{TTL: NoLimit}, []string{"Policy.TTL", "NoLimit"}},
		{"TTL NoLimit under MaxTTL NoLimit", Policy{TTL: NoLimit, MaxTTL: NoLimit}, []string{"Policy.TTL", "NoLimit"}},
		{"MaxTTL negative", Policy{MaxTTL: -time.Hour}, []string{"Policy.MaxTTL", "-1h0m0s", "negative"}},
		{"MaxTTL 1 ns", Policy{MaxTTL: 1}, []string{"Policy.MaxTTL", "1ns", "millisecond"}},
		{"MaxTTL below TTL", Policy{TTL: time.Hour, MaxTTL: time.Hour - 1e6}, []string{"Policy.MaxTTL", "59m59.999s", "TTL", "1h0m0s"}},
		{"MaxTTL rounds below TTL", Policy{TTL: time.Hour, MaxTTL: time.Hour - 1}, []string{"Policy.MaxTTL", "TTL", "1h0m0s"}},
		{"MaxTTL below the default TTL", Policy{MaxTTL: 10 * time.Minute}, []string{"Policy.MaxTTL", "10m0s", "30m0s"}},
		{"RenewEvery negative", Policy{RenewEvery: -1}, []string{"Policy.RenewEvery", "-1ns", "negative"}},
		{"RenewEvery 1 ns", Policy{RenewEvery: 1}, []string{"Policy.RenewEvery", "1ns", "millisecond"}},
		{"RenewEvery NoLimit", Policy{RenewEvery: NoLimit}, []string{"Policy.RenewEvery", "NoLimit"}},
		{"Retention negative", Policy{Retention: -1}, []string{"Policy.Retention", "-1ns", "negative"}},
		{"Retention 1 ns", Policy{Retention: 1}, []string{"Policy.Retention", "1ns", "millisecond"}},
		{"MaxTokens -1", Policy{MaxTokens: -1}, []string{"Policy.MaxTokens", "-1", "NoTokenLimit"}},
		{"MaxTokens most negative", Policy{MaxTokens: math.MinInt}, []string{"Policy.MaxTokens", "negative"}},
		{"MaxDelegates -1", Policy{MaxDelegates: -1}, []string{"Policy.MaxDelegates", "-1", "NoTokenLimit"}},
		{"MaxDelegates most negative", Policy{MaxDelegates: math.MinInt}, []string{"Policy.MaxDelegates", "negative"}},
		{"Renewal out of range", Policy{Renewal: RenewNever + 1}, []string{"Policy.Renewal", "4", "RenewOnUse"}},
		{"Renewal 255", Policy{Renewal: 255}, []string{"Policy.Renewal", "255", "Never"}},
		{"AtLimit out of range", Policy{AtLimit: LimitEndIdlest + 1}, []string{"Policy.AtLimit", "4", "Refuse"}},
		{"AtLimit 255", Policy{AtLimit: 255}, []string{"Policy.AtLimit", "255", "LimitEndIdlest"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.given.withDefaults()
			if !errors.Is(err, ErrInvalidConfig) {
				t.Fatalf("withDefaults = %v, want ErrInvalidConfig", err)
			}
			for _, words := range tt.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q does not say %q", err, words)
				}
			}
			store := newTallyStore()
			if m, err := New(store, Config{Policy: tt.given}); m != nil || !errors.Is(err, ErrInvalidConfig) || len(store.calls) > 0 {
				t.Errorf("New = %v, %v after %v", m, err, store.calls)
			}
		})
	}
}

// TestPolicyDefaultsAreStable: a policy that has its defaults is not changed by
// getting them again.
func TestPolicyDefaultsAreStable(t *testing.T) {
	for _, p := range []Policy{{}, {TTL: longest}, {MaxTTL: NoLimit, Retention: NoLimit, MaxTokens: NoTokenLimit}} {
		once, err := p.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		twice, err := once.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Errorf("policy (-once +twice):\n%s", diff)
		}
	}
}
