package lapse

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestActorFrom: what WithActor was given comes back as it is told and stored.
func TestActorFrom(t *testing.T) {
	for name, row := range map[string]struct{ given, want string }{
		"nothing":                {"", ""},
		"a name":                 {"ana@example.com", "ana@example.com"},
		"254 bytes":              {strings.Repeat("x", 254), strings.Repeat("x", 254)},
		"255 bytes":              {strings.Repeat("x", 255), strings.Repeat("x", 255)},
		"256 bytes":              {strings.Repeat("x", 256), strings.Repeat("x", 255)},
		"a character at the end": {strings.Repeat("x", 253) + "éé", strings.Repeat("x", 253) + "é"},
		"a character over it":    {strings.Repeat("x", 254) + "é", strings.Repeat("x", 254)},
		"a line":                 {"ana\nlevel=ERROR", "ana level=ERROR"},
		"a terminal":             {"\x1b[31mana\x00", "[31mana"},
		"another direction":      {"ana\u202e\u2028bob", "ana bob"},
		"no UTF-8":               {"a\xff", "a\ufffd"},
	} {
		a, ok := ActorFrom(WithActor(t.Context(), Actor{row.given, row.given}))
		if !ok || a != (Actor{row.want, row.want}) {
			t.Errorf("%s: %q, %v; want %q", name, a, ok, row.want)
		}
		if len(a.Note) > storage.MaxEndNote || !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, unicode.IsControl) {
			t.Errorf("%s: %q breaks a log", name, a.Name)
		}
	}
	if a, ok := ActorFrom(context.Background()); ok || a != (Actor{}) {
		t.Errorf("a context without an Actor: %v, %v", a, ok)
	}
	inner := WithActor(WithActor(t.Context(), Actor{Name: "ana"}), Actor{Note: "by bob"})
	if a, ok := ActorFrom(inner); !ok || a != (Actor{Note: "by bob"}) {
		t.Errorf("the inner Actor: %v, %v", a, ok)
	}
}

// actorScene is a Manager and Pairs, and what they told.
type actorScene struct {
	t    *testing.T
	ctx  context.Context // with the Actor
	m    *Manager
	p    *Pairs
	pass func(time.Duration)
	told []Event
}

func newActorScene(t *testing.T) *actorScene {
	s := &actorScene{t: t, ctx: WithActor(t.Context(), Actor{"ana", "ticket 7"})}
	store := memory.New()
	observe := func(_ context.Context, e Event) { s.told = append(s.told, e) }
	m, mock := managerOver(t, store, Config{Observe: observe, Policy: Policy{MaxTokens: 2, AtLimit: LimitEndOldest}})
	s.m, s.pass = m, mock.Add
	s.p = made(NewPairs(store, PairConfig{Access: Config{Clock: mock, Prefix: "acc", Observe: observe}, Refresh: Config{Prefix: "ref", Policy: Policy{MaxTokens: 1}}}))
	return s
}

func (s *actorScene) issue(g Grant) Issued {
	s.t.Helper()
	g.Subject = "bob"
	return made(s.m.Issue(context.Background(), g))
}

