package lapsegrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	"github.com/seed-55daa01a/lapse"
)

// Rule says what the calls of a method need. The zero Rule wants a good token and no scope.
type Rule struct {
	// NoToken lets every call pass. A bearer is not looked at, and TokenFrom finds no token. The other
	// fields are zero then, or New returns an error.
	NoToken bool

	// Scope has the words that the token must have, with spaces between them (lapse.Require). On a
	// stream they are asked for when it opens, and with Messages also with each message.
	Scope string

	// Peek has calls of a unary method judged by lapse.Manager.Peek: they are no use of the token.
	// A stream ignores Peek.
	Peek bool

	// Messages has each message that the handler of a stream receives count as a use
	// (lapse.Hold.Use). A message of a token with a budget is none. A unary method ignores Messages.
	Messages bool
}

// contradicts reports whether r wants no token, and something of it.
func (r Rule) contradicts() bool { return r.NoToken && r != Rule{NoToken: true} }

// Options are the rules of a server. With the zero Options every method wants a good token.
type Options struct {
	// Methods has the rules by the full name of the method: "/package.Service/Method".
	Methods map[string]Rule

	// Default is the rule of every other method, those that the server does not know among them.
	Default Rule
}

// Guard has the interceptors of one server. New makes one. It is safe for concurrent use.
type Guard struct {
	tokens *lapse.Manager
	rules  Options
}

// New returns a Guard by the tokens of a Manager. It keeps o: do not change the map afterwards.
// lapse.ErrInvalidConfig says that tokens is nil, or names a method whose name is not of the form
// "/package.Service/Method" or whose Rule has NoToken and asks something of the token.
func New(tokens *lapse.Manager, o Options) (*Guard, error) {
	if tokens == nil {
		return nil, fmt.Errorf("%w: lapsegrpc: tokens is nil; lapse.New makes a Manager", lapse.ErrInvalidConfig)
	}
	if o.Default.contradicts() {
		return nil, fmt.Errorf("%w: lapsegrpc: the Default has NoToken and asks something of the token; leave out either", lapse.ErrInvalidConfig)
	}
	for method, rule := range o.Methods {
		service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		if !ok || method[0] != '/' || service == "" || name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%w: lapsegrpc: method %q; write /package.Service/Method", lapse.ErrInvalidConfig, method)
		}
		if rule.contradicts() {
			return nil, fmt.Errorf("%w: lapsegrpc: the rule of %q has NoToken and asks something of the token; leave out either", lapse.ErrInvalidConfig, method)
		}
	}
	return &Guard{tokens: tokens, rules: o}, nil
}

// Check returns lapse.ErrInvalidConfig if Options.Methods names a method that is not in services:
// by a spelling mistake the method that was meant would have the Default rule. Call it with
// GetServiceInfo of the server, when all services are registered.
func (g *Guard) Check(services map[string]grpc.ServiceInfo) error {
	served := make(map[string]bool)
	for service, info := range services {
		for _, method := range info.Methods {
			served["/"+service+"/"+method.Name] = true
		}
	}
	for method := range g.rules.Methods {
		if !served[method] {
			return fmt.Errorf("%w: lapsegrpc: the server has no method %q; correct the rule, or remove it", lapse.ErrInvalidConfig, method)
		}
	}
	return nil
}

// rule returns the rule of a method by its full name.
func (g *Guard) rule(method string) Rule {
	if r, ok := g.rules.Methods[method]; ok {
		return r
	}
	return g.rules.Default
}

// Unary judges each call of a unary method once, before its handler runs: grpc.ChainUnaryInterceptor
// takes it. The doc of the package says which error a client gets. A token that ends while the handler
// runs does not end the call.
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	rule := g.rule(info.FullMethod)
	if rule.NoToken {
		return handler(ctx, req)
	}
	tok, err := g.authenticate(ctx, rule)
	if err != nil {
		return nil, answer(ctx, err)
	}
	return handler(context.WithValue(ctx, tokenKey{}, &tok), req)
}

// authenticate returns the token of the bearer in the metadata of ctx, which is good by rule.
func (g *Guard) authenticate(ctx context.Context, rule Rule) (tok lapse.Token, err error) {
	text, err := bearer(ctx)
	if err != nil {
		return tok, err
	}
	judge := g.tokens.Authenticate
	if rule.Peek {
		judge = g.tokens.Peek
	}
	if tok, err = judge(ctx, text); err != nil {
		return tok, err
	}
	return tok, rule.require(tok)
}

// require returns lapse.ErrScope if tok lacks a word of r.Scope.
func (r Rule) require(tok lapse.Token) error {
	return lapse.Require(tok, strings.Fields(r.Scope)...)
}

// tokenKey is the key of a *lapse.Token, or of the *lapse.Hold of a stream, among the values of a
// context.
type tokenKey struct{}

// TokenFrom returns the token of the call whose context is ctx. On a stream it is the token as
// lapse.Hold.Token returns it now. ok is false if the method needs no token.
func TokenFrom(ctx context.Context) (tok lapse.Token, ok bool) {
	switch v := ctx.Value(tokenKey{}).(type) {
	case *lapse.Token:
		return *v, true
	case *lapse.Hold:
		return v.Token(), true
	}
	return tok, false
}

// HoldFrom returns the Hold of the stream whose context is ctx, for a handler that warns its client
// (lapse.Hold.WarnFunc) or has uses of its own. The handler does not release it. ok is false if ctx is
// not that of a stream, or the method needs no token.
func HoldFrom(ctx context.Context) (hold *lapse.Hold, ok bool) {
	hold, ok = ctx.Value(tokenKey{}).(*lapse.Hold)
	return hold, ok
}

// errNoBearer says that the metadata of a call has no bearer.
var errNoBearer = errors.New("lapsegrpc: no bearer")
