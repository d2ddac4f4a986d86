package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
)

// scsPeer is alexedwards/scs with its default codec, gob, over one of its stores.
// The rows call it as its middleware does: Load puts the session into a context, from which
// the values are read, and Commit writes the session.
type scsPeer struct {
	sessions *scs.SessionManager
	tokens   texts
}

func newSCS(store scs.Store, tokens texts) *scsPeer {
	m := scs.New()
	m.Store, m.Lifetime = store, longLife
	return &scsPeer{m, tokens}
}

// scsMemory returns n sessions in its store in memory.
func (w *world) scsMemory(n int) (*scsPeer, error) {
	return once(w, fmt.Sprintf("scs in memory, %s sessions", grouped(n)), func() (*scsPeer, error) {
		return fillSCS(n, map[string]any{"scope": scope})
	})
}

// fillSCS makes n sessions with a subject and the given values.
func fillSCS(n int, values map[string]any) (*scsPeer, error) {
	store := memstore.NewWithCleanupInterval(0)
	tokens := randomTexts(n)
	return newSCS(store, tokens), together(runtime.NumCPU(), n, func(i int) error {
		value, err := gobSession(subject(i), values, longLife)
		return cmp.Or(err, store.Commit(strings.Clone(tokens.at(i)), value, time.Now().Add(longLife)))
	})
}

// gobSession returns a session as scs stores it.
func gobSession(subject string, values map[string]any, life time.Duration) ([]byte, error) {
	all := map[string]any{"subject": subject}
	maps.Copy(all, values)
	return scs.GobCodec{}.Encode(time.Now().Add(life).UTC(), all)
}

// check loads a session and reads its values.
func (p *scsPeer) check(i int) error {
	ctx, err := p.sessions.Load(context.Background(), p.tokens.at(i))
	if err != nil {
		return err
	}
	if p.sessions.GetString(ctx, "subject") == "" || p.sessions.GetString(ctx, "scope") == "" {
		return errNothing
	}
	return nil
}

// renew loads a session, reads it and writes it back: with an idle timeout its
// middleware does that at every request.
func (p *scsPeer) renew(i int) error {
	ctx, err := p.sessions.Load(context.Background(), p.tokens.at(i))
	if err != nil {
		return err
	}
	if p.sessions.GetString(ctx, "subject") == "" {
		return errNothing
	}
	_, _, err = p.sessions.Commit(ctx)
	return err
}

// issue makes a session and writes it.
func (p *scsPeer) issue(subject func(i int) string) func(i int) error {
	return func(i int) error {
		_, err := p.issued(subject(i))
		return err
	}
}

// issued makes a session, writes it and returns its token.
func (p *scsPeer) issued(subject string) (token string, err error) {
	ctx, err := p.sessions.Load(context.Background(), "")
	if err != nil {
		return "", err
	}
	p.sessions.Put(ctx, "subject", subject)
	p.sessions.Put(ctx, "scope", scope)
	token, _, err = p.sessions.Commit(ctx)
	return token, err
}

// destroy ends a session: it is loaded, as its middleware does, and deleted.
func (p *scsPeer) destroy(token string) error {
	ctx, err := p.sessions.Load(context.Background(), token)
	if err != nil {
		return err
	}
	if p.sessions.GetString(ctx, "subject") == "" {
		return errNothing
	}
	return p.sessions.Destroy(ctx)
}

// randomTexts returns n tokens as scs draws them: 32 random bytes in base64.
func randomTexts(n int) texts {
	return makeTexts(n, func(int) string {
		var b [32]byte
		rand.Read(b[:])
		return base64.RawURLEncoding.EncodeToString(b[:])
	})
}
