package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// TestRefused sends lines that are no good requests. Each is refused by name, and the connection answers
// the next request.
func TestRefused(t *testing.T) {
	p := newProgram(t).serve()
	l := p.raw(true)
	id := lapse.ID{}.String()
	secret := "lapse_secretsecretsecret"
	for _, tt := range []struct {
		line string
		code int
		text string
	}{
		{``, codeParse, "one object a line"},
		{` `, codeParse, "one object a line"},
		{`x`, codeParse, "one object a line"},
		{`{`, codeParse, "one object a line"},
		{`null`, codeParse, "one object a line"},
		{`[{"jsonrpc":"2.0","id":1,"method":"now"}]`, codeParse, "no batches"},
		{`{"jsonrpc":"2.0","id":1,"method":"now"}{}`, codeParse, "one object a line"},
		{strings.Repeat("[", 100000), codeParse, "one object a line"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"logout\",\"params\":{\"subject\":\"caf\xe9\"}}", codeParse, "no UTF-8"},
		{`{"jsonrpc":"2.0","id":1,"method":"logout","params":{"subject":"caf\udce9"}}`, codeParse, "half a surrogate pair"},
		{`{"jsonrpc":"2.0","id":1,"method":"logout","params":{"subject":"\ud83d"}}`, codeParse, "half a surrogate pair"},
		{`{"jsonrpc":"2.0","id":1,"method":"logout","params":{"subject":"\ud83d\u00e9"}}`, codeParse, "half a surrogate pair"},
		{`{"jsonrpc":"2.0","id":1,"method":"logout","params":{"subject":"\ud83d\nde00"}}`, codeParse, "half a surrogate pair"},
		{`{"jsonrpc":"2.0","id":1,"method":"now","extra":1}`, codeRequest, "other members"},
		{`{"jsonrpc":"2.0","id":1,"method":["now"]}`, codeRequest, "wrong form"},
		{`{"jsonrpc":"2.0","id":1,"method":"now","params":[1]}`, codeRequest, "wrong form"},
		{`{"jsonrpc":"2.0","method":"now"}`, codeRequest, "id"},
		{`{"jsonrpc":"2.0","id":null,"method":"now"}`, codeRequest, "id"},
		{`{"jsonrpc":"2.0","id":{},"method":"now"}`, codeRequest, "id"},
		{`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 63) + `","method":"now"}`, codeRequest, "64 bytes"},
		{`{"id":1,"method":"now"}`, codeRequest, "jsonrpc"},
		{`{"jsonrpc":"1.0","id":1,"method":"now"}`, codeRequest, "jsonrpc"},
		{`{"jsonrpc":"2.0","id":1,"method":"` + secret + `"}`, codeMethod, "the methods are backup, compact, count"},
		{`{"jsonrpc":"2.0","id":1,"method":"now","params":{"` + secret + `":1}}`, codeParams, "it takes none"},
		{`{"jsonrpc":"2.0","id":1,"method":"backup","params":{"path":"/etc/passwd"}}`, codeParams, "it takes none"},
		{`{"jsonrpc":"2.0","id":1,"method":"logout","params":{"subject":"a","id":"` + id + `"}}`, codeParams, "it takes subject (required) keep note"},
		{`{"jsonrpc":"2.0","id":1,"method":"logout","params":{}}`, codeParams, "params lacks subject"},
		{`{"jsonrpc":"2.0","id":1,"method":"logout","params":{"subject":1}}`, codeParams, "params.subject has a wrong form"},
		{`{"jsonrpc":"2.0","id":1,"method":"revoke"}`, codeParams, "params lacks id"},
		{`{"jsonrpc":"2.0","id":1,"method":"revoke","params":{"id":null}}`, codeParams, "params lacks id"},
		{`{"jsonrpc":"2.0","id":1,"method":"revoke","params":{"id":"` + secret + `"}}`, codeParams, "params.id has a wrong form"},
		{`{"jsonrpc":"2.0","id":1,"method":"issue","params":{"grant":{"subject":"a","` + secret + `":1}}}`, codeParams, "params.grant has a wrong form or an unknown member"},
		{`{"jsonrpc":"2.0","id":1,"method":"rotate","params":{"id":"` + id + `","overlap_ns":1e300}}`, codeParams, "params.overlap_ns has a wrong form"},
	} {
		l.say(tt.line)
		a := l.hear()
		if a.Error == nil || a.Error.Code != tt.code || !strings.Contains(a.Error.Message, tt.text) {
			t.Errorf("%.80q is answered by %+v, want %d %q", tt.line, a.Error, tt.code, tt.text)
			continue
		}
		if err := a.Error.err(); !errors.Is(err, ErrProtocol) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.80q: the error is %v", tt.line, err)
		}
		if strings.Contains(tt.line, `"id":"`+secret) != errors.Is(a.Error.err(), lapse.ErrInvalidID) {
			t.Errorf("%.80q: ErrInvalidID: %v", tt.line, a.Error.Data.Kinds)
		}
	}
	l.say(`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 62) + `","method":"now"}`)
	if a := l.hear(); a.Error != nil || len(a.ID) != 64 || string(a.Result) != `"2026-01-05T09:00:00Z"` {
		t.Errorf("the next request is answered by %+v, %s", a.Error, a.Result)
	}
}

// TestSubjects sends subjects that JSON can write in several ways. The server takes each for what it is.
func TestSubjects(t *testing.T) {
	p := newProgram(t).serve()
	l := p.raw(true)
	for text, want := range map[string]string{`😀`: "😀", `\ud83d\ude00`: "😀", `\uD83D\uDE00\uFFFD`: "😀\ufffd", "\ufffd": "\ufffd", `\\ud83d`: `\ud83d`, `\"\u00e9`: `"é`} {
		l.say(`{"jsonrpc":"2.0","id":1,"method":"issue","params":{"grant":{"subject":"` + text + `"}}}`)
		var got issued
		if a := l.hear(); a.Error != nil || json.Unmarshal(a.Result, &got) != nil || got.Token.Subject != want {
			t.Errorf("%s is issued as %+v, %+v", text, got.Token, a.Error)
		}
	}
}

// TestHelloFirst sends other requests before hello, and a hello of another version.
func TestHelloFirst(t *testing.T) {
	p := newProgram(t).serve()
	l := p.raw(false)
	for _, line := range []string{`{"jsonrpc":"2.0","id":1,"method":"now"}`, `{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":2}}`, `{"jsonrpc":"2.0","id":1,"method":"now"}`} {
		l.say(line)
		if a := l.hear(); a.Error == nil || !errors.Is(a.Error.err(), ErrProtocol) {
			t.Errorf("%s is answered by %s", line, a.Result)
		}
	}
	l.say(`{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":1}}`)
	if a := l.hear(); a.Error != nil || !strings.Contains(string(a.Result), `"prefixes":[{"prefix":"lapse"}`) {
		t.Errorf("hello is answered by %+v, %s", a.Error, a.Result)
	}
}

// TestLongLines sends lines before, at and after the limit.
func TestLongLines(t *testing.T) {
	p := newProgram(t).serve()
	l := p.raw(true)
	frame := `{"jsonrpc":"2.0","id":1,"method":"verify","params":{"bearer":""}}`
	for _, tt := range []struct {
		length int
		long   bool
	}{{maxLine - 1, false}, {maxLine, false}, {maxLine + 1, true}, {5*maxLine + 3, true}, {len(frame) + 1, false}} {
		text := frame[:len(frame)-3] + strings.Repeat("x", tt.length-len(frame)) + frame[len(frame)-3:]
		go l.Write([]byte(text + "\n")) // the answer may come before all of it is sent
		a := l.hear()
		if long := strings.Contains(a.Error.Message, "more than a megabyte"); long != tt.long || !long && !errors.Is(a.Error.err(), lapse.ErrMalformed) {
			t.Errorf("%d bytes are answered by %q", tt.length, a.Error.Message)
		}
	}
	c := p.dial()
	if _, err := c.Issue(t.Context(), lapse.Grant{Subject: strings.Repeat("x", maxLine)}); !errors.Is(err, lapse.ErrInvalidGrant) {
		t.Error("a Client with a long line:", err)
	}
	if _, err := c.Now(t.Context()); err != nil {
		t.Error("after that:", err)
	}
}

var halfLines = []string{`{`, `{"jsonrpc":"2.0","id":1,"method":"now"}`, strings.Repeat("x", 2*maxLine)}

// TestHalfLines sends a line without its end, and waits.
func TestHalfLines(t *testing.T) {
	inBubble(t, func(t *testing.T, p *program) {
		for _, half := range halfLines {
			conn, left := p.pipe(Caller{Full: true})
			l := newLine(t, conn, true)
			l.Write([]byte(half))
			begin := time.Now()
			if a := l.hear(); a.Error == nil || !strings.Contains(a.Error.Message, "has no end") || time.Since(begin) != patience {
				t.Errorf("%.20q is answered after %v by %+v", half, time.Since(begin), a)
			}
			<-left
		}
		conn, _ := p.pipe(Caller{Full: true})
		l := newLine(t, conn, true) // to say nothing is no half line
		time.Sleep(2 * patience)
		l.say(`{"jsonrpc":"2.0","id":1,"method":"now"}`)
		if a := l.hear(); a.Error != nil {
			t.Error("after a silence:", a.Error.Message)
		}
	})
}

// TestHalfLinesOfOneWhoHangsUp sends a line without its end, and no more than that.
func TestHalfLinesOfOneWhoHangsUp(t *testing.T) {
	p := newProgram(t).serve()
	for _, half := range halfLines {
		l := p.raw(true)
		l.Write([]byte(half))
		l.Conn.(*net.UnixConn).CloseWrite()
		if a := l.hear(); a.Error == nil || !strings.Contains(a.Error.Message, "has no end") {
			t.Errorf("%.20q is answered by %+v", half, a)
		}
		if _, err := l.r.ReadByte(); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%.20q: the connection goes on: %v", half, err)
		}
	}
}

