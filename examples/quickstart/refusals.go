package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// present authenticates bearer as a server does with every request. One errors.Is tells
// the three outcomes apart. who is for the transcript.
func (t *tour) present(m *lapse.Manager, bearer, who string) {
	tok, err := m.Authenticate(t.ctx, bearer)
	switch {
	case err == nil:
		t.say("good", brief(tok), who, "lives until %s", t.when(tok.ExpiresAt))
	case errors.Is(err, lapse.ErrUnauthenticated):
		t.say("refused 401", briefText(bearer), who, "%s", t.why(err))
	default: // could not tell
		t.say("failed 503", briefText(bearer), who, "%v", err)
	}
}

// why returns the reason of a refusal, for the log. The client gets the same 401 for
// every reason.
func (t *tour) why(err error) string {
	var r *lapse.Rejection
	errors.As(err, &r) // every refusal carries one
	switch {
	case errors.Is(err, lapse.ErrMalformed):
		return "malformed: nothing was looked up"
	case errors.Is(err, lapse.ErrUnknown):
		return "unknown: no such token here"
	case errors.Is(err, lapse.ErrReplaced):
		return "replaced: its token has a newer text"
	case errors.Is(err, lapse.ErrRefused):
		return "refused: the account is suspended"
	case errors.Is(err, lapse.ErrRevoked):
		return fmt.Sprintf("revoked: ended at %s, reason %q", t.when(r.At), r.Reason)
	default:
		return "expired: ran out at " + t.when(r.At)
	}
}

// refusals presents texts that a server refuses, and texts that it accepts.
func (t *tour) refusals() error {
	t.heading("Every other reason for a 401")
	t.clock.Add(5 * time.Minute)
	t.present(t.logins, mistyped(t.laptop.Bearer), "typo")

	stranger, err := t.issueElsewhere()
	if err != nil {
		return err
	}
	t.present(t.logins, stranger.Bearer, "other server")

	t.clock.Add(5 * time.Minute) // or its ID would begin like the stranger's
	t.script, err = t.issue(t.keys, "backup script")
	if err != nil {
		return err
	}
	t.present(t.logins, t.script.Bearer, "other prefix")
	t.present(t.keys, t.script.Bearer, "backup script")

	t.accounts.suspended[t.subject] = true
	t.present(t.logins, t.laptop.Bearer, "laptop")
	t.accounts.suspended[t.subject] = false
	t.present(t.logins, t.laptop.Bearer, "laptop")
	return nil
}

// issueElsewhere returns a well-formed token of another store.
func (t *tour) issueElsewhere() (lapse.Issued, error) {
	m, err := lapse.New(memory.New(), lapse.Config{Clock: t.clock})
	if err != nil {
		return lapse.Issued{}, err
	}
	return m.Issue(t.ctx, lapse.Grant{Subject: t.subject})
}

// mistyped returns text with one character of its secret changed.
func mistyped(text string) string {
	b := []byte(text)
	i := len(b) - 20
	if b[i]++; b[i] == '9'+1 || b[i] == 'Z'+1 || b[i] == 'z'+1 {
		b[i] = '0'
	}
	return string(b)
}
