package lapse

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

const (
	longest = time.Duration(math.MaxInt64 - 1) // that is not NoLimit
	day     = 24 * time.Hour
)

// longestRounded is what rounding leaves of longest.
const longestRounded = longest / time.Millisecond * time.Millisecond

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
		{"longest TTL", Policy{TTL: longest}, with(func(p *Policy) { p.TTL, p.MaxTTL = longestRounded, longestRounded })},
		{"MaxTTL at TTL", Policy{TTL: time.Hour, MaxTTL: time.Hour}, with(func(p *Policy) { p.TTL, p.MaxTTL = time.Hour, time.Hour })},
		{"MaxTTL at the default TTL", Policy{MaxTTL: 30 * time.Minute}, with(func(p *Policy) { p.MaxTTL = 30 * time.Minute })},
		{"both round before they are compared", Policy{TTL: 2e6 - 1, MaxTTL: 1e6}, with(func(p *Policy) { p.TTL, p.MaxTTL = 1e6, 1e6 })},
		{"MaxTTL rounds down", Policy{MaxTTL: time.Hour + 1}, with(func(p *Policy) { p.MaxTTL = time.Hour })},
		{"MaxTTL NoLimit", Policy{MaxTTL: NoLimit}, with(func(p *Policy) { p.MaxTTL = NoLimit })},
		{"longest MaxTTL", Policy{MaxTTL: longest}, with(func(p *Policy) { p.MaxTTL = longestRounded })},
		{"longest TTL under NoLimit", Policy{TTL: longest, MaxTTL: NoLimit}, with(func(p *Policy) { p.TTL, p.MaxTTL = longestRounded, NoLimit })},
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

