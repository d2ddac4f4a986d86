package lapsehttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// Options say where a Guard finds the bearer of a request. With the zero Options it is the header
// Authorization, with the scheme Bearer.
type Options struct {
	// Realm stands in each challenge: printable ASCII without quote and backslash. "" is the prefix
	// of the Manager.
	Realm string

	// Cookie is the name of a cookie whose value is a bearer, for requests without the header
	// Authorization. "" reads no cookie.
	Cookie string

	// CrossOrigin refuses a request that has its bearer from the cookie. Besides what its Check
	// refuses, it refuses requests of other origins that open a stream: those to Stream and Hold, and
	// those with the header Upgrade. nil is a new http.CrossOriginProtection.
	CrossOrigin *http.CrossOriginProtection

	// Query reads the bearer of a request without the header Authorization from access_token of the
	// query (RFC 6750 section 2.3). URLs stand in logs and histories: use Query only for clients that
	// can do nothing else. Without Query a request with that parameter is refused.
	Query bool

	// DPoP has the algorithms of RFC 9449, as "ES256", and has tokens that are bound to a key accepted
	// with the scheme DPoP, and in no other way. Each 401 names them. "" is for servers whose tokens are
	// bound to no key, or to the certificate of the connection.
	DPoP string
}

// Guard has the middleware of one server. New makes one. It is safe for concurrent use.
type Guard struct {
	tokens *lapse.Manager
	o      Options
	realm  string // with its name and quotes
	grace  time.Duration
}

// New returns a Guard by the tokens of a Manager; of Pairs, Access has it. lapse.ErrInvalidConfig says
// that tokens is nil, or names the field that is out of its limits.
func New(tokens *lapse.Manager, o Options) (*Guard, error) {
	switch {
	case tokens == nil:
		return nil, fmt.Errorf("%w: lapsehttp: tokens is nil; lapse.New makes a Manager", lapse.ErrInvalidConfig)
	case !quotable(o.Realm):
		return nil, fmt.Errorf("%w: lapsehttp: Options.Realm: want printable ASCII without quote and backslash", lapse.ErrInvalidConfig)
	case !quotable(o.DPoP):
		return nil, fmt.Errorf("%w: lapsehttp: Options.DPoP: want printable ASCII without quote and backslash", lapse.ErrInvalidConfig)
	case o.Cookie != "" && (&http.Cookie{Name: o.Cookie}).Valid() != nil:
		return nil, fmt.Errorf("%w: lapsehttp: Options.Cookie: no name of a cookie; want a token of RFC 6265", lapse.ErrInvalidConfig)
	case o.CrossOrigin == nil:
		o.CrossOrigin = http.NewCrossOriginProtection()
	}
	if o.Realm == "" {
		o.Realm = tokens.Prefix()
	}
	return &Guard{tokens: tokens, o: o, realm: `realm="` + o.Realm + `"`, grace: grace}, nil
}

// quotable reports whether s may stand between the quotes of a challenge.
func quotable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' })
}

// Protect calls next for each request whose bearer is good, with the token in its context. The request
// is a use of the token (lapse.Manager.Authenticate). The doc of the package has the other answers. A
// token that ends while next runs does not end the request.
func (g *Guard) Protect(next http.Handler) http.Handler { return g.judge(g.tokens.Authenticate, next) }

// Peek is Protect for requests that are no use of the token and keep it no longer alive
// (lapse.Manager.Peek): for pages that poll. It does not spend the budget of a token either.
func (g *Guard) Peek(next http.Handler) http.Handler { return g.judge(g.tokens.Peek, next) }

// judge is Protect by the verb judge.
func (g *Guard) judge(judge func(context.Context, string) (lapse.Token, error), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := g.bearer(r, false)
		var tok lapse.Token
		if err == nil {
			if tok, err = judge(r.Context(), b.text); err == nil {
				err = g.suits(b, &tok)
			}
		}
		if err != nil {
			g.refuse(w, b, err, "")
			return
		}
		b.mark(w)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tokenKey{}, &tok)))
	})
}

// Hold is Protect for a handler that takes the connection over: the context of the request ends when the
// token does. The doc of the package says what such a handler has to do; Stream is for one that does not
// take it over. The opening of the connection is a use of the token. For further uses HoldFrom has the
// lapse.Hold, which ends when next returns.
func (g *Guard) Hold(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := g.bearer(r, true)
		if err != nil {
			g.refuse(w, b, err, "")
			return
		}
		hold, err := g.tokens.Hold(r.Context(), b.text)
		if err != nil {
			g.refuse(w, b, err, "")
			return
		}
		defer hold.Release()
		tok := hold.Token()
		if err := g.suits(b, &tok); err != nil {
			g.refuse(w, b, err, "")
			return
		}
		b.mark(w)
		next.ServeHTTP(w, r.WithContext(context.WithValue(hold.Context(), tokenKey{}, hold)))
	})
}

// RequireScope calls next if the token of the request has every word of scopes, each of which may hold
// several words with spaces between them (lapse.Require). Otherwise the answer is 403 with
// insufficient_scope, which names the words that are wanted. A request that is refused so is a use of the
// token all the same, unless it came through Peek. RequireScope stands inside of Protect, Peek, Stream or
// Hold; without them there is no token, and the answer is that to a request without a bearer. A word that no
// scope can have (RFC 6749 section 3.3) refuses every request, with a challenge that names no words.
func (g *Guard) RequireScope(next http.Handler, scopes ...string) http.Handler {
	words := strings.Fields(strings.Join(scopes, " "))
	wanted := strings.Join(words, " ")
	if !quotable(wanted) {
		wanted = ""
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, ok := TokenFrom(r.Context())
		err := errNoBearer
		if ok {
			err = lapse.Require(tok, words...)
		}
		if err != nil {
			g.refuse(w, bearer{}, err, wanted)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// tokenKey is the key of a *lapse.Token, or of the *lapse.Hold of a stream, among the values of a
// context.
type tokenKey struct{}

// TokenFrom returns the token of the request whose context is ctx. Within Stream and Hold it is the token
// as lapse.Hold.Token returns it now. ok is false outside of Protect, Peek, Stream and Hold.
func TokenFrom(ctx context.Context) (tok lapse.Token, ok bool) {
	switch v := ctx.Value(tokenKey{}).(type) {
	case *lapse.Token:
		return *v, true
	case *lapse.Hold:
		return v.Token(), true
	}
	return tok, false
}

// HoldFrom returns the Hold of the request whose context is ctx, for a handler that warns its client
// (lapse.Hold.WarnFunc) or has each message be a use (lapse.Hold.Use). The handler does not release it.
// What WarnFunc runs may still run when the handler has returned: let it wake the handler by a channel, and
// write nothing to the client itself. ok is false outside of Stream and Hold.
func HoldFrom(ctx context.Context) (hold *lapse.Hold, ok bool) {
	hold, ok = ctx.Value(tokenKey{}).(*lapse.Hold)
	return hold, ok
}

// Why a request was refused before lapse was asked.
var (
	errNoBearer    = errors.New("lapsehttp: no bearer")
	errBadRequest  = errors.New("lapsehttp: the request has more than one bearer, or an empty one")
	errCrossOrigin = errors.New("lapsehttp: a page of another origin used the cookie")
)
