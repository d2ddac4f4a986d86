package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// inMemory is a program whose store is in memory, for many changes.
func inMemory(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, path: filepath.Join(t.TempDir(), "s")}
	p.users = must(lapse.New(memory.New(), lapse.Config{}))
	p.server.Managers = []*lapse.Manager{p.users}
	return p.serve()
}

// TestWatch follows the changes of a token.
func TestWatch(t *testing.T) {
	p := newProgram(t).serve()
	ctx, c := t.Context(), p.dial()
	ana := must(p.users.Issue(ctx, lapse.Grant{Subject: "ana"}))
	bo := must(p.users.Issue(ctx, lapse.Grant{Subject: "bo"}))
	steps := []func(){
		func() { must(c.Expire(ctx, bo.ID)); must(c.Suspend(ctx, ana.ID)) }, // a body may call any verb
		func() { must(p.users.ForgetSubject(ctx, "ana")) },
	}
	var got []string
	for change, err := range c.Watch(ctx, lapse.Query{Subject: "ana"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(change.Gap, change.Deleted, change.Token.ID == ana.ID, !change.Token.SuspendedAt.IsZero()))
		if len(got) > len(steps) {
			break
		}
		steps[len(got)-1]()
	}
	want := []string{"true false false false", "false false true true", "false true true false"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("watched %v, want %v", got, want)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var last error
	for _, err := range c.Watch(ctx, lapse.Query{}) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Error("the last error:", last)
	}
	if _, errs := collect(c.Watch(t.Context(), lapse.Query{Live: true})); len(errs) != 1 || !errors.Is(errs[0], lapse.ErrInvalidQuery) {
		t.Error("a Query that Watch does not take:", errs)
	}
}

// TestWatchOfAProgramThatStops: the loop ends with what a client can act on, and not as if its own context
// had ended.
func TestWatchOfAProgramThatStops(t *testing.T) {
	p := newProgram(t).serve()
	var last error
	for change, err := range p.dial().Watch(t.Context(), lapse.Query{}) {
		if change.Gap {
			p.stop()
		}
		last = err
	}
	if !errors.Is(last, lapse.ErrUnavailable) || errors.Is(last, context.Canceled) {
		t.Error("the last error:", last)
	}
}

// TestBacklog adds changes that no body takes, before, at and after the limit.
func TestBacklog(t *testing.T) {
	change := raw(item{Token: &token{}})
	for _, tt := range []struct{ adds, held, gaps int }{
		{1, 1, 0}, {maxBacklog - 1, maxBacklog - 1, 0}, {maxBacklog, maxBacklog, 0}, {maxBacklog + 1, 1, 1}, {maxBacklog + 2, 2, 1}, {2*maxBacklog + 1, 1, 1},
	} {
		b := backlog{ready: make(chan struct{}, 1)}
		for range tt.adds {
			if err := b.add(&part{Items: []json.RawMessage{change}}); err != nil {
				t.Fatal(err)
			}
		}
		<-b.ready
		all, ended, err := b.take()
		gaps := 0
		for _, i := range all {
			if i.Gap {
				gaps++
			}
		}
		if len(all) != tt.held || gaps != tt.gaps || ended || err != nil || gaps == 1 && !all[0].Gap {
			t.Errorf("%d added: %d held, %d gaps", tt.adds, len(all), gaps)
		}
	}
}

// TestWatchBehind has a body that is slow, once. It sees the last change, or a Gap in its place.
func TestWatchBehind(t *testing.T) {
	p := inMemory(t)
	ctx, c := t.Context(), p.dial()
	tok := must(p.users.Issue(ctx, lapse.Grant{Subject: "ana"}))
	seen := 0
	for change, err := range c.Watch(ctx, lapse.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 1 {
			for range maxBacklog {
				must(p.users.Suspend(ctx, tok.ID))
				must(p.users.Resume(ctx, tok.ID))
			}
			must(p.users.Expire(ctx, tok.ID))
		} else if change.Gap || !change.Token.EndedAt.IsZero() {
			break
		}
	}
	if seen > 2*maxBacklog+2 {
		t.Errorf("%d changes", seen)
	}
}