// TestEndsTellTheirActor: an end has the Actor of the context of the verb that caused it, whatever its
// reason: in the event, in the record, and in the Rejection of a later text, whose text names neither.
func TestEndsTellTheirActor(t *testing.T) {
	for name, row := range map[string]struct {
		why EndReason
		end func(s *actorScene) string // returns a text of the token that it ended
	}{
		"Expire": {EndRevoked, func(s *actorScene) string {
			i := s.issue(Grant{})
			made(s.m.Expire(s.ctx, i.ID))
			return i.Bearer
		}},
		"ExpireBearer": {EndRevoked, func(s *actorScene) string {
			i := s.issue(Grant{})
			made(s.m.ExpireBearer(s.ctx, i.Bearer))
			return i.Bearer
		}},
		"ExpireSubject": {EndSubject, func(s *actorScene) string {
			i := s.issue(Grant{})
			made(s.m.ExpireSubject(s.ctx, "bob"))
			return i.Bearer
		}},
		"a limit": {EndEvicted, func(s *actorScene) string {
			i := s.issue(Grant{})
			s.pass(time.Second)
			s.issue(Grant{})
			made(s.m.Issue(s.ctx, Grant{Subject: "bob"}))
			return i.Bearer
		}},
		"the limit of sessions": {EndEvicted, func(s *actorScene) string {
			c := made(s.p.Issue(context.Background(), Grant{Subject: "bob"}))
			made(s.p.Issue(s.ctx, Grant{Subject: "bob"}))
			return c.Access.Bearer
		}},
		"reuse": {EndReused, func(s *actorScene) string {
			c := made(s.p.Issue(context.Background(), Grant{Subject: "bob"}))
			next := made(s.p.Refresh(context.Background(), c.Refresh.Bearer))
			s.pass(time.Minute)
			_, err := s.p.Refresh(s.ctx, c.Refresh.Bearer)
			if !errors.Is(err, ErrReused) {
				s.t.Errorf("Refresh: %v", err)
			}
			return next.Access.Bearer
		}},
		"a last use": {EndExhausted, func(s *actorScene) string {
			i := s.issue(Grant{MaxUses: 1})
			made(s.m.Authenticate(s.ctx, i.Bearer))
			return i.Bearer
		}},
		"a parent": {EndParent, func(s *actorScene) string {
			i := s.issue(Grant{})
			d := made(s.m.Delegate(context.Background(), i.Bearer, Grant{}))
			made(s.m.Expire(s.ctx, i.ID))
			return d.Bearer
		}},
		"a rotation at once": {EndRotated, func(s *actorScene) string {
			i := s.issue(Grant{})
			d := made(s.m.Delegate(context.Background(), i.Bearer, Grant{}))
			made(s.m.RotateID(s.ctx, i.ID, 0))
			return d.Bearer
		}},
	} {
		s := newActorScene(t)
		text := row.end(s)
		on := s.m
		if strings.HasPrefix(text, "acc") {
			on = s.p.access
		}
		_, err := on.Peek(t.Context(), text)
		var r *Rejection
		if !errors.As(err, &r) || r.Reason != row.why || r.EndedBy != "ana" || r.EndNote != "ticket 7" {
			t.Fatalf("%s: %+v", name, r)
		}
		if strings.Contains(r.Error(), "ticket") || strings.Contains(r.Error(), "ana") {
			t.Errorf("%s: the text is %q", name, r.Error())
		}
		if b, err := json.Marshal(r); err != nil || !strings.Contains(string(b), `"ended_by":"ana","end_note":"ticket 7"`) {
			t.Errorf("%s: JSON is %s, %v", name, b, err)
		}
		if tok := made(s.m.Token(t.Context(), r.ID)); tok.EndedBy != "ana" || tok.EndNote != "ticket 7" {
			t.Errorf("%s: stored %q, %q", name, tok.EndedBy, tok.EndNote)
		}
		ended := 0
		for _, e := range s.told {
			if e.Kind != EventEnded {
				continue
			}
			if ended++; e.Actor != (Actor{"ana", "ticket 7"}) || e.Token.EndedBy != "ana" {
				t.Errorf("%s: told %+v", name, e)
			}
		}
		if ended == 0 {
			t.Errorf("%s: no end was told", name)
		}
	}
}

// TestEndsKeepTheirActor: a second end changes nothing, and an end without an Actor has none.
func TestEndsKeepTheirActor(t *testing.T) {
	s := newActorScene(t)
	i := s.issue(Grant{})
	made(s.m.Expire(t.Context(), i.ID))
	made(s.m.Expire(s.ctx, i.ID))
	made(s.m.ExpireBearer(s.ctx, i.Bearer))
	if tok := made(s.m.Token(t.Context(), i.ID)); tok.EndedBy != "" || tok.EndNote != "" {
		t.Errorf("ended by %q, %q", tok.EndedBy, tok.EndNote)
	}
}

