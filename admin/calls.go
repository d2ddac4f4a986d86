package admin

import (
	"context"
	"errors"

	"github.com/seed-55daa01a/lapse"
)

// read calls a method that writes nothing.
func (c *Client) read(ctx context.Context, name string, p params, result any, each func(*part) error) error {
	return c.call(ctx, name, &p, result, each, lapse.ErrUnavailable)
}

// write calls a method that writes.
func (c *Client) write(ctx context.Context, name string, p params, result any) error {
	if a, ok := lapse.ActorFrom(ctx); ok {
		p.Note = a.Note
	}
	return c.call(ctx, name, &p, result, nil, lapse.ErrOutcomeUnknown)
}

// call calls a method. unanswered is the kind of the error of a call that the server may have got.
func (c *Client) call(ctx context.Context, name string, p *params, result any, each func(*part) error, unanswered error) error {
	for {
		if ctx.Err() != nil {
			return unreached(ctx, nil)
		}
		l, err := c.take(ctx)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { l.Close() })
		begun, err := l.ask(name, p, result, each)
		if !stop() || errors.As(err, new(broken)) {
			c.drop(l)
		} else {
			c.give(l)
		}
		switch {
		case !errors.As(err, new(broken)):
			return err
		case c.isClosed():
			return errors.Join(errClosed, unansweredOf(begun, unanswered))
		case begun:
			return lost(ctx, unanswered, err)
		case ctx.Err() != nil || !l.used:
			return unreached(ctx, err)
		}
		// The server has closed an idle connection, and has not got the request.
	}
}

// unansweredOf returns kind if the call has begun, else lapse.ErrUnavailable.
func unansweredOf(begun bool, kind error) error {
	if begun {
		return kind
	}
	return lapse.ErrUnavailable
}
