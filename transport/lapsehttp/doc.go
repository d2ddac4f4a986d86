// Package lapsehttp puts lapse in front of HTTP handlers, and serves the endpoints by which clients
// get, refresh, revoke and introspect tokens. It needs the standard library alone.
//
// A Guard is the middleware: Protect, Peek, Stream and Hold read the bearer of a request, and a handler
// asks TokenFrom for the token. Endpoints are the handlers of a server that issues sessions: LogIn, Token
// (RFC 6749 section 6), Revoke (RFC 7009), Introspect (RFC 7662) and DeviceAuthorization (RFC 8628).
//
// # The answers
//
// Every answer that refuses has a fixed text. Neither the ID of a token, nor its subject, nor an
// instant is in it. Those of a Guard have the challenges of RFC 6750 section 3, and of
// RFC 9449 section 7.1 where Options.DPoP is set:
//
//	400 invalid_request     more than one bearer, an empty one, or one in the query: correct the request
//	401 without an error    there is no bearer: log in
//	401 invalid_token       the token is no good: drop it, and log in
//	401 invalid_dpop_proof  the proof of its key is absent or of another key: keep the token, and prove the key
//	403 insufficient_scope  the token is good, and its scope lacks a word
//	403 without a challenge a page of another origin used the cookie
//	503                     lapse could not tell: keep the token, and try again
//
// Those of Endpoints are the errors of RFC 6749 section 5.2 as JSON, and 503. Why a text was refused
// stands in the events of the Manager (lapse.Config.Observe). No answer of Endpoints may be cached.
//
// # Handlers that stream
//
// Stream and Hold keep the request by its token: the context of the request ends when the token dies or is
// suspended (lapse.Manager.Hold). A handler of server-sent events returns then, its client asks again, and
// gets 401. Wait for the context in every select: Go ends no handler, and one that waits for something
// else alone stays.
//
// Stream is for handlers that write to their ResponseWriter. No context ends a Write that blocks while the
// client reads nothing, so Stream sets the deadlines that do.
//
// Hold is for handlers that take the connection over, by any library of WebSockets. After Hijack the context
// goes on to end with the token, but no longer with the connection: read from the connection to see it close.
// Stay in the handler for as long as the connection lives, because the hold ends when the handler returns. When
// the context ends, send a close frame and close the connection. Do not give the context to reads and writes:
// many libraries drop the connection before the close frame is sent.
//
// # Cookies
//
// With Options.Cookie a bearer is read from a cookie, too, and http.CrossOriginProtection refuses what
// a page of another origin sends. Set the cookie in a handler of your own, with HttpOnly, Secure and
// SameSite, and let no GET request change anything.
//
// # Tokens that are bound to a key
//
// Let a middleware outside of the Guard and of the Endpoints verify the proof, and put it into the
// context of the request by lapse.WithProof. A Thumbprint does not say what it is the hash of. So a server
// says it once, to the Guard by Options.DPoP, and to the Endpoints by ServerOptions.Confirmation: the
// token_type of an answer, and the cnf of an introspection, follow from that. A server has one kind of key;
// with two kinds it needs Endpoints for each.
//
// An introspection by a text of another system (lapse.Config.Foreign) that is bound to a key wants the proof
// in its context, whatever Confirmation says.
package lapsehttp
