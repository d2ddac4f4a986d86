package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestEvictionIsTold: who makes room is told of first, as it is then.
func TestEvictionIsTold(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}})
	old := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.add(time.Minute)
	f.events = nil
	fresh := f.issue(lapse.Grant{Subject: "ana"})
	now := startMilli.Add(time.Minute)
	want := old.Token
	want.EndedAt, want.EndReason = now, lapse.EndEvicted
	wantDiff(t, "events", []lapse.Event{
		{Kind: lapse.EventEnded, At: now, Token: want},
		{Kind: lapse.EventIssued, At: now, Token: fresh.Token},
	}, f.events)
}

// TestExpireMeetsSweep: a token that is swept once it was found had long been
// dead, and nothing is left to end.
func TestExpireMeetsSweep(t *testing.T) {
	for name, end := range map[string]func(f *fixture, i lapse.Issued) (any, error){
		"Expire":       func(f *fixture, i lapse.Issued) (any, error) { return f.Expire(f.ctx, i.ID) },
		"ExpireBearer": func(f *fixture, i lapse.Issued) (any, error) { return f.ExpireBearer(f.ctx, i.Bearer) },
	} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana"})
		want := map[string]any{"Expire": false, "ExpireBearer": i.Token}[name]
		f.store.Before(func(op storagetest.Op) {
			if op != opUpdate {
				return
			}
			f.store.Before(nil)
			f.clock.add(30 * 24 * time.Hour)
			if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
				t.Errorf("Sweep in between: %d, %v", n, err)
			}
		})
		f.events = nil
		got, err := end(f, i)
		wantIs(t, name, err, nil)
		wantDiff(t, name, want, got)
		if len(f.events) != 0 {
			t.Errorf("%s: events %+v; want none", name, f.events)
		}
	}
}

// TestOneInstantPerUse: a use is recorded at the instant by which the token was
// judged, however long Admit takes.
func TestOneInstantPerUse(t *testing.T) {
	var f *fixture
	f = newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error {
		f.clock.add(10 * time.Minute)
		return nil
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.add(time.Minute)
	now := startMilli.Add(time.Minute)
	want := i.Token
	want.LastUsedAt, want.ExpiresAt = now, now.Add(30*time.Minute)
	got, err := f.Authenticate(f.ctx, i.Bearer)
	wantIs(t, "Authenticate", err, nil)
	wantDiff(t, "returned", want, got)
	wantDiff(t, "stored", want, f.token(i.ID))
	wantDiff(t, "event", lapse.Event{Kind: lapse.EventRenewed, At: now, Token: want}, f.events[1])
}

// TestRenewalKeepsWhatCameBefore: a use that was stored while Renew waited for its
// turn is not undone, although the clock of Renew's turn is behind it.
func TestRenewalKeepsWhatCameBefore(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	var want lapse.Token
	f.store.Before(func(op storagetest.Op) {
		if op != opUpdate {
			return
		}
		f.store.Before(nil)
		f.clock.add(10 * time.Minute)
		var err error
		if want, err = f.Authenticate(f.ctx, i.Bearer); err != nil {
			t.Error(err)
		}
		f.clock.add(-5 * time.Minute)
	})
	got, err := f.Renew(f.ctx, i.Bearer)
	wantIs(t, "Renew", err, nil)
	wantDiff(t, "renewed", want, got)
	wantDiff(t, "stored", want, f.token(i.ID))
}

// TestCheckSubjectsReason: what Admit said is what the Rejection holds.
func TestCheckSubjectsReason(t *testing.T) {
	reason := errors.New("on holiday until Monday")
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error {
		return fmt.Errorf("%w: %w", lapse.ErrRefused, reason)
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	_, err := f.Peek(f.ctx, i.Bearer)
	wantIs(t, "Peek", err, lapse.ErrRefused)
	wantIs(t, "Peek", err, reason)
	var r *lapse.Rejection
	if !errors.As(err, &r) || !errors.Is(r.Err, reason) {
		t.Errorf("the rejection: %+v; want the reason in it", r)
	}
}

// TestForeignVerdictsKeepTheirCause: what is not a verdict is found in an error
// that holds one of somebody else's.
func TestForeignVerdictsKeepTheirCause(t *testing.T) {
	cause := &fs.PathError{Op: "dial", Path: "directory", Err: errDirectory}
	f := newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error {
		return fmt.Errorf("%w: %w", cause, lapse.ErrExpired)
	}})
	_, err := f.Peek(f.ctx, f.issue(lapse.Grant{Subject: "ana"}).Bearer)
	var path *fs.PathError
	if !errors.As(err, &path) || path != cause || !errors.Is(err, errDirectory) {
		t.Errorf("%v: its cause cannot be found", err)
	}
	var r *lapse.Rejection
	if errors.Is(err, lapse.ErrUnauthenticated) || errors.As(err, &r) {
		t.Errorf("%v reads as a bad token", err)
	}
}
