package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// The clock of most examples says this when they begin.
var nineOClock = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

// atNine returns a Manager in memory, and its clock, which says 09:00.
func atNine(policy lapse.Policy) (*lapse.Manager, *clock.Mock) {
	mock := clock.NewMock()
	mock.Set(nineOClock)
	m, err := lapse.New(memory.New(), lapse.Config{Policy: policy, Clock: mock})
	check(err)
	return m, mock
}

// logIn issues a token where an example is about what happens to it afterwards.
func logIn(m *lapse.Manager, subject, device string) lapse.Issued {
	issued, err := m.Issue(context.Background(), lapse.Grant{Subject: subject, Name: device})
	check(err)
	return issued
}

func ExampleNew() {
	m, err := lapse.New(memory.New(), lapse.Config{
		Policy: lapse.Policy{TTL: 15 * time.Minute, MaxTTL: 12 * time.Hour},
		Prefix: "acme",
	})
	fmt.Println(m != nil, err)

	_, err = lapse.New(memory.New(), lapse.Config{
		Policy: lapse.Policy{TTL: time.Hour, MaxTTL: time.Minute},
	})
	fmt.Println(err)
	// Output:
	// true <nil>
	// lapse: invalid config: Policy.MaxTTL: 1m0s is below the TTL of 1h0m0s
}

// A busy client does not write on each request, and no token lives for ever.
func ExamplePolicy() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{
		TTL:        30 * time.Minute,
		MaxTTL:     time.Hour,
		RenewEvery: 10 * time.Minute,
	})
	issued := logIn(m, "ana", "laptop")

	for tok, err := issued.Token, error(nil); err == nil; tok, err = m.Authenticate(ctx, issued.Bearer) {
		fmt.Println(mock.Now().Format("15:04"), "lives until", tok.ExpiresAt.Format("15:04"))
		mock.Add(6 * time.Minute)
	}
	fmt.Println(mock.Now().Format("15:04"), "dead")
	// Output:
	// 09:00 lives until 09:30
	// 09:06 lives until 09:30
	// 09:12 lives until 09:42
	// 09:18 lives until 09:42
	// 09:24 lives until 09:54
	// 09:30 lives until 09:54
	// 09:36 lives until 10:00
	// 09:42 lives until 10:00
	// 09:48 lives until 10:00
	// 09:54 lives until 10:00
	// 10:00 dead
}

// The application's own table of accounts decides who may come in at all. That it
// is out of reach refuses nobody.
func ExampleConfig_checkSubject() {
	ctx := context.Background()
	var account error
	m, err := lapse.New(memory.New(), lapse.Config{
		Admit: func(ctx context.Context, tok lapse.Token) error { return account },
	})
	check(err)
	issued := logIn(m, "ana", "laptop")

	account = fmt.Errorf("%w: suspended", lapse.ErrRefused)
	_, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrUnauthenticated)) // answer 401

	account = errors.New("no connection to the accounts")
	_, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrUnauthenticated)) // answer 503

	account = nil
	_, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(err)
	// Output:
	// true
	// false
	// <nil>
}

// An audit log is one function. No Event holds a secret.
func ExampleConfig_observe() {
	ctx := context.Background()
	m, err := lapse.New(memory.New(), lapse.Config{
		Observe: func(_ context.Context, e lapse.Event) { fmt.Println(e.Kind, "token of", e.Token.Subject) },
	})
	check(err)

	issued := logIn(m, "ana", "laptop")
	_, err = m.ExpireBearer(ctx, issued.Bearer)
	check(err)
	_, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrRevoked))
	// Output:
	// issued token of ana
	// ended token of ana
	// rejected token of ana
	// true
}

// Time travel: a *clock.Mock of github.com/benbjohnson/clock is a Clock as it is.
// It starts in 1970, and only Add and Set move it.
func ExampleClock_mock() {
	ctx := context.Background()
	mock := clock.NewMock()
	m, err := lapse.New(memory.New(), lapse.Config{Clock: mock})
	check(err)
	issued, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
	check(err)

	mock.Add(30*time.Minute - time.Millisecond)
	_, err = m.Peek(ctx, issued.Bearer)
	fmt.Println(err)

	mock.Add(time.Millisecond)
	_, err = m.Peek(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))
	// Output:
	// <nil>
	// true
}

// What a log may say of a refusal, the client need not know.
func ExampleRejection() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")
	mock.Add(5 * time.Minute)
	_, err := m.ExpireSubject(ctx, "ana")
	check(err)

	_, err = m.Authenticate(ctx, issued.Bearer)
	var r *lapse.Rejection
	if errors.As(err, &r) {
		fmt.Println(r.ID == issued.ID, r.Subject, r.At.Format("15:04"), r.Reason)
	}
	// Output: true ana 09:05 subject
}

// IDs are no secret. They stand in logs and URLs, and at the start of each token.
func ExampleParseID() {
	m, _ := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	id, err := lapse.ParseID(issued.ID.String())
	fmt.Println(id == issued.ID, err)

	_, err = lapse.ParseID(issued.Bearer)
	fmt.Println(err)
	// Output:
	// true <nil>
	// lapse: not a token ID: want 22 characters of 0-9A-Za-z
}
