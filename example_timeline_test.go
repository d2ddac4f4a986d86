package lapse_test

import (
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// What would a shorter cap do to somebody who works all morning? Nothing has to run
// to find out.
func ExamplePolicy_Timeline() {
	p := lapse.Policy{TTL: 30 * time.Minute, MaxTTL: 2 * time.Hour, RenewEvery: 5 * time.Minute}

	var uses []time.Time
	for _, minutes := range []int{2, 25, 50, 79, 95, 119, 120} {
		uses = append(uses, nineOClock.Add(time.Duration(minutes)*time.Minute))
	}
	steps, err := p.Timeline(nineOClock, uses...)
	check(err)
	for _, s := range steps {
		fmt.Println(s.At.Format("15:04"), s.Kind, s.ExpiresAt.Format("15:04"))
	}
	fmt.Println(steps[0]) // with the date
	// Output:
	// 09:02 not due, lives until 09:30
	// 09:25 renewed until 09:55
	// 09:50 renewed until 10:20
	// 10:19 renewed until 10:49
	// 10:35 capped at 11:00
	// 10:59 capped at 11:00
	// 11:00 refused, at its cap since 11:00
	// 2026-01-05T09:02:00Z not due, lives until 2026-01-05T09:30:00Z
}
