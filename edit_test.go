package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// edit fails the test if Edit fails, or returns something else than what Token returns then.
func (f *fixture) edit(id lapse.ID, c lapse.Changes) lapse.Token {
	f.t.Helper()
	tok, err := f.Edit(f.ctx, id, c)
	lapsetest.WantIs(f.t, "Edit", err, nil)
	lapsetest.WantDiff(f.t, "edited and stored", f.token(id), tok)
	return tok
}

// scoped, until and uses return changes of one field.
func scoped(scope string) lapse.Changes   { return lapse.Changes{Scope: &scope} }
func until(at time.Time) lapse.Changes    { return lapse.Changes{ExpiresAt: &at} }
func uses(n int) lapse.Changes            { return lapse.Changes{MaxUses: &n} }
func named(name string) lapse.Changes     { return lapse.Changes{Name: &name} }
func startPlus(d time.Duration) time.Time { return lapsetest.StartMilli.Add(d) }

// wantGrantError checks that err is ErrInvalidGrant about field, and of no other class.
func wantGrantError(t *testing.T, what string, err error, field string) {
	t.Helper()
	var bad *lapse.GrantError
	if !errors.Is(err, lapse.ErrInvalidGrant) || !errors.As(err, &bad) || bad.Field != field || lapse.Code(err) != "bad_grant" {
		t.Errorf("%s: %v; want ErrInvalidGrant about %s", what, err, field)
	}
}

// TestEdit: the token is what it was, with other values, and Observe is told both. The same Edit
// again changes nothing, writes nothing and tells nothing.
func TestEdit(t *testing.T) {
	var told []lapse.Event
	f := newFixture(t, lapse.Config{})
	m := lapsetest.Must(lapse.New(f.store, lapse.Config{Clock: f.clock, Observe: func(_ context.Context, e lapse.Event) { told = append(told, e) }}))
	i := f.issue(lapse.Grant{Subject: "ana", Name: "laptop", Scope: "read", Data: "old"})
	f.clock.Add(time.Minute)
	name, scope, data, most, at := "phone", "read write", "\x00new", 7, startPlus(10*time.Minute)
	all := lapse.Changes{Name: &name, Scope: &scope, Data: &data, MaxUses: &most, ExpiresAt: &at}
	want := i.Token
	want.Name, want.Scope, want.Data, want.MaxUses, want.UsesLeft = name, scope, data, most, most
	want.ExpiresAt, want.MaxExpiresAt = at, at
	ctx := lapse.WithActor(f.ctx, lapse.Actor{Name: "root"})
	got, err := m.Edit(ctx, i.ID, all)
	lapsetest.WantIs(t, "Edit", err, nil)
	lapsetest.WantDiff(t, "edited", want, got)
	lapsetest.WantDiff(t, "stored", want, f.token(i.ID))
	event := lapse.Event{Kind: lapse.EventEdited, At: startPlus(time.Minute), Verb: lapse.VerbEdit, Prefix: "lapse",
		Actor: lapse.Actor{Name: "root"}, Token: want, Before: &i.Token}
	lapsetest.WantDiff(t, "told", []lapse.Event{event}, told)
	before := f.record(i.ID)
	for _, again := range []lapse.Changes{all, {}, {Scope: &scope}} {
		got, err = m.Edit(ctx, i.ID, again)
		lapsetest.WantIs(t, "again", err, nil)
		lapsetest.WantDiff(t, "edited again", want, got)
		lapsetest.WantDiff(t, "the record", before, f.record(i.ID))
	}
	if len(told) != 1 {
		t.Errorf("told %d events", len(told))
	}
}

// TestEditOneField: a nil field stays.
func TestEditOneField(t *testing.T) {
	empty := ""
	for name, row := range map[string]struct {
		c    lapse.Changes
		want func(tok *lapse.Token)
	}{
		"Name":    {lapse.Changes{Name: &empty}, func(tok *lapse.Token) { tok.Name = "" }},
		"Scope":   {lapse.Changes{Scope: &empty}, func(tok *lapse.Token) { tok.Scope = "" }},
		"Data":    {lapse.Changes{Data: &empty}, func(tok *lapse.Token) { tok.Data = "" }},
		"MaxUses": {uses(0), func(tok *lapse.Token) { tok.MaxUses, tok.UsesLeft = 0, 0 }},
		"ExpiresAt": {until(startPlus(time.Second)), func(tok *lapse.Token) {
			tok.ExpiresAt, tok.MaxExpiresAt = startPlus(time.Second), startPlus(time.Second)
		}},
	} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana", Name: "laptop", Scope: "read", Data: "data", MaxUses: 3})
		row.want(&i.Token)
		lapsetest.WantDiff(t, name, i.Token, f.edit(i.ID, row.c))
	}
}

