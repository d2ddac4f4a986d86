package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// watched is a Watch whose changes a test takes one by one.
type watched struct {
	t    *testing.T
	next func() (lapse.Change, error, bool)
}

// watch begins a Watch and takes the Gap that it begins with.
func watch(t *testing.T, m *lapse.Manager, q lapse.Query) *watched {
	t.Helper()
	next, stop := iter.Pull2(m.Watch(t.Context(), q))
	t.Cleanup(stop)
	w := &watched{t, next}
	if c := w.take(); c != (lapse.Change{Gap: true}) {
		t.Fatalf("the first change is %+v", c)
	}
	return w
}

func (w *watched) take() lapse.Change {
	w.t.Helper()
	c, err, ok := w.next()
	if err != nil || !ok {
		w.t.Fatalf("no change: %v", err)
	}
	return c
}

// TestWatch: each verb that changes a token makes a Change, with the token as it is then.
func TestWatch(t *testing.T) {
	m, clock := lapsetest.GateManager(t, memory.New(), lapse.Policy{})
	p := lapsetest.Must(lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: clock}}))
	w, ofPairs := watch(t, m, lapse.Query{}), watch(t, p.Access(), lapse.Query{})
	i := issueFor(t, m, lapse.Grant{Subject: "ana", Name: "phone"})
	if c := w.take(); c != (lapse.Change{Token: i.Token}) {
		t.Errorf("Issue: %+v", c)
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"Renew", func() error { _, err := m.Renew(t.Context(), i.Bearer); return err }},
		{"Confirm", func() error { _, err := m.Confirm(t.Context(), i.Bearer); return err }},
		{"RotateID", func() error { _, err := m.RotateID(t.Context(), i.ID, time.Minute); return err }},
		{"Expire", func() error { _, err := m.Expire(t.Context(), i.ID); return err }},
	}
	before := i.Token
	for _, step := range steps {
		clock.Add(time.Second)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if step.name == "Confirm" { // a rotation with an overlap and Confirm put once, as every other
			before = lapse.Token{}
		}
		if c := w.take(); c.Token != lapsetest.Must(m.Token(t.Context(), i.ID)) || c.Token == before || c.Gap || c.Deleted {
			t.Errorf("%s: %+v", step.name, c)
		}
	}
	lapsetest.Must(m.ForgetSubject(t.Context(), "ana"))
	if c := w.take(); c != (lapse.Change{Token: lapse.Token{ID: i.ID, Subject: "ana"}, Deleted: true}) {
		t.Errorf("ForgetSubject: %+v", c)
	}
	pair := lapsetest.Must(p.Issue(t.Context(), lapse.Grant{Subject: "bob"}))
	if c := ofPairs.take(); c.Token != pair.Refresh.Token {
		t.Errorf("Pairs.Issue: %+v, want %+v", c, pair.Refresh.Token)
	}
	pair = lapsetest.Must(p.Refresh(t.Context(), pair.Refresh.Bearer))
	if c := ofPairs.take(); c.Token != pair.Refresh.Token || c.Token.Generation != 1 {
		t.Errorf("Refresh: %+v", c)
	}
}

