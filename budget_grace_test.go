package lapse_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestFault15_RenewIsNoUse of a budget, and gives an exhausted token no life.
func TestFault15_RenewIsNoUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	for range 3 {
		f.clock.add(time.Minute)
		tok, err := f.Renew(f.ctx, i.Bearer)
		if want := f.clock.Now().UTC().Truncate(time.Millisecond).Add(30 * time.Minute); err != nil || tok.UsesLeft != 1 || !tok.ExpiresAt.Equal(want) {
			t.Errorf("Renew: %+v, %v; want one use left, until %v", tok, err, want)
		}
	}
	_, err := f.Authenticate(f.ctx, i.Bearer)
	wantIs(t, "the one use", err, nil)
	_, err = f.Renew(f.ctx, i.Bearer)
	wantIs(t, "Renew after it", err, lapse.ErrExhausted)
}

// answerLink is a link that may be clicked uses times, and twice within 10 seconds.
func answerLink(uses int) lapse.Grant {
	return lapse.Grant{Subject: "ana", MaxUses: uses, UseGrace: 10 * time.Second}
}

// TestFault15_ADoubleClickIsTold: within the grace, and while the token would live, the last use
// is good again. That changes nothing.
func TestFault15_ADoubleClickIsTold(t *testing.T) {
	for _, row := range []struct {
		name  string
		ttl   time.Duration
		after time.Duration
		want  error
	}{
		{"at once", 0, 0, nil},
		{"just within", 0, 10*time.Second - time.Millisecond, nil},
		{"at its end", 0, 10 * time.Second, lapse.ErrExhausted},
		{"after it", 0, time.Minute, lapse.ErrExhausted},
		{"before it runs out", 5 * time.Second, 5*time.Second - time.Millisecond, nil},
		{"when it runs out", 5 * time.Second, 5 * time.Second, lapse.ErrExhausted},
	} {
		f := newFixture(t, lapse.Config{})
		g := answerLink(2)
		g.TTL = row.ttl
		i := f.issue(g)
		for left := 1; left >= 0; left-- {
			if tok, err := f.Authenticate(f.ctx, i.Bearer); err != nil || tok.UsesLeft != left || tok.Repeated() {
				t.Fatalf("%s: %+v, %v", row.name, tok, err)
			}
		}
		want := f.token(i.ID)
		f.clock.add(row.after)
		f.events = nil
		calls := f.calls(func() {
			for name, do := range map[string]func(context.Context, string) (lapse.Token, error){"Authenticate": f.Authenticate, "Peek": f.Peek, "again": f.Authenticate} {
				tok, err := do(f.ctx, i.Bearer)
				wantIs(t, row.name+", "+name, err, row.want)
				if row.want == nil && (!tok.Repeated() || tok.UsesLeft != -1 || !tok.EndedAt.IsZero() || !tok.ExpiresAt.Equal(want.ExpiresAt)) {
					t.Errorf("%s, %s: %+v", row.name, name, tok)
				}
			}
		})
		if slices.Contains(calls, opUpdate) || slices.Contains(calls, opTouch) || row.want == nil && len(f.events) != 0 {
			t.Errorf("%s: %v, %+v; want nothing written or told", row.name, calls, f.events)
		}
		if got := f.token(i.ID); got != want || got.Repeated() {
			t.Errorf("%s: it became %+v", row.name, got)
		}
	}
}

// TestFault15_NoGrace: a token that another reason ended, or that keeps no grace, or whose last
// use was held, is not good again; nor is any other verb.
func TestFault15_NoGrace(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	use := func(bearer string) {
		t.Helper()
		_, err := f.Authenticate(f.ctx, bearer)
		wantIs(t, "use", err, nil)
	}
	for name, row := range map[string]struct {
		grant lapse.Grant
		do    func(i lapse.Issued)
		want  error
	}{
		"no UseGrace": {lapse.Grant{Subject: "ana", MaxUses: 1}, func(i lapse.Issued) { use(i.Bearer) }, lapse.ErrExhausted},
		"revoked":     {answerLink(2), func(i lapse.Issued) { use(i.Bearer); f.Expire(f.ctx, i.ID) }, lapse.ErrRevoked},
		"revoked within it, by its ID": {answerLink(1), func(i lapse.Issued) {
			use(i.Bearer)
			ended, err := f.Expire(f.ctx, i.ID)
			if !ended || err != nil {
				t.Errorf("Expire within the grace: %v, %v", ended, err)
			}
		}, lapse.ErrRevoked},
		"revoked within it, by its text": {answerLink(1), func(i lapse.Issued) { use(i.Bearer); f.ExpireBearer(f.ctx, i.Bearer) }, lapse.ErrRevoked},
		"revoked within it, by its subject": {answerLink(1), func(i lapse.Issued) {
			use(i.Bearer)
			if n, err := f.ExpireSubject(f.ctx, "ana"); n < 1 || err != nil {
				t.Errorf("ExpireSubject within the grace: %d, %v", n, err)
			}
		}, lapse.ErrRevoked},
		"its secret was replaced": {answerLink(2), func(i lapse.Issued) {
			use(i.Bearer)
			r, _ := f.Rotate(f.ctx, i.Bearer, 0)
			use(r.Bearer)
		}, lapse.ErrReplaced},
	} {
		i := f.issue(row.grant)
		row.do(i)
		_, err := f.Authenticate(f.ctx, i.Bearer)
		wantIs(t, name, err, row.want)
	}
	for _, on := range holdStores { // a use that is held is not clicked
		inBubble(t, on.name, on.open, lapse.Config{}, func(h *holder) {
			i := h.issue(answerLink(1))
			_, release := h.released(i.Bearer)
			_, err := h.Authenticate(h.ctx, i.Bearer)
			wantIs(t, "while it is held", err, lapse.ErrExhausted)
			release()
			h.left("released", i.ID, 0, lapse.EndExhausted)
			_, err = h.Authenticate(h.ctx, i.Bearer)
			wantIs(t, "once it was released", err, lapse.ErrExhausted)
		})
	}
	i := f.issue(answerLink(1))
	use(i.Bearer)
	use(i.Bearer)
	for name, do := range map[string]func() error{
		"Renew":  func() error { _, err := f.Renew(f.ctx, i.Bearer); return err },
		"Rotate": func() error { _, err := f.Rotate(f.ctx, i.Bearer, 0); return err },
		"Hold":   func() error { _, err := f.Hold(f.ctx, i.Bearer); return err },
	} {
		wantIs(t, name, do(), lapse.ErrExhausted)
	}
}

