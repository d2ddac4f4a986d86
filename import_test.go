package lapse_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// oldText returns the text of token n of another system: a key, and a secret.
func oldText(n int) string { return fmt.Sprintf("old|key-%d|secret-%d", n, n) }

// oldToken returns what the other system stores of token n.
func oldToken(n int) lapse.Foreign {
	key, digest, _ := readOld(oldText(n))
	return lapse.Foreign{Key: key, Digest: digest}
}

// readOld is the Config.Foreign for the texts of oldText.
func readOld(text string) (key string, digest []byte, ok bool) {
	parts := strings.Split(text, "|")
	if len(parts) != 3 || parts[0] != "old" {
		return "", nil, false
	}
	sum := sha256.Sum256([]byte(parts[2]))
	return parts[1], sum[:], true
}

// imported imports token n for g.
func (f *fixture) imported(n int, g lapse.Grant) lapse.Token {
	f.t.Helper()
	tok, err := f.Import(f.ctx, g, oldToken(n))
	if err != nil {
		f.t.Fatalf("Import: %v", err)
	}
	return tok
}

// newImporter is newFixture with readOld.
func newImporter(t *testing.T, cfg lapse.Config) *fixture {
	cfg.Foreign = readOld
	return newFixture(t, cfg)
}

// wantRefused: err is a *Rejection by why, with the ID.
func wantRefused(t *testing.T, name string, err, why error, id lapse.ID) {
	t.Helper()
	lapsetest.WantIs(t, name, err, why)
	var r *lapse.Rejection
	if !errors.As(err, &r) || r.ID != id {
		t.Errorf("%s: %v with the Rejection %+v; want the ID %v", name, err, r, id)
	}
}

// TestForeignTextInEveryVerb: each verb that takes a bearer takes the foreign text for the token.
func TestForeignTextInEveryVerb(t *testing.T) {
	for name, do := range map[string]func(f *fixture, text string) (lapse.Token, error){
		"Authenticate": func(f *fixture, text string) (lapse.Token, error) { return f.Authenticate(f.ctx, text) },
		"Peek":         func(f *fixture, text string) (lapse.Token, error) { return f.Peek(f.ctx, text) },
		"Renew":        func(f *fixture, text string) (lapse.Token, error) { return f.Renew(f.ctx, text) },
		"Confirm":      func(f *fixture, text string) (lapse.Token, error) { return f.Confirm(f.ctx, text) },
		"ExpireBearer": func(f *fixture, text string) (lapse.Token, error) { return f.ExpireBearer(f.ctx, text) },
		"Hold": func(f *fixture, text string) (lapse.Token, error) {
			h, err := f.Hold(f.ctx, text)
			if err != nil {
				return lapse.Token{}, err
			}
			defer h.Release()
			return h.Token(), h.Use(f.ctx)
		},
		"Rotate": func(f *fixture, text string) (lapse.Token, error) {
			i, err := f.Rotate(f.ctx, text, time.Minute)
			return i.Token, err
		},
		"Delegate": func(f *fixture, text string) (lapse.Token, error) {
			i, err := f.Delegate(f.ctx, text, lapse.Grant{})
			return lapse.Token{ID: i.Parent}, err
		},
	} {
		f := newImporter(t, lapse.Config{})
		want := f.imported(1, lapse.Grant{Subject: "ana", Scope: "read"})
		f.imported(2, lapse.Grant{Subject: "ben"})
		f.clock.Add(time.Minute)
		if tok, err := do(f, oldText(1)); err != nil || tok.ID != want.ID {
			t.Errorf("%s: %v, %v; want the token %v", name, tok, err, want.ID)
		}
		_, err := do(f, "old|key-2|secret-3")
		wantRefused(t, name+" by another secret", err, lapse.ErrUnknown, f.imported(2, lapse.Grant{Subject: "ben"}).ID)
		_, err = do(f, oldText(3))
		wantRefused(t, name+" by another key", err, lapse.ErrUnknown, lapse.ID{})
		_, err = do(f, "new|key-1|secret-1")
		wantRefused(t, name+" by what Foreign refuses", err, lapse.ErrMalformed, lapse.ID{})
	}
}

// TestForeignTextRunsOut: the life of an imported token has the boundaries of any other.
func TestForeignTextRunsOut(t *testing.T) {
	for _, row := range []struct {
		after time.Duration
		want  error
	}{{time.Hour - time.Millisecond, nil}, {time.Hour, lapse.ErrExpired}, {time.Hour + time.Millisecond, lapse.ErrExpired}} {
		f := newImporter(t, lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewNever}})
		tok := f.imported(1, lapse.Grant{Subject: "ana", TTL: time.Hour})
		f.clock.Add(row.after)
		_, err := f.Peek(f.ctx, oldText(1))
		lapsetest.WantIs(t, fmt.Sprint("after ", row.after), err, row.want)
		if row.want != nil {
			wantRefused(t, "dead", err, row.want, tok.ID)
		}
	}
}