// TestWatchSelects: a Query tells of its subject, prefix and name alone, and of every deletion of the
// subject.
func TestWatchSelects(t *testing.T) {
	store := memory.New()
	m, clock := lapsetest.GateManager(t, store, lapse.Policy{})
	keys := lapsetest.Must(lapse.New(store, lapse.Config{Clock: clock, Prefix: "key"}))
	queries := []lapse.Query{{}, {Subject: "ana"}, {Prefix: "key"}, {Name: "phone"}, {Subject: "bob", Prefix: "lapse", Name: "phone"}}
	var watches []*watched
	for _, q := range queries {
		watches = append(watches, watch(t, m, q))
	}
	want := make([][]lapse.ID, len(queries))
	for n := range 16 {
		g := lapse.Grant{Subject: []string{"ana", "bob"}[n%2], Name: []string{"", "phone"}[n/2%2]}
		i := issueFor(t, []*lapse.Manager{m, keys}[n/4%2], g)
		for k, q := range queries {
			if (q.Subject == "" || q.Subject == i.Subject) && (q.Prefix == "" || q.Prefix == i.Prefix) && (q.Name == "" || q.Name == i.Name) {
				want[k] = append(want[k], i.ID)
			}
		}
	}
	for k, w := range watches {
		var got []lapse.ID
		for range want[k] {
			got = append(got, w.take().Token.ID)
		}
		lapsetest.WantDiff(t, fmt.Sprintf("%+v", queries[k]), want[k], got)
	}
	lapsetest.Must(m.ForgetSubject(t.Context(), "ana"))
	last := issueFor(t, keys, lapse.Grant{Subject: "bob", Name: "phone"}).ID
	other := issueFor(t, m, lapse.Grant{Subject: "ana", Name: "phone"}).ID
	bobs := issueFor(t, m, lapse.Grant{Subject: "bob", Name: "phone"}).ID
	for k, after := range [][]lapse.ID{{last, other, bobs}, {other}, {last}, {last, other, bobs}, {bobs}} {
		for n := range 8 {
			if c := watches[k].take(); queries[k].Subject != "bob" && (!c.Deleted || c.Token != (lapse.Token{ID: c.Token.ID, Subject: "ana"})) {
				t.Errorf("%+v: deletion %d: %+v", queries[k], n, c)
			} else if queries[k].Subject == "bob" {
				lapsetest.WantDiff(t, "bob's", bobs, c.Token.ID)
				after = nil
				break
			}
		}
		for _, id := range after {
			lapsetest.WantDiff(t, fmt.Sprintf("%+v: then", queries[k]), id, watches[k].take().Token.ID)
		}
	}
}

// TestWatchEnds: the last pair has the error of the context, or ErrClosed. A store without changes to
// tell is ErrUnsupported.
func TestWatchEnds(t *testing.T) {
	mute, _ := lapsetest.GateManager(t, struct{ storage.Store }{memory.New()}, lapse.Policy{})
	told := 0
	for _, err := range mute.Watch(t.Context(), lapse.Query{}) {
		told++
		lapsetest.WantIs(t, "no Watcher", err, errors.ErrUnsupported)
		if lapse.Code(err) != "unsupported" || !strings.Contains(err.Error(), "List") {
			t.Errorf("no Watcher: %v, code %s", err, lapse.Code(err))
		}
	}
	if told != 1 {
		t.Errorf("no Watcher: %d pairs; want 1", told)
	}
	for _, row := range []struct {
		want error
		end  func(store *memory.Store, cancel func())
	}{
		{context.Canceled, func(_ *memory.Store, cancel func()) { cancel() }},
		{lapse.ErrClosed, func(store *memory.Store, _ func()) { store.Close() }},
	} {
		store := memory.New()
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		pairs := 0
		for c, err := range m.Watch(ctx, lapse.Query{}) {
			if pairs++; c.Gap {
				row.end(store, cancel)
			}
			last = err
		}
		lapsetest.WantIs(t, "the last pair", last, row.want)
		if cancel(); pairs != 2 || errors.Is(last, lapse.ErrUnauthenticated) {
			t.Errorf("%d pairs, the last with %v", pairs, last)
		}
	}
}

