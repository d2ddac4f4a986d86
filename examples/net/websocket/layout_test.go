package main

import (
	"bytes"
	"flag"
	"fmt"
	"image/png"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var (
	screenshot = flag.String("screenshot", "", "write a picture of the page, a PNG, to this `file`; that of the documents is ../../../docs/img/devices.png")
	scheme     = flag.String("scheme", "light", "the colours of the picture: light or dark")
)

// On a phone nothing lies beside the screen, and what is to be touched is large enough.
func TestPhone(t *testing.T) {
	s, b := newScene(t), browser(t)
	p := s.tab(t, b)
	fits := func(view string, width int64) {
		t.Helper()
		p.do(chromedp.EmulateViewport(width, 740))
		if !p.is(`document.documentElement.scrollWidth <= innerWidth`) {
			t.Errorf("%s is wider than %d pixels", view, width)
		}
		if !p.is(`[...document.querySelectorAll('button, input, a')].filter(e => e.checkVisibility()).every(e => e.getBoundingClientRect().height >= 40)`) {
			t.Errorf("%s has something too small to touch at %d pixels", view, width)
		}
	}
	both := func(view string) { fits(view, 375); fits(view, 320) }
	both("the form")
	name := "Ana's " + strings.Repeat("very-", 8) + "long phone"
	p.signIn("ana", name)
	s.signIn("ana", strings.Repeat("i", 60))
	p.until(`document.querySelectorAll('#devices > li').length === 2`)
	s.clock.Add(ttl - 20*time.Second)
	p.press()
	p.until(`document.querySelector('.late')`)
	both("the list")
	p.click(fmt.Sprintf(`row(%q).querySelector('button')`, name))
	p.until(`seen('over')`)
	both("the end")
}

// Everything has a name that can be read out, and news are announced.
func TestNames(t *testing.T) {
	s, b := newScene(t), browser(t)
	p := s.tab(t, b)
	const named = `[...document.querySelectorAll('input')].every(e => e.labels.length === 1) &&
		[...document.querySelectorAll('button, a')].filter(e => e.checkVisibility()).every(e => e.ariaLabel || e.innerText.trim()) &&
		document.getElementById('notice').ariaLive === 'polite' && document.documentElement.lang && document.title`
	if !p.is(named) {
		t.Error("in the form something has no name")
	}
	s.signIn("ana", "Phone")
	p.signIn("ana", "Laptop")
	if !p.is(named + ` && row('Phone').querySelector('button').ariaLabel === 'Sign out Phone'`) {
		t.Error("in the list something has no name")
	}
	if !p.is(`document.activeElement.tagName === 'H1'`) {
		t.Error("signing in lost the focus")
	}
}

// Text has a contrast of 4.5 to 1 to what is behind it, in both schemes.
func TestContrast(t *testing.T) {
	css, err := os.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, ok := strings.Cut(string(css), "prefers-color-scheme: dark")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	dark, _, _ = strings.Cut(dark, "}")
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		for _, pair := range [][2]string{
			{"ink", "paper"}, {"ink", "card"}, {"muted", "paper"}, {"muted", "card"}, {"good", "good-soft"},
			{"soon", "card"}, {"soon", "soon-soft"}, {"muted", "soon-soft"}, {"bad", "card"}, {"bad", "bad-soft"}, {"card", "good"},
		} {
			if got := contrast(luminance(t, text, pair[0]), luminance(t, text, pair[1])); got < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f", scheme, pair[0], pair[1], got)
			}
		}
	}
	if got := contrast(luminance(t, "--a: #fff;", "a"), luminance(t, "--a: #000000;", "a")); math.Abs(got-21) > 0.01 {
		t.Errorf("white on black has a contrast of %.2f", got)
	}
}

func contrast(a, b float64) float64 { return (max(a, b) + 0.05) / (min(a, b) + 0.05) }

// luminance is that of a colour, as WCAG 2 defines it.
func luminance(t *testing.T, css, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`--` + name + `: #([0-9a-f]{3}|[0-9a-f]{6});`).FindStringSubmatch(css)
	if m == nil {
		t.Fatalf("there is no colour %s", name)
	}
	hex := m[1]
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, _ := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// TestScreenshot takes the picture of the README, and keeps it if it is told where.
func TestScreenshot(t *testing.T) {
	s, b := newScene(t), browser(t)
	s.signIn("Ana", "Living-room TV")
	s.clock.Add(ttl)
	s.tab(t, b).signIn("Ana", "Ana's phone")
	s.clock.Add(8 * time.Second)
	s.signIn("Ana", "Kitchen tablet")
	laptop := s.tab(t, b)
	call(laptop, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: *scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	call(laptop, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"})
	call(laptop, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "en-GB"})
	laptop.do(chromedp.EmulateViewport(800, 625, chromedp.EmulateScale(1.6))) // 1,280 pixels wide
	laptop.signIn("Ana", "Ana's laptop")
	laptop.click(`row('Kitchen tablet').querySelector('button')`)
	laptop.until(`!row('Kitchen tablet')`)
	s.clock.Add(94 * time.Second)
	laptop.press()
	laptop.until(`row("Ana's phone").matches('.late') && !row("Ana's laptop").matches('.late')`)
	s.clock.Add(8 * time.Second)
	laptop.until(`left("Ana's laptop") < 115`)
	laptop.do(chromedp.MouseEvent(chromedp.MouseMoved, 5, 5))
	eval[chromedp.Void](laptop, `document.getElementById('notice').textContent = ''; document.activeElement.blur(); scrollTo(0, 0)`)
	picture := value(laptop, chromedp.CaptureScreenshot())
	if size, err := png.DecodeConfig(bytes.NewReader(picture)); err != nil || size.Width != 1280 || len(picture) > 200_000 {
		t.Errorf("%d bytes, %d pixels wide, %v; want at most 200,000 and 1,280", len(picture), size.Width, err)
	}
	if *screenshot == "" {
		return
	}
	if err := os.WriteFile(*screenshot, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