// TestForeignTextLogsOut: an end of any kind refuses the foreign text, also by an import that is
// repeated, and after the sweep.
func TestForeignTextLogsOut(t *testing.T) {
	for name, end := range map[string]func(f *fixture, id lapse.ID) error{
		"ExpireBearer":  func(f *fixture, _ lapse.ID) error { _, err := f.ExpireBearer(f.ctx, oldText(1)); return err },
		"Expire":        func(f *fixture, id lapse.ID) error { _, err := f.Expire(f.ctx, id); return err },
		"ExpireSubject": func(f *fixture, _ lapse.ID) error { _, err := f.ExpireSubject(f.ctx, "ana"); return err },
	} {
		f := newImporter(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 300 * 24 * time.Hour, Retention: time.Hour}})
		tok := f.imported(1, lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, name, end(f, tok.ID), nil)
		if again := f.imported(1, lapse.Grant{Subject: "ana"}); again.ID != tok.ID || again.EndedAt.IsZero() {
			t.Errorf("%s: imported again, it is %v", name, again)
		}
		_, err := f.Authenticate(f.ctx, oldText(1))
		wantRefused(t, name, err, lapse.ErrRevoked, tok.ID)
		f.clock.Add(2 * time.Hour)
		if n := lapsetest.Must(f.Sweep(f.ctx)); n != 1 {
			t.Errorf("%s: swept %d", name, n)
		}
		_, err = f.Authenticate(f.ctx, oldText(1))
		wantRefused(t, name+" and Sweep", err, lapse.ErrUnknown, lapse.ID{})
		_, err = f.Import(f.ctx, lapse.Grant{Subject: "ana"}, oldToken(1))
		lapsetest.WantIs(t, name+" and Import", err, lapse.ErrNotFound)
		for _, after := range []time.Duration{300 * 24 * time.Hour, 10*365*24*time.Hour - time.Millisecond} {
			f.clock.Set(lapsetest.StartMilli.Add(after))
			lapsetest.Must(f.Sweep(f.ctx))
			_, again := f.Import(f.ctx, lapse.Grant{Subject: "ana"}, oldToken(1))
			lapsetest.WantIs(t, fmt.Sprint(name, " and Import after ", after), again, lapse.ErrNotFound)
		}
		if !strings.HasPrefix(fmt.Sprint(err), "lapse: import: ") {
			t.Errorf("%s and Import: %v does not name the verb", name, err)
		}
	}
}

// wantField: err is the *GrantError of that field.
func wantField(t *testing.T, name string, err error, field string) {
	t.Helper()
	var g *lapse.GrantError
	if !errors.As(err, &g) || g.Field != field || !errors.Is(err, lapse.ErrInvalidGrant) {
		t.Errorf("%s: %v; want a GrantError of %s", name, err, field)
	}
	for _, secret := range []string{"key-1", "secret-1", "request-1"} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v tells %s", name, err, secret)
		}
	}
}

// TestImportAgain: the same import gives the same token, whatever the rest of the grant says, and
// another digest or subject is refused by name.
func TestImportAgain(t *testing.T) {
	f := newImporter(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 2, MaxTTL: 48 * time.Hour, AtLimit: lapse.LimitRefuse}})
	tok := f.imported(1, lapse.Grant{Subject: "ana", Name: "first"})
	f.imported(2, lapse.Grant{Subject: "ana"})
	f.events = nil
	f.clock.Add(time.Minute)
	lapsetest.WantDiff(t, "again", tok, f.imported(1, lapse.Grant{Subject: "ana", Name: "second"}))
	if len(f.events) != 1 || f.events[0].Kind != lapse.EventRepeated || f.events[0].Token.ID != tok.ID {
		t.Errorf("events: %+v", f.events)
	}
	if n := len(f.contents()); n != 4 {
		t.Errorf("%d records; want two tokens and two aliases", n)
	}
	other := oldToken(1)
	other.Digest = []byte("other")
	_, err := f.Import(f.ctx, lapse.Grant{Subject: "ana"}, other)
	wantField(t, "another digest", err, "Digest")
	_, err = f.Import(f.ctx, lapse.Grant{Subject: "ben"}, oldToken(1))
	wantField(t, "another subject", err, "Subject")
	_, err = f.Import(f.ctx, lapse.Grant{Subject: "ana"}, oldToken(3))
	lapsetest.WantIs(t, "over the limit", err, lapse.ErrLimit)
	_, err = f.Peek(f.ctx, oldText(3))
	lapsetest.WantIs(t, "over the limit, its text", err, lapse.ErrUnknown)
}