// TestLive is the one predicate of life, to the nanosecond: the instant of
// expiry is dead.
func TestLive(t *testing.T) {
	at := testInstant
	for _, tt := range []struct {
		name string
		tok  Token
		now  time.Time
		want bool
	}{
		{"long before", Token{ExpiresAt: at}, at.Add(-day), true},
		{"1 ms before", Token{ExpiresAt: at}, at.Add(-time.Millisecond), true},
		{"1 ns before", Token{ExpiresAt: at}, at.Add(-1), true},
		{"at the instant", Token{ExpiresAt: at}, at, false},
		{"at the instant in another zone", Token{ExpiresAt: at}, at.In(time.FixedZone("", 14*3600)), false},
		{"1 ns after", Token{ExpiresAt: at}, at.Add(1), false},
		{"1 ms after", Token{ExpiresAt: at}, at.Add(time.Millisecond), false},
		{"long after", Token{ExpiresAt: at}, at.Add(day), false},
		{"without expiry", Token{}, at, false},
		{"without expiry, in the first instant", Token{}, time.UnixMilli(steady.FirstInstant), false},
		{"ended long ago", Token{ExpiresAt: at, EndedAt: at.Add(-day)}, at.Add(-1), false},
		{"ended now", Token{ExpiresAt: at, EndedAt: at.Add(-1)}, at.Add(-1), false},
		{"ended later than now, for the clock stepped back", Token{ExpiresAt: at, EndedAt: at.Add(-1)}, at.Add(-day), false},
		{"ended after it ran out", Token{ExpiresAt: at, EndedAt: at.Add(day)}, at.Add(1), false},
		{"with a reason alone", Token{ExpiresAt: at, EndReason: EndRevoked}, at.Add(-1), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.tok.Live(tt.now); got != tt.want {
				t.Errorf("Live = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestNoExpiryIsDead through the policy as well: no cap makes an expiry out of
// none.
func TestNoExpiryIsDead(t *testing.T) {
	for _, maxTTL := range []time.Duration{time.Hour, NoLimit} {
		p := Policy{MaxTTL: maxTTL}
		for _, limit := range []time.Time{{}, testInstant.Add(time.Hour)} {
			tok := viewed(p, storage.Record{Token: Token{IssuedAt: testInstant, MaxExpiresAt: limit}})
			if !tok.ExpiresAt.IsZero() || tok.Live(testInstant) {
				t.Errorf("under MaxTTL %v and cap %v it lives until %v", maxTTL, limit, tok.ExpiresAt)
			}
		}
	}
}

// TestCapOfRecordAndPolicy: the earlier one holds. So a lowered cap applies at
// once, and a raised one lengthens nothing.
func TestCapOfRecordAndPolicy(t *testing.T) {
	at := func(d time.Duration) time.Time { return testInstant.Add(d) }
	const h = time.Hour
	for _, tt := range []struct {
		name                string
		policy              time.Duration
		recordCap, expires  time.Time
		wantCap, wantExpiry time.Time
	}{
		{"as at issue", 12 * h, at(12 * h), at(h), at(12 * h), at(h)},
		{"lowered, expiry before it", 6 * h, at(12 * h), at(h), at(6 * h), at(h)},
		{"lowered to the expiry", 6 * h, at(12 * h), at(6 * h), at(6 * h), at(6 * h)},
		{"lowered below the expiry", 6 * h, at(12 * h), at(7 * h), at(6 * h), at(6 * h)},
		{"lowered by 1 ms", 12*h - time.Millisecond, at(12 * h), at(12 * h), at(12*h - time.Millisecond), at(12*h - time.Millisecond)},
		{"raised", 24 * h, at(12 * h), at(12 * h), at(12 * h), at(12 * h)},
		{"lifted", NoLimit, at(12 * h), at(12 * h), at(12 * h), at(12 * h)},
		{"never had one, has none", NoLimit, time.Time{}, at(900 * h), time.Time{}, at(900 * h)},
		{"never had one, gets one", 6 * h, time.Time{}, at(900 * h), at(6 * h), at(6 * h)},
		{"never had one, gets one after the expiry", 6 * h, time.Time{}, at(h), at(6 * h), at(h)},
		{"stored expiry behind its own cap", NoLimit, at(2 * h), at(3 * h), at(2 * h), at(2 * h)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Policy{MaxTTL: tt.policy}
			rec := storage.Record{Token: Token{IssuedAt: testInstant, ExpiresAt: tt.expires, MaxExpiresAt: tt.recordCap}}
			before := rec
			tok := viewed(p, rec)
			if diff := cmp.Diff(tt.wantCap, tok.MaxExpiresAt); diff != "" {
				t.Errorf("cap (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantExpiry, tok.ExpiresAt); diff != "" {
				t.Errorf("expiry (-want +got):\n%s", diff)
			}
			if !rec.Equal(before) {
				t.Error("looking at a record changed it")
			}
		})
	}
}

// TestLoweredCapEndsNothing: under a raised cap again the token lives on, for its
// record was never touched.
func TestLoweredCapEndsNothing(t *testing.T) {
	rec := storage.Record{Token: Token{
		IssuedAt: testInstant, ExpiresAt: testInstant.Add(10 * time.Hour), MaxExpiresAt: testInstant.Add(12 * time.Hour),
	}}
	now := testInstant.Add(7 * time.Hour)
	lowered, restored := Policy{MaxTTL: 6 * time.Hour}, Policy{MaxTTL: 100 * time.Hour}
	if tok := viewed(lowered, rec); tok.Live(now) || !tok.EndedAt.IsZero() || tok.EndReason != 0 {
		t.Errorf("under the lowered cap: %+v", tok)
	}
	if tok := viewed(restored, rec); !tok.Live(now) || !tok.MaxExpiresAt.Equal(testInstant.Add(12*time.Hour)) {
		t.Errorf("under the raised cap: %+v", tok)
	}
}

// TestSaturation: at the end of time everything is capped there, and nothing
// turns negative.
func TestSaturation(t *testing.T) {
	last := time.UnixMilli(steady.LastInstant).UTC()
	for _, tt := range []struct {
		name string
		from time.Time
		d    time.Duration
		want time.Time
	}{
		{"year 1", time.UnixMilli(steady.FirstInstant).UTC(), time.Hour, time.UnixMilli(steady.FirstInstant + 3_600_000).UTC()},
		{"1970", time.UnixMilli(0).UTC(), longestRounded, time.UnixMilli(longestRounded.Milliseconds()).UTC()},
		{"2026", testInstant, 0, testInstant},
		{"2300", time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), longestRounded, time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC).Add(longestRounded)},
		{"up to the last instant", last.Add(-time.Hour), time.Hour, last},
		{"1 ms beyond it", last.Add(-time.Hour), time.Hour + time.Millisecond, last},
		{"292 years beyond it", last, longestRounded, last},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, steady.Add(tt.from, tt.d)); diff != "" {
				t.Errorf("sum (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLifeInAnyYear: the whole life of a token, wherever a mock clock begins.
func TestLifeInAnyYear(t *testing.T) {
	for _, year := range []int{1, 1000, 1969, 1970, 2026, 2300, 9999} {
		start := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		t.Run(start.Format("2006"), func(t *testing.T) {
			m, mock := managerOver(t, newTallyStore(), Config{Policy: Policy{TTL: time.Hour, MaxTTL: 90 * time.Minute}})
			mock.Set(start)
			issued := issueTo(t, m, Grant{Subject: "ana"})
			if diff := cmp.Diff(start.Add(time.Hour), issued.ExpiresAt); diff != "" {
				t.Errorf("expiry at issue (-want +got):\n%s", diff)
			}
			mock.Set(start.Add(time.Hour - 1))
			tok, err := m.Authenticate(t.Context(), issued.Bearer)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(start.Add(90*time.Minute), tok.ExpiresAt); diff != "" {
				t.Errorf("expiry after a use (-want +got):\n%s", diff)
			}
			mock.Set(start.Add(90 * time.Minute))
			if _, err := m.Authenticate(t.Context(), issued.Bearer); err == nil {
				t.Error("alive at its cap")
			}
		})
	}
}

// TestLongestLives: no sum of the longest durations is in the past.
func TestLongestLives(t *testing.T) {
	for _, start := range []time.Time{time.UnixMilli(steady.FirstInstant), time.UnixMilli(0), time.UnixMilli(steady.LastInstant - 1)} {
		for _, maxTTL := range []time.Duration{0, longest, NoLimit} {
			m, mock := managerOver(t, newTallyStore(), Config{Policy: Policy{TTL: longest, MaxTTL: maxTTL}})
			mock.Set(start)
			issued := issueTo(t, m, Grant{Subject: "ana"})
			want := steady.Add(start, longestRounded)
			if !issued.ExpiresAt.Equal(want) || !issued.ExpiresAt.After(start) {
				t.Errorf("from %v under %v it lives until %v, want %v", start, maxTTL, issued.ExpiresAt, want)
			}
			tok, err := m.Renew(t.Context(), issued.Bearer)
			if err != nil || !tok.ExpiresAt.Equal(want) {
				t.Errorf("from %v under %v Renew = %v, %v, want %v", start, maxTTL, tok.ExpiresAt, err, want)
			}
		}
	}
}

// viewed returns what a Manager under p shows of r.
func viewed(p Policy, r storage.Record) Token {
	p.view(&r.Token)
	return r.Token
}

// after is the instant d after testInstant, at which the tokens here are issued.
func after(d time.Duration) time.Time { return testInstant.Add(d) }

// TestRenewEveryBoundaries: a renewal by use is due once RenewEvery has passed since the
// last use that was recorded, or since issue.
func TestRenewEveryBoundaries(t *testing.T) {
	const ms = time.Millisecond
	const minute = time.Minute
	for _, tt := range []struct {
		name  string
		every time.Duration
		used  time.Duration // since issue; negative: never
		now   time.Duration
		due   bool
	}{
		{"from issue: at once", minute, -1, 0, false},
		{"from issue: 1 ms before", minute, -1, minute - ms, false},
		{"from issue: at", minute, -1, minute, true},
		{"from issue: 1 ms after", minute, -1, minute + ms, true},
		{"from the last use: at once", minute, 5 * minute, 5 * minute, false},
		{"from the last use: 1 ms before", minute, 5 * minute, 6*minute - ms, false},
		{"from the last use: at", minute, 5 * minute, 6 * minute, true},
		{"from the last use: 1 ms after", minute, 5 * minute, 6*minute + ms, true},
		{"every use: in the instant of issue", 0, -1, 0, true},
		{"every use: in the instant of the last use", 0, minute, minute, false}, // nothing would rise
		{"every use: 1 ms after the last use", 0, minute, minute + ms, true},
		{"every millisecond: in the instant of the last use", ms, minute, minute, false},
		{"every millisecond: 1 ms after the last use", ms, minute, minute + ms, true},
		{"clock before the last use", minute, 5 * minute, minute, false},
		{"clock before the last use, every use", 0, 5 * minute, 4 * minute, false},
		{"clock before issue", minute, -1, -2 * minute, false},
		{"clock before issue, every use", 0, -1, -2 * minute, false},
		{"RenewEvery over TTL", 48 * time.Hour, -1, 9 * time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tok := Token{IssuedAt: testInstant, ExpiresAt: after(10 * time.Hour)}
			if tt.used >= 0 {
				tok.LastUsedAt, tok.ExpiresAt = after(tt.used), after(tt.used+10*time.Hour)
			}
			p := Policy{Renewal: RenewOnUse, RenewEvery: tt.every, MaxTTL: NoLimit}
			use, due := p.use(&tok, 10*time.Hour, after(tt.now))
			if due != tt.due {
				t.Fatalf("due = %v, want %v (%+v)", due, tt.due, use)
			}
			want := storage.Use{At: after(tt.now), ExpiresAt: after(tt.now + 10*time.Hour)}
			if diff := cmp.Diff(want, use); due && diff != "" {
				t.Errorf("use (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLastUseBeforeIssue, as a clock that stepped back may have recorded it: the
// later of the two counts.
func TestLastUseBeforeIssue(t *testing.T) {
	tok := Token{IssuedAt: testInstant, LastUsedAt: after(-time.Hour), ExpiresAt: after(time.Hour)}
	p := Policy{Renewal: RenewOnUse, RenewEvery: time.Minute}
	if _, due := p.use(&tok, time.Hour, after(time.Minute-time.Millisecond)); due {
		t.Error("due before RenewEvery has passed since issue")
	}
	if _, due := p.use(&tok, time.Hour, after(time.Minute)); !due {
		t.Error("not due once RenewEvery has passed since issue")
	}
}

// TestRenewalIsCapped: exactly at the cap, however near it is, and then it stays
// there.
func TestRenewalIsCapped(t *testing.T) {
	const ttl, limit = 10 * time.Hour, 12 * time.Hour
	for _, tt := range []struct {
		name string
		now  time.Duration
		want time.Duration
	}{
		{"well before", time.Hour, 11 * time.Hour},
		{"1 ms short of it", limit - ttl - time.Millisecond, limit - time.Millisecond},
		{"reaching it", limit - ttl, limit},
		{"1 ms over it", limit - ttl + time.Millisecond, limit},
		{"far over it", 9 * time.Hour, limit},
		{"within a second of it", limit - time.Second, limit},
		{"within a millisecond of it", limit - time.Millisecond, limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tok := Token{IssuedAt: testInstant, ExpiresAt: after(10 * time.Hour), MaxExpiresAt: after(limit)}
			want := storage.Use{At: after(tt.now), ExpiresAt: after(tt.want)}
			if diff := cmp.Diff(want, renewal(&tok, ttl, after(tt.now))); diff != "" {
				t.Errorf("renewal (-want +got):\n%s", diff)
			}
			rec := storage.Record{Token: tok}
			renewal(&tok, ttl, after(tt.now)).Raise(&rec)
			if rec.ExpiresAt.After(rec.MaxExpiresAt) || rec.Live(after(limit)) {
				t.Errorf("alive at its cap, until %v", rec.ExpiresAt)
			}
		})
	}
}

// TestNearTheCapTheLastBitIsWritten: a renewal that moves the expiry by less than
// RenewEvery is not thrown away, and one at the cap records the use alone.
func TestNearTheCapTheLastBitIsWritten(t *testing.T) {
	p := Policy{Renewal: RenewOnUse, RenewEvery: time.Minute, MaxTTL: 12 * time.Hour}
	limit := after(12 * time.Hour)
	tok := Token{IssuedAt: testInstant, LastUsedAt: after(2*time.Hour - 30*time.Second), ExpiresAt: limit.Add(-30 * time.Second), MaxExpiresAt: limit}
	use, due := p.use(&tok, 10*time.Hour, after(150*time.Minute))
	if !due || !use.ExpiresAt.Equal(limit) {
		t.Errorf("use = %+v, %v, want expiry at %v", use, due, limit)
	}
	tok.ExpiresAt, tok.LastUsedAt = limit, use.At
	use, due = p.use(&tok, 10*time.Hour, after(3*time.Hour))
	if !due || !use.At.Equal(after(3*time.Hour)) || use.ExpiresAt.After(limit) {
		t.Errorf("use at the cap = %+v, %v, want the use to be recorded", use, due)
	}
}

// TestRenewalNeverShortens: an expiry that is later for whatever reason stays.
func TestRenewalNeverShortens(t *testing.T) {
	for _, tt := range []struct {
		name             string
		used, expires    time.Duration
		ttl, now         time.Duration
		wantUsed, wantAt time.Duration
	}{
		{"longer expiry stored", time.Minute, 30 * 24 * time.Hour, 10 * time.Hour, time.Hour, time.Hour, 30 * 24 * time.Hour},
		{"clock stepped back behind the last use", 5 * time.Hour, 15 * time.Hour, 10 * time.Hour, time.Hour, 5 * time.Hour, 15 * time.Hour},
		{"clock stepped back behind issue", time.Hour, 11 * time.Hour, 10 * time.Hour, -time.Hour, time.Hour, 11 * time.Hour},
		{"same instant again", time.Hour, 11 * time.Hour, 10 * time.Hour, time.Hour, time.Hour, 11 * time.Hour},
		{"forward", time.Hour, 11 * time.Hour, 10 * time.Hour, 2 * time.Hour, 2 * time.Hour, 12 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := storage.Record{Token: Token{IssuedAt: testInstant, LastUsedAt: after(tt.used), ExpiresAt: after(tt.expires)}, TTL: tt.ttl}
			tok := rec.Token
			renewal(&tok, tt.ttl, after(tt.now)).Raise(&rec)
			want := storage.Record{Token: Token{IssuedAt: testInstant, LastUsedAt: after(tt.wantUsed), ExpiresAt: after(tt.wantAt)}, TTL: tt.ttl}
			if diff := cmp.Diff(want.Token, rec.Token); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRenewalLeavesAnEndAlone: an end is final.
func TestRenewalLeavesAnEndAlone(t *testing.T) {
	rec := storage.Record{Token: Token{IssuedAt: testInstant, ExpiresAt: after(time.Hour), EndedAt: after(time.Minute), EndReason: EndRevoked}}
	before := rec
	if renewal(&rec.Token, time.Hour, after(30*time.Minute)).Raise(&rec) || !rec.Equal(before) {
		t.Errorf("an ended record became %+v", rec.Token)
	}
}

// TestModes: the last use is recorded whatever renews a token, as finely as
// RenewEvery says; the expiry rises under RenewOnUse alone.
func TestModes(t *testing.T) {
	for mode, renews := range map[Renewal]bool{RenewOnUse: true, RenewOnRequest: false, RenewNever: false} {
		for _, every := range []time.Duration{0, time.Minute} {
			p := Policy{Renewal: mode, RenewEvery: every, MaxTTL: NoLimit}
			tok := Token{IssuedAt: testInstant, ExpiresAt: after(time.Hour)}
			if every > 0 {
				if use, due := p.use(&tok, time.Hour, after(every-time.Millisecond)); due {
					t.Errorf("mode %d: due before RenewEvery: %+v", mode, use)
				}
			}
			want := storage.Use{At: after(time.Minute)}
			if renews {
				want.ExpiresAt = after(time.Hour + time.Minute)
			}
			use, due := p.use(&tok, time.Hour, after(time.Minute))
			if !due {
				t.Errorf("mode %d: not due", mode)
			}
			if diff := cmp.Diff(want, use); diff != "" {
				t.Errorf("mode %d: use (-want +got):\n%s", mode, diff)
			}
		}
	}
}

// TestModesThroughTheManager: what is returned is what is stored.
func TestModesThroughTheManager(t *testing.T) {
	for mode, want := range map[Renewal]time.Duration{RenewOnUse: 50 * time.Minute, RenewOnRequest: 30 * time.Minute, RenewNever: 30 * time.Minute} {
		store := newTallyStore()
		m, mock := managerOver(t, store, Config{Policy: Policy{Renewal: mode}})
		issued := issueTo(t, m, Grant{Subject: "ana"})
		mock.Set(after(20 * time.Minute))
		tok, err := m.Authenticate(t.Context(), issued.Bearer)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := m.Token(t.Context(), issued.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stored, tok); diff != "" {
			t.Errorf("mode %d: returned (-stored +returned):\n%s", mode, diff)
		}
		if !tok.ExpiresAt.Equal(after(want)) || !tok.LastUsedAt.Equal(after(20*time.Minute)) {
			t.Errorf("mode %d: expiry %v, last use %v", mode, tok.ExpiresAt, tok.LastUsedAt)
		}
	}
}

// evictee is a live token for evict, named by the last byte of its ID.
func evictee(id byte, issued, used time.Duration) Token {
	t := Token{ID: ID{15: id}, IssuedAt: after(issued), ExpiresAt: after(1000 * time.Hour)}
	if used != unused {
		t.LastUsedAt = after(used)
	}
	return t
}

const unused = time.Duration(-1)

// replacedAt is tok with a secret that replaced another one.
func replacedAt(tok Token, rotated time.Duration) Token {
	tok.Generation, tok.RotatedAt = tok.Generation+1, after(rotated)
	return tok
}

// TestEvict: its input is in ID order, as a Tx yields it, and among equals the
// lowest ID goes first.
func TestEvict(t *testing.T) {
	const h = time.Hour
	for _, tt := range []struct {
		name   string
		live   []Token
		limit  int
		oldest []byte
		idlest []byte
	}{
		{"room for one", []Token{evictee(1, 0, unused)}, 2, nil, nil},
		{"none live", nil, 1, nil, nil},
		{"the only one", []Token{evictee(1, 0, h)}, 1, []byte{1}, []byte{1}},
		{"never used: since issue", []Token{evictee(1, 0, unused), evictee(2, h, unused)}, 2, []byte{1}, []byte{1}},
		{"the older one is used later", []Token{evictee(1, 0, 5*h), evictee(2, h, 2*h)}, 2, []byte{1}, []byte{2}},
		{"used before another was issued", []Token{evictee(1, 0, h), evictee(2, 2*h, unused)}, 2, []byte{1}, []byte{1}},
		{"used after another was issued", []Token{evictee(1, 0, 3*h), evictee(2, 2*h, unused)}, 2, []byte{1}, []byte{2}},
		{"use recorded before issue counts as issue", []Token{evictee(1, 2*h, 0), evictee(2, h, unused)}, 2, []byte{2}, []byte{2}},
		{"IDs not in the order of issue", []Token{evictee(1, 2*h, unused), evictee(2, h, unused), evictee(3, 0, unused)}, 3, []byte{3}, []byte{3}},
		{"all tied", []Token{evictee(1, 0, h), evictee(2, 0, h), evictee(3, 0, h)}, 3, []byte{1}, []byte{1}},
		{"issue tied, use not", []Token{evictee(1, 0, 3*h), evictee(2, 0, 2*h), evictee(3, 0, 4*h)}, 3, []byte{1}, []byte{2}},
		{"use tied, issue not", []Token{evictee(1, 2*h, 3*h), evictee(2, h, 3*h), evictee(3, 0, 3*h)}, 3, []byte{3}, []byte{1}},
		{"use ties issue of another", []Token{evictee(1, h, unused), evictee(2, 0, h)}, 2, []byte{2}, []byte{1}},
		{"limit lowered by two", []Token{evictee(1, 0, 9*h), evictee(2, h, 2*h), evictee(3, 2*h, 3*h), evictee(4, 3*h, unused)}, 2, []byte{1, 2, 3}, []byte{2, 3, 4}},
		{"limit lowered, ties by ID", []Token{evictee(1, 0, h), evictee(2, 0, h), evictee(3, 0, h), evictee(4, 0, h)}, 3, []byte{1, 2}, []byte{1, 2}},
		{"limit lowered to one", []Token{evictee(1, 0, 2*h), evictee(2, h, unused)}, 1, []byte{1, 2}, []byte{2, 1}},
		{"rotated: as old as before, and used then", []Token{replacedAt(evictee(1, 0, unused), 3*h), evictee(2, h, 2*h)}, 2, []byte{1}, []byte{2}},
		{"used after it was rotated", []Token{replacedAt(evictee(1, 0, 5*h), 3*h), evictee(2, h, 4*h)}, 2, []byte{1}, []byte{2}},
		{"rotated after it was used", []Token{replacedAt(evictee(1, 0, 3*h), 5*h), evictee(2, h, 4*h)}, 2, []byte{1}, []byte{2}},
		{"rotation ties use of another", []Token{replacedAt(evictee(1, h, unused), 3*h), evictee(2, 0, 3*h)}, 2, []byte{2}, []byte{1}},
		{"both rotated", []Token{replacedAt(evictee(1, 0, unused), 5*h), replacedAt(evictee(2, h, unused), 4*h)}, 2, []byte{1}, []byte{2}},
		{"no limit", []Token{evictee(1, 0, unused)}, NoTokenLimit, nil, nil},
	} {
		for _, mode := range []struct {
			name string
			at   AtLimit
			want []byte
		}{{"oldest", LimitEndOldest, tt.oldest}, {"idlest", LimitEndIdlest, tt.idlest}} {
			t.Run(tt.name+"/"+mode.name, func(t *testing.T) {
				p := Policy{MaxTokens: tt.limit, AtLimit: mode.at}
				var got []byte
				for _, tok := range p.evict(append([]Token{}, tt.live...), max(0, len(tt.live)+1-tt.limit), notHeld) {
					got = append(got, tok.ID[15])
				}
				if diff := cmp.Diff(mode.want, got); diff != "" {
					t.Errorf("evicted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestEvictHeld: a connection that is held counts as a use now, for LimitEndIdlest alone;
// of two that are held the one goes that would go otherwise.
func TestEvictHeld(t *testing.T) {
	const h = time.Hour
	live := []Token{evictee(1, 0, unused), evictee(2, h, 2*h), evictee(3, 3*h, 4*h)}
	for _, tt := range []struct {
		held           []byte
		n              int
		oldest, idlest []byte
	}{
		{nil, 1, []byte{1}, []byte{1}},
		{[]byte{1}, 1, []byte{1}, []byte{2}},
		{[]byte{1, 2}, 1, []byte{1}, []byte{3}},
		{[]byte{1, 2}, 2, []byte{1, 2}, []byte{3, 1}},
		{[]byte{1, 2, 3}, 2, []byte{1, 2}, []byte{1, 2}},
		{[]byte{3}, 3, []byte{1, 2, 3}, []byte{1, 2, 3}},
	} {
		held := func(id ID) bool { return slices.Contains(tt.held, id[15]) }
		for at, want := range map[AtLimit][]byte{LimitEndOldest: tt.oldest, LimitEndIdlest: tt.idlest} {
			p := Policy{AtLimit: at}
			var got []byte
			for _, tok := range p.evict(slices.Clone(live), tt.n, held) {
				got = append(got, tok.ID[15])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("held %v, AtLimit %d: evicted (-want +got):\n%s", tt.held, at, diff)
			}
		}
	}
}

// TestEvictManyTies: more equals than a sort moves around by insertion.
func TestEvictManyTies(t *testing.T) {
	for _, at := range []AtLimit{LimitEndOldest, LimitEndIdlest} {
		var live []Token
		for id := range byte(200) {
			live = append(live, evictee(id, time.Duration(id%2)*time.Hour, 5*time.Hour))
		}
		p := Policy{MaxTokens: 101, AtLimit: at}
		evicted := p.evict(live, len(live)+1-p.MaxTokens, notHeld)
		if len(evicted) != 100 {
			t.Fatalf("evicted %d, want 100", len(evicted))
		}
		for i, tok := range evicted {
			want := byte(2 * i) // the even ones were issued first
			if at == LimitEndIdlest {
				want = byte(i)
			}
			if tok.ID[15] != want {
				t.Fatalf("number %d is %d, want %d", i, tok.ID[15], want)
			}
		}
	}
}

// TestEvictedAreTold: Issue says whom it ended, in order, and never the new one,
// even where that would be the first to go.
func TestEvictedAreTold(t *testing.T) {
	store := newTallyStore()
	wide, mock := managerOver(t, store, Config{Policy: Policy{TTL: 10 * time.Hour}})
	var ids []ID
	for range 4 {
		ids = append(ids, issueTo(t, wide, Grant{Subject: "ana"}).ID)
		mock.Add(time.Second)
	}
	narrow, _ := managerOver(t, store, Config{Clock: mock, Policy: Policy{MaxTokens: 2, AtLimit: LimitEndOldest}})
	mock.Set(after(-time.Hour)) // the new one is issued before all others
	issued := issueTo(t, narrow, Grant{Subject: "ana", TTL: time.Millisecond})
	if diff := cmp.Diff(ids[:3], issued.Evicted); diff != "" {
		t.Errorf("evicted (-want +got):\n%s", diff)
	}
	for _, id := range ids[:3] {
		tok, err := wide.Token(t.Context(), id)
		if err != nil || tok.EndReason != EndEvicted || !tok.EndedAt.Equal(after(-time.Hour)) {
			t.Errorf("%v ended at %v (%v): %v", id, tok.EndedAt, tok.EndReason, err)
		}
	}
	if tok, err := narrow.Peek(t.Context(), issued.Bearer); err != nil {
		t.Errorf("the new token is %+v: %v", tok, err)
	}
}

// TestDeadByALoweredCapMakesRoom: what the policy calls dead does not count.
func TestDeadByALoweredCapMakesRoom(t *testing.T) {
	store := newTallyStore()
	wide, mock := managerOver(t, store, Config{Policy: Policy{TTL: 10 * time.Hour}})
	issueTo(t, wide, Grant{Subject: "ana"})
	lowered, _ := managerOver(t, store, Config{Clock: mock, Policy: Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour, MaxTokens: 1}})
	mock.Set(after(2*time.Hour - time.Millisecond))
	if _, err := lowered.Issue(t.Context(), Grant{Subject: "ana"}); err == nil {
		t.Error("issued a second one while the first is alive")
	}
	mock.Set(after(2 * time.Hour))
	issueTo(t, lowered, Grant{Subject: "ana"})
}

// notHeld says that no connection is held.
func notHeld(ID) bool { return false }
