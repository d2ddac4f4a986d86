package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// span is a duration as people write it: those of time.ParseDuration, and days: 7d.
type span time.Duration

var kindOfSpan = reflect.TypeFor[span]()

// spans reads a span from an argument.
var spans = kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := parseSpan(text)
	target.SetInt(int64(d))
	return err
})

// parseSpan returns the duration that text says.
func parseSpan(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		d = time.Duration(n * 24 * float64(time.Hour))
		if n > 36500 || n < -36500 || n != n {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		return 0, fmt.Errorf("not a duration; write 90s, 15m, 12h or 7d")
	}
	return d, nil
}
