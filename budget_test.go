package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

func TestBudgetCountsDown(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewNever}})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 10})
	if i.MaxUses != 10 || i.UsesLeft != 10 {
		t.Fatalf("issued with %d of %d", i.UsesLeft, i.MaxUses)
	}
	for left := 9; left >= 0; left-- {
		f.clock.add(time.Second)
		f.events = nil
		want := f.token(i.ID)
		now := f.clock.Now().Truncate(time.Millisecond).UTC()
		want.UsesLeft, want.LastUsedAt = left, now
		var events []lapse.Event
		if left == 0 {
			want.EndedAt, want.EndReason = now, lapse.EndExhausted
			events = []lapse.Event{{Kind: lapse.EventEnded, At: now, Token: want}}
		}
		var got lapse.Token
		calls := f.calls(func() {
			var err error
			if got, err = f.Authenticate(f.ctx, i.Bearer); err != nil {
				t.Fatal(err)
			}
		})
		wantDiff(t, fmt.Sprint("with ", left, " left"), want, got)
		wantDiff(t, "stored", want, f.token(i.ID))
		wantDiff(t, "events", events, f.events)
		wantDiff(t, "calls", []storagetest.Op{opGet, opUpdate}, calls)
	}
}

// TestExhausted: every verb says so, of a token that would live for long, and also
// after that time.
func TestExhausted(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1}})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "one more while it can be used", err, lapse.ErrLimit)
	f.clock.add(time.Minute)
	if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
		t.Fatal(err)
	}
	before := f.contents()
	for range 2 {
		for name, verb := range bearerVerbs(f.Manager) {
			if name == "ExpireBearer" {
				continue
			}
			f.events = nil
			err := verb(f.ctx, i.Bearer)
			wantIs(t, name, err, lapse.ErrExhausted)
			wantIs(t, name, err, lapse.ErrUnauthenticated)
			var r *lapse.Rejection
			if !errors.As(err, &r) || errors.Is(err, lapse.ErrExpired) {
				t.Fatalf("%s: %v", name, err)
			}
			wantDiff(t, name, lapse.Rejection{
				Err: lapse.ErrExhausted, ID: i.ID, Subject: "ana", At: startMilli.Add(time.Minute), Reason: lapse.EndExhausted,
			}, *r, errorsIs)
			if len(f.events) != 1 || f.events[0].Kind != lapse.EventRejected {
				t.Errorf("%s: events %+v", name, f.events)
			}
		}
		f.clock.add(time.Hour)
	}
	if ended, err := f.Expire(f.ctx, i.ID); ended || err != nil {
		t.Errorf("Expire: %v, %v", ended, err)
	}
	wantDiff(t, "contents", before, f.contents())
	f.issue(lapse.Grant{Subject: "ana"}) // there is room
}

// TestWhatSpendsNothing: Peek, Renew, a refusal, and what is not asked of the token.
func TestWhatSpendsNothing(t *testing.T) {
	refused := error(nil)
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error { return refused }})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	f.clock.add(time.Minute)
	tampered := []byte(i.Bearer)
	tampered[40]++
	for name, do := range map[string]func() error{
		"Peek":  func() error { _, err := f.Peek(f.ctx, i.Bearer); return err },
		"Renew": func() error { _, err := f.Renew(f.ctx, i.Bearer); return err },
		"Token": func() error { _, err := f.Token(f.ctx, i.ID); return err },
		"a wrong secret": func() error {
			_, err := f.Authenticate(f.ctx, string(tampered))
			return ignore(err, lapse.ErrMalformed)
		},
		"another prefix": func() error {
			_, err := f.manager(lapse.Config{Prefix: "other"}).Authenticate(f.ctx, i.Bearer)
			return ignore(err, lapse.ErrUnknown)
		},
		"a subject that is refused": func() error {
			refused = lapse.ErrRefused
			_, err := f.Authenticate(f.ctx, i.Bearer)
			refused = nil
			return ignore(err, lapse.ErrRefused)
		},
		"a check that cannot tell": func() error {
			refused = errDisk
			_, err := f.Authenticate(f.ctx, i.Bearer)
			refused = nil
			return ignore(err, errDisk)
		},
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tok := f.token(i.ID); tok.UsesLeft != 1 || !tok.EndedAt.IsZero() {
			t.Errorf("%s: %+v", name, tok)
		}
	}
	if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
		t.Error(err)
	}
}