// TestImportRunsOutWithItsCap: without a cap of the policy an imported token has one of ten years,
// which Rotate lifts. The alias counts as long as the cap, swept or not.
func TestImportRunsOutWithItsCap(t *testing.T) {
	const tenYears = 87_600 * time.Hour
	f := newImporter(t, lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit, TTL: 2 * tenYears, Retention: lapse.NoLimit}})
	tok := f.imported(1, lapse.Grant{Subject: "ana"})
	if cap := tok.IssuedAt.Add(tenYears); !tok.ExpiresAt.Equal(cap) || !tok.MaxExpiresAt.Equal(cap) {
		t.Errorf("expires at %v, at most %v; want %v", tok.ExpiresAt, tok.MaxExpiresAt, cap)
	}
	f.imported(2, lapse.Grant{Subject: "ana"})
	if i := lapsetest.Must(f.Rotate(f.ctx, oldText(2), 0)); !i.MaxExpiresAt.IsZero() || i.ExpiresAt.Before(tok.ExpiresAt) {
		t.Errorf("rotated, it expires at %v, at most %v", i.ExpiresAt, i.MaxExpiresAt)
	}
	f.clock.Add(tenYears - time.Millisecond)
	lapsetest.WantDiff(t, "before the cap", tok.ID, f.imported(1, lapse.Grant{Subject: "ana"}).ID)
	f.clock.Add(time.Millisecond)
	_, err := f.Peek(f.ctx, oldText(1))
	wantRefused(t, "at the cap", err, lapse.ErrExpired, tok.ID)
	if again := f.imported(1, lapse.Grant{Subject: "ana"}); again.ID == tok.ID {
		t.Error("at the cap, the key is still taken")
	}
}

// TestForeignTextBecomesNative: Rotate by a foreign text gives a text of lapse. The foreign text
// works for the overlap, gets the same answer until that text is used, and is replaced then.
func TestForeignTextBecomesNative(t *testing.T) {
	f := newImporter(t, lapse.Config{})
	tok := f.imported(1, lapse.Grant{Subject: "ana"})
	first := lapsetest.Must(f.Rotate(f.ctx, oldText(1), 10*time.Minute))
	again := lapsetest.Must(f.Rotate(f.ctx, oldText(1), 10*time.Minute))
	if first.Bearer != again.Bearer || first.ID != tok.ID || !strings.HasPrefix(first.Bearer, "lapse_") {
		t.Errorf("rotated %v to %v, and again to %v", tok.ID, first.ID, again.ID)
	}
	lapsetest.Must(f.Authenticate(f.ctx, first.Bearer))
	_, err := f.Rotate(f.ctx, oldText(1), 10*time.Minute)
	lapsetest.WantIs(t, "Rotate after the new text was used", err, lapse.ErrRotated)
	f.clock.Add(10*time.Minute - time.Millisecond)
	lapsetest.Must(f.Peek(f.ctx, oldText(1)))
	f.clock.Add(time.Millisecond)
	for name, do := range map[string]func(context.Context, string) (lapse.Token, error){"Peek": f.Peek, "ExpireBearer": f.ExpireBearer} {
		_, err := do(f.ctx, oldText(1))
		wantRefused(t, name+" after the overlap", err, lapse.ErrReplaced, tok.ID)
	}
	lapsetest.Must(f.Peek(f.ctx, first.Bearer))
	if again := f.imported(1, lapse.Grant{Subject: "ana"}); again.ID != tok.ID || again.Generation != 1 {
		t.Errorf("imported again: %v", again)
	}
}

// TestRotatedForeignTextNeedsTheText: the records and the digest of a foreign text do not derive
// the text that replaced it.
func TestRotatedForeignTextNeedsTheText(t *testing.T) {
	f := newImporter(t, lapse.Config{Foreign: readOld})
	f.imported(1, lapse.Grant{Subject: "ana"})
	rotated := lapsetest.Must(f.Rotate(f.ctx, oldText(1), 10*time.Minute))
	_, digest, _ := readOld(oldText(1))
	careless := f.manager(lapse.Config{Foreign: func(string) (string, []byte, bool) { return "key-1", digest, true }})
	if got := lapsetest.Must(careless.Peek(f.ctx, "any text")); got.ID != rotated.ID {
		t.Errorf("a Foreign that gives the key and digest for any text finds %v", got)
	}
	if _, err := careless.Rotate(f.ctx, "any text", 10*time.Minute); !errors.Is(err, lapse.ErrRotated) {
		t.Errorf("Rotate by another text of the same digest: %v; want ErrRotated", err)
	}
}

