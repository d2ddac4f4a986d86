package main

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/seed-55daa01a/lapse"
)

const noSession = "cli-login: there is no session, or it has ended: log in\n"

// host is how the command calls itself.
func host(t *testing.T) string {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return "cli-login on " + name
}

// gone wants that the command keeps no file.
func (s *scene) gone() {
	s.t.Helper()
	if _, err := os.Stat(s.file); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("there is a file: %v", err)
	}
}

// sessions counts the live sessions of the command that are a user's.
func (s *scene) sessions(user string) (n int) {
	s.t.Helper()
	for tok, err := range s.admin.List(s.t.Context(), lapse.Query{Subject: user, Live: true}) {
		if err != nil {
			s.t.Fatal(err)
		}
		if tok.Client == clientID {
			n++
		}
	}
	return n
}

// TestPage: the command asks, its user approves in a browser what the page shows, and the command is
// who it was approved to be, also when it has to refresh, until it logs out.
func TestPage(t *testing.T) {
	s := newScene(t)
	p := s.open()
	s.does("whoami", "", noSession)
	c, code := s.begin("files:read files:write files:burn")
	p.logIn("ana", "x")
	p.Shows("notice", "That is not the password.")
	p.logIn("ana", "a")
	p.Enter("code", "BBBB-BBBB")
	p.Shows("notice", "No device shows this code. Check it.")
	p.Enter("code", strings.ToLower(code))
	p.Shows("name", host(t))
	p.Shows("scope", "files:read")
	p.Click("approve")
	p.Shows("notice", "The device is logged in. Go back to it.")
	c.ends("", "")
	if n := s.sessions("ana"); n != 1 {
		t.Errorf("after the log-in there are %d sessions", n)
	}
	if info, err := os.Stat(s.file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	s.does("login", "", "cli-login: there is a session already: log out first\n")
	s.does("whoami", "ana may use files:read by "+host(t)+"\n", "")
	first, err := load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	s.clock.Add(ttl)
	s.does("whoami", "ana may use files:read by "+host(t)+"\n", "")
	second, err := load(s.file)
	if err != nil || second.Access == first.Access || second.Refresh == first.Refresh {
		t.Errorf("the file after a refresh has an old text, or %v", err)
	}
	s.does("logout", "", "")
	s.gone()
	if n := s.sessions("ana"); n != 0 {
		t.Errorf("after the log-out there are %d sessions", n)
	}
	p.Enter("code", code)
	p.Shows("notice", "The code has been used. Begin again at the device.")
}

// TestDeny: a user denies, and the command gets nothing.
func TestDeny(t *testing.T) {
	s := newScene(t)
	p := s.open()
	c, code := s.begin("files:read")
	p.logIn("ana", "a")
	p.Enter("code", code)
	p.Click("deny")
	p.Shows("notice", "Denied. The device is not logged in.")
	c.ends("", "cli-login: the log-in was denied\n")
	s.gone()
}

// TestExpired: a code runs out on the page and for the command.
func TestExpired(t *testing.T) {
	s := newScene(t)
	p := s.open()
	p.logIn("ana", "a")
	c, code := s.begin("files:read")
	s.clock.Add(10 * time.Minute)
	p.Enter("code", code)
	p.Shows("notice", "The code has run out. Begin again at the device.")
	c.ends("", "cli-login: the code has run out: log in again\n")
	s.gone()
}

// TestGuesses: after five wrong codes a user is told to wait, also with one that is right.
func TestGuesses(t *testing.T) {
	s := newScene(t)
	p := s.open()
	p.logIn("ana", "a")
	_, code := s.begin("files:read")
	for _, wrong := range []string{"BBBB-BBBB", "CCCC-CCCC", "DDDD-DDDD", "FFFF-FFFF", "GGGG-GGGG"} {
		p.Enter("code", wrong)
		p.Shows("notice", "No device shows this code. Check it.")
		p.Do(chromedp.Navigate(s.url))
	}
	p.Enter("code", code)
	p.Shows("notice", "Too many wrong codes. Try again in ten minutes.")
}

// TestEnded: an administrator ends the session, and the command drops its texts.
func TestEnded(t *testing.T) {
	s := newScene(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	c, code := s.begin("files:read")
	for _, path := range []string{"/login", "/approve"} {
		answer, err := browser.PostForm(s.url+path, url.Values{"user": {"ana"}, "password": {"a"}, "code": {code}})
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	c.ends("", "")
	if n, err := s.admin.ExpireSubject(t.Context(), "ana"); n != 2 || err != nil { // the browser's, too
		t.Fatalf("%d sessions ended, %v", n, err)
	}
	s.does("whoami", "", noSession)
	s.gone()
}

// TestServerIsDown: a server that cannot answer costs the command no text.
func TestServerIsDown(t *testing.T) {
	s := newScene(t)
	kept := session{s.url + "/nowhere", "a", "b"}
	if err := save(s.file, kept); err != nil {
		t.Fatal(err)
	}
	s.does("whoami", "", "cli-login: the server could not answer (status 404): try again later\n")
	s.does("logout", "", "cli-login: the server could not answer (status 404): try again later\n")
	if got, err := load(s.file); got != kept || err != nil {
		t.Errorf("the file has another session, %v", err)
	}
}

// TestOtherSite: a page of another site neither logs a browser in nor approves.
func TestOtherSite(t *testing.T) {
	s := newScene(t)
	for _, path := range []string{"/login", "/lookup", "/approve", "/deny"} {
		for site, want := range map[string]int{"cross-site": http.StatusForbidden, "same-origin": http.StatusOK} {
			form := url.Values{"user": {"ana"}, "password": {"a"}, "code": {"BBBB-BBBB"}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", site)
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != want {
				t.Errorf("%s from %s: %s", path, site, answer.Status)
			}
		}
	}
}