// TestEndWithTheLastConnection has no Actor, although Hold, which spent the last use, had one.
func TestEndWithTheLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []Event
		m := made(New(memory.New(), Config{Observe: func(_ context.Context, e Event) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e)
		}}))
		ctx := WithActor(t.Context(), Actor{"ana", "ticket 7"})
		i := made(m.Issue(ctx, Grant{Subject: "bob", MaxUses: 1}))
		held := made(m.Hold(ctx, i.Bearer))
		synctest.Wait()
		held.Release()
		synctest.Wait()
		e := told[len(told)-1]
		if e.Kind != EventEnded || e.Verb != VerbHold || e.Token.EndReason != EndExhausted || e.Actor != (Actor{}) || e.Token.EndedBy != "" {
			t.Errorf("told %+v", e)
		}
		if e := told[1]; e.Kind != EventHeld || e.Actor.Name != "ana" || len(told) != 3 {
			t.Errorf("told %v", told)
		}
	})
}

// TestEndsByTheClockHaveNoActor: the end of an earlier epoch says nothing of who called, before a Sweep
// stores it and after that.
func TestEndsByTheClockHaveNoActor(t *testing.T) {
	g := newGuarded(t, Config{Policy: Policy{TTL: 30 * day, MaxTTL: NoLimit, Retention: 100 * day}})
	i := issueTo(t, g.Manager, Grant{Subject: "ana"})
	g.machine.off -= 2 * time.Hour
	made(0, g.AcceptClock(WithActor(t.Context(), Actor{Name: "admin"})))
	wantNone := func(when string) {
		t.Helper()
		if tok := made(g.Token(t.Context(), i.ID)); tok.EndReason != EndClock || tok.EndedBy != "" || tok.EndNote != "" {
			t.Errorf("%s: %v by %q, %q", when, tok.EndReason, tok.EndedBy, tok.EndNote)
		}
	}
	wantNone("before the Sweep")
	g.machine.pass(2 * day)
	made(g.Sweep(WithActor(t.Context(), Actor{"janitor", "nightly"})))
	wantNone("after the Sweep")
	if rec := made(g.Manager.store.Get(t.Context(), i.ID)); rec.EndReason != EndClock || rec.EndedBy != "" {
		t.Errorf("stored: %v by %q", rec.EndReason, rec.EndedBy)
	}
}

// proofKeys are the key that all is bound to in these tests, and one that differs in its last bit.
var proofKeys = func() (keys [2]Thumbprint) {
	keys[0] = sha256.Sum256([]byte("a public key"))
	keys[1] = keys[0]
	keys[1][31] ^= 1
	return keys
}()

// unproved says what the table of texts becomes where the proof is absent or wrong: a text of the
// record is refused alike, whatever it is to the record, and any other text as ever.
func unproved(word string) string {
	if word == "unknown" {
		return word
	}
	return "unproved"
}

// without are the contexts that prove nothing, or the wrong key.
var without = map[string]func(context.Context) context.Context{
	"no proof":    func(ctx context.Context) context.Context { return ctx },
	"another key": func(ctx context.Context) context.Context { return WithProof(ctx, proofKeys[1]) },
	"zeros":       func(ctx context.Context) context.Context { return WithProof(ctx, Thumbprint{}) },
	"zeros inside of the right proof": func(ctx context.Context) context.Context {
		return WithProof(WithProof(ctx, proofKeys[0]), Thumbprint{})
	},
	"another key inside of the right one": func(ctx context.Context) context.Context {
		return WithProof(WithProof(ctx, proofKeys[0]), proofKeys[1])
	},
	"an array that is no Thumbprint": func(ctx context.Context) context.Context {
		return context.WithValue(ctx, proofKey{}, (*[32]byte)(&proofKeys[0]))
	},
	"nil": func(ctx context.Context) context.Context { return context.WithValue(ctx, proofKey{}, nil) },
}

// TestProofOfEachText is the table of texts for bound tokens: with the proof all is as in the table.
// Without it every verb refuses each text of the record alike, and nothing is written, so that a spent
// text ends nothing.
func TestProofOfEachText(t *testing.T) {
	race.Alone(t)
	for name, proof := range without {
		w := newTextWorld(t, memory.New())
		w.bound, w.proof, w.words = proofKeys[0], proof, unproved
		whole := name == "no proof"
		played, wrong := playTable(w, textVerbs(), func(_ *textCell, kind string) bool { return whole || kind == "plain" || kind == "session" })
		for _, w := range wrong {
			t.Errorf("%s: %s", name, w)
		}
		if played < 500 {
			t.Errorf("%s: %d texts were presented", name, played)
		}
	}
	w := newTextWorld(t, memory.New())
	w.bound = proofKeys[0]
	played, wrong := playTable(w, textVerbs(), func(*textCell, string) bool { return true })
	for _, w := range wrong {
		t.Errorf("with the proof: %s", w)
	}
	if played < 1000 {
		t.Errorf("with the proof: %d texts were presented", played)
	}
}

