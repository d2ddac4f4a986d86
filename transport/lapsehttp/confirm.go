package lapsehttp

import (
	"context"
	"net/http"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// jkt is the ServerOptions.Confirmation of a server whose Thumbprints are of keys of DPoP proofs.
const jkt = "jkt"

// tokenType returns the token_type of an access text of tok (RFC 9449 section 5, RFC 8705 section 3).
func (e *Endpoints) tokenType(tok *lapse.Token) string {
	if e.o.Confirmation == jkt && !tok.Thumbprint.IsZero() {
		return "DPoP"
	}
	return "Bearer"
}

// replyPair answers with the two texts of a session (RFC 6749 section 5.1).
func (e *Endpoints) replyPair(w http.ResponseWriter, pair lapse.TokenPair) {
	reply(w, http.StatusOK, struct {
		lapse.TokenPair
		TokenType string `json:"token_type"` // in the place of that of TokenPair
	}{pair, e.tokenType(&pair.Access.Token)})
}

// cnf returns the cnf of tok in an introspection (RFC 9449 section 6.2, RFC 8705 section 3.2), or nil.
func (e *Endpoints) cnf(tok *lapse.Token) map[string]string {
	if e.o.Confirmation == "" || tok.Thumbprint.IsZero() {
		return nil
	}
	return map[string]string{e.o.Confirmation: tok.Thumbprint.String()}
}

// withKeyOf returns ctx, with Confirmation as if the key of the token that text names were proved. The verb
// that is called with it proves the text itself. A text of another system names no token here.
func (e *Endpoints) withKeyOf(ctx context.Context, text string) context.Context {
	if e.o.Confirmation == "" {
		return ctx
	}
	for found, err := range lapse.FindBearers(strings.NewReader(text)) {
		if err != nil || found.Bearer != text {
			break
		}
		if tok, err := e.pairs.Access().Token(ctx, found.ID); err == nil { // otherwise the verb says why
			return lapse.WithProof(ctx, tok.Thumbprint)
		}
	}
	return ctx
}
