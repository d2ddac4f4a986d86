package lapsehttp

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/seed-55daa01a/lapse"
)

// introspection is the answer of RFC 7662 section 2.2 about a token that is good.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	TokenType string `json:"token_type,omitempty"` // of an access text
	Exp       int64  `json:"exp"`
	Iat       int64  `json:"iat"`
	Sub       string `json:"sub"`
	Jti       string `json:"jti"` // ID#generation, as in the events of a Manager

	Cnf map[string]string `json:"cnf,omitempty"` // the Thumbprint, under the name of ServerOptions.Confirmation
}

// Introspect is the introspection endpoint (RFC 7662), for the servers that ServerOptions.Resource
// authenticates. It knows access texts, the texts of plain tokens, and refresh texts, and is no use of any
// (lapse.Manager.Peek). jti is ID#generation of the secret; iat of a session is its log-in; exp is
// rounded down to seconds.
//
// The answer for every text that is no good, for whatever reason, is {"active":false}, and so it is for
// a token that is bound to a key whose proof is not in the context, unless ServerOptions.Confirmation has
// cnf name the key. What lapse cannot tell is 503.
func (e *Endpoints) Introspect(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	if e.o.Resource == nil {
		invalidClient(w)
		return
	}
	id, ok := client(w, r, e.o.Resource)
	if !ok {
		return
	}
	if id == "" {
		invalidClient(w)
		return
	}
	text := r.PostForm.Get("token")
	if text == "" {
		fail(w, http.StatusBadRequest, "invalid_request", "token is missing")
		return
	}
	e.introspect(w, r, text)
}

// introspect answers what is known of text.
func (e *Endpoints) introspect(w http.ResponseWriter, r *http.Request, text string) {
	peek, kind := e.pairs.Access().Peek, e.tokenType
	if e.isRefresh(text) {
		peek, kind = e.pairs.Peek, func(*lapse.Token) string { return "" }
	}
	tok, err := lapse.Token{}, lapse.ErrMalformed
	if len(text) <= maxBearer {
		tok, err = peek(e.withKeyOf(r.Context(), text), text)
	}
	switch {
	case err == nil:
		reply(w, http.StatusOK, introspection{
			Active: true, Scope: tok.Scope, ClientID: tok.Client, TokenType: kind(&tok), Exp: tok.ExpiresAt.Unix(), Iat: tok.IssuedAt.Unix(),
			Sub: tok.Subject, Jti: fmt.Sprintf("%v#%d", tok.ID, tok.Generation), Cnf: e.cnf(&tok),
		})
	case errors.Is(err, lapse.ErrUnauthenticated):
		reply(w, http.StatusOK, map[string]bool{"active": false})
	default:
		unavailable(w)
	}
}
