package main

import (
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// welcome says where and when we are.
func (t *tour) welcome() error {
	where := "a temporary bbolt file"
	if t.tempDir == "" {
		where = t.path
	}
	t.line("Tokens of %s in %s.", t.subject, where)
	t.line("A mock clock tells the time; it is %s.", t.clock.Now().Format("Mon 2 Jan 2006, 15:04"))
	return nil
}

// lookBack lists the tokens of an earlier run, and sweeps those that have been dead for
// long.
func (t *tour) lookBack() error {
	if len(t.earlier) == 0 {
		return nil
	}
	t.heading("An earlier run left %s in this file", count(len(t.earlier), "token"))
	for _, tok := range t.earlier {
		t.sayState(tok)
	}
	deleted, err := t.logins.Sweep(t.ctx)
	if err != nil {
		return err
	}
	t.note("swept", "%s, dead for over 24 hours", count(deleted, "record"))
	return nil
}

// slide shows what keeps a token alive, and what does not.
func (t *tour) slide() error {
	t.heading("A token lives for 30 minutes, and each use gives it 30 more")
	laptop, err := t.issue(t.logins, "laptop")
	if err != nil {
		return err
	}
	t.present(t.logins, laptop.Bearer, "laptop")

	t.clock.Add(25 * time.Minute)
	t.present(t.logins, laptop.Bearer, "laptop")

	t.clock.Add(25 * time.Minute)
	tok, err := t.logins.Renew(t.ctx, laptop.Bearer)
	if err != nil {
		return err
	}
	t.say("renewed", brief(tok), tok.Name, "lives until %s: its holder asked for it", t.when(tok.ExpiresAt))

	t.clock.Add(29 * time.Minute)
	tok, err = t.logins.Peek(t.ctx, laptop.Bearer)
	if err != nil {
		return err
	}
	t.say("peeked", brief(tok), tok.Name, "lives until %s: a peek renews nothing", t.when(tok.ExpiresAt))

	t.clock.Add(time.Minute)
	t.present(t.logins, laptop.Bearer, "laptop")
	return nil
}

// reachCap uses a token all day, until MaxTTL ends the token.
func (t *tour) reachCap() error {
	t.heading("However often it is used, its cap ends it: MaxTTL, 8 hours here")
	t.clock.Add(10 * time.Minute)
	desk, err := t.issue(t.logins, "desk")
	if err != nil {
		return err
	}
	tok, uses := desk.Token, 0
	for t.clock.Now().Add(25 * time.Minute).Before(desk.MaxExpiresAt) {
		t.clock.Add(25 * time.Minute)
		tok, err = t.logins.Authenticate(t.ctx, desk.Bearer)
		if err != nil {
			return err
		}
		uses++
	}
	t.say("good", brief(tok), tok.Name, "%s, 25 minutes apart: lives until %s", count(uses, "use"), t.when(tok.ExpiresAt))

	t.clock.Set(desk.MaxExpiresAt)
	t.present(t.logins, desk.Bearer, "desk")
	return nil
}

// logOutElsewhere ends all tokens of the subject except the laptop's.
func (t *tour) logOutElsewhere() error {
	t.heading("Log out everywhere but here")
	var devices []lapse.Issued
	for _, name := range []string{"laptop", "phone", "tablet"} {
		t.clock.Add(5 * time.Minute)
		device, err := t.issue(t.logins, name)
		if err != nil {
			return err
		}
		devices = append(devices, device)
	}
	t.laptop = devices[0]

	t.clock.Add(5 * time.Minute)
	ended, err := t.logins.ExpireSubject(t.ctx, t.subject, t.laptop.ID)
	if err != nil {
		return err
	}
	t.say("logged out", brief(t.laptop.Token), "laptop", "stays; %s ended, for good", count(ended, "other token"))
	for _, device := range devices {
		t.present(t.logins, device.Bearer, device.Name)
	}
	return nil
}

// list shows the records of the living and the dead, as a page "your devices" or
// an administrator would see them.
func (t *tour) list() error {
	t.heading("The dead stay on record until they are swept, and say how they died")
	for tok, err := range t.logins.List(t.ctx, lapse.Query{Subject: t.subject}) {
		if err != nil {
			return err
		}
		t.sayState(tok)
	}
	return nil
}

// rotate gives the script's token a new text. The token keeps its ID, its place in every
// list, and its connections.
func (t *tour) rotate() error {
	const overlap = 5 * time.Minute
	t.heading("A new text for the same token: the old one works for 5 minutes more, here")
	old := t.script
	next, err := t.keys.Rotate(t.ctx, old.Bearer, overlap)
	if err != nil {
		return err
	}
	if next.ID != old.ID {
		return errors.New("a rotation has changed the ID")
	}
	t.script, t.issued = next, append(t.issued, next)
	t.say("rotated", brief(next.Token), next.Name, "lives until %s, under the same ID", t.when(next.ExpiresAt))
	t.present(t.keys, old.Bearer, "with old text")
	t.clock.Add(overlap)
	t.present(t.keys, old.Bearer, "with old text")
	t.present(t.keys, next.Bearer, "with new text")
	return nil
}

// issue makes a token; every token of this tour comes from here. A server would send the
// Bearer to the client and forget the text.
func (t *tour) issue(m *lapse.Manager, name string) (lapse.Issued, error) {
	tok, err := m.Issue(t.ctx, lapse.Grant{Subject: t.subject, Name: name})
	if err != nil {
		return tok, err
	}
	t.issued = append(t.issued, tok)
	t.say("issued", brief(tok.Token), tok.Name, "lives until %s", t.when(tok.ExpiresAt))
	return tok, nil
}
