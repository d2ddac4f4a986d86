package lapse_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

func Example() {
	// setup
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "lapse-")
	check(err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tokens.db")
	// end setup
	store, err := bolt.Open(path, nil) // one file, created with mode 0600
	check(err)
	defer store.Close()
	tokens, err := lapse.New(store, lapse.Config{}) // lives 30 minutes; each use gives it 30 more
	check(err)

	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com", Scope: "read"})
	check(err) // issued.Bearer goes to the client and is kept nowhere

	tok, err := tokens.Authenticate(ctx, issued.Bearer) // with each request, message or connection
	check(err)
	fmt.Println(tok.Subject, "may read:", tok.Has("read"))

	_, err = tokens.ExpireBearer(ctx, issued.Bearer) // log out
	check(err)
	_, err = tokens.Authenticate(ctx, issued.Bearer)
	fmt.Println("no good:", errors.Is(err, lapse.ErrUnauthenticated)) // answer 401; any other error: 503
	// Output:
	// ana@example.com may read: true
	// no good: true
}

// check is for errors that an example is not about.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

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
		fmt.Println(m.Now().Format("15:04"), "lives until", tok.ExpiresAt.Format("15:04"))
		mock.Add(6 * time.Minute)
	}
	fmt.Println(m.Now().Format("15:04"), "dead")
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

// A token may be used from some addresses only.
func ExampleConfig_allowList() {
	// A handler puts the address of its peer into the context, and the token says in its Data from
	// where it may be used. Admit is asked before the use counts: a thief elsewhere renews nothing.
	// A socket for IPv6 gives the address of an IPv4 peer as ::ffff:10.1.2.3. Unmap makes it 10.1.2.3.
	type peerKey struct{}
	tokens, err := lapse.New(memory.New(), lapse.Config{Admit: func(ctx context.Context, tok lapse.Token) error {
		peer, known := ctx.Value(peerKey{}).(netip.Addr)
		if tok.Data == "" { // it may be used from anywhere
			return nil
		}
		allowed, err := netip.ParsePrefix(tok.Data)
		if err != nil || !known || !allowed.Contains(peer.Unmap()) {
			return lapse.ErrRefused
		}
		return nil
	}})
	check(err)
	from := func(peer string) context.Context {
		return context.WithValue(context.Background(), peerKey{}, netip.MustParseAddr(peer))
	}
	issued, err := tokens.Issue(context.Background(), lapse.Grant{Subject: "backup", Data: "10.1.0.0/16"})
	check(err)
	for _, ctx := range []context.Context{from("10.1.2.3"), from("::ffff:10.1.2.3"), from("192.0.2.7"), context.Background()} {
		_, err := tokens.Authenticate(ctx, issued.Bearer)
		fmt.Println(lapse.Code(err))
	}
	// Output:
	// ok
	// ok
	// refused
	// refused
}

// A token that is bound to a key of its client is worth nothing to a thief. An adapter verifies the
// DPoP proof of each request (RFC 9449), and passes on the thumbprint of the key that signed it.
func ExampleWithProof() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	key, err := lapse.ParseThumbprint("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs") // jkt
	check(err)
	issued, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Thumbprint: key})
	check(err)

	_, err = m.Authenticate(ctx, issued.Bearer) // a thief has the text alone
	fmt.Println(lapse.Code(err), errors.Is(err, lapse.ErrUnauthenticated))
	tok, err := m.Authenticate(lapse.WithProof(ctx, key), issued.Bearer)
	fmt.Println(lapse.Code(err), tok.Thumbprint == key)
	// Output:
	// proof true
	// ok true
}

// The text is that of jkt (RFC 9449 section 6.1) and of x5t#S256 (RFC 8705 section 3.1).
func ExampleParseThumbprint() {
	key, err := lapse.ParseThumbprint("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
	fmt.Println(key, err)
	_, err = lapse.ParseThumbprint("NzbLsXh8uDCcd+6MNwXF4W/7noWXFZAfHkxZsRGC9Xs=")
	fmt.Println(errors.Is(err, lapse.ErrInvalidThumbprint))
	// Output:
	// NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs <nil>
	// true
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

// A list of devices shows names that the clients chose, so no line of it may be forged.
func ExampleClipName() {
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	userAgent := "curl/8.5\n\x1b[2JAna's laptop"
	_, err = m.Issue(context.Background(), lapse.Grant{Subject: "ana", Name: userAgent})
	fmt.Println(err)
	issued, err := m.Issue(context.Background(), lapse.Grant{Subject: "ana", Name: lapse.ClipName(userAgent)})
	fmt.Println(issued.Name, err)
	// Output:
	// lapse: invalid grant: Name: U+000A may not stand here; leave it out, as ClipName does
	// curl/8.5 [2JAna's laptop <nil>
}

// A form says which of its fields is wrong.
func ExampleGrantError() {
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Issue(context.Background(), lapse.Grant{Subject: "ana", MaxUses: -1})
	var wrong *lapse.GrantError
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Field)
		fmt.Println(wrong.Limit)
	}
	// Output:
	// MaxUses
	// -1 is not between 0 and 2147483647
}

// An answer of 403 names what to ask for (RFC 6750 section 3).
func ExampleScopeError() {
	err := lapse.Require(lapse.Token{Scope: "read"}, "read", "write")
	var lacks *lapse.ScopeError
	if errors.As(err, &lacks) {
		fmt.Println(lacks.Missing)
	}
	// Output: [write]
}

func ExampleManager_Issue() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})

	issued, err := m.Issue(ctx, lapse.Grant{
		Subject: "ana@example.com",
		Name:    "Ana's laptop",
		Scope:   "read write",
		TTL:     10 * time.Minute, // less than the policy's 30
	})
	check(err)
	fmt.Println(issued.ExpiresAt.Format("15:04"), issued.MaxExpiresAt.Format("2 Jan"))
	fmt.Println(strings.HasPrefix(issued.Bearer, "lapse_"+issued.ID.String()))
	fmt.Println(strings.Contains(fmt.Sprint(issued), issued.Bearer)) // the secret does not print
	// Output:
	// 09:10 4 Feb
	// true
	// false
}

// With a limit, the newest device takes the place of the oldest.
func ExampleManager_Issue_limit() {
	m, mock := atNine(lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitEndOldest})
	phone := logIn(m, "ana", "phone")
	mock.Add(time.Minute)
	logIn(m, "ana", "laptop")
	mock.Add(time.Minute)
	tablet := logIn(m, "ana", "tablet")

	fmt.Println(len(tablet.Evicted), tablet.Evicted[0] == phone.ID)
	// Output: 1 true
}

func ExampleManager_Authenticate() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	for _, wait := range []time.Duration{25 * time.Minute, 30 * time.Minute} {
		mock.Add(wait)
		tok, err := m.Authenticate(ctx, issued.Bearer)
		switch {
		case err == nil:
			fmt.Println(tok.Subject, "until", tok.ExpiresAt.Format("15:04"))
		case errors.Is(err, lapse.ErrUnauthenticated):
			fmt.Println("401: no good")
		default:
			fmt.Println("503: could not tell")
		}
	}
	// Output:
	// ana until 09:55
	// 401: no good
}

// A page that asks each second who is logged in keeps no user logged in.
func ExampleManager_Peek() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	mock.Add(25 * time.Minute)
	tok, err := m.Peek(ctx, issued.Bearer)
	fmt.Println(tok.ExpiresAt.Format("15:04"), err)
	// Output: 09:30 <nil>
}

