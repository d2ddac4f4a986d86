package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// collect returns the printed pairs of a loop, each with its error.
func collect[T any](seq iter.Seq2[T, error]) (all []T, errs []error) {
	for v, err := range seq {
		all = append(all, v)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return all, errs
}

func wantSame(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(lapse.TokenType{})); diff != "" {
		t.Errorf("%s: not as the Manager says (-Manager +Client):\n%s", what, diff)
	}
}

// TestReads compares the verbs that read with those of the Manager.
func TestReads(t *testing.T) {
	p := newProgram(t).serve()
	ctx, c := t.Context(), p.dial()
	ana := must(p.users.Issue(ctx, lapse.Grant{Subject: "ana", Name: "laptop", Scope: "read <write>", Data: "\x00\xff\n\"", MaxUses: 9}))
	must(p.users.Issue(ctx, lapse.Grant{Subject: "bo", TTL: 2 * time.Hour}))
	key := must(p.keys.Issue(ctx, lapse.Grant{Subject: "ana", Thumbprint: lapse.Thumbprint{1}}))
	login := must(p.pairs.Issue(ctx, lapse.Grant{Subject: "cy", Scope: "read"}))
	p.clock.Add(time.Minute)
	must(p.users.ExpireSubject(lapse.WithActor(ctx, lapse.Actor{Name: "ops", Note: "stolen"}), "bo"))
	hold := must(p.users.Hold(ctx, ana.Bearer))
	defer hold.Release()

	for _, q := range []lapse.Query{{}, {Subject: "ana"}, {Prefix: "web"}, {Name: "laptop"}, {Live: true}, {Within: time.Hour}, {Within: lapse.NoLimit}, {Subject: "none"}} {
		want, _ := collect(p.users.List(ctx, q))
		got, errs := collect(c.List(ctx, q))
		wantSame(t, fmt.Sprintf("List(%+v)", q), got, want)
		n, err := c.Count(ctx, q)
		if errs != nil || err != nil || n != len(want) {
			t.Errorf("%+v: %v, Count %d, %v, want %d", q, errs, n, err, len(want))
		}
	}
	tok := must(c.Token(ctx, ana.ID))
	wantSame(t, "Token", tok, must(p.users.Token(ctx, ana.ID)))
	if tok.Data != ana.Data || !tok.Has("<write>") {
		t.Errorf("Data %q, Scope %q", tok.Data, tok.Scope)
	}
	for what, tt := range map[string]struct {
		bearer string
		want   lapse.Token
	}{
		"a text":         {ana.Bearer, must(p.users.Peek(ctx, ana.Bearer))},
		"an access text": {login.Access.Bearer, must(p.pairs.Access().Peek(ctx, login.Access.Bearer))},
		"a refresh text": {login.Refresh.Bearer, must(p.pairs.Peek(ctx, login.Refresh.Bearer))},
	} {
		got, err := c.Peek(ctx, tt.bearer)
		if wantSame(t, what, got, tt.want); err != nil {
			t.Error(what, err)
		}
	}
	if _, err := c.Peek(ctx, key.Bearer); !errors.Is(err, lapse.ErrProof) {
		t.Error("a text of a bound token:", err)
	}
	want, _ := collect(p.pairs.Sessions(ctx, "cy"))
	got, _ := collect(c.Sessions(ctx, "cy"))
	wantSame(t, "Sessions", got, want)
	wantHeld, _ := collect(p.users.Holds(ctx))
	gotHeld, _ := collect(c.Holds(ctx))
	if wantSame(t, "Holds", gotHeld, wantHeld); len(gotHeld) != 1 {
		t.Error("held:", gotHeld)
	}
	if now := must(c.Now(ctx)); !now.Equal(p.users.Now()) {
		t.Error("Now:", now)
	}
	stats := must(c.Under("lapse").Stats(ctx))
	for key, n := range p.users.Stats().All() {
		if stats[key] != n {
			t.Errorf("%v: %d, want %d", key, stats[key], n)
		}
	}
	if len(stats) == 0 {
		t.Error("no counters")
	}
	wantSame(t, "StoreStats", must(c.StoreStats(ctx)), p.store.Stats())
	wantSame(t, "Hello", c.Hello(), Hello{Version: 1, Store: true, Full: true, Prefixes: []Prefix{{Prefix: "lapse"}, {Prefix: "key"}, {Prefix: "web", Refresh: "web_refresh"}}})
}