// TestEditExpiryBoundaries: before, at and after now, the expiry and the cap. Only an earlier expiry
// moves the cap.
func TestEditExpiryBoundaries(t *testing.T) {
	const now, ttl, limit, ms = 10 * time.Minute, time.Hour, 3 * time.Hour, time.Millisecond
	year := func(y int) time.Duration { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC).Sub(lapsetest.StartMilli) }
	for _, row := range []struct {
		name      string
		at        time.Duration
		want, max time.Duration // -1: refused
	}{
		{"the year 1990", year(1990), -1, -1},
		{"before now", now - ms, -1, -1},
		{"at now", now, -1, -1},
		{"a part of a millisecond after now", now + ms - 1, -1, -1},
		{"after now", now + ms, now + ms, now + ms},
		{"before the expiry", ttl - ms, ttl - ms, ttl - ms},
		{"a part of a millisecond before the expiry", ttl - 1, ttl - ms, ttl - ms},
		{"at the expiry", ttl, ttl, limit},
		{"after the expiry", ttl + ms, ttl + ms, limit},
		{"before the cap", limit - ms, limit - ms, limit},
		{"at the cap", limit, limit, limit},
		{"a part of a millisecond after the cap", limit + ms - 1, limit, limit},
		{"after the cap", limit + ms, -1, -1},
		{"the year 2200", year(2200), -1, -1},
	} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: ttl, MaxTTL: limit}})
		i := f.issue(lapse.Grant{Subject: "ana"})
		f.clock.Add(now)
		before := f.record(i.ID)
		tok, err := f.Edit(f.ctx, i.ID, until(startPlus(row.at).In(time.FixedZone("", 3600))))
		if row.want < 0 {
			wantGrantError(t, row.name, err, "ExpiresAt")
			lapsetest.WantDiff(t, row.name+": the record", before, f.record(i.ID))
			continue
		}
		lapsetest.WantIs(t, row.name, err, nil)
		if !tok.ExpiresAt.Equal(startPlus(row.want)) || !tok.MaxExpiresAt.Equal(startPlus(row.max)) {
			t.Errorf("%s: until %v, %v at most", row.name, tok.ExpiresAt, tok.MaxExpiresAt)
		}
		if edited := f.record(i.ID).CapEdited; edited != (row.want < ttl) {
			t.Errorf("%s: CapEdited %v", row.name, edited)
		}
		lapsetest.WantDiff(t, row.name, f.token(i.ID), tok)
	}
}

// TestEditExpiryWithoutCap: the last instant is the end of the year 9999.
func TestEditExpiryWithoutCap(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	last := time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	lapsetest.WantDiff(t, "the last instant", last, f.edit(i.ID, until(last)).ExpiresAt)
	for _, after := range []time.Time{last.Add(time.Millisecond), time.Unix(1<<62, 0)} {
		_, err := f.Edit(f.ctx, i.ID, until(after))
		wantGrantError(t, "after the last instant", err, "ExpiresAt")
	}
	_, err := f.Edit(f.ctx, i.ID, until(time.Time{}))
	wantGrantError(t, "the zero Time", err, "ExpiresAt")
}

// TestEditUnderALowerCap: where a policy has been lowered since the issue, the cap is the one that
// callers see. An expiry below the stored one holds also after the policy is raised again.
func TestEditUnderALowerCap(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: 10 * time.Hour}})
	low := f.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Minute, MaxTTL: time.Hour}})
	other := f.manager(lapse.Config{Prefix: "other", Policy: lapse.Policy{TTL: time.Minute, MaxTTL: time.Hour}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	_, err := low.Edit(f.ctx, i.ID, until(startPlus(time.Hour+time.Millisecond)))
	wantGrantError(t, "after the cap of the policy", err, "ExpiresAt")
	_, err = other.Edit(f.ctx, i.ID, until(startPlus(11*time.Hour)))
	lapsetest.WantIs(t, "by the Manager of another prefix", err, nil)
	_, err = low.Edit(f.ctx, i.ID, until(startPlus(time.Hour)))
	lapsetest.WantIs(t, "at the cap of the policy", err, nil)
	lapsetest.WantDiff(t, "by the first policy", startPlus(time.Hour), f.token(i.ID).ExpiresAt)
}

// editRaises are what could make a token live longer. The client has its text.
var editRaises = map[string]func(f *fixture, m *lapse.Manager, i lapse.Issued) error{
	"Authenticate": func(f *fixture, m *lapse.Manager, i lapse.Issued) error {
		_, err := m.Authenticate(f.ctx, i.Bearer)
		return err
	},
	"Renew": func(f *fixture, m *lapse.Manager, i lapse.Issued) error {
		_, err := m.Renew(f.ctx, i.Bearer)
		return err
	},
	"Rotate": func(f *fixture, m *lapse.Manager, i lapse.Issued) error {
		_, err := m.Rotate(f.ctx, i.Bearer, time.Minute)
		return err
	},
	"Rotate 0": func(f *fixture, m *lapse.Manager, i lapse.Issued) error {
		_, err := m.Rotate(f.ctx, i.Bearer, 0)
		return err
	},
	"Obtain": func(f *fixture, m *lapse.Manager, i lapse.Issued) error {
		_, err := m.Obtain(f.ctx, forAna)
		return err
	},
	"new key": func(f *fixture, _ *lapse.Manager, _ lapse.Issued) error {
		_, err := f.manager(lapsetest.Keyed(editPolicy, 2)).Obtain(f.ctx, forAna)
		return err
	},
	"late Touch": func(f *fixture, _ *lapse.Manager, i lapse.Issued) error {
		return f.store.Touch(f.ctx, i.ID, storage.Use{At: f.clock.Now(), ExpiresAt: startPlus(9 * time.Hour)})
	},
	"Use": func(f *fixture, m *lapse.Manager, i lapse.Issued) error {
		h, err := m.Hold(f.ctx, i.Bearer)
		if err != nil {
			return err
		}
		defer h.Release()
		return h.Use(f.ctx)
	},
}

var editPolicy = lapse.Policy{TTL: 2 * time.Hour, MaxTTL: 10 * time.Hour}

// TestEditedCapStays: nothing that a client does makes the token live longer than Edit said. RotateID
// begins a new cap, and then the client's Rotate does as well.
func TestEditedCapStays(t *testing.T) {
	for name, raise := range editRaises {
		f, i, at := editedEarlier(t, nil)
		lapsetest.WantIs(t, name, raise(f, f.Manager, i), nil)
		if tok := f.token(i.ID); !tok.ExpiresAt.Equal(at) || !tok.MaxExpiresAt.Equal(at) {
			t.Errorf("%s: until %v, %v at most", name, tok.ExpiresAt, tok.MaxExpiresAt)
		}
		if rec := f.record(i.ID); !rec.CapEdited || !rec.ExpiresAt.Equal(at) {
			t.Errorf("%s: the record: until %v, CapEdited %v", name, rec.ExpiresAt, rec.CapEdited)
		}
		_, err := f.Edit(f.ctx, i.ID, until(at.Add(time.Millisecond)))
		wantGrantError(t, name+", then a later expiry", err, "ExpiresAt")
		next, err := f.RotateID(f.ctx, i.ID, time.Minute)
		lapsetest.WantIs(t, "RotateID", err, nil)
		now := f.clock.Now().Truncate(time.Millisecond).UTC()
		if rec := f.record(i.ID); rec.CapEdited || !next.ExpiresAt.Equal(now.Add(2*time.Hour)) || !next.MaxExpiresAt.Equal(now.Add(10*time.Hour)) {
			t.Errorf("%s, then RotateID: %+v, CapEdited %v", name, next.Token, rec.CapEdited)
		}
		f.clock.Add(time.Hour)
		last, err := f.Rotate(f.ctx, next.Bearer, 0)
		if err != nil || !last.MaxExpiresAt.Equal(now.Add(11*time.Hour)) {
			t.Errorf("%s, then RotateID and Rotate: %+v, %v", name, last.Token, err)
		}
	}
}

// editedEarlier returns a token of Obtain whose expiry Edit has made earlier, through a store that
// changes what Edit puts.
func editedEarlier(t *testing.T, flaw func(old, put *storage.Record)) (f *fixture, i lapse.Issued, at time.Time) {
	t.Helper()
	f = newFixture(t, lapsetest.Keyed(editPolicy, 1))
	i = obtain(t, f, f.Manager, forAna)
	f.clock.Add(time.Minute)
	at = startPlus(time.Hour)
	var store storage.Store = f.store
	if flaw != nil {
		store = flawedPuts{f.store, flaw}
	}
	m := lapsetest.Must(lapse.New(store, lapse.Config{Clock: f.clock, Policy: editPolicy}))
	_, err := m.Edit(f.ctx, i.ID, until(at))
	if flaw == nil {
		lapsetest.WantIs(t, "Edit", err, nil)
	} else if err != nil {
		return f, lapse.Issued{}, at
	}
	return f, i, at
}

// flawedPuts is a store that puts what flaw makes of a record that replaces old.
type flawedPuts struct {
	storage.Store
	flaw func(old, put *storage.Record)
}

func (s flawedPuts) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(flawedTx{tx, s.flaw}) })
}

