package storage

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestThumbprintText: the text of RFC 7638 section 3.1 goes there and back, and no other spelling is
// taken.
func TestThumbprintText(t *testing.T) {
	const text = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	p, err := ParseThumbprint(text)
	if err != nil || p.String() != text || fmt.Sprint(p) != text || len(text) != ThumbprintLen {
		t.Fatalf("%q reads back as %v, %v", text, p, err)
	}
	var back Thumbprint
	if err := back.UnmarshalText([]byte(text)); err != nil || back != p {
		t.Errorf("UnmarshalText: %v, %v", back, err)
	}
	zeros := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for _, bad := range []string{
		"", zeros, text[1:], text + "A", text + "=", " " + text[1:], text[:42] + "t", text[:42] + "\n", text[:41] + "\r\n",
		strings.ReplaceAll(text, "-", "+"), strings.ReplaceAll(text, "_", "/"), text[:42] + "=",
	} {
		if got, err := ParseThumbprint(bad); !errors.Is(err, ErrInvalidThumbprint) || got != (Thumbprint{}) {
			t.Errorf("ParseThumbprint(%q): %v, %v; want ErrInvalidThumbprint", bad, got, err)
		}
		if bad == "" {
			continue
		}
		if err := back.UnmarshalText([]byte(bad)); !errors.Is(err, ErrInvalidThumbprint) || back != p {
			t.Errorf("UnmarshalText(%q): %v, and it is %v now", bad, err, back)
		}
	}
	none, err := Thumbprint{}.MarshalText()
	if err != nil || len(none) != 0 || (Thumbprint{}).String() != "" {
		t.Errorf("the zero Thumbprint has the text %q, %v", none, err)
	}
	if err := back.UnmarshalText(none); err != nil || back != (Thumbprint{}) {
		t.Errorf("the text of the zero Thumbprint: %v, %v", back, err)
	}
}
