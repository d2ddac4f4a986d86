package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

var errDirectory = errors.New("directory is down")

// TestOrderOfAuthenticate walks through every way a token can be refused, with
// everything that would be refused later wrong as well: the first reason is the
// one that is given, and nothing behind it is asked or written.
func TestOrderOfAuthenticate(t *testing.T) {
	checked := 0
	refuse := func(context.Context, lapse.Token) error { checked++; return lapse.ErrRefused }
	f := newFixture(t, lapse.Config{Admit: refuse})
	pass := f.manager(lapse.Config{})
	other := f.manager(lapse.Config{Prefix: "other"})

	live := f.issue(lapse.Grant{Subject: "ana"})
	ended := f.issue(lapse.Grant{Subject: "ana"})
	foreign, err := other.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	short := f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	if _, err := f.Expire(f.ctx, ended.ID); err != nil {
		t.Fatal(err)
	}
	unknown := strangerTo(t, f)
	f.clock.add(time.Minute)

	for _, row := range []struct {
		name    string
		m       *lapse.Manager
		bearer  string
		want    error
		calls   []storagetest.Op
		checked int
	}{
		{"malformed", f.Manager, live.Bearer[:len(live.Bearer)-1], lapse.ErrMalformed, noCalls, 0},
		{"foreign format", f.Manager, "ghp_" + strings.Repeat("x", 36), lapse.ErrMalformed, noCalls, 0},
		{"absent", f.Manager, unknown, lapse.ErrUnknown, []storagetest.Op{opGet}, 0},
		{"another prefix", f.Manager, foreign.Bearer, lapse.ErrUnknown, []storagetest.Op{opGet}, 0},
		{"ended", f.Manager, ended.Bearer, lapse.ErrRevoked, []storagetest.Op{opGet}, 0},
		{"ran out", f.Manager, short.Bearer, lapse.ErrExpired, []storagetest.Op{opGet}, 0},
		{"subject refused", f.Manager, live.Bearer, lapse.ErrRefused, []storagetest.Op{opGet}, 1},
		{"good", pass, live.Bearer, nil, []storagetest.Op{opGet, opTouch}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			checked, f.events = 0, nil
			var err error
			calls := f.calls(func() { _, err = row.m.Authenticate(f.ctx, row.bearer) })
			wantIs(t, "Authenticate", err, row.want)
			wantDiff(t, "calls", row.calls, calls)
			if checked != row.checked {
				t.Errorf("Admit was asked %d times; want %d", checked, row.checked)
			}
			if row.want != nil && (len(f.events) != 1 || f.events[0].Kind != lapse.EventRejected || !errors.Is(f.events[0].Err, row.want)) {
				t.Errorf("events: %+v; want one rejection", f.events)
			}
		})
	}
}

// strangerTo returns a well-formed token of f's prefix that f's store never saw.
func strangerTo(t *testing.T, f *fixture) string {
	t.Helper()
	return newFixture(t, lapse.Config{}).issue(lapse.Grant{Subject: "nobody"}).Bearer
}

// TestWrongSecret presents every token's ID with another token's secret: nothing
// is told of it or done to it, whatever state it is in.
func TestWrongSecret(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	victims := []lapse.Issued{f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})}
	thief := f.issue(lapse.Grant{Subject: "eve"})
	if _, err := f.Expire(f.ctx, victims[1].ID); err != nil {
		t.Fatal(err)
	}
	f.clock.add(time.Minute)
	for i, v := range victims {
		forged := forge(v.Bearer, thief.Bearer)
		before := f.token(v.ID)
		for name, verb := range bearerVerbs(f.Manager) {
			f.events = nil
			var err error
			calls := f.calls(func() { err = verb(f.ctx, forged) })
			wantIs(t, name, err, lapse.ErrUnknown)
			var r *lapse.Rejection
			if !errors.As(err, &r) || r.Subject != "" || !r.At.IsZero() || r.Reason != 0 {
				t.Errorf("%s of victim %d tells %+v", name, i, r)
			}
			wantDiff(t, name+" calls", []storagetest.Op{opGet}, calls)
		}
		wantDiff(t, "the victim", before, f.token(v.ID))
	}
}

// forge puts the secret of one token behind the ID of another, with a checksum
// that is right.
func forge(id, secret string) string {
	under := strings.LastIndexByte(id, '_') + 1
	text := id[:under+22] + secret[under+22:under+66]
	return text + checksumOf(text)
}

// bearerVerbs are the verbs that take a bearer.
func bearerVerbs(m *lapse.Manager) map[string]func(context.Context, string) error {
	return map[string]func(context.Context, string) error{
		"Authenticate": func(ctx context.Context, b string) error { _, err := m.Authenticate(ctx, b); return err },
		"Peek":         func(ctx context.Context, b string) error { _, err := m.Peek(ctx, b); return err },
		"Renew":        func(ctx context.Context, b string) error { _, err := m.Renew(ctx, b); return err },
		"Rotate":       func(ctx context.Context, b string) error { _, err := m.Rotate(ctx, b, time.Second); return err },
		"Delegate": func(ctx context.Context, b string) error {
			_, err := m.Delegate(ctx, b, lapse.Grant{})
			return err
		},
		"ExpireBearer": func(ctx context.Context, b string) error { _, err := m.ExpireBearer(ctx, b); return err },
	}
}

// TestPrefixBinds presents a token under another Manager's prefix, checksum made
// right, in both directions.
func TestPrefixBinds(t *testing.T) {
	f := newFixture(t, lapse.Config{Prefix: "access"})
	refresh := f.manager(lapse.Config{Prefix: "refresh"})
	a := f.issue(lapse.Grant{Subject: "ana"})
	r, err := refresh.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	relabel := func(bearer, prefix string) string {
		text := prefix + bearer[strings.LastIndexByte(bearer, '_'):len(bearer)-6]
		return text + checksumOf(text)
	}
	if _, err := f.Authenticate(f.ctx, relabel(a.Bearer, "access")); err != nil {
		t.Fatalf("relabelling with the same prefix: %v; the test is wrong", err)
	}
	for name, verb := range bearerVerbs(f.Manager) {
		wantIs(t, name+" of a refresh token", verb(f.ctx, r.Bearer), lapse.ErrUnknown)
		wantIs(t, name+" of a relabelled one", verb(f.ctx, relabel(r.Bearer, "access")), lapse.ErrUnknown)
	}
	_, err = refresh.Authenticate(f.ctx, relabel(a.Bearer, "refresh"))
	wantIs(t, "the other way round", err, lapse.ErrUnknown)
}

