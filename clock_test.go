package lapse

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// What satisfies Clock as it is: the mock and the real clock of the ecosystem's
// package, and anybody's own few lines.
var (
	_ Clock = (*clock.Mock)(nil)
	_ Clock = clock.New()
	_ Clock = fixedClock{}
	_ Clock = steady.NewSystem()
)

// fixedClock stands still, and is one of those own few lines.
type fixedClock struct{ t time.Time }

func (c fixedClock) Now() time.Time                       { return c.t }
func (c fixedClock) After(time.Duration) <-chan time.Time { return nil }

func TestNormalise(t *testing.T) {
	const first, last = "0001-01-01T00:00:00.001Z", "9999-12-31T23:59:59.999Z"
	date := func(year, nano int) time.Time { return time.Date(year, 6, 1, 12, 0, 0, nano, time.UTC) }
	local := time.FixedZone("", -(9*3600 + 30*60))
	for _, tt := range []struct {
		name  string
		given time.Time
		want  string
	}{
		{"as it is", testInstant, "2026-02-28T12:00:00Z"},
		{"whole milliseconds stay", date(2026, 123e6), "2026-06-01T12:00:00.123Z"},
		{"1 ns more rounds down", date(2026, 123e6+1), "2026-06-01T12:00:00.123Z"},
		{"1 ns less than the next rounds down", date(2026, 124e6-1), "2026-06-01T12:00:00.123Z"},
		{"1 ns less than a second rounds down", date(2026, 1e9-1), "2026-06-01T12:00:00.999Z"},
		{"another zone", time.Date(2026, 6, 1, 12, 0, 0, 0, local), "2026-06-01T21:30:00Z"},
		{"before 1970 rounds down, not towards zero", time.Unix(0, -1), "1969-12-31T23:59:59.999Z"},
		{"before 1970, 1 ns after a millisecond", time.Unix(0, -1e6+1), "1969-12-31T23:59:59.999Z"},
		{"before 1970, 1 ns before a millisecond", time.Unix(0, -1e6-1), "1969-12-31T23:59:59.998Z"},
		{"1970", time.Unix(0, 0), "1970-01-01T00:00:00Z"},
		{"year 1", date(1, 0), "0001-06-01T12:00:00Z"},
		{"the zero Time is the first instant, for zero means not set", time.Time{}, first},
		{"1 ms after the zero Time", time.Time{}.Add(time.Millisecond), first},
		{"2 ms after the zero Time", time.Time{}.Add(2 * time.Millisecond), "0001-01-01T00:00:00.002Z"},
		{"1 ns before the zero Time", time.Time{}.Add(-1), first},
		{"the zero Time in a zone where it is year 0", time.Time{}.In(local), first},
		{"year 0", date(0, 0), first},
		{"year -1", date(-1, 0), first},
		{"year -1,000,000", date(-1_000_000, 0), first},
		{"year 2300", date(2300, 0), "2300-06-01T12:00:00Z"},
		{"year 9999", date(9999, 0), "9999-06-01T12:00:00Z"},
		{"the last instant", time.Date(9999, 12, 31, 23, 59, 59, 1e9-1, time.UTC), last},
		{"1 ns after it", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), last},
		{"year 10000 in a zone where it is 9999", time.Date(9999, 12, 31, 23, 59, 59, 0, local), last},
		{"year 10000", date(10000, 0), last},
		{"year 1,000,000", date(1_000_000, 0), last},
		{"beyond what Unix milliseconds can say", time.Unix(math.MaxInt64/1000+1, 0), last},
		{"before what Unix milliseconds can say", time.Unix(math.MinInt64/1000-1, 0), first},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &Manager{clock: fixedClock{tt.given}}
			got := m.now()
			if text := got.Format(time.RFC3339Nano); text != tt.want {
				t.Errorf("now = %s, want %s", text, tt.want)
			}
			if again := steady.Normalise(got); again != got {
				t.Errorf("normalising again makes %v of %v", again, got)
			}
		})
	}
}

// TestNormaliseStripsTheMonotonicReading: with it, a suspended machine would
// lengthen a life. Two such instants also compare with ==.
func TestNormaliseStripsTheMonotonicReading(t *testing.T) {
	given := time.Now()
	if !strings.Contains(given.String(), "m=") {
		t.Fatalf("%v has no monotonic reading, so nothing is tested", given)
	}
	got := steady.Normalise(given)
	if want := time.UnixMilli(given.UnixMilli()).UTC(); got != want {
		t.Errorf("normalise = %v, want %v", got, want)
	}
	if strings.Contains(got.String(), "m=") || got.Location() != time.UTC {
		t.Errorf("normalise = %v", got)
	}
}