// TestAliasIsNoToken: an alias is in no list and has no verb of its own, and nothing that counts
// tokens counts it.
func TestAliasIsNoToken(t *testing.T) {
	f := newImporter(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitRefuse}})
	tok := f.imported(1, lapse.Grant{Subject: "ana"})
	i := f.issue(lapse.Grant{Subject: "ana", RequestID: "request-1"})
	_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "a third token", err, lapse.ErrLimit)
	var aliases []storage.Record
	for _, rec := range f.contents() {
		if rec.Kind == storage.KindAlias {
			aliases = append(aliases, rec)
		}
	}
	if len(aliases) != 2 {
		t.Fatalf("%d aliases", len(aliases))
	}
	for name, list := range map[string][]lapse.Token{
		"List":        lapsetest.Must(lapsetest.Collect(f.List(f.ctx, lapse.Query{Subject: "ana"}))),
		"List within": lapsetest.Must(lapsetest.Collect(f.List(f.ctx, lapse.Query{Within: lapse.NoLimit}))),
	} {
		if len(list) != 2 {
			t.Errorf("%s: %v", name, list)
		}
	}
	for _, alias := range aliases {
		_, err := f.Token(f.ctx, alias.ID)
		lapsetest.WantIs(t, "Token", err, lapse.ErrNotFound)
		_, err = f.RotateID(f.ctx, alias.ID, 0)
		lapsetest.WantIs(t, "RotateID", err, lapse.ErrNotFound)
		if ended, err := f.Expire(f.ctx, alias.ID); ended || err != nil {
			t.Errorf("Expire: %v, %v", ended, err)
		}
		var c bearer.Credential
		c.SetForeign(alias.ID, "any secret")
		_, err = f.Authenticate(f.ctx, c.Text("lapse"))
		wantRefused(t, "a native text with its ID", err, lapse.ErrUnknown, alias.ID)
	}
	if n := lapsetest.Must(f.ExpireSubject(f.ctx, "ana", i.ID, tok.ID)); n != 0 {
		t.Errorf("ExpireSubject ended %d aliases", n)
	}
	if n := lapsetest.Must(f.ExpireSubject(f.ctx, "ana")); n != 2 {
		t.Errorf("ExpireSubject ended %d", n)
	}
}

// TestForgetOfAliases: ForgetSubject deletes an alias whose token was swept, counts no token, and makes no event.
// Sweep counts an alias.
func TestForgetOfAliases(t *testing.T) {
	f := newImporter(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 48 * time.Hour, Retention: time.Hour}})
	f.imported(1, lapse.Grant{Subject: "ana"})
	f.imported(2, lapse.Grant{Subject: "ben"})
	f.clock.Add(3 * time.Hour)
	if n := lapsetest.Must(f.Sweep(f.ctx)); n != 2 {
		t.Errorf("swept %d; want two tokens", n)
	}
	f.events = nil
	if n := lapsetest.Must(f.ForgetSubject(f.ctx, "ana")); n != 0 || len(f.events) != 0 || len(f.contents()) != 1 {
		t.Errorf("forgot %d tokens, events %v, %d records left; want 0, none, and the alias of ben", n, f.events, len(f.contents()))
	}
	for _, row := range []struct {
		after time.Duration // the alias has been dead for the retention then, or for a millisecond more
		swept int
	}{{0, 0}, {time.Millisecond, 1}} {
		f.clock.Set(lapsetest.StartMilli.Add(10*365*24*time.Hour + time.Hour + row.after))
		if n := lapsetest.Must(f.Sweep(f.ctx)); n != row.swept {
			t.Errorf("swept %d %v after ten years and the retention; want %d", n, row.after, row.swept)
		}
	}
}

// TestForeignThatErrs: whatever Foreign returns for a text, the text is no good unless both key and
// digest are those of one token.
func TestForeignThatErrs(t *testing.T) {
	var key string
	var digest []byte
	f := newFixture(t, lapse.Config{Foreign: func(string) (string, []byte, bool) { return key, digest, true }})
	one := f.imported(1, lapse.Grant{Subject: "ana"})
	f.imported(2, lapse.Grant{Subject: "ben"})
	first, second := oldToken(1), oldToken(2)
	for _, row := range []struct {
		name   string
		key    string
		digest []byte
		want   error
		id     lapse.ID
	}{
		{"right", first.Key, first.Digest, nil, one.ID},
		{"another's key", second.Key, first.Digest, lapse.ErrUnknown, f.imported(2, lapse.Grant{Subject: "ben"}).ID},
		{"no digest", first.Key, nil, lapse.ErrUnknown, one.ID},
		{"an empty digest", first.Key, []byte{}, lapse.ErrUnknown, one.ID},
		{"a digest that is longer", first.Key, append(first.Digest[:len(first.Digest):len(first.Digest)], 0), lapse.ErrUnknown, one.ID},
		{"a digest that is shorter", first.Key, first.Digest[:31], lapse.ErrUnknown, one.ID},
		{"no key", "", first.Digest, lapse.ErrUnknown, lapse.ID{}},
		{"a key that is longer", first.Key + "\x00", first.Digest, lapse.ErrUnknown, lapse.ID{}},
		{"a long key", strings.Repeat("k", 100_000), first.Digest, lapse.ErrUnknown, lapse.ID{}},
	} {
		key, digest = row.key, row.digest
		tok, err := f.Authenticate(f.ctx, "text")
		if row.want == nil {
			lapsetest.WantDiff(t, row.name, row.id, tok.ID)
			continue
		}
		wantRefused(t, row.name, err, row.want, row.id)
	}
	other := f.manager(lapse.Config{Prefix: "other", Foreign: readOld})
	_, err := other.Peek(f.ctx, oldText(1))
	wantRefused(t, "another prefix", err, lapse.ErrUnknown, lapse.ID{})
}

// TestForeignThatPanics: a panic of Foreign passes through every verb that takes a bearer, as one of
// Admit does, and counts as internal. The Manager works afterwards.
func TestForeignThatPanics(t *testing.T) {
	f := newFixture(t, lapse.Config{Foreign: func(string) (string, []byte, bool) { panic("Foreign") }})
	verbs := bearerVerbs(f.Manager)
	verbs["Hold"] = func(ctx context.Context, text string) error { _, err := f.Hold(ctx, text); return err }
	for name, do := range verbs {
		if !panics(func() { do(f.ctx, "text") }) {
			t.Errorf("%s swallowed the panic", name)
		}
		lapsetest.WantIs(t, name+" afterwards", do(f.ctx, f.issue(lapse.Grant{Subject: "ana"}).Bearer), nil)
	}
	counted := map[lapse.Verb]uint64{}
	for key, n := range f.Stats().All() {
		if key.Outcome == "internal" {
			counted[key.Verb] = n
		}
	}
	lapsetest.WantDiff(t, "internal", map[lapse.Verb]uint64{
		lapse.VerbAuthenticate: 1, lapse.VerbPeek: 1, lapse.VerbHold: 1, lapse.VerbRenew: 1,
		lapse.VerbConfirm: 1, lapse.VerbRotate: 1, lapse.VerbDelegate: 1, lapse.VerbExpireBearer: 1,
	}, counted)
}

// TestReadsOfACheck: a check by a foreign text reads the alias and the token, also to refuse an unknown
// key. A check by a text of lapse makes one read. Touch records the first use of either.
func TestReadsOfACheck(t *testing.T) {
	f := newImporter(t, lapse.Config{})
	f.imported(1, lapse.Grant{Subject: "ana"})
	for _, row := range []struct {
		name, text string
		want       []storagetest.Op
		err        error
	}{
		{"of lapse", f.issue(lapse.Grant{Subject: "ana"}).Bearer, []storagetest.Op{opGet, opTouch}, nil},
		{"foreign", oldText(1), []storagetest.Op{opGet, opGet, opTouch}, nil},
		{"foreign, another secret", "old|key-1|secret-2", []storagetest.Op{opGet, opGet}, lapse.ErrUnknown},
		{"foreign, an unknown key", oldText(2), []storagetest.Op{opGet, opGet}, lapse.ErrUnknown},
	} {
		var err error
		calls := f.calls(func() { _, err = f.Authenticate(f.ctx, row.text) })
		lapsetest.WantIs(t, row.name, err, row.err)
		lapsetest.WantDiff(t, row.name+": calls", row.want, calls)
	}
}

// TestImportNamesTheField: a Foreign or a Grant out of its limits is refused by name, and stores
// nothing.
func TestImportNamesTheField(t *testing.T) {
	f := newImporter(t, lapse.Config{})
	long := strings.Repeat("x", 255)
	for _, row := range []struct {
		name  string
		g     lapse.Grant
		f     lapse.Foreign
		field string
	}{
		{"no key", lapse.Grant{}, lapse.Foreign{Digest: []byte("d")}, "Key"},
		{"a long key", lapse.Grant{}, lapse.Foreign{Key: long + "x", Digest: []byte("d")}, "Key"},
		{"the longest key", lapse.Grant{}, lapse.Foreign{Key: long, Digest: []byte("d")}, ""},
		{"no digest", lapse.Grant{}, lapse.Foreign{Key: "k"}, "Digest"},
		{"a long digest", lapse.Grant{}, lapse.Foreign{Key: "k", Digest: []byte(long + "x")}, "Digest"},
		{"the longest digest", lapse.Grant{}, lapse.Foreign{Key: "k", Digest: []byte(long)}, ""},
		{"the shortest", lapse.Grant{}, lapse.Foreign{Key: "l", Digest: []byte("d")}, ""},
		{"MinLeft", lapse.Grant{MinLeft: time.Minute}, oldToken(1), "MinLeft"},
		{"SessionTTL", lapse.Grant{SessionTTL: time.Minute}, oldToken(1), "SessionTTL"},
		{"RequestID", lapse.Grant{RequestID: "request-1"}, oldToken(1), "RequestID"},
		{"TTL", lapse.Grant{TTL: -1}, oldToken(1), "TTL"},
	} {
		row.g.Subject = "ana"
		before := len(f.contents())
		_, err := f.Import(f.ctx, row.g, row.f)
		if row.field == "" {
			lapsetest.WantIs(t, row.name, err, nil)
			continue
		}
		wantField(t, row.name, err, row.field)
		if n := len(f.contents()); n != before {
			t.Errorf("%s: stored %d records", row.name, n-before)
		}
	}
	_, err := f.Import(f.ctx, lapse.Grant{}, oldToken(1))
	wantField(t, "no subject", err, "Subject")
	_, err = f.manager(lapse.Config{}).Import(f.ctx, lapse.Grant{Subject: "ana"}, oldToken(1))
	lapsetest.WantIs(t, "without Foreign", err, lapse.ErrInvalidConfig)
	if !strings.Contains(fmt.Sprint(err), "Foreign") {
		t.Errorf("%v does not name Foreign", err)
	}
	_, err = lapse.NewPairs(memory.New(), lapse.PairConfig{Refresh: lapse.Config{Foreign: readOld}})
	if !errors.Is(err, lapse.ErrInvalidConfig) || !strings.Contains(fmt.Sprint(err), "Refresh.Foreign") {
		t.Errorf("Foreign of Refresh: %v", err)
	}
}

