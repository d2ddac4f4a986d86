package lapsehttp

import (
	"errors"
	"net/http"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// Revoke is the revocation endpoint (RFC 7009). By an access text or a refresh text it ends the session
// (lapse.Pairs.ExpireBearer), and by the text of a plain token that token. The answer is 200 when no
// client can use the text any more: also for one that is unknown, or was replaced, or whose token was
// dead before. The text of a token of another client is invalid_grant, and the token lives on. Without
// the proof of its key a text is invalid_dpop_proof. token_type_hint is ignored, as section 2.1 allows.
// Admit is not asked about a token of the client, which can log out while Admit cannot tell.
func (e *Endpoints) Revoke(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	id, ok := client(w, r, e.o.Client)
	if !ok {
		return
	}
	text := r.PostForm.Get("token")
	if text == "" {
		fail(w, http.StatusBadRequest, "invalid_request", "token is missing")
		return
	}
	own, err := e.namesOwn(r, text, id)
	if err == nil && !own {
		var tok lapse.Token
		tok, err = e.tokenOf(r, text, id)
		own = tok.ID != (lapse.ID{})
	}
	if own {
		_, err = e.pairs.ExpireBearer(r.Context(), text)
	}
	switch {
	case err == nil, errors.Is(err, lapse.ErrMalformed), errors.Is(err, lapse.ErrUnknown), errors.Is(err, lapse.ErrReplaced):
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
	default:
		failGrant(w, err)
	}
}

// namesOwn reports whether the ID in text is that of a token of client. It asks no Admit, and proves nothing
// of text: ExpireBearer does. For any other text it is false, and tokenOf tells a stranger no more than that
// the text is unknown.
func (e *Endpoints) namesOwn(r *http.Request, text, client string) (own bool, err error) {
	if len(text) > maxBearer {
		return false, nil
	}
	for found := range lapse.FindBearers(strings.NewReader(text)) {
		if found.Bearer != text {
			break
		}
		tok, err := e.pairs.Access().Token(r.Context(), found.ID)
		if errors.Is(err, lapse.ErrNotFound) {
			return false, nil
		}
		return err == nil && tok.Client == client, err
	}
	return false, nil
}
