package lapse_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// dialClock says what its tests set.
type dialClock struct{ t time.Time }

func (c *dialClock) Now() time.Time                       { return c.t }
func (c *dialClock) After(time.Duration) <-chan time.Time { return nil }

// configStart is where the hand of a dialClock stands first.
var configStart = time.Date(2026, time.March, 1, 8, 0, 0, 0, time.UTC)

// configured returns a Manager on store whose clock stands at configStart, unless
// cfg has one.
func configured(t *testing.T, store storage.Store, cfg lapse.Config) (*lapse.Manager, *dialClock) {
	t.Helper()
	clock := &dialClock{configStart}
	if cfg.Clock == nil {
		cfg.Clock = clock
	}
	m, err := lapse.New(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m, clock
}

// issueFor issues a token that must be possible.
func issueFor(t *testing.T, m *lapse.Manager, g lapse.Grant) lapse.Issued {
	t.Helper()
	issued, err := m.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// stored returns every record of store.
func stored(t *testing.T, store storage.Store) (all []storage.Record) {
	t.Helper()
	for rec, err := range store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all
}

// TestNewNamesTheField of the first contradiction it finds.
func TestNewNamesTheField(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cfg   lapse.Config
		field string
	}{
		{"TTL negative", lapse.Config{Policy: lapse.Policy{TTL: -time.Hour}}, "Policy.TTL"},
		{"TTL without limit", lapse.Config{Policy: lapse.Policy{TTL: lapse.NoLimit}}, "Policy.TTL"},
		{"TTL under a millisecond", lapse.Config{Policy: lapse.Policy{TTL: time.Microsecond}}, "Policy.TTL"},
		{"MaxTTL below TTL", lapse.Config{Policy: lapse.Policy{TTL: 2, MaxTTL: 1}}, "Policy.TTL"},
		{"MaxTTL below a valid TTL", lapse.Config{Policy: lapse.Policy{TTL: 2e6, MaxTTL: 1e6}}, "Policy.MaxTTL"},
		{"MaxTokens -1", lapse.Config{Policy: lapse.Policy{MaxTokens: -1}}, "Policy.MaxTokens"},
		{"RenewEvery negative", lapse.Config{Policy: lapse.Policy{RenewEvery: -1}}, "Policy.RenewEvery"},
		{"Retention negative", lapse.Config{Policy: lapse.Policy{Retention: -1}}, "Policy.Retention"},
		{"no such Renewal", lapse.Config{Policy: lapse.Policy{Renewal: 9}}, "Policy.Renewal"},
		{"no such AtLimit", lapse.Config{Policy: lapse.Policy{AtLimit: 9}}, "Policy.AtLimit"},
		{"prefix of 17 bytes", lapse.Config{Prefix: "seventeen_letters"}, "Prefix"},
		{"prefix in upper case", lapse.Config{Prefix: "Lapse"}, "Prefix"},
		{"nil pointer for a clock", lapse.Config{Clock: (*dialClock)(nil)}, "Clock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := memory.New()
			m, err := lapse.New(store, tt.cfg)
			if m != nil || !errors.Is(err, lapse.ErrInvalidConfig) || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Fatalf("New = %v, %v, want nil, ErrInvalidConfig", m, err)
			}
			if !strings.Contains(err.Error(), tt.field+":") && !strings.Contains(err.Error(), tt.field+" ") {
				t.Errorf("%q does not name %s", err, tt.field)
			}
			if n := len(stored(t, store)); n != 0 {
				t.Errorf("%d records are stored", n)
			}
		})
	}
}

