package lapse_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestFault18OrderOfIssue: a list is in the order in which issues began, and IssuedAt says
// when a token was stored: an issue that waited is listed first and was stored last.
func TestFault18OrderOfIssue(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	var second lapse.Issued
	f.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			f.store.Before(nil)
			f.clock.Add(time.Second)
			second = f.issue(lapse.Grant{Subject: "ana", Name: "second"})
			f.clock.Add(time.Second)
		}
	})
	first := f.issue(lapse.Grant{Subject: "ana", Name: "first"})
	listed, err := lapsetest.Collect(f.List(f.ctx, lapse.Query{Subject: "ana"}))
	lapsetest.WantIs(t, "Tokens", err, nil)
	lapsetest.WantDiff(t, "the order in which they began", []lapse.Token{first.Token, second.Token}, listed)
	if !listed[1].IssuedAt.Equal(lapsetest.StartMilli.Add(time.Second)) || !listed[0].IssuedAt.Equal(lapsetest.StartMilli.Add(2*time.Second)) {
		t.Errorf("stored at %v and %v; want the second after a second and the first after two", listed[0].IssuedAt, listed[1].IssuedAt)
	}
}

const kibi = 1024

// TestIssueNamesTheField: a grant out of limits is refused before anything is
// stored, by the field's name and, where there is one, the limit.
func TestIssueNamesTheField(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	for _, tt := range []struct {
		name  string
		grant lapse.Grant
		says  []string
	}{
		{"Subject empty", lapse.Grant{}, []string{"Subject", "empty"}},
		{"Subject of 256 bytes", lapse.Grant{Subject: a(256)}, []string{"Subject", "256", "255"}},
		{"Subject of 128 two-byte letters", lapse.Grant{Subject: strings.Repeat("é", 128)}, []string{"Subject", "256", "255"}},
		{"Subject of 32,769 bytes", lapse.Grant{Subject: a(32_769)}, []string{"Subject", "32769", "255"}},
		{"Subject of 1 MiB", lapse.Grant{Subject: a(kibi * kibi)}, []string{"Subject", "255"}},
		{"Subject not UTF-8", lapse.Grant{Subject: "a\xffb"}, []string{"Subject", "UTF-8"}},
		{"Subject with half a letter at its end", lapse.Grant{Subject: "caf\xc3"}, []string{"Subject", "UTF-8"}},
		{"Subject with a lone surrogate", lapse.Grant{Subject: "a\xed\xa0\x80"}, []string{"Subject", "UTF-8"}},
		{"Subject with an overlong slash", lapse.Grant{Subject: "a\xc0\xaf"}, []string{"Subject", "UTF-8"}},
		{"Subject NUL", lapse.Grant{Subject: "\x00"}, []string{"Subject", "U+0000"}},
		{"Subject with NUL", lapse.Grant{Subject: "a\x00b"}, []string{"Subject", "U+0000"}},
		{"Subject with newline", lapse.Grant{Subject: "ana\n"}, []string{"Subject", "U+000A"}},
		{"Subject with tab", lapse.Grant{Subject: "a\tb"}, []string{"Subject", "U+0009"}},
		{"Subject with escape", lapse.Grant{Subject: "a\x1b[2J"}, []string{"Subject", "U+001B"}},
		{"Subject with DEL", lapse.Grant{Subject: "a\x7f"}, []string{"Subject", "U+007F"}},
		{"Subject with a C1 control", lapse.Grant{Subject: "a\u0085"}, []string{"Subject", "U+0085"}},
		{"Name of 256 bytes", lapse.Grant{Subject: "ana", Name: a(256)}, []string{"Name", "256", "255"}},
		{"Name with a line feed", lapse.Grant{Subject: "ana", Name: "a\nb"}, []string{"Name", "U+000A", "ClipName"}},
		{"Name not UTF-8", lapse.Grant{Subject: "ana", Name: "\x80"}, []string{"Name", "UTF-8"}},
		{"Client of 256 bytes", lapse.Grant{Subject: "ana", Client: a(256)}, []string{"Client", "256", "255"}},
		{"Client not UTF-8", lapse.Grant{Subject: "ana", Client: "\x80"}, []string{"Client", "UTF-8"}},
		{"Scope of 1,025 bytes", lapse.Grant{Subject: "ana", Scope: a(1025)}, []string{"Scope", "1025", "1024"}},
		{"Scope with two spaces", lapse.Grant{Subject: "ana", Scope: "a  b"}, []string{"Scope", "one space"}},
		{"Data of 4,097 bytes", lapse.Grant{Subject: "ana", Data: a(4097)}, []string{"Data", "4097", "4096"}},
		{"Data of 64 KiB", lapse.Grant{Subject: "ana", Data: a(64*kibi + 1)}, []string{"Data", "4096"}},
		{"TTL negative", lapse.Grant{Subject: "ana", TTL: -time.Second}, []string{"TTL", "-1s", "negative"}},
		{"TTL 1 ns", lapse.Grant{Subject: "ana", TTL: 1}, []string{"TTL", "1ns", "millisecond"}},
		{"TTL over the cap", lapse.Grant{Subject: "ana", TTL: 2 * time.Hour}, []string{"TTL", "2h0m0s", "MaxTTL", "1h0m0s"}},
		{"TTL without limit", lapse.Grant{Subject: "ana", TTL: lapse.NoLimit}, []string{"TTL", "NoLimit"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := memory.New()
			told := 0
			m, _ := configured(t, store, lapse.Config{Policy: lapse.Policy{MaxTTL: time.Hour}, Observe: func(context.Context, lapse.Event) { told++ }})
			issued, err := m.Issue(t.Context(), tt.grant)
			if !errors.Is(err, lapse.ErrInvalidGrant) || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Fatalf("Issue = %v, want ErrInvalidGrant", err)
			}
			for _, words := range tt.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%.200q does not say %q", err, words)
				}
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error has %d bytes: it repeats what it was given", len(err.Error()))
			}
			if n := len(stored(t, store)); n != 0 || told != 0 || issued.Bearer != "" {
				t.Errorf("%d records are stored, %d events told, bearer %q", n, told, issued.Bearer)
			}
		})
	}
}

// TestGrantsComeBack byte for byte, up to their limits.
func TestGrantsComeBack(t *testing.T) {
	binary := make([]byte, 4096)
	for i := range binary {
		binary[i] = byte(i)
	}
	for _, g := range []lapse.Grant{
		{Subject: "a"},
		{Subject: strings.Repeat("a", 255)},
		{Subject: strings.Repeat("😀", 63) + "abc"}, // 255 bytes
		{Subject: "ana "}, {Subject: " "}, {Subject: "ana\u00a0"},
		{Subject: "אנה"}, // from right to left, by itself
		{Subject: "tokens"}, {Subject: "meta"}, {Subject: "0123456789abcdef"},
		{Subject: "'; DROP TABLE tokens; --"}, {Subject: "../../etc/passwd"}, {Subject: "%00"},
		{Subject: "a\ufffdb"}, // the replacement character itself is valid
		{Subject: "ana", Name: "Ana's laptop"},
		{Subject: "ana", Name: strings.Repeat("n", 255)},
		{Subject: "ana", Name: "línea línea"},
		{Subject: "ana", Scope: strings.Repeat("s", 1024)},
		{Subject: "ana", Data: strings.Repeat("d", 4096)},
		{Subject: "ana", Data: string(binary)}, // which is not UTF-8
		{Subject: "ana", Data: "\x00"},
	} {
		t.Run(fmt.Sprintf("%.30q %.20q %d %d", g.Subject, g.Name, len(g.Scope), len(g.Data)), func(t *testing.T) {
			m, _ := configured(t, memory.New(), lapse.Config{})
			issued := issueFor(t, m, g)
			tok, err := m.Authenticate(t.Context(), issued.Bearer)
			if err != nil {
				t.Fatal(err)
			}
			got := lapse.Grant{Subject: tok.Subject, Name: tok.Name, Scope: tok.Scope, Data: tok.Data}
			if diff := cmp.Diff(g, got); diff != "" {
				t.Errorf("grant (-want +got):\n%s", diff)
			}
		})
	}
}

