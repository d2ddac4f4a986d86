package lapse

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

func TestSeal(t *testing.T) {
	parent, refresh, access := credentialOf(1), credentialOf(2), credentialOf(3)
	sealed, err := seal(parent, refresh, access)
	if err != nil {
		t.Fatal(err)
	}
	if n := sealed.Len(); n > storage.MaxSealed || n != 1+12+80+16 {
		t.Errorf("%d bytes", n)
	}
	gotRefresh, gotAccess, err := unseal(sealed, parent, refresh.id())
	if err != nil || gotRefresh != *refresh || gotAccess != *access {
		t.Errorf("unsealed to %x and %x, %v", gotRefresh, gotAccess, err)
	}
	if again, _ := seal(parent, refresh, access); again.Equal(sealed) {
		t.Error("the same text twice: the nonce is not random")
	}
}

// TestSealIsBound: it opens for the secret and the IDs that it was made for, as it was
// made, and for nothing else.
func TestSealIsBound(t *testing.T) {
	parent, refresh, access := credentialOf(1), credentialOf(2), credentialOf(3)
	sealed, err := seal(parent, refresh, access)
	if err != nil {
		t.Fatal(err)
	}
	otherSecret, otherID, byDigest := *parent, *parent, *parent
	otherSecret[len(parent)-1] ^= 1
	otherID[0] ^= 1
	sum := parent.digest(newTag("lapse_refresh")).Sum()
	copy(byDigest[idLen:], sum[:])
	for name, c := range map[string]*credential{
		"another secret": &otherSecret, "another ID": &otherID, "what is stored of the secret": &byDigest,
		"no secret": {}, "the successor's": refresh, "the access token's": access,
	} {
		wantShut(t, name, sealed.Text(), c, refresh.id())
	}
	wantShut(t, "another successor", sealed.Text(), parent, access.id())
	text := sealed.Text()
	for n := range text {
		wantShut(t, "cut", text[:n], parent, refresh.id())
		changed := []byte(text)
		changed[n] ^= 0x80
		wantShut(t, "changed", string(changed), parent, refresh.id())
	}
	wantShut(t, "longer", text+"\x00", parent, refresh.id())
}

func wantShut(t *testing.T, what, text string, parent *credential, successor ID) {
	t.Helper()
	refresh, access, err := unseal(storage.NewSealed(text), parent, successor)
	if !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnauthenticated) || refresh != (credential{}) || access != (credential{}) {
		t.Errorf("%s: %v; want it shut", what, err)
	}
}

// TestSealedBefore: what an earlier version sealed opens for ever.
func TestSealedBefore(t *testing.T) {
	const text = "0121fc4ce8e65751f04507f9cd027a6d4886b761e4eb851a3ae066a458727b228832816ae0a20c00c2781a234dbe8625a19a63f63499fbeb366ec941fbf0437eb1ca2ca3773bec7fc00e2d41a6e72990ee12234cf382e02918a7052ef836b7c3ddc5a07b1de2c72ba5a5dfabe9"
	sealed, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	refresh, access, err := unseal(storage.NewSealed(string(sealed)), credentialOf(1), credentialOf(2).id())
	if err != nil || refresh != *credentialOf(2) || access != *credentialOf(3) {
		t.Errorf("%x and %x, %v", refresh, access, err)
	}
}

// spellings are the forms in which a file could hold a secret.
func spellings(bearer string) map[string]string {
	var c credential
	c.parse(bearer, "lapse", begin("lapse"))
	raw := c[idLen:]
	return map[string]string{
		"text":     bearer[len(bearer)-50 : len(bearer)-6],
		"half":     bearer[len(bearer)-28 : len(bearer)-6],
		"raw":      string(raw),
		"raw half": string(raw[16:]),
		"hex":      hex.EncodeToString(raw),
		"HEX":      strings.ToUpper(hex.EncodeToString(raw)),
		"base64":   base64.RawStdEncoding.EncodeToString(raw),
		"URL":      base64.RawURLEncoding.EncodeToString(raw),
	}
}

