package lapsegrpc

import (
	"context"
	"errors"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/seed-55daa01a/lapse"
)

// Stream holds each stream by its token: grpc.ChainStreamInterceptor takes it. The doc of the package
// says when a stream ends, what renews its token, and which error a client gets.
func (g *Guard) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	rule := g.rule(info.FullMethod)
	if rule.NoToken {
		return handler(srv, ss)
	}
	hold, err := g.hold(ss.Context(), rule)
	if err != nil {
		return answer(ss.Context(), err)
	}
	defer hold.Release()
	s := &stream{ServerStream: ss, hold: hold, ctx: context.WithValue(hold.Context(), tokenKey{}, hold), rule: rule}
	err = handler(srv, s)
	if ended := s.ended(); ended != nil && ss.Context().Err() == nil {
		return ended
	}
	return err
}

// hold holds a stream whose context is ctx by the bearer in its metadata, which is good by rule.
func (g *Guard) hold(ctx context.Context, rule Rule) (*lapse.Hold, error) {
	text, err := bearer(ctx)
	if err != nil {
		return nil, err
	}
	hold, err := g.tokens.Hold(ctx, text)
	if err != nil {
		return nil, err
	}
	if err := rule.require(hold.Token()); err != nil {
		hold.Release()
		return nil, err
	}
	return hold, nil
}

// stream is a stream that ends with its hold.
type stream struct {
	grpc.ServerStream
	hold *lapse.Hold
	ctx  context.Context // that of hold, with hold
	rule Rule

	refused atomic.Bool // a message was no use, because the token is no good: hold ends soon
}

// Context returns a context that ends with the hold.
func (s *stream) Context() context.Context { return s.ctx }

// ended returns what the client gets because the hold has ended or is about to, or nil.
func (s *stream) ended() error {
	switch {
	case s.refused.Load():
		return answerRefused
	case s.ctx.Err() == nil:
		return nil
	}
	return answer(s.ServerStream.Context(), context.Cause(s.ctx))
}

// RecvMsg receives m until the hold ends. With Rule.Messages m is a use.
func (s *stream) RecvMsg(m any) error {
	err := s.untilEnd(func() error { return s.ServerStream.RecvMsg(m) })
	if err != nil || !s.rule.Messages {
		return err
	}
	if err = s.hold.Use(s.ctx); err == nil || errors.Is(err, lapse.ErrNotRenewable) {
		err = s.rule.require(s.hold.Token())
	}
	if errors.Is(err, lapse.ErrUnauthenticated) {
		s.refused.Store(true)
	}
	if err != nil {
		return answer(s.ServerStream.Context(), err)
	}
	return nil
}

// SendMsg sends m unless the hold ends first.
func (s *stream) SendMsg(m any) error {
	return s.untilEnd(func() error { return s.ServerStream.SendMsg(m) })
}

// untilEnd returns what call returns, or that the hold has ended. gRPC waits for the context of its
// own stream alone, so call goes on in that case, until the handler returns. A panic of call is one
// of untilEnd.
func (s *stream) untilEnd(call func() error) error {
	if err := s.ended(); err != nil {
		return err
	}
	returned := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			r.panicked = recover()
			returned <- r
		}()
		r.err = call()
	}()
	select {
	case r := <-returned:
		if r.panicked != nil {
			panic(r.panicked)
		}
		return r.err
	case <-s.ctx.Done():
		return s.ended()
	}
}

// result is how a call ended.
type result struct {
	err      error
	panicked any
}
