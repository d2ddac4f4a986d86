package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// oauthShape is the answer that OAuth 2 clients expect, RFC 6749 section 5.1.
func oauthShape(w io.Writer) error {
	t, err := newTour(w, lapse.Policy{}, django{})
	if err != nil {
		return err
	}
	pairs, err := lapse.NewPairs(memory.New(), lapse.PairConfig{
		Access: lapse.Config{
			Policy: lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewNever},
			Clock:  t.clock,
			Admit:  t.users.check,
		},
	})
	if err != nil {
		return err
	}
	t.lapse.tokens = pairs.Access()
	t.heading("The answer in the shape of OAuth 2",
		"a Response with access_token, token_type, expires_in, refresh_token and scope",
		"NewPairs, Access TTL one hour; Identify, then Pairs.Issue, which begins a session; the JSON of TokenPair")
	return t.pairs(pairs)
}

// pairs logs in on two devices, refreshes on the first, logs the second out, and shows
// what a stolen refresh token is worth. Each log-in is one session, and the session keeps
// its ID.
func (t *tour) pairs(pairs *lapse.Pairs) error {
	ctx := t.lapse.ctx
	subject, err := lapse.Identify(ctx, pairs.Access(), ana, t.lapse.verifiers...)
	if err != nil {
		return err
	}
	laptop, err := pairs.Issue(ctx, lapse.Grant{Subject: subject, Name: "laptop", Scope: "read write"})
	if err != nil {
		return err
	}
	if err := t.shape("log in", laptop); err != nil {
		return err
	}
	t.at(10 * time.Minute)
	phone, err := pairs.Issue(ctx, lapse.Grant{Subject: subject, Name: "phone", Scope: "read write"})
	t.note("log in on a phone", t.lapse.given(phone.Access.Issued, err))
	if err != nil {
		return err
	}
	t.at(50 * time.Minute)
	t.note("a request", t.lapse.header(laptop.Access.Bearer))
	second, err := pairs.Refresh(ctx, laptop.Refresh.Bearer)
	if err != nil {
		return err
	}
	if err := t.shape("refresh", second); err != nil {
		return err
	}
	if err := t.devices(pairs, subject); err != nil {
		return err
	}
	return t.afterRefresh(pairs, laptop, second, phone)
}

// afterRefresh ends the phone's session, and shows that the laptop's one dies when its old
// refresh token is presented after second was issued.
func (t *tour) afterRefresh(pairs *lapse.Pairs, laptop, second, phone lapse.TokenPair) error {
	ctx := t.lapse.ctx
	ended, err := pairs.Access().ExpireSubject(ctx, laptop.Access.Subject, laptop.Access.ID) // the refresh has not changed the ID
	if err != nil {
		return err
	}
	t.note("log out all but the laptop", answer{status: 200, says: fmt.Sprintf("%d ended", ended)})
	t.note("the phone", t.lapse.header(phone.Access.Bearer))
	t.at(100 * time.Minute)
	t.note("with the new access token", t.lapse.header(second.Access.Bearer))
	_, err = pairs.Refresh(ctx, second.Refresh.Bearer, "admin")
	t.note("a scope that it lacks", oauthError(err))
	_, err = pairs.Refresh(ctx, laptop.Refresh.Bearer)
	t.note("the old refresh token again", oauthError(err))
	t.note("after which the session is dead", t.lapse.header(second.Access.Bearer))
	return t.err
}

// oauthError is the answer of a token endpoint to err, RFC 6749 section 5.2.
func oauthError(err error) answer {
	no, wrong := refusal(400, err), (*lapse.GrantError)(nil)
	switch {
	case errors.Is(err, lapse.ErrScope), errors.As(err, &wrong) && wrong.Field == "Scope":
		return answer{status: 400, says: "invalid_scope"}
	case wrong != nil:
		return answer{status: 400, says: "invalid_request: " + wrong.Field}
	case errors.Is(err, lapse.ErrUnauthenticated):
		no.says = "invalid_grant: " + no.says
	}
	return no
}

// devices prints where the subject is logged in: one line for each session.
func (t *tour) devices(pairs *lapse.Pairs, subject string) error {
	const day, instant = "Mon 15:04", "2 Jan 15:04"
	for tok, err := range pairs.Sessions(t.lapse.ctx, subject) {
		if err != nil {
			return err
		}
		refreshed := "never refreshed"
		if !tok.RotatedAt.IsZero() {
			refreshed = "refreshed " + tok.RotatedAt.Format(day)
		}
		t.line("%s  %-32s  lapse   %s: since %s, %s, until %s", t.now(), "logged in on", tok.Name,
			tok.IssuedAt.Format(day), refreshed, tok.ExpiresAt.Format(instant))
	}
	return nil
}

// note prints a step of lapse that has no counterpart in Django.
func (t *tour) note(what string, lapse answer) {
	t.line("%s  %-32s  lapse   %v", t.now(), what, lapse)
}

// shape prints the JSON of c with numbers in the place of the secrets.
func (t *tour) shape(what string, c lapse.TokenPair) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	access, refresh := t.lapse.number(c.Access.Bearer), t.lapse.number(c.Refresh.Bearer)
	names := strings.NewReplacer(c.Access.Bearer, fmt.Sprint("token ", access), c.Refresh.Bearer, fmt.Sprint("token ", refresh))
	t.line("%s  %-32s  lapse   200", t.now(), what)
	t.line("    %s", names.Replace(string(text)))
	return nil
}

// activation is the one-time token that a fork of temporary-tokens adds: a mail to a new
// user has a link with the token.
func activation(w io.Writer) error {
	t, err := newTour(w, lapse.Policy{TTL: 2880 * time.Minute, Renewal: lapse.RenewNever}, django{})
	if err != nil {
		return err
	}
	t.heading("A token in a mail, good for one use within two days",
		"ACTIVATION_TOKENS MINUTES 2880, in a table of its own",
		"Policy{TTL: 2880 * time.Minute, Renewal: RenewNever}; Issue with Grant.MaxUses 1")
	issued, err := t.lapse.tokens.Issue(t.lapse.ctx, lapse.Grant{Subject: "bob", MaxUses: 1})
	t.note("sent", t.lapse.given(issued, err))
	if err != nil {
		return err
	}
	t.at(day)
	t.note("the link is opened", t.lapse.request(1))
	t.note("and opened again", t.lapse.request(1))
	return t.err
}
