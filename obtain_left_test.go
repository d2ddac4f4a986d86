package lapse_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestFault13_ScopesAreSets: neither the order of words nor a repetition makes another token.
func TestFault13_ScopesAreSets(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Scope: "read write"})
	for scope, same := range map[string]bool{
		"write read": true, "read write read": true, "write write read": true,
		"read": false, "": false, "read write admin": false, "read writ": false, "Read write": false,
	} {
		got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Scope: scope})
		if same != (got.ID == first.ID) || same != got.Existing || same && got.Scope != "read write" || !same && got.Scope != scope {
			t.Errorf("%q: %q, the same: %v; want %v", scope, got.Scope, got.ID == first.ID, same)
		}
	}
}

// TestFault13_ObtainGivesNoMoreThanWasAskedFor: other Data is another token, and another TTL is
// told.
func TestFault13_ObtainGivesNoMoreThanWasAskedFor(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Data: `{"org":"a","mfa":true}`, TTL: 720 * time.Hour})
	other := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Data: `{"org":"b","mfa":false}`, TTL: time.Hour})
	if other.ID == first.ID || other.Data != `{"org":"b","mfa":false}` || !other.ExpiresAt.Equal(startMilli.Add(time.Hour)) || other.Reduced != nil {
		t.Errorf("another Data: %+v", other)
	}
	for ttl, want := range map[time.Duration]string{720 * time.Hour: "", time.Hour: "TTL", 719 * time.Hour: "TTL", 0: "TTL"} {
		got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Data: first.Data, TTL: ttl})
		if got.ID != first.ID || !got.Existing || strings.Join(got.Reduced, " ") != want {
			t.Errorf("TTL %v: %v, Reduced is %q; want %q", ttl, got.ID, got.Reduced, want)
		}
	}
	g := lapse.Grant{Subject: "ana", Name: "spread", TTL: time.Hour, Jitter: 0.5}
	for range 20 { // a TTL that Jitter drew is what was asked for
		if got := obtain(t, f, f.Manager, g); got.Reduced != nil {
			t.Errorf("Jitter: Reduced is %q", got.Reduced)
		}
	}
}

// TestFault13_ObtainGivesNoTokenThatIsAboutToDie: with less than MinLeft left the secret is
// replaced in place, for a new life of the TTL asked for. The old text works until the expiry
// that it had.
func TestFault13_ObtainGivesNoTokenThatIsAboutToDie(t *testing.T) {
	never := lapse.Policy{TTL: 2 * time.Hour, Renewal: lapse.RenewNever, MaxTokens: 1}
	atCap := lapse.Policy{TTL: 2 * time.Hour, MaxTTL: 2 * time.Hour, MaxTokens: 1, AtLimit: lapse.LimitRefuse}
	for _, row := range []struct {
		minLeft, left time.Duration
		again         bool
	}{
		{0, 12 * time.Minute, true}, {0, 12*time.Minute - time.Millisecond, false}, {0, time.Millisecond, false},
		{time.Hour, time.Hour, true}, {time.Hour, time.Hour - time.Millisecond, false},
		{30 * time.Minute, 30 * time.Minute, true}, {30 * time.Minute, 30*time.Minute - time.Millisecond, false},
		{time.Millisecond, time.Millisecond, true},
	} {
		for name, policy := range map[string]lapse.Policy{"never": never, "at the cap": atCap} {
			what := fmt.Sprintf("%s, MinLeft %v, %v left", name, row.minLeft, row.left)
			f := newFixture(t, keyed(policy, 1))
			g := lapse.Grant{Subject: "ana", MinLeft: row.minLeft}
			first := obtain(t, f, f.Manager, g)
			f.clock.add(2*time.Hour - row.left)
			f.events = nil
			got := obtain(t, f, f.Manager, g)
			end := first.ExpiresAt
			if !row.again {
				end = f.clock.Now().UTC().Truncate(time.Millisecond).Add(2 * time.Hour)
				wantDiff(t, what+": events", []lapse.EventKind{lapse.EventRotated}, f.kinds())
			}
			if got.ID != first.ID || !got.Existing || (got.Bearer == first.Bearer) != row.again || !got.ExpiresAt.Equal(end) {
				t.Errorf("%s: %+v", what, got)
			}
			f.clock.add(row.left - time.Millisecond)
			_, err := f.Authenticate(f.ctx, first.Bearer)
			wantIs(t, what+": the old text before its end", err, nil)
			f.clock.add(time.Millisecond)
			_, err = f.Authenticate(f.ctx, first.Bearer)
			want := lapse.ErrReplaced
			if row.again {
				want = lapse.ErrExpired
			}
			wantIs(t, what+": the old text at its end", err, want)
		}
	}
}

// TestFault13_EachLifeHasAnOverlap: a text that Obtain gave, and that was not used yet, is the
// previous one of the next life as any other.
func TestFault13_EachLifeHasAnOverlap(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewNever}, 1))
	last := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	for _, life := range []time.Duration{time.Hour, 30 * time.Minute, 30 * time.Minute} {
		f.clock.add(life - time.Millisecond)
		next := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", TTL: 30 * time.Minute})
		if again := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", TTL: 30 * time.Minute}); again.Bearer != next.Bearer || again.Reduced != nil {
			t.Errorf("given again: another text, or Reduced is %q", again.Reduced)
		}
		if _, err := f.Peek(f.ctx, last.Bearer); err != nil {
			t.Errorf("the text before: %v", err)
		}
		last = next
	}
}

