// Package storage is the contract between a lapse.Manager and whatever keeps its
// records. Authors of a backend need it; everybody else imports lapse and one of
// the backends below this package, and finds the fields of Token and ID here.
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
//	S2  Get finds the dead as well as the living. An ID that nobody put is
//	    ErrNotFound.
//	S3  Nothing returned shares memory with the store and nothing passed in is
//	    kept: no later write changes an answer already given.
//
// # Update
//
//	S4  A Tx sees its subject whole: every record of it, dead ones too, in ID
//	    order, what the same Tx put included; and nothing of another subject.
//	S5  All or nothing. An error from fn aborts and comes back unwrapped.
//	S6  Serializable over one subject: concurrent Updates of it act as if one
//	    came after the other, and Touches fall before or after, never between.
//	S7  Put creates or replaces. An ID that another subject holds, or a record
//	    that names another subject, is ErrConflict, from Put or from Update.
//	S8  Put never revives: replacing an ended record, one that this Tx ended
//	    included, by one with another EndedAt or EndReason is ErrConflict.
//	S9  A panic or runtime.Goexit in fn aborts, reaches the caller and releases
//	    every lock; the store goes on.
//	S10 What Update acknowledged with nil survives Close and a crash.
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
//	    writes what is left.
//
// # List and Sweep
//
//	S14 List yields every record that the filter selects once, dead ones too, in
//	    ID order. A record put or deleted meanwhile may be there or not. An error
//	    that wraps ErrCorrupt stands for one record, of which only the ID may be
//	    known, and iteration goes on; any other error is the last pair.
//	S15 The loop body may call the store, Update included, and may stop at any
//	    time; both leave nothing locked or open.
//	S16 Sweep deletes only records that were dead before the instant it is given
//	    (Token.DeadFrom before it); one for which it is that very instant stays.
//	S17 Sweep deletes at most limit records, none for a limit below 1, and says
//	    how many; fewer than limit means that none is left but what another Sweep
//	    is deleting. It finds them by an index: its cost does not grow with what
//	    is alive.
//	S18 Sweep judges by what is stored when it deletes: a record renewed
//	    meanwhile survives.
//
// # Context, errors, closing
//
//	S19 A context that ends before the effect means no effect and an error that
//	    wraps the context's, also while Update waits for its turn, runs fn, or waits
//	    behind other writes. Once the commit began the true result comes back, or, if
//	    the context ends first, ErrOutcomeUnknown, which wraps the context's error,
//	    too.
//	S20 Close waits for calls under way. After it every method returns ErrClosed,
//	    and Close returns nil again.
//	S21 Every method may be called from any goroutine.
//	S22 An error means that nothing was written, unless it is ErrOutcomeUnknown.
//	    (With an error, Sweep says how many it had deleted by then.)
//
// # Secrets, the living, deletion
//
//	S27 Digest and Sealed are read as they were put together. Once an Update that
//	    replaced a Digest has returned, this process never reads the old one; other
//	    processes read the new one within a bound that the backend documents.
//	S28 Where the outcome of an Update is unknown, the store acts as if three kinds of
//	    its writes had happened, until it knows better: a Put of an ended record, a
//	    Put that changes the Digest that the store shows and leaves PreviousUntil zero,
//	    and a Delete.
//	S29 A Put whose ExpiresAt is below the stored one needs a MaxExpiresAt that is set
//	    and not above the new ExpiresAt, or is ErrConflict: otherwise a late Touch
//	    would raise ExpiresAt again. A Put that ends a record is no exception: what is
//	    put is what the Tx has read, changed.
//	S30 Living yields, in ID order and each once, every record of the subject without
//	    an end and with ExpiresAt after now, what the same Tx put included, and may
//	    yield others. It costs what the records cost that it yields, and each newly
//	    dead record once. This holds for a now that is earlier than in a call before,
//	    and for a record that a late Touch raised.
//	S31 A record that Delete removed is gone for every method once Update returns. A
//	    Touch of it, however late, creates nothing. A Put of its ID in the same Tx is
//	    ErrConflict.
//
// # Watch
//
// These are for a store that is a Watcher.
//
//	S23 A watch begins with a Gap. Then it tells every record that is put or deleted by
//	    an Update which began after the Gap was told: once the change can be read, and
//	    before that Update returns. The order is not promised, and a record may be told more than once.
//	    A Gap at any later time stands for whatever was not told before it. Touch and
//	    Sweep need not be told.
//	S24 A loop body that is slow makes no writer wait. What it misses is a Gap.
//	S25 The loop body may call the store, Update included, and may stop at any time;
//	    both leave nothing locked.
//	S26 A pair with an error is the last one: the context's once that has ended,
//	    ErrClosed once the store is closed, or why nothing is heard any more.
//
// # Marker
//
//	M1  Marks returns one and the same for as long as the store is open.
//	M2  Once an Update that put something has returned nil, the Mark of when it was
//	    called, or a later one, survives Close and a crash. That costs no write of
//	    its own.
//	M3  Every field of it survives: instants to the millisecond from year 1 to 9999,
//	    the zero Time included, and any Epoch.
//	M4  What due was called for is written within a bound that the backend documents,
//	    although nothing else is, and then Saved is called. Close writes the Mark, too.
//	M5  A mark that is lost, damaged, or of an earlier epoch than some record is no
//	    older mark: the store begins as NewMarks says.
//
// fn may run more than once and must be pure: it has no effect except through
// its Tx and through variables of its caller that each run sets anew. It must not
// call the store. Identifiers and secrets are drawn before Update.
//
// Abilities that not every engine has are separate interfaces, found by
// assertion. They add features and never weaken safety.
package storage
