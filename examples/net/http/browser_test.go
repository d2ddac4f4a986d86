package main

import (
	"github.com/chromedp/chromedp"

	"github.com/seed-55daa01a/lapse/examples/net/internal/browser"
)

// tab is the page in a browser.
type tab struct{ *browser.Tab }

// open opens the page in a browser.
func (s *scene) open() *tab {
	s.t.Helper()
	return &tab{browser.Open(s.t, s.url)}
}

// logIn fills the form in with the keyboard.
func (p *tab) logIn(user, password string) {
	p.T.Helper()
	p.Is("document.querySelectorAll('input').forEach(input => { input.value = '' })")
	p.Do(chromedp.SendKeys(chromedp.CSS("#user"), user), chromedp.SendKeys(chromedp.CSS("#password"), password+"\r"))
}
