package main

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

// bars is a chart of horizontal bars, each with its name before it and its figure
// behind it.
type bars struct {
	title, subtitle string
	linear          bool // from 0; otherwise logarithmic, from 1
	bars            []bar
}

type bar struct {
	side, name  string
	length      float64
	label, more string // the figure, and a second one
}

const (
	cardWidth = vg.Length(600)
	margin    = vg.Length(18)
	headRoom  = vg.Length(58) // for title and subtitle
	barStep   = vg.Length(22)
	barHeight = vg.Length(13)
)

func (c *canvas) heading(title, subtitle string) {
	c.text(lettering{c.ink, 16, true}, margin, c.height-28, 0, title)
	c.text(lettering{c.muted, 11, false}, margin, c.height-45, 0, subtitle)
}

func (b *bars) draw() ([]byte, error) {
	footRoom := vg.Length(30)
	if b.linear {
		footRoom = 14
	}
	c := newCanvas(cardWidth, headRoom+footRoom+vg.Length(len(b.bars))*barStep+8)
	c.heading(b.title, b.subtitle)

	names, figures := lettering{c.ink, 12, false}, lettering{c.ink, 12, true}
	left, right := vg.Length(0), vg.Length(0)
	for _, x := range b.bars {
		left = max(left, c.width(b.naming(c, x), x.name))
		right = max(right, c.width(figures, x.label)+10+c.width(names, x.more))
	}
	left += margin + 10
	right = cardWidth - margin - right - 8
	at := b.scale(left, right)

	bottom, top := footRoom, c.height-headRoom+2
	for _, t := range b.grid() {
		c.stroke(c.grid, 0.8, nil, vg.Point{X: at(t), Y: bottom}, vg.Point{X: at(t), Y: top})
		c.text(lettering{c.muted, 10.5, false}, at(t), bottom-13, 0.5, plain(t)+"x")
	}
	zero := at(b.from())
	for i, x := range b.bars {
		y := top - 6 - barStep*vg.Length(i) - barStep/2
		end := at(x.length)
		c.text(b.naming(c, x), left-10, y-4.2, 1, x.name)
		c.fill(c.colour(x.side), min(zero, end)-0.8, y-barHeight/2, max(zero, end)+0.8, y+barHeight/2)
		after := c.text(figures, max(zero, end)+7, y-4.2, 0, x.label)
		c.text(lettering{c.muted, 12, false}, after+8, y-4.2, 0, x.more)
	}
	return c.svg(b.title)
}

// naming returns the lettering for the name of a bar: lapse stands out.
func (b *bars) naming(c *canvas, x bar) lettering {
	if t := c.colour(x.side); t != c.other {
		return lettering{t, 12, true}
	}
	return lettering{c.ink, 12, false}
}

// from is where bars begin.
func (b *bars) from() float64 {
	if b.linear {
		return 0
	}
	return 1
}

// scale returns where a value lies between left and right.
func (b *bars) scale(left, right vg.Length) func(v float64) vg.Length {
	low, high := b.from(), b.from()
	for _, x := range b.bars {
		low, high = min(low, x.length), max(high, x.length)
	}
	normalize := plot.LinearScale{}.Normalize
	if !b.linear {
		low = min(low, 0.9)
		normalize = plot.LogScale{}.Normalize
	}
	return func(v float64) vg.Length { return left + (right-left)*vg.Length(normalize(low, high, v)) }
}

// grid returns the values that have a line: powers of ten that some bar reaches.
func (b *bars) grid() []float64 {
	if b.linear {
		return nil
	}
	high := 1.0
	for _, x := range b.bars {
		high = max(high, x.length)
	}
	var lines []float64
	for v := 1.0; v <= math.Max(high, 1); v *= 10 {
		lines = append(lines, v)
	}
	return lines
}
