package lapse

import (
	"bytes"
	"context"
	"crypto/hmac"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
	"unsafe"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/bearertest"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// prefixCases are judged the same in Config and in a token's text.
var prefixCases = []struct {
	name, prefix string
	err          error // nil: valid
}{
	{"one letter", "a", nil},
	{"first and last letter", "az", nil},
	{"the default", "lapse", nil},
	{"digits", "v2", nil},
	{"underscore inside", "acme_live", nil},
	{"two underscores inside", "a__b", nil},
	{"digit after underscore", "a_1", nil},
	{"16 bytes", "abcdefghijklmnop", nil},
	{"17 bytes", "abcdefghijklmnopq", bearer.ErrPrefixLength},
	{"1 MiB", strings.Repeat("a", 1<<20), bearer.ErrPrefixLength},
	{"upper case", "Lapse", bearer.ErrPrefixLetters},
	{"upper case inside", "laPse", bearer.ErrPrefixLetters},
	{"digit first", "1a", bearer.ErrPrefixLetters},
	{"underscore first", "_a", bearer.ErrPrefixLetters},
	{"underscore alone", "_", bearer.ErrPrefixLetters},
	{"underscore last", "lapse_", bearer.ErrPrefixEnd},
	{"two underscores last", "a__", bearer.ErrPrefixEnd},
	{"hyphen", "la-pse", bearer.ErrPrefixLetters},
	{"space", "la pse", bearer.ErrPrefixLetters},
	{"space last", "lapse ", bearer.ErrPrefixLetters},
	{"newline last", "lapse\n", bearer.ErrPrefixLetters},
	{"NUL", "la\x00pse", bearer.ErrPrefixLetters},
	{"dot", "la.pse", bearer.ErrPrefixLetters},
	{"percent", "la%70se", bearer.ErrPrefixLetters},
	{"byte before a", "la`se", bearer.ErrPrefixLetters},
	{"byte after z", "la{se", bearer.ErrPrefixLetters},
	{"byte before 0", "la/se", bearer.ErrPrefixLetters},
	{"byte after 9", "la:se", bearer.ErrPrefixLetters},
	{"umlaut", "läpse", bearer.ErrPrefixLetters},
	{"invalid UTF-8", "la\xffse", bearer.ErrPrefixLetters},
}

// TestPrefixes: the grammar is one, for New and for the parser, and a right
// checksum does not help a prefix that no Config could have.
func TestPrefixes(t *testing.T) {
	for _, tt := range prefixCases {
		t.Run(tt.name, func(t *testing.T) {
			if got := checkPrefix(tt.prefix); got != tt.err {
				t.Errorf("checkPrefix = %v, want %v", got, tt.err)
			}
			text := spellToken(tt.prefix, credentialOf(1))
			if tt.err == nil {
				mustParse(t, text)
			} else {
				refuseText(t, text)
			}
			m, err := New(newTallyStore(), Config{Prefix: tt.prefix})
			switch {
			case tt.err == nil && err != nil:
				t.Errorf("New = %v", err)
			case tt.err != nil && (m != nil || !errors.Is(err, ErrInvalidConfig) || !errors.Is(err, tt.err)):
				t.Errorf("New = %v, %v, want nil, ErrInvalidConfig with %q", m, err, tt.err)
			case tt.err != nil && !strings.Contains(err.Error(), "Prefix"):
				t.Errorf("New = %v, want the name of the field", err)
			}
		})
	}
	refuseText(t, spellToken("", credentialOf(1))) // which is the default in Config alone
}

// TestDefaultPrefix: the empty one means lapse.
func TestDefaultPrefix(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	if diff := cmp.Diff("lapse", issued.Prefix); diff != "" || !strings.HasPrefix(issued.Bearer, "lapse_") {
		t.Errorf("prefix of %.6q... (-want +got):\n%s", issued.Bearer, diff)
	}
}

// TestExtremesAreWellFormed: all zero and all one are tokens as good as any
// other, which no caller has.
func TestExtremesAreWellFormed(t *testing.T) {
	for name, b := range map[string]byte{"all zero": 0, "all one": 0xff} {
		t.Run(name, func(t *testing.T) {
			store := newTallyStore()
			m, _ := managerOver(t, store, Config{})
			c := filled(func(int) byte { return b })
			text := spellToken("lapse", &c)
			for verb, err := range bearerVerbs(t.Context(), m, text) {
				if !errors.Is(err, ErrUnknown) {
					t.Errorf("%s = %v, want ErrUnknown", verb, err)
				}
			}
			if diff := cmp.Diff(map[string]int{"Get": 7}, store.calls); diff != "" {
				t.Errorf("calls of the store (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnknownIsNotAdopted: a well-formed token that was never issued is not known
// after it has been presented either.
func TestUnknownIsNotAdopted(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	text := credentialOf(5).Text("lapse")
	_, _ = m.Authenticate(t.Context(), text)
	issueTo(t, m, Grant{Subject: "ana"})
	if _, err := m.Authenticate(t.Context(), text); !errors.Is(err, ErrUnknown) {
		t.Errorf("Authenticate = %v, want ErrUnknown", err)
	}
}

// TestDigestIsNoSecret: who has read the store cannot present what he found.
func TestDigestIsNoSecret(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	rec, err := store.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	var c credential
	sum := rec.Digest.Sum()
	copy(c[:], rec.ID[:])
	copy(c[len(rec.ID):], sum[:])
	if _, err := m.Authenticate(t.Context(), c.Text("lapse")); !errors.Is(err, ErrUnknown) {
		t.Errorf("Authenticate with the stored digest for a secret = %v, want ErrUnknown", err)
	}
}

// TestRecordWithoutDigest: absence means deny. No secret opens a record whose
// digest is missing, or was made by an algorithm that is not ours; but neither is
// its holder told that the token is no good.
func TestRecordWithoutDigest(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	rec, err := store.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	sum := rec.Digest.Sum()
	for name, row := range map[string]struct {
		digest storage.Digest
		want   error
	}{
		"none":                 {storage.Digest{}, ErrCorrupt},
		"of no algorithm":      {storage.NewDigest(0, sum), ErrCorrupt},
		"of another algorithm": {storage.NewDigest(2, sum), ErrCorrupt},
		"all zero":             {storage.NewDigest(storage.SHA256, [32]byte{}), ErrUnknown},
		"of the last bit":      {storage.NewDigest(storage.SHA256, flipped(sum, 31)), ErrUnknown},
		"of the first bit":     {storage.NewDigest(storage.SHA256, flipped(sum, 0)), ErrUnknown},
	} {
		damaged := rec
		damaged.Digest = row.digest
		put := func(tx storage.Tx) error { return tx.Put(damaged) }
		if err := store.Update(t.Context(), "ana", put); err != nil {
			t.Fatal(err)
		}
		for verb, err := range bearerVerbs(t.Context(), m, issued.Bearer) {
			if !errors.Is(err, row.want) {
				t.Errorf("%s: %s = %v, want %v", name, verb, err, row.want)
			}
		}
	}
}

// TestRecordOfAnotherPrefix: who rewrites the prefix of a record has not made it
// a token of that prefix, nor left it one of its own.
func TestRecordOfAnotherPrefix(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	other, _ := managerOver(t, store, Config{Prefix: "other"})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	rewrite := func(tx storage.Tx) error {
		rec, err := tx.Get(issued.ID)
		if err != nil {
			return err
		}
		rec.Prefix = "other"
		return tx.Put(rec)
	}
	if err := store.Update(t.Context(), "ana", rewrite); err != nil {
		t.Fatal(err)
	}
	renamed := sealed("other_" + strings.Join(body(issued.Bearer), ""))
	for _, m := range []*Manager{m, other} {
		for _, text := range []string{issued.Bearer, renamed} {
			if _, err := m.Authenticate(t.Context(), text); !errors.Is(err, ErrUnknown) {
				t.Errorf("%.5s as %.5s = %v, want ErrUnknown", text, m.prefix, err)
			}
		}
	}
}

func flipped(sum [32]byte, at int) [32]byte {
	sum[at] ^= 1
	return sum
}

// TestJunkCostsNothing, however much there is of it.
func TestJunkCostsNothing(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	for _, size := range []int{1, 71, 72, 73, 74, 78, 89, 90, 1 << 10, 1 << 20, 16 << 20} {
		for _, unit := range []string{"a", ".", "_", "\x00", "a_"} {
			junk := strings.Repeat(unit, size)
			refuseText(t, junk)
			if race.Enabled {
				continue
			}
			if n := testing.AllocsPerRun(3, func() { _, _ = m.Authenticate(t.Context(), junk) }); n != 0 {
				t.Errorf("refusing %d times %q makes %v allocations", size, unit, n)
			}
		}
	}
}

// testInstant is where the clocks of these tests start.
var testInstant = time.Date(2026, time.February, 28, 12, 0, 0, 0, time.UTC)

// tallyStore counts the calls of each method and fails those it is told to,
// before they have an effect.
type tallyStore struct {
	storage.Store
	mu    sync.Mutex // for call, since connections that are held read on their own
	calls map[string]int
	fails map[string]error
}

func newTallyStore() *tallyStore {
	return &tallyStore{Store: memory.New(), calls: map[string]int{}, fails: map[string]error{}}
}

func (s *tallyStore) call(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
	return s.fails[method]
}

func (s *tallyStore) Get(ctx context.Context, id ID) (storage.Record, error) {
	if err := s.call("Get"); err != nil {
		return storage.Record{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s *tallyStore) Touch(ctx context.Context, id ID, use storage.Use) error {
	if err := s.call("Touch"); err != nil {
		return err
	}
	return s.Store.Touch(ctx, id, use)
}

func (s *tallyStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if err := s.call("Update"); err != nil {
		return err
	}
	return s.Store.Update(ctx, subject, fn)
}

func (s *tallyStore) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	if err := s.call("List"); err != nil {
		return func(yield func(storage.Record, error) bool) { yield(storage.Record{}, err) }
	}
	return s.Store.List(ctx, f)
}

func (s *tallyStore) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.call("Sweep"); err != nil {
		return 0, err
	}
	return s.Store.Sweep(ctx, before, limit)
}

// managerOver returns a Manager over store on a mock clock at testInstant, or on
// the clock of cfg.
func managerOver(t testing.TB, store storage.Store, cfg Config) (*Manager, *clock.Mock) {
	t.Helper()
	mock := clock.NewMock()
	mock.Set(testInstant)
	if cfg.Clock == nil {
		cfg.Clock = mock
	}
	m, err := New(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m, mock
}

// issueTo issues a token that must be possible.
func issueTo(t testing.TB, m *Manager, g Grant) Issued {
	t.Helper()
	issued, err := m.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// nearMisses are what becomes of a token on its way through people and programs.
func nearMisses(text string) map[string]string {
	const bom = "\ufeff"
	misses := map[string]string{
		"nothing": "", "twice": text + text, "twice, with a space": text + " " + text,
		"newline after": text + "\n", "CRLF after": text + "\r\n", "NUL after": text + "\x00", "space after": text + " ",
		"BOM after": text + bom, "dot after": text + ".", "equals after": text + "==", "digit after": text + "0",
		"space before": " " + text, "newline before": "\n" + text, "NUL before": "\x00" + text, "BOM before": bom + text,
		"digit before": "0" + text, "underscore before": "_" + text, "quoted": `"` + text + `"`, "in angles": "<" + text + ">",
		"upper case": strings.ToUpper(text), "lower case": strings.ToLower(text), "title case": strings.ToUpper(text[:1]) + text[1:],
		"Bearer": "Bearer " + text, "bearer": "bearer " + text, "Bearer without a space": "Bearer" + text, "scheme and colon": "Bearer: " + text,
		"Bearer alone": "Bearer", "Bearer and space": "Bearer ", "number and bar": "1|" + text,
		"URL-encoded underscore": strings.ReplaceAll(text, "_", "%5F"), "URL-encoded digit": text[:20] + fmt.Sprintf("%%%02X", text[20]) + text[21:],
		"URL-encoded twice": url.QueryEscape(url.QueryEscape(text + " ")), "hyphen for underscore": strings.ReplaceAll(text, "_", "-"),
		"no underscore": strings.ReplaceAll(text, "_", ""), "two underscores": strings.ReplaceAll(text, "_", "__"),
		"soft hyphen inside": text[:40] + "\u00ad" + text[40:], "zero-width space inside": text[:40] + "\u200b" + text[40:],
		"full-width digit": text[:40] + "\uff10" + text[41:], "line break inside": text[:40] + "\n" + text[40:],
		"body alone": text[strings.Index(text, "_")+1:], "prefix alone": text[:strings.Index(text, "_")], "prefix and underscore": text[:strings.Index(text, "_")+1],
		"ID alone": text[strings.Index(text, "_")+1:][:22],
	}
	for n := range text {
		misses[fmt.Sprintf("without the last %d", len(text)-n)] = text[:n]
		if n > 0 {
			misses[fmt.Sprintf("without the first %d", n)] = text[n:]
		}
		misses[fmt.Sprintf("without character %d", n)] = text[:n] + text[n+1:]
		misses[fmt.Sprintf("character %d twice", n)] = text[:n+1] + text[n:]
	}
	return misses
}

// TestNearMisses: nothing is trimmed or folded, whichever verb reads the text,
// and the store is not asked.
func TestNearMisses(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	issued := issueTo(t, m, Grant{Subject: "ana"})
	clear(store.calls)
	for name, text := range nearMisses(issued.Bearer) {
		refuseText(t, text)
		for verb, err := range bearerVerbs(t.Context(), m, text) {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %s = %v, want ErrMalformed", name, verb, err)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{}, store.calls); diff != "" {
		t.Errorf("calls of the store (-want +got):\n%s", diff)
	}
	if _, err := m.Authenticate(t.Context(), issued.Bearer); err != nil {
		t.Errorf("the token itself, after all that: %v", err)
	}
}

// bearerVerbs gives text to every verb that reads one.
func bearerVerbs(ctx context.Context, m *Manager, text string) map[string]error {
	_, authenticate := m.Authenticate(ctx, text)
	_, peek := m.Peek(ctx, text)
	_, renew := m.Renew(ctx, text)
	_, confirm := m.Confirm(ctx, text)
	_, rotate := m.Rotate(ctx, text, time.Second)
	_, delegate := m.Delegate(ctx, text, Grant{})
	_, expire := m.ExpireBearer(ctx, text)
	return map[string]error{"Rotate": rotate, "Delegate": delegate, "Authenticate": authenticate, "Peek": peek, "Renew": renew, "Confirm": confirm, "ExpireBearer": expire}
}

// replaceRandom gives every Reader of randomness in this process another source
// until the test ends. Such a test must not be parallel.
func replaceRandom(t *testing.T, r io.Reader) {
	t.Helper()
	original := cryptorand.Reader
	cryptorand.Reader = r
	t.Cleanup(func() { cryptorand.Reader = original })
}

// endless repeats one byte.
type endless byte

func (b endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

var errDevice = errors.New("no such device")

// TestBrokenRandomSource: no token is better than one that can be guessed, and
// the store is not even asked.
func TestBrokenRandomSource(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source io.Reader
		cause  error // nil: none but bearer.ErrNoRandomness
	}{
		{"fails", iotest.ErrReader(errDevice), errDevice},
		{"gives nothing", bytes.NewReader(nil), io.EOF},
		{"gives too little", bytes.NewReader(make([]byte, mintLen-1)), io.ErrUnexpectedEOF},
		{"fails after the ID", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{7}, mintLen-secretLen)), iotest.ErrReader(errDevice)), errDevice},
		{"gives only zeros", endless(0), nil},
		{"gives a secret of zeros", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{7}, mintLen-secretLen)), endless(0)), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, events := newTallyStore(), 0
			m, _ := managerOver(t, store, Config{Observe: func(_ context.Context, e Event) {
				if e.Kind != EventCouldNotTell || !errors.Is(e.Err, bearer.ErrNoRandomness) {
					events++
				}
			}})
			replaceRandom(t, tt.source)
			issued, err := m.Issue(t.Context(), Grant{Subject: "ana"})
			if !errors.Is(err, bearer.ErrNoRandomness) || tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("Issue = %v, want %q with %v", err, bearer.ErrNoRandomness, tt.cause)
			}
			if errors.Is(err, ErrUnauthenticated) || errors.Is(err, ErrInvalidGrant) {
				t.Errorf("Issue = %v, which blames the caller", err)
			}
			if diff := cmp.Diff(Issued{}, issued); diff != "" {
				t.Errorf("Issued (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]int{}, store.calls); diff != "" || events != 0 {
				t.Errorf("%d events; calls of the store (-want +got):\n%s", events, diff)
			}
		})
	}
}

// TestSlowRandomSource: a source may give one byte at a time.
func TestSlowRandomSource(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	replaceRandom(t, iotest.OneByteReader(cryptorand.Reader))
	issued := issueTo(t, m, Grant{Subject: "ana"})
	if _, err := m.Authenticate(t.Context(), issued.Bearer); err != nil {
		t.Error(err)
	}
}

// TestRepeatingRandomSource: the second token would have the ID of the first. It
// is not issued, and the first one stays as it is.
func TestRepeatingRandomSource(t *testing.T) {
	store := newTallyStore()
	m, _ := managerOver(t, store, Config{})
	replaceRandom(t, endless(7))
	issued := issueTo(t, m, Grant{Subject: "ana", Name: "first"})
	if _, err := m.Issue(t.Context(), Grant{Subject: "ana", Name: "second"}); !errors.Is(err, ErrConflict) {
		t.Errorf("Issue = %v, want ErrConflict", err)
	}
	tok, err := m.Peek(t.Context(), issued.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(issued.Token, tok); diff != "" {
		t.Errorf("first token (-want +got):\n%s", diff)
	}
	if n := recordsIn(t, store); n != 1 {
		t.Errorf("%d records are stored, want 1", n)
	}
}

// TestRepeatingOnce: Issue draws again and its caller does not notice.
func TestRepeatingOnce(t *testing.T) {
	m, _ := managerOver(t, newTallyStore(), Config{})
	same := bytes.Repeat([]byte{7}, mintLen)
	other := bytes.Repeat([]byte{8}, mintLen)
	replaceRandom(t, io.MultiReader(bytes.NewReader(same), bytes.NewReader(same), bytes.NewReader(other)))
	first, second := issueTo(t, m, Grant{Subject: "ana"}), issueTo(t, m, Grant{Subject: "ana"})
	for _, issued := range []Issued{first, second} {
		if tok, err := m.Peek(t.Context(), issued.Bearer); err != nil || tok.ID != issued.ID {
			t.Errorf("Peek = %v, %v, want %v", tok.ID, err, issued.ID)
		}
	}
	if first.Bearer == second.Bearer {
		t.Error("two tokens have one text")
	}
}

// recordsIn counts what is stored.
func recordsIn(t *testing.T, store storage.Store) (n int) {
	t.Helper()
	for _, err := range store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

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
	s := newSecrets()
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
	sealed := derivedSecret(c, obtainedLabel, newKey([keyLen]byte(k)).First, tag)

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
		if got := changed.derive(&r, &c); got != want || want && c.Text("lapse") != issued.Bearer {
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
	all := newSecrets()
	for _, more := range []secrets{secretsOfKey(keys[0]), secretsOfKey(keys[1]), secretsOf(again.Bearer), secretsOf(rotated.Bearer)} {
		all.merge(more)
	}
	for name, shapes := range values {
		for n, shape := range slices.Sorted(maps.Keys(shapes)) {
			if !sample.Every(3, n+len(name)) {
				continue
			}
			if printers := all.shownBy(shapes[shape]); len(printers) > 0 {
				t.Errorf("%s, %s: secrets are shown by %s and %d more", name, shape, printers[0], len(printers)-1)
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
	if strings.Count(string(file), obtainedLabel) < 2 { // of the two tokens
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

// Short names for the tests of this package, where bearer is the name of many a variable.
type (
	credential = bearer.Credential
	binding    = bearer.Binding
	tagKey     = bearer.TagKey
	secretKind = bearer.Kind
)

const (
	idLen         = bearer.IDLen
	secretLen     = bearer.SecretLen
	bodyLen       = bearer.BodyLen
	keyLen        = bearer.KeyLen
	saltLen       = bearer.SaltLen
	randomLen     = bearer.RandomLen
	generationLen = bearer.GenerationLen
	plainSecret   = bearer.PlainSecret
	accessSecret  = bearer.AccessSecret
	refreshSecret = bearer.RefreshSecret

	mintLen = idLen/2 + secretLen // how many random bytes Mint draws
)

var (
	checkPrefix       = bearer.CheckPrefix
	newBinding        = bearer.NewBinding
	newRefreshBinding = bearer.NewRefreshBinding
	newKey            = bearer.NewKey

	sealed       = bearertest.Sealed
	spellToken   = bearertest.Text
	credentialOf = bearertest.Credential
	filled       = bearertest.Filled
	body         = bearertest.Groups
	refuseText   = bearertest.Refuse
	mustParse    = bearertest.Accept
	fromHex      = bearertest.FromHex
)

// checksum returns the CRC-32 of text behind something whose checksum is begun, without
// an allocation.
func checksum(begun uint32, text string) uint32 {
	return crc32.Update(begun, crc32.IEEETable, unsafe.Slice(unsafe.StringData(text), len(text)))
}

// tagKeyOf makes a key from a seed, the same on every run.
func tagKeyOf(seed byte) (k tagKey) {
	_, _ = rand.NewChaCha8([32]byte{seed, 't'}).Read(k[:])
	return k
}