type flawedTx struct {
	storage.Tx
	flaw func(old, put *storage.Record)
}

func (tx flawedTx) Put(r storage.Record) error {
	if old, err := tx.Get(r.ID); err == nil {
		tx.flaw(&old, &r)
	}
	return tx.Tx.Put(r)
}

// TestEditedCapFindsFaults: an Edit that left the cap is refused by the store (S29), and one that did
// not keep that the cap was edited is undone by the client's own Rotate.
func TestEditedCapFindsFaults(t *testing.T) {
	f, i, _ := editedEarlier(t, func(old, put *storage.Record) { put.MaxExpiresAt = old.MaxExpiresAt })
	if i.ID != (lapse.ID{}) || f.contents()[0].CapEdited {
		t.Error("the store took an earlier expiry without a cap")
	}
	f, i, at := editedEarlier(t, func(_, put *storage.Record) { put.CapEdited = false })
	lapsetest.WantIs(t, "Rotate", editRaises["Rotate"](f, f.Manager, i), nil)
	if !f.token(i.ID).ExpiresAt.After(at) {
		t.Error("Rotate kept a cap that was not marked: TestEditedCapStays finds nothing")
	}
}

// TestObtainAfterAnEarlierExpiry: the token is given again as long as MinLeft is left, to the
// millisecond, and after that another is made. No Obtain replaces its secret for a longer life.
func TestObtainAfterAnEarlierExpiry(t *testing.T) {
	for left, again := range map[time.Duration]bool{20*time.Minute + time.Millisecond: true, 20 * time.Minute: true, 20*time.Minute - time.Millisecond: false} {
		f, i, at := editedEarlier(t, nil)
		f.clock.Set(at.Add(-left))
		g := forAna
		g.MinLeft = 20 * time.Minute
		got := obtain(t, f, f.Manager, g)
		if got.Existing != again || (got.ID == i.ID) != again || (got.Bearer == i.Bearer) != again || got.ExpiresAt.Sub(f.clock.Now()) < g.MinLeft-time.Millisecond {
			t.Errorf("with %v left: %+v", left, got.Token)
		}
		if len(f.contents()) != map[bool]int{true: 1, false: 2}[again] || !f.token(i.ID).ExpiresAt.Equal(at) {
			t.Errorf("with %v left: %d records", left, len(f.contents()))
		}
	}
}