// Under RenewOnRequest the client decides what counts as activity.
func ExampleManager_Renew() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{Renewal: lapse.RenewOnRequest})
	issued := logIn(m, "ana", "laptop")

	mock.Add(25 * time.Minute)
	used, err := m.Authenticate(ctx, issued.Bearer)
	check(err)
	renewed, err := m.Renew(ctx, issued.Bearer)
	check(err)
	fmt.Println(used.ExpiresAt.Format("15:04"), renewed.ExpiresAt.Format("15:04"))
	// Output: 09:30 09:55
}

// Step-up (RFC 9470): what costs money wants a user who was present in the last five minutes. The
// client asks for the password again, and the server calls Confirm.
func ExampleManager_Confirm() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	transfer := func() string {
		tok, err := m.Authenticate(ctx, issued.Bearer)
		check(err)
		if age := m.Now().Sub(tok.AuthenticatedAt); age < 0 || age > 5*time.Minute {
			return `401 error="insufficient_user_authentication", max_age=300`
		}
		return "transferred"
	}
	mock.Add(20 * time.Minute)
	fmt.Println(transfer())
	_, err := m.Confirm(ctx, issued.Bearer) // once the password is found to be right
	check(err)
	fmt.Println(transfer())
	// Output:
	// 401 error="insufficient_user_authentication", max_age=300
	// transferred
}

// A token that is in use loses the right to write, and lives for an hour at most: the client notices
// neither a new text nor a new log-in.
func ExampleManager_Edit() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{TTL: 8 * time.Hour})
	issued, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "read write"})
	check(err)

	scope, until := "read", m.Now().Add(time.Hour)
	tok, err := m.Edit(ctx, issued.ID, lapse.Changes{Scope: &scope, ExpiresAt: &until})
	check(err)
	fmt.Println(tok.Scope, "until", tok.ExpiresAt.Format("15:04"))

	mock.Add(30 * time.Minute)
	tok, err = m.Authenticate(ctx, issued.Bearer) // a use, which renews no more
	check(err)
	fmt.Println(lapse.Require(tok, "write"), "until", tok.ExpiresAt.Format("15:04"))
	// Output:
	// read until 10:00
	// lapse: insufficient scope: ["write"] is missing until 10:00
}

// The ID is enough to end a token: no administrator has to know the secret.
func ExampleManager_Expire() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	stolen := logIn(m, "ana", "stolen laptop")

	ended, err := m.Expire(ctx, stolen.ID)
	fmt.Println(ended, err)
	ended, err = m.Expire(ctx, stolen.ID) // dead already
	fmt.Println(ended, err)
	// Output:
	// true <nil>
	// false <nil>
}

// An administrator has seen something odd, and wants to look first. The token is refused meanwhile, and its
// connections are cut.
func ExampleManager_Suspend() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "build server")

	mock.Add(10 * time.Minute)
	changed, err := m.Suspend(ctx, issued.ID)
	check(err)
	_, err = m.Authenticate(ctx, issued.Bearer)
	var why *lapse.Rejection
	if errors.As(err, &why) {
		fmt.Println(changed, lapse.Code(err), "since", why.At.Format("15:04"))
	}
	// Output: true suspended since 09:10
}

// The odd thing was a test. The text that the client has kept is good again, until the time at which the
// token would have run out anyway.
func ExampleManager_Resume() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{Renewal: lapse.RenewOnRequest})
	issued := logIn(m, "ana", "build server")
	_, err := m.Suspend(ctx, issued.ID)
	check(err)

	mock.Add(10 * time.Minute)
	changed, err := m.Resume(ctx, issued.ID)
	check(err)
	tok, err := m.Authenticate(ctx, issued.Bearer)
	check(err)
	fmt.Println(changed, "until", tok.ExpiresAt.Format("15:04"))

	mock.Add(20 * time.Minute)
	_, err = m.Resume(ctx, issued.ID)
	fmt.Println(lapse.Code(err))
	// Output:
	// true until 09:30
	// expired
}

// Log out: the holder of the token may end it.
func ExampleManager_ExpireBearer() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	mock.Add(10 * time.Minute)
	tok, err := m.ExpireBearer(ctx, issued.Bearer)
	check(err)
	fmt.Println(tok.Name, tok.EndedAt.Format("15:04"), tok.EndReason)
	// Output: laptop 09:10 revoked
}

// Log out everywhere but here, as after a change of password.
func ExampleManager_ExpireSubject() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	here := logIn(m, "ana", "laptop")
	logIn(m, "ana", "phone")
	logIn(m, "ana", "tablet")
	logIn(m, "bob", "desk")

	ended, err := m.ExpireSubject(ctx, "ana", here.ID)
	fmt.Println(ended, err)
	_, err = m.Authenticate(ctx, here.Bearer)
	fmt.Println(err)
	// Output:
	// 2 <nil>
	// <nil>
}

// A token is on record after its death too, and says how it died.
func ExampleManager_Token() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	id := logIn(m, "ana", "laptop").ID

	mock.Add(45 * time.Minute)
	tok, err := m.Token(ctx, id)
	check(err)
	fmt.Println(tok.Live(m.Now()), tok.DeadFrom().Format("15:04"), tok.EndedAt.IsZero())
	// Output: false 09:30 true
}

// The page "your devices".
func ExampleManager_List() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	for _, device := range []string{"phone", "laptop", "tablet"} {
		logIn(m, "ana", device)
		mock.Add(15 * time.Minute)
	}

	for tok, err := range m.List(ctx, lapse.Query{Subject: "ana"}) {
		check(err)
		fmt.Println(tok.IssuedAt.Format("15:04"), tok.Name, tok.Live(m.Now()))
	}
	// Output:
	// 09:00 phone false
	// 09:15 laptop false
	// 09:30 tablet true
}

// The page of an administrator, two tokens at a time: the text in next goes into the link "more".
func ExampleManager_List_pages() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	for _, subject := range []string{"ana", "bob", "carl"} {
		logIn(m, subject, "laptop")
	}

	for page, next := 1, ""; page == 1 || next != ""; page++ {
		for tok, err := range m.List(ctx, lapse.Query{Live: true, Limit: 2, After: next, Next: &next}) {
			check(err)
			fmt.Println("page", page, tok.Subject)
		}
	}
	// Output:
	// page 1 ana
	// page 1 bob
	// page 2 carl
}

func ExampleManager_Count() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	logIn(m, "ana", "laptop")
	mock.Add(15 * time.Minute)
	logIn(m, "bob", "laptop")
	mock.Add(15 * time.Minute) // the first one has run out

	all, err := m.Count(ctx, lapse.Query{})
	check(err)
	live, err := m.Count(ctx, lapse.Query{Live: true})
	fmt.Println(all, live, err)
	// Output: 2 1 <nil>
}

// Which connections are open now?
func ExampleManager_Holds() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")
	for range 2 {
		h, err := m.Hold(ctx, issued.Bearer)
		check(err)
		defer h.Release()
	}

	for held, err := range m.Holds(ctx) {
		check(err)
		fmt.Println(held.Token.Subject, held.Token.Name, held.Connections)
	}
	// Output: ana laptop 2
}

// A program keeps a list of ana's devices on a screen. After a Gap it reads the list again.
func ExampleManager_Watch() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")

	for change, err := range m.Watch(ctx, lapse.Query{Subject: "ana"}) {
		check(err)
		if change.Gap { // the first change
			for tok, err := range m.List(ctx, lapse.Query{Subject: "ana"}) {
				check(err)
				fmt.Println("listed:", tok.Name, map[bool]string{true: "alive"}[tok.Live(m.Now())])
			}
			_, err = m.Expire(ctx, issued.ID)
			check(err)
			continue
		}
		fmt.Println("changed:", change.Token.Name, change.Token.EndReason)
		break
	}
	// Output:
	// listed: laptop alive
	// changed: laptop revoked
}

