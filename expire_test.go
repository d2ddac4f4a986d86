package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// checksumOf returns the six digits that end a token whose text so far is text.
func checksumOf(text string) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b [6]byte
	for i, v := 5, crc32.ChecksumIEEE([]byte(text)); i >= 0; i, v = i-1, v/62 {
		b[i] = alphabet[v%62]
	}
	return string(b[:])
}

func TestExpire(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i, other := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(time.Minute)
	f.events = nil
	if ended, err := f.Expire(f.ctx, i.ID); !ended || err != nil {
		t.Fatalf("Expire: %v, %v", ended, err)
	}
	want := i.Token
	want.EndedAt, want.EndReason = lapsetest.StartMilli.Add(time.Minute), lapse.EndRevoked
	lapsetest.WantDiff(t, "the record stays and says why", want, f.token(i.ID))
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventEnded, At: want.EndedAt, Token: want}}, f.events)
	lapsetest.WantDiff(t, "the other token", other.Token, f.token(other.ID))

	f.clock.Add(time.Minute)
	for name, id := range map[string]lapse.ID{"again": i.ID, "unknown": {1, 2, 3}} {
		ended, err := f.Expire(f.ctx, id)
		if ended || err != nil {
			t.Errorf("%s: %v, %v; want false, nil", name, ended, err)
		}
	}
	lapsetest.WantDiff(t, "an end is set once", want, f.token(i.ID))
	if len(f.events) != 1 {
		t.Errorf("events: %+v; want no more than the one end", f.events)
	}

	_, err := f.Authenticate(f.ctx, i.Bearer)
	var r *lapse.Rejection
	if !errors.As(err, &r) {
		t.Fatalf("Authenticate: %v; want a Rejection", err)
	}
	lapsetest.WantDiff(t, "the rejection", lapse.Rejection{Err: lapse.ErrRevoked, ID: i.ID, Subject: "ana", At: want.EndedAt, Reason: lapse.EndRevoked}, *r, lapsetest.ErrorsIs)
	_, err = f.Renew(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Renew of an ended token", err, lapse.ErrRevoked)
}

func TestExpireBearer(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	ran := f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	f.clock.Add(time.Minute)
	want := i.Token
	want.EndedAt, want.EndReason = lapsetest.StartMilli.Add(time.Minute), lapse.EndRevoked
	for _, when := range []string{"first", "again"} {
		got, err := f.ExpireBearer(f.ctx, i.Bearer)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		lapsetest.WantDiff(t, when, want, got)
		f.clock.Add(time.Minute)
	}
	if got, err := f.ExpireBearer(f.ctx, ran.Bearer); err != nil || got != ran.Token {
		t.Errorf("of one that ran out: %+v, %v; want it as it was", got, err)
	}
	_, err := f.ExpireBearer(f.ctx, strangerTo(t, f))
	lapsetest.WantIs(t, "unknown", err, lapse.ErrUnknown)
	calls := f.calls(func() { _, err = f.ExpireBearer(f.ctx, "junk") })
	lapsetest.WantIs(t, "malformed", err, lapse.ErrMalformed)
	lapsetest.WantDiff(t, "calls for a malformed one", noCalls, calls)
}

