package main

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

// lines is a chart of lines over logarithmic scales, each with its name and its last
// figure behind its end.
type lines struct {
	title, subtitle string
	unit            string
	ticks           []tick // of the horizontal axis
	series          []series
}

type tick struct {
	at    float64
	label string
}

type series struct {
	side   string
	points []point
}

type point struct{ x, y float64 }

// add takes the points of a side from the groups that have it.
func (l *lines) add(side string, groups []group, x func(group) float64, y func(sideFigures) float64) {
	s := series{side: side}
	for _, g := range groups {
		if f, ok := g.side(side); ok {
			s.points = append(s.points, point{x(g), y(f)})
		}
	}
	if len(s.points) > 0 {
		l.series = append(l.series, s)
	}
}

func (l *lines) draw() ([]byte, error) {
	const height, footRoom = vg.Length(330), vg.Length(34)
	c := newCanvas(cardWidth, height)
	c.heading(l.title, l.subtitle)

	names, figures := lettering{c.ink, 12, false}, lettering{c.ink, 12, true}
	right := vg.Length(0)
	for _, s := range l.series {
		last := humane(s.points[len(s.points)-1].y, l.unit)
		right = max(right, c.width(names, shown(s.side))+8+c.width(figures, last))
	}
	low, high := l.span()
	x0, x1 := margin+46, cardWidth-margin-right-14
	y0, y1 := footRoom, height-headRoom-6
	atX := func(v float64) vg.Length {
		return x0 + 8 + (x1-x0-8)*vg.Length(plot.LogScale{}.Normalize(l.ticks[0].at, l.ticks[len(l.ticks)-1].at, v))
	}
	atY := func(v float64) vg.Length { return y0 + (y1-y0)*vg.Length(plot.LogScale{}.Normalize(low, high, v)) }

	axis := lettering{c.muted, 10.5, false}
	for v := math.Pow(10, math.Ceil(math.Log10(low))); v <= high; v *= 10 {
		c.stroke(c.grid, 0.8, nil, vg.Point{X: x0, Y: atY(v)}, vg.Point{X: x1, Y: atY(v)})
		c.text(axis, x0-8, atY(v)-3.7, 1, humane(v, l.unit))
	}
	for _, t := range l.ticks {
		c.text(axis, atX(t.at), y0-17, 0.5, t.label)
	}
	for i := len(l.series) - 1; i >= 0; i-- { // the first one on top
		l.series[i].draw(c, atX, atY)
	}
	for i, y := range l.labels(atY, y0) {
		s := l.series[i]
		last := s.points[len(s.points)-1]
		end := atX(last.x)
		after := c.text(lettering{s.tint(c), 12, true}, end+10, y-4.2, 0, shown(s.side))
		c.text(lettering{c.muted, 12, false}, after+8, y-4.2, 0, humane(last.y, l.unit))
	}
	return c.svg(l.title)
}

// draw draws the line and its points.
func (s series) draw(c *canvas, atX, atY func(float64) vg.Length) {
	var path []vg.Point
	for _, p := range s.points {
		path = append(path, vg.Point{X: atX(p.x), Y: atY(p.y)})
	}
	width := vg.Length(1.6)
	if s.side == "memory" || s.side == "bolt" {
		width = 2.6
	}
	c.stroke(s.tint(c), width, nil, path...)
	for _, p := range path {
		c.dot(s.tint(c), p, width+0.9)
	}
}

// tint is the colour of the line of a side.
func (s series) tint(c *canvas) tint {
	switch s.side {
	case "group-commit", "plain-map":
		return c.fourth
	case "bbolt-update", "bbolt-view":
		return c.muted
	case "bbolt-batch", "scs-memory":
		return c.third
	case "scs-bbolt":
		return c.fifth
	}
	return c.colour(s.side)
}

// span returns round numbers around all points.
func (l *lines) span() (low, high float64) {
	low, high = math.Inf(1), 0
	for _, s := range l.series {
		for _, p := range s.points {
			low, high = min(low, p.y), max(high, p.y)
		}
	}
	ten := math.Pow(10, math.Floor(math.Log10(low)))
	for _, step := range []float64{5, 2} {
		if ten*step < 0.8*low {
			ten *= step
			break
		}
	}
	return ten, max(ten*10, high*1.25)
}

// labels returns the height of each line's label: that of its end, moved so that no
// two touch and none is below floor.
func (l *lines) labels(atY func(float64) vg.Length, floor vg.Length) []vg.Length {
	const apart = vg.Length(16)
	order := make([]int, len(l.series))
	heights := make([]vg.Length, len(l.series))
	for i, s := range l.series {
		order[i], heights[i] = i, atY(s.points[len(s.points)-1].y)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(heights[a], heights[b]) })
	for range 100 { // push neighbours apart, each half of the way
		for k := 1; k < len(order); k++ {
			below, above := order[k-1], order[k]
			if miss := apart - (heights[above] - heights[below]); miss > 0 {
				heights[below] -= miss / 2
				heights[above] += miss / 2
			}
		}
		if len(order) > 0 {
			heights[order[0]] = max(heights[order[0]], floor)
		}
	}
	return heights
}
