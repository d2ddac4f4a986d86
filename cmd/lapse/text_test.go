package main

import (
	"testing"
	"time"
)

func TestWhen(t *testing.T) {
	for from, want := range map[time.Duration]string{
		0:                                     "0 s ago",
		time.Millisecond:                      "in 0 s",
		-time.Second:                          "1 s ago",
		59*time.Second + 499*time.Millisecond: "in 59 s",
		59*time.Second + 500*time.Millisecond: "in 1 min",
		59*time.Minute + 29*time.Second:       "in 59 min",
		59*time.Minute + 30*time.Second:       "in 1 h",
		-time.Hour:                            "1 h ago",
		24*time.Hour - time.Millisecond:       "in 24 h",
		24 * time.Hour:                        "2026-01-06 09:00",
		-24 * time.Hour:                       "2026-01-04 09:00",
	} {
		if got := when(start.Add(from), start); got != want {
			t.Errorf("%v: %q, want %q", from, got, want)
		}
	}
	if got := when(time.Time{}, start); got != "-" {
		t.Errorf("never: %q", got)
	}
}

// TestPlain: no text of a record moves the cursor, forges a line or hides.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "-",
		"Ana's laptop 電話":    "Ana's laptop 電話",
		"\x1b[2J":            "\ufffd[2J",
		"a\nb\r\tc":          "a\ufffdb\ufffd\ufffdc",
		"abc\u202edef\u200b": "abc\ufffddef\ufffd",
		"not\xffvalid":       "not\ufffdvalid",
	} {
		if got := cell(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestEmptySubject(t *testing.T) {
	w := inMemory(t)
	for _, args := range [][]string{{"ls", ""}, {"watch", ""}, {"logout", "", "--yes"}} {
		w.lapse("", args...).wants(t, exitUsage, "the subject is empty")
	}
	w.lapse("", "ls", "--all", "--expiring", "7d").wants(t, exitUsage, "one of them")
}