// TestEditRevivesNothing: a token that is dead, or has no uses left, is refused by what it died of,
// whatever is to be changed, and stays as it is.
func TestEditRevivesNothing(t *testing.T) {
	for name, row := range map[string]struct {
		g    lapse.Grant
		die  func(f *fixture, i lapse.Issued)
		want error
	}{
		"ran out":   {lapse.Grant{}, func(f *fixture, i lapse.Issued) { f.clock.Set(i.ExpiresAt) }, lapse.ErrExpired},
		"ended":     {lapse.Grant{}, func(f *fixture, i lapse.Issued) { f.Expire(f.ctx, i.ID) }, lapse.ErrRevoked},
		"exhausted": {lapse.Grant{MaxUses: 1}, func(f *fixture, i lapse.Issued) { f.Authenticate(f.ctx, i.Bearer) }, lapse.ErrExhausted},
		"in its grace": {lapse.Grant{MaxUses: 1, UseGrace: time.Minute}, func(f *fixture, i lapse.Issued) {
			f.Authenticate(f.ctx, i.Bearer)
		}, lapse.ErrExhausted},
		"held": {lapse.Grant{MaxUses: 1}, func(f *fixture, i lapse.Issued) {
			h := lapsetest.Must(f.Hold(f.ctx, i.Bearer))
			f.t.Cleanup(h.Release)
		}, lapse.ErrExhausted},
	} {
		f := newFixture(t, lapse.Config{})
		row.g.Subject = "ana"
		i := f.issue(row.g)
		row.die(f, i)
		before := f.record(i.ID)
		f.events = nil
		for _, c := range []lapse.Changes{{}, named("x"), until(f.clock.Now().Add(time.Minute)), uses(9), uses(0)} {
			_, err := f.Edit(f.ctx, i.ID, c)
			var why *lapse.Rejection
			if !errors.Is(err, row.want) || !errors.As(err, &why) || why.ID != i.ID || why.Subject != "ana" {
				t.Errorf("%s: %v; want a Rejection by %v", name, err, row.want)
			}
		}
		lapsetest.WantDiff(t, name, before, f.record(i.ID))
		lapsetest.WantDiff(t, name+", events", []lapse.EventKind(nil), f.kinds())
	}
	f := newFixture(t, lapse.Config{})
	_, err := f.Edit(f.ctx, lapse.ID{1}, named("x"))
	lapsetest.WantIs(t, "no such token", err, lapse.ErrNotFound)
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(2 * time.Minute)
	_, err = f.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Minute, MaxTTL: time.Minute}}).Edit(f.ctx, i.ID, until(startPlus(time.Hour)))
	lapsetest.WantIs(t, "past a lowered MaxTTL", err, lapse.ErrExpired)
}

// TestEditLimits: every field at its limit and over it, with the checks of Grant.
func TestEditLimits(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", Name: "laptop"})
	before := f.record(i.ID)
	long := func(n int) *string { s := strings.Repeat("x", n); return &s }
	text := func(s string) *string { return &s }
	over := math.MaxInt32
	over++ // where an int has 32 bits, the least one, which is out of the limits, too
	for _, bad := range []struct {
		field string
		c     lapse.Changes
	}{
		{"Name", lapse.Changes{Name: long(storage.MaxName + 1)}}, {"Name", lapse.Changes{Name: text("a\nb")}}, {"Name", lapse.Changes{Name: text("\xff")}},
		{"Scope", lapse.Changes{Scope: long(storage.MaxScope + 1)}}, {"Scope", lapse.Changes{Scope: text("a  b")}}, {"Scope", lapse.Changes{Scope: text(`"`)}},
		{"Data", lapse.Changes{Data: long(storage.MaxData + 1)}},
		{"MaxUses", uses(-1)}, {"MaxUses", uses(over)},
		{"Scope", lapse.Changes{Name: text("good"), Scope: text(" ")}},
	} {
		_, err := f.Edit(f.ctx, i.ID, bad.c)
		wantGrantError(t, bad.field, err, bad.field)
		lapsetest.WantDiff(t, "the record", before, f.record(i.ID))
	}
	f.edit(i.ID, lapse.Changes{Name: long(storage.MaxName), Scope: long(storage.MaxScope), Data: long(storage.MaxData)})
	f.edit(i.ID, uses(math.MaxInt32))
}

// TestEditUses: the uses that are spent stay spent. Before, at and after their number.
func TestEditUses(t *testing.T) {
	for _, row := range []struct{ max, spent, to, left int }{
		{5, 2, 1, -1}, {5, 2, 2, -1}, {5, 2, 3, 1}, {5, 2, 5, 3}, {5, 2, 6, 4}, {5, 0, 1, 1},
		{5, 2, 0, 0}, {0, 2, 1, 1}, {0, 0, 3, 3},
	} {
		f := newFixture(t, lapse.Config{})
		g := lapse.Grant{Subject: "ana", MaxUses: row.max}
		if row.max > 0 {
			g.UseGrace = time.Second
		}
		i := f.issue(g)
		for range row.spent {
			lapsetest.Must(f.Authenticate(f.ctx, i.Bearer))
		}
		tok, err := f.Edit(f.ctx, i.ID, uses(row.to))
		if row.left < 0 {
			wantGrantError(t, "MaxUses", err, "MaxUses")
			continue
		}
		lapsetest.WantIs(t, "Edit", err, nil)
		if tok.MaxUses != row.to || tok.UsesLeft != row.left || (f.record(i.ID).UseGrace != 0) != (row.to != 0 && row.max != 0) {
			t.Errorf("%+v: %d of %d left", row, tok.UsesLeft, tok.MaxUses)
		}
		for n := range row.left {
			_, err := f.Authenticate(f.ctx, i.Bearer)
			lapsetest.WantIs(t, "use", err, nil)
			if n == row.left-1 && row.max == 0 {
				_, err = f.Authenticate(f.ctx, i.Bearer)
				lapsetest.WantIs(t, "after the last use", err, lapse.ErrExhausted)
			}
		}
	}
}