func TestExpireSubject(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	refresh := f.manager(lapse.Config{Prefix: "refresh"})
	here := f.issue(lapse.Grant{Subject: "ana", Name: "here"})
	phone := f.issue(lapse.Grant{Subject: "ana", Name: "phone"})
	ended := f.issue(lapse.Grant{Subject: "ana"})
	f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	longer, err := refresh.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	var others []lapse.Issued
	for _, s := range []string{"an", "anaa", "ana/", "ana:x", "Ana", "bob"} {
		others = append(others, f.issue(lapse.Grant{Subject: s}))
	}
	if _, err := f.Expire(f.ctx, ended.ID); err != nil {
		t.Fatal(err)
	}
	f.clock.Add(time.Minute)
	f.events = nil
	var n int
	calls := f.calls(func() { n, err = f.ExpireSubject(f.ctx, "ana", here.ID) })
	if n != 2 || err != nil {
		t.Fatalf("ended %d, %v; want the phone and the refresh token", n, err)
	}
	lapsetest.WantDiff(t, "one transaction", []storagetest.Op{opUpdate}, calls)
	if len(f.events) != 2 {
		t.Errorf("%d events; want one for each end", len(f.events))
	}
	for _, i := range []lapse.Issued{phone, longer} {
		if tok := f.token(i.ID); tok.EndReason != lapse.EndSubject || !tok.EndedAt.Equal(lapsetest.StartMilli.Add(time.Minute)) {
			t.Errorf("%s: %+v; want it ended with its subject", i.Name, tok)
		}
	}
	if tok := f.token(ended.ID); tok.EndReason != lapse.EndRevoked {
		t.Errorf("what was ended before: %v; want its first reason", tok.EndReason)
	}
	for _, i := range append(others, here) {
		if tok := f.token(i.ID); !tok.EndedAt.IsZero() {
			t.Errorf("%q %q was ended", i.Subject, i.Name)
		}
	}
	if n, err := f.ExpireSubject(f.ctx, "ana", here.ID); n != 0 || err != nil {
		t.Errorf("again: %d, %v; want 0", n, err)
	}
	if n, err := f.ExpireSubject(f.ctx, "nobody"); n != 0 || err != nil {
		t.Errorf("unknown subject: %d, %v; want 0", n, err)
	}
	_, err = f.ExpireSubject(f.ctx, "")
	lapsetest.WantIs(t, "no subject", err, lapse.ErrInvalidGrant)
}

// TestEndedStaysEnded: no use and no renewal that began before an end undoes it.
func TestEndedStaysEnded(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(time.Minute)
	f.store.Before(func(op storagetest.Op) {
		if op != opTouch && op != opUpdate {
			return
		}
		f.store.Before(nil)
		if ended, err := f.Expire(f.ctx, i.ID); !ended || err != nil {
			t.Errorf("Expire in between: %v, %v", ended, err)
		}
	})
	if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
		t.Errorf("a use that was judged before the end: %v", err)
	}
	tok := f.token(i.ID)
	if tok.EndedAt.IsZero() || !tok.ExpiresAt.Equal(i.ExpiresAt) {
		t.Errorf("after a renewal by use that came late: %+v", tok)
	}
	_, err := f.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Authenticate", err, lapse.ErrRevoked)
}

// TestRenewalMeetsDeathInItsTurn: a Renew that was judged in time, but whose turn
// came after the token had run out or was ended, is refused.
func TestRenewalMeetsDeathInItsTurn(t *testing.T) {
	for name, happens := range map[string]func(f *fixture, id lapse.ID){
		"ran out": func(f *fixture, _ lapse.ID) { f.clock.Add(30 * time.Minute) },
		"ended":   func(f *fixture, id lapse.ID) { f.Expire(f.ctx, id) },
		"swept": func(f *fixture, _ lapse.ID) {
			f.clock.Add(30 * 24 * time.Hour)
			if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
				f.t.Errorf("Sweep: %d, %v", n, err)
			}
		},
	} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana"})
		f.store.Before(func(op storagetest.Op) {
			if op == opUpdate {
				f.store.Before(nil)
				happens(f, i.ID)
			}
		})
		f.events = nil
		_, err := f.Renew(f.ctx, i.Bearer)
		lapsetest.WantIs(t, name, err, lapse.ErrUnauthenticated)
		if last := f.events[len(f.events)-1]; last.Kind != lapse.EventRejected {
			t.Errorf("%s: last event %v; want the rejection", name, last.Kind)
		}
		_, err = f.Authenticate(f.ctx, i.Bearer)
		lapsetest.WantIs(t, name+": Authenticate", err, lapse.ErrUnauthenticated)
	}
}

