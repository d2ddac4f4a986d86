package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// plainMap is a store of ten lines: a locked map keyed by the token itself. A reader of the
// memory has every token.
type plainMap struct {
	mu       sync.RWMutex
	sessions map[string]session
	tokens   texts
}

type session struct {
	subject string
	scope   string
	expires time.Time
}

func (w *world) plainMap(n int) (*plainMap, error) {
	return once(w, fmt.Sprintf("plain map, %s tokens", grouped(n)), func() (*plainMap, error) {
		p := &plainMap{sessions: make(map[string]session, n), tokens: randomTexts(n)}
		for i := range n {
			// a key of its own: comparing a text with itself would be free
			p.sessions[strings.Clone(p.tokens.at(i))] = session{subject(i), scope, time.Now().Add(longLife)}
		}
		return p, nil
	})
}

func (p *plainMap) check(i int) error {
	p.mu.RLock()
	s, ok := p.sessions[p.tokens.at(i)]
	p.mu.RUnlock()
	if !ok || s.subject == "" || !time.Now().Before(s.expires) {
		return errNothing
	}
	return nil
}
