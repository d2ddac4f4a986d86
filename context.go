package lapse

import (
	"context"

	"github.com/seed-55daa01a/lapse/storage"
)

// Actor says who calls a verb, and why, for logs and for the records of ends: an administrator, or
// a job. It is no credential: no verb decides by it.
type Actor struct {
	Name string `json:"name,omitempty"` // who: "admin@example.com", "nightly job"
	Note string `json:"note,omitempty"` // why: "laptop stolen, ticket 4711"
}

type actorKey struct{}

// WithActor returns ctx with a, for the verbs that are called with it: their events have a as
// Event.Actor, and the tokens that they end have it as EndedBy and EndNote. A token that ends with
// EndClock has neither: no verb ends that token, and an EventClock has the Actor of AcceptClock.
// Nor has a spent token that ends with its last connection (Hold), since no call causes that end.
//
// Each field is cut at 255 bytes between characters, as by ClipName. Line feeds become spaces, and
// other characters that forge a line of a log go. Put no secret into them: they are stored and told.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, Actor{ClipName(a.Name), ClipName(a.Note)})
}

// ActorFrom returns the Actor that WithActor put into ctx, with its fields as they are told and
// stored. ok is false if there is none.
func ActorFrom(ctx context.Context) (a Actor, ok bool) {
	a, ok = ctx.Value(actorKey{}).(Actor)
	return a, ok
}

// actorOf returns the Actor of ctx, or the zero Actor.
func actorOf(ctx context.Context) (a Actor) {
	a, _ = ActorFrom(ctx)
	return a
}

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
	if proves(ctx, rec) {
		return nil
	}
	if found != spentText && found != aheadText { // match has computed the tags of these
		payTag(p.cred, m.binding)
	}
	return m.refuse(ctx, verb, &Rejection{Err: ErrProof, ID: rec.ID, Subject: rec.Subject, Generation: p.generation})
}

// proves reports whether ctx has the proof of the key that rec is bound to.
func proves(ctx context.Context, rec *storage.Record) bool {
	proved, ok := ctx.Value(proofKey{}).(*Thumbprint)
	return ok && proved.Matches(&rec.Thumbprint)
}
