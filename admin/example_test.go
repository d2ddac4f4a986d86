package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// running is a program that serves its tokens, and a Client of it.
type running struct {
	*admin.Client
	tokens *lapse.Manager
	pairs  *lapse.Pairs
	clock  *clock.Mock
	end    func()
}

// run starts the program at nine o'clock.
func run() running {
	dir, err := os.MkdirTemp("", "lapse-")
	check(err)
	store, err := bolt.Open(filepath.Join(dir, "tokens.db"), nil)
	check(err)
	r := running{clock: clock.NewMock()}
	r.clock.Set(time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC))
	r.tokens, err = lapse.New(store, lapse.Config{Clock: r.clock})
	check(err)
	r.pairs, err = lapse.NewPairs(store, lapse.PairConfig{Access: lapse.Config{Clock: r.clock, Prefix: "web"}})
	check(err)
	l, err := admin.Listen(filepath.Join(dir, "socket"))
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	server := admin.Server{Managers: []*lapse.Manager{r.tokens}, Pairs: []*lapse.Pairs{r.pairs}, Store: store}
	go func() { served <- server.Serve(ctx, l) }()
	r.Client, err = admin.Dial(ctx, l.Addr().String())
	check(err)
	r.end = func() {
		check(r.Close())
		cancel()
		<-served
		check(store.Close())
		check(os.RemoveAll(dir))
	}
	return r
}

// logIn issues a token by the program itself.
func (r running) logIn(subject string) lapse.Issued {
	issued, err := r.tokens.Issue(context.Background(), lapse.Grant{Subject: subject})
	check(err)
	return issued
}

// A program opens the socket beside its other work, and another program logs a user out.
func Example() {
	// setup
	ctx, cancel := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "lapse-")
	check(err)
	defer os.RemoveAll(dir)
	store, err := bolt.Open(filepath.Join(dir, "tokens.db"), nil)
	check(err)
	defer store.Close()
	tokens, err := lapse.New(store, lapse.Config{})
	check(err)
	path := filepath.Join(dir, "socket")
	_, err = tokens.Issue(ctx, lapse.Grant{Subject: "ana"})
	check(err)
	// end setup
	l, err := admin.Listen(path)
	check(err)
	server := admin.Server{Managers: []*lapse.Manager{tokens}, Store: store}
	served := make(chan error)
	go func() { served <- server.Serve(ctx, l) }()

	client, err := admin.Dial(ctx, path) // in the other program
	check(err)
	defer client.Close()
	n, err := client.ExpireSubject(lapse.WithActor(ctx, lapse.Actor{Note: "laptop stolen"}), "ana")
	check(err)
	fmt.Println(n, "ended")

	cancel()
	fmt.Println("served until:", <-served)
	// Output:
	// 1 ended
	// served until: context canceled
}

func ExampleServer_Serve() {
	p := run() // which calls Serve in a goroutine
	defer p.end()
	fmt.Println(p.Hello().Full)
	// Output: true
}

func ExampleDial() {
	_, err := admin.Dial(context.Background(), "/nowhere/socket")
	fmt.Println(errors.Is(err, lapse.ErrUnavailable))
	// Output: true
}

func ExampleClient_Hello() {
	p := run()
	defer p.end()
	for _, prefix := range p.Hello().Prefixes {
		fmt.Printf("%q %q\n", prefix.Prefix, prefix.Refresh)
	}
	// Output:
	// "lapse" ""
	// "web" "lapse_refresh"
}

func ExampleClient_Under() {
	ctx, p := context.Background(), run()
	defer p.end()
	issued, err := p.Under("web").Issue(ctx, lapse.Grant{Subject: "ana"})
	check(err)
	fmt.Println(issued.Prefix)
	_, err = p.Under("api").Issue(ctx, lapse.Grant{Subject: "ana"})
	fmt.Println(errors.Is(err, errors.ErrUnsupported))
	// Output:
	// web
	// true
}

func ExampleClient_Close() {
	p := run()
	defer p.end()
	check(p.Close())
	_, err := p.Now(context.Background())
	fmt.Println(err)
	// Output: admin: the Client was closed: use of closed network connection
}

func ExampleClient_Now() {
	p := run()
	defer p.end()
	now, err := p.Now(context.Background())
	check(err)
	fmt.Println(now.Format("15:04"))
	// Output: 09:00
}

func ExampleClient_List() {
	ctx, p := context.Background(), run()
	defer p.end()
	p.logIn("ana")
	for tok, err := range p.List(ctx, lapse.Query{Subject: "ana", Live: true}) {
		check(err)
		fmt.Println(tok.Subject, tok.ExpiresAt.Format("15:04"))
	}
	// Output: ana 09:30
}

func ExampleClient_Count() {
	ctx, p := context.Background(), run()
	defer p.end()
	p.logIn("ana")
	p.logIn("bo")
	fmt.Println(p.Count(ctx, lapse.Query{Live: true}))
	// Output: 2 <nil>
}

func ExampleClient_Sessions() {
	ctx, p := context.Background(), run()
	defer p.end()
	_, err := p.pairs.Issue(ctx, lapse.Grant{Subject: "ana", Name: "phone"})
	check(err)
	for tok, err := range p.Sessions(ctx, "ana") {
		check(err)
		fmt.Println(tok.Name)
	}
	// Output: phone
}

func ExampleClient_Token() {
	ctx, p := context.Background(), run()
	defer p.end()
	tok, err := p.Token(ctx, p.logIn("ana").ID)
	check(err)
	fmt.Println(tok.Subject)
	_, err = p.Token(ctx, lapse.ID{})
	fmt.Println(errors.Is(err, lapse.ErrNotFound))
	// Output:
	// ana
	// true
}

func ExampleClient_Peek() {
	ctx, p := context.Background(), run()
	defer p.end()
	issued := p.logIn("ana")
	p.clock.Add(time.Hour)
	_, err := p.Peek(ctx, issued.Bearer)
	var why *lapse.Rejection
	fmt.Println(errors.Is(err, lapse.ErrExpired), errors.As(err, &why), why.At.Format("15:04"))
	// Output: true true 09:30
}

func ExampleClient_Issue() {
	ctx, p := context.Background(), run()
	defer p.end()
	issued, err := p.Issue(ctx, lapse.Grant{Subject: "backup job", TTL: 10 * time.Minute})
	check(err)
	tok, err := p.tokens.Authenticate(ctx, issued.Bearer)
	fmt.Println(tok.Subject, err)
	// Output: backup job <nil>
}

func ExampleClient_IssuePair() {
	ctx, p := context.Background(), run()
	defer p.end()
	pair, err := p.IssuePair(ctx, lapse.Grant{Subject: "ana"})
	check(err)
	fmt.Println(pair.ExpiresIn, pair.Access.ID == pair.Refresh.ID)
	// Output: 15m0s true
}

func ExampleClient_RotateID() {
	ctx, p := context.Background(), run()
	defer p.end()
	leaked := p.logIn("ana")
	issued, err := p.RotateID(ctx, leaked.ID, 0)
	check(err)
	_, err = p.Peek(ctx, leaked.Bearer)
	fmt.Println(issued.ID == leaked.ID, errors.Is(err, lapse.ErrReplaced))
	// Output: true true
}

func ExampleClient_Expire() {
	ctx, p := context.Background(), run()
	defer p.end()
	fmt.Println(p.Expire(ctx, p.logIn("ana").ID))
	// Output: true <nil>
}

func ExampleClient_ExpireBearer() {
	ctx, p := context.Background(), run()
	defer p.end()
	tok, err := p.ExpireBearer(ctx, p.logIn("ana").Bearer) // as a scan of files finds it
	fmt.Println(tok.Subject, tok.EndReason, err)
	// Output: ana revoked <nil>
}

func ExampleClient_ExpireSubject() {
	ctx, p := context.Background(), run()
	defer p.end()
	here := p.logIn("ana")
	p.logIn("ana")
	fmt.Println(p.ExpireSubject(ctx, "ana", here.ID))
	// Output: 1 <nil>
}

func ExampleClient_Suspend() {
	ctx, p := context.Background(), run()
	defer p.end()
	issued := p.logIn("ana")
	fmt.Println(p.Suspend(ctx, issued.ID))
	_, err := p.tokens.Authenticate(ctx, issued.Bearer)
	fmt.Println(errors.Is(err, lapse.ErrSuspended))
	// Output:
	// true <nil>
	// true
}

func ExampleClient_Resume() {
	ctx, p := context.Background(), run()
	defer p.end()
	fmt.Println(p.Resume(ctx, p.logIn("ana").ID)) // it was not suspended
	// Output: false <nil>
}

func ExampleClient_Edit() {
	ctx, p := context.Background(), run()
	defer p.end()
	name := "Ana's laptop"
	tok, err := p.Edit(ctx, p.logIn("ana").ID, lapse.Changes{Name: &name})
	fmt.Println(tok.Name, err)
	// Output: Ana's laptop <nil>
}

func ExampleClient_ForgetSubject() {
	ctx, p := context.Background(), run()
	defer p.end()
	p.logIn("ana")
	fmt.Println(p.ForgetSubject(ctx, "ana"))
	// Output: 1 <nil>
}

func ExampleClient_Sweep() {
	ctx, p := context.Background(), run()
	defer p.end()
	p.logIn("ana")
	p.clock.Add(365 * 24 * time.Hour)
	fmt.Println(p.Sweep(ctx))
	// Output: 1 <nil>
}

func ExampleClient_Watch() {
	ctx, p := context.Background(), run()
	defer p.end()
	issued := p.logIn("ana")
	for change, err := range p.Watch(ctx, lapse.Query{}) {
		check(err)
		if change.Gap { // list here what there is
			_, err := p.Expire(ctx, issued.ID)
			check(err)
			continue
		}
		fmt.Println(change.Token.Subject, change.Token.EndReason)
		break
	}
	// Output: ana revoked
}

func ExampleClient_Holds() {
	ctx, p := context.Background(), run()
	defer p.end()
	hold, err := p.tokens.Hold(ctx, p.logIn("ana").Bearer)
	check(err)
	defer hold.Release()
	for held, err := range p.Holds(ctx) {
		check(err)
		fmt.Println(held.Token.Subject, held.Connections)
	}
	// Output: ana 1
}

func ExampleClient_Stats() {
	ctx, p := context.Background(), run()
	defer p.end()
	p.logIn("ana")
	stats, err := p.Stats(ctx)
	check(err)
	fmt.Println(stats[lapse.StatKey{Verb: lapse.VerbIssue, Outcome: "ok"}])
	// Output: 1
}

func ExampleClient_StoreStats() {
	ctx, p := context.Background(), run()
	defer p.end()
	p.logIn("ana")
	stats, err := p.StoreStats(ctx)
	check(err)
	fmt.Println(stats.Tokens, stats.Err)
	// Output: 1 <nil>
}

func ExampleClient_Backup() {
	ctx, p := context.Background(), run()
	defer p.end()
	var file bytes.Buffer // or a file of mode 0600
	check(p.Backup(ctx, &file))
	fmt.Println(file.Len() > 0)
	// Output: true
}

func ExampleClient_Compact() {
	ctx, p := context.Background(), run()
	defer p.end()
	fmt.Println(p.Compact(ctx))
	// Output: <nil>
}