// TestImportsAtOnce: of several imports of one key at once, one stores a token, and all return it.
func TestImportsAtOnce(t *testing.T) {
	const callers = 32
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m := lapsetest.Must(lapse.New(store, lapse.Config{Foreign: readOld, Clock: lapsetest.NewClock()}))
		lapsetest.Arrivals(store, callers, opUpdate)
		var ids [callers]lapse.ID
		for _, err := range lapsetest.Together(callers, func(n int) error {
			tok, err := m.Import(context.Background(), lapse.Grant{Subject: "ana"}, oldToken(1))
			ids[n] = tok.ID
			return err
		}) {
			lapsetest.WantIs(t, "Import", err, nil)
		}
		store.Before(nil)
		for _, id := range ids {
			if id != ids[0] {
				t.Errorf("imported as %v and %v", ids[0], id)
			}
		}
		if tokens := lapsetest.Must(lapsetest.Collect(m.List(context.Background(), lapse.Query{Subject: "ana"}))); len(tokens) != 1 {
			t.Errorf("%d tokens", len(tokens))
		}
	})
}

// alias returns the record of the alias of token n.
func (f *fixture) alias(n int) storage.Record {
	f.t.Helper()
	rec, err := f.store.Get(f.ctx, bearer.ForeignAlias("lapse", oldToken(n).Key))
	if err != nil || rec.Kind != storage.KindAlias {
		f.t.Fatalf("the alias of %d: %v, %v", n, rec, err)
	}
	return rec
}

// put puts rec as it is.
func (f *fixture) put(rec storage.Record) {
	f.t.Helper()
	if err := f.store.Update(f.ctx, rec.Subject, func(tx storage.Tx) error { return tx.Put(rec) }); err != nil {
		f.t.Fatal(err)
	}
}

// TestDamagedAlias: an alias that cannot be read is ErrCorrupt, and refuses no text as a bad one. A
// record at its ID that is no alias, and an alias that names no token, lead to nothing.
func TestDamagedAlias(t *testing.T) {
	for _, row := range []struct {
		name   string
		damage func(rec *storage.Record, f *fixture)
		want   error
	}{
		{"no text", func(rec *storage.Record, _ *fixture) { rec.Sealed = storage.Sealed{} }, lapse.ErrCorrupt},
		{"a short text", func(rec *storage.Record, _ *fixture) { rec.Sealed = storage.NewSealed(rec.Sealed.Text()[:49]) }, lapse.ErrCorrupt},
		{"a long text", func(rec *storage.Record, _ *fixture) { rec.Sealed = storage.NewSealed(rec.Sealed.Text() + "x") }, lapse.ErrCorrupt},
		{"another label", func(rec *storage.Record, _ *fixture) { rec.Sealed = storage.NewSealed("a2" + rec.Sealed.Text()[2:]) }, lapse.ErrCorrupt},
		{"another kind", func(rec *storage.Record, _ *fixture) {
			rec.Kind, rec.Sealed, rec.Digest = lapse.KindPlain, storage.Sealed{}, storage.NewDigest(storage.SHA256, [32]byte{1})
		}, lapse.ErrUnknown},
		{"of itself", func(rec *storage.Record, _ *fixture) { rec.Sealed = sealedAlias(rec, rec.ID) }, lapse.ErrUnknown},
		{"of another alias", func(rec *storage.Record, f *fixture) { rec.Sealed = sealedAlias(rec, f.alias(2).ID) }, lapse.ErrUnknown},
		{"of nothing", func(rec *storage.Record, f *fixture) { rec.Sealed = sealedAlias(rec, lapse.ID{9}) }, lapse.ErrUnknown},
	} {
		f := newImporter(t, lapse.Config{})
		tok := f.imported(1, lapse.Grant{Subject: "ana"})
		f.imported(2, lapse.Grant{Subject: "ana"})
		rec := f.alias(1)
		row.damage(&rec, f)
		f.put(rec)
		for verb, do := range map[string]func(context.Context, string) (lapse.Token, error){"Authenticate": f.Authenticate, "ExpireBearer": f.ExpireBearer} {
			_, err := do(f.ctx, oldText(1))
			if lapsetest.WantIs(t, row.name+": "+verb, err, row.want); errors.Is(err, lapse.ErrUnauthenticated) != (row.want == lapse.ErrUnknown) {
				t.Errorf("%s: %s: %v", row.name, verb, err)
			}
		}
		if row.want == lapse.ErrCorrupt {
			_, err := f.Import(f.ctx, lapse.Grant{Subject: "ana"}, oldToken(1))
			lapsetest.WantIs(t, row.name+": Import", err, lapse.ErrCorrupt)
		}
		if got := f.token(tok.ID); !got.EndedAt.IsZero() {
			t.Errorf("%s: the token was ended: %v", row.name, got)
		}
	}
}

