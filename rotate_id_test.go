package lapse_test

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

func rotateID(t *testing.T, f *fixture, id lapse.ID, overlap time.Duration) lapse.Issued {
	t.Helper()
	i, err := f.RotateID(f.ctx, id, overlap)
	if err != nil {
		t.Fatalf("RotateID: %v", err)
	}
	if tok, err := f.Peek(f.ctx, i.Bearer); err != nil || tok != i.Token {
		t.Fatalf("Peek by the new text: %+v, %v; want %+v", tok, err, i.Token)
	}
	return i
}

// TestRotateID: the text in use becomes the previous one, and the token is as after
// Rotate.
func TestRotateID(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old := f.issue(lapse.Grant{Subject: "ana", Name: "key", Scope: "read", Data: "data"})
	f.clock.add(time.Minute)
	f.events = nil
	got := rotateID(t, f, old.ID, time.Minute)
	at := startMilli.Add(time.Minute)
	want := old.Token
	want.Generation, want.RotatedAt, want.ExpiresAt, want.MaxExpiresAt = 1, at, at.Add(30*time.Minute), at.Add(30*24*time.Hour)
	wantDiff(t, "the token", want, got.Token)
	wantDiff(t, "events", []lapse.Event{{Kind: lapse.EventRotated, At: at, Token: want}}, f.events)
	f.clock.add(time.Minute - time.Millisecond)
	f.wantPeek(t, "the previous text before its instant", old.Bearer, nil)
	_, err := f.Rotate(f.ctx, old.Bearer, time.Minute)
	wantIs(t, "Rotate with the previous text", err, lapse.ErrRotated) // there is no repeat
	f.clock.add(time.Millisecond)
	f.wantPeek(t, "the previous text at its instant", old.Bearer, lapse.ErrReplaced)
}

// TestRotateIDOfWhatIsNotUsed replaces the text that no use has been made of, and leaves
// the previous one as it is; after a use, that text becomes the previous one.
func TestRotateIDOfWhatIsNotUsed(t *testing.T) {
	for name, rotates := range map[string]func(f *fixture, old lapse.Issued) lapse.Issued{
		"after RotateID": func(f *fixture, old lapse.Issued) lapse.Issued { return rotateID(f.t, f, old.ID, time.Hour) },
		"after Rotate":   func(f *fixture, old lapse.Issued) lapse.Issued { return rotate(f.t, f, old.Bearer, time.Hour) },
	} {
		for _, used := range []bool{false, true} {
			f := newFixture(t, lapse.Config{})
			old := f.issue(forAna)
			first := rotates(f, old)
			if used {
				if _, err := f.Authenticate(f.ctx, first.Bearer); err != nil {
					t.Fatal(err)
				}
			}
			f.clock.add(time.Minute)
			until := f.record(old.ID).PreviousUntil
			second := rotateID(t, f, old.ID, 10*time.Minute)
			if second.Generation != 2 || !second.RotatedAt.Equal(startMilli.Add(time.Minute)) {
				t.Errorf("%s, used %v: %+v", name, used, second.Token)
			}
			good, replaced := old, first
			if used {
				good, replaced, until = first, old, startMilli.Add(11*time.Minute)
			}
			f.wantPeek(t, name+": the previous text", good.Bearer, nil)
			f.wantPeek(t, name+": the one that gave way", replaced.Bearer, lapse.ErrReplaced)
			if got := f.record(old.ID).PreviousUntil; !got.Equal(until) {
				t.Errorf("%s, used %v: the previous text works until %v; want %v", name, used, got, until)
			}
			_, err := f.Rotate(f.ctx, good.Bearer, time.Minute)
			wantIs(t, name+": Rotate with the previous text", err, lapse.ErrRotated)
			rotateID(t, f, old.ID, 0)
			f.wantPeek(t, name+": with overlap 0, the previous text", good.Bearer, lapse.ErrReplaced)
			f.wantPeek(t, name+": with overlap 0, the current text", second.Bearer, lapse.ErrReplaced)
		}
	}
}

// TestRotateIDRefuses what it cannot rotate, and changes nothing.
func TestRotateIDRefuses(t *testing.T) {
	refused := lapse.ErrRefused
	f := newFixture(t, lapse.Config{})
	live, ended := f.issue(forAna), f.issue(forAna)
	ran := f.issue(lapse.Grant{Subject: "ana", TTL: time.Minute})
	parent := f.issue(lapse.Grant{Subject: "ana", TTL: time.Minute})
	orphan := f.delegate(parent, lapse.Grant{})
	spent := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	if _, err := f.Authenticate(f.ctx, spent.Bearer); err != nil {
		t.Fatal(err)
	}
	f.Expire(f.ctx, ended.ID)
	f.clock.add(time.Minute)
	before := f.contents()
	for _, row := range []struct {
		name string
		m    *lapse.Manager
		id   lapse.ID
		want error
	}{
		{"no such token", f.Manager, lapse.ID{1}, lapse.ErrNotFound},
		{"of another prefix", f.manager(lapse.Config{Prefix: "other"}), live.ID, lapse.ErrNotFound},
		{"ended", f.Manager, ended.ID, lapse.ErrRevoked},
		{"ran out", f.Manager, ran.ID, lapse.ErrExpired},
		{"whose parent ran out", f.Manager, orphan.ID, lapse.ErrExpired},
		{"without uses", f.Manager, spent.ID, lapse.ErrExhausted},
	} {
		f.events = nil
		_, err := row.m.RotateID(f.ctx, row.id, time.Second)
		wantIs(t, row.name, err, row.want)
		if len(f.events) != 0 {
			t.Errorf("%s: told of %+v", row.name, f.events)
		}
	}
	wantDiff(t, "contents", before, f.contents())
	if _, err := f.manager(lapse.Config{Admit: f.checks(&refused)}).RotateID(f.ctx, live.ID, 0); err != nil {
		t.Errorf("Admit was asked: %v", err)
	}
}

// TestRotateOfASession is Refresh's to do, by every text and by the ID, under every
// prefix.
func TestRotateOfASession(t *testing.T) {
	clock := newClock()
	store := memory.New()
	p, err := lapse.NewPairs(store, lapse.PairConfig{Access: lapse.Config{Clock: clock}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(t.Context(), lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := lapse.New(store, lapse.Config{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, m := range []*lapse.Manager{p.Access(), other} {
			_, err := m.Rotate(t.Context(), c.Access.Bearer, time.Minute)
			wantIs(t, "Rotate of an access text", err, lapse.ErrNotRenewable)
			_, err = m.RotateID(t.Context(), c.Access.ID, 0)
			wantIs(t, "RotateID of a session", err, lapse.ErrNotRenewable)
		}
		if c, err = p.Refresh(t.Context(), c.Refresh.Bearer); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Access().Authenticate(t.Context(), c.Access.Bearer); err != nil {
		t.Error(err)
	}
}
