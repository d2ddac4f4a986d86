package lapse

import (
	"context"
	"time"
)

// textRow is a text, and how long after the last rotation it is presented.
type textRow struct {
	name   string
	unused bool // the current text of a plain token has not been used
	wait   time.Duration
	text   func(s *textScene) string
	stands standing
}

const ms = time.Millisecond

// authenticatingRows are the texts of a plain token or, with other waits, the access
// texts of a session.
func authenticatingRows(until time.Duration) []textRow {
	of := func(n int) func(s *textScene) string { return func(s *textScene) string { return s.texts[n] } }
	forged := func(generation uint32) func(s *textScene) string {
		return func(s *textScene) string {
			b, kind, prefix := s.authenticating()
			return s.forge(generation, b, kind, prefix)
		}
	}
	rows := []textRow{
		{"current, unused", true, ms, of(3), currentText},
		{"current, used", false, ms, of(3), currentText},
		{"current", false, ms, of(3), currentText},
		{"previous, before", true, until - ms, of(2), previousText},
		{"previous, before, current used", false, until - ms, of(2), previousText},
		{"previous, at", true, until, of(2), spentText},
		{"previous, after", false, until + ms, of(2), spentText},
		{"spent", true, ms, of(1), spentText},
		{"spent, the first", false, ms, of(0), spentText},
		{"ahead", false, ms, forged(4), aheadText},
		{"far ahead", true, ms, forged(1<<32 - 1), aheadText},
		{"any other: forged, current", false, ms, forged(3), unknownText},
		{"any other: forged, previous", true, ms, forged(2), unknownText},
		{"any other: the current one of another ID", false, ms, func(s *textScene) string {
			return respelled(s.other.Text("lapse"), "lapse", func(c *credential) { copy(c[:], s.id[:]) })
		}, unknownText},
		{"any other: under another ID", false, ms, func(s *textScene) string {
			return respelled(s.texts[3], "lapse", func(c *credential) { copy(c[:], s.other[:idLen]) })
		}, unknownText},
		{"any other: of no ID", false, ms, func(s *textScene) string { return credentialOf(9).Text("lapse") }, unknownText},
		{"any other: as one that refreshes", false, ms, func(s *textScene) string {
			var c credential
			_, _ = c.Parse(s.texts[3], "lapse", begin("lapse"))
			return c.Text("lapse_refresh")
		}, unknownText},
		{"any other: under another prefix", false, ms, func(s *textScene) string {
			var c credential
			_, _ = c.Parse(s.texts[3], "lapse", begin("lapse"))
			return c.Text("other")
		}, unknownText},
		{"any other: a tag of the other kind", false, ms, func(s *textScene) string {
			b, _, _ := s.authenticating()
			return s.forge(1, b, refreshSecret, "lapse")
		}, unknownText},
	}
	for n, name := range []string{"the first", "spent", "previous", "current"} {
		rows = append(rows, textRow{"any other: a wrong tag, " + name, false, ms, func(s *textScene) string {
			return respelled(s.texts[n], "lapse", func(c *credential) { c[len(c)-1] ^= 1 })
		}, unknownText})
	}
	return rows
}

// refreshRows are the refresh texts of a session.
func refreshRows() []textRow {
	of := func(n int) func(s *textScene) string { return func(s *textScene) string { return s.refresh[n] } }
	forged := func(generation uint32) func(s *textScene) string {
		return func(s *textScene) string {
			b, kind, prefix := s.refreshing()
			return s.forge(generation, b, kind, prefix)
		}
	}
	return []textRow{
		{"current", false, ms, of(3), currentText},
		{"previous, before", false, defaultGrace - ms, of(2), previousText},
		{"previous, at", false, defaultGrace, of(2), spentText},
		{"previous, after", false, defaultGrace + ms, of(2), spentText},
		{"spent", false, ms, of(1), spentText},
		{"spent, the first", false, ms, of(0), spentText},
		{"ahead", false, ms, forged(4), aheadText},
		{"any other: forged, current", false, ms, forged(3), unknownText},
		{"any other: forged, previous", false, ms, forged(2), unknownText},
		{"any other: as one that authenticates", false, ms, func(s *textScene) string {
			var c credential
			_, _ = c.Parse(s.refresh[3], "lapse_refresh", begin("lapse_refresh"))
			return c.Text("lapse")
		}, unknownText},
		{"any other: under another ID", false, ms, func(s *textScene) string {
			return respelled(s.refresh[3], "lapse_refresh", func(c *credential) { copy(c[:], s.other[:idLen]) })
		}, unknownText},
		{"any other: a wrong tag", false, ms, func(s *textScene) string {
			return respelled(s.refresh[1], "lapse_refresh", func(c *credential) { c[len(c)-1] ^= 1 })
		}, unknownText},
	}
}

// textVerb is a verb that takes a text. What it gives, if that is a text, is given.
type textVerb struct {
	name    string
	overlap time.Duration
	do      func(ctx context.Context, s *textScene, text string) (given []string, err error)
}

func textVerbs() []textVerb {
	checks := func(verb func(m *Manager, ctx context.Context, text string) (Token, error)) func(context.Context, *textScene, string) ([]string, error) {
		return func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := verb(s.m, ctx, text)
			return nil, err
		}
	}
	rotates := func(overlap time.Duration) func(context.Context, *textScene, string) ([]string, error) {
		return func(ctx context.Context, s *textScene, text string) ([]string, error) {
			i, err := s.m.Rotate(ctx, text, overlap)
			return given(err, i.Bearer), err
		}
	}
	return []textVerb{
		{"Authenticate", 0, checks((*Manager).Authenticate)},
		{"Hold", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			ctx, leave := context.WithCancel(ctx)
			defer leave()
			_, _, err := opened(s.m.Hold(ctx, text))
			return nil, err
		}},
		{"Peek", 0, checks((*Manager).Peek)},
		{"Renew", 0, checks((*Manager).Renew)},
		{"Delegate", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.m.Delegate(ctx, text, Grant{})
			return nil, err
		}},
		{"Rotate", textOverlap, rotates(textOverlap)},
		{"Rotate 0", 0, rotates(0)},
		{"Refresh", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			c, err := s.p.Refresh(ctx, text)
			return given(err, c.Access.Bearer, c.Refresh.Bearer), err
		}},
		{"Peek pair", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			_, err := s.p.Peek(ctx, text)
			return nil, err
		}},
		{"ExpireBearer", 0, checks((*Manager).ExpireBearer)},
		{"Expire pair", 0, func(ctx context.Context, s *textScene, text string) ([]string, error) {
			return nil, loggedOut(s.p.ExpireBearer(ctx, text))
		}},
	}
}

func given(err error, texts ...string) []string {
	if err != nil {
		return nil
	}
	return texts
}
