// Package lapse issues, authenticates, expires and renews opaque bearer tokens.
//
// A program makes one [Manager] with [New], over a store: package storage/bolt
// keeps tokens in a file, storage/memory in the process. At log-in it calls
// [Manager.Issue] and hands the bearer text to the client; with every request,
// message or connection it calls [Manager.Authenticate] with the text that came
// back. Nothing else is needed for the main job, and no transport is assumed:
// lapse knows neither HTTP nor cookies, and sends nothing anywhere.
//
// # Life of a token
//
// A token is alive from its issue until it runs out or is ended, whichever comes
// first. The [Policy] says how long that is: TTL from issue and from each renewal,
// MaxTTL in all. A renewal moves the expiry, by use or by request, never back and
// never past the cap. The instant of expiry is dead: a token is alive at now if
// it has not been ended and now is before Token.ExpiresAt, and every verb, list and
// limit asks exactly that (Live, a method of Token, at [Manager.Now]). A token with a
// budget that is alive and has no uses left is [ErrExhausted], and takes no room.
//
// Expire, ExpireBearer, ExpireSubject and a full limit end a token early, once and
// for good. Its record stays, says when and why, and makes a later refusal
// explain itself, until [Manager.Sweep] deletes it after Policy.Retention.
//
// Verbs that take a bearer work under their Manager's prefix alone. Verbs that
// take an ID or a subject are for those who administer, and reach the tokens of
// every prefix in the store: logging out everywhere leaves no session behind.
//
// A token is an identity, and its secret is replaceable. Rotate, Refresh and Obtain
// replace the secret of a record that stays: the same ID, place in the limit,
// connections, delegates and line in every list. Token.Generation counts the secrets.
// A text whose secret was replaced is [ErrReplaced], for as long as the record exists.
//
// # Beyond one token
//
// [Login] asks verifiers whose credentials it was given, and issues. [Manager.Obtain]
// gives the subject the token it has, with the same bearer, or issues one. [Pairs] make
// sessions: one record with a short-lived access text, and a refresh text that gets both
// replaced; a refresh text that comes back late ends the session. [Manager.Rotate] gives
// a long-lived token a new text without a gap. Grant.MaxUses is a budget, of which each
// use is spent durably: 1 makes a one-time token. [Manager.Delegate] makes a token that
// may do less and lives no longer; what ends a token ends those delegated from it.
// [Require] asks a token for scopes, [Policy.Timeline] says what a policy does before
// it does it, and [Manager.Expiring] finds what runs out soon.
//
// # Connections
//
// [Manager.Hold] is Authenticate for a connection that lasts: Context of the [Hold] ends
// when the token's life does, by whatever cause, and says which. To have the peer see a close
// code and not a connection that broke, close from context.AfterFunc of that context,
// and read and write with another one.
//
// # Time
//
// Time comes from [Config].Clock, in UTC and rounded down to the millisecond, so
// that what one call returns is what every other one, and every store, compares
// with. The years 1 to 9999 work; what would lie behind them is held at their end.
//
// Time, as decisions see it, never goes back: not between calls, goroutines or the
// Managers of one store, and not over a restart, but for what passed since a mark was
// written, which is a minute of use at most, if the program was killed. It is the latest
// of what the clock says, of what anybody has seen before, and of that plus what has
// elapsed since, the time that the machine was suspended included where that can be
// known. So a clock that is set back revives nothing and lengthens no life. If it stays
// behind by more than ClockTolerance for longer than ClockSettle, then it was time that
// was wrong: tokens end with EndClock, time follows the clock, and whoever was logged in
// logs in once more ([ClockGuard]). Nothing is swept for 24 hours after that.
//
//	the clock                      time
//	goes on, jumps ahead           follows it
//	is behind, by 5 minutes        goes on as fast as it elapses
//	is behind, by more             the same for 10 minutes; then every token of before
//	                               ends and time follows the clock
//	is behind, another keeps up    the same as that other one
//	says a year before 2001 or     goes on as fast as it elapses, if it has been within
//	after 2199                     those years before
//	is a Clock without Elapsed     stands still until the clock has caught up
//	is behind when New is called   goes on from the mark, and then as above; what was
//	                               behind in an earlier run counts
//	mark lost or damaged           follows the clock; every token of before ends
//
// [Manager.Now] is that time: whether a listed token is alive is for Token.Live to say, at
// Now. All Managers of a store in this process share the time through the store, if that
// is a storage.Marker, as memory and bolt are, or a storage.MarkSharer. On any other store
// the two sides of Pairs share theirs, and other Managers each have a time of their own.
//
// What passes while the program is closed and its clock is wrong, nobody can know, nor
// that somebody has put back an old copy of a whole file.
//
// Tests travel in time with any type that has Now and After, *clock.Mock of
// github.com/benbjohnson/clock for one, or with a nil Clock inside testing/synctest. While
// a mock is set back time stands still until the mock has caught up, except under GuardOff.
//
// # Errors
//
// Every error says which kind it is, and [Code] names it in one word. One that wraps [ErrUnauthenticated] means that
// the token is no good, and stays so: answer 401, or close code 4001. What ran out is
// [ErrExpired], what was ended early [ErrRevoked], a text of an older secret [ErrReplaced].
// [ErrInvalidConfig], [ErrInvalidGrant], [ErrInvalidID], [ErrLimit], [ErrNotRenewable],
// [ErrNotDelegable], [ErrRotated] and [ErrNoKeys] are about what was asked for, [ErrScope]
// about what a good token may not do (403), and [ErrNotFound] about an ID without a
// record. Any other error means that lapse could not tell, or could not
// do it, now: answer 503, and let the client keep its token. Authenticate and Peek
// know the first kind and the last alone: a store that is down logs nobody out.
//
// A refusal carries a [*Rejection] for errors.As, with what may be logged; ErrInvalidGrant
// carries a [*GrantError], and ErrScope a [*ScopeError]. A write whose fate is unknown says
// so, with [ErrOutcomeUnknown]; any other error means that nothing was written, but that
// Sweep had deleted what it says. No error or event of this package holds a secret, a
// digest or a checksum, nor does what is printed of its values, except where [Issued] says
// so of fmt.
//
// # Concurrency
//
// A Manager and both stores are safe for concurrent use. A Manager has goroutines and
// state of its own only while connections are held; several may share a store. What must
// hold across several tokens of a subject, limits and logging out everywhere, is decided
// in one transaction over the subject.
//
// # Stores
//
// Package storage is the contract for backends, and storage/storagetest checks it.
//
// # Compatibility
//
// A token or a record written by any 1.x version is readable by every later 1.x
// version. Before 1.0 a change that breaks this is named in the change log.
package lapse