// TestEditBudgetOfWhatHasNone: a session has no budget, and neither has a token with live delegates. A
// delegate has one of its own.
func TestEditBudgetOfWhatHasNone(t *testing.T) {
	p := newPairs(t, memory.New(), lapse.PairConfig{})
	c := p.first(lapse.Grant{Subject: "ana"})
	_, err := p.Edit(p.ctx, c.Access.ID, uses(1))
	wantGrantError(t, "a session", err, "MaxUses")
	p.edit(c.Access.ID, uses(0))

	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	d := lapsetest.Must(f.Delegate(f.ctx, i.Bearer, lapse.Grant{}))
	_, err = f.Edit(f.ctx, i.ID, uses(1))
	wantGrantError(t, "a token with a delegate", err, "MaxUses")
	if tok := f.edit(d.ID, uses(1)); tok.UsesLeft != 1 {
		t.Errorf("a delegate: %+v", tok)
	}
	f.Expire(f.ctx, d.ID)
	f.edit(i.ID, uses(1))
	_, err = f.Delegate(f.ctx, i.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate from a token with a budget", err, lapse.ErrNotDelegable)
}

// TestEditLiftsABudgetInUse: the budget is lifted between the read of a use and its transaction. The
// use is good, and renews as one without a budget.
func TestEditLiftsABudgetInUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	f.clock.Add(time.Minute)
	admin := lapsetest.Must(lapse.New(f.store, lapse.Config{Clock: f.clock}))
	lifted := false
	f.store.Before(func(op storagetest.Op) {
		if op == opUpdate && !lifted {
			lifted = true
			lapsetest.Must(admin.Edit(f.ctx, i.ID, uses(0)))
		}
	})
	tok, err := f.Authenticate(f.ctx, i.Bearer)
	f.store.Before(nil)
	if err != nil || !lifted || tok.MaxUses != 0 || tok.UsesLeft != 0 || !tok.EndedAt.IsZero() || !tok.ExpiresAt.Equal(i.ExpiresAt.Add(time.Minute)) {
		t.Errorf("%+v, %v", tok, err)
	}
	lapsetest.WantDiff(t, "stored", f.token(i.ID), tok)
}

// TestEditScopeOfSession: what the session scope loses is gone from both access texts at once, and
// what it gains comes with the next refresh. The refresh text stays good.
func TestEditScopeOfSession(t *testing.T) {
	for _, row := range []struct {
		from, asked, to  string
		access, afterAll string
	}{
		{"a b c", "", "a b", "a b", "a b"},
		{"a b c", "c a", "c", "c", "c"},
		{"a b c", "b", "a c", "", "a c"},
		{"a b c", "", "", "", ""},
		{"a b", "a", "a b c", "a", "a b c"},
		{"a", "", "a b", "a", "a b"},
		{"a", "", "b", "", "b"},
	} {
		p := newPairs(t, memory.New(), lapse.PairConfig{})
		first := p.first(lapse.Grant{Subject: "ana", Scope: row.from})
		c, err := p.Refresh(p.ctx, first.Refresh.Bearer, row.asked)
		lapsetest.WantIs(t, "Refresh", err, nil)
		if tok := p.edit(c.Access.ID, scoped(row.to)); tok.Scope != row.to {
			t.Errorf("%+v: %q", row, tok.Scope)
		}
		for what, text := range map[string]string{"current": c.Access.Bearer, "previous": first.Access.Bearer} {
			tok, err := p.Authenticate(p.ctx, text)
			if err != nil || tok.Scope != row.access {
				t.Errorf("%+v, %s: %q, %v", row, what, tok.Scope, err)
			}
		}
		next, err := p.Refresh(p.ctx, c.Refresh.Bearer)
		if err != nil || next.Scope != row.afterAll || next.Access.Scope != row.afterAll {
			t.Errorf("%+v, refreshed: %q, %v", row, next.Scope, err)
		}
	}
}

// TestEditScopeWithinTheGrace: a Refresh for the whole scope that is repeated gives the same answer
// with the words that are left. It is ErrScope once the scope has gained one, and ends nothing.
func TestEditScopeWithinTheGrace(t *testing.T) {
	for _, row := range []struct {
		asked []string // of both
		to    string
		scope string // of the answer that is given again
		want  error
	}{
		{nil, "a", "a", nil},
		{nil, "b a", "a b", nil},
		{nil, "c b a", "", lapse.ErrScope},
		{nil, "a b c", "", lapse.ErrScope},
		{[]string{"a", "b"}, "a c", "a", nil},
		{[]string{"a"}, "b a", "a", nil},
		{[]string{"a"}, "b", "", lapse.ErrScope},
	} {
		p := newPairs(t, memory.New(), lapse.PairConfig{})
		first := p.first(lapse.Grant{Subject: "ana", Scope: "a b"})
		c, err := p.Refresh(p.ctx, first.Refresh.Bearer, row.asked...)
		lapsetest.WantIs(t, "Refresh", err, nil)
		p.edit(c.Access.ID, scoped(row.to))
		again, err := p.Refresh(p.ctx, first.Refresh.Bearer, row.asked...)
		lapsetest.WantIs(t, fmt.Sprintf("%q again, to %q", row.asked, row.to), err, row.want)
		if row.want == nil && (again.Refresh.Bearer != c.Refresh.Bearer || again.Scope != row.scope) {
			t.Errorf("%q again, to %q: another answer, for %q", row.asked, row.to, again.Scope)
		}
		_, err = p.Refresh(p.ctx, c.Refresh.Bearer)
		lapsetest.WantIs(t, "the next refresh", err, nil)
	}
}

// TestEditExpiryOfSession: the access text ends no later, and no refresh moves the end. Sessions of
// other Pairs go by their records.
func TestEditExpiryOfSession(t *testing.T) {
	p := newPairs(t, memory.New(), lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}})
	c := p.first(lapse.Grant{Subject: "ana"})
	at := startPlus(time.Minute)
	other := lapsetest.Must(lapse.New(p.store, lapse.Config{Clock: p.clock, Prefix: "other", Policy: lapse.Policy{MaxTTL: time.Hour}}))
	_, err := other.Edit(p.ctx, c.Access.ID, until(startPlus(80*24*time.Hour)))
	lapsetest.WantIs(t, "later, by a Manager of another prefix", err, nil)
	p.edit(c.Access.ID, until(at))
	for n := range 3 {
		p.clock.Add(time.Second)
		if c, err = p.Refresh(p.ctx, c.Refresh.Bearer); err != nil || !c.Refresh.ExpiresAt.Equal(at) || !c.Access.ExpiresAt.Equal(at) {
			t.Fatalf("refresh %d: until %v and %v, %v", n, c.Refresh.ExpiresAt, c.Access.ExpiresAt, err)
		}
	}
	p.clock.Set(at.Add(-time.Millisecond))
	tok, err := p.Peek(p.ctx, c.Refresh.Bearer)
	lapsetest.WantIs(t, "before", err, nil)
	lapsetest.WantDiff(t, "the cap", at, tok.MaxExpiresAt)
	p.clock.Set(at)
	_, err = p.Authenticate(p.ctx, c.Access.Bearer)
	lapsetest.WantIs(t, "at", err, lapse.ErrExpired)
	_, err = p.Refresh(p.ctx, c.Refresh.Bearer)
	lapsetest.WantIs(t, "refresh at", err, lapse.ErrExpired)
}

// TestRefreshWhileTheScopeIsEdited: the scope is narrowed between the read of a Refresh and its
// transaction. The new access text has no word that the session has lost.
func TestRefreshWhileTheScopeIsEdited(t *testing.T) {
	for asked, want := range map[string]error{"": nil, "a": nil, "b": lapse.ErrScope} {
		p := newPairs(t, memory.New(), lapse.PairConfig{})
		c := p.first(lapse.Grant{Subject: "ana", Scope: "a b"})
		admin := lapsetest.Must(lapse.New(p.store, lapse.Config{Clock: p.clock}))
		edited := false
		p.store.Before(func(op storagetest.Op) {
			if op == opUpdate && !edited {
				edited = true
				lapsetest.Must(admin.Edit(p.ctx, c.Access.ID, scoped("a")))
			}
		})
		next, err := p.Refresh(p.ctx, c.Refresh.Bearer, asked)
		p.store.Before(nil)
		lapsetest.WantIs(t, "asked for "+asked, err, want)
		if err == nil && next.Scope != "a" {
			t.Errorf("asked for %q: %q", asked, next.Scope)
		}
	}
}

// TestEditScopeOfParents: a delegate is seen with only the words that all tokens above it have, by
// every verb that shows one, and with all of them again once they are given back.
func TestEditScopeOfParents(t *testing.T) {
	var admitted string
	f := newFixture(t, lapse.Config{Admit: func(_ context.Context, tok lapse.Token) error { admitted = tok.Scope; return nil }})
	top := f.issue(lapse.Grant{Subject: "ana", Scope: "a b c d"})
	mid := lapsetest.Must(f.Delegate(f.ctx, top.Bearer, lapse.Grant{Scope: "c b a"}))
	low := lapsetest.Must(f.Delegate(f.ctx, mid.Bearer, lapse.Grant{Scope: "b a"}))
	stored := f.record(low.ID)
	held := lapsetest.Must(f.Hold(f.ctx, low.Bearer))
	defer held.Release()
	for _, step := range []struct {
		of        lapse.ID
		to        string
		mid, want string
	}{
		{top.ID, "a c d", "c a", "a"},
		{top.ID, "b", "b", "b"},
		{top.ID, "d", "", ""},
		{top.ID, "d c b a", "c b a", "b a"},
		{mid.ID, "c a", "c a", "a"},
		{top.ID, "b c", "c", ""},
		{top.ID, "a b c d", "c a", "a"},
		{mid.ID, "a b", "a b", "b a"},
	} {
		f.edit(step.of, scoped(step.to))
		f.clock.Add(time.Second)
		for verb, see := range map[string]func() (lapse.Token, error){
			"Authenticate": func() (lapse.Token, error) { return f.Authenticate(f.ctx, low.Bearer) },
			"Peek":         func() (lapse.Token, error) { return f.Peek(f.ctx, low.Bearer) },
			"Renew":        func() (lapse.Token, error) { return f.Renew(f.ctx, low.Bearer) },
			"Token":        func() (lapse.Token, error) { return f.Token(f.ctx, low.ID) },
			"Use":          func() (lapse.Token, error) { err := held.Use(f.ctx); return held.Token(), err },
			"Admit": func() (lapse.Token, error) {
				_, err := f.Peek(f.ctx, low.Bearer)
				return lapse.Token{Scope: admitted}, err
			},
			"List": func() (found lapse.Token, err error) {
				for tok, err := range f.List(f.ctx, lapse.Query{Subject: "ana"}) {
					if err != nil || tok.ID == low.ID {
						return tok, err
					}
				}
				return found, err
			},
		} {
			if tok, err := see(); err != nil || tok.Scope != step.want {
				t.Errorf("%v to %q: %s shows %q, %v; want %q", step.of, step.to, verb, tok.Scope, err, step.want)
			}
		}
		if tok := f.token(mid.ID); tok.Scope != step.mid {
			t.Errorf("%v to %q: the parent has %q; want %q", step.of, step.to, tok.Scope, step.mid)
		}
		_, err := f.Delegate(f.ctx, low.Bearer, lapse.Grant{Scope: "b"})
		if wants := strings.Contains(step.want, "b"); (err == nil) != wants || !wants && !errors.Is(err, lapse.ErrScope) {
			t.Errorf("%v to %q: Delegate: %v", step.of, step.to, err)
		}
		if rec := f.record(low.ID); rec.Scope != stored.Scope {
			t.Errorf("the record has %q", rec.Scope)
		}
	}
	_, err := f.Edit(f.ctx, low.ID, scoped("b c"))
	wantGrantError(t, "a word that the parent lacks", err, "Scope")
	f.edit(low.ID, scoped("b"))
}

