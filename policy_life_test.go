package lapse

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

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
		{"1970", time.UnixMilli(0).UTC(), longestMilli, time.UnixMilli(longestMilli.Milliseconds()).UTC()},
		{"2026", testInstant, 0, testInstant},
		{"2300", time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), longestMilli, time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC).Add(longestMilli)},
		{"up to the last instant", last.Add(-time.Hour), time.Hour, last},
		{"1 ms beyond it", last.Add(-time.Hour), time.Hour + time.Millisecond, last},
		{"292 years beyond it", last, longestMilli, last},
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
			want := steady.Add(start, longestMilli)
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
