package lapse

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse/storage"
)

// checkText returns a GrantError of field unless value can be one: a Subject or a Name.
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

// checkStoredSubject returns ErrInvalidGrant unless some version has let a token have
// subject: until it is swept such a token is listed, and can be ended.
func checkStoredSubject(subject string) error {
	switch {
	case subject == "" || len(subject) > storage.MaxSubject || !utf8.ValidString(subject):
		return checkSubject(subject)
	case strings.ContainsFunc(subject, unicode.IsControl):
		return invalidGrant("Subject", "holds a control character")
	}
	return nil
}

// printable reports whether all of s is printable ASCII, as most subjects are.
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

// blank reports whether c is a graphic character that shows nothing, and no space: a
// Braille pattern without dots, a null notehead or the Khitan filler.
func blank(c rune) bool { return c == 0x2800 || c == 0x1d159 || c == 0x16fe4 }

// symbol reports whether c is a symbol that emoji are made of.
func symbol(c rune) bool { return c > unicode.MaxLatin1 && unicode.IsSymbol(c) }

// first returns the first character of s, or 0 if there is none.
func first(s string) rune {
	if s == "" {
		return 0
	}
	c, _ := utf8.DecodeRuneInString(s)
	return c
}

// ClipName returns text as a Grant.Name can hold it, for a text of another's making,
// as a User-Agent. Of the characters that may not stand in a Name, line feeds, tabs and
// other white space become one space, and all else is left out; a byte that is not valid
// UTF-8 becomes U+FFFD. A longer text than storage.MaxName bytes, 255, is cut before the
// first character that has no room, and a joined emoji before its joiner. A text that can
// be a Name stays as it is.
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