// ana has closed her account.
func ExampleManager_ForgetSubject() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "laptop")
	logIn(m, "ana", "phone")

	deleted, err := m.ForgetSubject(ctx, "ana")
	fmt.Println(deleted, err)
	_, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrUnknown))
	// Output:
	// 2 <nil>
	// true
}

// The dead are kept for Retention, so that people can be told what happened.
func ExampleManager_Sweep() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{Retention: time.Hour})
	issued := logIn(m, "ana", "laptop") // dead from 09:30 on

	mock.Add(90 * time.Minute)
	deleted, err := m.Sweep(ctx)
	fmt.Println(deleted, err)

	mock.Add(time.Minute)
	deleted, err = m.Sweep(ctx)
	fmt.Println(deleted, err)

	_, err = m.Token(ctx, issued.ID)
	fmt.Println(errors.Is(err, lapse.ErrNotFound))
	// Output:
	// 0 <nil>
	// 1 <nil>
	// true
}

// The answer of a token endpoint with a field of one's own: a struct that embeds the
// TokenPair.
func ExampleTokenPair() {
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: clock.NewMock()}})
	check(err)
	pair, err := pairs.Issue(context.Background(), lapse.Grant{Subject: "ana", Scope: "read"})
	check(err)
	body, err := json.Marshal(struct {
		lapse.TokenPair
		Greeting string `json:"greeting"`
	}{pair, "Good morning, Ana"})
	check(err)
	fmt.Println(strings.NewReplacer(pair.Access.Bearer, "ACCESS", pair.Refresh.Bearer, "REFRESH").Replace(string(body)))

	// Its client reads a refreshed one into what it has. This server sends no other refresh text.
	check(json.Unmarshal([]byte(`{"access_token": "ANOTHER", "token_type": "bearer", "expires_in": "600"}`), &pair))
	fmt.Println(pair.Access.Bearer, pair.ExpiresIn, pair.Refresh.Bearer != "")
	// Output:
	// {"access_token":"ACCESS","token_type":"Bearer","expires_in":900,"refresh_token":"REFRESH","scope":"read","greeting":"Good morning, Ana"}
	// ANOTHER 10m0s true
}

// A link in a mail is good once. A double click is good, too, and does nothing twice.
func ExampleManager_Authenticate_doubleClick() {
	ctx := context.Background()
	m, mock := atNine(lapse.Policy{})
	link, err := m.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: 1, UseGrace: 10 * time.Second})
	check(err)
	for range 3 {
		switch tok, err := m.Authenticate(ctx, link.Bearer); {
		case err != nil:
			fmt.Println(lapse.Code(err))
		case tok.Repeated():
			fmt.Println("done already")
		default:
			fmt.Println("confirmed", tok.Subject)
		}
		mock.Add(6 * time.Second)
	}
	// Output:
	// confirmed ana
	// done already
	// exhausted
}

// Who it is, and what they may do, are two questions with two answers.
func ExampleRequire() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	issued, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "files:read"})
	check(err)

	tok, err := m.Authenticate(ctx, issued.Bearer)
	check(err) // 401 or 503
	for _, scope := range []string{"files:read", "files:write"} {
		if err := lapse.Require(tok, scope); errors.Is(err, lapse.ErrScope) {
			fmt.Println("403:", err)
		} else {
			fmt.Println("200:", scope)
		}
	}
	// Output:
	// 200: files:read
	// 403: lapse: insufficient scope: ["files:write"] is missing
}

// A program hands a helper less than it has itself.
func ExampleManager_Delegate() {
	ctx := context.Background()
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ana, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "files:read files:write"})
	if err != nil {
		log.Fatal(err)
	}
	backup, err := m.Delegate(ctx, ana.Bearer, lapse.Grant{Name: "backup", Scope: "files:read"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(backup.Subject, backup.Scope, backup.Parent == ana.ID)

	_, err = m.Delegate(ctx, backup.Bearer, lapse.Grant{Scope: "files:write"})
	fmt.Println(errors.Is(err, lapse.ErrScope))

	if _, err := m.ExpireBearer(ctx, ana.Bearer); err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, backup.Bearer)
	var why *lapse.Rejection
	fmt.Println(errors.As(err, &why), why.Reason)
	// Output:
	// ana files:read true
	// true
	// true parent
}