// TestEditExpiryOfDelegate: it does not outlive the tokens above it. Before, at and after.
func TestEditExpiryOfDelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewOnRequest}})
	top := f.issue(lapse.Grant{Subject: "ana"})
	d := lapsetest.Must(f.Delegate(f.ctx, top.Bearer, lapse.Grant{TTL: time.Minute}))
	f.edit(d.ID, until(startPlus(time.Hour-time.Millisecond)))
	f.edit(d.ID, until(startPlus(time.Hour)))
	_, err := f.Edit(f.ctx, d.ID, until(startPlus(time.Hour+time.Millisecond)))
	wantGrantError(t, "after the parent", err, "ExpiresAt")
	f.clock.Add(time.Minute)
	lapsetest.Must(f.Renew(f.ctx, top.Bearer))
	f.edit(d.ID, until(startPlus(time.Hour+time.Minute)))
	f.edit(top.ID, until(startPlus(30*time.Minute)))
	lapsetest.WantDiff(t, "under a parent that ends earlier", startPlus(30*time.Minute), f.token(d.ID).ExpiresAt)
	lapsetest.Must(f.Rotate(f.ctx, top.Bearer, time.Minute))
	lapsetest.WantDiff(t, "and is rotated", startPlus(30*time.Minute), f.token(d.ID).ExpiresAt)
}

// TestUseSeesEdit: the first Use after Edit has returned sees the change, also where no use is due,
// by whatever Manager of the store the edit was made, and of the token or of one above it.
func TestUseSeesEdit(t *testing.T) {
	cfg := lapse.Config{Policy: lapse.Policy{RenewEvery: time.Hour, TTL: 10 * time.Hour}}
	for name, row := range map[string]struct {
		delegated int
		c         lapse.Changes
		of        int // which token of the chain is edited
		use       error
		want      func(tok *lapse.Token)
	}{
		"Name":               {0, named("x"), 0, nil, func(tok *lapse.Token) { tok.Name = "x" }},
		"Scope":              {0, scoped("a"), 0, nil, func(tok *lapse.Token) { tok.Scope = "a" }},
		"MaxUses":            {0, uses(3), 0, lapse.ErrNotRenewable, func(tok *lapse.Token) { tok.MaxUses, tok.UsesLeft = 3, 3 }},
		"Scope of the first": {2, scoped("a"), 0, nil, func(tok *lapse.Token) { tok.Scope = "a" }},
		"Scope of a parent":  {3, scoped("a"), 1, nil, func(tok *lapse.Token) { tok.Scope = "a" }},
	} {
		for _, settled := range []bool{false, true} {
			onMemory(t, name, cfg, func(h *holder) {
				admin := h.manager(lapse.Config{Prefix: "admin"})
				chain := []lapse.Issued{h.issue(lapse.Grant{Scope: "a b"})}
				for range row.delegated {
					chain = append(chain, lapsetest.Must(h.Delegate(h.ctx, chain[len(chain)-1].Bearer, lapse.Grant{Scope: "a b"})))
				}
				last := chain[len(chain)-1]
				hold := h.connect(h.Manager, last.Bearer)
				lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
				if settled {
					synctest.Wait()
					lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
				}
				want := hold.Token()
				row.want(&want)
				lapsetest.Must(admin.Edit(h.ctx, chain[row.of].ID, row.c))
				lapsetest.WantIs(t, "Use after Edit", hold.Use(h.ctx), row.use)
				lapsetest.WantDiff(t, "Token after Edit", want, hold.Token())
				synctest.Wait()
				lapsetest.WantIs(t, "Use later", hold.Use(h.ctx), row.use)
				h.alive("after Edit", hold.Context())
			})
		}
	}
}

// TestUseSeesEditByPolling: where the store tells of no change, and the Managers share no marks, a Use
// sees it within PollHolds.
func TestUseSeesEditByPolling(t *testing.T) {
	cfg := lapse.Config{PollHolds: time.Second, Policy: lapse.Policy{RenewEvery: time.Hour, TTL: 10 * time.Hour}}
	inBubble(t, "polled", func(*testing.T) storage.Store { return struct{ storage.Store }{memory.New()} }, cfg, func(h *holder) {
		hold := h.connect(h.Manager, h.issue(lapse.Grant{}).Bearer)
		synctest.Wait()
		lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
		lapsetest.Must(h.manager(lapse.Config{}).Edit(h.ctx, hold.Token().ID, named("x")))
		time.Sleep(time.Second)
		synctest.Wait()
		lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
		lapsetest.WantDiff(t, "Name", "x", hold.Token().Name)
	})
}

// unsure is a store that tells of no change, and whose next Update has an unknown outcome.
type unsure struct {
	storage.Store
	next bool
}

func (u *unsure) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	err := u.Store.Update(ctx, subject, fn)
	if err == nil && u.next {
		u.next, err = false, storage.ErrOutcomeUnknown
	}
	return err
}

// TestUseSeesEditOfUnknownOutcome: after an Edit of unknown outcome, which was written, another Edit
// changes nothing, and the next Use sees what the first changed.
func TestUseSeesEditOfUnknownOutcome(t *testing.T) {
	cfg := lapse.Config{PollHolds: time.Hour, Policy: lapse.Policy{RenewEvery: 5 * time.Hour, TTL: 10 * time.Hour}}
	store := new(unsure)
	inBubble(t, "polled", func(*testing.T) storage.Store { store.Store = memory.New(); return store }, cfg, func(h *holder) {
		hold := h.connect(h.Manager, h.issue(lapse.Grant{}).Bearer)
		synctest.Wait()
		lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
		store.next = true
		_, err := h.Edit(h.ctx, hold.Token().ID, named("x"))
		lapsetest.WantIs(t, "Edit", err, lapse.ErrOutcomeUnknown)
		_, err = h.Edit(h.ctx, hold.Token().ID, named("x"))
		lapsetest.WantIs(t, "Edit again", err, nil)
		lapsetest.WantIs(t, "Use", hold.Use(h.ctx), nil)
		lapsetest.WantDiff(t, "Name", "x", hold.Token().Name)
	})
}

