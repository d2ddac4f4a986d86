package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	devpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patienceWith is how long a browser may take for anything before a test gives up.
const patienceWith = time.Minute

// findBrowser returns the path of a browser, or skips the test.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("LAPSE_REQUIRE_ALL") == "1" {
		t.Fatal("there is no chromium or google-chrome to test the page in; install one")
	}
	t.Skip("there is no chromium or google-chrome to test the page in")
	return ""
}

// browser starts a headless browser for one test. On a busy machine one may hang as it
// starts: then it is another one's turn.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := findBrowser(t)
	for try := 1; ; try++ {
		ctx, err := startBrowser(t, path)
		if err == nil {
			return ctx
		}
		if try == 3 {
			t.Fatalf("the browser does not start: %v", err)
		}
		t.Logf("the browser does not start: %v", err)
	}
}

// lifeOfABrowser is how long one lives, whatever hangs.
const lifeOfABrowser = 3 * time.Minute

func startBrowser(t *testing.T, path string) (context.Context, error) {
	t.Helper()
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.UserDataDir(t.TempDir()),
	}
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars", "disable-dev-shm-usage",
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
	} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	life, kill := context.WithTimeout(context.Background(), lifeOfABrowser)
	t.Cleanup(kill)
	alloc, stop := chromedp.NewExecAllocator(life, opts...)
	t.Cleanup(stop)
	ctx, quit := chromedp.NewContext(alloc)
	t.Cleanup(func() { // it must have gone before its folder can
		defer time.AfterFunc(patienceWith/4, kill).Stop()
		chromedp.Cancel(ctx)
		quit()
	})
	defer time.AfterFunc(patienceWith/2, kill).Stop()
	return ctx, chromedp.Do(ctx)
}

// tab is one tab of the browser, which is one device.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	sockets int
}

// hurry counts what the page puts off, which is nothing but its retries, and lets it
// not wait for long.
const hurry = `window.retries = 0; { const later = window.setTimeout; window.setTimeout = (f, ms) => { window.retries++; return later(f, Math.min(ms, 20)) } }`

// tab opens the page in a new tab. A page that throws, breaks its own policy, or asks
// for something from elsewhere fails the test.
func (s *scene) tab(t *testing.T, browser context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	host := strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/")
	if err := chromedp.Listen(ctx, func(event any) { p.hear(event, host) }); err != nil {
		t.Fatal(err)
	}
	call(p, network.Enable, network.EnableParams{})
	call(p, log.Enable, cdp.Empty{})
	call(p, devpage.AddScriptToEvaluateOnNewDocument, devpage.AddScriptToEvaluateOnNewDocumentParams{Source: hurry})
	p.do(chromedp.Navigate(s.url))
	return p
}

// hear is called for each event of the tab; host is the only one that may be asked.
func (p *tab) hear(event any, host string) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.t.Errorf("the page throws: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity {
			p.t.Errorf("the page breaks its policy: %s", e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != host {
			p.t.Errorf("the page asks for %s", e.Request.URL)
		}
	case *network.EventWebSocketCreated:
		p.mu.Lock()
		p.sockets++
		p.mu.Unlock()
	}
}

// do acts on the tab, or fails the test.
func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patienceWith)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// value runs an action that returns something.
func value[T any](p *tab, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patienceWith)
	defer cancel()
	got, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

// call sends a command of the protocol, or fails the test.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patienceWith)
	defer cancel()
	if _, err := chromedp.Call(ctx, command, params); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns the value of an expression of JavaScript.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	return value(p, chromedp.Evaluate[T](rows+expression))
}

// is reports whether an expression is true on the page now.
func (p *tab) is(expression string) bool {
	p.t.Helper()
	return eval[bool](p, "!!("+expression+")")
}

// rows is what the expressions of these tests are written with: rows by name, and the
// seconds that their countdowns show.
const rows = `var row = name => [...document.querySelectorAll('#devices > li')].find(li => li.querySelector('strong').textContent === name);
var left = name => row(name).querySelector('.time').innerText.split(':').reduce((all, part) => 60 * all + Number(part), 0);
var text = id => document.getElementById(id).innerText;
var seen = id => document.getElementById(id).checkVisibility();
`

// until waits for an expression to become true.
func (p *tab) until(expression string) {
	p.t.Helper()
	for begun := time.Now(); !p.is(expression); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > patienceWith {
			p.t.Fatalf("it does not become true that %s\n%s", expression, eval[string](p, "document.body.innerText + [...document.querySelectorAll('#devices > li')].map(li => li.dataset.expires)"))
		}
	}
}

// click clicks the middle of an element with the mouse.
func (p *tab) click(element string) {
	p.t.Helper()
	at := eval[[]float64](p, `(() => {
		const e = `+element+`;
		e.scrollIntoView({ block: 'center' });
		const box = e.getBoundingClientRect();
		return [box.x + box.width / 2, box.y + box.height / 2];
	})()`)
	p.do(chromedp.MouseClickXY(at[0], at[1]))
}

// press presses a key that does nothing by itself.
func (p *tab) press() {
	p.t.Helper()
	p.do(chromedp.KeyEvent("x"))
}

// signIn fills the form in, as somebody with a keyboard does.
func (p *tab) signIn(person, device string) *tab {
	p.t.Helper()
	name, what := chromedp.CSS("#person"), chromedp.CSS("#device")
	eval[chromedp.Void](p, `document.querySelectorAll('input').forEach(input => input.value = '')`)
	p.do(chromedp.SendKeys(name, person), chromedp.SendKeys(what, device+"\r"))
	p.until(fmt.Sprintf("seen('signed-in') && text('link') === 'Connected' && row(%q)", device))
	return p
}

func (p *tab) opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sockets
}