// TestPages reads more tokens than one page has, with every form of a limit.
func TestPages(t *testing.T) {
	p := newProgram(t).serve()
	ctx, c := t.Context(), p.dial()
	var issuing sync.WaitGroup
	for i := range 2*pageLimit + 10 {
		issuing.Go(func() { must(p.pairs.Access().Issue(ctx, lapse.Grant{Subject: fmt.Sprint("u", i%40)})) })
	}
	issuing.Wait()
	for _, limit := range []int{0, 1, pageLimit - 1, pageLimit, pageLimit + 1, 2 * pageLimit, 2*pageLimit + 10, 3 * pageLimit} {
		var all []lapse.Token
		next, pages := "", 0
		for {
			page, errs := collect(c.List(ctx, lapse.Query{Limit: limit, After: next, Next: &next}))
			if all = append(all, page...); errs != nil {
				t.Fatal(errs)
			}
			if pages++; limit == 1 && pages == 5 || next == "" {
				break
			}
			if len(page) != limit {
				t.Errorf("limit %d: a page of %d, and %q follows", limit, len(page), next)
			}
		}
		ids := map[lapse.ID]bool{}
		for _, tok := range all {
			ids[tok.ID] = true
		}
		if want := 2*pageLimit + 10; limit != 1 && (len(all) != want || len(ids) != want) {
			t.Errorf("limit %d: %d tokens, %d different, want %d", limit, len(all), len(ids), want)
		}
	}
	next := "kept"
	for range c.List(ctx, lapse.Query{Limit: 5, Next: &next}) {
		break
	}
	if next != "kept" {
		t.Error("a body that breaks changed Next")
	}
	for _, q := range []lapse.Query{{Limit: -1}, {After: "x"}, {Name: "\n"}, {Subject: "\xff"}, {Within: 1}} {
		if _, errs := collect(c.List(ctx, q)); len(errs) != 1 || !errors.Is(errs[0], lapse.ErrInvalidQuery) {
			t.Errorf("%+v: %v", q, errs)
		}
	}
	if _, err := c.Count(ctx, lapse.Query{Next: &next}); !errors.Is(err, lapse.ErrInvalidQuery) {
		t.Error("Count with a Next:", err)
	}
}