// A notice to those whose keys expire within a week, once a day.
func ExampleManager_List_within() {
	ctx := context.Background()
	const day = 24 * time.Hour
	m, mock := atNine(lapse.Policy{TTL: 30 * day, Renewal: lapse.RenewNever})
	logIn(m, "ana", "backup script")
	mock.Add(2 * day)
	logIn(m, "bob", "build server")
	mock.Add(22 * day)

	for range 3 {
		for tok, err := range m.List(ctx, lapse.Query{Within: 7 * day}) {
			check(err)
			fmt.Printf("%s: to %s: your %s has until %s\n", m.Now().Format("2 Jan"), tok.Subject, tok.Name, tok.ExpiresAt.Format("2 Jan 15:04"))
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

// A client that lost the answer asks again under the same RequestID, and has one token all the same.
func ExampleGrant_requestID() {
	ctx := context.Background()
	key := make([]byte, 32) // a real one comes from where the program keeps its secrets
	rand.Read(key)
	m, err := lapse.New(memory.New(), lapse.Config{Keys: []lapse.Key{lapse.NewKey(key)}})
	check(err)
	grant := lapse.Grant{Subject: "ana", Scope: "read", RequestID: "the Idempotency-Key of the request"}
	first, err := m.Issue(ctx, grant)
	check(err)
	again, err := m.Issue(ctx, grant) // also after ErrOutcomeUnknown
	check(err)
	fmt.Println(again.Existing, again.ID == first.ID, again.Bearer == first.Bearer)

	grant.Scope = "write"
	_, err = m.Issue(ctx, grant)
	var wrong *lapse.GrantError
	fmt.Println(errors.As(err, &wrong), wrong.Field)
	// Output:
	// true true true
	// true RequestID
}

// The tokens of another system go on working: their rows are imported, and Foreign reads their texts.
func ExampleManager_Import() {
	ctx := context.Background()
	m, err := lapse.New(memory.New(), lapse.Config{
		Foreign: func(text string) (key string, digest []byte, ok bool) {
			id, secret, ok := strings.Cut(text, "|") // "12|kv3…": the other system stores the ID and SHA-256 of the rest
			sum := sha256.Sum256([]byte(secret))
			return id, sum[:], ok
		},
	})
	check(err)
	stored := sha256.Sum256([]byte("kv3xq9"))
	row := lapse.Foreign{Key: "12", Digest: stored[:]}
	tok, err := m.Import(ctx, lapse.Grant{Subject: "ana", TTL: 10 * time.Minute}, row) // what it has left
	check(err)

	seen, err := m.Authenticate(ctx, "12|kv3xq9")
	check(err)
	fmt.Println(seen.Subject, seen.ID == tok.ID)

	rotated, err := m.Rotate(ctx, "12|kv3xq9", 0) // whenever it suits: from now on the text is one of lapse
	check(err)
	_, err = m.Authenticate(ctx, "12|kv3xq9")
	fmt.Println(strings.HasPrefix(rotated.Bearer, "lapse_"), errors.Is(err, lapse.ErrReplaced))
	// Output:
	// ana true
	// true true
}

// configToMove returns a Config under which imported tokens live as the rows of their table say.
func configToMove(read func(text string) (key string, digest []byte, ok bool)) lapse.Config {
	return lapse.Config{Foreign: read, Policy: lapse.Policy{
		TTL:       10 * 365 * 24 * time.Hour, // of a row that never runs out
		MaxTTL:    lapse.NoLimit,             // by default 30 days: a row that has longer to live is ErrInvalidGrant
		Renewal:   lapse.RenewNever,          // by default each use prolongs a life, also where the row has a fixed expiry
		MaxTokens: lapse.NoTokenLimit,        // by default 100: a 101st token of a subject is ErrLimit
	}}
}

// readRestFramework is the Config.Foreign for rest_framework.authtoken. Its table has the keys in the clear.
func readRestFramework(text string) (key string, digest []byte, ok bool) {
	if len(text) != 40 || strings.Trim(text, "0123456789abcdef") != "" {
		return "", nil, false
	}
	sum := sha256.Sum256([]byte(text))
	return text, sum[:], true
}

func importRestFramework(ctx context.Context, m *lapse.Manager, row struct{ key, username string }) error {
	key, digest, ok := readRestFramework(row.key)
	if !ok {
		return fmt.Errorf("the row of %s has no key of rest_framework.authtoken", row.username)
	}
	_, err := m.Import(ctx, lapse.Grant{Subject: row.username}, lapse.Foreign{Key: key, Digest: digest})
	if errors.Is(err, lapse.ErrNotFound) {
		return nil // it was imported before, and is dead and swept
	}
	return err
}

// readKnox is the Config.Foreign for django-rest-knox 5.
func readKnox(text string) (key string, digest []byte, ok bool) {
	sum := sha512.Sum512([]byte(text)) // of knox 4.2: of the bytes that hex.DecodeString(text) returns
	return hex.EncodeToString(sum[:]), sum[:], true
}

type knoxRow struct {
	digest, tokenKey, username string
	expiry                     time.Time // zero: NULL
}

func importKnox(ctx context.Context, m *lapse.Manager, row knoxRow) error {
	digest, err := hex.DecodeString(row.digest)
	if err != nil {
		return err
	}
	grant := lapse.Grant{Subject: row.username, Name: "knox " + row.tokenKey}
	if !row.expiry.IsZero() {
		if grant.TTL = row.expiry.Sub(m.Now()); grant.TTL < time.Millisecond {
			return nil // it has run out
		}
	}
	_, err = m.Import(ctx, grant, lapse.Foreign{Key: row.digest, Digest: digest})
	if errors.Is(err, lapse.ErrNotFound) {
		return nil // it was imported before, and is dead and swept
	}
	return err
}

// readSanctum is the Config.Foreign for Laravel Sanctum.
func readSanctum(text string) (key string, digest []byte, ok bool) {
	if _, secret, found := strings.Cut(text, "|"); found { // texts from before version 2.3 have no ID
		text = secret
	}
	sum := sha256.Sum256([]byte(text)) // also of token_prefix and of the CRC-32 at the end, where they are there
	return hex.EncodeToString(sum[:]), sum[:], true
}

type sanctumRow struct {
	token, userID, name   string
	abilities             []string
	lastUsedAt, expiresAt time.Time // zero: NULL
}

func importSanctum(ctx context.Context, m *lapse.Manager, row sanctumRow) error {
	digest, err := hex.DecodeString(row.token)
	if err != nil {
		return err
	}
	grant := lapse.Grant{Subject: row.userID, Name: lapse.ClipName(row.name), Scope: strings.Join(row.abilities, " ")}
	if !row.lastUsedAt.IsZero() {
		grant.Data = "last used before the import: " + row.lastUsedAt.Format(time.RFC3339)
	}
	if !row.expiresAt.IsZero() {
		if grant.TTL = row.expiresAt.Sub(m.Now()); grant.TTL < time.Millisecond {
			return nil // it has run out
		}
	}
	_, err = m.Import(ctx, grant, lapse.Foreign{Key: row.token, Digest: digest})
	if errors.Is(err, lapse.ErrNotFound) {
		return nil // it was imported before, and is dead and swept
	}
	return err
}

// readHomeMade returns the Config.Foreign for a table of HMAC-SHA-256 of each text, under a key of the program.
func readHomeMade(pepper []byte) func(text string) (key string, digest []byte, ok bool) {
	return func(text string) (key string, digest []byte, ok bool) {
		secret, ok := strings.CutPrefix(text, "acme_")
		mac := hmac.New(sha256.New, pepper)
		mac.Write([]byte(secret))
		sum := mac.Sum(nil)
		return hex.EncodeToString(sum), sum, ok
	}
}

type homeMadeRow struct {
	mac   []byte // not in hexadecimal
	owner string
}

func importHomeMade(ctx context.Context, m *lapse.Manager, row homeMadeRow) error {
	key := hex.EncodeToString(row.mac) // as Foreign returns it
	_, err := m.Import(ctx, lapse.Grant{Subject: row.owner}, lapse.Foreign{Key: key, Digest: row.mac})
	if errors.Is(err, lapse.ErrNotFound) {
		return nil // it was imported before, and is dead and swept
	}
	return err
}

// A log-in gives the token that the device has already, for as long as that lives.
func ExampleManager_Obtain() {
	ctx := context.Background()
	key := make([]byte, 32) // a real one comes from where the program keeps its secrets
	rand.Read(key)
	mock := clock.NewMock()
	m, err := lapse.New(memory.New(), lapse.Config{
		Policy: lapse.Policy{TTL: 24 * time.Hour},
		Keys:   []lapse.Key{lapse.NewKey(key)},
		Clock:  mock,
	})
	if err != nil {
		log.Fatal(err)
	}
	logIn := func() lapse.Issued {
		issued, err := m.Obtain(ctx, lapse.Grant{Subject: "ana", Name: "Ana's laptop"})
		if err != nil {
			log.Fatal(err)
		}
		return issued
	}
	first := logIn()
	mock.Add(20 * time.Hour)
	second := logIn()
	fmt.Println(second.Existing, second.Bearer == first.Bearer, second.ExpiresAt.Sub(first.ExpiresAt))

	mock.Add(24 * time.Hour)
	third := logIn()
	fmt.Println(third.Existing, third.Bearer == first.Bearer)
	// Output:
	// true true 20h0m0s
	// false false
}

// A key comes from where the program keeps its secrets, and is printed by nothing.
func ExampleNewKey() {
	secret := make([]byte, 32) // a real one is random
	cfg := lapse.Config{Prefix: "app", Keys: []lapse.Key{lapse.NewKey(secret)}}
	fmt.Println(cfg.Keys)
	_, err := lapse.New(memory.New(), cfg)
	fmt.Println(err)
	// Output:
	// [[key]]
	// lapse: invalid config: Keys[0]: all zero; want 32 random bytes
}

// A key is replaced while a program still uses it, which has a day to change over.
func ExampleManager_Rotate() {
	ctx := context.Background()
	mock := clock.NewMock()
	m, err := lapse.New(memory.New(), lapse.Config{
		Policy: lapse.Policy{TTL: 90 * 24 * time.Hour, Renewal: lapse.RenewNever},
		Clock:  mock,
	})
	if err != nil {
		log.Fatal(err)
	}
	old, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Name: "backup key"})
	if err != nil {
		log.Fatal(err)
	}
	key, err := m.Rotate(ctx, old.Bearer, 24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.Name, key.ID == old.ID, key.Generation)

	// Both texts work. A caller that lost the answer asks again.
	_, err = m.Authenticate(ctx, old.Bearer)
	again, asked := m.Rotate(ctx, old.Bearer, 24*time.Hour)
	fmt.Println(err, asked, again.Bearer == key.Bearer)

	// Once the new text has been used, it is the one to rotate with.
	if _, err := m.Authenticate(ctx, key.Bearer); err != nil {
		log.Fatal(err)
	}
	_, err = m.Rotate(ctx, old.Bearer, 24*time.Hour)
	fmt.Println(errors.Is(err, lapse.ErrRotated))

	mock.Add(24 * time.Hour)
	_, err = m.Authenticate(ctx, old.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrReplaced))

	// A key that has leaked gets no overlap.
	next, err := m.Rotate(ctx, key.Bearer, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, key.Bearer)
	var why *lapse.Rejection
	fmt.Println(errors.As(err, &why), why.Generation, next.Generation)
	// Output:
	// backup key true 1
	// <nil> <nil> true
	// true
	// true
	// true 1 2
}

