package lapse

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// randomKey returns a key without any pattern that other output could hold by chance.
func randomKey(seed byte) []byte {
	k := make([]byte, keyLen)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(k)
	return k
}

// hushKeys makes Keys of the bytes of each.
func hushKeys(all [][]byte) (keys []Key) {
	for _, b := range all {
		keys = append(keys, NewKey(b))
	}
	return keys
}

// secretsOfKey returns what to search an output for: any eight bytes of key that
// follow each other, in each form.
func secretsOfKey(key []byte) secrets {
	s := secrets{}
	for at := 0; at < keyLen; at += 8 {
		s.addBytes("key", key[at:][:8])
	}
	s.addBase64("key", key)
	return s
}

// TestDerivation: what is derived never changes, or no token made by Obtain would be
// given again after an update.
func TestDerivation(t *testing.T) {
	c, k := credentialOf(3), randomKey(1)
	id, salt := c.ID(), string(c[idLen:])
	tag := newBinding("lapse")
	sealed := obtainedSecret(c, newKey([keyLen]byte(k)), tag)

	mac := hmac.New(sha256.New, k)
	fmt.Fprintf(mac, "lapse secret by Obtain, version 1%s%s%s", tag[:], id[:], salt)
	if got := string(c[idLen:]); got != string(mac.Sum(nil)) || c.ID() != id {
		t.Errorf("the secret is %x; want %x", got, mac.Sum(nil))
	}
	if want := "o1" + salt; sealed.Text() != want {
		t.Errorf("%q is sealed; want %q", sealed.Text(), want)
	}
}

// TestDerivationOfARotation: likewise what is derived for a later generation, of which
// every part counts.
func TestDerivationOfARotation(t *testing.T) {
	id, b, material, salt := credentialOf(3).ID(), newBinding("lapse"), randomKey(1), credentialOf(4)[:saltLen]
	k := newKey([keyLen]byte(material))
	mac := hmac.New(sha256.New, material)
	fmt.Fprintf(mac, "lapse secret by Obtain, version 2%s%s\x00\x00\x01\x02%s", b[:], id[:], salt)
	want := [sha256.Size]byte(mac.Sum(nil))
	if got := k.Rotated(id, b, 258, salt); got != want {
		t.Errorf("%x; want %x", got, want)
	}
	seen := map[[sha256.Size]byte]string{want: "itself"}
	for what, other := range map[string][sha256.Size]byte{
		"another generation": k.Rotated(id, b, 259, salt),
		"another salt":       k.Rotated(id, b, 258, credentialOf(5)[:saltLen]),
		"another ID":         k.Rotated(credentialOf(5).ID(), b, 258, salt),
		"another prefix":     k.Rotated(id, newBinding("other"), 258, salt),
		"another key":        newKey([keyLen]byte(randomKey(2))).Rotated(id, b, 258, salt),
		"the first secret":   k.First(id, b, string(salt)),
	} {
		if same, known := seen[other]; known {
			t.Errorf("%s gives the same as %s", what, same)
		}
		seen[other] = what
	}
}

// TestRevealNeedsEverything: with another key, ID, salt, prefix or digest there is no
// secret to be had.
func TestRevealNeedsEverything(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{Keys: []Key{NewKey(randomKey(1)), NewKey(randomKey(2))}})
	issued, err := m.Obtain(t.Context(), Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := store.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(s string, at int) string { return s[:at] + string(s[at]^1) + s[at+1:] }
	for name, change := range map[string]func(r *storage.Record, m *Manager){
		"nothing":   func(*storage.Record, *Manager) {},
		"the order": func(_ *storage.Record, m *Manager) { slices.Reverse(m.keys) },
		"the key":   func(_ *storage.Record, m *Manager) { m.keys = m.keys[1:] },
		"no key":    func(_ *storage.Record, m *Manager) { m.keys = nil },
		"the ID":    func(r *storage.Record, _ *Manager) { r.ID[15] ^= 1 },
		"the salt": func(r *storage.Record, _ *Manager) {
			r.Sealed = storage.NewSealed("o1" + flip(r.Sealed.Text()[2:], 31))
		},
		"no salt":      func(r *storage.Record, _ *Manager) { r.Sealed = storage.Sealed{} },
		"another tag":  func(_ *storage.Record, m *Manager) { m.binding = newBinding("other") },
		"a digest":     func(r *storage.Record, _ *Manager) { r.Digest = credentialOf(1).Digest(m.binding) },
		"no digest":    func(r *storage.Record, _ *Manager) { r.Digest = storage.Digest{} },
		"an algorithm": func(r *storage.Record, _ *Manager) { r.Digest = storage.NewDigest(2, r.Digest.Sum()) },
	} {
		r, changed := rec, &Manager{binding: m.binding, keys: slices.Clone(m.keys)} // all that matters here
		change(&r, changed)
		var c credential
		want := name == "nothing" || name == "the order"
		if got := changed.reveal(&r, &c); got != want || want && c.Text("lapse") != issued.Bearer {
			t.Errorf("changed: %s: revealed: %v; want %v", name, got, want)
		}
	}
}

