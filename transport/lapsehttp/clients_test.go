package lapsehttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// serve serves a world over the loopback.
func serve(t *testing.T) (*world, string) {
	w := newWorldOver(t, memory.New(), nil)
	server := httptest.NewServer(w.mux)
	t.Cleanup(server.Close)
	return w, server.URL
}

// TestOAuth2: the client of golang.org/x/oauth2 refreshes by itself, 32 of it at once get one pair, and
// its error has the code.
func TestOAuth2(t *testing.T) {
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		w, url := serve(t)
		client := oauth2.Config{ClientID: "app", ClientSecret: secrets["app"], Endpoint: oauth2.Endpoint{TokenURL: url + "/token", AuthStyle: style}}
		pair := w.issue("app", lapse.Grant{Scope: "read"})
		old := &oauth2.Token{AccessToken: pair.Access.Bearer, RefreshToken: pair.Refresh.Bearer, Expiry: time.Now().Add(-time.Hour)}

		tokens := make([]*oauth2.Token, 32)
		gate := newGate(len(tokens))
		var all sync.WaitGroup
		for n := range tokens {
			all.Go(func() {
				source := client.TokenSource(t.Context(), old)
				gate.pass()
				var err error
				if tokens[n], err = source.Token(); err != nil {
					t.Errorf("client %d: %v", n, err)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			t.FailNow()
		}
		for n, tok := range tokens {
			if tok.AccessToken != tokens[0].AccessToken || tok.RefreshToken != tokens[0].RefreshToken || tok.RefreshToken == old.RefreshToken {
				t.Errorf("client %d has another pair", n)
			}
		}
		if tok := must(w.pairs.Access().Token(t.Context(), pair.Access.ID)); tok.Generation != 1 {
			t.Errorf("%d refreshes", tok.Generation)
		}
		answer := must(client.Client(t.Context(), tokens[0]).Get(url + "/who"))
		if answer.Body.Close(); answer.StatusCode != http.StatusOK {
			t.Errorf("the API: %s", answer.Status)
		}
		w.clock.Add(10 * time.Second) // the grace is over
		_, err := client.TokenSource(context.WithoutCancel(t.Context()), old).Token()
		if refused, ok := err.(*oauth2.RetrieveError); !ok || refused.ErrorCode != "invalid_grant" || refused.Response.StatusCode != 400 || w.live(pair.Access.ID) {
			t.Errorf("a replaced text: %v", err)
		}
	}
}

// TestOAuth2Device: the client of golang.org/x/oauth2 logs in a device, and goes on to refresh.
func TestOAuth2Device(t *testing.T) {
	w, url := serve(t)
	client := oauth2.Config{
		ClientID: "app", ClientSecret: secrets["app"], Scopes: []string{"read"},
		Endpoint: oauth2.Endpoint{DeviceAuthURL: url + "/device", TokenURL: url + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	codes := must(client.DeviceAuth(t.Context(), oauth2.SetAuthURLParam("client_secret", secrets["app"])))
	if codes.VerificationURI != "https://x.example/device" || codes.Interval != 5 {
		t.Errorf("%v", codes)
	}
	must(w.devices.Approve(t.Context(), codes.UserCode, lapse.Grant{Subject: "ana", Scope: "read"}))
	codes.Interval = 1 // the client waits so many real seconds before it asks
	tok := must(client.DeviceAccessToken(t.Context(), codes))
	tok.Expiry = time.Now().Add(-time.Hour)
	next := must(client.TokenSource(t.Context(), tok).Token())
	if next.AccessToken == tok.AccessToken || must(w.pairs.Access().Peek(t.Context(), next.AccessToken)).Client != "app" {
		t.Error("the session of the device does not refresh")
	}
}

// gate lets n callers pass once all have come.
type gate struct {
	come sync.WaitGroup
	open chan struct{}
}

func newGate(n int) *gate {
	g := &gate{open: make(chan struct{})}
	g.come.Add(n)
	go func() {
		g.come.Wait()
		close(g.open)
	}()
	return g
}

func (g *gate) pass() {
	g.come.Done()
	<-g.open
}

// need returns the path of a program, or skips the test.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		lacking(t, "there is no "+program+"; install it")
	}
	return path
}

// lacking skips the test for want of something that it needs, or fails it where all is required.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("LAPSE_REQUIRE_ALL") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// TestOAuth4WebAPI: the client of oauth4webapi, a library of JavaScript that is certified for OpenID
// Connect, takes every answer. Its script is testdata/client/client.js.
func TestOAuth4WebAPI(t *testing.T) {
	node, npm := need(t, "node"), need(t, "npm")
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "client"))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = folder
	if told, err := install.CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("npm ci: %v: %s; it needs the registry of npm", err, told))
	}
	_, url := serve(t)
	script := exec.CommandContext(ctx, node, "client.js", url)
	script.Dir = folder
	if told, err := script.CombinedOutput(); err != nil || !strings.Contains(string(told), "oauth4webapi is content") {
		t.Errorf("%v\n%s", err, told)
	}
}