// TestScopeGrammar is RFC 6749 section 3.3: words of %x21 / %x23-5B / %x5D-7E
// with single spaces between them.
func TestScopeGrammar(t *testing.T) {
	valid := map[string]bool{
		"": true, "read": true, "read write": true, "a b c d": true, "!": true, "#": true, "[": true, "]": true, "~": true,
		"https://example.com/scope.read": true, "user:email": true, "a,b": true, "read read": true, "*": true,
		" ": false, "  ": false, " read": false, "read ": false, "read  write": false, "read\twrite": false,
		"read\nwrite": false, "read\x00": false, `"`: false, `a"b`: false, `\`: false, `a\b`: false, "\x7f": false,
		"caf\u00e9": false, "\x80": false, "read\u00a0write": false, "read write ": false,
	}
	for b := range 256 {
		word := string([]byte{byte(b)})
		valid["w"+word+"w"] = b == 0x20 || b == 0x21 || b >= 0x23 && b <= 0x5b || b >= 0x5d && b <= 0x7e
	}
	m, _ := configured(t, memory.New(), lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	for scope, want := range valid {
		issued, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana", Scope: scope})
		if want && (err != nil || issued.Scope != scope) || !want && !errors.Is(err, lapse.ErrInvalidGrant) {
			t.Errorf("scope %q = %q, %v, want it valid: %v", scope, issued.Scope, err, want)
		}
	}
}

// TestHas compares whole words.
func TestHas(t *testing.T) {
	tok := lapse.Token{Scope: "read read:all write"}
	for scope, want := range map[string]bool{
		"read": true, "read:all": true, "write": true,
		"": false, " ": false, "rea": false, "ead": false, "Read": false, "all": false, "read ": false, " read": false,
		"read write": false, "read read:all": false, "*": false, "read*": false, "read:all write": false,
	} {
		if got := tok.Has(scope); got != want {
			t.Errorf("Has(%q) = %v, want %v", scope, got, want)
		}
	}
	for _, scope := range []string{"", " ", "read"} {
		if (lapse.Token{}).Has(scope) {
			t.Errorf("a token without scope has %q", scope)
		}
	}
}

// TestGrantTTL is copied as it is, rounded down to milliseconds, and never
// clamped.
func TestGrantTTL(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name    string
		maxTTL  time.Duration
		ttl     time.Duration
		want    time.Duration
		refused bool
	}{
		{"zero is the policy's", time.Hour, 0, 10 * time.Minute, false},
		{"1 ns", time.Hour, 1, 0, true},
		{"1 ns under a millisecond", time.Hour, ms - 1, 0, true},
		{"a millisecond", time.Hour, ms, ms, false},
		{"rounds down", time.Hour, 2*ms - 1, ms, false},
		{"-1 ns", time.Hour, -1, 0, true},
		{"negative", time.Hour, -time.Hour, 0, true},
		{"most negative", time.Hour, -1 << 63, 0, true},
		{"below the policy's", time.Hour, time.Minute, time.Minute, false},
		{"over the policy's, under the cap", time.Hour, 50 * time.Minute, 50 * time.Minute, false},
		{"1 ms under the cap", time.Hour, time.Hour - ms, time.Hour - ms, false},
		{"at the cap", time.Hour, time.Hour, time.Hour, false},
		{"1 ms over the cap", time.Hour, time.Hour + ms, 0, true},
		{"far over the cap", time.Hour, 1000 * time.Hour, 0, true},
		{"NoLimit", time.Hour, lapse.NoLimit, 0, true},
		{"NoLimit where there is no cap", lapse.NoLimit, lapse.NoLimit, 0, true},
		{"290 years where there is no cap", lapse.NoLimit, 290 * 365 * 24 * time.Hour, 290 * 365 * 24 * time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := memory.New()
			m, _ := configured(t, store, lapse.Config{Policy: lapse.Policy{TTL: 10 * time.Minute, MaxTTL: tt.maxTTL}})
			issued, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana", TTL: tt.ttl})
			if tt.refused {
				if n := len(stored(t, store)); !errors.Is(err, lapse.ErrInvalidGrant) || n != 0 {
					t.Errorf("Issue = %v with %d stored, want ErrInvalidGrant", err, n)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(configStart.Add(tt.want), issued.ExpiresAt); diff != "" {
				t.Errorf("expiry (-want +got):\n%s", diff)
			}
			if got := stored(t, store)[0].TTL; got != tt.want {
				t.Errorf("stored TTL = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestGrantTTLIsWhatRenewalsGrant, longer or shorter than the policy's.
func TestGrantTTLIsWhatRenewalsGrant(t *testing.T) {
	for _, ttl := range []time.Duration{time.Minute, 40 * time.Minute} {
		m, clock := configured(t, memory.New(), lapse.Config{Policy: lapse.Policy{TTL: 10 * time.Minute, MaxTTL: time.Hour}})
		issued := issueFor(t, m, lapse.Grant{Subject: "ana", TTL: ttl})
		clock.t = configStart.Add(30 * time.Second)
		tok, err := m.Authenticate(t.Context(), issued.Bearer)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(clock.t.Add(ttl), tok.ExpiresAt); diff != "" {
			t.Errorf("expiry (-want +got):\n%s", diff)
		}
	}
}

// TestFault3_OneRuleForSubjectAndName: of each class of characters, the same stand in both.
func TestFault3_OneRuleForSubjectAndName(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	p := memoryPairs(t, lapse.PairConfig{})
	for _, row := range []struct {
		text  string
		stand bool
	}{
		{"ana", true}, {" ", true}, {"~", true}, {"a\tb", false}, {"a\nb", false}, {"a\rb", false}, {"a\x00b", false}, {"a\x1b[31mb", false}, {"\x7f", false},
		{"\u0080", false}, {"\u0085", false}, {"\u009f", false}, {"\u00a0", true}, {"\u00ad", false}, {"é", true}, {"e\u0301", true}, {"漢字", true}, {"葛\U000e0100", true},
		{"a\u200bb", false}, {"a\u200cb", false}, {"a\u200db", false}, {"a\u200eb", false}, {"\u2027", true}, {"\u2028", false}, {"\u2029", false}, {"\u202a", false}, {"\u202e", false},
		{"\u2060", false}, {"\u2066", false}, {"\u2069", false}, {"\ufeff", false}, {"\ufffd", true}, {"\ue000", false}, {"\U0010ffff", false}, {"\u0378", false},
		{"\u034f", false}, {"\u115f", false}, {"\u3164", false}, {"\u3000", true}, {"👩\u200d💻", true}, {"👩🏽\u200d💻", true}, {"👩\u200d❤️\u200d👩", true}, {"🙂\u200d↔️", true}, {"👩\u200d", false}, {"\u200d💻", false},
		{"👩\u200d\u200d💻", false}, {"a\u200d💻", false}, {"👩\u200da", false}, {"$\u200d$", false}, {"1️⃣", true}, {"\xff", false}, {"a\xc3", false}, {"\xed\xa0\x80", false},
	} {
		for field, g := range map[string]lapse.Grant{"Subject": {Subject: row.text}, "Name": {Subject: "ana", Name: row.text}, "Client": {Subject: "ana", Client: row.text}} {
			_, err := f.Issue(f.ctx, g)
			_, pairErr := p.Issue(f.ctx, g)
			if (err == nil) != row.stand || (pairErr == nil) != row.stand {
				t.Errorf("%+q as a %s: %v, and of a session %v; want it to stand: %v", row.text, field, err, pairErr, row.stand)
			} else if !row.stand {
				hushWantField(t, fmt.Sprintf("%+q as a %s", row.text, field), err, field)
			}
		}
	}
}

// TestFault3_NameMayBeEmpty, and is as long as 255 bytes, as is a subject.
func TestFault3_NameMayBeEmpty(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for _, row := range []struct {
		g     lapse.Grant
		field string // "" if it is good
	}{
		{lapse.Grant{Subject: "ana"}, ""}, {lapse.Grant{Name: "n"}, "Subject"},
		{lapse.Grant{Subject: strings.Repeat("é", 127) + "s"}, ""}, {lapse.Grant{Subject: strings.Repeat("é", 128)}, "Subject"},
		{lapse.Grant{Subject: "ana", Name: strings.Repeat("é", 127) + "n"}, ""}, {lapse.Grant{Subject: "ana", Name: strings.Repeat("é", 128)}, "Name"},
	} {
		if _, err := f.Issue(f.ctx, row.g); row.field == "" && err != nil {
			t.Errorf("%v", err)
		} else if row.field != "" {
			hushWantField(t, row.field, err, row.field)
		}
	}
}

// TestFault3_ClipName: any text becomes a Name, and what is one stays as it is.
func TestFault3_ClipName(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"", ""}, {"Ana's laptop", "Ana's laptop"}, {"two  spaces", "two  spaces"}, {"Mozilla/5.0 (X11; Linux)\r\nSet-Cookie: a=b", "Mozilla/5.0 (X11; Linux) Set-Cookie: a=b"},
		{"a\t\n\vb", "a b"}, {"a \nb", "a b"}, {"a\u2028b\u0085c", "a b c"}, {"a\x00\x1b[1mb", "a[1mb"}, {"ex\u202etxe.exe", "extxe.exe"}, {"a\u200bb\ufeff", "ab"},
		{"M\xfcller", "M\ufffdller"}, {"a\xff\xfe", "a\ufffd\ufffd"}, {"👩\u200d💻 of Ana", "👩\u200d💻 of Ana"}, {"👩\u200d", "👩"}, {"می\u200cخواهم", "میخواهم"},
		{strings.Repeat("n", 255), strings.Repeat("n", 255)}, {strings.Repeat("n", 256), strings.Repeat("n", 255)},
		{strings.Repeat("n", 254) + "é", strings.Repeat("n", 254)}, {strings.Repeat("n", 253) + "éa", strings.Repeat("n", 253) + "é"},
		{strings.Repeat("n", 244) + "👩‍💻", strings.Repeat("n", 244) + "👩‍💻"}, {strings.Repeat("n", 245) + "👩‍💻", strings.Repeat("n", 245) + "👩"},
		{strings.Repeat("\x00", 300) + "end", "end"}, {strings.Repeat("\xff", 300), strings.Repeat("\ufffd", 85)},
	} {
		if got := lapse.ClipName(row.text); got != row.want {
			t.Errorf("ClipName(%+q) is %+q; want %+q", row.text, got, row.want)
		}
	}
}

// FuzzClipName: what it returns can be a Name, comes to the same again, and is the text
// itself where that can be one.
func FuzzClipName(f *testing.F) {
	for _, seed := range []string{"", "Ana", "a\nb", "\xff\u202e", "👩‍💻‍", strings.Repeat("👩‍", 100), strings.Repeat("é\x00", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := lapse.New(memory.New(), lapse.Config{})
		if err != nil {
			t.Fatal(err)
		}
		name := lapse.ClipName(text)
		if _, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana", Name: name}); err != nil {
			t.Errorf("of %+q it made %+q: %v", text, name, err)
		}
		if again := lapse.ClipName(name); again != name {
			t.Errorf("of %+q it made %+q, and then %+q", text, name, again)
		}
		if _, err := m.Issue(t.Context(), lapse.Grant{Subject: "ana", Name: text}); err == nil && name != text {
			t.Errorf("of the Name %+q it made %+q", text, name)
		}
	})
}

// TestFault3_NothingUnseenStands: no character that a terminal would obey is let in, of
// all there are.
func TestFault3_NothingUnseenStands(t *testing.T) {
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if !utf8.ValidRune(c) || !unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) {
			continue
		}
		if got := lapse.ClipName("a" + string(c) + "b"); got != "ab" && got != "a b" {
			t.Fatalf("%U stands: %+q", c, got)
		}
	}
}

// TestFault3_OldTokensLiveOn: a token that an earlier version let in, with characters that
// may no more stand in its subject and its name, is served by every verb that has it.
func TestFault3_OldTokensLiveOn(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	const oldSubject, oldName = "an\u202ea\u200b\u2028", "a\nb\x00\x1b"
	i := f.issue(lapse.Grant{Subject: "ana", Name: "laptop"})
	rec, err := f.store.Get(f.ctx, i.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ExpireSubject(f.ctx, "ana"); err != nil {
		t.Fatal(err)
	}
	rec.ID[0] ^= 1 // a copy of another's, whose secret is unknown
	rec.Subject, rec.Name = oldSubject, oldName
	if err := f.store.Update(f.ctx, rec.Subject, func(tx storage.Tx) error { return tx.Put(rec) }); err != nil {
		t.Fatal(err)
	}
	old, err := f.RotateID(f.ctx, rec.ID, 0)
	if err != nil || old.Subject != oldSubject || old.Name != oldName {
		t.Fatalf("RotateID: %+v, %v", old, err)
	}
	if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
		t.Error(err)
	}
	if old, err = f.Rotate(f.ctx, old.Bearer, 0); err != nil {
		t.Error(err)
	}
	for _, subject := range []string{"", oldSubject} {
		d, err := f.Delegate(f.ctx, old.Bearer, lapse.Grant{Subject: subject})
		if err != nil || d.Subject != oldSubject {
			t.Errorf("Delegate of %+q: %+v, %v", subject, d, err)
		}
	}
	var listed []lapse.ID
	for tok, err := range f.List(f.ctx, lapse.Query{Subject: oldSubject}) {
		if err != nil {
			t.Error(err)
		}
		listed = append(listed, tok.ID)
	}
	if !slices.Contains(listed, old.ID) || len(listed) != 3 {
		t.Errorf("listed: %v", listed)
	}
	if n, err := f.ExpireSubject(f.ctx, oldSubject); n != 3 || err != nil {
		t.Errorf("ExpireSubject: %d, %v", n, err)
	}
	_, err = f.Issue(f.ctx, lapse.Grant{Subject: oldSubject})
	hushWantField(t, "a new one", err, "Subject")
	var g *lapse.GrantError
	if errors.As(err, &g) && !strings.Contains(g.Limit, "U+202E") {
		t.Errorf("it does not say which character: %v", err)
	}
}

// TestJitterSpreads the lives of 10,000 tokens over the whole share, each part of it
// as often as the others, in whole milliseconds and never outside.
func TestJitterSpreads(t *testing.T) {
	race.Alone(t)
	const tokens, parts = 10_000, 10
	for _, share := range []float64{0.01, 0.1, 0.5} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			const ttl = time.Hour
			m, _ := lapsetest.GateManager(t, newFixture(t, lapse.Config{}).store, lapse.Policy{TTL: ttl, MaxTokens: lapse.NoTokenLimit})
			shortest := ttl - time.Duration(float64(ttl)*share)
			var hits [parts]int
			different := map[time.Time]bool{}
			for n := range tokens {
				i, err := m.Issue(t.Context(), lapse.Grant{Subject: fmt.Sprint(n % 100), Jitter: share})
				if err != nil {
					t.Fatal(err)
				}
				life := i.ExpiresAt.Sub(i.IssuedAt)
				if life > ttl || life < shortest || life%time.Millisecond != 0 {
					t.Fatalf("lives for %v, want whole milliseconds from %v to %v", life, shortest, ttl)
				}
				different[i.ExpiresAt] = true
				hits[min(parts-1, int(parts*(life-shortest)/(ttl-shortest)))]++
			}
			for part, n := range hits {
				if n < tokens/parts*7/10 || n > tokens/parts*13/10 { // ten standard deviations
					t.Errorf("%d of %d tokens in part %d of %d: %v", n, tokens, part, parts, hits)
				}
			}
			if len(different) < tokens*7/10 {
				t.Errorf("%d instants for %d tokens", len(different), tokens)
			}
		})
	}
}

// TestJitterOfShortLives rounds to whole milliseconds without reaching none, and
// every length that it may give comes.
func TestJitterOfShortLives(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		ttl   time.Duration
		share float64
		want  []time.Duration
	}{
		{ms, 0.5, []time.Duration{ms}},
		{2*ms - 1, 0.5, []time.Duration{ms}},
		{2 * ms, 0.5, []time.Duration{ms, 2 * ms}},
		{2 * ms, 0.499, []time.Duration{2 * ms}},
		{3 * ms, 0.5, []time.Duration{2 * ms, 3 * ms}},
		{10 * ms, 0.3, []time.Duration{7 * ms, 8 * ms, 9 * ms, 10 * ms}},
		{time.Second, 1e-300, []time.Duration{time.Second}},
		{time.Hour, math.Copysign(0, -1), []time.Duration{time.Hour}},
		{time.Hour, 0, []time.Duration{time.Hour}},
	} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
		got := map[time.Duration]bool{}
		for range 400 {
			got[f.issue(lapse.Grant{Subject: "ana", TTL: tt.ttl, Jitter: tt.share}).ExpiresAt.Sub(lapsetest.StartMilli)] = true
		}
		want := map[time.Duration]bool{}
		for _, life := range tt.want {
			want[life] = true
		}
		lapsetest.WantDiff(t, fmt.Sprintf("lives of %v with %v", tt.ttl, tt.share), want, got)
	}
}

// TestJitterOfTheLongest life does not wrap.
func TestJitterOfTheLongest(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}})
	i := f.issue(lapse.Grant{Subject: "ana", TTL: math.MaxInt64 - 1, Jitter: 0.5})
	if life := i.ExpiresAt.Sub(lapsetest.StartMilli); life < math.MaxInt64/2-time.Hour || life >= math.MaxInt64-1 {
		t.Errorf("lives for %v", life)
	}
}

// TestJitterIsTheTokensOwn: what was drawn at issue is what renewals give, and the cap
// is that of every token.
func TestJitterIsTheTokensOwn(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 3 * time.Hour}})
	i := f.issue(lapse.Grant{Subject: "ana", Jitter: 0.5})
	life := i.ExpiresAt.Sub(lapsetest.StartMilli)
	if want := lapsetest.StartMilli.Add(3 * time.Hour); !i.MaxExpiresAt.Equal(want) {
		t.Errorf("its cap is %v, want %v", i.MaxExpiresAt, want)
	}
	if got := f.contents()[0].TTL; got != life {
		t.Errorf("stored TTL %v of a life of %v", got, life)
	}
	f.clock.Add(20 * time.Minute)
	used, err := f.Authenticate(f.ctx, i.Bearer)
	if want := lapsetest.StartMilli.Add(20*time.Minute + life); err != nil || !used.ExpiresAt.Equal(want) {
		t.Errorf("a use renews until %v, %v; want %v", used.ExpiresAt, err, want)
	}
	f.clock.Add(time.Minute)
	renewed, err := f.Renew(f.ctx, i.Bearer)
	if want := lapsetest.StartMilli.Add(21*time.Minute + life); err != nil || !renewed.ExpiresAt.Equal(want) {
		t.Errorf("Renew renews until %v, %v; want %v", renewed.ExpiresAt, err, want)
	}
}

// TestJitterOfADelegate is its own, under the cap of its parent.
func TestJitterOfADelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTokens: lapse.NoTokenLimit}})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	different := map[time.Time]bool{}
	for range 50 {
		d, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{Jitter: 0.5})
		if err != nil || d.ExpiresAt.After(parent.ExpiresAt) || d.ExpiresAt.Before(lapsetest.StartMilli.Add(30*time.Minute)) {
			t.Fatalf("%+v, %v", d, err)
		}
		different[d.ExpiresAt] = true
	}
	if len(different) < 25 {
		t.Errorf("%d instants for 50 delegates", len(different))
	}
}

// TestJitterOutOfLimits is named, and nothing is stored.
func TestJitterOutOfLimits(t *testing.T) {
	for share, want := range map[float64]error{
		0: nil, 1e-9: nil, 0.5: nil,
		-1e-9: lapse.ErrInvalidGrant, -0.5: lapse.ErrInvalidGrant, math.Nextafter(0.5, 1): lapse.ErrInvalidGrant, 1: lapse.ErrInvalidGrant,
		math.NaN(): lapse.ErrInvalidGrant, math.Inf(1): lapse.ErrInvalidGrant, math.Inf(-1): lapse.ErrInvalidGrant,
	} {
		f := newFixture(t, lapse.Config{})
		_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana", Jitter: share})
		lapsetest.WantIs(t, fmt.Sprint(share), err, want)
		if want != nil && (!strings.Contains(err.Error(), "Jitter") || len(f.contents()) != 0) {
			t.Errorf("%v: %v", share, err)
		}
	}
}

// TestJitterWithoutRandomness issues nothing, even if there is enough for the secret.
func TestJitterWithoutRandomness(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	source := rand.Reader
	defer func() { rand.Reader = source }()
	rand.Reader = &failsOnce{Reader: source}
	i, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana", Jitter: 0.1})
	if !errors.Is(err, errDisk) || i.Bearer != "" || len(f.contents()) != 0 {
		t.Errorf("%+v, %v", i, err)
	}
	f.issue(lapse.Grant{Subject: "ana", Jitter: 0.1})
}

type failsOnce struct {
	io.Reader
	failed bool
}

func (r *failsOnce) Read(p []byte) (int, error) {
	if !r.failed {
		r.failed = true
		return 0, errDisk
	}
	return r.Reader.Read(p)
}

// limited is what a limit is tried on: plain tokens or sessions of ana, three of them,
// logged in one after the other.
type limited struct {
	*fixture
	m     *lapse.Manager // which authenticates
	pairs *lapse.Pairs   // nil for plain tokens

	ids    []lapse.ID
	access []string // the texts that authenticate
	renew  []string // the texts that are given for new ones
}

// eachKind runs test on plain tokens and on sessions, under a limit of three, in bubbles.
func eachKind(t *testing.T, atLimit lapse.AtLimit, test func(l *limited)) {
	policy := lapse.Policy{TTL: 100 * time.Hour, MaxTokens: 3, AtLimit: atLimit}
	for _, kind := range []string{"tokens", "sessions"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, lapse.Config{Policy: policy})
				l := &limited{fixture: f, m: f.Manager}
				if kind == "sessions" {
					var err error
					l.pairs, err = lapse.NewPairs(f.store, lapse.PairConfig{
						Access:  lapse.Config{Clock: f.clock, Policy: lapse.Policy{TTL: 50 * time.Hour}},
						Refresh: lapse.Config{Policy: policy},
					})
					if err != nil {
						t.Fatal(err)
					}
					l.m = l.pairs.Access()
				}
				l.fill()
				test(l)
			})
		})
	}
}

func (l *limited) fill() {
	for range 3 {
		if evicted := l.logIn(); len(evicted) > 0 {
			l.t.Fatalf("evicted %v within the limit", evicted)
		}
		l.clock.Add(time.Hour)
	}
}

// logIn issues one more, and returns which of them made room, by their number.
func (l *limited) logIn() (evicted []int) {
	l.t.Helper()
	var ids []lapse.ID
	if l.pairs != nil {
		c, err := l.pairs.Issue(l.ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			l.t.Fatal(err)
		}
		l.add(c.Access.ID, c.Access.Bearer, c.Refresh.Bearer)
		ids = c.Refresh.Evicted
	} else {
		i, err := l.m.Issue(l.ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			l.t.Fatal(err)
		}
		l.add(i.ID, i.Bearer, i.Bearer)
		ids = i.Evicted
	}
	for _, id := range ids {
		evicted = append(evicted, slices.Index(l.ids, id))
	}
	return evicted
}

func (l *limited) add(id lapse.ID, access, renew string) {
	l.ids, l.access, l.renew = append(l.ids, id), append(l.access, access), append(l.renew, renew)
}

// use authenticates by the text of the n-th.
func (l *limited) use(n int) {
	l.t.Helper()
	if _, err := l.m.Authenticate(l.ctx, l.access[n]); err != nil {
		l.t.Fatalf("Authenticate: %v", err)
	}
}

// replace rotates or refreshes the n-th.
func (l *limited) replace(n int) {
	l.t.Helper()
	if l.pairs != nil {
		c, err := l.pairs.Refresh(l.ctx, l.renew[n])
		if err != nil {
			l.t.Fatal(err)
		}
		l.access[n], l.renew[n] = c.Access.Bearer, c.Refresh.Bearer
		return
	}
	i, err := l.m.Rotate(l.ctx, l.renew[n], time.Second)
	if err != nil {
		l.t.Fatal(err)
	}
	l.access[n], l.renew[n] = i.Bearer, i.Bearer
}

// TestOldestLoggedInFirst, however often its secret was replaced since, and however it
// was used.
func TestOldestLoggedInFirst(t *testing.T) {
	for name, do := range map[string]func(l *limited){
		"untouched":            func(*limited) {},
		"the oldest is used":   func(l *limited) { l.use(0) },
		"it is replaced":       func(l *limited) { l.replace(0) },
		"it is replaced often": func(l *limited) { l.replace(0); l.clock.Add(time.Minute); l.replace(0); l.use(0) },
		"another is replaced":  func(l *limited) { l.replace(2); l.replace(1) },
		"its repeat is asked for": func(l *limited) {
			text := l.renew[0]
			l.replace(0)
			l.renew[0] = text
			l.replace(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, lapse.LimitEndOldest, func(l *limited) {
				do(l)
				l.clock.Add(time.Minute)
				lapsetest.WantDiff(t, "evicted", []int{0}, l.logIn())
				l.clock.Add(time.Minute)
				lapsetest.WantDiff(t, "the next", []int{1}, l.logIn())
			})
		})
	}
}

// TestIdlest goes by the latest of log-in, rotation or refresh, and stored use.
func TestIdlest(t *testing.T) {
	for name, row := range map[string]struct {
		do   func(l *limited)
		goes []int // in this order
	}{
		"untouched":                   {func(*limited) {}, []int{0, 1, 2}},
		"the first is used":           {func(l *limited) { l.use(0) }, []int{1, 2, 0}},
		"the first is replaced":       {func(l *limited) { l.replace(0) }, []int{1, 2, 0}},
		"replaced, then another used": {func(l *limited) { l.replace(1); l.clock.Add(time.Minute); l.use(0) }, []int{2, 1, 0}},
		"used, then another replaced": {func(l *limited) { l.use(1); l.clock.Add(time.Minute); l.replace(0) }, []int{2, 1, 0}},
		"all are replaced, the last first": {func(l *limited) {
			for n := range 3 {
				l.replace(2 - n)
				l.clock.Add(time.Minute)
			}
		}, []int{2, 1, 0}},
		"looked at, which is no use": {func(l *limited) {
			if _, err := l.m.Peek(l.ctx, l.access[0]); err != nil {
				l.t.Error(err)
			}
		}, []int{0, 1, 2}},
		"used by a previous text, which is none": {func(l *limited) {
			previous := l.access[0]
			l.replace(0)
			l.replace(1) // at the same instant, with a higher ID
			l.replace(2)
			l.clock.Add(500 * time.Millisecond)
			l.access[0] = previous
			l.use(0)
		}, []int{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, lapse.LimitEndIdlest, func(l *limited) {
				row.do(l)
				for _, want := range row.goes {
					l.clock.Add(time.Hour)
					lapsetest.WantDiff(t, "evicted", []int{want}, l.logIn())
				}
			})
		})
	}
}

// TestHeldCountsAsUsed now, if it is held through the Manager that makes room; of those
// that are held, the one that was idle for longest goes.
func TestHeldCountsAsUsed(t *testing.T) {
	for name, row := range map[string]struct {
		held     []int
		another  bool // Manager holds them
		released bool
		goes     []int
	}{
		"none":                         {nil, false, false, []int{0, 1, 2}},
		"the idlest":                   {[]int{0}, false, false, []int{1, 2}},
		"the idlest, and the next":     {[]int{0, 1}, false, false, []int{2}},
		"all":                          {[]int{1, 0, 2}, false, false, []int{1, 3, 4}},
		"by another Manager, as a use": {[]int{0}, true, false, []int{1, 2, 0}},
		"no more, as a use":            {[]int{0}, false, true, []int{1, 2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, lapse.LimitEndIdlest, func(l *limited) {
				m := l.m
				if row.another {
					m = l.manager(lapse.Config{})
				}
				ctx, release := context.WithCancel(l.ctx)
				defer synctest.Wait()
				defer release()
				for _, n := range row.held {
					if _, _, err := lapsetest.Opened(m.Hold(ctx, l.access[n])); err != nil {
						t.Fatal(err)
					}
					l.clock.Add(time.Minute)
				}
				if row.released {
					release()
					synctest.Wait()
				}
				for _, want := range row.goes {
					l.clock.Add(time.Hour)
					lapsetest.WantDiff(t, "evicted", []int{want}, l.logIn())
				}
			})
		})
	}
}

// counting counts what the transactions of a store in memory are given to look at.
type counting struct {
	storage.Store
	all    bool // the planted fault: Living yields the dead, too
	seen   int  // records that Records and Living have yielded
	walked int  // how often Records was asked for
}

func (c *counting) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return c.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(countingTx{tx, c}) })
}

// countingTx hides what its Tx can do besides.
type countingTx struct {
	storage.Tx
	c *counting
}

func (tx countingTx) Records() iter.Seq2[storage.Record, error] {
	tx.c.walked++
	return tx.counted(tx.Tx.Records())
}

func (tx countingTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	if tx.c.all {
		return tx.counted(tx.Tx.Records())
	}
	return tx.counted(tx.Tx.Living(now))
}

func (tx countingTx) counted(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range records {
			tx.c.seen++
			if !yield(r, err) {
				return
			}
		}
	}
}

// bury puts n dead records of subject into store: they ended or ran out before now.
func bury(tb testing.TB, store storage.Store, subject string, n int, now time.Time) {
	tb.Helper()
	const batch = 10_000
	for first := 0; first < n; first += batch {
		err := store.Update(context.Background(), subject, func(tx storage.Tx) error {
			for i := first; i < min(n, first+batch); i++ {
				if err := tx.Put(deadRecord(subject, i, now)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func deadRecord(subject string, i int, now time.Time) storage.Record {
	var id storage.ID
	binary.BigEndian.PutUint64(id[:], uint64(now.UnixMilli()-3_600_000)<<16|0x7000)
	binary.BigEndian.PutUint64(id[8:], 1<<63|uint64(i))
	r := storage.Record{TTL: time.Hour, Digest: storage.NewDigest(storage.SHA256, [32]byte{1})}
	r.ID, r.Prefix, r.Subject = id, "lapse", subject
	r.IssuedAt, r.ExpiresAt = now.Add(-time.Hour), now.Add(-time.Minute)
	if i%2 == 0 {
		r.ExpiresAt, r.EndedAt, r.EndReason = now.Add(time.Hour), now.Add(-time.Minute), storage.EndRevoked
	}
	return r
}

// costs is a subject with five live records, of each kind, beside dead ones.
type costs struct {
	ctx     context.Context
	store   *counting
	m       *lapse.Manager
	pairs   *lapse.Pairs
	parent  lapse.Issued // of which child is a delegate
	child   lapse.Issued
	budget  lapse.Issued
	session lapse.TokenPair
}

func newCosts(t *testing.T, dead int, all bool) *costs {
	t.Helper()
	clock, ctx := lapsetest.NewClock(), context.Background()
	c := &costs{ctx: ctx, store: &counting{Store: memory.New()}}
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		clock.Add(time.Millisecond) // so that the parent is the oldest
	}
	cfg := lapse.Config{Clock: clock, Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}, Policy: lapse.Policy{MaxTokens: 3, MaxDelegates: 1, AtLimit: lapse.LimitEndOldest}}
	c.m, err = lapse.New(c.store, cfg)
	must()
	c.pairs, err = lapse.NewPairs(c.store, lapse.PairConfig{Access: lapse.Config{Clock: clock}, Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}})
	must()
	bury(t, c.store, "ana", dead, lapsetest.StartMilli)
	c.parent, err = c.m.Issue(ctx, lapse.Grant{Subject: "ana"})
	must()
	c.child, err = c.m.Delegate(ctx, c.parent.Bearer, lapse.Grant{})
	must()
	c.budget, err = c.m.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: 1})
	must()
	_, err = c.m.Obtain(ctx, lapse.Grant{Subject: "ana"})
	must()
	c.session, err = c.pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	must()
	c.store.seen, c.store.walked, c.store.all = 0, 0, all
	return c
}

// costly are the verbs that have a transaction.
var costly = map[string]func(c *costs) error{
	"Issue, which evicts": func(c *costs) error { _, err := c.m.Issue(c.ctx, lapse.Grant{Subject: "ana"}); return err },
	"Obtain":              func(c *costs) error { _, err := c.m.Obtain(c.ctx, lapse.Grant{Subject: "ana"}); return err },
	"Obtain, which evicts": func(c *costs) error {
		_, err := c.m.Obtain(c.ctx, lapse.Grant{Subject: "ana", Name: "another"})
		return err
	},
	"Delegate":      func(c *costs) error { _, err := c.m.Delegate(c.ctx, c.child.Bearer, lapse.Grant{}); return err },
	"Rotate":        func(c *costs) error { _, err := c.m.Rotate(c.ctx, c.parent.Bearer, 0); return err },
	"RotateID":      func(c *costs) error { _, err := c.m.RotateID(c.ctx, c.parent.ID, 0); return err },
	"Renew":         func(c *costs) error { _, err := c.m.Renew(c.ctx, c.child.Bearer); return err },
	"Confirm":       func(c *costs) error { _, err := c.m.Confirm(c.ctx, c.child.Bearer); return err },
	"the last use":  func(c *costs) error { _, err := c.m.Authenticate(c.ctx, c.budget.Bearer); return err },
	"Expire":        func(c *costs) error { _, err := c.m.Expire(c.ctx, c.parent.ID); return err },
	"ExpireBearer":  func(c *costs) error { _, err := c.m.ExpireBearer(c.ctx, c.parent.Bearer); return err },
	"ExpireSubject": func(c *costs) error { _, err := c.m.ExpireSubject(c.ctx, "ana"); return err },
	"ExpireSubject, keeping one": func(c *costs) error {
		_, err := c.m.ExpireSubject(c.ctx, "ana", c.child.ID)
		return err
	},
	"Pairs.Issue, which evicts": func(c *costs) error { _, err := c.pairs.Issue(c.ctx, lapse.Grant{Subject: "ana"}); return err },
	"Refresh":                   func(c *costs) error { _, err := c.pairs.Refresh(c.ctx, c.session.Refresh.Bearer); return err },
	"Pairs.ExpireBearer": func(c *costs) error {
		return lapsetest.LoggedOut(c.pairs.ExpireBearer(c.ctx, c.session.Refresh.Bearer))
	},
}

// TestCostIsWhatLives: no verb looks at more of a subject's records than those that live,
// a few times at most, however many are dead.
func TestCostIsWhatLives(t *testing.T) {
	for name, do := range costly {
		var seen []int
		for _, dead := range []int{0, 1_000} {
			c := newCosts(t, dead, false)
			if err := do(c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if seen = append(seen, c.store.seen); c.store.seen > 5+10 || c.store.walked > 0 {
				t.Errorf("%s: with five live records and %d dead ones it looked at %d, and asked %d times for all", name, dead, c.store.seen, c.store.walked)
			}
		}
		if seen[0] != seen[1] {
			t.Errorf("%s: it looked at %d records, and at %d beside the dead", name, seen[0], seen[1])
		}
	}
}

// TestCostFindsWhoWalksTheDead: the harness must find a store whose Living yields them.
func TestCostFindsWhoWalksTheDead(t *testing.T) {
	found := 0
	for name, do := range costly {
		c := newCosts(t, 1_000, true)
		if err := do(c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.store.seen > 1_000 {
			found++
		}
	}
	if found < 8 {
		t.Errorf("found by %d verbs; want most", found)
	}
}

// BenchmarkBesideTheDead is what a verb costs on a subject with dead records that no Sweep
// has deleted. Compare 100,000 of them with none.
func BenchmarkBesideTheDead(b *testing.B) {
	for _, verb := range []string{"Issue", "Expire", "ExpireSubject", "Delegate"} {
		for _, dead := range []int{0, 1_000, 100_000} {
			b.Run(fmt.Sprint(verb, "/", dead), func(b *testing.B) { benchBesideTheDead(b, verb, dead) })
		}
	}
}

func benchBesideTheDead(b *testing.B, verb string, dead int) {
	ctx, store := context.Background(), memory.New()
	m, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{MaxTokens: 5, AtLimit: lapse.LimitEndOldest}})
	if err != nil {
		b.Fatal(err)
	}
	bury(b, store, "ana", dead, time.Now().UTC().Truncate(time.Millisecond))
	var i lapse.Issued
	prepare := func() {
		if i, err = m.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
			b.Fatal(err)
		}
	}
	prepare()
	for b.Loop() {
		switch verb {
		case "Issue":
			_, err = m.Issue(ctx, lapse.Grant{Subject: "ana"})
		case "Expire":
			_, err = m.Expire(ctx, i.ID)
			b.StopTimer()
			prepare()
			b.StartTimer()
		case "ExpireSubject":
			_, err = m.ExpireSubject(ctx, "ana")
			b.StopTimer()
			prepare()
			b.StartTimer()
		case "Delegate":
			_, err = m.Delegate(ctx, i.Bearer, lapse.Grant{})
			b.StopTimer()
			_, errEnd := m.Expire(ctx, i.ID)
			prepare()
			b.StartTimer()
			if errEnd != nil {
				b.Fatal(errEnd)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// TestNoVerbTrustsLiving: Living may yield the dead, too, and each verb asks of every
// record itself whether it lives.
func TestNoVerbTrustsLiving(t *testing.T) {
	for name, row := range map[string]struct {
		die  func(c *costs) error // something that made room
		want func(c *costs) error
	}{
		"a dead token takes no room": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.budget.ID); return err },
			func(c *costs) error {
				i, err := c.m.Issue(c.ctx, lapse.Grant{Subject: "ana"})
				return errors.Join(err, evictedNone(i.Evicted))
			}},
		"a dead session takes no room": {
			func(c *costs) error {
				return lapsetest.LoggedOut(c.pairs.ExpireBearer(c.ctx, c.session.Refresh.Bearer))
			},
			func(c *costs) error {
				p, err := c.pairs.Issue(c.ctx, lapse.Grant{Subject: "ana"})
				return errors.Join(err, evictedNone(p.Refresh.Evicted))
			}},
		"a dead delegate does not count": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.child.ID); return err },
			func(c *costs) error { _, err := c.m.Delegate(c.ctx, c.parent.Bearer, lapse.Grant{}); return err }},
		"a dead delegate does not end again": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.child.ID); return err },
			func(c *costs) error {
				n, err := c.m.ExpireSubject(c.ctx, "ana", c.session.Access.ID)
				if err == nil && n != 3 {
					err = fmt.Errorf("ended %d; want 3", n)
				}
				return err
			}},
		"a dead token is not obtained": {
			func(c *costs) error { _, err := c.m.ExpireSubject(c.ctx, "ana"); return err },
			func(c *costs) error {
				i, err := c.m.Obtain(c.ctx, lapse.Grant{Subject: "ana"})
				if err == nil && i.Existing {
					err = errors.New("it is given again")
				}
				return err
			}},
	} {
		c := newCosts(t, 100, true)
		if err := errors.Join(row.die(c), row.want(c)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// evictedNone returns an error that says what was evicted.
func evictedNone(evicted []lapse.ID) error {
	if len(evicted) > 0 {
		return fmt.Errorf("evicted %v", evicted)
	}
	return nil
}

// TestRequestID: within a day the same grant under the same RequestID gives the same token and,
// with Config.Keys, the same bearer. The day is by the records, whether or not they are swept.
func TestRequestID(t *testing.T) {
	const day = 24 * time.Hour
	for _, keyed := range []bool{true, false} {
		for _, row := range []struct {
			after time.Duration
			same  bool
		}{{0, true}, {day - time.Millisecond, true}, {day, false}, {day + time.Millisecond, false}} {
			cfg := lapse.Config{Policy: lapse.Policy{MaxTTL: 72 * time.Hour, Renewal: lapse.RenewNever}}
			if keyed {
				cfg.Keys = []lapse.Key{lapse.NewKey([]byte{31: 1})}
			}
			f := newFixture(t, cfg)
			g := lapse.Grant{Subject: "ana", TTL: 2 * day, Jitter: 0.1, RequestID: "request-1"}
			first := f.issue(g)
			f.events = nil
			f.clock.Add(row.after)
			second := f.issue(g)
			if first.Existing || first.Bearer == "" || second.Existing != row.same || (second.ID == first.ID) != row.same {
				t.Errorf("after %v: %v, and then %v, existing: %v", row.after, first.ID, second.ID, second.Existing)
			}
			if want := map[bool]lapse.EventKind{true: lapse.EventRepeated, false: lapse.EventIssued}[row.same]; len(f.events) != 1 || f.events[0].Kind != want {
				t.Errorf("after %v: events %+v; want %v", row.after, f.events, want)
			}
			if row.same {
				want := map[bool]string{true: first.Bearer}[keyed]
				lapsetest.WantDiff(t, "the bearer", want, second.Bearer)
				lapsetest.WantDiff(t, "the token", first.Token, second.Token)
				continue
			}
			lapsetest.WantDiff(t, "the token of the next day", second.ID, f.issue(g).ID)
			lapsetest.Must(f.Peek(f.ctx, second.Bearer))
		}
	}
}

// TestRequestIDOfAnotherGrant: under a RequestID that stands, a grant that differs in any field is
// refused by the name of that field. Another subject, prefix or RequestID is another request.
func TestRequestIDOfAnotherGrant(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 72 * time.Hour}})
	g := lapse.Grant{Subject: "ana", MaxUses: 3, RequestID: "request-1"}
	first := f.issue(g)
	for name, change := range map[string]func(g *lapse.Grant){
		"Name": func(g *lapse.Grant) { g.Name = "n" }, "Scope": func(g *lapse.Grant) { g.Scope = "n" }, "Data": func(g *lapse.Grant) { g.Data = "n" },
		"TTL": func(g *lapse.Grant) { g.TTL = time.Minute }, "MaxUses": func(g *lapse.Grant) { g.MaxUses = 4 }, "UseGrace": func(g *lapse.Grant) { g.UseGrace = time.Second },
		"Client": func(g *lapse.Grant) { g.Client = "n" }, "Thumbprint": func(g *lapse.Grant) { g.Thumbprint[0] = 1 }, "Jitter": func(g *lapse.Grant) { g.Jitter = 0.5 },
	} {
		other := g
		change(&other)
		i, err := f.Issue(f.ctx, other)
		if wantField(t, name, err, "RequestID"); i.ID != (lapse.ID{}) || i.Bearer != "" {
			t.Errorf("%s: an error, and %v", name, i)
		}
	}
	for name, change := range map[string]func(g *lapse.Grant){
		"Subject": func(g *lapse.Grant) { g.Subject = "ben" }, "RequestID": func(g *lapse.Grant) { g.RequestID = "request-2" },
	} {
		other := g
		if change(&other); f.issue(other).ID == first.ID {
			t.Errorf("another %s gives the same token", name)
		}
	}
	other := lapsetest.Must(f.manager(lapse.Config{Prefix: "other"}).Issue(f.ctx, g))
	if other.ID == first.ID {
		t.Error("another prefix gives the same token")
	}
	g.RequestID = strings.Repeat("r", 256)
	_, err := f.Issue(f.ctx, g)
	wantField(t, "256 bytes", err, "RequestID")
	g.RequestID = g.RequestID[1:]
	f.issue(g)
}

// TestGrantHashCountsEveryField: the fields of TestRequestIDOfAnotherGrant, and those that Issue
// refuses, are all that a Grant has.
func TestGrantHashCountsEveryField(t *testing.T) {
	tried := "Subject Name Scope Data TTL MaxUses UseGrace SessionTTL MinLeft Client Thumbprint Jitter RequestID"
	var fields []string
	of := reflect.TypeFor[lapse.Grant]()
	for n := range of.NumField() {
		fields = append(fields, of.Field(n).Name)
	}
	lapsetest.WantDiff(t, "the fields of a Grant", tried, strings.Join(fields, " "))
}

// TestRequestIDOfADeadToken: within the day a repetition makes no second token, whatever became of
// the first.
func TestRequestIDOfADeadToken(t *testing.T) {
	for _, row := range []struct {
		name string
		then func(f *fixture, i lapse.Issued)
		want error
	}{
		{"revoked", func(f *fixture, i lapse.Issued) { f.Expire(f.ctx, i.ID) }, lapse.ErrRevoked},
		{"expired", func(f *fixture, i lapse.Issued) { f.clock.Add(time.Hour) }, lapse.ErrExpired},
		{"exhausted", func(f *fixture, i lapse.Issued) { lapsetest.Must(f.Authenticate(f.ctx, i.Bearer)) }, lapse.ErrExhausted},
		{"swept", func(f *fixture, i lapse.Issued) { f.clock.Add(3 * time.Hour); lapsetest.Must(f.Sweep(f.ctx)) }, lapse.ErrUnknown},
	} {
		f := newFixture(t, lapse.Config{Keys: []lapse.Key{lapse.NewKey([]byte{31: 1})}, Policy: lapse.Policy{Retention: time.Hour, TTL: time.Hour}})
		g := lapse.Grant{Subject: "ana", MaxUses: 1, RequestID: "request-1"}
		i := f.issue(g)
		row.then(f, i)
		id := i.ID
		if row.name == "swept" {
			id = lapse.ID{}
		}
		again, err := f.Issue(f.ctx, g)
		if wantRefused(t, row.name, err, row.want, id); again.Bearer != "" || again.ID != (lapse.ID{}) {
			t.Errorf("%s: a refusal, and %v", row.name, again)
		}
		if strings.Contains(fmt.Sprint(err, f.events), "request-1") {
			t.Errorf("%s: an error or event tells the RequestID", row.name)
		}
	}
}

// TestRequestIDOfARotatedToken: a repetition gives the token without a text where the secret was
// replaced or its key is retired, and Obtain never takes such a token for its own.
func TestRequestIDOfARotatedToken(t *testing.T) {
	old, new := lapse.NewKey([]byte{31: 1}), lapse.NewKey([]byte{31: 2})
	f := newFixture(t, lapse.Config{Keys: []lapse.Key{old}})
	g := lapse.Grant{Subject: "ana", RequestID: "request-1"}
	i := f.issue(g)
	for name, row := range map[string]struct {
		keys []lapse.Key
		want string
	}{"a new key": {[]lapse.Key{new, old}, i.Bearer}, "a retired key": {[]lapse.Key{new}, ""}} {
		again := lapsetest.Must(f.manager(lapse.Config{Keys: row.keys}).Issue(f.ctx, g))
		if again.ID != i.ID || again.Bearer != row.want {
			t.Errorf("%s: %v, of %v", name, again.Bearer == "", again.ID)
		}
	}
	if o := lapsetest.Must(f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})); o.ID == i.ID || o.Existing {
		t.Errorf("Obtain gave the token of a request: %v", o.ID)
	}
	lapsetest.Must(f.Rotate(f.ctx, i.Bearer, time.Minute))
	again := lapsetest.Must(f.Issue(f.ctx, g))
	if again.ID != i.ID || again.Bearer != "" || !again.Existing || again.Generation != 1 {
		t.Errorf("after Rotate: %v, existing: %v", again.ID, again.Existing)
	}
}

// TestRequestIDElsewhere: a verb that gives no token again by a RequestID refuses one by name, and
// Login takes it as Issue does.
func TestRequestIDElsewhere(t *testing.T) {
	f := newFixture(t, lapse.Config{Keys: []lapse.Key{lapse.NewKey([]byte{31: 1})}})
	g := lapse.Grant{Subject: "ana", RequestID: "request-1"}
	p := lapsetest.Must(lapse.NewPairs(f.store, lapse.PairConfig{Access: lapse.Config{Clock: f.clock}}))
	_, err := p.Issue(f.ctx, g)
	wantField(t, "Pairs.Issue", err, "RequestID")
	_, err = f.Obtain(f.ctx, g)
	wantField(t, "Obtain", err, "RequestID")
	i := f.issue(g)
	_, err = f.Delegate(f.ctx, i.Bearer, g)
	wantField(t, "Delegate", err, "RequestID")
	ana := lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return "ana", nil })
	again := lapsetest.Must(lapse.Login(f.ctx, f.Manager, "password", lapse.Grant{RequestID: "request-1"}, ana))
	if again.Bearer != i.Bearer || !again.Existing {
		t.Errorf("Login gave %v; want %v", again.ID, i.ID)
	}
}

// TestRequestIDAtOnce: of several calls with one RequestID at once, one stores a token, and all
// return it with the same text.
func TestRequestIDAtOnce(t *testing.T) {
	const callers = 32
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		m := lapsetest.Must(lapse.New(store, lapse.Config{Keys: []lapse.Key{lapse.NewKey([]byte{31: 1})}, Clock: lapsetest.NewClock()}))
		lapsetest.Arrivals(store, callers, opUpdate)
		var issued [callers]lapse.Issued
		for _, err := range lapsetest.Together(callers, func(n int) (err error) {
			issued[n], err = m.Issue(context.Background(), lapse.Grant{Subject: "ana", RequestID: "request-1"})
			return err
		}) {
			lapsetest.WantIs(t, "Issue", err, nil)
		}
		store.Before(nil)
		made := 0
		for _, i := range issued {
			if !i.Existing {
				made++
			}
			if i.Bearer != issued[0].Bearer {
				t.Errorf("issued as %v and %v", i.ID, issued[0].ID)
			}
		}
		if tokens := lapsetest.Must(lapsetest.Collect(m.List(context.Background(), lapse.Query{Subject: "ana"}))); len(tokens) != 1 || made != 1 {
			t.Errorf("%d tokens, %d of them made", len(tokens), made)
		}
	})
}

// TestRequestIDAfterUnknownOutcome: after ErrOutcomeUnknown the same call gives the one token, with
// its text, whether or not the write was there.
func TestRequestIDAfterUnknownOutcome(t *testing.T) {
	for _, mode := range []storagetest.Mode{storagetest.FailBefore, storagetest.FailAfter} {
		f := newFixture(t, lapse.Config{Keys: []lapse.Key{lapse.NewKey([]byte{31: 1})}})
		g := lapse.Grant{Subject: "ana", RequestID: "request-1"}
		f.store.Inject(1, mode, storage.ErrOutcomeUnknown)
		_, err := f.Issue(f.ctx, g)
		lapsetest.WantIs(t, "Issue", err, lapse.ErrOutcomeUnknown)
		i := f.issue(g)
		lapsetest.Must(f.Authenticate(f.ctx, i.Bearer))
		if tokens := lapsetest.Must(lapsetest.Collect(f.List(f.ctx, lapse.Query{Subject: "ana"}))); len(tokens) != 1 || i.Existing != (mode == storagetest.FailAfter) {
			t.Errorf("%v: %d tokens, existing: %v", mode, len(tokens), i.Existing)
		}
	}
}

// TestClientStays: every verb keeps the client of a token, and a delegate has its own.
func TestClientStays(t *testing.T) {
	p := newPairs(t, memory.New(), lapse.PairConfig{Access: lapse.Config{Keys: []lapse.Key{lapse.NewKey([]byte(strings.Repeat("k", 32)))}}})
	g := lapse.Grant{Subject: "ana", Client: strings.Repeat("c", storage.MaxClient)}
	session := lapsetest.Must(p.Pairs.Issue(p.ctx, g))
	plain := p.issue(g)
	want := func(what string, tok lapse.Token, err error) {
		t.Helper()
		if err != nil || tok.Client != g.Client || p.token(tok.ID).Client != g.Client {
			t.Errorf("%s: %q, %v; stored %q", what, tok.Client, err, p.token(tok.ID).Client)
		}
	}
	refreshed, err := p.Refresh(p.ctx, session.Refresh.Bearer)
	want("Refresh, the access text", refreshed.Access.Token, err)
	want("Refresh, the refresh text", refreshed.Refresh.Token, err)
	tok, err := p.Authenticate(p.ctx, refreshed.Access.Bearer)
	want("Authenticate", tok, err)
	rotated, err := p.Rotate(p.ctx, plain.Bearer, time.Minute)
	want("Rotate", rotated.Token, err)
	rotated, err = p.RotateID(p.ctx, plain.ID, 0)
	want("RotateID", rotated.Token, err)
	tok, err = p.Confirm(p.ctx, rotated.Bearer)
	want("Confirm", tok, err)
	text := "x"
	tok, err = p.Edit(p.ctx, plain.ID, lapse.Changes{Name: &text, Scope: &text, Data: &text})
	want("Edit", tok, err)
	for _, client := range []string{"", "other", g.Client} {
		child := lapsetest.Must(p.Delegate(p.ctx, rotated.Bearer, lapse.Grant{Client: client}))
		lapsetest.WantDiff(t, "the client of a delegate", client, p.token(child.ID).Client)
	}
	_, err = p.Expire(p.ctx, plain.ID)
	want("Expire", p.token(plain.ID), err)
}

// TestClientAndObtain: Obtain gives a token again to its own client only.
func TestClientAndObtain(t *testing.T) {
	f := newFixture(t, lapse.Config{Keys: []lapse.Key{lapse.NewKey([]byte(strings.Repeat("k", 32)))}})
	ids := map[string]lapse.ID{}
	for n := range 2 {
		for _, client := range []string{"", "app", "ap"} {
			i := lapsetest.Must(f.Obtain(f.ctx, lapse.Grant{Subject: "ana", Client: client}))
			if i.Existing != (n == 1) || n == 1 && ids[client] != i.ID || i.Client != client {
				t.Errorf("round %d, client %q: existing %v, of %q", n, client, i.Existing, i.Client)
			}
			ids[client] = i.ID
		}
	}
}
