package admin

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// Now returns Manager.Now of the server: the instant by which Token.Live says whether a token is alive.
func (c *Client) Now(ctx context.Context) (now time.Time, err error) {
	err = c.read(ctx, "now", params{}, &now, nil)
	return now, err
}

// Count is Manager.Count. With an error that wraps ErrCorrupt, n is how many tokens can be read.
func (c *Client) Count(ctx context.Context, q lapse.Query) (n int, err error) {
	if q.Next != nil {
		q.Limit = max(q.Limit, 1) // which Count refuses, as it refuses Next
	}
	var got result
	err = c.read(ctx, "count", params{Query: toQuery(q)}, &got, nil)
	return got.number(err), err
}

// Token is Manager.Token.
func (c *Client) Token(ctx context.Context, id lapse.ID) (lapse.Token, error) {
	var got result
	err := c.read(ctx, "show", params{ID: &id}, &got, nil)
	return got.Token.token(), err
}

// Peek is Manager.Peek of the Manager whose prefix the text has, and for a refresh text Pairs.Peek. A text
// that is not of lapse is asked of the Manager of c.
func (c *Client) Peek(ctx context.Context, bearer string) (lapse.Token, error) {
	var got result
	err := c.read(ctx, "verify", params{Bearer: sent(bearer), Prefix: c.prefix}, &got, nil)
	return got.Token.token(), err
}

// Issue is Manager.Issue of the Manager of c. A Grant.RequestID makes the call repeatable after
// ErrOutcomeUnknown.
func (c *Client) Issue(ctx context.Context, g lapse.Grant) (lapse.Issued, error) {
	var got issued
	err := c.write(ctx, "issue", params{Grant: toGrant(g), Prefix: c.prefix}, &got)
	return got.issued(), err
}

// IssuePair is Pairs.Issue of the Pairs of c, or of the first Pairs of the server.
func (c *Client) IssuePair(ctx context.Context, g lapse.Grant) (lapse.TokenPair, error) {
	var got pair
	err := c.write(ctx, "pair", params{Grant: toGrant(g), Prefix: c.prefix}, &got)
	return lapse.TokenPair{
		Access: lapse.IssuedText{Issued: got.Access.issued()}, Refresh: lapse.IssuedText{Issued: got.Refresh.issued()},
		ExpiresIn: lapse.Seconds(got.ExpiresIn), Scope: got.Scope,
	}, err
}

// RotateID is Manager.RotateID of the Manager of the prefix of the token.
func (c *Client) RotateID(ctx context.Context, id lapse.ID, overlap time.Duration) (lapse.Issued, error) {
	var got issued
	err := c.write(ctx, "rotate", params{ID: &id, Overlap: overlap}, &got)
	return got.issued(), err
}

// Expire is Manager.Expire.
func (c *Client) Expire(ctx context.Context, id lapse.ID) (ended bool, err error) {
	return c.change(ctx, "revoke", id)
}

// ExpireBearer is ExpireBearer of the Manager or the Pairs whose prefix the text has. A text that is not
// of lapse is asked of the Manager of c. It ends what the text proves, and nothing by the ID in a text.
func (c *Client) ExpireBearer(ctx context.Context, bearer string) (lapse.Token, error) {
	var got result
	err := c.write(ctx, "end", params{Bearer: sent(bearer), Prefix: c.prefix}, &got)
	return got.Token.token(), err
}

// ExpireSubject is Manager.ExpireSubject.
func (c *Client) ExpireSubject(ctx context.Context, subject string, keep ...lapse.ID) (ended int, err error) {
	var got result
	err = c.write(ctx, "logout", params{Subject: sent(subject), Keep: keep}, &got)
	return got.number(err), err
}

// Suspend is Manager.Suspend.
func (c *Client) Suspend(ctx context.Context, id lapse.ID) (changed bool, err error) {
	return c.change(ctx, "suspend", id)
}

// Resume is Manager.Resume.
func (c *Client) Resume(ctx context.Context, id lapse.ID) (changed bool, err error) {
	return c.change(ctx, "resume", id)
}

// Edit is Manager.Edit.
func (c *Client) Edit(ctx context.Context, id lapse.ID, changes lapse.Changes) (lapse.Token, error) {
	var got result
	err := c.write(ctx, "edit", params{ID: &id, Changes: toChanges(changes)}, &got)
	return got.Token.token(), err
}

// ForgetSubject is Manager.ForgetSubject.
func (c *Client) ForgetSubject(ctx context.Context, subject string) (deleted int, err error) {
	var got result
	err = c.write(ctx, "forget", params{Subject: sent(subject)}, &got)
	return got.number(err), err
}

// Sweep is Manager.Sweep of the Manager of c.
func (c *Client) Sweep(ctx context.Context) (deleted int, err error) {
	var got result
	err = c.write(ctx, "sweep", params{Prefix: c.prefix}, &got)
	return got.number(err), err
}

// Compact is Compact of Server.Store.
func (c *Client) Compact(ctx context.Context) error { return c.write(ctx, "compact", params{}, nil) }

// change calls a method that takes an ID and returns whether it did something.
func (c *Client) change(ctx context.Context, name string, id lapse.ID) (bool, error) {
	var got result
	err := c.write(ctx, name, params{ID: &id}, &got)
	return got.Done != nil && *got.Done, err
}

// number returns the N of r, or that of err.
func (r *result) number(err error) int {
	var failed *failure
	switch {
	case errors.As(err, &failed):
		return failed.n
	case r.N == nil:
		return 0
	}
	return *r.N
}

// sent returns the text of a question, which may be empty.
func sent(text string) *string { return validField(&text) }