func TestLimits(t *testing.T) {
	for _, row := range []struct {
		atLimit lapse.AtLimit
		goes    int // index of what is ended; -1: the new one is refused
	}{{lapse.LimitRefuse, -1}, {lapse.LimitEndOldest, 0}, {lapse.LimitEndIdlest, 1}} {
		t.Run(fmt.Sprint(row.atLimit), func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: row.atLimit}})
			var have []lapse.Issued
			for range 3 {
				have = append(have, f.issue(lapse.Grant{Subject: "ana"}))
				f.clock.Add(time.Minute)
			}
			f.issue(lapse.Grant{Subject: "bob"}) // does not count
			for _, used := range []int{0, 2} {
				if _, err := f.Authenticate(f.ctx, have[used].Bearer); err != nil {
					t.Fatal(err)
				}
			}
			got, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
			if row.goes < 0 {
				lapsetest.WantIs(t, "Issue", err, lapse.ErrLimit)
				lapsetest.WantDiff(t, "issued", lapse.Issued{}, got)
			} else {
				lapsetest.WantDiff(t, "evicted", []lapse.ID{have[row.goes].ID}, got.Evicted)
			}
			for n, i := range have {
				if ended := f.token(i.ID).EndReason == lapse.EndEvicted; ended != (n == row.goes) {
					t.Errorf("token %d evicted: %v", n, ended)
				}
			}
		})
	}
}

// TestLimitCountsTheLiving: what ran out, was ended, or has another prefix makes
// no difference.
func TestLimitCountsTheLiving(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 2}})
	other := f.manager(lapse.Config{Prefix: "other", Policy: lapse.Policy{MaxTokens: 1}})
	f.issue(lapse.Grant{Subject: "ana", TTL: time.Second})
	i := f.issue(lapse.Grant{Subject: "ana"})
	f.Expire(f.ctx, i.ID)
	f.clock.Add(time.Second)
	if _, err := other.Issue(f.ctx, lapse.Grant{Subject: "ana"}); err != nil {
		t.Fatal(err)
	}
	f.issue(lapse.Grant{Subject: "ana"})
	f.issue(lapse.Grant{Subject: "ana"})
	_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "the third live one", err, lapse.ErrLimit)
}

// TestLoweredCapAppliesAtOnce: a later policy cuts what lives, ends nothing, and
// never lengthens.
func TestLoweredCapAppliesAtOnce(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: 12 * time.Hour, MaxTTL: 12 * time.Hour}})
	i := f.issue(lapse.Grant{Subject: "ana"})
	lower := f.manager(lapse.Config{Policy: lapse.Policy{MaxTTL: 6 * time.Hour}})
	higher := f.manager(lapse.Config{Policy: lapse.Policy{TTL: 48 * time.Hour, MaxTTL: 48 * time.Hour}})

	f.clock.Add(6*time.Hour - time.Millisecond)
	tok, err := lower.Authenticate(f.ctx, i.Bearer)
	if want := lapsetest.StartMilli.Add(6 * time.Hour); err != nil || !tok.ExpiresAt.Equal(want) || !tok.MaxExpiresAt.Equal(want) {
		t.Errorf("1 ms before the lower cap: %+v, %v", tok, err)
	}
	tok, err = higher.Authenticate(f.ctx, i.Bearer)
	if want := lapsetest.StartMilli.Add(12 * time.Hour); err != nil || !tok.ExpiresAt.Equal(want) {
		t.Errorf("under a higher cap: %+v, %v; want the record's own", tok, err)
	}
	f.clock.Add(time.Millisecond)
	_, err = lower.Authenticate(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "at the lower cap", err, lapse.ErrExpired)
	_, err = lower.Renew(f.ctx, i.Bearer)
	lapsetest.WantIs(t, "Renew at the lower cap", err, lapse.ErrExpired)
	if tok := f.token(i.ID); !tok.EndedAt.IsZero() {
		t.Errorf("the lower cap ended it: %+v", tok)
	}
}