// TestProofOfTheUnbound: a token that is not bound ignores proofs, right or wrong.
func TestProofOfTheUnbound(t *testing.T) {
	w := newTextWorld(t, memory.New())
	w.proof = without["another key"]
	played, wrong := playTable(w, textVerbs(), func(_ *textCell, kind string) bool { return kind == "plain" || kind == "session" })
	for _, w := range wrong {
		t.Error(w)
	}
	if played < 500 {
		t.Errorf("%d texts were presented", played)
	}
}

// TestProofTableFindsFaults: verbs that skip the proof for some texts are found.
func TestProofTableFindsFaults(t *testing.T) {
	proving := func(when func(s *textScene) bool) func(textVerb) textVerb {
		return func(v textVerb) textVerb {
			do := v.do
			v.do = func(ctx context.Context, s *textScene, text string) ([]string, error) {
				if when(s) {
					ctx = s.ctx()
				}
				return do(ctx, s, text)
			}
			return v
		}
	}
	for name, planted := range map[string]struct {
		verb string
		as   func(textVerb) textVerb
	}{
		"Refresh skips the proof for spent texts":         {"Refresh", proving(func(s *textScene) bool { return s.presents == spentText })},
		"ExpireBearer skips the proof for previous texts": {"ExpireBearer", proving(func(s *textScene) bool { return s.presents == previousText })},
		"Authenticate skips the proof of sessions":        {"Authenticate", proving(func(s *textScene) bool { return s.kind == "session" })},
		"Confirm skips the proof":                         {"Confirm", proving(func(*textScene) bool { return true })},
		"Peek wants no proof of what is dead": {"Peek", proving(func(s *textScene) bool {
			rec := s.record()
			return !rec.EndedAt.IsZero()
		})},
	} {
		verbs := textVerbs()
		at := slices.IndexFunc(verbs, func(v textVerb) bool { return v.name == planted.verb })
		verbs[at] = planted.as(verbs[at])
		w := newTextWorld(t, memory.New())
		w.bound, w.proof, w.words = proofKeys[0], without["no proof"], unproved
		_, wrong := playTable(w, verbs, func(c *textCell, _ string) bool { return c.verb == planted.verb })
		if len(wrong) == 0 {
			t.Errorf("%s: the table finds nothing", name)
		}
	}
}

// TestProofOfEachBit: each bit of the thumbprint counts.
func TestProofOfEachBit(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	i := issueTo(t, m, Grant{Subject: "ana", Thumbprint: proofKeys[0]})
	for bit := range 8 * len(Thumbprint{}) {
		other := proofKeys[0]
		other[bit/8] ^= 1 << (bit % 8)
		if _, err := m.Authenticate(WithProof(t.Context(), other), i.Bearer); !errors.Is(err, ErrProof) {
			t.Errorf("bit %d: %v; want ErrProof", bit, err)
		}
	}
	if tok, err := m.Authenticate(WithProof(t.Context(), proofKeys[0]), i.Bearer); err != nil || tok.Thumbprint != proofKeys[0] {
		t.Errorf("with the proof: %+v, %v", tok, err)
	}
}

// TestProofOfDelegates: a delegate is bound as its parent, or to a key of its own, and never to none.
func TestProofOfDelegates(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{})
	ctx := t.Context()
	none, own := Thumbprint{}, proofKeys[1]
	for _, row := range []struct{ parent, grant, want Thumbprint }{
		{none, none, none}, {none, own, own}, {proofKeys[0], none, proofKeys[0]}, {proofKeys[0], own, own},
	} {
		parent := issueTo(t, m, Grant{Subject: "ana", Thumbprint: row.parent})
		child, err := m.Delegate(WithProof(ctx, row.parent), parent.Bearer, Grant{Thumbprint: row.grant})
		if err != nil || child.Thumbprint != row.want {
			t.Fatalf("%v of %v: %v, %v", row.grant, row.parent, child.Thumbprint, err)
		}
		for _, key := range []Thumbprint{none, proofKeys[0], own} {
			_, err := m.Authenticate(WithProof(ctx, key), child.Bearer)
			if want := row.want == none || key == row.want; (err == nil) != want || !want && !errors.Is(err, ErrProof) {
				t.Errorf("delegate %v of %v with %v: %v", row.grant, row.parent, key, err)
			}
		}
	}
}