// TestWrites calls each verb that writes, and looks at what it did by the Manager.
func TestWrites(t *testing.T) {
	p := newProgram(t).serve()
	c := p.dial()
	ctx := lapse.WithActor(t.Context(), lapse.Actor{Name: "root", Note: "ticket 4711"})
	ana := must(c.Issue(ctx, lapse.Grant{Subject: "ana", Name: "n", Scope: "a b", Data: "\xfe", TTL: time.Minute, MaxUses: 3, RequestID: "\xff\x01"}))
	wantSame(t, "Issue", ana.Token, must(p.users.Token(ctx, ana.ID)))
	if tok := must(p.users.Peek(ctx, ana.Bearer)); tok.Data != "\xfe" || tok.MaxUses != 3 || tok.ExpiresAt != start.Add(time.Minute) {
		t.Errorf("issued %+v", tok)
	}
	if again := must(c.Issue(ctx, lapse.Grant{Subject: "ana", Name: "n", Scope: "a b", Data: "\xfe", TTL: time.Minute, MaxUses: 3, RequestID: "\xff\x01"})); again.ID != ana.ID || !again.Existing {
		t.Errorf("by the RequestID: %v, existing %v", again.ID, again.Existing)
	}
	if e := p.events[0]; e.Actor.Note != "ticket 4711" || e.Actor.Name != fmt.Sprint("uid ", os.Getuid()) {
		t.Errorf("the actor of Issue is %+v", e.Actor)
	}
	key := must(c.Under("key").Issue(ctx, lapse.Grant{Subject: "ana"}))
	must(c.Under("key").Issue(ctx, lapse.Grant{Subject: "ana"}))
	if _, err := c.Under("key").Issue(ctx, lapse.Grant{Subject: "ana"}); !errors.Is(err, lapse.ErrLimit) {
		t.Error("over the limit:", err)
	}
	rotated := must(c.RotateID(ctx, key.ID, 0))
	if _, err := p.keys.Peek(ctx, key.Bearer); !errors.Is(err, lapse.ErrReplaced) || must(p.keys.Peek(ctx, rotated.Bearer)).ID != key.ID {
		t.Error("after RotateID:", err)
	}
	wantDone(t, "Suspend")(c.Suspend(ctx, key.ID))
	if _, err := c.Peek(ctx, rotated.Bearer); !errors.Is(err, lapse.ErrSuspended) {
		t.Error("suspended:", err)
	}
	wantDone(t, "Resume")(c.Resume(ctx, key.ID))
	name, data, uses, expires := "new", "", 7, start.Add(30*time.Minute)
	edited := must(c.Edit(ctx, ana.ID, lapse.Changes{Name: &name, Data: &data, MaxUses: &uses, ExpiresAt: nil}))
	if wantSame(t, "Edit", edited, must(p.users.Token(ctx, ana.ID))); edited.Name != name || edited.Data != "" || edited.MaxUses != 7 || edited.Scope != "a b" {
		t.Errorf("edited %+v", edited)
	}
	if tok := must(c.Edit(ctx, key.ID, lapse.Changes{ExpiresAt: &expires})); tok.ExpiresAt != expires {
		t.Errorf("edited to expire at %v", tok.ExpiresAt)
	}
	wantDone(t, "Expire")(c.Expire(ctx, key.ID))
	tok := must(p.users.Token(ctx, key.ID))
	if tok.EndedBy != fmt.Sprint("uid ", os.Getuid()) || tok.EndNote != "ticket 4711" || tok.EndReason != lapse.EndRevoked {
		t.Errorf("ended %+v", tok)
	}
	if ended, err := c.Expire(ctx, lapse.ID{1}); ended || err != nil {
		t.Error("Expire of no token:", ended, err)
	}
	login := must(c.IssuePair(ctx, lapse.Grant{Subject: "bo", Scope: "x"}))
	if tok := must(p.pairs.Peek(ctx, login.Refresh.Bearer)); tok.ID != login.Access.ID || login.ExpiresIn != lapse.Seconds(15*time.Minute) || login.Scope != "x" {
		t.Errorf("IssuePair: %+v", login)
	}
	if tok, err := c.ExpireBearer(ctx, login.Refresh.Bearer); err != nil || tok.EndReason != lapse.EndRevoked || tok.ID != login.Access.ID {
		t.Error("ExpireBearer of a refresh text:", tok, err)
	}
	if tok, err := c.ExpireBearer(ctx, ana.Bearer); err != nil || tok.EndReason != lapse.EndRevoked {
		t.Error("ExpireBearer:", tok, err)
	}
	kept := must(c.Issue(ctx, lapse.Grant{Subject: "di"}))
	must(c.Issue(ctx, lapse.Grant{Subject: "di"}))
	if n, err := c.ExpireSubject(ctx, "di", kept.ID); n != 1 || err != nil {
		t.Error("ExpireSubject:", n, err)
	}
	if n, err := c.ForgetSubject(ctx, "di"); n != 2 || err != nil {
		t.Error("ForgetSubject:", n, err)
	}
	p.clock.Add(1000 * time.Hour)
	want := must(p.users.Count(ctx, lapse.Query{}))
	if n, err := c.Sweep(ctx); n < want || err != nil { // and the alias of the RequestID
		t.Errorf("Sweep: %d, %v, want %d", n, err, want)
	}
	if err := c.Compact(ctx); err != nil {
		t.Error("Compact:", err)
	}
}

func wantDone(t *testing.T, what string) func(bool, error) {
	return func(ok bool, err error) {
		t.Helper()
		if !ok || err != nil {
			t.Errorf("%s: %v, %v", what, ok, err)
		}
	}
}

