package lapse

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// textOverlap is how long a previous text of a plain token works in these scenes.
const textOverlap = 10 * time.Minute

// textWorld is a store with Pairs on it. Each scene in it has a subject of its own.
type textWorld struct {
	t      testing.TB
	store  storage.Store
	clock  *atomicClock
	p      *Pairs
	m      *Manager // of the access texts, and of plain tokens
	scenes int

	mu   sync.Mutex
	told []EventKind
}

func newTextWorld(t testing.TB, store storage.Store) *textWorld {
	t.Helper()
	w := &textWorld{t: t, store: store, clock: new(atomicClock)}
	w.clock.milli.Store(testInstant.UnixMilli())
	p, err := NewPairs(store, PairConfig{Access: Config{
		Policy: Policy{TTL: 30 * time.Minute, MaxTTL: day, Renewal: RenewOnUse},
		Keys:   []Key{NewKey(randomKey(1))},
		Clock:  w.clock,
		Observe: func(_ context.Context, e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, e.Kind)
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.p, w.m = p, p.Access()
	return w
}

func (w *textWorld) wait(d time.Duration) { w.clock.milli.Add(d.Milliseconds()) }

func (w *textWorld) now() time.Time { return w.clock.Now().UTC() }

// events returns what was told since the last call.
func (w *textWorld) events() []EventKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

// records returns all records of subject.
func (w *textWorld) records(subject string) map[ID]storage.Record {
	w.t.Helper()
	all := make(map[ID]storage.Record)
	for rec, err := range w.store.List(context.Background(), storage.Filter{Subject: subject}) {
		w.need(err)
		all[rec.ID] = rec
	}
	return all
}

func (w *textWorld) need(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// textScene is a token or a session that has had several secrets.
type textScene struct {
	*textWorld
	subject string
	kind    string // plain, budget, delegate, obtained or session
	id      ID
	texts   []string   // by generation: of a plain token, or the access texts
	refresh []string   // by generation, of a session
	other   credential // of another token of the same kind and subject

	presents standing      // what is presented
	overlap  time.Duration // that is asked for
}

// scene makes a token of a kind, or a session, that has had four secrets. With used, the
// current text of a plain token has been used. The last secret was made now.
func (w *textWorld) scene(kind string, used bool) *textScene {
	w.t.Helper()
	w.scenes++
	s := &textScene{textWorld: w, kind: kind, subject: fmt.Sprint("subject ", w.scenes)}
	if kind == "session" {
		s.logIn()
	} else {
		s.issue(used)
	}
	w.events()
	return s
}

// issue makes a plain token.
func (s *textScene) issue(used bool) {
	s.t.Helper()
	ctx := context.Background()
	_, _ = s.other.Parse(s.first("other").Bearer, "lapse", begin("lapse"))
	issued := s.first("this one")
	s.id, s.texts = issued.ID, []string{issued.Bearer}
	for n := range 3 {
		s.wait(time.Minute)
		_, err := s.m.Authenticate(ctx, s.texts[n])
		s.need(err)
		s.wait(time.Minute)
		next, err := s.m.Rotate(ctx, s.texts[n], textOverlap)
		s.need(err)
		s.texts = append(s.texts, next.Bearer)
	}
	if used {
		_, err := s.m.Authenticate(ctx, s.texts[3])
		s.need(err)
	}
}

// first makes a token of the scene's kind that has had one secret.
func (s *textScene) first(name string) (i Issued) {
	s.t.Helper()
	ctx := context.Background()
	g, err := Grant{Subject: s.subject, Name: name}, error(nil)
	switch s.kind {
	case "plain":
		i, err = s.m.Issue(ctx, g)
	case "budget":
		g.MaxUses = 100
		i, err = s.m.Issue(ctx, g)
	case "delegate":
		g.TTL = 10 * time.Hour
		if i, err = s.m.Issue(ctx, g); err == nil {
			g.TTL = 0
			i, err = s.m.Delegate(ctx, i.Bearer, g)
		}
	case "obtained":
		i, err = s.m.Obtain(ctx, g)
	}
	s.need(err)
	return i
}

// logIn makes a session.
func (s *textScene) logIn() {
	s.t.Helper()
	ctx := context.Background()
	other, err := s.p.Issue(ctx, Grant{Subject: s.subject})
	s.need(err)
	_, _ = s.other.Parse(other.Access.Bearer, "lapse", begin("lapse"))
	c, err := s.p.Issue(ctx, Grant{Subject: s.subject, Scope: "read write"})
	s.need(err)
	s.id = c.Refresh.ID
	for n := range 4 {
		s.texts, s.refresh = append(s.texts, c.Access.Bearer), append(s.refresh, c.Refresh.Bearer)
		if n == 3 {
			return
		}
		s.wait(time.Minute)
		_, err = s.m.Authenticate(ctx, c.Access.Bearer)
		s.need(err)
		s.wait(time.Minute)
		c, err = s.p.Refresh(ctx, c.Refresh.Bearer)
		s.need(err)
	}
}

func (s *textScene) record() storage.Record {
	s.t.Helper()
	rec, err := s.store.Get(context.Background(), s.id)
	s.need(err)
	return rec
}

// key returns the key of the tags of the scene's record.
func (s *textScene) key() tagKey {
	rec := s.record()
	if kept, ok := sessionOf(&rec); ok {
		return kept.key()
	}
	r, _, err := rotationOf(&rec)
	s.need(err)
	return r.key
}

// authenticating and refreshing are what texts of a scene are for.
func (s *textScene) authenticating() (b binding, kind secretKind, prefix string) {
	if s.kind == "session" {
		return s.m.binding, accessSecret, "lapse"
	}
	return s.m.binding, plainSecret, "lapse"
}

func (s *textScene) refreshing() (b binding, kind secretKind, prefix string) {
	return s.p.refresh.binding, refreshSecret, "lapse_refresh"
}

// forge returns a text of a generation with a right tag, as a thief of the file, or a
// store that was put back, can have them.
func (s *textScene) forge(generation uint32, b binding, kind secretKind, prefix string) string {
	var c credential
	key, random := s.key(), [randomLen]byte{7}
	copy(c[:], s.id[:])
	c.SetTagged(&key, b, kind, generation, random[:])
	return c.Text(prefix)
}

// respelled returns text with one byte of it changed, under a prefix, its checksum made
// right.
func respelled(text, prefix string, change func(c *credential)) string {
	var c credential
	if _, ok := c.Parse(text, prefix, begin(prefix)); !ok {
		panic("not a text: " + text)
	}
	change(&c)
	return c.Text(prefix)
}
