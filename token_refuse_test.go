package lapse

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

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

// refuseText reports a text that parse takes, whichever prefix is expected.
func refuseText(t *testing.T, text string) {
	t.Helper()
	for _, own := range []string{"lapse", "other"} {
		var c credential
		if prefix, ok := c.Parse(text, own, begin(own)); ok {
			t.Errorf("parse(%.200q, %q) took it as a token of prefix %q", text, own, prefix)
		}
	}
}

func mustParse(t *testing.T, text string) {
	t.Helper()
	var c credential
	if _, ok := c.Parse(text, "lapse", begin("lapse")); !ok {
		t.Errorf("parse(%q) refused a good token", text)
	}
}

// body returns the groups of a text with the prefix lapse, without the checksum.
func body(text string) []string {
	digits := strings.TrimPrefix(text, "lapse_")
	var groups []string
	for at := 0; at < 66; at += 11 {
		groups = append(groups, digits[at:at+11])
	}
	return groups
}

// TestEveryGroupHasOneSpelling: eleven digits have room for a second spelling of
// every group, its value plus 2^64. A right checksum does not make it a token.
func TestEveryGroupHasOneSpelling(t *testing.T) {
	two64 := new(big.Int).Lsh(big.NewInt(1), 64)
	creds := []credential{{}, filled(func(int) byte { return 0xff }), *credentialOf(7), *credentialOf(8)}
	for _, c := range creds {
		groups := body(c.Text("lapse"))
		mustParse(t, sealed("lapse_"+strings.Join(groups, "")))
		for at := range groups {
			value := new(big.Int).SetBytes(c[8*at : 8*at+8])
			other := append([]string{}, groups...)
			other[at] = spell(value.Add(value, two64), 11)
			refuseText(t, sealed("lapse_"+strings.Join(other, "")))
		}
	}
}

// TestChecksumHasOneSpelling: six digits have room for the checksum plus 2^32.
func TestChecksumHasOneSpelling(t *testing.T) {
	for i := range uint64(50) {
		text := credentialOf(i).Text("lapse")
		unsealed := text[:len(text)-6]
		sum := big.NewInt(int64(checksum(0, unsealed)))
		mustParse(t, unsealed+spell(sum, 6))
		for n := int64(1); n <= 12; n++ { // 62^6 is over 13 * 2^32
			refuseText(t, unsealed+spell(new(big.Int).Add(sum, big.NewInt(n<<32)), 6))
		}
	}
}

// foreign are bytes that no token holds at all, but for the underscore.
const foreign = "-_+/=.,:;!?*~%&#@$^|\\\"'`<>()[]{} \t\r\n\x00\x01\x1b\x7f\x80\xa0\xc3\xe2\xff"

func TestSingleSubstitutions(t *testing.T) {
	for _, prefix := range []string{"lapse", "a_b9"} {
		text := credentialOf(3).Text(prefix)
		tried := 0
		for at := range text {
			for _, b := range []byte(base62Digits + foreign) {
				if b == text[at] {
					continue
				}
				tried++
				refuseText(t, text[:at]+string([]byte{b})+text[at+1:])
			}
		}
		if want := len(text) * (62 + len(foreign) - 1); tried != want {
			t.Errorf("tried %d substitutions, want %d", tried, want)
		}
	}
}

func TestNeighboursSwapped(t *testing.T) {
	for i := range uint64(20) {
		text := credentialOf(i).Text("lapse")
		for at := range len(text) - 1 {
			if text[at] != text[at+1] {
				refuseText(t, text[:at]+text[at+1:at+2]+text[at:at+1]+text[at+2:])
			}
		}
	}
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
	_, rotate := m.Rotate(ctx, text, time.Second)
	_, delegate := m.Delegate(ctx, text, Grant{})
	_, expire := m.ExpireBearer(ctx, text)
	return map[string]error{"Rotate": rotate, "Delegate": delegate, "Authenticate": authenticate, "Peek": peek, "Renew": renew, "ExpireBearer": expire}
}