// TestEndsUnderALoweredCap: what a lowered cap keeps out can still be ended, and
// stays ended when the cap is raised again.
func TestEndsUnderALoweredCap(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: 100 * time.Hour, MaxTTL: 100 * time.Hour}})
	lower := f.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Minute, MaxTTL: time.Hour}})
	for name, end := range map[string]func(lapse.Issued) error{
		"Expire": func(i lapse.Issued) error {
			ended, err := lower.Expire(f.ctx, i.ID)
			if !ended {
				t.Error("Expire says that there was nothing to end")
			}
			return err
		},
		"ExpireBearer": func(i lapse.Issued) error { _, err := lower.ExpireBearer(f.ctx, i.Bearer); return err },
		"ExpireSubject": func(i lapse.Issued) error {
			n, err := lower.ExpireSubject(f.ctx, i.Subject)
			if n != 1 {
				t.Errorf("ExpireSubject ended %d; want 1", n)
			}
			return err
		},
	} {
		i := f.issue(lapse.Grant{Subject: name})
		f.clock.Add(2 * time.Hour)
		_, err := lower.Peek(f.ctx, i.Bearer)
		lapsetest.WantIs(t, name+": before, under the lower cap", err, lapse.ErrExpired)
		if err := end(i); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err = f.Authenticate(f.ctx, i.Bearer)
		lapsetest.WantIs(t, name+": after, under the higher cap", err, lapse.ErrRevoked)
	}
}

// TestForgetSubject: every record of the subject is gone, dead or alive and of every prefix and kind,
// and nothing of another subject. Observe is told of those that were alive, and once of all.
func TestForgetSubject(t *testing.T) {
	onPagers(t, func(t *testing.T, store storage.Store) {
		var events []lapse.Event
		clock := lapsetest.NewClock()
		cfg := lapse.Config{Clock: clock, Observe: func(_ context.Context, e lapse.Event) { events = append(events, e) }}
		m := lapsetest.Must(lapse.New(store, cfg))
		keys := lapsetest.Must(lapse.New(store, lapse.Config{Clock: clock, Prefix: "key"}))
		p := lapsetest.Must(lapse.NewPairs(store, lapse.PairConfig{Access: lapse.Config{Clock: clock}}))
		ranOut := issueFor(t, m, lapse.Grant{Subject: "ana", TTL: time.Minute})
		clock.Add(time.Minute)
		ended, parent := issueFor(t, m, lapse.Grant{Subject: "ana"}), issueFor(t, keys, lapse.Grant{Subject: "ana"})
		lapsetest.Must(m.Expire(t.Context(), ended.ID))
		child := lapsetest.Must(keys.Delegate(t.Context(), parent.Bearer, lapse.Grant{}))
		session := lapsetest.Must(p.Issue(t.Context(), lapse.Grant{Subject: "ana"}))
		bob := issueFor(t, m, lapse.Grant{Subject: "bob"})
		alive := tokenIDs([]lapse.Token{parent.Token, child.Token, session.Refresh.Token})
		events = nil
		ctx := lapse.WithActor(t.Context(), lapse.Actor{Name: "admin", Note: "asked by letter"})
		if n, err := m.ForgetSubject(ctx, "ana"); n != 5 || err != nil {
			t.Errorf("ForgetSubject: %d, %v; want 5", n, err)
		}
		var told []lapse.Token
		for _, e := range events[:len(events)-1] {
			told = append(told, e.Token)
			if e.Kind != lapse.EventEnded || e.Token.EndReason != lapse.EndSubject || e.Token.EndedBy != "admin" || !e.Token.EndedAt.Equal(m.Now()) {
				t.Errorf("told %+v", e)
			}
		}
		lapsetest.WantDiff(t, "those that were alive", alive, tokenIDs(told))
		last := events[len(events)-1]
		if last.Kind != lapse.EventForgotten || last.N != 5 || last.Token != (lapse.Token{Subject: "ana"}) || last.Verb != lapse.VerbForgetSubject || last.Actor.Name != "admin" {
			t.Errorf("told at last %+v", last)
		}
		if left := stored(t, store); len(left) != 1 || left[0].ID != bob.ID {
			t.Errorf("left: %v", left)
		}
		for _, i := range []lapse.Issued{ranOut, ended, bob} {
			if _, err := m.Peek(t.Context(), i.Bearer); errors.Is(err, lapse.ErrUnknown) != (i.Subject == "ana") {
				t.Errorf("%s: %v", i.Subject, err)
			}
		}
		if _, err := p.Refresh(t.Context(), session.Refresh.Bearer); !errors.Is(err, lapse.ErrUnknown) {
			t.Errorf("Refresh: %v", err)
		}
		events = nil
		if n, err := m.ForgetSubject(t.Context(), "ana"); n != 0 || err != nil || len(events) != 0 {
			t.Errorf("again: %d, %v, told %v", n, err, events)
		}
		later := issueFor(t, m, lapse.Grant{Subject: "ana"})
		if _, err := m.Authenticate(t.Context(), later.Bearer); err != nil {
			t.Errorf("issued later: %v", err)
		}
	})
}

