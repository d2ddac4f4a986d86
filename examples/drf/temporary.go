package main

import (
	"io"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// temporaryTokens is django-rest-framework-temporary-tokens as it comes.
func temporaryTokens(w io.Writer) error {
	t, err := newTour(w, lapse.Policy{TTL: 30 * time.Minute, MaxTTL: lapse.NoLimit, MaxTokens: 1},
		django{life: 30 * time.Minute, slides: true})
	if err != nil {
		return err
	}
	t.line("What Django REST framework programs do with expiring tokens, and lapse beside it.")
	t.heading("django-rest-framework-temporary-tokens: a token lives for 30 minutes, and each use gives it 30 more",
		"MINUTES 30, RENEW_ON_SUCCESS True, USE_AUTHENTICATION_BACKENDS False",
		"Policy{TTL: 30 * time.Minute, MaxTTL: NoLimit, MaxTokens: 1}; Identify, then Obtain")
	t.credentials()
	t.life()
	t.headers()
	t.inactive()
	t.direct()
	return t.err
}

// credentials logs in by name, and then by e-mail address.
func (t *tour) credentials() {
	t.logInBoth("log in, wrong password", anaMistake, "")
	t.logInBoth("log in, no such user", stranger, "")
	t.logInBoth("log in by e-mail", anaByMail, "")
	t.django.backends = true // USE_AUTHENTICATION_BACKENDS
	t.lapse.verifiers = append(t.lapse.verifiers, lapse.VerifierFunc[login](t.users.byEmail))
	t.logInBoth("the same, with backends for it", anaByMail, "")
}

// life shows the life of one token, from its log-in to the log-in that replaces it.
func (t *tour) life() {
	t.at(10 * time.Minute)
	t.requestBoth("a request", 1, "")
	t.at(20 * time.Minute)
	t.logInBoth("log in again: the same token", ana, "in lapse a log-in is a use: it renews")
	t.at(25 * time.Minute)
	t.requestBoth("a request", 1, "")
	t.at(55*time.Minute - time.Millisecond)
	t.requestBoth("1 ms before it runs out", 1, "")
	t.at(85*time.Minute - time.Millisecond)
	t.requestBoth("at the instant it runs out", 1, "")
	t.logInBoth("log in: another token", ana, "")
	t.requestBoth("with the old one", 1, "")
	t.at(90 * time.Minute)
	t.logOutBoth("log out: expire()", 2)
	t.requestBoth("in the same instant", 2, "")
	t.logInBoth("log in: another token", ana, "")
}

// headers sends headers that can hold no token.
func (t *tour) headers() {
	for _, h := range []struct{ what, text string }{
		{`header "Token"`, ""},
		{`header "Token a b"`, "a b"},
		{"header that is not UTF-8", "a\xff"},
		{"a key that no user has", "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"},
	} {
		t.step(h.what, t.django.header(h.text), t.lapse.header(h.text), "")
	}
}

// inactive shows that an inactive user keeps the token, and that nothing renews it.
func (t *tour) inactive() {
	t.at(100 * time.Minute)
	t.users.named("ana").inactive = true
	t.requestBoth("a request of an inactive user", 3, "")
	t.logInBoth("log in as an inactive user", ana, "")
	t.users.named("ana").inactive = false
	t.at(115 * time.Minute)
	t.requestBoth("active again, before it ran out", 3, "")
}

// direct makes tokens without the view.
func (t *tour) direct() {
	t.at(2 * time.Hour)
	t.step("create one for bob in a shell", t.django.create("bob"), t.lapse.create("bob"),
		"there the column's default is as old as the process: born dead")
	t.step("create a second one", t.django.create("bob"), t.lapse.create("bob"),
		"an exception there; here Policy.MaxTokens, which AtLimit can turn")
	t.requestBoth("a request of bob", 4, "born dead there; here it lives from its issue on")
}

// withoutRenewal is the same package with its other setting.
func withoutRenewal(w io.Writer) error {
	t, err := newTour(w, lapse.Policy{TTL: 30 * time.Minute, Renewal: lapse.RenewNever}, django{life: 30 * time.Minute})
	if err != nil {
		return err
	}
	t.heading("The same, where no use renews", "RENEW_ON_SUCCESS False", "Policy{TTL: 30 * time.Minute, Renewal: RenewNever}")
	t.logInBoth("log in", ana, "")
	t.at(20 * time.Minute)
	t.requestBoth("a request", 1, "")
	t.logInBoth("log in again: the same token", ana, "")
	t.at(30 * time.Minute)
	t.requestBoth("at the instant it runs out", 1, "")
	t.logInBoth("log in: another token", ana, "")
	return t.err
}
