package lapse_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

func TestTokens(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	refresh := f.manager(lapse.Config{Prefix: "refresh"})
	var want []lapse.Token
	for _, name := range []string{"laptop", "phone", "tablet"} {
		want = append(want, f.issue(lapse.Grant{Subject: "ana", Name: name}).Token)
		f.clock.Add(time.Millisecond)
	}
	r, err := refresh.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, r.Token)
	f.issue(lapse.Grant{Subject: "bob"})
	if _, err := f.Expire(f.ctx, want[1].ID); err != nil {
		t.Fatal(err)
	}
	want[1].EndedAt, want[1].EndReason = lapsetest.StartMilli.Add(3*time.Millisecond), lapse.EndRevoked
	f.clock.Add(time.Hour)
	got, err := lapsetest.Collect(f.Tokens(f.ctx, "ana"))
	if err != nil {
		t.Fatal(err)
	}
	lapsetest.WantDiff(t, "dead and alive, of every prefix, in order of issue", want, got)

	if got, err := lapsetest.Collect(f.Tokens(f.ctx, "nobody")); len(got) != 0 || err != nil {
		t.Errorf("unknown subject: %v, %v", got, err)
	}
	_, err = lapsetest.Collect(f.Tokens(f.ctx, ""))
	lapsetest.WantIs(t, "no subject", err, lapse.ErrInvalidGrant)
}

// TestTokensBody: the loop may stop, and may call any verb.
func TestTokensBody(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for range 3 {
		f.issue(lapse.Grant{Subject: "ana"})
	}
	for tok := range f.Tokens(f.ctx, "ana") {
		if ended, err := f.Expire(f.ctx, tok.ID); !ended || err != nil {
			t.Errorf("Expire in the loop: %v, %v", ended, err)
		}
	}
	for range f.Tokens(f.ctx, "ana") {
		break
	}
	if n, err := f.ExpireSubject(f.ctx, "ana"); n != 0 || err != nil {
		t.Errorf("after a loop that stopped: %d, %v", n, err)
	}
}

func TestTokenNotFound(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	_, err := f.Token(f.ctx, lapse.ID{1})
	lapsetest.WantIs(t, "Token", err, lapse.ErrNotFound)
	if errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("%v reads as a bad token", err)
	}
}

// TestSweepBoundary: a dead record is kept for its retention, the last instant of
// that included, whether it ran out or was ended.
func TestSweepBoundary(t *testing.T) {
	for _, row := range []struct {
		after time.Duration
		want  int
	}{
		{24*time.Hour - time.Millisecond, 0},
		{24 * time.Hour, 0},
		{24*time.Hour + time.Millisecond, 1},
	} {
		for _, ended := range []bool{false, true} {
			f := newFixture(t, lapse.Config{})
			i := f.issue(lapse.Grant{Subject: "ana", TTL: time.Hour})
			f.clock.Add(30 * time.Minute)
			if ended {
				f.Expire(f.ctx, i.ID)
			} else {
				f.clock.Add(30 * time.Minute)
			}
			f.clock.Add(row.after)
			n, err := f.Sweep(f.ctx)
			if n != row.want || err != nil {
				t.Errorf("ended %v, dead for %v: swept %d, %v; want %d", ended, row.after, n, err, row.want)
			}
			if _, err := f.Token(f.ctx, i.ID); (err != nil) != (row.want == 1) {
				t.Errorf("ended %v, dead for %v: Token: %v", ended, row.after, err)
			}
		}
	}
}

func TestSweepSparesTheLiving(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	const dead, live = 1203, 7 // more than two batches
	for range dead {
		f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	}
	for range live {
		f.issue(lapse.Grant{Subject: "ana", TTL: 30 * 24 * time.Hour})
	}
	f.clock.Add(25 * time.Hour)
	var n int
	var err error
	calls := f.calls(func() { n, err = f.Sweep(f.ctx) })
	if n != dead || err != nil {
		t.Errorf("swept %d, %v; want %d", n, err, dead)
	}
	if len(calls) != 3 {
		t.Errorf("in %d batches; want 3", len(calls))
	}
	if left, err := lapsetest.Collect(f.Tokens(f.ctx, "ana")); len(left) != live || err != nil {
		t.Errorf("%d left, %v; want %d", len(left), err, live)
	}
	if n, err := f.Sweep(f.ctx); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

func TestSweepKeepsForEver(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{Retention: lapse.NoLimit}})
	f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(50 * 365 * 24 * time.Hour)
	calls := f.calls(func() {
		if n, err := f.Sweep(f.ctx); n != 0 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
	})
	lapsetest.WantDiff(t, "calls: for ever has no instant to sweep before", noCalls, calls)
}

// TestSweepCountsWhatItDid: an end of the context or a fault leaves what was
// deleted deleted, and counted.
func TestSweepCountsWhatItDid(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	for range 1100 {
		f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	}
	f.clock.Add(25 * time.Hour)
	ctx, cancel := context.WithCancel(f.ctx)
	batches := 0
	f.store.Before(func(op storagetest.Op) {
		if batches++; batches == 2 {
			cancel()
		}
	})
	n, err := f.Sweep(ctx)
	if n != 500 {
		t.Errorf("swept %d before the end of the context; want 500", n)
	}
	lapsetest.WantIs(t, "Sweep", err, context.Canceled)
	f.store.Before(nil)
	f.store.InjectOp(storagetest.OpSweep, 2, storagetest.FailBefore, storage.ErrUnavailable)
	n, err = f.Sweep(f.ctx)
	if n != 500 {
		t.Errorf("swept %d before the fault; want 500", n)
	}
	lapsetest.WantIs(t, "Sweep", err, lapse.ErrUnavailable)
	if n, err := f.Sweep(f.ctx); n != 100 || err != nil {
		t.Errorf("swept %d, %v in the end; want 100", n, err)
	}
}