func TestCheckSubject(t *testing.T) {
	var answer error
	f := newFixture(t, lapse.Config{Admit: func(_ context.Context, tok lapse.Token) error {
		if tok.Subject != "ana" {
			t.Errorf("asked about %q", tok.Subject)
		}
		return answer
	}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.add(time.Minute)
	for _, row := range []struct {
		name         string
		answer       error
		want         error
		unauthorized bool
	}{
		{"refused", lapse.ErrRefused, lapse.ErrRefused, true},
		{"refused with a reason", fmt.Errorf("on holiday: %w", lapse.ErrRefused), lapse.ErrRefused, true},
		{"could not tell", errDirectory, errDirectory, false},
		{"gave up", context.DeadlineExceeded, context.DeadlineExceeded, false},
	} {
		answer = row.answer
		for _, name := range []string{"Authenticate", "Peek", "Renew", "Rotate", "Delegate"} {
			err := bearerVerbs(f.Manager)[name](f.ctx, i.Bearer)
			wantIs(t, row.name+": "+name, err, row.want)
			if got := errors.Is(err, lapse.ErrUnauthenticated); got != row.unauthorized {
				t.Errorf("%s: %s: unauthenticated %v; want %v (%v)", row.name, name, got, row.unauthorized, err)
			}
		}
		wantDiff(t, row.name+": the token", i.Token, f.token(i.ID))
	}
	if _, err := f.ExpireBearer(f.ctx, i.Bearer); err != nil {
		t.Errorf("logging out while refused: %v", err)
	}
	answer = nil
	_, err := f.Authenticate(f.ctx, i.Bearer)
	wantIs(t, "a Admit that lets everybody pass, on an ended token", err, lapse.ErrRevoked)
}

// TestSlowCheckSubject: a use that was in time is good, but it does not renew a
// token that has run out while Admit made up its mind.
func TestSlowCheckSubject(t *testing.T) {
	slow := time.Duration(0)
	var f *fixture
	f = newFixture(t, lapse.Config{Admit: func(context.Context, lapse.Token) error { f.clock.add(slow); return nil }})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.add(30*time.Minute - time.Second)
	slow = 2 * time.Second
	calls := f.calls(func() {
		if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
			t.Errorf("a use in time: %v", err)
		}
	})
	wantDiff(t, "calls", []storagetest.Op{opGet}, calls)
	_, err := f.Peek(f.ctx, i.Bearer)
	wantIs(t, "afterwards", err, lapse.ErrExpired)
	_, err = f.Renew(f.ctx, i.Bearer)
	wantIs(t, "Renew", err, lapse.ErrExpired)
}

// TestStoreAnswersWrongly: what a broken store says never opens anything.
func TestStoreAnswersWrongly(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	a, b := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "bob"})
	recA, _ := f.store.Get(f.ctx, a.ID)
	recB, _ := f.store.Get(f.ctx, b.ID)
	noExpiry, noDigest, noID := recA, recA, recA
	noExpiry.ExpiresAt = time.Time{}
	noDigest.Digest = storage.Digest{}
	noID.ID = lapse.ID{}
	for name, row := range map[string]struct {
		record storage.Record
		want   error
	}{
		"another record":        {recB, lapse.ErrCorrupt},
		"no record, no error":   {storage.Record{}, lapse.ErrCorrupt},
		"record without ID":     {noID, lapse.ErrCorrupt},
		"record without end":    {noExpiry, lapse.ErrExpired},
		"record without digest": {noDigest, lapse.ErrCorrupt},
	} {
		m, err := lapse.New(liar{f.store, row.record, nil}, lapse.Config{Clock: f.clock})
		if err != nil {
			t.Fatal(err)
		}
		for verb, do := range bearerVerbs(m) {
			if verb == "ExpireBearer" && row.want == lapse.ErrExpired {
				continue // ending what is dead is no error
			}
			wantIs(t, verb+" with "+name, do(f.ctx, a.Bearer), row.want)
		}
		if row.want == lapse.ErrCorrupt && name != "record without digest" { // needs none
			_, err := m.Expire(f.ctx, a.ID)
			wantIs(t, "Expire with "+name, err, row.want)
			_, err = m.Token(f.ctx, a.ID)
			wantIs(t, "Token with "+name, err, row.want)
		}
	}
}

// TestRecordWithAnError: a record that comes with an error is none.
func TestRecordWithAnError(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	rec, _ := f.store.Get(f.ctx, i.ID)
	for _, row := range []struct{ says, want error }{
		{lapse.ErrNotFound, lapse.ErrUnknown},
		{lapse.ErrUnavailable, lapse.ErrUnavailable},
		{lapse.ErrCorrupt, lapse.ErrCorrupt},
	} {
		m, err := lapse.New(liar{f.store, rec, row.says}, lapse.Config{Clock: f.clock})
		if err != nil {
			t.Fatal(err)
		}
		for verb, do := range bearerVerbs(m) {
			wantIs(t, verb, do(f.ctx, i.Bearer), row.want)
		}
	}
}

// liar answers every Get with the same.
type liar struct {
	storage.Store
	record storage.Record
	err    error
}

func (l liar) Get(context.Context, lapse.ID) (storage.Record, error) { return l.record, l.err }