// TestWatchUnread asks for a watch and does not read it for a while: no writer waits, and no queue is
// endless. It gets a gap in the place of changes.
func TestWatchUnread(t *testing.T) {
	inBubble(t, func(t *testing.T, p *program) {
		conn, _ := p.pipe(Caller{Full: true})
		l := newLine(t, conn, true)
		l.say(`{"jsonrpc":"2.0","id":1,"method":"watch"}`)
		if a := l.hear(); string(a.Params.Items[0]) != `{"token":{"id":"0000000000000000000000","prefix":"","subject":"","issued_at":"0001-01-01T00:00:00Z","expires_at":"0001-01-01T00:00:00Z"},"gap":true}` {
			t.Fatalf("the first part is %s", a.Params.Items)
		}
		tok := must(p.users.Issue(t.Context(), lapse.Grant{Subject: "ana"}))
		const changes = 80000 // more than a store keeps for a watch, 65,536
		for range changes / 2 {
			must(p.users.Suspend(t.Context(), tok.ID))
			must(p.users.Resume(t.Context(), tok.ID))
		}
		for n := 1; ; n++ {
			if a := l.hear(); a.Params == nil || n > changes {
				t.Fatalf("no gap among %d changes: %+v", n, a)
			} else if item := must(itemsOf(a.Params))[0]; item.Gap {
				break
			}
		}
	})
}

// TestWatchStalled reads a watch never again: it is cut.
func TestWatchStalled(t *testing.T) {
	inBubble(t, func(t *testing.T, p *program) {
		conn, left := p.pipe(Caller{Full: true})
		l := newLine(t, conn, true)
		l.say(`{"jsonrpc":"2.0","id":1,"method":"watch"}`)
		l.hear()
		tok := must(p.users.Issue(t.Context(), lapse.Grant{Subject: "ana"}))
		for range 2000 {
			must(p.users.Suspend(t.Context(), tok.ID))
			must(p.users.Resume(t.Context(), tok.ID))
		}
		wantCut(t, left)
	})
}

// TestReadOnly calls every method as a user who may only read.
func TestReadOnly(t *testing.T) {
	p := newProgram(t)
	ctx, c := t.Context(), p.dialPipe(Caller{UID: 7})
	if c.Hello().Full {
		t.Error("hello says Full")
	}
	ana := must(p.users.Issue(ctx, lapse.Grant{Subject: "ana"}))
	before := must(p.users.Token(ctx, ana.ID))
	v := must(p.server.verbs())
	raw := `"` + ana.ID.String() + `"`
	bodies := map[string]string{
		"id": raw, "bearer": `"` + ana.Bearer + `"`, "subject": `"ana"`, "grant": `{"subject":"ana"}`, "changes": `{"name":"x"}`, "version": "1",
	}
	allowed := map[string]bool{"hello": true, "now": true, "list": true, "count": true, "sessions": true, "show": true, "verify": true, "holds": true, "watch": true, "stats": true, "store": true}
	here, there := net.Pipe()
	go (&visit{lines: newLines(there, patience), table: v.methods(), caller: Caller{UID: 7}, greeted: true}).serve(ctx)
	l := &line{t, here, nil}
	l.r = bufio.NewReader(here)
	for name, m := range v.methods() {
		params := ""
		for _, member := range m.required() {
			params += fmt.Sprintf(`,%q:%s`, member, bodies[member])
		}
		if name == "watch" { // which does not end
			continue
		}
		l.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, name, params[min(1, len(params)):]))
		a := l.hear()
		for a.Params != nil {
			a = l.hear()
		}
		refused := a.Error != nil && errors.Is(a.Error.err(), ErrNotAllowed)
		if refused == allowed[name] || m.writes == allowed[name] {
			t.Errorf("%s is answered by %+v", name, a.Error)
		}
	}
	if tok := must(p.users.Token(ctx, ana.ID)); tok != before {
		t.Errorf("the token has changed: %+v", tok)
	}
	if n := must(p.users.Count(ctx, lapse.Query{})); n != 1 {
		t.Error(n, "tokens")
	}
	if _, err := c.Issue(ctx, lapse.Grant{Subject: "a"}); !errors.Is(err, ErrNotAllowed) {
		t.Error("Issue:", err)
	}
}