// TestBudgetRenewals: a use of a budget renews when any use would, at the same pace.
func TestBudgetRenewals(t *testing.T) {
	const m = time.Minute
	for _, row := range []struct {
		name  string
		mode  lapse.Renewal
		every time.Duration
		until [6]time.Duration // after a use at each fourth minute
		used  [6]time.Duration
	}{
		{"each use", lapse.RenewOnUse, 0, [6]time.Duration{34 * m, 38 * m, 42 * m, 46 * m, 50 * m, 50 * m}, [6]time.Duration{4 * m, 8 * m, 12 * m, 16 * m, 20 * m, 24 * m}},
		{"by request", lapse.RenewOnRequest, 0, [6]time.Duration{30 * m, 30 * m, 30 * m, 30 * m, 30 * m, 30 * m}, [6]time.Duration{4 * m, 8 * m, 12 * m, 16 * m, 20 * m, 24 * m}},
		{"never", lapse.RenewNever, 0, [6]time.Duration{30 * m, 30 * m, 30 * m, 30 * m, 30 * m, 30 * m}, [6]time.Duration{4 * m, 8 * m, 12 * m, 16 * m, 20 * m, 24 * m}},
		{"each use, every 8 minutes", lapse.RenewOnUse, 8 * m, [6]time.Duration{30 * m, 38 * m, 38 * m, 46 * m, 46 * m, 46 * m}, [6]time.Duration{0, 8 * m, 8 * m, 16 * m, 16 * m, 24 * m}},
		{"each use, every 8 minutes and a millisecond", lapse.RenewOnUse, 8*m + 1e6, [6]time.Duration{30 * m, 30 * m, 42 * m, 42 * m, 42 * m, 42 * m}, [6]time.Duration{0, 0, 12 * m, 12 * m, 12 * m, 24 * m}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: row.mode, RenewEvery: row.every}})
			i, plain := f.issue(lapse.Grant{Subject: "ana", MaxUses: 6}), f.issue(lapse.Grant{Subject: "ana"})
			for n, until := range row.until {
				f.clock.add(4 * m)
				got, err := f.Authenticate(f.ctx, i.Bearer)
				if err != nil {
					t.Fatal(err)
				}
				used := time.Time{}
				if row.used[n] > 0 {
					used = startMilli.Add(row.used[n])
				}
				if want := startMilli.Add(until); !got.ExpiresAt.Equal(want) || !got.LastUsedAt.Equal(used) {
					t.Errorf("use %d: until %v, used %v; want %v, %v", n+1, got.ExpiresAt, got.LastUsedAt, want, used)
				}
				other, err := f.Authenticate(f.ctx, plain.Bearer)
				if err != nil {
					t.Fatal(err)
				}
				if n < 5 && (!other.ExpiresAt.Equal(got.ExpiresAt) || !other.LastUsedAt.Equal(got.LastUsedAt)) {
					t.Errorf("use %d: %+v; one without a budget says %+v", n+1, got, other)
				}
			}
		})
	}
}

// TestBudgetBoundary: a token that has run out spends nothing, and says that.
func TestBudgetBoundary(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration
		want  error
	}{
		{"1 ms before", 30*time.Minute - time.Millisecond, nil},
		{"at", 30 * time.Minute, lapse.ErrExpired},
		{"1 ms after", 30*time.Minute + time.Millisecond, lapse.ErrExpired},
	} {
		for _, inTurn := range []bool{false, true} {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewNever}})
			i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
			if inTurn { // it runs out while its use waits for its turn
				f.store.Before(func(op storagetest.Op) {
					if op == opUpdate {
						f.store.Before(nil)
						f.clock.set(startMilli.Add(row.after))
					}
				})
			} else {
				f.clock.set(startMilli.Add(row.after))
			}
			tok, err := f.Authenticate(f.ctx, i.Bearer)
			wantIs(t, row.name, err, row.want)
			if (tok != lapse.Token{}) != (err == nil) {
				t.Errorf("%s: %+v with %v", row.name, tok, err)
			}
			if left := f.token(i.ID).UsesLeft; left != map[bool]int{true: 0, false: 1}[row.want == nil] {
				t.Errorf("%s: %d left", row.name, left)
			}
		}
	}
}

func TestMaxUsesLimits(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for _, uses := range []int{0, 1, math.MaxInt32} {
		if i := f.issue(lapse.Grant{Subject: "ana", MaxUses: uses}); i.MaxUses != uses || f.token(i.ID) != i.Token {
			t.Errorf("%d: %+v", uses, i)
		}
	}
	bad := []int{-1, math.MinInt}
	if over := math.MaxInt32; math.MaxInt > over {
		bad = append(bad, over+1, math.MaxInt)
	}
	for _, uses := range bad {
		_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana", MaxUses: uses})
		wantIs(t, fmt.Sprint(uses), err, lapse.ErrInvalidGrant)
		if !strings.Contains(err.Error(), "MaxUses") || !strings.Contains(err.Error(), fmt.Sprint(uses)) {
			t.Errorf("%d: %v; want the field and its value", uses, err)
		}
	}
}

// TestBudgetOutlivesReopening: what was spent stays spent, also the last use.
func TestBudgetOutlivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	ctx, clock := context.Background(), newClock()
	var bearer string
	for left := 2; left >= -1; left-- {
		s, err := bolt.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := lapse.New(s, lapse.Config{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		if bearer == "" {
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: 3})
			if err != nil {
				t.Fatal(err)
			}
			bearer = i.Bearer
		}
		tok, err := m.Authenticate(ctx, bearer)
		if left < 0 {
			wantIs(t, "after the last use", err, lapse.ErrExhausted)
		} else if err != nil || tok.UsesLeft != left || tok.MaxUses != 3 {
			t.Errorf("%d left: %+v, %v", left, tok, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostEndOfLastUse: in a store that kept the last use and lost the end with it, the
// token is as good as ended.
func TestLostEndOfLastUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 2})
	for _, left := range []int{0, -1} {
		m, err := lapse.New(&bent{f.store, func(_ storage.ID, r storage.Record) storage.Record {
			r.UsesLeft = left
			return r
		}}, lapse.Config{Clock: f.clock})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Authenticate(f.ctx, i.Bearer)
		wantIs(t, "Authenticate", err, lapse.ErrExhausted)
		_, err = m.Peek(f.ctx, i.Bearer)
		wantIs(t, "Peek", err, lapse.ErrExhausted)
	}
	if tok := f.token(i.ID); tok.UsesLeft != 2 {
		t.Errorf("%+v", tok)
	}
}