// TestProofAndObtain: Obtain gives a token again for the same thumbprint only, and wants no proof.
func TestProofAndObtain(t *testing.T) {
	m, _ := managerOver(t, memory.New(), Config{Keys: []Key{NewKey(randomKey(1))}})
	ids := map[ID]Thumbprint{}
	for range 2 {
		for _, key := range []Thumbprint{{}, proofKeys[0], proofKeys[1]} {
			i := made(m.Obtain(t.Context(), Grant{Subject: "ana", Thumbprint: key}))
			if was, known := ids[i.ID]; known != i.Existing || known && was != key || i.Thumbprint != key {
				t.Errorf("a token of %v for %v, existing %v", was, key, i.Existing)
			}
			ids[i.ID] = key
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d tokens for 3 keys", len(ids))
	}
}

// TestProofIsPaidOnce for a connection: it lives on without a proof, and is cut when the token ends.
func TestProofIsPaidOnce(t *testing.T) {
	asked := make(chan Token, 8)
	m, _ := managerOver(t, memory.New(), Config{Admit: func(ctx context.Context, tok Token) error {
		asked <- tok
		return nil
	}})
	i := issueTo(t, m, Grant{Subject: "ana", Thumbprint: proofKeys[0]})
	if _, err := m.Hold(t.Context(), i.Bearer); !errors.Is(err, ErrProof) || len(asked) != 0 {
		t.Errorf("without a proof: %v; Admit was asked %d times", err, len(asked))
	}
	hold := made(m.Hold(WithProof(t.Context(), proofKeys[0]), i.Bearer))
	defer hold.Release()
	if tok := <-asked; tok.Thumbprint != proofKeys[0] {
		t.Errorf("Admit sees %v", tok.Thumbprint)
	}
	made(m.RotateID(t.Context(), i.ID, time.Minute))
	if err := hold.Context().Err(); err != nil {
		t.Errorf("a rotation: %v", context.Cause(hold.Context()))
	}
	made(m.Expire(t.Context(), i.ID))
	<-hold.Context().Done()
	if cause := context.Cause(hold.Context()); !errors.Is(cause, ErrRevoked) {
		t.Errorf("cut with %v", cause)
	}
}

// TestProofIsPaidOnceForUseAndRecheck: Use and Recheck want no proof, and Admit, asked again, sees that
// Confirm was called: it cuts a connection whose user was last present too long ago, to the minute.
func TestProofIsPaidOnceForUseAndRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *Manager
		var seen []Token
		admit := func(_ context.Context, tok Token) error {
			if seen = append(seen, tok); m.Now().Sub(tok.AuthenticatedAt) > 5*time.Minute {
				return ErrRefused
			}
			return nil
		}
		p := made(NewPairs(memory.New(), PairConfig{Access: Config{Admit: admit, Recheck: time.Minute}}))
		m = p.Access()
		proved := WithProof(t.Context(), proofKeys[0])
		c := made(p.Issue(t.Context(), Grant{Subject: "ana", Thumbprint: proofKeys[0]}))
		held := made(m.Hold(proved, c.Access.Bearer))
		defer held.Release()
		began := m.Now()
		for minute, last := 1, began; minute <= 9; minute++ {
			time.Sleep(time.Minute)
			synctest.Wait()
			if tok := seen[len(seen)-1]; tok.Thumbprint != proofKeys[0] || !tok.AuthenticatedAt.Equal(last) {
				t.Errorf("minute %d: asked about %+v; want AuthenticatedAt %v", minute, tok, last)
			}
			if err := held.Use(t.Context()); err != nil {
				t.Errorf("minute %d: Use: %v", minute, err)
			}
			if minute == 4 {
				last = made(m.Confirm(proved, c.Access.Bearer)).AuthenticatedAt
			}
		}
		if used := made(m.Token(t.Context(), c.Access.ID)).LastUsedAt; !used.Equal(began.Add(9 * time.Minute)) {
			t.Errorf("used last %v after Hold", used.Sub(began))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := held.Use(t.Context()); !errors.Is(err, ErrRefused) {
			t.Errorf("after 10 minutes: %v; want ErrRefused", err)
		}
	})
}