// An administrator replaces the key of a program whose text is not at hand.
func ExampleManager_RotateID() {
	ctx := context.Background()
	m, err := lapse.New(memory.New(), lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	old, err := m.Issue(ctx, lapse.Grant{Subject: "ana", Name: "backup key"})
	if err != nil {
		log.Fatal(err)
	}
	key, err := m.RotateID(ctx, old.ID, 10*time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, old.Bearer) // until the program has the new one
	fmt.Println(key.Generation, err)

	// The key has leaked: no text of before works any more.
	key, err = m.RotateID(ctx, old.ID, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Authenticate(ctx, old.Bearer)
	fmt.Println(key.Generation, errors.Is(err, lapse.ErrReplaced))
	// Output:
	// 1 <nil>
	// 2 true
}

// Any credentials, any number of places to look them up: here, two tables of
// passwords. A program of your own compares slow hashes of them.
func ExampleLogin() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})

	type login struct{ User, Password string }
	table := func(passwords map[string]string) lapse.Verifier[login] {
		return lapse.VerifierFunc[login](func(_ context.Context, l login) (string, error) {
			want, ok := passwords[l.User]
			switch {
			case !ok:
				return "", lapse.ErrNotMine
			case subtle.ConstantTimeCompare([]byte(l.Password), []byte(want)) == 0:
				return "", lapse.ErrBadCredentials
			}
			return l.User, nil
		})
	}
	staff := table(map[string]string{"ana": "correct horse"})
	guests := table(map[string]string{"guest": "welcome"})

	for _, l := range []login{{"ana", "correct horse"}, {"guest", "welcome"}, {"ana", "welcome"}, {"eve", "let me in"}} {
		issued, err := lapse.Login(ctx, m, l, lapse.Grant{Name: "laptop"}, staff, guests)
		switch {
		case err == nil:
			fmt.Println(issued.Subject, "until", issued.ExpiresAt.Format("15:04"))
		case errors.Is(err, lapse.ErrBadCredentials):
			fmt.Println("401")
		default:
			fmt.Println("503: could not tell")
		}
	}
	// Output:
	// ana until 09:30
	// guest until 09:30
	// 401
	// 401
}

// A program that gives out something else than a new token asks first who it is.
func ExampleIdentify() {
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{MaxTokens: 1})
	pin := lapse.VerifierFunc[int](func(_ context.Context, pin int) (string, error) {
		if pin != 1234 {
			return "", lapse.ErrBadCredentials
		}
		return "ana", nil
	})

	for _, typed := range []int{4321, 1234} {
		subject, err := lapse.Identify(ctx, m, typed, pin)
		if err != nil {
			fmt.Println(err)
			continue
		}
		ended, err := m.ExpireSubject(ctx, subject) // a log-in here is a log-out elsewhere
		check(err)
		fmt.Println(subject, "had", ended)
		logIn(m, subject, "this one")
	}
	// Output:
	// lapse: unauthenticated: bad credentials
	// ana had 0
}

// newDeviceLogin returns a DeviceLogin over a new store.
func newDeviceLogin() *lapse.DeviceLogin {
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{})
	if err != nil {
		log.Fatal(err)
	}
	devices, err := lapse.NewDeviceLogin(pairs, lapse.DeviceConfig{})
	if err != nil {
		log.Fatal(err)
	}
	return devices
}

// A television is logged in by a user who reads a code from it.
func ExampleDeviceLogin() {
	// setup
	ctx, devices := context.Background(), newDeviceLogin()
	// end setup
	code, err := devices.Begin(ctx, lapse.DeviceRequest{Client: "tv", Name: "television", Scope: "watch"})
	check(err)
	fmt.Println("the device shows a code of", len(code.UserCode), "characters, and polls every", code.Interval)

	_, err = devices.Poll(ctx, code.Code, "tv")
	fmt.Println(lapse.Code(err))

	asked, err := devices.Lookup(ctx, strings.ToLower(code.UserCode), "ana") // the page that ana sees
	check(err)
	_, err = devices.Approve(ctx, code.UserCode, lapse.Grant{Subject: "ana", Name: asked.Name, Scope: asked.Scope})
	check(err)

	pair, err := devices.Await(ctx, code.Code, "tv")
	check(err)
	fmt.Println(pair.Refresh.Subject, pair.Refresh.Name, pair.Scope)
	// Output:
	// the device shows a code of 9 characters, and polls every 5s
	// authorization_pending
	// ana television watch
}

// The JSON of a DeviceCode is the answer of RFC 8628 section 3.2, without the verification_uri.
func ExampleDeviceLogin_Begin() {
	code, err := newDeviceLogin().Begin(context.Background(), lapse.DeviceRequest{Name: "terminal"})
	check(err)
	code.Code, code.UserCode = "GmRh...", "WDJB-MJHT" // these are random
	text, err := json.Marshal(code)
	fmt.Println(string(text), err)
	fmt.Println(code) // no printer shows them
	// Output:
	// {"device_code":"GmRh...","user_code":"WDJB-MJHT","expires_in":600,"interval":5} <nil>
	// {ExpiresIn:10m0s Interval:5s}
}

// A text that no user code can be is refused before any look-up.
func ExampleDeviceLogin_Lookup() {
	ctx, devices := context.Background(), newDeviceLogin()
	code, err := devices.Begin(ctx, lapse.DeviceRequest{Name: "terminal", Data: "192.0.2.7"})
	check(err)
	asked, err := devices.Lookup(ctx, code.UserCode, "ana")
	fmt.Println(asked.Name, asked.Data, err)
	_, err = devices.Lookup(ctx, "HELLO", "ana")
	fmt.Println(lapse.Code(err))
	// Output:
	// terminal 192.0.2.7 <nil>
	// malformed
}

// An approval is taken back as any session is ended, also before the device polls.
func ExampleDeviceLogin_Approve() {
	ctx := context.Background()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{})
	check(err)
	devices, err := lapse.NewDeviceLogin(pairs, lapse.DeviceConfig{})
	check(err)
	code, err := devices.Begin(ctx, lapse.DeviceRequest{Name: "your bank"})
	check(err)
	_, err = devices.Approve(ctx, code.UserCode, lapse.Grant{Subject: "ana"})
	check(err)
	_, err = pairs.Access().ExpireSubject(ctx, "ana") // that was a mistake
	check(err)
	_, err = devices.Poll(ctx, code.Code, "")
	fmt.Println(lapse.Code(err))
	// Output: revoked
}

// A device that a user has denied is told so.
func ExampleDeviceLogin_Deny() {
	ctx, devices := context.Background(), newDeviceLogin()
	code, err := devices.Begin(ctx, lapse.DeviceRequest{Name: "terminal"})
	check(err)
	check(devices.Deny(ctx, code.UserCode, "ana"))
	_, err = devices.Poll(ctx, code.Code, "")
	fmt.Println(errors.Is(err, lapse.ErrAccessDenied))
	// Output: true
}

