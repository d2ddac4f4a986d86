// Package near keeps copies of records in this process, in front of a store that several processes
// share, so that a check of a token costs a look-up in memory.
//
//	store, err := postgres.Open(ctx, dsn, nil)
//	…
//	copies, err := near.New(ctx, store, near.Options{})
//	…
//	tokens, err := lapse.New(copies, lapse.Config{})
//
// # What it promises
//
// A token is accepted by a copy, and never refused by one: whatever is not good by its copy is asked of
// the store. A renewal that another process has stored refuses no token here.
//
// When a call that ends or suspends a token, replaces its secret or narrows it has returned, that is
// seen
//
//   - in the process of the call: at once;
//   - in every other process: once the notice of the store has arrived, and at the latest after
//     Options.Lease;
//   - with Options.EndsWait in every process: at once. Such a call returns Lease later, and all other
//     calls as soon as before.
//
// While such a call is under way, one process may refuse a token that another one still accepts. A second
// call that finds the token ended changes nothing, and does not wait for the first one.
//
// With EndsWait a Refresh and a Rotate wait, too, even where the old text works longer than Lease by its
// grace or overlap. That time ends at an instant of the wall clock, and package near reads no wall clock.
//
// The time of a lease is counted by the monotonic clock of each machine, together with the time during
// which the machine was suspended. No clocks are compared.
//
// # Where it comes from
//
// The store proves again and again that it has told all changes from before an instant (Change.AsOf of
// storage.Watcher). A copy is used until that instant and Lease, and no longer. So a connection that has
// died without a word, a machine that was suspended and a process that was stopped ask the store: the
// clock is read after the copy. While the store cannot be reached, a check fails with an error that says
// so, and no token is called no good.
//
// # What is left
//
//   - A process that dies between the commit and its notice leaves copies elsewhere that nothing drops. So
//     does a call that could not tell the other processes, and returned storage.ErrOutcomeUnknown. Each
//     copy is read again after MaxAge.
//   - A virtual machine that its host has paused, and that cannot know of it, uses its copies for the rest
//     of the lease when it goes on.
//   - A failover to a standby that had not received an end loses that end in the store itself.
//   - A process that writes to the store without this package does not wait, whatever EndsWait says in
//     others.
package near