// TestEveryInstantIsNormalised: whatever the clock says, each instant of a token
// went through normalise, in what is returned and in what is stored.
func TestEveryInstantIsNormalised(t *testing.T) {
	store := newTallyStore()
	at := testInstant.Add(123_456_789).In(time.FixedZone("", 5*3600+45*60))
	m, _ := managerOver(t, store, Config{Clock: fixedClock{at}, Policy: Policy{TTL: time.Hour + 999, MaxTTL: day + 999}})
	issued := issueTo(t, m, Grant{Subject: "ana", TTL: time.Minute + 999_999})
	if want := at.Truncate(time.Millisecond).Add(time.Minute).UTC(); issued.ExpiresAt != want {
		t.Errorf("expiry = %v, want %v", issued.ExpiresAt, want)
	}
	used, err := m.Authenticate(t.Context(), issued.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := m.ExpireBearer(t.Context(), issued.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := store.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, tok := range map[string]Token{"issued": issued.Token, "used": used, "ended": ended, "stored": rec.Token} {
		for _, at := range []time.Time{tok.IssuedAt, tok.LastUsedAt, tok.ExpiresAt, tok.MaxExpiresAt, tok.EndedAt} {
			if !at.IsZero() && at != time.UnixMilli(at.UnixMilli()).UTC() {
				t.Errorf("%s: %v went past normalise", name, at)
			}
		}
	}
}

// TestTheClockTurnsDead: the life of a token in nanoseconds of a clock that is trusted,
// and of one that is not to go back.
func TestTheClockTurnsDead(t *testing.T) {
	for guard, revived := range map[ClockGuard]error{GuardOff: nil, GuardDefault: ErrExpired, GuardStrict: ErrExpired} {
		m, mock := managerOver(t, memory.New(), Config{Policy: Policy{TTL: time.Hour, Renewal: RenewNever}, ClockGuard: guard})
		issued := issueTo(t, m, Grant{Subject: "ana"})
		for _, tt := range []struct {
			at   time.Duration
			want error
		}{
			{-time.Hour, nil}, // before it was issued: the clock stepped back, nobody is logged out
			{time.Hour - time.Millisecond, nil},
			{time.Hour - 1, nil},
			{time.Hour, ErrExpired},
			{time.Hour + 1, ErrExpired},
			{time.Hour + time.Millisecond, ErrExpired},
			{-time.Hour, revived},
			{100 * 365 * day, ErrExpired},
			{30 * time.Minute, revived}, // seeing it dead wrote nothing
		} {
			mock.Set(after(tt.at))
			if _, err := m.Authenticate(t.Context(), issued.Bearer); !errors.Is(err, tt.want) {
				t.Errorf("guard %d: Authenticate at %v = %v, want %v", guard, tt.at, err, tt.want)
			}
		}
	}
}

// TestSystemClock: no Clock means the real one, which in a synctest bubble is the
// bubble's.
func TestSystemClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(memory.New(), Config{Policy: Policy{Renewal: RenewNever}})
		if err != nil {
			t.Fatal(err)
		}
		issued := issueTo(t, m, Grant{Subject: "ana"})
		if !issued.IssuedAt.Equal(time.Now().Truncate(time.Millisecond)) {
			t.Errorf("issued at %v, now it is %v", issued.IssuedAt, time.Now())
		}
		<-m.clock.After(30*time.Minute - 1)
		if _, err := m.Peek(t.Context(), issued.Bearer); err != nil {
			t.Errorf("1 ns before its end: %v", err)
		}
		<-m.clock.After(1)
		if _, err := m.Peek(t.Context(), issued.Bearer); !errors.Is(err, ErrExpired) {
			t.Errorf("at its end: %v, want ErrExpired", err)
		}
	})
}

// TestNewRefusesNil, also a nil pointer inside an interface, which would only
// panic at the first token.
func TestNewRefusesNil(t *testing.T) {
	good := memory.New()
	for _, tt := range []struct {
		name  string
		store storage.Store
		clock Clock
		says  string
	}{
		{"nil store", nil, nil, "store is nil"},
		{"nil *memory.Store", (*memory.Store)(nil), nil, "store is nil"},
		{"nil *clock.Mock", good, (*clock.Mock)(nil), "Clock is a nil *clock.Mock"},
		{"nil store and nil clock", nil, (*clock.Mock)(nil), "store is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := New(tt.store, Config{Clock: tt.clock})
			if m != nil || !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("New = %v, %v, want nil, ErrInvalidConfig that says %q", m, err, tt.says)
			}
		})
	}
	for name, c := range map[string]Clock{"none": nil, "a value": fixedClock{}, "a mock": clock.NewMock(), "real": clock.New()} {
		if m, err := New(good, Config{Clock: c}); m == nil || err != nil {
			t.Errorf("%s: New = %v, %v", name, m, err)
		}
	}
}
