// Package storage is the contract between a lapse.Manager and the store of its
// records. Authors of a backend need it. Other programs import lapse and one of the
// backends below this package; they find the fields of Token and ID here.
//
// A store keeps records and makes groups of writes atomic. It knows no policy
// and reads no clock: time reaches it as an argument. storagetest.Run checks
// whether a backend keeps this contract; its cases carry the numbers of the
// clauses below.
//
// # Records
//
//	S1  A record comes back as it was put: every field, instants to the
//	    millisecond in UTC from year 1 to 9999 (the zero Time included), strings
//	    byte for byte up to the limits Max....
//	S2  Get finds dead records as well as living ones. An ID that was never put is
//	    ErrNotFound.
//	S3  Nothing returned shares memory with the store and nothing passed in is
//	    kept: no later write changes an answer already given.
//
// # Update
//
//	S4  A Tx sees its subject whole: every record of it, dead ones too, in ID
//	    order, including those that the same Tx put. It sees no other subject.
//	S5  All or nothing. An error from fn aborts and comes back unwrapped.
//	S6  Serializable over one subject: concurrent Updates of it act as if one
//	    came after the other, and Touches fall before or after, never between.
//	S7  Put creates or replaces. An ID that another subject holds, or a record
//	    that names another subject, is ErrConflict, from Put or from Update. So is
//	    a record with another Thumbprint than the one that it replaces.
//	S8  Put never revives: replacing an ended record, one that this Tx ended
//	    included, by one with another EndedAt, EndReason, EndedBy or EndNote is
//	    ErrConflict. So is a record that has EndedBy or EndNote and no end.
//	S9  A panic or runtime.Goexit in fn aborts, reaches the caller and releases
//	    every lock; the store goes on.
//	S10 The writes of an Update that returned nil survive Close and a crash.
//
// fn may run more than once and must be pure: it has no effect except through
// its Tx and through variables of its caller that each run sets again. It must not
// call the store. Identifiers and secrets are drawn before Update.
//
// # Touch
//
//	S11 Touch raises LastUsedAt and ExpiresAt, each on its own, and lowers
//	    neither: it is Use.Raise on the stored record, which never raises ExpiresAt
//	    past the stored MaxExpiresAt, however late the Touch is written.
//	S12 Touch of an absent or ended record changes nothing and returns nil: it
//	    creates nothing and revives nothing, however late it is written.
//	S13 This process sees a Touch at once, in every method; a Touch may be
//	    written later, within a bound that the backend documents, and Close
//	    writes those that are left.
//
// # List and Sweep
//
//	S14 List yields every record that the filter selects once, dead ones too. The
//	    records of one subject come in ID order; the order across subjects is the
//	    engine's own. A record put or deleted meanwhile may be there or not. An error
//	    that wraps ErrCorrupt stands for one record, of which only the ID may be
//	    known, and iteration goes on; any other error is the last pair.
//	S15 The loop body may call the store, Update included, and may stop at any
//	    time; both leave nothing locked or open.
//	S16 Sweep deletes only records that were dead before the instant it is given
//	    (Token.DeadFrom before it); one for which it is that very instant stays.
//	S17 Sweep deletes at most limit records, none for a limit below 1, and says
//	    how many; fewer than limit means that none is left, except those that
//	    another Sweep is deleting. It finds them by an index: its cost does not
//	    grow with the number of live records.
//	S18 Sweep judges a record at the moment at which it deletes it: a record
//	    renewed meanwhile survives.
//
// # Context, errors, closing
//
//	S19 A context that ends before the effect means no effect and an error that
//	    wraps the context's, also while Update waits for its turn, runs fn, or waits
//	    for other writes. Once the commit began the true result comes back, or, if
//	    the context ends first, ErrOutcomeUnknown, which wraps the context's error,
//	    too.
//	S20 Close waits for calls under way. After it every method returns ErrClosed,
//	    and Close returns nil again.
//	S21 Every method may be called from any goroutine.
//	S22 An error means that nothing was written, unless it is ErrOutcomeUnknown.
//	    (With an error, Sweep says how many it had deleted by then.)
//
// # Watch
//
// These are for a store that is a Watcher.
//
//	S23 A watch begins with a Gap. Then it tells every record that is replaced or
//	    deleted by an Update which began after the Gap was told: once the change can be
//	    read and, if the Update is one of this process, before that Update returns. The
//	    order is not promised, and a record may be told more than once. A later Gap
//	    stands for all changes that were not told before it. A first Put, a Put that only
//	    raises LastUsedAt or ExpiresAt, Touch and Sweep need not be told.
//	S24 A loop body that is slow makes no writer wait. It may miss changes, and gets a
//	    Gap instead.
//	S25 The loop body may call the store, Update included, and may stop at any time;
//	    both leave nothing locked.
//	S26 A pair with an error is the last one: the context's once that has ended,
//	    ErrClosed once the store is closed, or the reason why the watch hears nothing
//	    any more.
//
// # Secrets, the living, deletion
//
//	S27 A Digest is always read with the Sealed that was put with it. Once an Update that
//	    replaced a Digest has returned, this process never reads the old one; other
//	    processes read the new one within a bound that the backend documents.
//	S28 Where the outcome of an Update is unknown, the store acts as if four kinds of
//	    its writes had happened, until it knows better: a Put of an ended record, a
//	    Put that changes the Digest that the store shows and leaves PreviousUntil zero,
//	    a Put that sets the SuspendedAt of a record which the store shows without one,
//	    and a Delete. A Put that clears SuspendedAt is none of these.
//	S29 A Put whose ExpiresAt is below the stored one needs a MaxExpiresAt that is set
//	    and not above the new ExpiresAt, or is ErrConflict: otherwise a late Touch
//	    would raise ExpiresAt again. A Put that ends a record is no exception. The
//	    record that is put must be based on the one that the Tx has read.
//	S30 Living yields, in ID order and each once, every record of the subject without
//	    an end and with ExpiresAt after now, including those that the same Tx put. It
//	    may yield others, and may leave out those of KindAlias. Its cost is that of the
//	    records that it yields, and of each newly dead record once; aliases cost
//	    nothing. This holds for a now that is earlier than in a call before, and for a
//	    record that a late Touch raised.
//	S31 A record that Delete removed is gone for every method once Update returns. A
//	    Touch of it, however late, creates nothing. A Put of its ID in the same Tx is
//	    ErrConflict.
//	S33 SuspendedAt is set and cleared by Put alone. Touch, however late it is written,
//	    never changes it.
//
// # BatchGetter
//
// This is for a store that is a BatchGetter.
//
//	S32 Gets yields the record of each ID once, as Get returns it, in any order, and
//	    nothing for an ID without a record. An error that wraps ErrCorrupt stands for
//	    the one record whose ID it has; any other error is the last pair. The loop body
//	    may call the store, Update included, and may stop at any time; both leave
//	    nothing locked. GetsFor is true of the store itself, and false of a wrapper
//	    around it.
//
// # Pager
//
// This is for a store that is a Pager.
//
//	S34 Page returns n records at most, as Get returns them, in an order of the engine's
//	    own, and next for the following page, which is "" after the last record. A
//	    record that is there from the first page to the last is in one page, whatever
//	    changes meanwhile. A page ends with a damaged record, and an error that wraps
//	    ErrCorrupt; next goes on after that record. With another error there are no
//	    records and no next. A text that is no next of this store is ErrInvalidAfter.
//	    For an n under 1 there are no records, and next is after. PageFor is true of
//	    the store itself, and false of a wrapper around it.
//
// # Stores on a shared engine
//
// An engine may serve many stores in many processes. Each clause above, except where
// it says "this process", holds across all of them. So do these:
//
//	S35 UpdateID acts as Update over the subject of the record of id, and is ErrNotFound
//	    if there is no such record when it begins.
//	S36 Where PutIfFits returns true and Update returns nil, the conditions of PutIfFits
//	    held when the Update took its place among the others of its subject.
//	S37 Cached never returns a copy that is older than the bound that the backend
//	    documents, nor, in this process, one from before an Update that has returned.
//	S38 Time of a Timekeeper does no I/O and never blocks.
//	S39 Where an Update of another process has returned, a watch tells the change within
//	    a bound that the backend documents, or tells a Gap, or ends with an error. A
//	    Change with AsOf proves that nothing from before that instant is still to come.
//	S40 An engine may bound how many records one Update puts and deletes, at 1,000 or
//	    more. Beyond that Update fails with ErrTooManyWrites, and has no effect.
//
// Such a store is no Marker: one machine with a wrong clock would end the tokens of all.
//
// # Marker
//
//	M1  Marks returns the same marks for as long as the store is open.
//	M2  Once an Update that put a record has returned nil, the Mark of the time of its
//	    call, or a later one, survives Close and a crash. That costs no write of
//	    its own.
//	M3  Every field of it survives: instants to the millisecond from year 1 to 9999,
//	    the zero Time included, and any Epoch.
//	M4  After due was called, the store writes the Mark within a bound that the backend
//	    documents, even if it has nothing else to write, and then calls Saved. Close
//	    writes the Mark, too.
//	M5  Where the mark is lost, damaged, or of an earlier epoch than some record, the
//	    store uses no older mark: it begins as NewMarks says.
//
// An ability that not every engine has is a separate interface, found by a type
// assertion. Such an ability adds features and never weakens safety.
package storage