// A token endpoint answers a Poll with the error codes of RFC 8628 section 3.5.
func ExampleDeviceLogin_Poll() {
	ctx, devices := context.Background(), newDeviceLogin()
	code, err := devices.Begin(ctx, lapse.DeviceRequest{Client: "cli"})
	check(err)
	answer := func(deviceCode string) string {
		_, err := devices.Poll(ctx, deviceCode, "cli")
		switch {
		case err == nil:
			return "the TokenPair, as JSON"
		case errors.Is(err, lapse.ErrAuthorizationPending), errors.Is(err, lapse.ErrSlowDown), errors.Is(err, lapse.ErrAccessDenied):
			return lapse.Code(err)
		case errors.Is(err, lapse.ErrExpired):
			return "expired_token"
		case errors.Is(err, lapse.ErrUnauthenticated):
			return "invalid_grant"
		}
		return "503"
	}
	fmt.Println(answer(code.Code))
	fmt.Println(answer(code.Code)) // at once: the interval is 10 seconds from now on
	_, err = devices.Approve(ctx, code.UserCode, lapse.Grant{Subject: "ana"})
	check(err)
	fmt.Println(answer(code.Code))
	fmt.Println(answer("another"))
	// Output:
	// authorization_pending
	// slow_down
	// the TokenPair, as JSON
	// invalid_grant
}

// A server that keeps a connection to the device open answers as soon as the user has decided.
func ExampleDeviceLogin_Await() {
	ctx, devices := context.Background(), newDeviceLogin()
	code, err := devices.Begin(ctx, lapse.DeviceRequest{Name: "terminal"})
	check(err)
	go devices.Approve(ctx, code.UserCode, lapse.Grant{Subject: "ana"}) // a user, at some time
	pair, err := devices.Await(ctx, code.Code, "")
	fmt.Println(pair.Refresh.Subject, err)
	// Output: ana <nil>
}

// A log-in: an access text for a quarter of an hour, and a refresh text that gets both
// replaced.
func ExamplePairs() {
	ctx := context.Background()
	mock := clock.NewMock()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock}})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "read write"})
	if err != nil {
		log.Fatal(err)
	}
	session, err := pairs.Access().Authenticate(ctx, login.Access.Bearer)
	fmt.Println(session.Subject, login.ExpiresIn, err)

	mock.Add(15 * time.Minute)
	_, err = pairs.Access().Authenticate(ctx, login.Access.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))

	next, err := pairs.Refresh(ctx, login.Refresh.Bearer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(next.Access.ID == session.ID) // it is the same session

	again, err := pairs.Refresh(ctx, login.Refresh.Bearer) // the first answer was lost
	fmt.Println(again.Refresh.Bearer == next.Refresh.Bearer, err)

	mock.Add(10 * time.Second) // the grace has ended: this may be a thief
	_, err = pairs.Refresh(ctx, login.Refresh.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrReused))
	_, err = pairs.Access().Authenticate(ctx, next.Access.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrRevoked))
	// Output:
	// ana 15m0s <nil>
	// true
	// true
	// true <nil>
	// true
	// true
}

// A token endpoint answers with the JSON of the TokenPair, and never caches it.
func ExamplePairs_Refresh() {
	ctx := context.Background()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: clock.NewMock()}})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "read write"})
	if err != nil {
		log.Fatal(err)
	}
	answer := func(credentials lapse.TokenPair, err error) string {
		var wrong *lapse.GrantError
		switch {
		case errors.Is(err, lapse.ErrScope), errors.As(err, &wrong) && wrong.Field == "Scope":
			return `400 {"error":"invalid_scope"}`
		case wrong != nil:
			return `400 {"error":"invalid_request"}`
		case errors.Is(err, lapse.ErrUnauthenticated):
			return `400 {"error":"invalid_grant"}`
		case err != nil:
			return "503"
		}
		body, err := json.Marshal(credentials)
		if err != nil {
			return "500"
		}
		return "200 " + string(body)
	}
	got := answer(pairs.Refresh(ctx, login.Refresh.Bearer, "read"))
	fmt.Println(got[:27], strings.Contains(got, `"token_type":"Bearer","expires_in":900,`), strings.HasSuffix(got, `"scope":"read"}`))
	fmt.Println(answer(pairs.Refresh(ctx, login.Refresh.Bearer, "delete")))
	fmt.Println(answer(pairs.Refresh(ctx, login.Access.Bearer)))
	fmt.Println(answer(pairs.Issue(ctx, lapse.Grant{Subject: "ana", Scope: "a\tb"})))
	fmt.Println(answer(pairs.Issue(ctx, lapse.Grant{Subject: "ana", TTL: -time.Minute})))
	// Output:
	// 200 {"access_token":"lapse_ true true
	// 400 {"error":"invalid_scope"}
	// 400 {"error":"invalid_grant"}
	// 400 {"error":"invalid_scope"}
	// 400 {"error":"invalid_request"}
}

// To log out, either text will do, as often as it is sent (RFC 7009).
func ExamplePairs_ExpireBearer() {
	ctx := context.Background()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		log.Fatal(err)
	}
	for _, bearer := range []string{login.Access.Bearer, login.Refresh.Bearer} {
		session, err := pairs.ExpireBearer(ctx, bearer)
		fmt.Println(session.EndReason, err)
	}
	_, err = pairs.Refresh(ctx, login.Refresh.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrRevoked))
	// Output:
	// revoked <nil>
	// revoked <nil>
	// true
}

// A log in which a token stands: the text is found, and ends its token.
func ExampleFindBearers() {
	// setup
	ctx := context.Background()
	m, _ := atNine(lapse.Policy{})
	issued, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
	check(err)
	leak := strings.NewReader("GET /\nAuthorization: Bearer " + issued.Bearer + "\n")
	// end setup
	for found, err := range lapse.FindBearers(leak) {
		check(err) // of the reader
		fmt.Printf("a text of %s in line %d, column %d\n", found.Prefix, found.Line, found.Column)
		if found.Prefix != m.Prefix() {
			continue // of another Manager, or of another program
		}
		tok, err := m.ExpireBearer(ctx, found.Bearer) // by the text; its ID proves nothing
		if errors.Is(err, lapse.ErrUnauthenticated) {
			continue // forged, swept or replaced: no token to end
		}
		check(err)
		fmt.Println("ended a token of", tok.Subject)
	}
	// Output:
	// a text of lapse in line 2, column 23
	// ended a token of ana
}

// A page of devices: each line is a session, and its ID ends it, or keeps it when all the
// others end.
func ExamplePairs_Sessions() {
	ctx := context.Background()
	mock := clock.NewMock()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock}})
	if err != nil {
		log.Fatal(err)
	}
	laptop, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Name: "laptop"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana", Name: "phone", SessionTTL: 24 * time.Hour}); err != nil {
		log.Fatal(err)
	}
	mock.Add(time.Hour)
	if _, err := pairs.Refresh(ctx, laptop.Refresh.Bearer); err != nil {
		log.Fatal(err)
	}
	list := func() {
		var lines []string
		for s, err := range pairs.Sessions(ctx, "ana") {
			if err != nil {
				log.Fatal(err)
			}
			seen := s.IssuedAt // the latest of log-in and refresh
			if s.RotatedAt.After(seen) {
				seen = s.RotatedAt
			}
			lines = append(lines, fmt.Sprint(s.Name, ", seen at ", seen.Format(time.TimeOnly), ", until ", s.ExpiresAt.Format(time.DateOnly)))
		}
		slices.Sort(lines)
		fmt.Println(strings.Join(lines, "\n"))
	}
	list()
	ended, err := pairs.Access().ExpireSubject(ctx, "ana", laptop.Refresh.ID) // all others
	fmt.Println(ended, err)
	list()
	// Output:
	// laptop, seen at 01:00:00, until 1970-01-31
	// phone, seen at 00:00:00, until 1970-01-02
	// 1 <nil>
	// laptop, seen at 01:00:00, until 1970-01-31
}

