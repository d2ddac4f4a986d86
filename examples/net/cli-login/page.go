package main

import (
	_ "embed"
	"errors"
	"html/template"
	"net/http"

	"github.com/seed-55daa01a/lapse"
)

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

// cookie is the cookie with the session of a browser.
const cookie = "browser"

// pages are the pages on which a user logs in, and decides about a device.
type pages struct {
	devices  *lapse.DeviceLogin
	browsers *lapse.Manager
}

// view is what a page shows: the log-in without a User, the request with a Code, else the field for one.
type view struct {
	Notice, User, Code, Name, Scope string
}

// show answers with the page. No other site may frame it, and no cache may keep it.
func show(w http.ResponseWriter, status int, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	page.Execute(w, v)
}

// logIn begins a session of the browser.
func (p *pages) logIn(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !isPassword(user, r.PostFormValue("password")) {
		show(w, http.StatusForbidden, view{Notice: "That is not the password."})
		return
	}
	session, err := p.browsers.Issue(r.Context(), lapse.Grant{Subject: user, Name: lapse.ClipName(r.UserAgent())})
	if err != nil {
		refuse(w, "", err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: session.Bearer, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// user returns the user whose browser sends r, or answers with the log-in.
func (p *pages) user(w http.ResponseWriter, r *http.Request) (user string, ok bool) {
	text := ""
	if c, err := r.Cookie(cookie); err == nil {
		text = c.Value
	}
	session, err := p.browsers.Authenticate(r.Context(), text)
	switch {
	case err == nil:
		return session.Subject, true
	case errors.Is(err, lapse.ErrUnauthenticated):
		show(w, http.StatusOK, view{})
	default:
		refuse(w, "", err)
	}
	return "", false
}

func (p *pages) enter(w http.ResponseWriter, r *http.Request) {
	if user, ok := p.user(w, r); ok {
		show(w, http.StatusOK, view{User: user})
	}
}

// request returns what the device asks for whose code the user has entered, or answers why not.
func (p *pages) request(w http.ResponseWriter, r *http.Request) (v view, ok bool) {
	user, ok := p.user(w, r)
	if !ok {
		return view{}, false
	}
	code := r.PostFormValue("code")
	asked, err := p.devices.Lookup(r.Context(), code, user)
	if err != nil {
		refuse(w, user, err)
		return view{}, false
	}
	return view{User: user, Code: code, Name: asked.Name, Scope: allowed(user, asked.Scope)}, true
}

func (p *pages) lookUp(w http.ResponseWriter, r *http.Request) {
	if v, ok := p.request(w, r); ok {
		show(w, http.StatusOK, v)
	}
}

// approve grants what the page has shown: the same request, and the same words of its scope.
func (p *pages) approve(w http.ResponseWriter, r *http.Request) {
	v, ok := p.request(w, r)
	if !ok {
		return
	}
	_, err := p.devices.Approve(r.Context(), v.Code, lapse.Grant{Subject: v.User, Name: v.Name, Scope: v.Scope})
	if err != nil {
		refuse(w, v.User, err)
		return
	}
	show(w, http.StatusOK, view{User: v.User, Notice: "The device is logged in. Go back to it."})
}

func (p *pages) deny(w http.ResponseWriter, r *http.Request) {
	user, ok := p.user(w, r)
	if !ok {
		return
	}
	if err := p.devices.Deny(r.Context(), r.PostFormValue("code"), user); err != nil {
		refuse(w, user, err)
		return
	}
	show(w, http.StatusOK, view{User: user, Notice: "Denied. The device is not logged in."})
}

// refuse answers an error with a fixed text: that of lapse may be logged, and is not shown.
func refuse(w http.ResponseWriter, user string, err error) {
	for _, known := range []struct {
		err    error
		status int
		text   string
	}{
		{lapse.ErrGuesses, http.StatusTooManyRequests, "Too many wrong codes. Try again in ten minutes."},
		{lapse.ErrMalformed, http.StatusBadRequest, "No device shows this code. Check it."},
		{lapse.ErrUnknown, http.StatusBadRequest, "No device shows this code. Check it."},
		{lapse.ErrExpired, http.StatusBadRequest, "The code has run out. Begin again at the device."},
		{lapse.ErrUnauthenticated, http.StatusBadRequest, "The code has been used. Begin again at the device."},
	} {
		if errors.Is(err, known.err) {
			show(w, known.status, view{User: user, Notice: known.text})
			return
		}
	}
	w.Header().Set("Retry-After", "1")
	show(w, http.StatusServiceUnavailable, view{User: user, Notice: "Try again later."})
}
