package lapse_test

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// A notice to those whose keys expire within a week, once a day.
func ExampleManager_Expiring() {
	ctx := context.Background()
	const day = 24 * time.Hour
	m, mock := atNine(lapse.Policy{TTL: 30 * day, Renewal: lapse.RenewNever})
	logIn(m, "ana", "backup script")
	mock.Add(2 * day)
	logIn(m, "bob", "build server")
	mock.Add(22 * day)

	for range 3 {
		for tok, err := range m.Expiring(ctx, 7*day) {
			check(err)
			fmt.Printf("%s: to %s: your %s has until %s\n", mock.Now().Format("2 Jan"), tok.Subject, tok.Name, tok.ExpiresAt.Format("2 Jan 15:04"))
		}
		mock.Add(day)
	}
	// Output:
	// 29 Jan: to ana: your backup script has until 4 Feb 09:00
	// 30 Jan: to ana: your backup script has until 4 Feb 09:00
	// 30 Jan: to bob: your build server has until 6 Feb 09:00
	// 31 Jan: to ana: your backup script has until 4 Feb 09:00
	// 31 Jan: to bob: your build server has until 6 Feb 09:00
}
