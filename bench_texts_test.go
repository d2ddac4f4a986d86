package lapse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/ratio"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// refused is a kind of text that is refused by one read and no write.
type refused struct {
	name string
	want error
	text func(s *textScene) string
}

// refusedTexts are the ways in which Authenticate refuses.
func refusedTexts() []refused {
	wrong := func(c *credential) { c[idLen+generationLen] ^= 1 }
	return []refused{
		{"unknown ID", ErrUnknown, func(s *textScene) string { return respelled(s.texts[3], "lapse", func(c *credential) { c[8] ^= 1 }) }},
		{"wrong secret", ErrUnknown, func(s *textScene) string { return respelled(s.first("plain").Bearer, "lapse", wrong) }},
		{"forged tag", ErrUnknown, func(s *textScene) string { return respelled(s.texts[3], "lapse", wrong) }},
		{"wrong prefix", ErrUnknown, func(s *textScene) string {
			var c credential
			_, _ = c.Parse(s.texts[3], "lapse", begin("lapse"))
			return c.Text("lapso")
		}},
		{"record of another prefix", ErrUnknown, func(s *textScene) string {
			i, err := s.p.refresh.Issue(context.Background(), Grant{Subject: s.subject})
			s.need(err)
			var c credential
			_, _ = c.Parse(i.Bearer, "lapse_refresh", begin("lapse_refresh"))
			return c.Text("lapse")
		}},
		{"spent", ErrReplaced, func(s *textScene) string { return s.texts[1] }},
		{"spent, the first", ErrReplaced, func(s *textScene) string { return s.texts[0] }},
		{"spent, the previous", ErrReplaced, func(s *textScene) string {
			i, err := s.m.Rotate(context.Background(), s.texts[3], 0)
			s.need(err)
			_ = i
			return s.texts[3]
		}},
		{"spent access text", ErrReplaced, func(s *textScene) string { return s.scene("session", true).texts[1] }},
		{"forged access text", ErrUnknown, func(s *textScene) string { return respelled(s.scene("session", true).texts[3], "lapse", wrong) }},
		{"ended", ErrRevoked, func(s *textScene) string {
			i := s.first("ended")
			_, err := s.m.Expire(context.Background(), i.ID)
			s.need(err)
			return i.Bearer
		}},
		{"ended and rotated", ErrRevoked, func(s *textScene) string {
			s = s.scene("plain", true)
			_, err := s.m.Expire(context.Background(), s.id)
			s.need(err)
			return s.texts[3]
		}},
		{"ran out", ErrExpired, func(s *textScene) string {
			i, err := s.m.Issue(context.Background(), Grant{Subject: s.subject, TTL: time.Millisecond})
			s.need(err)
			s.wait(time.Millisecond)
			return i.Bearer
		}},
		{"ended access text", ErrRevoked, func(s *textScene) string {
			s = s.scene("session", true)
			_, err := s.m.Expire(context.Background(), s.id)
			s.need(err)
			return s.texts[3]
		}},
	}
}

// benchTexts returns a scene whose Managers have no Observe.
func benchTexts(b *testing.B, kind string) *textScene {
	b.Helper()
	s := newTextWorld(b, memory.New()).scene(kind, true)
	s.m.observe, s.p.refresh.observe = nil, nil
	return s
}

// BenchmarkWorkingTexts sets what works beside the text of a plain token that was never
// rotated, whose record keeps nothing sealed.
func BenchmarkWorkingTexts(b *testing.B) {
	s := benchTexts(b, "plain")
	s.m.policy.RenewEvery, s.p.refresh.policy.RenewEvery = never, never
	ctx, rotated := context.Background(), s.scene("plain", true)
	plain := s.first("plain")
	_, err := s.m.Rotate(ctx, s.texts[3], textOverlap)
	s.need(err)
	uses := func(text string) func(int) {
		return func(int) {
			if _, err := s.m.Authenticate(ctx, text); err != nil {
				b.Fatal(err)
			}
		}
	}
	session := s.scene("session", true)
	for _, row := range []struct{ name, text string }{
		{"rotated", rotated.texts[3]},
		{"access", session.texts[3]},
		{"previous", s.texts[3]},
		{"previous access", session.texts[2]},
	} {
		b.Run(fmt.Sprintf("%s/peer=plain", row.name), func(b *testing.B) { ratio.Of(b, 200, uses(row.text), uses(plain.Bearer)) })
	}
}

// BenchmarkRefusedTexts: how long a refusal takes tells little of why. Each pays for one
// digest, one tag and one read.
func BenchmarkRefusedTexts(b *testing.B) {
	refuses := func(r refused, s *textScene) func(int) {
		text, ctx := r.text(s), context.Background()
		return func(int) {
			if _, err := s.m.Authenticate(ctx, text); !errors.Is(err, r.want) {
				b.Fatalf("%s: %v; want %v", r.name, err, r.want)
			}
		}
	}
	s := benchTexts(b, "plain")
	rows := refusedTexts()
	unknown := refuses(rows[0], s)
	for _, r := range rows[1:] {
		thing := refuses(r, s)
		b.Run(fmt.Sprintf("%s/peer=unknownID", r.name), func(b *testing.B) { ratio.Of(b, 200, thing, unknown) })
	}
}

// BenchmarkReplayOfADeadSession: a refresh text that was replaced, of a session that is
// dead, costs one read and takes no lock.
func BenchmarkReplayOfADeadSession(b *testing.B) {
	s := benchTexts(b, "session")
	s.m.policy.RenewEvery = never
	ctx, plain := context.Background(), s.scene("plain", true)
	bearer := plain.first("checked").Bearer
	_, err := s.m.Expire(ctx, s.id)
	s.need(err)
	replay := func(int) {
		if _, err := s.p.Refresh(ctx, s.refresh[1]); !errors.Is(err, ErrReused) {
			b.Fatal(err)
		}
	}
	check := func(int) {
		if _, err := s.m.Authenticate(ctx, bearer); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("peer=check", func(b *testing.B) { ratio.Of(b, 200, replay, check) })
}

// refreshingAnew returns a function that refreshes one session again and again, and logs in
// again once it has done that a number of times.
func refreshingAnew(b *testing.B, times int) func(int) {
	b.Helper()
	p, err := NewPairs(memory.New(), PairConfig{Refresh: Config{Policy: Policy{MaxTokens: NoTokenLimit}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, left, c := context.Background(), 0, TokenPair{}
	return func(int) {
		if left == 0 {
			left = times
			c, err = p.Issue(ctx, Grant{Subject: "ana", Name: "phone", Scope: "read write"})
		}
		if left--; err == nil {
			c, err = p.Refresh(ctx, c.Refresh.Bearer)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefresh: the 10,000th refresh of a session costs what its first ones did, and
// no more than three times what it costs to issue a token.
func BenchmarkRefresh(b *testing.B) {
	const n = 100
	late, ctx := refreshingAnew(b, math.MaxInt), context.Background()
	for i := range 10_000 {
		late(i)
	}
	b.Run("the10000th/peer=thefirst100", func(b *testing.B) { ratio.Of(b, n, late, refreshingAnew(b, n)) })
	b.Run("one/peer=issue", func(b *testing.B) {
		m, _ := benchManager(b, 0, never, nil)
		subjects := make([]string, 100_000)
		for i := range subjects {
			subjects[i] = fmt.Sprint("subject ", i)
		}
		ratio.Of(b, n, late, func(i int) {
			if _, err := m.Issue(ctx, Grant{Subject: subjects[i%len(subjects)], Name: "phone", Scope: "read write"}); err != nil {
				b.Fatal(err)
			}
		})
	})
}