// TestSameRefreshPrefix serves two Pairs whose refresh texts have one prefix, as by default. Each text goes to the
// Pairs of its session.
func TestSameRefreshPrefix(t *testing.T) {
	p := newProgram(t)
	app := must(lapse.NewPairs(p.store, lapse.PairConfig{Access: lapse.Config{Prefix: "app", Clock: p.clock}, Refresh: lapse.Config{Prefix: "web_refresh"}}))
	p.server.Pairs = append(p.server.Pairs, app)
	p.serve()
	c := p.dial()
	for prefix, pairs := range map[string]*lapse.Pairs{"web": p.pairs, "app": app} {
		text := must(pairs.Issue(t.Context(), lapse.Grant{Subject: "ana"})).Refresh.Bearer
		if tok, err := c.Peek(t.Context(), text); err != nil || tok.Prefix != prefix {
			t.Errorf("%s: Peek %q, %v", prefix, tok.Prefix, err)
		}
		if tok, err := c.ExpireBearer(t.Context(), text); err != nil || tok.EndReason != lapse.EndRevoked {
			t.Errorf("%s: ExpireBearer %v, %v", prefix, tok.EndReason, err)
		}
		if _, err := c.Peek(t.Context(), text); !errors.Is(err, lapse.ErrRevoked) {
			t.Errorf("%s: after that %v", prefix, err)
		}
	}
	foreign := must(lapse.NewPairs(memory.New(), lapse.PairConfig{Refresh: lapse.Config{Prefix: "web_refresh"}}))
	if _, err := c.Peek(t.Context(), must(foreign.Issue(t.Context(), lapse.Grant{Subject: "ana"})).Refresh.Bearer); !errors.Is(err, lapse.ErrUnknown) {
		t.Errorf("of another store: %v", err)
	}
}

// TestNotServed asks about texts of tokens that are in the store, of a Manager and of Pairs that the server does not
// have: that such a token is unknown would not be true.
func TestNotServed(t *testing.T) {
	p := newProgram(t)
	p.server.Managers, p.server.Pairs = []*lapse.Manager{p.users, p.pairs.Access()}, nil
	p.serve()
	c := p.dial()
	for what, text := range map[string]string{
		"another prefix": must(p.keys.Issue(t.Context(), lapse.Grant{Subject: "ana"})).Bearer,
		"a refresh text": must(p.pairs.Issue(t.Context(), lapse.Grant{Subject: "ana"})).Refresh.Bearer,
	} {
		if _, err := c.Peek(t.Context(), text); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: Peek: %v", what, err)
		}
		if _, err := c.ExpireBearer(t.Context(), text); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: ExpireBearer: %v", what, err)
		}
	}
	foreign := must(lapse.New(memory.New(), lapse.Config{Prefix: "key"}))
	if _, err := c.ExpireBearer(t.Context(), must(foreign.Issue(t.Context(), lapse.Grant{Subject: "ana"})).Bearer); !errors.Is(err, lapse.ErrUnknown) {
		t.Errorf("of another store: %v", err)
	}
}

