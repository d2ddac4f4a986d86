package lapse

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

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