// sealedAlias returns the sealed text of rec, an alias, for the token of id.
func sealedAlias(rec *storage.Record, id lapse.ID) storage.Sealed {
	text := rec.Sealed.Text()
	return storage.NewSealed(text[:2] + string(id[:]) + text[18:])
}

// TestForeignTextHoldsAConnection: a connection that a foreign text opened is cut with its token.
func TestForeignTextHoldsAConnection(t *testing.T) {
	ctx := context.Background()
	m := lapsetest.Must(lapse.New(memory.New(), lapse.Config{Foreign: readOld}))
	tok := lapsetest.Must(m.Import(ctx, lapse.Grant{Subject: "ana"}, oldToken(1)))
	h := lapsetest.Must(m.Hold(ctx, oldText(1)))
	defer h.Release()
	lapsetest.Must(m.Rotate(ctx, oldText(1), time.Minute)) // cuts nothing
	lapsetest.WantIs(t, "Use after Rotate with an overlap", h.Use(ctx), nil)
	lapsetest.Must(m.ExpireBearer(ctx, oldText(1)))
	<-h.Context().Done()
	wantRefused(t, "the cause", context.Cause(h.Context()), lapse.ErrRevoked, tok.ID)
}

// TestAliasInAFile: an alias is found after the file was closed and opened again.
func TestAliasInAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.db")
	ctx, cfg := context.Background(), lapse.Config{Foreign: readOld, Clock: lapsetest.NewClock(), Keys: []lapse.Key{lapse.NewKey([]byte{31: 1})}}
	g := lapse.Grant{Subject: "ana", RequestID: "request-1"}
	var ids, bearers []string
	for range 2 {
		store := lapsetest.Must(bolt.Open(file, nil))
		m := lapsetest.Must(lapse.New(store, cfg))
		i := lapsetest.Must(m.Issue(ctx, g))
		tok := lapsetest.Must(m.Import(ctx, lapse.Grant{Subject: "ana"}, oldToken(1)))
		lapsetest.WantDiff(t, "the token of the foreign text", tok.ID, lapsetest.Must(m.Authenticate(ctx, oldText(1))).ID)
		ids, bearers = append(ids, tok.ID.String()), append(bearers, i.Bearer)
		lapsetest.WantIs(t, "Close", store.Close(), nil)
	}
	lapsetest.WantDiff(t, "the import", ids[0], ids[1])
	lapsetest.WantDiff(t, "the request", bearers[0], bearers[1])
}

// oldSystem is another system with many tokens: their texts, and how each row is imported.
type oldSystem struct {
	read func(text string) (key string, digest []byte, ok bool)
	make func(n int) (text, wrong string, add func(m *lapse.Manager) error)
}

// hexText returns 2*n hex digits of the random bytes of token i.
func hexText(i, n int) string {
	sum := sha512.Sum512(fmt.Append(nil, "token ", i))
	return hex.EncodeToString(sum[:n])
}

// oldSystems are those of docs/migrating.md.
func oldSystems(ctx context.Context) map[string]oldSystem {
	user := func(n int) string { return fmt.Sprint("user ", n/3) }
	pepper := []byte("a key of the program")
	return map[string]oldSystem{
		"authtoken": {readRestFramework, func(n int) (string, string, func(*lapse.Manager) error) {
			text := hexText(n, 20)
			return text, text[:39] + "x", func(m *lapse.Manager) error {
				return importRestFramework(ctx, m, struct{ key, username string }{text, user(n)})
			}
		}},
		"knox": {readKnox, func(n int) (string, string, func(*lapse.Manager) error) {
			text := hexText(n, 32)
			sum := sha512.Sum512([]byte(text))
			return text, text[:63], func(m *lapse.Manager) error {
				return importKnox(ctx, m, knoxRow{hex.EncodeToString(sum[:]), text[:15], user(n), m.Now().Add(10 * time.Hour)})
			}
		}},
		"sanctum": {readSanctum, func(n int) (string, string, func(*lapse.Manager) error) {
			secret := hexText(n, 20)
			if n%2 == 0 {
				secret = fmt.Sprintf("acme_%s%08x", secret, crc32.ChecksumIEEE([]byte(secret)))
			}
			text := fmt.Sprintf("%d|%s", n, secret)
			if n%10 == 0 {
				text = secret
			}
			sum := sha256.Sum256([]byte(secret))
			return text, text + "0", func(m *lapse.Manager) error {
				return importSanctum(ctx, m, sanctumRow{token: hex.EncodeToString(sum[:]), userID: user(n), name: "phone", abilities: []string{"read", "*"}, expiresAt: m.Now().Add(10 * time.Hour)})
			}
		}},
		"home-made": {readHomeMade(pepper), func(n int) (string, string, func(*lapse.Manager) error) {
			text := "acme_" + hexText(n, 16)
			mac := hmac.New(sha256.New, pepper)
			mac.Write([]byte(text[len("acme_"):]))
			row := mac.Sum(nil)
			return text, "acme_" + text, func(m *lapse.Manager) error {
				return importHomeMade(ctx, m, homeMadeRow{row, user(n)})
			}
		}},
	}
}

