package lapsehttp

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// ServerOptions say who may call Endpoints, and what a log-in grants.
type ServerOptions struct {
	// Client returns the id of the client that sends a request, after it has authenticated the client
	// (RFC 6749 section 2.3): ClientCredentials reads what the client sent. For a client that cannot
	// keep a secret it returns the client_id alone, and "" for a client that has none. A session belongs
	// to the client that logged in (lapse.Grant.Client): no other refreshes or revokes it.
	//
	// lapse.ErrBadCredentials, wrapped or not, is invalid_client, and lapse.ErrRefused is
	// unauthorized_client. Any other error is 503. Client is required, and may not read the body.
	Client func(r *http.Request) (id string, err error)

	// Resource authenticates the server that sends a request to Introspect, as Client does for
	// clients. An empty id is invalid_client. nil refuses every request, because a server that may
	// introspect learns the subject of any text that it has.
	Resource func(r *http.Request) (id string, err error)

	// Grant returns what LogIn grants to subject. LogIn sets Subject and Client of it. nil grants a
	// session without a scope, with the User-Agent as its Name. lapse.ErrRefused, wrapped or not,
	// refuses the log-in, and a *lapse.GrantError is 400. Any other error is 503.
	Grant func(r *http.Request, subject string) (lapse.Grant, error)

	// Confirmation is the member of cnf for the Thumbprints of all tokens that are bound to a key: "jkt" where
	// they are of the keys of DPoP proofs (RFC 9449 section 6.2), and "x5t#S256" where they are of certificates
	// (RFC 8705 section 3.2). With "jkt" the token_type of such a token is DPoP, not Bearer. With either,
	// Introspect wants no proof, and tells cnf: the resource server has to verify the proof itself, and to
	// compare the key of the proof with cnf. Without Confirmation Introspect tells no cnf, and wants the proof.
	Confirmation string

	// Devices logs in devices without a keyboard, by DeviceAuthorization and the device_code grant of
	// Token (RFC 8628). nil serves neither. The page at VerificationURI is yours: it calls Lookup, and
	// then Approve or Deny, for a user who is logged in.
	Devices *lapse.DeviceLogin

	// VerificationURI is the absolute address of the page on which a user enters a code, short enough
	// to be typed. Devices need it.
	VerificationURI string
}

// Endpoints are the handlers of a server that issues sessions. NewEndpoints makes them. They are safe
// for concurrent use.
type Endpoints struct {
	pairs *lapse.Pairs
	o     ServerOptions
}

// NewEndpoints returns the Endpoints of pairs. lapse.ErrInvalidConfig says that pairs or
// ServerOptions.Client is nil, that Confirmation is none of its values, or that Devices have no
// VerificationURI.
func NewEndpoints(pairs *lapse.Pairs, o ServerOptions) (*Endpoints, error) {
	switch {
	case pairs == nil:
		return nil, fmt.Errorf("%w: lapsehttp: pairs is nil; lapse.NewPairs makes them", lapse.ErrInvalidConfig)
	case o.Client == nil:
		return nil, fmt.Errorf("%w: lapsehttp: ServerOptions.Client is nil; return \"\" and nil for every request if all clients are one program", lapse.ErrInvalidConfig)
	case o.Confirmation != "" && o.Confirmation != jkt && o.Confirmation != "x5t#S256":
		return nil, fmt.Errorf("%w: lapsehttp: ServerOptions.Confirmation: want jkt, x5t#S256 or nothing", lapse.ErrInvalidConfig)
	case o.Devices != nil && o.VerificationURI == "":
		return nil, fmt.Errorf("%w: lapsehttp: ServerOptions.VerificationURI is empty; give the address of the page for user codes", lapse.ErrInvalidConfig)
	}
	if o.Grant == nil {
		o.Grant = func(r *http.Request, _ string) (lapse.Grant, error) {
			return lapse.Grant{Name: lapse.ClipName(r.UserAgent())}, nil
		}
	}
	return &Endpoints{pairs: pairs, o: o}, nil
}

// tokenOf returns the token whose text is given, if that was issued to client. For a text of a dead or
// suspended token, and for a replaced one, the token comes with the error of Peek. The error is
// errOtherClient for a token of another client: whatever else is wrong with its text, that client learns
// no more, and ends nothing.
func (e *Endpoints) tokenOf(r *http.Request, text, client string) (tok lapse.Token, err error) {
	if len(text) > maxBearer {
		return tok, lapse.ErrMalformed
	}
	peek := e.pairs.Access().Peek
	if e.isRefresh(text) {
		peek = e.pairs.Peek
	}
	tok, err = peek(r.Context(), text)
	if why := (*lapse.Rejection)(nil); errors.As(err, &why) && why.Subject != "" {
		var unread error
		if tok, unread = e.pairs.Access().Token(r.Context(), why.ID); unread != nil {
			return tok, unread
		}
	}
	if tok.ID != (lapse.ID{}) && tok.Client != client {
		return lapse.Token{}, errOtherClient
	}
	return tok, err
}

// isRefresh reports whether text has the form of a refresh text.
func (e *Endpoints) isRefresh(text string) bool {
	return strings.HasPrefix(text, e.pairs.RefreshPrefix()+"_") && strings.LastIndexByte(text, '_') == len(e.pairs.RefreshPrefix())
}

// errOtherClient says that a token was issued to another client.
var errOtherClient = errors.New("lapsehttp: the token was issued to another client")