// TestFileKeepsNoSecret: in the grace the file holds what the old refresh token opens,
// and no secret in any form, its own, the old one's or the new ones'. The search finds
// what is there: the IDs, what is sealed, and a secret that is planted.
func TestFileKeepsNoSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	store, err := bolt.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	p, err := NewPairs(store, PairConfig{Access: Config{Clock: fixedClock{testInstant}}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.Issue(t.Context(), Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Refresh(t.Context(), a.Refresh.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	content := func() []byte {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	file := content()
	rec, err := store.Get(t.Context(), a.Refresh.ID)
	if err != nil || rec.Sealed.Len() == 0 || !bytes.Contains(file, []byte(rec.Sealed.Text())) {
		t.Fatalf("what is sealed is not found in the file: %v", err)
	}
	for who, bearer := range map[string]string{"old refresh": a.Refresh.Bearer, "new refresh": b.Refresh.Bearer, "old access": a.Access.Bearer, "new access": b.Access.Bearer} {
		var c credential
		c.parse(bearer, "lapse", begin("lapse"))
		if !bytes.Contains(file, c[:idLen]) {
			t.Errorf("%s: its ID is not found", who)
		}
		for form, text := range spellings(bearer) {
			if bytes.Contains(file, []byte(text)) {
				t.Errorf("%s: its secret stands in the file as %s", who, form)
			}
		}
	}
	for form, text := range spellings(b.Refresh.Bearer) {
		rec.Sealed = storage.NewSealed(text)
		if err := store.Update(t.Context(), "ana", func(tx storage.Tx) error { return tx.Put(rec) }); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(content(), []byte(text)) {
			t.Errorf("planted as %s, and not found", form)
		}
	}
}

// TestDamagedSeal: what cannot be opened says nothing about the token, and ends nothing.
func TestDamagedSeal(t *testing.T) {
	store := newTallyStore()
	p, err := NewPairs(store, PairConfig{Access: Config{Clock: fixedClock{testInstant}}})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := p.Issue(t.Context(), Grant{Subject: "ana"})
	b, err := p.Refresh(t.Context(), a.Refresh.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	good, err := store.Get(t.Context(), a.Refresh.ID)
	if err != nil {
		t.Fatal(err)
	}
	var parent credential
	parent.parse(a.Refresh.Bearer, "lapse", begin("lapse"))
	foreign := credentialOf(9)
	copy(foreign[:idLen], b.Refresh.ID[:])
	swapped, err := seal(&parent, foreign, credentialOf(8))
	if err != nil {
		t.Fatal(err)
	}
	for name, sealed := range map[string]storage.Sealed{"damaged": storage.NewSealed("\x01damaged"), "another secret for its successor": swapped} {
		bad := good
		bad.Sealed = sealed
		if err := store.Update(t.Context(), "ana", func(tx storage.Tx) error { return tx.Put(bad) }); err != nil {
			t.Fatal(err)
		}
		got, err := p.Refresh(t.Context(), a.Refresh.Bearer)
		if !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnauthenticated) || got.Refresh.Bearer != "" {
			t.Errorf("%s: %+v, %v; want ErrCorrupt", name, got, err)
		}
		if found := secretsOf(b.Refresh.Bearer).leaks(err.Error()); found != nil {
			t.Errorf("%s: the error holds the %v", name, found)
		}
	}
	if _, err := p.Refresh(t.Context(), b.Refresh.Bearer); err != nil {
		t.Errorf("its successor: %v", err)
	}
}

// TestStanding is the table of what a refresh token is worth.
func TestStanding(t *testing.T) {
	p, err := NewPairs(newTallyStore(), PairConfig{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(s float64) time.Time { return testInstant.Add(time.Duration(s * float64(time.Second))) }
	something := storage.NewSealed("something")
	for _, row := range []struct {
		name    string
		expires time.Time
		ended   time.Time
		why     EndReason
		sealed  storage.Sealed
		want    standing
	}{
		{"alive", at(0.001), time.Time{}, 0, storage.Sealed{}, usable},
		{"ran out", at(0), time.Time{}, 0, storage.Sealed{}, over},
		{"ended", at(60), at(-1), EndExpired, storage.Sealed{}, over},
		{"evicted", at(60), at(-1), EndEvicted, storage.Sealed{}, over},
		{"ended by reuse", at(60), at(-1), EndReused, something, over},
		{"rotated now", at(60), at(0), EndRotated, something, repeatable},
		{"at the last millisecond", at(60), at(-9.999), EndRotated, something, repeatable},
		{"at the end", at(60), at(-10), EndRotated, something, reused},
		{"after the end", at(60), at(-10.001), EndRotated, something, reused},
		{"by a clock that was ahead", at(60), at(9.999), EndRotated, something, repeatable},
		{"by one that was too far ahead", at(60), at(10), EndRotated, something, reused},
		{"its successor was used", at(60), at(-1), EndRotated, storage.Sealed{}, reused},
		{"ran out since", at(-0.5), at(-1), EndRotated, something, repeatable},
		{"ran out since, after the grace", at(-0.5), at(-10), EndRotated, something, reused},
	} {
		rec := storage.Record{Sealed: row.sealed}
		rec.Prefix, rec.IssuedAt = "lapse_refresh", testInstant.Add(-time.Hour)
		rec.ExpiresAt, rec.EndedAt, rec.EndReason = row.expires, row.ended, row.why
		if got := p.standing(&rec, testInstant); got != row.want {
			t.Errorf("%s: %d; want %d", row.name, got, row.want)
		}
	}
	none, err := NewPairs(newTallyStore(), PairConfig{Grace: NoGrace})
	if err != nil || none.within(testInstant, testInstant) {
		t.Errorf("no grace is one, %v", err)
	}
}
