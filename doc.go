// Package lapse issues, authenticates, expires and renews opaque bearer tokens.
//
// A program makes one [Manager] with [New], over a store: package storage/bolt keeps tokens in a
// file, package storage/memory in the process, and package storage is the contract for others, which
// storage/storagetest checks. At log-in the program calls [Manager.Issue] and hands the bearer text to
// the client. With every request, message or connection it calls [Manager.Authenticate] with the text
// that came back. To log out it calls [Manager.ExpireBearer], and once an hour [Manager.Sweep]. No
// transport is assumed: lapse knows neither HTTP nor cookies, and sends nothing.
//
// # Life of a token
//
// A token is alive from its issue until it runs out or is ended, whichever comes first.
// The [Policy] says how long that is: TTL from issue and from each renewal, MaxTTL in all.
// A renewal moves the expiry, by use or by request, never back and never past the cap. The
// instant of expiry is dead: a token is alive at now if it has not been ended and now is
// before Token.ExpiresAt. Every verb, list and limit asks exactly that (Live, a method of
// [Token], at [Manager.Now]). A token with a budget that is alive and has no uses left is
// [ErrExhausted].
//
// Expire, ExpireBearer, ExpireSubject, a full limit and the other causes of [EndReason] end a token
// early, once and for good. Its record stays, says when and why, and explains a later refusal, until
// [Manager.Sweep] deletes it after Policy.Retention, or ForgetSubject at once.
//
// Verbs that take a bearer work only under the prefix of their Manager. Verbs that take an
// ID or a subject are for administrators, and reach the tokens of every prefix in the
// store: ExpireSubject leaves no session. RotateID and Pairs.Sessions keep to their own prefixes.
//
// A token is an identity, and its secret is replaceable. Rotate, Refresh and Obtain replace the
// secret of a record that stays: the same ID, place in the limit, connections, delegates and line in
// every list. Token.Generation counts the secrets. A text whose secret was replaced works for its
// overlap or grace, if it has one, and then is [ErrReplaced] for as long as the record exists.
// Refresh of a refresh text is [ErrReused] then, and ends the session.
//
// # Beyond one token
//
// [Login] asks verifiers whose credentials it was given, and issues a plain token. [Manager.Obtain]
// gives the subject the token it has, with the same bearer, or issues one. [Pairs] make sessions: one
// record with a short-lived access text, and a refresh text that replaces both; a refresh text that
// comes back late ends the session. A log-in with Pairs is [Identify] and then [Pairs.Issue];
// [DeviceLogin] logs in a device without a keyboard. [Manager.Rotate] gives a long-lived token a new
// text without a gap. Grant.MaxUses is a budget, whose uses are spent durably: 1 makes a one-time
// token. [Manager.Delegate] makes a token that may do less and lives no longer; the end of the first
// also ends the second. [Require] asks a token for scopes, and [Policy.Timeline] says what a policy
// does before it is in use.
//
// Grant.Thumbprint binds a token to a key of its client. Then each verb that takes a text of that
// token wants the proof of the key ([WithProof]), and refuses with [ErrProof] without it.
// Grant.Client says to which program a token is issued, for a server that serves several.
// [Manager.Confirm] records that the user was present, for endpoints that ask for that.
// [Config].Admit decides by the request, and [Config].Observe is told what happens: [LogEvents]
// logs that, and [Manager.Stats] counts it.
//
// # Administration
//
// [Manager.Suspend] has a token refused until [Manager.Resume]. [Manager.Edit] changes what a token
// has, and [Manager.RotateID] replaces its secret. [Manager.List] finds tokens: page by page, those
// of a subject, or those that run out soon. [Manager.Count] and [Manager.Holds] say what there is,
// and [Manager.Watch] says what changes. [Manager.ForgetSubject] deletes all records of a subject.
// [Manager.Import] takes over the tokens of another system. Grant.RequestID keeps a repeated
// [Manager.Issue] from making a second token. Package admin lets another program of the same user
// call these verbs over a socket.
//
// # Connections
//
// [Manager.Hold] is Authenticate for a connection that lasts. The context of the [Hold]
// ends when the token dies, by any cause, and says which. [Hold.Use] counts a message as a use.
// Close the connection from context.AfterFunc of that context, and read and write with another
// context: then the peer sees a close code and not a broken connection.
//
// # Time
//
// Time comes from [Config].Clock, in UTC, rounded down to the millisecond. A clock that is set
// back revives nothing: time goes on as fast as it elapses. If the clock stays behind by more than
// 5 minutes for longer than 10, a new epoch begins at the clock: the tokens of before end with
// EndClock, and each user logs in once more ([ClockGuard]). Within an epoch time does not go back,
// except for a minute at most by a kill. [Manager.Now] is that time. Under GuardOff it goes back
// with any clock.
//
// The Managers of one process that share a store see one time. On a store that several machines
// share, each process has its own. Where that store is a [storage.Timekeeper], the time is the median
// of the Clock, the clock of the store, and what has elapsed: so one wrong clock ends no token and
// lengthens none, and two can. Without a Timekeeper a token may live longer by as much as the clocks
// of the machines are apart. docs/time.md in the repository has all cases, and what cannot be known.
//
// # Errors
//
// Every error says which kind it is, and [Code] names it in one word.
//
//   - An error that wraps [ErrUnauthenticated] means that the token is no good: answer 401, or
//     close code 4001. A token that ran out is [ErrExpired], one that was ended early
//     [ErrRevoked], a text of an older secret [ErrReplaced]: these stay no good. After
//     [ErrSuspended], [ErrProof] and [ErrRefused] the same text may be good later.
//   - [ErrInvalidConfig], [ErrInvalidGrant], [ErrInvalidQuery], [ErrInvalidID],
//     [ErrInvalidThumbprint], [ErrLimit], [ErrNotRenewable], [ErrNotDelegable], [ErrRotated],
//     [ErrGuesses] and [ErrNoKeys] are about what was asked for, [ErrScope] about what a good token
//     may not do (403), [ErrAuthorizationPending] and [ErrSlowDown] about a device that waits for its
//     user, [ErrNotFound] about an ID without a record, and [errors.ErrUnsupported] about what the
//     store cannot do.
//   - Any other error means that lapse could not tell, or could not do it, now: answer 503,
//     and let the client keep its token.
//
// Authenticate and Peek return only the first kind and the last: a store that is down logs
// no user out.
//
// A refusal carries a [*Rejection] for errors.As, with what may be logged. ErrInvalidGrant
// carries a [*GrantError], and ErrScope a [*ScopeError].
//
// A write whose outcome is unknown is [ErrOutcomeUnknown]. After any other error nothing has been
// written, except that
//   - Refresh with ErrReused has ended the session,
//   - Poll with ErrAuthorizationPending or ErrSlowDown has recorded that the device polled,
//   - Poll and Await may have given the session its texts: Poll again returns them,
//   - Lookup, Approve and Deny may have counted a guess,
//   - Approve may have stored the session, which ends with the codes, and made room for it,
//   - Hold may have recorded or spent a use,
//   - Sweep may have done a part of its work,
//   - ForgetSubject with ErrCorrupt may have deleted all records that are not damaged,
//   - any verb may have written about tokens that a new epoch of the clock ended while it ran.
//
// No error or event of this package contains a secret, a digest or a checksum. Neither does the
// printed form of its values, except where [Issued] says so of fmt.
//
// # Concurrency
//
// A Manager and the stores of packages memory, bolt, near and postgres are safe for concurrent use.
// Several Managers may share a store: what each keeps by itself, as its counters and held
// connections, no other one needs. Decisions about several tokens of a subject, as limits and
// ExpireSubject, are made in one transaction over the subject.
//
// # Compatibility
//
// A token or a record written by any 1.x version is readable by every later 1.x
// version. Before 1.0 a change that breaks this is named in the change log.
package lapse