// TestWatchSlowBody: no writer waits for a body that does not return. It gets a Gap for the changes
// that it missed.
func TestWatchSlowBody(t *testing.T) {
	store := memory.New()
	m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
	i := issueFor(t, m, lapse.Grant{Subject: "ana"})
	w := watch(t, m, lapse.Query{}) // its body waits from now on
	for range 1<<16 + 1 {
		err := store.Update(t.Context(), "ana", func(tx storage.Tx) error {
			rec, err := tx.Get(i.ID)
			return errors.Join(err, tx.Put(rec))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if c := w.take(); !c.Gap {
		t.Errorf("after more changes than are kept: %+v", c)
	}
	j := issueFor(t, m, lapse.Grant{Subject: "ana"})
	if c := w.take(); c.Token.ID != j.ID {
		t.Errorf("then: %+v", c)
	}
}

// readStore is a store in memory whose Get and Gets fail for the record of an ID, by a fault of the
// store or of the context. What serves connections in the background has another context.
type readStore struct {
	*memory.Store
	readFault
}

type readFault struct {
	id  lapse.ID
	err error
}

func (s *readStore) Get(ctx context.Context, id lapse.ID) (storage.Record, error) {
	fault, ok := ctx.Value(readFault{}).(readFault)
	if !ok {
		fault = s.readFault
	}
	if id == fault.id {
		return storage.Record{}, fault.err
	}
	return s.Store.Get(ctx, id)
}

func (s *readStore) Gets(ctx context.Context, ids []lapse.ID) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for _, id := range ids {
			rec, err := s.Get(ctx, id)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if rec.ID = id; !yield(rec, err) || err != nil && !errors.Is(err, storage.ErrCorrupt) {
				return
			}
		}
	}
}

func (s *readStore) GetsFor(store storage.Store) bool { return store == storage.Store(s) }

// singly is a readStore that is no BatchGetter.
type singly struct{ *readStore }

func (singly) GetsFor(storage.Store) bool { return false }

// TestWatchFaults: a damaged record is one pair, and the loop goes on. Any other error ends it.
func TestWatchFaults(t *testing.T) {
	store := &readStore{Store: memory.New()}
	m, _ := lapsetest.GateManager(t, store, lapse.Policy{})
	for _, fault := range []struct{ err, want error }{
		{storage.ErrCorrupt, lapse.ErrCorrupt}, {storage.ErrUnavailable, lapse.ErrUnavailable}, {errDisk, lapse.ErrUnavailable}, {storage.ErrClosed, lapse.ErrClosed},
	} {
		next, stop := iter.Pull2(m.Watch(t.Context(), lapse.Query{Name: "phone"}))
		next() // the Gap
		i := issueFor(t, m, lapse.Grant{Subject: "ana", Name: "phone"})
		store.id, store.err = i.ID, fault.err
		c, err, _ := next()
		lapsetest.WantIs(t, "the Change", err, fault.want)
		store.id = lapse.ID{}
		if corrupt := fault.err == storage.ErrCorrupt; (c.Token == lapse.Token{ID: i.ID}) != corrupt || errors.Is(err, lapse.ErrUnauthenticated) {
			t.Errorf("%+v, %v", c, err)
		} else if corrupt {
			i = issueFor(t, m, lapse.Grant{Subject: "ana", Name: "phone"})
			if c, err, _ := next(); c.Token.ID != i.ID || err != nil {
				t.Errorf("after a damaged one: %+v, %v", c, err)
			}
		} else if _, err, more := next(); more {
			t.Errorf("after the last pair: %v", err)
		}
		stop()
	}
}

// TestHolds: one pair for each token by which the Manager holds connections, as it is now.
func TestHolds(t *testing.T) {
	for name, store := range map[string]storage.Store{"by Gets": memory.New(), "by Get": singly{&readStore{Store: memory.New()}}} {
		t.Run(name, func(t *testing.T) {
			m, clock := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
			other := lapsetest.Must(lapse.New(store, lapse.Config{Clock: clock}))
			want := map[lapse.ID]int{}
			var holds []*lapse.Hold
			hold := func(m *lapse.Manager, bearer string) *lapse.Hold {
				h := lapsetest.Must(m.Hold(t.Context(), bearer))
				t.Cleanup(h.Release)
				return h
			}
			parent := issueFor(t, m, lapse.Grant{Subject: "ana", TTL: 10 * time.Minute})
			child := lapsetest.Must(m.Delegate(t.Context(), parent.Bearer, lapse.Grant{}))
			for n := range 600 { // more than one page
				i := issueFor(t, m, lapse.Grant{Subject: "bob"})
				for range n%3 + 1 {
					holds = append(holds, hold(m, i.Bearer))
					want[i.ID]++
				}
			}
			hold(m, child.Bearer)
			want[child.ID]++
			hold(other, parent.Bearer)
			issueFor(t, m, lapse.Grant{Subject: "carl"})
			for _, h := range holds[:100] {
				h.Release()
				if want[h.Token().ID]--; want[h.Token().ID] == 0 {
					delete(want, h.Token().ID)
				}
			}
			clock.Add(time.Second)
			got := map[lapse.ID]int{}
			var last lapse.ID
			for held, err := range m.Holds(t.Context()) {
				if err != nil || held.Token != lapsetest.Must(m.Token(t.Context(), held.Token.ID)) || held.Token.ID.Compare(last) <= 0 {
					t.Fatalf("%+v, %v behind %v", held, err, last)
				}
				got[held.Token.ID], last = held.Connections, held.Token.ID
			}
			lapsetest.WantDiff(t, "connections", want, got)
			pairs := 0
			for held, err := range other.Holds(t.Context()) {
				if pairs++; err != nil || held.Token.ID != parent.ID || held.Connections != 1 {
					t.Errorf("of the other Manager: %+v, %v", held, err)
				}
			}
			if pairs != 1 {
				t.Errorf("of the other Manager: %d pairs; want 1", pairs)
			}
		})
	}
}

// TestHoldsFaults: a damaged record is one pair, a record that is gone is none, and any other error
// ends the loop.
func TestHoldsFaults(t *testing.T) {
	base := &readStore{Store: memory.New()}
	for name, store := range map[string]storage.Store{"by Gets": base, "by Get": singly{base}} {
		t.Run(name, func(t *testing.T) {
			m, _ := lapsetest.GateManager(t, struct{ storage.Store }{store}, lapse.Policy{}) // it cuts none at once
			if name == "by Gets" {
				m, _ = lapsetest.GateManager(t, store, lapse.Policy{})
			}
			var ids []lapse.ID
			for range 3 {
				i := issueFor(t, m, lapse.Grant{Subject: "ana"})
				h := lapsetest.Must(m.Hold(t.Context(), i.Bearer))
				defer h.Release()
				ids = append(ids, i.ID)
			}
			slices.SortFunc(ids, lapse.ID.Compare)
			for _, fault := range []struct {
				err, want error
				good      int
			}{
				{storage.ErrCorrupt, lapse.ErrCorrupt, 2}, {storage.ErrNotFound, nil, 2}, {storage.ErrUnavailable, lapse.ErrUnavailable, 1}, {errDisk, lapse.ErrUnavailable, 1},
			} {
				ctx := context.WithValue(t.Context(), readFault{}, readFault{ids[1], fault.err})
				good := 0
				var failed error
				for held, err := range m.Holds(ctx) {
					if err == nil {
						good++
						continue
					}
					if failed = err; errors.Is(err, lapse.ErrCorrupt) && held != (lapse.Held{Token: lapse.Token{ID: ids[1]}, Connections: 1}) {
						t.Errorf("the damaged one is %+v", held)
					}
				}
				if !errors.Is(failed, fault.want) || good != fault.good || errors.Is(failed, lapse.ErrUnauthenticated) {
					t.Errorf("%v: %d good, %v", fault.err, good, failed)
				}
			}
		})
	}
}

// TestWatchTellsNoAlias: what ForgetSubject deletes besides tokens is told to no Watch.
func TestWatchTellsNoAlias(t *testing.T) {
	m := lapsetest.Must(lapse.New(memory.New(), lapse.Config{Foreign: readOld}))
	tok := lapsetest.Must(m.Import(t.Context(), lapse.Grant{Subject: "ana"}, oldToken(1)))
	i := lapsetest.Must(m.Issue(t.Context(), lapse.Grant{Subject: "ana", RequestID: "r"}))
	w := watch(t, m, lapse.Query{})
	lapsetest.Must(m.ForgetSubject(t.Context(), "ana"))
	last := lapsetest.Must(m.Issue(t.Context(), lapse.Grant{Subject: "ben"}))
	for c := w.take(); c.Token.ID != last.ID; c = w.take() {
		if c.Token.ID != tok.ID && c.Token.ID != i.ID && !c.Gap {
			t.Errorf("told of %+v, which is no token", c)
		}
	}
}
