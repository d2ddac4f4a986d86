package lapse_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

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
		{"\u034f", false}, {"\u115f", false}, {"\u3164", false}, {"\u3000", true}, {"👩‍💻", true}, {"👩🏽‍💻", true}, {"👩‍❤️‍👩", true}, {"🙂‍↔️", true}, {"👩‍", false}, {"‍💻", false},
		{"👩‍‍💻", false}, {"a‍💻", false}, {"👩‍a", false}, {"$‍$", false}, {"1️⃣", true}, {"\xff", false}, {"a\xc3", false}, {"\xed\xa0\x80", false},
	} {
		for field, g := range map[string]lapse.Grant{"Subject": {Subject: row.text}, "Name": {Subject: "ana", Name: row.text}} {
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
		{"M\xfcller", "M\ufffdller"}, {"a\xff\xfe", "a\ufffd\ufffd"}, {"👩‍💻 of Ana", "👩‍💻 of Ana"}, {"👩‍", "👩"}, {"می‌خواهم", "میخواهم"},
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
	for tok, err := range f.Tokens(f.ctx, oldSubject) {
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