// TestNoJSON sends values that JSON does not have. They are refused as the Manager refuses them.
func TestNoJSON(t *testing.T) {
	p := newProgram(t).serve()
	c := p.dial()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	late := time.Date(10000, time.January, 1, 0, 0, 0, 0, time.UTC)
	for what, err := range map[string]error{
		"no number": func() error { _, err := c.Issue(ctx, lapse.Grant{Subject: "ana", Jitter: math.NaN()}); return err }(),
		"a pair":    func() error { _, err := c.IssuePair(ctx, lapse.Grant{Subject: "ana", Jitter: math.Inf(1)}); return err }(),
		"a year":    func() error { _, err := c.Edit(ctx, lapse.ID{}, lapse.Changes{ExpiresAt: &late}); return err }(),
	} {
		if !errors.Is(err, lapse.ErrInvalidGrant) || errors.Is(err, lapse.ErrOutcomeUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := c.Now(ctx); err != nil {
		t.Error("after that:", err)
	}
}

// TestExpireBearerNeedsTheText tries texts with the ID of a token and another secret: none ends it.
func TestExpireBearerNeedsTheText(t *testing.T) {
	p := newProgram(t).serve()
	ctx, c := t.Context(), p.dial()
	ana := must(p.users.Issue(ctx, lapse.Grant{Subject: "ana"}))
	bo := must(p.users.Issue(ctx, lapse.Grant{Subject: "bo"}))
	id, other := ana.ID.String(), bo.Bearer
	for what, bearer := range map[string]string{
		"the ID alone":                 id,
		"the ID under the prefix":      "lapse_" + id,
		"the secret of another":        "lapse_" + id + other[len("lapse_")+len(id):],
		"another prefix":               "key" + ana.Bearer[len("lapse"):],
		"nothing":                      "",
		"bytes that are no text":       "\xff",
		"the text and one byte behind": ana.Bearer + "a",
	} {
		if _, err := c.ExpireBearer(ctx, bearer); !errors.Is(err, lapse.ErrMalformed) && !errors.Is(err, lapse.ErrUnknown) {
			t.Error(what, err)
		}
	}
	if _, err := p.users.Peek(ctx, ana.Bearer); err != nil {
		t.Error("the token was ended:", err)
	}
}

// TestBackup restores what a Client has written.
func TestBackup(t *testing.T) {
	p := newProgram(t).serve()
	ctx, c := t.Context(), p.dial()
	var issuing sync.WaitGroup
	for i := range 100 { // several parts
		issuing.Go(func() {
			must(p.keys.Issue(ctx, lapse.Grant{Subject: fmt.Sprint("u", i), Data: string(bytes.Repeat([]byte{byte(i)}, 4000))}))
		})
	}
	issuing.Wait()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := must(os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600))
	if err := errors.Join(c.Backup(ctx, f), f.Close()); err != nil {
		t.Fatal(err)
	}
	store := must(bolt.Open(path, nil))
	defer store.Close()
	want, _ := collect(p.users.List(ctx, lapse.Query{}))
	got, _ := collect(must(lapse.New(store, lapse.Config{Clock: p.clock, Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 24 * time.Hour}})).List(ctx, lapse.Query{}))
	for _, all := range [][]lapse.Token{want, got} {
		slices.SortFunc(all, func(a, b lapse.Token) int { return a.ID.Compare(b.ID) })
	}
	if wantSame(t, "the copy", got, want); len(got) != 100 {
		t.Error(len(got), "tokens")
	}
	errFull := errors.New("disk full")
	if err := c.Backup(ctx, failing{errFull}); !errors.Is(err, errFull) || errors.Is(err, lapse.ErrUnavailable) {
		t.Error("a writer that fails:", err)
	}
	if _, err := c.Count(ctx, lapse.Query{}); err != nil {
		t.Error("after a backup that failed:", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestEveryFieldCrosses: no field of what a caller gives is lost on the wire.
func TestEveryFieldCrosses(t *testing.T) {
	var g lapse.Grant
	filled(&g)
	if got := toGrant(g).grant(); got != g {
		t.Errorf("of a Grant: %+v, want %+v", got, g)
	}
	var q lapse.Query
	filled(&q)
	q.Next = nil // the client's own
	if got := toQuery(q).query(); got != q {
		t.Errorf("of a Query: %+v, want %+v", got, q)
	}
	var c lapse.Changes
	filled(&c)
	if got := toChanges(c).changes(); !reflect.DeepEqual(got, c) {
		t.Errorf("of Changes: %+v, want %+v", got, c)
	}
}

// filled sets each field of the struct that v points to.
func filled(v any) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		f := s.Field(i)
		if f.Kind() == reflect.Pointer {
			f.Set(reflect.New(f.Type().Elem()))
			f = f.Elem()
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Float64:
			f.SetFloat(0.5)
		case reflect.Int, reflect.Int64:
			f.SetInt(1)
		case reflect.Array:
			f.Index(0).SetUint(1)
		}
	}
}