// A client asks whether its session still lives, and spends nothing by that.
func ExamplePairs_Peek() {
	ctx := context.Background()
	mock := clock.NewMock()
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: mock}})
	if err != nil {
		log.Fatal(err)
	}
	login, err := pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		log.Fatal(err)
	}
	session, err := pairs.Peek(ctx, login.Refresh.Bearer)
	fmt.Println(session.Subject, session.ExpiresAt.Format(time.DateOnly), err)

	next, err := pairs.Refresh(ctx, login.Refresh.Bearer)
	if err != nil {
		log.Fatal(err)
	}
	mock.Add(10 * time.Second)
	_, err = pairs.Peek(ctx, login.Refresh.Bearer) // Refresh would end the session
	fmt.Println(errors.Is(err, lapse.ErrReplaced))
	_, err = pairs.Peek(ctx, next.Refresh.Bearer)
	fmt.Println(err)
	// Output:
	// ana 1970-01-31 <nil>
	// true
	// <nil>
}

func ExampleManager_Hold() {
	// setup
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	bearer := issued.Bearer
	// end setup
	hold, err := tokens.Hold(ctx, bearer)
	if err != nil { // as of Authenticate: answer 401, or 503
		return
	}
	defer hold.Release() // when the connection ends
	fmt.Println("connected:", hold.Token().Subject)

	_, err = tokens.ExpireSubject(ctx, hold.Token().Subject) // log out everywhere
	check(err)

	<-hold.Context().Done() // at once; or when the token runs out
	var why *lapse.Rejection
	if errors.As(context.Cause(hold.Context()), &why) {
		fmt.Println("cut:", why.Reason)
	}
	// Output:
	// connected: ana@example.com
	// cut: subject
}

// A peer of which only the context is heeded sees the connection break. Close it from
// context.AfterFunc instead, and say why: a client that knows that it was logged out
// does not connect again and again.
func ExampleManager_Hold_goodbye() {
	// setup
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	closed := make(chan struct{})
	closeWith := func(code int, reason string) {
		fmt.Println("close", code, reason)
		close(closed)
	}
	// end setup
	hold, err := tokens.Hold(ctx, issued.Bearer)
	check(err)
	held := hold.Context()
	stop := context.AfterFunc(held, func() {
		if errors.Is(context.Cause(held), lapse.ErrUnauthenticated) {
			closeWith(4001, "sign in again")
		} else {
			closeWith(1001, "try again later") // the store was closed, or the server goes down
		}
	})
	defer stop() // where the peer hangs up first

	_, err = tokens.ExpireBearer(ctx, issued.Bearer)
	check(err)
	<-closed
	// Output:
	// close 4001 sign in again
}

// A message of the peer keeps its token alive. The connection keeps no bearer for that.
func ExampleHold_Use() {
	// setup
	ctx := context.Background()
	mock := clock.NewMock()
	tokens, err := lapse.New(memory.New(), lapse.Config{Clock: mock})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	// end setup
	hold, err := tokens.Hold(ctx, issued.Bearer)
	check(err)
	defer hold.Release()

	mock.Add(20 * time.Minute)
	check(hold.Use(ctx)) // with each message; on ErrUnauthenticated go on reading: the cut closes the connection

	tok, err := tokens.Token(ctx, hold.Token().ID)
	check(err)
	fmt.Println("lives for", tok.ExpiresAt.Sub(tokens.Now()))
	// Output: lives for 30m0s
}

func ExampleHold_WarnFunc() {
	// setup
	ctx := context.Background()
	mock := clock.NewMock()
	tokens, err := lapse.New(memory.New(), lapse.Config{Clock: mock})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	warned := make(chan struct{})
	// end setup
	hold, err := tokens.Hold(ctx, issued.Bearer)
	check(err)
	defer hold.Release()
	stop := hold.WarnFunc(5*time.Minute, func() {
		fmt.Println("send: you are about to be signed out")
		close(warned)
	})
	defer stop()

	mock.Add(25 * time.Minute)
	<-warned
	// Output: send: you are about to be signed out
}

func ExampleHold_RotatedFunc() {
	// setup
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "robot"})
	check(err)
	told := make(chan struct{})
	// end setup
	hold, err := tokens.Hold(ctx, issued.Bearer)
	check(err)
	defer hold.Release()
	stop := hold.RotatedFunc(func() {
		fmt.Println("log: connected by a key that was replaced")
		close(told)
	})
	defer stop()

	_, err = tokens.Rotate(ctx, issued.Bearer, time.Hour)
	check(err)
	<-told
	// Output: log: connected by a key that was replaced
}

func ExampleHold_Release() {
	// setup
	ctx := context.Background()
	tokens, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued, err := tokens.Issue(ctx, lapse.Grant{Subject: "ana@example.com"})
	check(err)
	// end setup
	hold, err := tokens.Hold(ctx, issued.Bearer)
	check(err)
	hold.Release() // the connection has ended: nothing is watched any more
	fmt.Println(context.Cause(hold.Context()))
	// Output: context canceled
}

// deskClock is a mock that also knows how much time has passed, as the system's clock
// does, whatever a user sets it to.
type deskClock struct {
	*clock.Mock
	passed time.Duration
}

func newDeskClock() *deskClock {
	c := &deskClock{Mock: clock.NewMock()}
	c.Set(nineOClock)
	return c
}

func (c *deskClock) Elapsed() time.Duration { return c.passed }

func (c *deskClock) pass(d time.Duration) {
	c.passed += d
	c.Add(d)
}

// The clock is set back by two hours. That lengthens no life: time goes on as it passes.
// A clock that is still behind after ten minutes was wrong before: every user who is logged in
// logs in once more.
func ExampleConfig_clockGuard() {
	ctx := context.Background()
	wall := newDeskClock()
	m, err := lapse.New(memory.New(), lapse.Config{
		Clock:      wall,
		ClockGuard: lapse.GuardDefault,
		Observe: func(_ context.Context, e lapse.Event) {
			if e.Kind == lapse.EventClock {
				fmt.Println("the clock was behind, and is followed from", e.At.Format("15:04"))
			}
		},
	})
	check(err)
	issued := logIn(m, "ana", "desk")

	wall.Set(nineOClock.Add(-2 * time.Hour))
	tok, err := m.Authenticate(ctx, issued.Bearer)
	fmt.Println(tok.LastUsedAt.Format("15:04"), err)

	wall.pass(9 * time.Minute)
	tok, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(tok.LastUsedAt.Format("15:04"), err)

	wall.pass(2 * time.Minute)
	m.Authenticate(ctx, issued.Bearer) // sees that it has settled
	_, err = m.Authenticate(ctx, issued.Bearer)
	var why *lapse.Rejection
	fmt.Println(errors.As(err, &why) && why.Reason == lapse.EndClock)

	again := logIn(m, "ana", "desk")
	fmt.Println(again.IssuedAt.Format("15:04"))
	// Output:
	// 09:00 <nil>
	// 09:09 <nil>
	// the clock was behind, and is followed from 07:11
	// true
	// 07:11
}

// Under GuardStrict no user is logged out by a clock: nothing works until it is right, or
// an administrator says that it is.
func ExampleManager_AcceptClock() {
	ctx := context.Background()
	wall := newDeskClock()
	m, err := lapse.New(memory.New(), lapse.Config{Clock: wall, ClockGuard: lapse.GuardStrict})
	check(err)
	issued := logIn(m, "ana", "desk")

	wall.Set(nineOClock.Add(-2 * time.Hour))
	m.Peek(ctx, issued.Bearer) // sees that it is behind
	wall.pass(11 * time.Minute)
	m.Peek(ctx, issued.Bearer) // sees that it still is
	_, err = m.Peek(ctx, issued.Bearer)
	fmt.Println(err)
	fmt.Println(errors.Is(err, lapse.ErrClock), errors.Is(err, lapse.ErrUnauthenticated))

	check(m.AcceptClock(ctx))
	_, err = m.Peek(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrRevoked))
	_, err = m.Peek(ctx, logIn(m, "ana", "desk").Bearer)
	fmt.Println(err)
	// Output:
	// lapse: peek: lapse: the clock is behind; set it right, or accept it with AcceptClock
	// true false
	// true
	// <nil>
}