// TestConfigToMove: under the Config of docs/migrating.md a row may have longer to live than 30 days, a subject more than
// 100 rows, and no use prolongs a life. The zero Policy refuses both, or prolongs.
func TestConfigToMove(t *testing.T) {
	const long = 31 * 24 * time.Hour
	f := newFixture(t, configToMove(readOld))
	zero := newImporter(t, lapse.Config{})
	tok := f.imported(0, lapse.Grant{Subject: "ana", TTL: long})
	_, err := zero.Import(f.ctx, lapse.Grant{Subject: "ana", TTL: long}, oldToken(0))
	wantField(t, "31 days under the zero Policy", err, "TTL")
	for n := range 100 {
		f.imported(1+n, lapse.Grant{Subject: "ana"})
		zero.imported(1+n, lapse.Grant{Subject: "ana"})
	}
	_, err = zero.Import(f.ctx, lapse.Grant{Subject: "ana"}, oldToken(101))
	lapsetest.WantIs(t, "the 101st under the zero Policy", err, lapse.ErrLimit)
	f.clock.Add(20 * time.Minute)
	if used := lapsetest.Must(f.Authenticate(f.ctx, oldText(0))); !used.ExpiresAt.Equal(tok.ExpiresAt) {
		t.Errorf("a use moved the expiry from %v to %v", tok.ExpiresAt, used.ExpiresAt)
	}
	zero.clock.Add(30 * time.Minute)
	_, err = zero.Peek(f.ctx, oldText(1))
	lapsetest.WantIs(t, "30 idle minutes under the zero Policy", err, lapse.ErrExpired)
}

// TestMigrationAfterSweep: a row of each system of docs/migrating.md is imported, logged out and swept. To
// import that row again is no error, and gives no text back its life.
func TestMigrationAfterSweep(t *testing.T) {
	for name, old := range oldSystems(context.Background()) {
		f := newFixture(t, lapse.Config{Foreign: old.read, Policy: lapse.Policy{Retention: time.Hour}})
		text, _, add := old.make(1)
		lapsetest.WantIs(t, name, add(f.Manager), nil)
		lapsetest.Must(f.ExpireBearer(f.ctx, text))
		f.clock.Add(2 * time.Hour)
		if n := lapsetest.Must(f.Sweep(f.ctx)); n != 1 {
			t.Errorf("%s: swept %d", name, n)
		}
		lapsetest.WantIs(t, name+", again", add(f.Manager), nil)
		_, err := f.Authenticate(f.ctx, text)
		lapsetest.WantIs(t, name+", its text", err, lapse.ErrUnknown)
	}
}

// TestMigration: of each system of docs/migrating.md, 1,000 tokens are imported, with -whole 10,000, and a tenth of them again. Each text
// authenticates its own subject, a wrong one does not, and a token runs out when it did before.
func TestMigration(t *testing.T) {
	n := sample.Of(10_000, 1_000)
	if race.Enabled {
		n = 500
	}
	for name, old := range oldSystems(context.Background()) {
		t.Run(name, func(t *testing.T) {
			cfg := configToMove(old.read)
			cfg.Policy.TTL = 10 * time.Hour
			f := newFixture(t, cfg)
			for i := range n + n/10 { // the first tenth again
				if _, _, add := old.make(i % n); add(f.Manager) != nil {
					t.Fatal(add(f.Manager))
				}
			}
			if records := len(f.contents()); records != 2*n {
				t.Errorf("%d records; want a token and an alias for each of %d", records, n)
			}
			f.clock.Add(10*time.Hour - time.Millisecond)
			for i := range n {
				text, wrong, _ := old.make(i)
				tok, err := f.Authenticate(f.ctx, text)
				if err != nil || tok.Subject != fmt.Sprint("user ", i/3) {
					t.Fatalf("token %d: %v, %v", i, tok, err)
				}
				if _, err := f.Authenticate(f.ctx, wrong); !errors.Is(err, lapse.ErrUnauthenticated) {
					t.Fatalf("a wrong text of token %d: %v", i, err)
				}
			}
			f.clock.Add(time.Millisecond)
			for i := range n / 10 {
				text, _, _ := old.make(i)
				if _, err := f.Peek(f.ctx, text); !errors.Is(err, lapse.ErrExpired) {
					t.Fatalf("token %d, at its end: %v", i, err)
				}
			}
		})
	}
}
