package lapse

import (
	"context"

	"github.com/seed-55daa01a/lapse/storage"
)

// WithProof returns a context that carries thumbprint, for every verb of a Manager and of Pairs that
// takes a text. Call it for the key of which the client has just proved possession: by a DPoP proof
// that was verified (RFC 9449), by the certificate of the connection (RFC 8705, where thumbprint is
// Thumbprint(sha256.Sum256(cert.Raw))), or by a protocol of your own. lapse parses no proof, and
// believes its caller.
//
// A token with Grant.Thumbprint is bound to that key. Every verb that is given one of its texts,
// or one of its session, wants the proof in its context, and refuses the text with ErrProof if
// the proof is absent or of another key. The proof is judged before all else that is known of the
// record: without it a replaced text ends no session, and a dead token does not say that it is
// dead. Verbs that are given an ID, and Obtain, want no proof. With Hold the proof is judged once
// for a connection.
//
// A token that is not bound ignores proofs. The zero Thumbprint proves nothing, and takes away
// what an outer context proves: of several calls the innermost counts.
func WithProof(ctx context.Context, thumbprint Thumbprint) context.Context {
	return context.WithValue(ctx, proofKey{}, &thumbprint)
}

// proofKey is the key of WithProof among the values of a context.
type proofKey struct{}

// requireProof returns nil if ctx has the proof of the key that the token of rec is bound to.
// Otherwise verb refuses the text p, which is found of rec, and which takes the time of one tag.
func (m *Manager) requireProof(ctx context.Context, verb *call, p *presented, rec *storage.Record, found standing) error {
	if proved, ok := ctx.Value(proofKey{}).(*Thumbprint); ok && proved.Matches(&rec.Thumbprint) {
		return nil
	}
	if found != spentText && found != aheadText { // match has computed the tags of these
		payTag(p.cred, m.binding)
	}
	return m.refuse(ctx, verb, &Rejection{Err: ErrProof, ID: rec.ID, Subject: rec.Subject, Generation: p.generation})
}
