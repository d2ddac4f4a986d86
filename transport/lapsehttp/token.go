package lapsehttp

import (
	"errors"
	"net/http"

	"github.com/seed-55daa01a/lapse"
)

// Token is the token endpoint (RFC 6749 section 3.2). It knows the grant_type refresh_token (section 6)
// and, with ServerOptions.Devices, that of a device code (RFC 8628 section 3.4), and answers every other
// one with unsupported_grant_type: the password grant is not to be used (RFC 9700 section 2.4), and LogIn
// takes its place. The answer is that of section 5.1, with a new refresh text.
//
// A client that lost the answer sends the same request again, and gets the same answer within
// lapse.PairConfig.Grace. After that the session ends (lapse.Pairs.Refresh), unless the request is that of
// another client, which ends nothing. invalid_grant says that the text is no good, for whatever reason, or
// another client's; invalid_scope that scope has a word that the session lacks, or differs from that of
// the answer that is repeated; invalid_dpop_proof that the context has no proof of the key.
func (e *Endpoints) Token(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	id, ok := client(w, r, e.o.Client)
	if !ok {
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "":
		fail(w, http.StatusBadRequest, "invalid_request", "grant_type is missing")
	case "refresh_token":
		e.refresh(w, r, id)
	case deviceGrant:
		e.pollDevice(w, r, id)
	default:
		fail(w, http.StatusBadRequest, "unsupported_grant_type", "")
	}
}

// refresh answers the grant_type refresh_token of client.
func (e *Endpoints) refresh(w http.ResponseWriter, r *http.Request, client string) {
	text := r.PostForm.Get("refresh_token")
	if text == "" {
		fail(w, http.StatusBadRequest, "invalid_request", "refresh_token is missing")
		return
	}
	var pair lapse.TokenPair
	_, err := e.tokenOf(r, text, client)
	if err == nil || errors.Is(err, lapse.ErrReplaced) { // Refresh ends the session of a text that comes back late
		pair, err = e.pairs.Refresh(r.Context(), text, r.PostForm.Get("scope"))
	}
	if err != nil {
		failGrant(w, err)
		return
	}
	e.replyPair(w, pair)
}
