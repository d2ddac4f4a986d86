package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

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
