package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/seed-55daa01a/lapse"
)

type holdKey struct{} // of the *lapse.Hold in the context of a request

// protect lets requests through whose token is good and has scope. It asks lapse before the SDK does
// anything, and holds the request by its token: when the token ends, the context of the request does,
// and the SDK ends the stream.
//
// A failure of the store is answered here. From an error of a TokenVerifier the SDK makes a 500, and
// writes the text of the error into the body.
func protect(tokens *lapse.Manager, scope string, next http.Handler) http.Handler {
	next = auth.RequireBearerToken(verify, &auth.RequireBearerTokenOptions{Scopes: []string{scope}})(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		hold, err := tokens.Hold(r.Context(), strings.TrimSpace(bearer))
		switch {
		case err == nil:
			defer hold.Release()
			r = r.WithContext(context.WithValue(hold.Context(), holdKey{}, hold))
		case !errors.Is(err, lapse.ErrUnauthenticated): // could not tell: the client keeps its token
			w.Header().Set("Retry-After", "1")
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// verify is the TokenVerifier of the SDK. Its error has a fixed text: an error of lapse names the token
// and the instant of its end.
func verify(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	hold, ok := ctx.Value(holdKey{}).(*lapse.Hold)
	if !ok {
		return nil, auth.ErrInvalidToken
	}
	tok := hold.Token()
	return &auth.TokenInfo{
		UserID:     tok.Subject, // a session of the SDK is for tokens of this subject alone
		Scopes:     strings.Fields(tok.Scope),
		Expiration: tok.ExpiresAt,
		Extra:      map[string]any{"hold": hold}, // for tools
	}, nil
}