// TestEditMovesTheCut: an earlier expiry cuts a connection at that instant and warns before it, and a
// later one moves the cut to the later instant.
func TestEditMovesTheCut(t *testing.T) {
	cfg := lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 10 * time.Hour}}
	for _, on := range holdStores {
		for to, warned := range map[time.Duration]int{10 * time.Minute: 1, 2 * time.Hour: 1, time.Minute: 1, time.Minute + time.Millisecond: 1} {
			inBubble(t, on.name, on.open, cfg, func(h *holder) {
				i := h.issue(lapse.Grant{})
				hold, ran := h.connect(h.Manager, i.Bearer), new(calls)
				hold.WarnFunc(time.Minute, ran.run)
				time.Sleep(time.Second)
				synctest.Wait()
				begin := i.IssuedAt
				lapsetest.Must(h.Edit(h.ctx, i.ID, until(begin.Add(to))))
				edited := now()
				time.Sleep(10 * time.Second) // so that a store that is polled was read
				synctest.Wait()
				warnAt := begin.Add(to - time.Minute)
				if warnAt.Before(edited) {
					warnAt = edited
				}
				time.Sleep(to - 11*time.Second - time.Millisecond)
				h.alive("a millisecond before", hold.Context())
				time.Sleep(time.Millisecond)
				h.wantRejection(h.cut("at the new expiry", hold.Context(), 0), lapse.ErrExpired, i.ID, begin.Add(to), 0)
				ran.mu.Lock()
				defer ran.mu.Unlock()
				if len(ran.at) != warned || ran.at[0].Before(warnAt) || ran.at[0].After(warnAt.Add(5*time.Second)) {
					t.Errorf("to %v: warned at %v; want %v", to, ran.at, warnAt)
				}
			})
		}
	}
}

// TestEditsTogether: edits of different fields, and whatever a client does, meet at the store. No
// edit is lost, and nothing outlives the edited expiry.
func TestEditsTogether(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{TTL: time.Hour})
		ctx := t.Context()
		for range 30 {
			i := lapsetest.Must(m.Issue(ctx, lapse.Grant{Subject: "ana"}))
			hold := lapsetest.Must(m.Hold(ctx, i.Bearer))
			clock.Add(time.Second)
			at, name, data := i.IssuedAt.Add(time.Minute), "x", "y"
			lapsetest.Arrivals(store, 8, storagetest.OpTouch, storagetest.OpUpdate)
			calls := []func() error{
				func() error { _, err := m.Edit(ctx, i.ID, lapse.Changes{Name: &name}); return err },
				func() error { _, err := m.Edit(ctx, i.ID, lapse.Changes{Data: &data}); return err },
				func() error { _, err := m.Edit(ctx, i.ID, scoped("z")); return err },
				func() error { _, err := m.Edit(ctx, i.ID, until(at)); return err },
				func() error { _, err := m.Renew(ctx, i.Bearer); return err },
				func() error { _, err := m.Authenticate(ctx, i.Bearer); return err },
				func() error { return hold.Use(ctx) },
				func() error { _, err := m.Rotate(ctx, i.Bearer, time.Minute); return err },
			}
			for n, err := range lapsetest.Together(len(calls), func(n int) error { return calls[n]() }) {
				if err != nil {
					t.Fatalf("call %d: %v", n, err)
				}
			}
			store.Before(nil)
			tok := lapsetest.Must(m.Token(ctx, i.ID))
			if tok.Name != name || tok.Data != data || tok.Scope != "z" || !tok.ExpiresAt.Equal(at) || !tok.MaxExpiresAt.Equal(at) || tok.Generation != 1 {
				t.Fatalf("%+v; want every edit, until %v", tok, at)
			}
			hold.Release()
			lapsetest.Must(m.Expire(ctx, i.ID))
		}
	})
}

// TestEditAgainstRefresh: an edit of the scope and of the expiry meets a Refresh. The access text has
// no word that the session lacks, and neither outlives the edited expiry.
func TestEditAgainstRefresh(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		for range 30 {
			c := p.first(lapse.Grant{Subject: "ana", Scope: "a b"})
			p.clock.Add(time.Second)
			at, scope := p.clock.Now().Add(time.Minute).Truncate(time.Millisecond), "b"
			m := lapsetest.Must(lapse.New(store, lapse.Config{Clock: p.clock}))
			lapsetest.Arrivals(store, 2, storagetest.OpUpdate)
			var next lapse.TokenPair
			for n, err := range lapsetest.Together(2, func(n int) (err error) {
				if n == 0 {
					_, err = m.Edit(p.ctx, c.Access.ID, lapse.Changes{Scope: &scope, ExpiresAt: &at})
					return err
				}
				next, err = p.Refresh(p.ctx, c.Refresh.Bearer)
				return err
			}) {
				lapsetest.WantIs(t, []string{"Edit", "Refresh"}[n], err, nil)
			}
			store.Before(nil)
			tok, err := p.Authenticate(p.ctx, next.Access.Bearer)
			if err != nil || tok.Scope != scope || tok.ExpiresAt.After(at) || p.token(tok.ID).Scope != scope || !p.token(tok.ID).ExpiresAt.Equal(at) {
				t.Fatalf("%+v, %v", tok, err)
			}
		}
	})
}

// TestEditDuringAUse: a Use that read the record before the Edit does not keep the next one from
// reading it again.
func TestEditDuringAUse(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{RenewEvery: time.Hour, TTL: 10 * time.Hour}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	hold := lapsetest.Must(f.Hold(f.ctx, i.Bearer))
	defer hold.Release()
	f.clock.Add(time.Hour)
	edited := false
	f.store.Before(func(op storagetest.Op) {
		if op == opTouch && !edited {
			edited = true
			f.edit(i.ID, uses(3))
		}
	})
	lapsetest.WantIs(t, "Use, which read the record before", hold.Use(f.ctx), nil)
	f.store.Before(nil)
	lapsetest.WantIs(t, "the next Use", hold.Use(f.ctx), lapse.ErrNotRenewable)
	if !edited || hold.Token().MaxUses != 3 {
		t.Errorf("edited %v, %+v", edited, hold.Token())
	}
}
