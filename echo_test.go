package lapse

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage/memory"
)

// hushEchoes are texts that hold bearer as a caller may give it by mistake.
func hushEchoes(bearer string) []string {
	return []string{
		bearer, bearer + " " + bearer, "read " + bearer, "x" + bearer + "x", "read:" + bearer + "/write", strings.Repeat("-", 64) + bearer,
		"Bearer " + bearer, bearer + "\n", `{"refresh_token":"` + bearer + `"}`, bearer[6:], bearer[:70], strings.Repeat(bearer+" ", 100),
	}
}

// TestFault1_NoErrorRepeatsAToken: a text of a token in the place of any other text that a
// verb takes is not in its error.
func TestFault1_NoErrorRepeatsAToken(t *testing.T) {
	ctx, store := t.Context(), memory.New()
	keys := Config{}
	m, mock := managerOver(t, store, keys)
	p := made(NewPairs(store, PairConfig{Access: Config{Clock: mock}}))
	issued, login := issueTo(t, m, Grant{Subject: "ana", Scope: "read"}), made(p.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	next := made(p.Refresh(ctx, login.Refresh.Bearer)) // so that the first text is within its grace
	heard, all := &said{}, secrets{}
	for _, bearer := range []string{issued.Bearer, login.Refresh.Bearer, next.Refresh.Bearer, next.Access.Bearer} {
		all.merge(secretsOf(bearer))
		for _, text := range hushEchoes(bearer) {
			_, err := p.Refresh(ctx, next.Refresh.Bearer, "delete", text)
			heard.err(err)
			_, err = p.Refresh(ctx, login.Refresh.Bearer, text)
			heard.err(err)
			_, err = m.Delegate(ctx, issued.Bearer, Grant{Scope: text})
			heard.err(err)
			_, err = m.Delegate(ctx, issued.Bearer, Grant{Subject: text})
			heard.err(err)
			heard.err(Require(issued.Token, text))
			for _, g := range []Grant{
				{Subject: text + "\x00"}, {Subject: "ana", Name: text + "\u202e"}, {Subject: "ana", Scope: text + "  "},
				{Subject: "ana", Data: text + strings.Repeat("d", 5000)}, {Subject: text, TTL: -1},
			} {
				_, err = m.Issue(ctx, g)
				heard.err(err)
				_, err = p.Issue(ctx, g)
				heard.err(err)
			}
			_, err = m.ExpireSubject(ctx, text+"\x00")
			heard.err(err)
			for _, verb := range []func() error{
				func() error { _, err := m.Authenticate(ctx, text+"x"); return err },
				func() error { _, err := m.Rotate(ctx, text+"x", time.Minute); return err },
				func() error { _, err := p.Refresh(ctx, text+"x"); return err },
				func() error { _, err := p.ExpireBearer(ctx, text+"x"); return err },
				func() error { _, err := ParseID(text); return err },
				func() error { return json.Unmarshal([]byte(`{"token_type":"`+bearer+`"}`), new(TokenPair)) },
				func() error { _, err := New(store, Config{Prefix: text}); return err },
				func() error { _, err := NewPairs(store, PairConfig{Refresh: Config{Prefix: text}}); return err },
			} {
				heard.err(verb())
			}
		}
	}
	if want := 48 * 20; heard.errors < want {
		t.Errorf("%d errors; want %d at least, or nothing is tested", heard.errors, want)
	}
	told := map[string]bool{}
	for _, text := range heard.texts {
		if found := all.leaks(text); found != nil && !told[found[0]] {
			told[found[0]] = true
			t.Errorf("the %s is said in %.300q", found[0], text)
		}
	}
}

// TestFault1_LongScopes: what is too long is refused before it is split, whatever it is.
func TestFault1_LongScopes(t *testing.T) {
	ctx, store := t.Context(), memory.New()
	m, mock := managerOver(t, store, Config{})
	p := made(NewPairs(store, PairConfig{Access: Config{Clock: mock}}))
	issued, login := issueTo(t, m, Grant{Subject: "ana", Scope: "read"}), made(p.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	const size = 10 << 20
	for name, scope := range map[string]string{
		"words": strings.Repeat("a ", size/2), "one word": strings.Repeat("a", size), "spaces": strings.Repeat(" ", size),
	} {
		for verb, f := range map[string]func() error{
			"Issue":         func() error { _, err := m.Issue(ctx, Grant{Subject: "ana", Scope: scope}); return err },
			"Pairs.Issue":   func() error { _, err := p.Issue(ctx, Grant{Subject: "ana", Scope: scope}); return err },
			"Delegate":      func() error { _, err := m.Delegate(ctx, issued.Bearer, Grant{Scope: scope}); return err },
			"Refresh":       func() error { _, err := p.Refresh(ctx, login.Refresh.Bearer, scope); return err },
			"Refresh, many": func() error { _, err := p.Refresh(ctx, login.Refresh.Bearer, "read", scope, scope); return err },
			"Require":       func() error { return Require(issued.Token, scope) },
		} {
			var err error
			if took := hushAllocated(func() { err = f() }); took > size/10 || err == nil || len(err.Error()) > 200 {
				t.Errorf("%s of %s: it allocated %d bytes, and says %.300v", verb, name, took, err)
			}
		}
	}
	many := make([]string, size)
	if took := hushAllocated(func() { _, err := p.Refresh(ctx, login.Refresh.Bearer, many...); t.Log(err) }); took > size/10 {
		t.Errorf("Refresh of many empty ones allocated %d bytes", took)
	}
}

// hushAllocated returns how many bytes f allocates, of three calls the least.
func hushAllocated(f func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// TestFault1_ScopeFieldHoldsTheToken: a form that sends the token in the wrong field, too.
func TestFault1_ScopeFieldHoldsTheToken(t *testing.T) {
	ctx, store := t.Context(), memory.New()
	_, mock := managerOver(t, store, Config{})
	p := made(NewPairs(store, PairConfig{Access: Config{Clock: mock}}))
	c := made(p.Issue(ctx, Grant{Subject: "ana", Scope: "read"}))
	_, err := p.Refresh(ctx, c.Refresh.Bearer, c.Refresh.Bearer)
	if want := fmt.Sprintf(`lapse: insufficient scope: ["[%d bytes]"] is missing`, len(c.Refresh.Bearer)); err == nil || err.Error() != want {
		t.Errorf("Refresh: %v; want %s", err, want)
	}
	_, err = p.Access().Delegate(ctx, c.Access.Bearer, Grant{Scope: c.Access.Bearer})
	if want := fmt.Sprintf(`lapse: insufficient scope: ["[%d bytes]"] is missing`, len(c.Access.Bearer)); err == nil || err.Error() != want {
		t.Errorf("Delegate: %v; want %s", err, want)
	}
	if _, err := p.Access().Authenticate(ctx, c.Access.Bearer); err != nil {
		t.Errorf("the text is good no more: %v", err)
	}
}