// TestFault15_ARepetitionIsAdmitted like any other, and a delegate's dies with what is above it.
func TestFault15_ARepetitionIsAdmitted(t *testing.T) {
	var refused error
	f := newFixture(t, lapse.Config{})
	m := f.manager(lapse.Config{Admit: f.checks(&refused)})
	i := f.issue(answerLink(1))
	parent := f.issue(lapse.Grant{Subject: "ana"})
	child, err := f.Delegate(f.ctx, parent.Bearer, answerLink(1))
	wantIs(t, "Delegate", err, nil)
	for range 2 {
		for _, bearer := range []string{i.Bearer, child.Bearer} {
			_, err := m.Authenticate(f.ctx, bearer)
			wantIs(t, "good", err, nil)
		}
	}
	refused = lapse.ErrRefused
	_, err = m.Authenticate(f.ctx, i.Bearer)
	wantIs(t, "refused", err, lapse.ErrRefused)
	refused = nil
	f.Expire(f.ctx, parent.ID)
	_, err = m.Authenticate(f.ctx, child.Bearer)
	wantIs(t, "its parent ended", err, lapse.ErrRevoked)
}

// TestFault15_64Clicks at once: one is the use, and the others are told that they repeat it.
func TestFault15_64Clicks(t *testing.T) {
	const callers = 64
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m, err := lapse.New(store, lapse.Config{Clock: newClock()})
		wantIs(t, "New", err, nil)
		i, err := m.Issue(t.Context(), answerLink(1))
		wantIs(t, "Issue", err, nil)
		got := make([]lapse.Token, callers)
		arrivals(store, callers, storagetest.OpUpdate)
		errs := together(callers, func(n int) (err error) {
			got[n], err = m.Authenticate(t.Context(), i.Bearer)
			return err
		})
		store.Before(nil)
		wantIs(t, "Authenticate", errors.Join(errs...), nil)
		first := 0
		for _, tok := range got {
			if !tok.Repeated() {
				first++
			}
		}
		if first != 1 {
			t.Errorf("%d of them were the one use", first)
		}
	})
}

// TestFault15_UseGrace is refused by name where it has no meaning.
func TestFault15_UseGrace(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	p := memoryPairs(t, lapse.PairConfig{})
	for name, row := range map[string]struct {
		g  lapse.Grant
		ok bool
	}{
		"none":           {lapse.Grant{MaxUses: 1}, true},
		"a millisecond":  {lapse.Grant{MaxUses: 1, UseGrace: time.Millisecond}, true},
		"a minute":       {lapse.Grant{MaxUses: 1, UseGrace: time.Minute}, true},
		"over a minute":  {lapse.Grant{MaxUses: 1, UseGrace: time.Minute + time.Millisecond}, false},
		"a nanosecond":   {lapse.Grant{MaxUses: 1, UseGrace: 1}, false},
		"negative":       {lapse.Grant{MaxUses: 1, UseGrace: -time.Second}, false},
		"without budget": {lapse.Grant{UseGrace: time.Second}, false},
	} {
		row.g.Subject = "ana"
		_, issued := f.Issue(f.ctx, row.g)
		_, obtained := f.Obtain(f.ctx, row.g)
		row.g.MaxUses = 0
		_, paired := p.Pairs.Issue(p.ctx, row.g)
		for verb, err := range map[string]error{"Issue": issued, "Obtain": obtained, "Pairs.Issue": paired} {
			ok := row.ok
			if verb == "Pairs.Issue" {
				ok = row.g.UseGrace == 0
			}
			if (err == nil) != ok || !ok && (!errors.Is(err, lapse.ErrInvalidGrant) || !strings.Contains(err.Error(), "UseGrace")) {
				t.Errorf("%s, %s: %v; want an error that names UseGrace: %v", name, verb, err, !ok)
			}
		}
	}
}
