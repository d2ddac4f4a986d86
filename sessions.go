package lapse

import (
	"context"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// Sessions yields the live sessions of subject that these Pairs made, in the order of
// their IDs. Of each it tells when it was logged in (IssuedAt), last refreshed
// (RotatedAt), last used (LastUsedAt), until when it lives unless it is refreshed
// (ExpiresAt), and which device it is (Name). Token.ID is what Manager.Expire and the
// keep of ExpireSubject take. The loop body may call any verb.
//
// An error that wraps ErrCorrupt stands for one record that is damaged, and the loop goes
// on; any other error is the last pair. ErrInvalidGrant means that no session can have
// such a subject.
func (p *Pairs) Sessions(ctx context.Context, subject string) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		var now time.Time
		ours := func(rec *storage.Record) bool {
			now = p.access.now() // before the record is judged, as Manager.earlier demands
			return p.refresh.owns(rec)
		}
		for tok, err := range p.access.tokens(ctx, "sessions", subject, ours) {
			if err == nil && !tok.Live(now) {
				continue
			}
			if !yield(tok, err) {
				return
			}
		}
	}
}

// Peek judges a refresh text as Refresh would, and changes nothing: it returns the
// session whose text it is. A text that was replaced is ErrReplaced, except within its
// grace, and the session lives on. A new text that is shown to Peek alone counts as not
// presented. Errors are otherwise those of Refresh.
func (p *Pairs) Peek(ctx context.Context, refreshToken string) (Token, error) {
	_, tok, err := p.refresh.good(ctx, "peek pair", refreshToken)
	if err != nil {
		return Token{}, err
	}
	return tok, nil
}

// ExpireBearer ends the session whose text bearer is, access or refresh text, as its client
// logs out: with EndRevoked, and what was delegated from it with EndParent, in one
// transaction. A text that was replaced ends the session as well; a replaced refresh text
// does so with EndReused. It returns the session as it is then. To end what is dead
// already is no error. Admit is not asked. It is durable before it returns. Of a plain
// token of the access prefix it is Manager.ExpireBearer.
//
// Errors are ErrMalformed and ErrUnknown, ErrReplaced as from Manager.ExpireBearer, or
// the store's, ErrOutcomeUnknown among them. (RFC 7009 section 2.2 answers the first
// three like a success.)
func (p *Pairs) ExpireBearer(ctx context.Context, bearer string) (Token, error) {
	return p.managerOf(bearer).expireBearer(ctx, "expire bearer", bearer)
}

// managerOf returns the Manager whose prefix text has: that of access texts where it has
// another one, or is malformed.
func (p *Pairs) managerOf(text string) *Manager {
	var c bearer.Credential
	if prefix, ok := c.Parse(text, p.access.prefix, p.access.begun); ok && prefix == p.refresh.prefix {
		return p.refresh
	}
	return p.access
}
