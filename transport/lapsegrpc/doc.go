// Package lapsegrpc puts lapse in front of the methods of a gRPC server: an interceptor for unary
// methods, and one for streams, which end with their token.
//
// A client sends its bearer in the metadata, as "authorization: Bearer TEXT". A handler asks
// TokenFrom for the token. What a method needs is a Rule.
//
// # The answers
//
// Every answer has a fixed text. Neither the ID of a token, nor its subject, nor an instant
// is in it.
//
//	Unauthenticated   there is no bearer, the token is no good, or its proof is absent: log in
//	PermissionDenied  the token is good, and its scope lacks a word of Rule.Scope
//	Unavailable       lapse could not tell: keep the token, and try again
//	Canceled, DeadlineExceeded  the call itself ended before lapse could tell
//
// Why a token was refused stands in the events of the Manager (lapse.Config.Observe).
//
// # Streams
//
// A stream is held by its token (lapse.Manager.Hold). When the token dies or is suspended, the
// Context of the stream ends, RecvMsg and SendMsg return, and once the handler has returned, the
// client gets Unauthenticated, whatever the handler returned. If the store is closed, the client gets
// Unavailable. As for every end of a call in gRPC, a handler that waits for something else has to
// wait for its Context, too. The context ends within the time that lapse.Hold says.
//
// A message that RecvMsg refused, or that SendMsg did not send, may still be read by gRPC until the
// handler returns: a handler does not use that message again. Each message takes a goroutine for as
// long as its RecvMsg or SendMsg runs: a message and its echo take 12 µs in place of 8
// (BenchmarkMessage).
//
// # What is a use
//
// A call of a unary method is a use of the token, and renews it as Authenticate does. With Rule.Peek
// it is none. The opening of a stream is a use. That a stream stays open is none, and neither is a
// message, except with Rule.Messages: then each message that the handler receives is a use
// (lapse.Hold.Use). What the handler sends is never a use. So a stream that only sends ends at the
// expiry of its token, unless other calls renew the token.
//
// # Tokens that are bound to a key
//
// Let an interceptor before these verify the proof, for instance the certificate of the peer, and
// put it into the context by lapse.WithProof. That of a stream wraps the stream for that.
package lapsegrpc