// TestFlood sends requests without waiting for answers. Each is answered or refused, and the connection
// answers the next one.
func TestFlood(t *testing.T) {
	p := newProgram(t).serve()
	l := p.raw(true)
	const flood = 5000
	go func() {
		for i := range flood {
			l.Write([]byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"count"}`+"\n", i+1)))
		}
	}()
	answered := map[string]bool{}
	busy := 0
	for range flood {
		a := l.hear()
		if a.Error != nil {
			if busy++; !errors.Is(a.Error.err(), lapse.ErrUnavailable) || !strings.Contains(a.Error.Message, "after an answer") {
				t.Fatal(a.Error.Message)
			}
		}
		answered[string(a.ID)] = true
	}
	if len(answered) != flood || busy == flood {
		t.Errorf("%d answered, %d refused, of %d", len(answered), busy, flood)
	}
	l.say(`{"jsonrpc":"2.0","id":9,"method":"now"}`)
	if a := l.hear(); a.Error != nil {
		t.Error("after the flood:", a.Error.Message)
	}
}

// TestConnections opens as many connections as there may be, and one more.
func TestConnections(t *testing.T) {
	p := newProgram(t).serve()
	var all []*line
	for range maxConnections {
		all = append(all, p.raw(true))
	}
	if a := p.raw(false).hear(); a.Error == nil || !errors.Is(a.Error.err(), lapse.ErrUnavailable) || !strings.Contains(a.Error.Message, "64 connections are open") {
		t.Errorf("the 65th is answered by %+v", a)
	}
	if _, err := Dial(t.Context(), p.path); !errors.Is(err, lapse.ErrUnavailable) || !strings.Contains(err.Error(), "64 connections are open") {
		t.Error("Dial:", err)
	}
	all[0].Close()
	for { // until the server has noticed
		if c, err := Dial(t.Context(), p.path); err == nil {
			c.Close()
			break
		}
	}
}

// FuzzRequest parses any line: nothing panics, and what is accepted has a method and what that requires.
func FuzzRequest(f *testing.F) {
	table := (&verbs{}).methods()
	for name := range table {
		f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"` + name + `","params":{"id":"0000000000000000000000","bearer":"x","subject":"y","grant":{},"changes":{"name":null},"version":1}}`))
		f.Add([]byte(`{"jsonrpc":"2.0","id":"a","method":"` + name + `"}`))
	}
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"edit","params":{"id":"0000000000000000000000","changes":{"data":"/w=="},"note":"n"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		req, refused := parse(line, table)
		if refused != nil {
			if err := refused.err(); !errors.Is(err, ErrProtocol) || len(refused.Message) > 500 {
				t.Errorf("refused by %q", refused.Message)
			}
			return
		}
		m, known := table[req.Method]
		if !known || len(req.ID) == 0 || len(req.ID) > maxID {
			t.Errorf("accepted method %q, id %q", req.Method, req.ID)
		}
		for _, name := range m.required() {
			p := req.Params
			set := map[string]bool{
				"id": p.ID != nil, "bearer": p.Bearer != nil, "subject": p.Subject != nil, "grant": p.Grant != nil, "changes": p.Changes != nil, "version": true,
			}
			if !set[name] {
				t.Errorf("%s was accepted without %s", req.Method, name)
			}
		}
	})
}