// TestConfigIsNeverReadAgain: New took a copy.
func TestConfigIsNeverReadAgain(t *testing.T) {
	clock := &dialClock{configStart}
	told := 0
	cfg := lapse.Config{
		Policy:  lapse.Policy{TTL: time.Hour, MaxTokens: 1},
		Prefix:  "before",
		Clock:   clock,
		Observe: func(context.Context, lapse.Event) { told++ },
	}
	m, err := lapse.New(memory.New(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Policy = lapse.Policy{TTL: time.Minute, MaxTokens: 100}
	cfg.Prefix, cfg.Clock = "after", &dialClock{configStart.Add(24 * time.Hour)}
	cfg.Admit = func(context.Context, lapse.Token) error { return lapse.ErrRefused }
	cfg.Observe = func(context.Context, lapse.Event) { t.Error("the observer given later was told") }

	issued := issueFor(t, m, lapse.Grant{Subject: "ana"})
	want := lapse.Token{
		ID: issued.ID, Prefix: "before", Subject: "ana", IssuedAt: configStart,
		ExpiresAt: configStart.Add(time.Hour), MaxExpiresAt: configStart.Add(30 * 24 * time.Hour),
	}
	if diff := cmp.Diff(want, issued.Token); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
	if _, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"}); !errors.Is(err, lapse.ErrLimit) {
		t.Errorf("second Issue = %v, want ErrLimit", err)
	}
	if _, err := m.Peek(t.Context(), issued.Bearer); err != nil || told != 1 {
		t.Errorf("Peek = %v; observer told %d times, want 1", err, told)
	}
}

// TestTwoPoliciesOnOneStore: each token keeps the numbers it was issued with,
// whichever Manager reads it.
func TestTwoPoliciesOnOneStore(t *testing.T) {
	store, clock := memory.New(), &dialClock{configStart}
	short, _ := configured(t, store, lapse.Config{Clock: clock, Policy: lapse.Policy{TTL: 10 * time.Minute, MaxTTL: time.Hour}})
	long, _ := configured(t, store, lapse.Config{Clock: clock, Policy: lapse.Policy{TTL: 10 * time.Hour, MaxTTL: 100 * time.Hour}})
	fromShort := issueFor(t, short, lapse.Grant{Subject: "ana"})
	fromLong := issueFor(t, long, lapse.Grant{Subject: "ana"})

	clock.t = configStart.Add(5 * time.Minute)
	for _, tt := range []struct {
		name           string
		m              *lapse.Manager
		bearer         string
		expires, limit time.Duration
	}{
		{"the short one's own", short, fromShort.Bearer, 15 * time.Minute, time.Hour},
		{"the short one's by the long one", long, fromShort.Bearer, 15 * time.Minute, time.Hour},
		{"the long one's own", long, fromLong.Bearer, 10*time.Hour + 5*time.Minute, 100 * time.Hour},
		{"the long one's by the short one", short, fromLong.Bearer, time.Hour, time.Hour}, // the lower cap applies at once
		{"the long one's own, afterwards", long, fromLong.Bearer, 10*time.Hour + 5*time.Minute, 100 * time.Hour},
	} {
		tok, err := tt.m.Renew(t.Context(), tt.bearer)
		if err != nil {
			t.Fatal(err)
		}
		if !tok.ExpiresAt.Equal(configStart.Add(tt.expires)) || !tok.MaxExpiresAt.Equal(configStart.Add(tt.limit)) {
			t.Errorf("%s: expires at %v, cap %v", tt.name, tok.ExpiresAt, tok.MaxExpiresAt)
		}
	}
}

// TestPolicyCountsFromEachIssue, not from when the Manager was made.
func TestPolicyCountsFromEachIssue(t *testing.T) {
	m, clock := configured(t, memory.New(), lapse.Config{})
	clock.t = configStart.Add(45 * time.Minute)
	issued := issueFor(t, m, lapse.Grant{Subject: "ana"})
	if diff := cmp.Diff(configStart.Add(75*time.Minute), issued.ExpiresAt); diff != "" {
		t.Errorf("expiry (-want +got):\n%s", diff)
	}
}

// TestLimitIsPerSubjectAndPrefix.
func TestLimitIsPerSubjectAndPrefix(t *testing.T) {
	store, clock := memory.New(), &dialClock{configStart}
	one := lapse.Policy{MaxTokens: 1}
	web, _ := configured(t, store, lapse.Config{Clock: clock, Policy: one, Prefix: "web"})
	cli, _ := configured(t, store, lapse.Config{Clock: clock, Policy: one, Prefix: "cli"})
	for _, m := range []*lapse.Manager{web, cli} {
		for _, subject := range []string{"ana", "bob"} {
			issueFor(t, m, lapse.Grant{Subject: subject})
			if _, err := m.Issue(t.Context(), lapse.Grant{Subject: subject}); !errors.Is(err, lapse.ErrLimit) {
				t.Errorf("second token of %s = %v, want ErrLimit", subject, err)
			}
		}
	}
	if n := len(stored(t, store)); n != 4 {
		t.Errorf("%d records are stored, want 4", n)
	}
}

// TestLimitLeavesOutTheDead: what ran out or was ended is no longer there, swept
// or not.
func TestLimitLeavesOutTheDead(t *testing.T) {
	store := memory.New()
	m, clock := configured(t, store, lapse.Config{Policy: lapse.Policy{MaxTokens: 3}})
	issueFor(t, m, lapse.Grant{Subject: "ana", TTL: time.Minute}) // runs out
	ended := issueFor(t, m, lapse.Grant{Subject: "ana"})
	issueFor(t, m, lapse.Grant{Subject: "ana"})
	if _, err := m.Expire(t.Context(), ended.ID); err != nil {
		t.Fatal(err)
	}
	clock.t = configStart.Add(time.Minute)
	issueFor(t, m, lapse.Grant{Subject: "ana"})
	issueFor(t, m, lapse.Grant{Subject: "ana"})
	before := stored(t, store)
	if _, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana"}); !errors.Is(err, lapse.ErrLimit) {
		t.Errorf("fourth live token = %v, want ErrLimit", err)
	}
	if diff := cmp.Diff(before, stored(t, store), cmp.Comparer(storage.Digest.Equal)); diff != "" {
		t.Errorf("a refused Issue changed what is stored (-want +got):\n%s", diff)
	}
}
