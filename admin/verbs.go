package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/bearer"
)

// errNoPrefix is the error for a prefix that no Manager, or no Pairs, of the server have.
var errNoPrefix = fmt.Errorf("admin: no Manager of this prefix serves the verb; Hello says which there are: %w", errors.ErrUnsupported)

// errNoStore is the error of Backup, Compact and StoreStats without Server.Store.
var errNoStore = fmt.Errorf("admin: the program gave no Server.Store: %w", errors.ErrUnsupported)

// manager returns the Manager of prefix, the first for "".
func (v *verbs) manager(prefix string) (*lapse.Manager, error) {
	for _, m := range v.managers {
		if prefix == "" || m.Prefix() == prefix {
			return m, nil
		}
	}
	return nil, errNoPrefix
}

// managersOf returns the Managers of prefix, all for "".
func (v *verbs) managersOf(prefix string) ([]*lapse.Manager, error) {
	if prefix == "" {
		return v.managers, nil
	}
	m, err := v.manager(prefix)
	return []*lapse.Manager{m}, err
}

// pairsOf returns the Pairs whose access texts have prefix, all for "".
func (v *verbs) pairsOf(prefix string) (all []*lapse.Pairs, err error) {
	for _, p := range v.pairs {
		if prefix == "" || p.Access().Prefix() == prefix {
			all = append(all, p)
		}
	}
	if all == nil {
		return nil, errNoPrefix
	}
	return all, nil
}

// any returns the Manager for verbs that reach the tokens of every prefix.
func (v *verbs) any() *lapse.Manager { return v.managers[0] }

// result is the answer of a verb that returns one value.
type result struct {
	Done  *bool  `json:"done,omitempty"`
	N     *int   `json:"n,omitempty"`
	Token *token `json:"token,omitempty"`
	Next  string `json:"next,omitempty"`
}

// done, number and one return the result of a verb, or its error.
func done(ok bool, err error) (any, error)        { return result{Done: &ok}, err }
func one(tok lapse.Token, err error) (any, error) { return result{Token: toToken(tok)}, err }
func number(n int, err error) (any, error) {
	if err != nil {
		return nil, &partial{err, n}
	}
	return result{N: &n}, nil
}

// partial is the error of a verb that returns a number with its error.
type partial struct {
	error
	n int
}

// Unwrap returns the error.
func (p *partial) Unwrap() error { return p.error }

func (v *verbs) hello(_ context.Context, c *call) (any, error) {
	if c.p.Version != version {
		return nil, fmt.Errorf("%w: this server speaks version %d; use the same version of lapse on both ends", ErrProtocol, version)
	}
	c.greeted = true
	h := Hello{Version: version, Store: v.store != nil, Full: c.caller.Full}
	for _, m := range v.managers {
		h.Prefixes = append(h.Prefixes, Prefix{Prefix: m.Prefix(), Refresh: v.refreshPrefix(m)})
	}
	return h, nil
}

// refreshPrefix returns the prefix of the refresh texts of the Pairs of m, "" if there are none.
func (v *verbs) refreshPrefix(m *lapse.Manager) string {
	for _, p := range v.pairs {
		if p.Access() == m {
			return p.RefreshPrefix()
		}
	}
	return ""
}

func (v *verbs) now(context.Context, *call) (any, error) { return v.any().Now(), nil }

func (v *verbs) count(ctx context.Context, c *call) (any, error) {
	return number(v.any().Count(ctx, c.p.Query.query()))
}

func (v *verbs) show(ctx context.Context, c *call) (any, error) {
	return one(v.any().Token(ctx, *c.p.ID))
}

func (v *verbs) verify(ctx context.Context, c *call) (any, error) {
	m, pairs, err := v.ofText(ctx, c.p)
	switch {
	case err != nil:
		return nil, err
	case pairs != nil:
		return one(pairs.Peek(ctx, *c.p.Bearer))
	}
	return one(m.Peek(ctx, *c.p.Bearer))
}

func (v *verbs) end(ctx context.Context, c *call) (any, error) {
	m, pairs, err := v.ofText(ctx, c.p)
	switch {
	case err != nil:
		return nil, err
	case pairs != nil:
		return one(pairs.ExpireBearer(ctx, *c.p.Bearer))
	}
	return one(m.ExpireBearer(ctx, *c.p.Bearer))
}

