package main

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"math"
	"strings"

	stdfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// tint is a colour on a light page, and the one that takes its place on a dark page.
type tint struct{ light, dark color.RGBA }

// theme is every tint. No two have the same light colour: the dark ones are put in
// by it.
type theme struct {
	card, grid, ink, muted, first, second, third, fourth, fifth, other tint
}

func newTheme() theme {
	return theme{
		card:   tint{rgb(0xffffff), rgb(0x0d1117)},
		grid:   tint{rgb(0xd8dee4), rgb(0x2b313a)},
		ink:    tint{rgb(0x1f2328), rgb(0xe6edf3)},
		muted:  tint{rgb(0x59636e), rgb(0x9198a1)},
		first:  tint{rgb(0x0969da), rgb(0x4493f8)}, // lapse in memory
		second: tint{rgb(0x1a7f37), rgb(0x3fb950)}, // lapse on bolt
		third:  tint{rgb(0xbc4c00), rgb(0xf0883e)},
		fourth: tint{rgb(0x8250df), rgb(0xab7df8)},
		fifth:  tint{rgb(0xbf3989), rgb(0xdb61a2)},
		other:  tint{rgb(0xafb8c1), rgb(0x525a64)},
	}
}

func (t theme) all() []tint {
	return []tint{t.card, t.grid, t.ink, t.muted, t.first, t.second, t.third, t.fourth, t.fifth, t.other}
}

func rgb(v uint32) color.RGBA { return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 0xff} }

// canvas is a card to draw on, in points, with its origin at the bottom left.
type canvas struct {
	*vgsvg.Canvas
	theme
	fonts  *font.Cache
	height vg.Length
	widths []vg.Length // of the texts so far
}

func newCanvas(width, height vg.Length) *canvas {
	c := &canvas{
		Canvas: vgsvg.NewWith(vgsvg.UseWH(width, height)),
		theme:  newTheme(),
		fonts:  font.NewCache(liberation.Collection()),
		height: height,
	}
	c.fill(c.card, 0, 0, width, height)
	return c
}

// fill fills a rectangle.
func (c *canvas) fill(t tint, x0, y0, x1, y1 vg.Length) {
	c.SetColor(t.light)
	c.Canvas.Fill(vg.Rectangle{Min: vg.Point{X: x0, Y: y0}, Max: vg.Point{X: x1, Y: y1}}.Path())
}

// stroke draws a line through points.
func (c *canvas) stroke(t tint, width vg.Length, dashes []vg.Length, points ...vg.Point) {
	var p vg.Path
	for i, pt := range points {
		if i == 0 {
			p.Move(pt)
		} else {
			p.Line(pt)
		}
	}
	c.SetColor(t.light)
	c.SetLineWidth(width)
	c.SetLineDash(dashes, 0)
	c.Stroke(p)
}

// dot draws a disc.
func (c *canvas) dot(t tint, at vg.Point, radius vg.Length) {
	var p vg.Path
	p.Move(vg.Point{X: at.X + radius, Y: at.Y})
	p.Arc(at, radius, 0, 2*math.Pi)
	p.Close()
	c.SetColor(t.light)
	c.Canvas.Fill(p)
}

// lettering is how a text looks.
type lettering struct {
	tint tint
	size vg.Length
	bold bool
}

func (c *canvas) face(l lettering) font.Face {
	f := font.Font{Typeface: "Liberation", Variant: "Sans"}
	if l.bold {
		f.Weight = stdfont.WeightBold
	}
	return c.fonts.Lookup(f, l.size)
}

// width returns how wide s is.
func (c *canvas) width(l lettering, s string) vg.Length {
	face := c.face(l)
	return face.Width(s)
}

// text writes s with its baseline at y and returns where it ends. align is the part
// of its width that lies before x: 0 begins there, 1 ends there.
func (c *canvas) text(l lettering, x, y vg.Length, align float64, s string) vg.Length {
	face, width := c.face(l), c.width(l, s)
	x -= width * vg.Length(align)
	c.widths = append(c.widths, width)
	c.SetColor(l.tint.light)
	c.FillString(face, vg.Point{X: x, Y: y}, s)
	return x + width
}

// svg returns the picture. Pages that ask for a dark scheme get the dark tints. A
// machine without the font that was measured with takes another one, and has each
// text as wide as was measured.
func (c *canvas) svg(title string) ([]byte, error) {
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, err
	}
	head, body, ok := strings.Cut(b.String(), "xlink\">\n")
	if !ok {
		return nil, fmt.Errorf("the SVG does not begin as it used to; see vgsvg.NewWith")
	}
	body = strings.ReplaceAll(body, "font-family:Liberation Sans;font-variant:normal", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif")
	for _, width := range c.widths {
		body = strings.Replace(body, "<text x", fmt.Sprintf("<text textLength=\"%.1f\" lengthAdjust=\"spacingAndGlyphs\" x", width.Points()), 1)
	}
	var style strings.Builder
	style.WriteString("<style>@media (prefers-color-scheme: dark) {\n")
	for _, t := range c.all() {
		light, dark := hex(t.light), hex(t.dark)
		fmt.Fprintf(&style, "[style*=\"fill:%s\"] { fill: %s !important }\n", light, dark)
		fmt.Fprintf(&style, "[style*=\"stroke:%s\"] { stroke: %s !important }\n", light, dark)
	}
	style.WriteString("}</style>\n")
	return []byte(head + "xlink\">\n<title>" + html.EscapeString(title) + "</title>\n" + style.String() + body), nil
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }
