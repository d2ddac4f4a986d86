package main

import (
	"fmt"
	"strings"
	"time"
)

// chart returns an SVG: which share of the connections was cut after how long, a line for each of two
// servers. The times are sorted.
func chart(second, third []time.Duration) string {
	const left, top, width, height = 50, 40, 560, 220
	longest := max(second[len(second)-1], third[len(third)-1], time.Millisecond)
	var b strings.Builder
	text := func(x, y float64, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, s)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 310" font-family="sans-serif" font-size="12">`+"\n"+`<rect width="640" height="310" fill="white"/>`+"\n")
	text(left, 22, "start", "From a log-out at server 1 to the cut of the connection elsewhere")
	for n := range 5 {
		share := float64(n) / 4
		fmt.Fprintf(&b, `<path d="M%d %.0fh%d" stroke="#ddd"/>`+"\n", left, top+height*(1-share), width)
		text(left-6, top+height*(1-share)+4, "end", fmt.Sprintf("%.0f %%", share*100))
		text(left+width*share, top+height+18, "middle", fmt.Sprintf("%.1f ms", share*longest.Seconds()*1000))
	}
	for n, cuts := range [][]time.Duration{second, third} {
		colour := []string{"#0b6bcb", "#c4320a"}[n]
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="2" d="M%d %d`, colour, left, top+height)
		for i, cut := range cuts {
			fmt.Fprintf(&b, "H%.1fV%.1f", left+width*float64(cut)/float64(longest), top+height*(1-float64(i+1)/float64(len(cuts))))
		}
		fmt.Fprintf(&b, `"/>`+"\n"+`<g fill="%s">`, colour)
		text(left+width-10, float64(top+height-28+16*n), "end", fmt.Sprintf("server %d, median %.2f ms", n+2, cuts[len(cuts)/2].Seconds()*1000))
		b.WriteString("</g>\n")
	}
	return b.String() + "</svg>\n"
}
