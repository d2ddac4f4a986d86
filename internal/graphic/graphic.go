// Package graphic knows which characters may stand in a text that ends up in logs, terminals and
// lists: those that people can see, and that forge no line and turn no text around.
package graphic

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Forbidden returns the first character of text, which is valid UTF-8, that may not stand there,
// and whether there is one.
func Forbidden(text string) (c rune, found bool) {
	last := rune(0)
	for at, c := range text {
		if !allowed(last, c, first(text[at+utf8.RuneLen(c):])) {
			return c, true
		}
		last = c
	}
	return 0, false
}

// Printable reports whether all of s is printable ASCII. Most names are.
func Printable(s string) bool {
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

// allowed reports whether c may stand after last and before next.
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

// Clip returns text with at most limit bytes and without forbidden characters. A text that is so
// already is returned as it is. White space that may not stand there becomes one space, and a byte
// that is not valid UTF-8 becomes U+FFFD. A longer text is cut before the first character that does
// not fit, or before the joiner of an emoji whose next part does not fit.
func Clip(text string, limit int) string {
	if len(text) <= limit && Printable(text) {
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
		if b.Len()+room > limit {
			break
		}
		b.WriteRune(c)
		last = c
	}
	return b.String()
}