// The clock is set back after a token has run out. The time that decisions see has not
// gone back, so Live of a listed token is asked at Now.
func ExampleManager_Now() {
	ctx := context.Background()
	wall := newDeskClock()
	m, err := lapse.New(memory.New(), lapse.Config{Clock: wall})
	check(err)
	issued := logIn(m, "ana", "desk")
	wall.pass(31 * time.Minute)
	_, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrExpired))

	wall.Set(nineOClock)
	for tok, err := range m.List(ctx, lapse.Query{Subject: "ana"}) {
		check(err)
		fmt.Println(wall.Now().Format("15:04"), tok.Live(wall.Now()))
		fmt.Println(m.Now().Format("15:04"), tok.Live(m.Now()))
	}
	// Output:
	// true
	// 09:00 true
	// 09:31 false
}

// docs/time.md shows the body of this test.
func TestSynctestExample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens, _ := lapse.New(memory.New(), lapse.Config{})
		issued, _ := tokens.Issue(t.Context(), lapse.Grant{Subject: "ana"})

		time.Sleep(30 * time.Minute) // takes no time
		_, err := tokens.Authenticate(t.Context(), issued.Bearer)
		if !errors.Is(err, lapse.ErrExpired) {
			t.Errorf("after 30 idle minutes: %v", err)
		}
	})
}

// What would a shorter cap do to a user who works all morning? Nothing has to run
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

// Observe logs what happens as JSON. A stranger who guesses cannot flood the log.
func ExampleLogEvents() {
	ctx, mock := context.Background(), clock.NewMock()
	handler := slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: briefly})
	observe := lapse.LogEvents(slog.New(handler), &lapse.LogOptions{PerMinute: 2})
	m, err := lapse.New(memory.New(), lapse.Config{Clock: mock, Observe: observe})
	check(err)

	issued, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
	check(err)
	for range 100 {
		m.Authenticate(ctx, "lapse_guess")
	}
	mock.Add(time.Minute)
	admin := lapse.WithActor(ctx, lapse.Actor{Name: "bob", Note: "laptop stolen"})
	_, err = m.Expire(admin, issued.ID)
	check(err)
	// Output:
	// {"level":"INFO","msg":"lapse: issued","verb":"issue","subject":"ana"}
	// {"level":"INFO","msg":"lapse: rejected","verb":"authenticate","code":"malformed"}
	// {"level":"INFO","msg":"lapse: rejected","verb":"authenticate","code":"malformed"}
	// {"level":"INFO","msg":"lapse: rejected: more than are logged","dropped":98}
	// {"level":"INFO","msg":"lapse: ended","verb":"expire","subject":"ana","reason":"revoked","actor":"bob","note":"laptop stolen"}
}

// An Observe of your own may log events and do something else with them.
func ExampleLogEvents_andMore() {
	ctx := context.Background()
	alarm := func(e lapse.Event) { fmt.Println("call", e.Token.Subject, "about a text that was replaced") }
	log := lapse.LogEvents(slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: briefly})), nil)
	m, err := lapse.New(memory.New(), lapse.Config{Clock: clock.NewMock(), Observe: func(ctx context.Context, e lapse.Event) {
		log(ctx, e)
		if e.Kind == lapse.EventSpent {
			alarm(e)
		}
	}})
	check(err)

	issued := logIn(m, "ana", "desk")
	_, err = m.Rotate(ctx, issued.Bearer, 0)
	check(err)
	_, err = m.Authenticate(ctx, issued.Bearer)
	fmt.Println(lapse.Code(err))
	// Output:
	// {"level":"INFO","msg":"lapse: issued","verb":"issue","subject":"ana"}
	// {"level":"INFO","msg":"lapse: rotated","verb":"rotate","subject":"ana"}
	// {"level":"WARN","msg":"lapse: spent","verb":"authenticate","subject":"ana","code":"replaced"}
	// call ana about a text that was replaced
	// replaced
}

// briefly leaves out an ID, which is random, and what would make the lines of an example long.
func briefly(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case "id", "time", "since", "kind", "prefix", "error":
		return slog.Attr{}
	}
	return a
}

// Who ended a token, and why, is stored with the end, and told in events.
func ExampleWithActor() {
	m, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued := logIn(m, "ana", "desk")

	admin := lapse.WithActor(context.Background(), lapse.Actor{Name: "bob", Note: "laptop stolen"})
	_, err = m.Expire(admin, issued.ID)
	check(err)

	_, err = m.Authenticate(context.Background(), issued.Bearer)
	var why *lapse.Rejection
	if errors.As(err, &why) {
		fmt.Printf("%v by %s: %s\n", why.Reason, why.EndedBy, why.EndNote)
	}
	// Output:
	// revoked by bob: laptop stolen
}

// ActorFrom returns the Actor of a context, for an Observe or an Admit of your own.
func ExampleActorFrom() {
	ctx := lapse.WithActor(context.Background(), lapse.Actor{Name: "nightly\njob"})
	actor, ok := lapse.ActorFrom(ctx)
	fmt.Printf("%q %v\n", actor.Name, ok)
	// Output:
	// "nightly job" true
}

// The prefix tells texts of several Managers apart.
func ExampleManager_Prefix() {
	users, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	keys, err := lapse.New(memory.New(), lapse.Config{Prefix: "acme_key"})
	check(err)
	fmt.Println(users.Prefix(), keys.Prefix())
	// Output: lapse acme_key
}

func ExamplePairs_RefreshPrefix() {
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{})
	check(err)
	fmt.Println(pairs.Access().Prefix(), pairs.RefreshPrefix())
	// Output: lapse lapse_refresh
}

// A metrics page reads the counters.
func ExampleManager_Stats() {
	ctx := context.Background()
	m, err := lapse.New(memory.New(), lapse.Config{})
	check(err)
	issued := logIn(m, "ana", "desk")
	m.Peek(ctx, issued.Bearer)
	m.Authenticate(ctx, "lapse_guess")

	stats := m.Stats()
	for key, n := range stats.All() {
		fmt.Println(key.Verb, key.Outcome, n)
	}
	fmt.Println("guesses:", stats.Get(lapse.StatKey{Verb: lapse.VerbAuthenticate, Outcome: "malformed"}))
	// Output:
	// authenticate malformed 1
	// peek ok 1
	// issue ok 1
	// guesses: 1
}

// The counters in the text form of Prometheus. A series is absent until its first count, so the rows
// that alerts need are written as zeros from the beginning.
func ExampleStats_prometheus() {
	m, mock := atNine(lapse.Policy{})
	issued := logIn(m, "ana", "desk")
	mock.Add(time.Minute)
	m.Authenticate(context.Background(), issued.Bearer)

	stats := m.Stats()
	fmt.Println("# TYPE lapse_calls_total counter")
	row := func(key lapse.StatKey, n uint64) {
		fmt.Printf("lapse_calls_total{verb=%q,outcome=%q} %d\n", key.Verb, key.Outcome, n)
	}
	for key, n := range stats.All() {
		row(key, n)
	}
	unavailable := lapse.StatKey{Verb: lapse.VerbAuthenticate, Outcome: "unavailable"}
	if stats.Get(unavailable) == 0 {
		row(unavailable, 0)
	}
	// Output:
	// # TYPE lapse_calls_total counter
	// lapse_calls_total{verb="authenticate",outcome="renewed"} 1
	// lapse_calls_total{verb="issue",outcome="ok"} 1
	// lapse_calls_total{verb="authenticate",outcome="unavailable"} 0
}
