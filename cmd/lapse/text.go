package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// words reads a text from an argument. kong makes another text of one that is not valid UTF-8, and so does the
// protocol of a program: then the tokens of another subject would end. The name of a file may be any bytes. An empty
// flag of a place would give way to the environment.
var words = kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	text := fmt.Sprint(token.Value)
	if !utf8.ValidString(text) && ctx.Value.Tag.Get("predictor") != "file" {
		return errors.New("not valid UTF-8; write the text in UTF-8")
	}
	if text == "" && slices.Contains([]string{"file", "socket", "dsn"}, ctx.Value.Name) {
		return errors.New("empty; say which tokens, or leave the flag out for those of the environment")
	}
	target.SetString(text)
	return nil
})

// plain returns text without what could move the cursor of a terminal, forge a line or hide: each such
// character is shown as its code.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) || r == '\n' {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// cell is plain text for a cell of a table, in one line. An empty text is a dash.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	return strings.ReplaceAll(plain(text), "\n", string(unicode.ReplacementChar))
}

// when says when t is, seen from now: by the distance within a day, by date and time beyond. The zero t
// is a dash.
func when(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := t.Sub(now)
	switch {
	case d.Abs() >= 24*time.Hour:
		return t.Local().Format("2006-01-02 15:04")
	case d > 0:
		return "in " + distance(d)
	}
	return distance(-d) + " ago"
}

// distance returns d in its largest unit, rounded to the nearest.
func distance(d time.Duration) string {
	switch {
	case d.Round(time.Minute) >= time.Hour:
		return fmt.Sprintf("%d h", d.Round(time.Hour)/time.Hour)
	case d.Round(time.Second) >= time.Minute:
		return fmt.Sprintf("%d min", d.Round(time.Minute)/time.Minute)
	}
	return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
}

// counted returns "1 token" or "2 tokens".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
