package lapse

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse/storage"
)

// checkText returns a *GrantError unless value can be the field, which is Subject or Name.
func checkText(field, value string, limit int) error {
	switch {
	case len(value) > limit:
		return tooLong(field, value, limit)
	case printable(value):
		return nil
	case !utf8.ValidString(value):
		return invalidGrant(field, "not valid UTF-8")
	}
	last := rune(0)
	for at, c := range value {
		if !allowed(last, c, first(value[at+utf8.RuneLen(c):])) {
			return invalidGrant(field, "%U may not stand here; leave it out, as ClipName does", c)
		}
		last = c
	}
	return nil
}

// checkSubject returns ErrInvalidGrant unless a new token can have subject.
func checkSubject(subject string) error {
	if subject == "" {
		return invalidGrant("Subject", "empty")
	}
	return checkText("Subject", subject, storage.MaxSubject)
}

// checkStoredSubject returns ErrInvalidGrant unless this version, or an earlier one, lets a token
// have subject. Until they are swept, the tokens of earlier versions can be listed and ended.
func checkStoredSubject(subject string) error {
	if subject == "" {
		return checkSubject(subject)
	}
	return checkStoredText("Subject", subject, storage.MaxSubject)
}

// checkStoredText is checkStoredSubject for a field, which may be empty.
func checkStoredText(field, value string, limit int) error {
	switch {
	case len(value) > limit || !utf8.ValidString(value):
		return checkText(field, value, limit)
	case strings.ContainsFunc(value, unicode.IsControl):
		return invalidGrant(field, "holds a control character")
	}
	return nil
}

// printable reports whether all of s is printable ASCII. Most subjects are.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

const (
	joiner       = '\u200d' // ZERO WIDTH JOINER
	emojiVariant = '\ufe0f' // VARIATION SELECTOR-16
)

// allowed reports whether c may stand in a Subject or a Name, after last and before next.
func allowed(last, c, next rune) bool {
	if c == joiner {
		return (symbol(last) || last == emojiVariant) && symbol(next)
	}
	return unicode.IsGraphic(c) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, c) && !blank(c)
}

// blank reports whether c is a graphic character that shows nothing and is no space: a Braille
// pattern without dots, a null notehead or the Khitan filler.
func blank(c rune) bool { return c == 0x2800 || c == 0x1d159 || c == 0x16fe4 }

// symbol reports whether c is a symbol that an emoji can consist of.
func symbol(c rune) bool { return c > unicode.MaxLatin1 && unicode.IsSymbol(c) }

// first returns the first character of s, or 0 if there is none.
func first(s string) rune {
	if s == "" {
		return 0
	}
	c, _ := utf8.DecodeRuneInString(s)
	return c
}

// ClipName returns text as a valid Grant.Name, for a text from outside such as a User-Agent. A
// text that is a valid Name is returned as it is. White space that may not stand in a Name, such
// as line feeds and tabs, becomes one space, and other such characters are left out. A byte that
// is not valid UTF-8 becomes U+FFFD. A text longer than storage.MaxName, 255 bytes, is cut before
// the first character that does not fit, or before the joiner of an emoji whose next part does
// not fit.
func ClipName(text string) string {
	if len(text) <= storage.MaxName && printable(text) {
		return text
	}
	var b strings.Builder
	last := rune(0)
	for text != "" {
		c, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		next := first(text)
		switch {
		case allowed(last, c, next):
		case unicode.IsSpace(c) && last != ' ':
			c = ' '
		default:
			continue
		}
		room := utf8.RuneLen(c)
		if c == joiner {
			room += utf8.RuneLen(next)
		}
		if b.Len()+room > storage.MaxName {
			break
		}
		b.WriteRune(c)
		last = c
	}
	return b.String()
}
