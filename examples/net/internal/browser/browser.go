// Package browser drives a page in a headless browser, for the tests of the examples.
package browser

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a browser may take for anything before a test gives up.
const patience = time.Minute

// Tab is one tab of a headless browser.
type Tab struct {
	T   *testing.T
	ctx context.Context
}

// Open opens the page at url in a browser. A page that throws fails the test. On a busy machine a browser
// may hang as it starts: then another one is started. Without a browser the test is skipped, or fails under
// LAPSE_REQUIRE_ALL=1.
func Open(t *testing.T, url string) *Tab {
	t.Helper()
	path := Need(t, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
	for try := 1; ; try++ {
		p, err := start(t, path)
		if err == nil {
			p.Do(chromedp.Navigate(url))
			return p
		}
		if try == 3 {
			t.Fatalf("the browser does not start: %v", err)
		}
	}
}

func start(t *testing.T, path string) (*Tab, error) {
	t.Helper()
	life, kill := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(kill)
	alloc, stop := chromedp.NewExecAllocator(life, chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-dev-shm-usage", true))
	t.Cleanup(stop)
	ctx, quit := chromedp.NewContext(alloc)
	t.Cleanup(func() { // it must have gone before its folder can
		defer time.AfterFunc(patience/4, kill).Stop()
		chromedp.Cancel(ctx)
		quit()
	})
	defer time.AfterFunc(patience/2, kill).Stop()
	if err := chromedp.Do(ctx); err != nil {
		return nil, err
	}
	return &Tab{t, ctx}, chromedp.Listen(ctx, func(event any) {
		if thrown, ok := event.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page throws: %s %+v", thrown.ExceptionDetails.Text, thrown.ExceptionDetails.Exception)
		}
	})
}

// Do acts on the tab, or fails the test.
func (p *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.T.Fatal(err)
	}
}

// Is reports whether an expression of JavaScript is true on the page now. It is not while the browser
// goes from one page to the next.
func (p *Tab) Is(expression string) bool {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
	return err == nil && got
}

// Until waits for an expression to become true.
func (p *Tab) Until(expression string) {
	p.T.Helper()
	for begun := time.Now(); !p.Is(expression); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > patience {
			p.T.Fatalf("it does not become true that %s", expression)
		}
	}
}

// Shows waits for a text in the element of id.
func (p *Tab) Shows(id, text string) {
	p.T.Helper()
	p.Until("document.getElementById('" + id + "')?.textContent === '" + text + "'")
}

// Click clicks the button of id.
func (p *Tab) Click(id string) {
	p.T.Helper()
	p.Until("document.getElementById('" + id + "')")
	p.Is("document.getElementById('" + id + "').click()")
}

// Enter writes into the empty field of id with the keyboard, and presses Enter.
func (p *Tab) Enter(id, text string) {
	p.T.Helper()
	p.Until("document.getElementById('" + id + "')")
	p.Do(chromedp.SendKeys(chromedp.CSS("#"+id), text+"\r"))
}

// Need returns the path of the first of programs that there is. Without any the test is skipped, or fails
// under LAPSE_REQUIRE_ALL=1.
func Need(t *testing.T, programs ...string) string {
	t.Helper()
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	if os.Getenv("LAPSE_REQUIRE_ALL") == "1" {
		t.Fatalf("there is no %s; install it", programs[0])
	}
	t.Skipf("there is no %s; install it", programs[0])
	return ""
}