// TestProofSurvives: a rotation, a refresh and a renewal leave the token bound.
func TestProofSurvives(t *testing.T) {
	for _, kind := range []string{"plain", "obtained", "delegate", "budget", "session"} {
		w := newTextWorld(t, memory.New())
		w.bound = proofKeys[0]
		s := w.scene(kind, true)
		if rec := s.record(); rec.Thumbprint != proofKeys[0] || rec.Generation != 3 {
			t.Errorf("%s: bound to %v after %d rotations", kind, rec.Thumbprint, rec.Generation)
		}
	}
}

// TestProofRefusalSaysNothing of the thumbprints, and names the token.
func TestProofRefusalSaysNothing(t *testing.T) {
	var told []Event
	m, _ := managerOver(t, memory.New(), Config{Observe: func(_ context.Context, e Event) { told = append(told, e) }})
	i := issueTo(t, m, Grant{Subject: "ana", Thumbprint: proofKeys[0]})
	told = nil
	_, err := m.Authenticate(WithProof(t.Context(), proofKeys[1]), i.Bearer)
	var r *Rejection
	if !errors.As(err, &r) || !errors.Is(err, ErrUnauthenticated) || Code(err) != "proof" {
		t.Fatalf("%v has the code %q", err, Code(err))
	}
	if diff := cmp.Diff(Rejection{Err: ErrProof, ID: i.ID, Subject: "ana"}, *r, cmp.Comparer(func(a, b error) bool { return a == b })); diff != "" {
		t.Errorf("rejection (-want +got):\n%s", diff)
	}
	heard := &said{}
	heard.err(err)
	for _, e := range told {
		heard.value(e)
	}
	all := secretsOf(i.Bearer)
	for n, key := range proofKeys {
		all.addLong(fmt.Sprint("thumbprint ", n), key[:])
	}
	for _, text := range heard.texts {
		if found := all.leaks(text); found != nil {
			t.Errorf("the %s is told in %q", found[0], text)
		}
	}
	if len(told) != 1 || len(heard.texts) < 5 {
		t.Errorf("%d events, %d texts; then nothing is tested", len(told), len(heard.texts))
	}
}

// TestProofIsOfTheRecordThatIsRead past a cache: a text of a later generation than a stale record has
// is good with the proof. Without the proof the text is refused before the second read, and Observe is
// told no EventAhead.
func TestProofIsOfTheRecordThatIsRead(t *testing.T) {
	w := newTextWorld(t, memory.New())
	w.bound = proofKeys[0]
	s := w.scene("plain", true)
	old := s.record()
	next, err := s.m.Rotate(w.ctx(), s.texts[3], time.Minute)
	s.need(err)
	store := &staleStore{Store: w.store, old: old}
	var told []EventKind
	m, _ := managerOver(t, store, Config{Observe: func(_ context.Context, e Event) { told = append(told, e.Kind) }})
	if _, err := m.Peek(context.Background(), next.Bearer); !errors.Is(err, ErrProof) || store.updates != 0 {
		t.Errorf("%v after %d Updates; want ErrProof after none", err, store.updates)
	}
	if _, err := m.Peek(w.ctx(), next.Bearer); err != nil || store.updates != 1 {
		t.Errorf("with the proof: %v after %d Updates; want nil after 1", err, store.updates)
	}
	if diff := cmp.Diff([]EventKind{EventRejected}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// staleStore answers Get with a record of before, and counts Updates.
type staleStore struct {
	storage.Store
	old     storage.Record
	updates int
}

func (s *staleStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	s.updates++
	return s.Store.Update(ctx, subject, fn)
}

func (s *staleStore) Get(context.Context, storage.ID) (storage.Record, error) { return s.old, nil }
