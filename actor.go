package lapse

import "context"

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