// TestForgetSubjectCuts: a connection by a token that is forgotten is cut, and the cause says that its
// record was deleted.
func TestForgetSubjectCuts(t *testing.T) {
	for name, store := range map[string]storage.Store{"watched": memory.New(), "read at once": struct{ storage.Store }{memory.New()}} {
		synctest.Test(t, func(t *testing.T) {
			m, err := lapse.New(store, lapse.Config{})
			if err != nil {
				t.Fatal(err)
			}
			i, bob := issueFor(t, m, lapse.Grant{Subject: "ana"}), issueFor(t, m, lapse.Grant{Subject: "bob"})
			cut, held := lapsetest.Must(m.Hold(t.Context(), i.Bearer)), lapsetest.Must(m.Hold(t.Context(), bob.Bearer))
			lapsetest.Must(m.ForgetSubject(t.Context(), "ana"))
			<-cut.Context().Done()
			cause := context.Cause(cut.Context())
			var why *lapse.Rejection
			if !errors.As(cause, &why) || why.ID != i.ID || !errors.Is(cause, lapse.ErrUnknown) || lapse.Code(cause) != "unknown" || !strings.Contains(cause.Error(), "its record was deleted") {
				t.Errorf("%s: cut by %v", name, cause)
			}
			if err := held.Use(t.Context()); err != nil {
				t.Errorf("%s: bob's: %v", name, err)
			}
			held.Release()
		})
	}
}

// damagedSubject is a store in memory that can read the record of an ID in no transaction. With
// deletes it can delete it.
type damagedSubject struct {
	*memory.Store
	id      lapse.ID
	deletes bool
}

func (s *damagedSubject) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(damagedRecords{tx, s}) })
}

type damagedRecords struct {
	storage.Tx
	s *damagedSubject
}

func (tx damagedRecords) Records() iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for rec, err := range tx.Tx.Records() {
			if rec.ID == tx.s.id {
				rec, err = storage.Record{Token: storage.Token{ID: rec.ID}}, storage.ErrCorrupt
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

func (tx damagedRecords) Delete(id lapse.ID) error {
	if id == tx.s.id && !tx.s.deletes {
		return storage.ErrCorrupt
	}
	return tx.Tx.Delete(id)
}

// TestForgetSubjectDamaged: a damaged record is deleted where the store can do that. If not, the others
// are deleted, and the error says that it is left.
func TestForgetSubjectDamaged(t *testing.T) {
	for _, deletes := range []bool{true, false} {
		store := &damagedSubject{Store: memory.New(), deletes: deletes}
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
		for range 3 {
			store.id = issueFor(t, m, lapse.Grant{Subject: "ana"}).ID
		}
		n, err := m.ForgetSubject(t.Context(), "ana")
		left := stored(t, store)
		if deletes && (n != 3 || err != nil || len(left) != 0) {
			t.Errorf("deleted: %d, %v; left %v", n, err, left)
		}
		if !deletes && (n != 2 || !errors.Is(err, lapse.ErrCorrupt) || len(left) != 1 || left[0].ID != store.id) {
			t.Errorf("left alone: %d, %v; left %v", n, err, left)
		}
	}
}

// TestForgetSubjectOfMany: a subject may have as many records as a store holds.
func TestForgetSubjectOfMany(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
		many := sample.Of(20_000, 5_000)
		i := issueFor(t, m, lapse.Grant{Subject: "ana"})
		rec := lapsetest.Must(store.Get(t.Context(), i.ID))
		err := store.Update(t.Context(), "ana", func(tx storage.Tx) error {
			for n := range many - 1 {
				rec.ID[1], rec.ID[2], rec.ID[3] = byte(n), byte(n>>8), byte(n>>16)|0x80
				if err := tx.Put(rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := m.ForgetSubject(t.Context(), "ana"); n != many || err != nil || len(stored(t, store)) != 0 {
			t.Errorf("ForgetSubject: %d, %v", n, err)
		}
	})
}