// ofText returns the Manager, or the Pairs, to which the bearer of p belongs by its prefix. A text that
// is none of lapse belongs to the Manager of the prefix of p, which may have Config.Foreign.
func (v *verbs) ofText(ctx context.Context, p *params) (m *lapse.Manager, pairs *lapse.Pairs, err error) {
	var c bearer.Credential
	if prefix, ok := c.Parse(*p.Bearer, ""); ok {
		if pairs := v.refreshing(ctx, prefix, c.ID()); pairs != nil {
			return nil, pairs, nil
		}
		if m, err := v.manager(prefix); err == nil {
			return m, nil, nil
		}
		if _, err := v.any().Token(ctx, c.ID()); err == nil {
			return nil, nil, errNoPrefix // and not unknown, since the token may live
		}
	}
	m, err = v.manager(p.Prefix)
	return m, nil, err
}

// refreshing returns the Pairs whose refresh texts have prefix, or nil. Of several, those are meant whose access texts
// have the prefix of the record of id.
func (v *verbs) refreshing(ctx context.Context, prefix string, id lapse.ID) *lapse.Pairs {
	all := slices.DeleteFunc(slices.Clone(v.pairs), func(p *lapse.Pairs) bool { return p.RefreshPrefix() != prefix })
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	tok, _ := v.any().Token(ctx, id) // after an error any Pairs meet the same one
	at := slices.IndexFunc(all, func(p *lapse.Pairs) bool { return p.Access().Prefix() == tok.Prefix })
	return all[max(at, 0)]
}

func (v *verbs) issue(ctx context.Context, c *call) (any, error) {
	m, err := v.manager(c.p.Prefix)
	if err != nil {
		return nil, err
	}
	i, err := m.Issue(ctx, c.p.Grant.grant())
	return toIssued(i), err
}

func (v *verbs) issuePair(ctx context.Context, c *call) (any, error) {
	pairs, err := v.pairsOf(c.p.Prefix)
	if err != nil {
		return nil, err
	}
	p, err := pairs[0].Issue(ctx, c.p.Grant.grant())
	return pair{toIssued(p.Access.Issued), toIssued(p.Refresh.Issued), time.Duration(p.ExpiresIn), p.Scope}, err
}

// rotate asks the Manager of the prefix of the token, since no other has the token.
func (v *verbs) rotate(ctx context.Context, c *call) (any, error) {
	tok, err := v.any().Token(ctx, *c.p.ID)
	if err != nil {
		return nil, err
	}
	m, err := v.manager(tok.Prefix)
	if err != nil {
		return nil, err
	}
	i, err := m.RotateID(ctx, tok.ID, c.p.Overlap)
	return toIssued(i), err
}

func (v *verbs) revoke(ctx context.Context, c *call) (any, error) {
	return done(v.any().Expire(ctx, *c.p.ID))
}

func (v *verbs) logout(ctx context.Context, c *call) (any, error) {
	return number(v.any().ExpireSubject(ctx, *c.p.Subject, c.p.Keep...))
}

func (v *verbs) suspend(ctx context.Context, c *call) (any, error) {
	return done(v.any().Suspend(ctx, *c.p.ID))
}

func (v *verbs) resume(ctx context.Context, c *call) (any, error) {
	return done(v.any().Resume(ctx, *c.p.ID))
}

func (v *verbs) edit(ctx context.Context, c *call) (any, error) {
	return one(v.any().Edit(ctx, *c.p.ID, c.p.Changes.changes()))
}

func (v *verbs) forget(ctx context.Context, c *call) (any, error) {
	return number(v.any().ForgetSubject(ctx, *c.p.Subject))
}

func (v *verbs) sweep(ctx context.Context, c *call) (any, error) {
	m, err := v.manager(c.p.Prefix)
	if err != nil {
		return nil, err
	}
	return number(m.Sweep(ctx))
}

func (v *verbs) compact(ctx context.Context, _ *call) (any, error) {
	if v.store == nil {
		return nil, errNoStore
	}
	return result{}, v.store.Compact(ctx)
}
