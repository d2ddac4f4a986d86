package lapse

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// refusedScene has a token and a session of ana with texts of every kind: of the secret in
// use, of secrets that were replaced, and of such that never were.
type refusedScene struct {
	store *tallyStore
	clock interface{ Set(time.Time) }
	m     *Manager // of the prefix of the access texts
	pairs *Pairs
	token ID
	login ID
	texts map[string]string

	observe func(context.Context, Event)
}

// newRefusedScene makes the scene. A rotation of the plain token is a minute old at most, and
// the last refresh is a second old.
func newRefusedScene(t *testing.T) *refusedScene {
	t.Helper()
	s := &refusedScene{store: newTallyStore(), texts: map[string]string{"malformed": "lapse_junk"}}
	cfg := Config{Observe: func(ctx context.Context, e Event) {
		if s.observe != nil {
			s.observe(ctx, e)
		}
	}}
	m, mock := managerOver(t, s.store, cfg)
	cfg.Clock = mock
	s.m, s.clock, s.pairs = m, mock, made(NewPairs(s.store, PairConfig{Access: cfg}))
	s.plain(t)
	s.session(t)
	return s
}

// plain makes the texts of a plain token of generation 3, which is in use.
func (s *refusedScene) plain(t *testing.T) {
	ctx := t.Context()
	first := issueTo(t, s.m, Grant{Subject: "ana", Scope: "read"})
	second := made(s.m.Rotate(ctx, first.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, second.Bearer))
	third := made(s.m.Rotate(ctx, second.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, third.Bearer))
	fourth := made(s.m.Rotate(ctx, third.Bearer, time.Minute))
	made(s.m.Authenticate(ctx, fourth.Bearer))
	s.token = first.ID
	rec := made(s.store.Get(ctx, first.ID))
	r, _, err := rotationOf(&rec)
	if err != nil {
		t.Fatal(err)
	}
	text := func(generation uint32) string {
		return craft(first.ID, &r.key, s.m.binding, plainSecret, generation, "lapse")
	}
	s.add("plain", map[string]string{
		"current": fourth.Bearer, "previous": third.Bearer, "spent": second.Bearer, "first": first.Bearer,
		"ahead": text(4), "far ahead": text(math.MaxUint32), "forged": text(3), "forged, of the previous": text(2), "made up": text(1),
		"without a right tag": craft(first.ID, &tagKey{1}, s.m.binding, plainSecret, 1, "lapse"),
		"of another kind":     craft(first.ID, &r.key, s.m.binding, accessSecret, 1, "lapse"),
	})
}

// session makes the texts of a session of generation 2.
func (s *refusedScene) session(t *testing.T) {
	ctx := t.Context()
	first := made(s.pairs.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	second := made(s.pairs.Refresh(ctx, first.Refresh.Bearer))
	third := made(s.pairs.Refresh(ctx, second.Refresh.Bearer))
	s.login = first.Access.ID
	rec := made(s.store.Get(ctx, s.login))
	kept, _ := sessionOf(&rec)
	key := kept.key()
	access := func(generation uint32) string {
		return craft(s.login, &key, s.m.binding, accessSecret, generation, "lapse")
	}
	refresh := func(generation uint32) string {
		return craft(s.login, &key, s.pairs.refresh.binding, refreshSecret, generation, "lapse_refresh")
	}
	s.add("access", map[string]string{
		"current": third.Access.Bearer, "previous": second.Access.Bearer, "spent": first.Access.Bearer,
		"ahead": access(3), "forged": access(2), "made up": access(0),
		"of another kind": craft(s.login, &key, s.m.binding, plainSecret, 0, "lapse"),
	})
	s.add("refresh", map[string]string{
		"current": third.Refresh.Bearer, "previous": second.Refresh.Bearer, "spent": first.Refresh.Bearer,
		"ahead": refresh(3), "forged": refresh(2), "made up": refresh(0),
		"of another kind": craft(s.login, &key, s.pairs.refresh.binding, accessSecret, 0, "lapse_refresh"),
	})
}

// change rewrites a record.
func (s *refusedScene) change(t *testing.T, id ID, f func(rec *storage.Record)) {
	t.Helper()
	err := s.store.Update(t.Context(), "ana", func(tx storage.Tx) error {
		rec, err := tx.Get(id)
		f(&rec)
		return errors.Join(err, tx.Put(rec))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *refusedScene) add(kind string, texts map[string]string) {
	for name, text := range texts {
		s.texts[kind+" "+name] = text
	}
}

// craft returns a text with a right tag by key, whose random bytes are made up.
func craft(id ID, key *tagKey, b binding, kind secretKind, generation uint32, prefix string) string {
	var c credential
	copy(c[:], id[:])
	c.SetTagged(key, b, kind, generation, []byte("twenty bytes made up"))
	return c.Text(prefix)
}
