package lapse

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
)

// addTexts adds the texts that were given out in the scene.
func (s *refusedScene) addTexts(all secrets) {
	for _, name := range []string{
		"plain current", "plain previous", "plain spent", "plain first",
		"access current", "access previous", "access spent", "refresh current", "refresh previous", "refresh spent",
	} {
		all.merge(secretsOf(s.texts[name]))
	}
}

// addRecords adds what the records of the scene keep.
func (s *refusedScene) addRecords(t *testing.T, all secrets) {
	t.Helper()
	for rec, err := range s.store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all.addRecord(&rec)
	}
}

// TestNoTextIsStored: of no text, of whatever standing, can the secret be read in a record.
func TestNoTextIsStored(t *testing.T) {
	race.Alone(t)
	s := newRefusedScene(t)
	for rec, err := range s.store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		sum := rec.Digest.Sum()
		raw := rec.Name + rec.Scope + rec.Data + string(sum[:]) + rec.Sealed.Text()
		digests := 0
		for name, text := range s.texts {
			if name == "malformed" {
				continue
			}
			for _, found := range secretsOf(text).leaks(raw) {
				if digests++; !strings.HasPrefix(found, "digest") {
					t.Errorf("the record of %v holds the %s of %q", rec.ID, found, name)
				}
			}
		}
		if digests == 0 {
			t.Errorf("the record of %v holds nothing of any text", rec.ID)
		}
	}
}

// togetherOn are verbs that leave enough alive for each other to be tried on one scene.
var togetherOn = [][]string{
	{"Authenticate", "Peek", "Hold", "Delegate", "Renew", "Pairs.Peek", "Rotate", "Rotate, 0"},
	{"Pairs.Refresh"},
	{"ExpireBearer", "Pairs.ExpireBearer"},
}

// TestNoTextIsTold: what every verb says and tells of every text, of a token and a session
// that live and of such that are dead, holds no secret, no digest, no key and no salt.
func TestNoTextIsTold(t *testing.T) {
	race.Alone(t)
	tried := 0
	for _, verbs := range togetherOn {
		tried += len(verbs)
		for _, dead := range []bool{false, true} {
			s, heard, kinds := newRefusedScene(t), &said{}, map[EventKind]bool{}
			s.observe = func(_ context.Context, e Event) {
				kinds[e.Kind] = true
				heard.value(e)
				heard.err(e.Err)
			}
			if dead {
				made(s.m.ExpireSubject(t.Context(), "ana"))
			}
			all := secrets{}
			s.addTexts(all)
			s.addRecords(t, all)
			for _, verb := range verbs {
				for _, text := range slices.Sorted(maps.Keys(s.texts)) {
					heard.err(refusedVerbs[verb](t.Context(), s, s.texts[text]))
				}
			}
			s.addRecords(t, all) // and what came of it
			if heard.errors < 20*len(verbs) || !kinds[EventRejected] || !kinds[EventSpent] || !kinds[EventAhead] {
				t.Errorf("%v: heard %d errors and events of %v; then nothing is tested", verbs, heard.errors, kinds)
			}
			for _, text := range heard.texts {
				if found := all.leaks(text); found != nil {
					t.Errorf("%v, dead: %v: the %s is told in %.400q", verbs, dead, found[0], text)
					break
				}
			}
		}
	}
	if tried != len(refusedVerbs) {
		t.Errorf("%d verbs of %d", tried, len(refusedVerbs))
	}
}