// TestFault13_MinLeft is refused by name, by verbs that give nothing again, too.
func TestFault13_MinLeft(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	p := memoryPairs(t, lapse.PairConfig{})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	minute := lapse.Grant{Subject: "ana", MinLeft: time.Minute}
	for name, do := range map[string]func() error{
		"Issue":       func() error { _, err := f.Issue(f.ctx, minute); return err },
		"Delegate":    func() error { _, err := f.Delegate(f.ctx, parent.Bearer, minute); return err },
		"Pairs.Issue": func() error { _, err := p.Pairs.Issue(p.ctx, minute); return err },
		"negative":    func() error { _, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", MinLeft: -1}); return err },
		"too short":   func() error { _, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", MinLeft: 1}); return err },
		"over half the TTL": func() error { // or the second replacement would end a text that the first left alive
			_, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", TTL: time.Minute, MinLeft: 30*time.Second + time.Millisecond})
			return err
		},
		"over half of what Jitter leaves": func() error {
			_, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", TTL: time.Minute, Jitter: 0.5, MinLeft: 15*time.Second + time.Millisecond})
			return err
		},
	} {
		if err := do(); !errors.Is(err, lapse.ErrInvalidGrant) || !strings.Contains(err.Error(), "MinLeft") {
			t.Errorf("%s: %v; want ErrInvalidGrant that names MinLeft", name, err)
		}
	}
	obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", TTL: time.Minute, Jitter: 0.5, MinLeft: 15 * time.Second})
}

// TestFault13_EachTextLivesItsLife: with the largest MinLeft, too, each text that Obtain has
// given works until the expiry that it had then.
func TestFault13_EachTextLivesItsLife(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{TTL: 10 * time.Minute, Renewal: lapse.RenewNever}, 1))
	texts := map[string]time.Time{}
	for range 40 {
		i := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", MinLeft: 5 * time.Minute})
		if _, known := texts[i.Bearer]; !known {
			texts[i.Bearer] = i.ExpiresAt
		}
		for bearer, until := range texts {
			if _, err := f.Peek(f.ctx, bearer); (err == nil) != f.clock.Now().Before(until) {
				t.Errorf("a text that was to work until %v, at %v: %v", until, f.clock.Now(), err)
			}
		}
		f.clock.add(time.Minute)
	}
	if len(texts) < 4 {
		t.Errorf("%d texts in 40 minutes", len(texts))
	}
}

// TestFault13_RetiredKeyTellsTheTTL: a token whose key is retired keeps the life that it had, if
// that is longer than what was asked for, and Reduced says so.
func TestFault13_RetiredKeyTellsTheTTL(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{TTL: 24 * time.Hour}, 1))
	obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	next := f.manager(keyed(lapse.Policy{TTL: 24 * time.Hour}, 2))
	for _, row := range []struct {
		ttl  time.Duration
		want []string
	}{{10 * time.Minute, []string{"TTL"}}, {0, nil}} {
		i := obtain(t, f, next, lapse.Grant{Subject: "ana", TTL: row.ttl})
		if !slices.Equal(i.Reduced, row.want) {
			t.Errorf("asked for %v: lives until %v, Reduced %v; want %v", row.ttl, i.ExpiresAt, i.Reduced, row.want)
		}
		next = f.manager(keyed(lapse.Policy{TTL: 24 * time.Hour}, 3))
	}
}

// TestFault13_AboutToDieUnder64Callers: all that log in at once get the same new text, and
// none is ErrLimit.
func TestFault13_AboutToDieUnder64Callers(t *testing.T) {
	const callers = 64
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		clock, cfg := newClock(), keyed(lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewNever, MaxTokens: 1}, 1)
		cfg.Clock = clock
		m, err := lapse.New(store, cfg)
		wantIs(t, "New", err, nil)
		first, err := m.Obtain(t.Context(), lapse.Grant{Subject: "ana"})
		wantIs(t, "Obtain", err, nil)
		clock.add(time.Hour - time.Millisecond)
		got := make([]string, callers)
		arrivals(store, callers, storagetest.OpUpdate)
		errs := together(callers, func(i int) error {
			o, err := m.Obtain(t.Context(), lapse.Grant{Subject: "ana"})
			got[i] = o.Bearer
			return err
		})
		store.Before(nil)
		wantIs(t, "Obtain", errors.Join(errs...), nil)
		if slices.Sort(got); got[0] != got[callers-1] || got[0] == first.Bearer {
			t.Error("they did not get the same new text")
		}
	})
}

// TestFault13_AnOverlapLocksNoUserOut: after a rotation with an overlap, a log-out leaves room for
// a log-in.
func TestFault13_AnOverlapLocksNoUserOut(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{TTL: 48 * time.Hour, MaxTokens: 1}, 1))
	a := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	b, err := f.Rotate(f.ctx, a.Bearer, 24*time.Hour)
	wantIs(t, "Rotate", err, nil)
	if again := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}); again.Bearer != b.Bearer {
		t.Error("Obtain does not give the new text")
	}
	if _, err := f.ExpireBearer(f.ctx, b.Bearer); err != nil {
		t.Fatal(err)
	}
	if again := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}); again.ID == a.ID {
		t.Error("what was logged out is given again")
	}
}
