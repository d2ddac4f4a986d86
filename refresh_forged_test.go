package lapse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// forger makes texts of a session with what it has stolen from the file.
type forger struct {
	*Pairs
	t     *testing.T
	mock  *clock.Mock
	store *storagetest.Faulty
	told  []Event
	id    ID
	all   []TokenPair // that Pairs gave, by generation
}

// newForger has a session of the given generation, within the grace of its last refresh.
func newForger(t *testing.T, generation int) *forger {
	t.Helper()
	f := &forger{t: t, mock: clock.NewMock(), store: storagetest.NewFaulty(memory.New())}
	f.mock.Set(testInstant)
	var err error
	f.Pairs, err = NewPairs(f.store, PairConfig{Access: Config{Clock: f.mock, Observe: func(_ context.Context, e Event) { f.told = append(f.told, e) }}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Issue(t.Context(), Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	f.all, f.id = []TokenPair{c}, c.Refresh.ID
	for range generation {
		f.all = append(f.all, f.refresh(f.all[len(f.all)-1]))
	}
	f.told = nil
	f.store.Reset()
	return f
}

func (f *forger) refresh(c TokenPair) TokenPair {
	f.t.Helper()
	next, err := f.Refresh(f.t.Context(), c.Refresh.Bearer)
	if err != nil {
		f.t.Fatal(err)
	}
	return next
}

func (f *forger) record() storage.Record {
	f.t.Helper()
	rec, err := f.store.Get(f.t.Context(), f.id)
	if err != nil {
		f.t.Fatal(err)
	}
	return rec
}

// put stores rec in the place of the session's record.
func (f *forger) put(rec storage.Record) {
	f.t.Helper()
	if err := f.store.Update(f.t.Context(), "ana", func(tx storage.Tx) error { return tx.Put(rec) }); err != nil {
		f.t.Fatal(err)
	}
}

// forgery says what a forged text is made of.
type forgery struct {
	id         ID // zero: the session's
	binding    binding
	kind       secretKind
	generation uint32
	key        *tagKey // nil: the session's
}

// text makes the text, with random bytes that were never given out.
func (f *forger) text(prefix string, g forgery) string {
	f.t.Helper()
	rec := f.record()
	s, ok := sessionOf(&rec)
	if !ok {
		f.t.Fatal("no session")
	}
	key := s.key()
	if g.key != nil {
		key = *g.key
	}
	if g.id == (ID{}) {
		g.id = f.id
	}
	var c credential
	copy(c[:], g.id[:])
	c.SetTagged(&key, g.binding, g.kind, g.generation, []byte("twenty random bytes."))
	return c.Text(prefix)
}

// asked is what every verb that takes a text says to one.
type asked struct{ refresh, peek, access, logOut error }

// ask presents bearer to the verbs, to each with the record as it is now.
func (f *forger) ask(bearer string) (a asked) {
	ctx, rec := f.t.Context(), f.record()
	_, a.peek = f.Pairs.Peek(ctx, bearer)
	_, a.access = f.Access().Authenticate(ctx, bearer)
	_, a.refresh = f.Refresh(ctx, bearer)
	if a.logOut = ErrExpired; f.record().EndedAt.IsZero() {
		a.logOut = loggedOut(f.ExpireBearer(ctx, bearer))
	}
	if diff := cmp.Diff(rec, f.record(), cmp.Comparer(storage.Record.Equal)); diff != "" && f.record().EndedAt.IsZero() {
		f.t.Errorf("a forged text changed the record: %s", diff)
	}
	return a
}

// TestForgedTexts: what is known of a record makes no text that opens anything. With the
// key of its tags, stolen from the file, a spent refresh text can be made, which logs the
// session out, and nothing else.
func TestForgedTexts(t *testing.T) {
	access, refresh := newBinding("lapse"), newRefreshBinding("lapse_refresh")
	unknown := asked{ErrUnknown, ErrUnknown, ErrUnknown, ErrUnknown}
	for _, row := range []struct {
		name   string
		prefix string
		forgery
		want  asked
		ended bool
		ahead bool
	}{
		{"refresh, current generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 3}, unknown, false, false},
		{"refresh, previous generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 2}, unknown, false, false},
		{"refresh, spent generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 1}, asked{ErrReused, ErrReplaced, ErrUnknown, ErrExpired}, true, false},
		{"refresh, first generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret}, asked{ErrReused, ErrReplaced, ErrUnknown, ErrExpired}, true, false},
		{"refresh, next generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 4}, unknown, false, true},
		{"refresh, last generation", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: math.MaxUint32}, unknown, false, true},
		{"access, current generation", "lapse", forgery{binding: access, kind: accessSecret, generation: 3}, unknown, false, false},
		{"access, previous generation", "lapse", forgery{binding: access, kind: accessSecret, generation: 2}, unknown, false, false},
		{"access, spent generation", "lapse", forgery{binding: access, kind: accessSecret, generation: 1}, asked{ErrUnknown, ErrUnknown, ErrReplaced, nil}, true, false},
		{"access, next generation", "lapse", forgery{binding: access, kind: accessSecret, generation: 4}, unknown, false, true},
		{"access, last generation", "lapse", forgery{binding: access, kind: accessSecret, generation: math.MaxUint32}, unknown, false, true},
		{"a tag for access on a refresh text", "lapse_refresh", forgery{binding: refresh, kind: accessSecret, generation: 1}, unknown, false, false},
		{"a tag for refreshing on an access text", "lapse", forgery{binding: access, kind: refreshSecret, generation: 1}, unknown, false, false},
		{"a tag of a plain token", "lapse", forgery{binding: access, kind: plainSecret, generation: 1}, unknown, false, false},
		{"a tag of no kind", "lapse_refresh", forgery{binding: refresh, generation: 1}, unknown, false, false},
		{"a tag of access on a refresh text", "lapse_refresh", forgery{binding: access, kind: refreshSecret, generation: 1}, unknown, false, false},
		{"a tag of another prefix", "lapse_refresh", forgery{binding: newRefreshBinding("other"), kind: refreshSecret, generation: 1}, unknown, false, false},
		{"a text of another prefix", "other", forgery{binding: newRefreshBinding("other"), kind: refreshSecret, generation: 1}, unknown, false, false},
		{"a key of zeros", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 1, key: new(tagKey)}, unknown, false, false},
		{"another key", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 1, key: &tagKey{1}}, unknown, false, false},
		{"another ID", "lapse_refresh", forgery{binding: refresh, kind: refreshSecret, generation: 1, id: ID{1}}, unknown, false, false},
	} {
		f := newForger(t, 3)
		got := f.ask(f.text(row.prefix, row.forgery))
		for verb, both := range map[string][2]error{
			"Refresh": {got.refresh, row.want.refresh}, "Peek": {got.peek, row.want.peek},
			"Authenticate": {got.access, row.want.access}, "Expire": {got.logOut, row.want.logOut},
		} {
			if !errors.Is(both[0], both[1]) {
				t.Errorf("%s: %s: %v; want %v", row.name, verb, both[0], both[1])
			}
		}
		ahead := false
		for _, e := range f.told {
			ahead = ahead || e.Kind == EventAhead && e.Token.ID == f.id
		}
		if ended := !f.record().EndedAt.IsZero(); ended != row.ended || ahead != row.ahead {
			t.Errorf("%s: ended %v, told to be ahead %v", row.name, ended, ahead)
		}
		if _, err := f.Access().Peek(t.Context(), f.all[3].Access.Bearer); (err == nil) == row.ended {
			t.Errorf("%s: the session afterwards: %v", row.name, err)
		}
	}
}

// TestTextsOfOneAreNoneOfAnother: a text that Pairs gave, with the prefix or the ID of
// another, or with both of its halves mixed, is ErrUnknown, and costs one read.
func TestTextsOfOneAreNoneOfAnother(t *testing.T) {
	f := newForger(t, 1)
	other, err := f.Issue(t.Context(), Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	parsed := func(bearer string) (c credential) {
		if _, ok := c.Parse(bearer, "lapse", begin("lapse")); !ok {
			t.Fatal("not a text")
		}
		return c
	}
	mine, mineRefresh := parsed(f.all[1].Access.Bearer), parsed(f.all[1].Refresh.Bearer)
	theirs, theirsRefresh := parsed(other.Access.Bearer), parsed(other.Refresh.Bearer)
	with := func(id ID, of credential) *credential { copy(of[:], id[:]); return &of }
	before := f.record()
	for name, bearer := range map[string]string{
		"an access secret as a refresh text":     mine.Text("lapse_refresh"),
		"a refresh secret as an access text":     mineRefresh.Text("lapse"),
		"the access secret of another":           with(f.id, theirs).Text("lapse"),
		"the refresh secret of another":          with(f.id, theirsRefresh).Text("lapse_refresh"),
		"its secret under the ID of another":     with(other.Refresh.ID, mineRefresh).Text("lapse_refresh"),
		"its access text under another's ID":     with(other.Refresh.ID, mine).Text("lapse"),
		"its refresh text under an absent ID":    with(ID{1}, mineRefresh).Text("lapse_refresh"),
		"its access text under an absent ID":     with(ID{1}, mine).Text("lapse"),
		"its access text under another prefix":   mine.Text("guest"),
		"its refresh text under another prefix":  mineRefresh.Text("guest_refresh"),
		"the first text under an absent session": with(ID{1}, parsed(f.all[0].Refresh.Bearer)).Text("lapse_refresh"),
	} {
		f.store.Reset()
		_, err := f.Refresh(t.Context(), bearer)
		_, peek := f.Access().Peek(t.Context(), bearer)
		if !errors.Is(err, ErrUnknown) || !errors.Is(peek, ErrUnknown) {
			t.Errorf("%s: Refresh: %v; Peek: %v", name, err, peek)
		}
		if calls := f.store.Calls(); fmt.Sprint(calls) != "[Get Get]" {
			t.Errorf("%s: %v; want one read each", name, calls)
		}
	}
	if !f.record().Equal(before) {
		t.Error("the record changed")
	}
}

// TestLastGenerations: a session that has had as many secrets as one can have is refreshed
// no more, and goes on by its texts until it ends.
func TestLastGenerations(t *testing.T) {
	for _, row := range []struct {
		generation uint32
		refreshes  int // how often it can be
	}{
		{math.MaxUint32 - 2, 2},
		{math.MaxUint32 - 1, 1},
		{math.MaxUint32, 0},
	} {
		f := newForger(t, 0)
		rec := f.record()
		rec.Generation = row.generation
		f.put(rec)
		c, last := f.all[0], f.all[0]
		for range row.refreshes {
			last, c = c, f.refresh(c)
		}
		before := f.record()
		if before.Generation != math.MaxUint32 || c.Refresh.Generation != math.MaxUint32 && row.refreshes > 0 {
			t.Errorf("generation %d", before.Generation)
		}
		if _, err := f.Refresh(t.Context(), c.Refresh.Bearer); !errors.Is(err, ErrNotRenewable) || errors.Is(err, ErrUnauthenticated) {
			t.Errorf("from %d: one more: %v; want ErrNotRenewable", row.generation, err)
		}
		if !f.record().Equal(before) {
			t.Errorf("from %d: the record changed", row.generation)
		}
		if _, err := f.Access().Authenticate(t.Context(), c.Access.Bearer); err != nil {
			t.Errorf("from %d: the access text: %v", row.generation, err)
		}
		if row.refreshes > 0 {
			if again := f.refresh(last); !again.Repeated || again.Refresh.Bearer != c.Refresh.Bearer {
				t.Errorf("from %d: a replay is answered with %+v", row.generation, again)
			}
			f.mock.Add(10 * time.Second)
			if _, err := f.Refresh(t.Context(), last.Refresh.Bearer); !errors.Is(err, ErrReused) {
				t.Errorf("from %d: after the grace: %v; want ErrReused", row.generation, err)
			}
		} else if err := loggedOut(f.ExpireBearer(t.Context(), c.Refresh.Bearer)); err != nil {
			t.Errorf("from %d: log-out: %v", row.generation, err)
		}
	}
}