// TestKeySearchFindsWhatLeaks, or the tests below mean nothing.
func TestKeySearchFindsWhatLeaks(t *testing.T) {
	type open struct{ Keys [][]byte }
	type array struct{ key [keyLen]byte }
	k := randomKey(1)
	s := secretsOfKey(k)
	for name, v := range map[string]any{"config": open{[][]byte{k}}, "manager": &array{[keyLen]byte(k)}, "half": k[8:24]} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q"} {
			if len(s.leaks(fmt.Sprintf(verb, v))) == 0 {
				t.Errorf("%s by %s is not found", name, verb)
			}
		}
	}
}

// TestNoKeyIsPrinted, nor what is derived from it, whatever is printed how.
func TestNoKeyIsPrinted(t *testing.T) {
	race.Alone(t)
	type pair struct{ Access, Refresh Config }
	var told []Event
	keys := [][]byte{randomKey(1), randomKey(2)}
	cfg := Config{Prefix: "lapse", Keys: hushKeys(keys), Observe: func(_ context.Context, e Event) { told = append(told, e) }}
	bare := Config{Keys: hushKeys(keys)} // without functions, so that encoders go on
	store := newTallyStore()
	m, _ := managerOver(t, store, cfg)
	first, err := m.Obtain(t.Context(), Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Obtain(t.Context(), Grant{Subject: "ana"})
	if err != nil || !again.Existing {
		t.Fatalf("Existing is %v, %v", again.Existing, err)
	}
	rotated, err := m.Rotate(t.Context(), first.Bearer, 0)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := store.Get(t.Context(), rotated.ID)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]map[string]any{
		"Config": shapes(cfg), "Config alone": shapes(bare), "pair": {"value": pair{bare, cfg}, "pointer": &pair{cfg, bare}}, "Manager": {"pointer": m, "any": []any{m}},
		"reused": shapes(again), "rotated": shapes(rotated), "record": shapes(rec), "sealed": shapes(rec.Sealed), "events": shapes(told),
	}
	for _, bad := range [][][]byte{{keys[0], keys[0]}, {keys[0][:31]}, {append(slices.Clone(keys[0]), 1)}} {
		_, err := New(store, Config{Keys: hushKeys(bad)})
		values[fmt.Sprint(err)] = shapes(err)
	}
	searches := []secrets{secretsOfKey(keys[0]), secretsOfKey(keys[1]), secretsOf(again.Bearer), secretsOf(rotated.Bearer)}
	for name, shapes := range values {
		for shape, v := range shapes {
			for _, s := range searches {
				if printers := s.shownBy(v); len(printers) > 0 {
					t.Errorf("%s, %s: secrets are shown by %s and %d more", name, shape, printers[0], len(printers)-1)
				}
			}
		}
	}
	if text := fmt.Sprint(cfg); !strings.Contains(text, "Keys:2") || !strings.Contains(text, "Prefix:lapse") {
		t.Errorf("a Config prints as %s; want its prefix and the number of its keys", text)
	}
	if text := fmt.Sprintf("%+v", slog.AnyValue(cfg).Resolve().Any()); !strings.Contains(text, "Keys:2") {
		t.Errorf("a Config is logged as %s", text)
	}
	for name, text := range map[string]string{"prints": fmt.Sprint(again), "marshals": string(must(json.Marshal(again)))} {
		if !strings.Contains(strings.ToLower(text), `existing`) {
			t.Errorf("an Issued %s as %s; want it to say Existing", name, text)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestNoKeyIsStored: a file of tokens made by Obtain and Rotate holds neither the key nor
// a secret, but the salt, from which another process with the key gives the same bearer.
func TestNoKeyIsStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	keys := [][]byte{randomKey(1)}
	var bearers []string
	for range 2 { // the second time, all is found again
		store, err := bolt.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := managerOver(t, store, Config{Keys: hushKeys(keys)})
		first, err1 := m.Obtain(t.Context(), Grant{Subject: "ana", Name: "kept"})
		second, err2 := m.Obtain(t.Context(), Grant{Subject: "ana", Name: "rotated"})
		if len(bearers) == 0 {
			var old = second
			second, err = m.Rotate(t.Context(), old.Bearer, 0)
			bearers = append(bearers, old.Bearer)
		}
		if err := errors.Join(err, err1, err2, store.Close()); err != nil {
			t.Fatal(err)
		}
		bearers = append(bearers, first.Bearer, second.Bearer)
	}
	if bearers[1] != bearers[3] || bearers[2] != bearers[4] {
		t.Error("after reopening, Obtain gives other bearers")
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if found := secretsOfKey(keys[0]).leaks(string(file)); found != nil {
		t.Errorf("the file holds the %s", found[0])
	}
	if strings.Count(string(file), obtained) < 3 {
		t.Error("the file does not even hold the salts: the search sees nothing")
	}
	for _, bearer := range bearers[:3] {
		for _, found := range secretsOf(bearer).leaks(string(file)) {
			if !strings.HasPrefix(found, "digest") {
				t.Errorf("the file holds the %s", found)
			}
		}
	}
}
