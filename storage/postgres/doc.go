// Package postgres keeps tokens in PostgreSQL, version 14 or later, for any number of processes on any
// number of machines.
//
// # What it promises
//
// Durable means what it means for the server: a call that returned nil is in the write-ahead log, and
// with synchronous replication also on the standby, as synchronous_commit says. Where the connection
// breaks between the commit and its answer, the store finds out on a new connection what happened, and
// makes sure that a write which has not happened never will. ErrOutcomeUnknown is left for four cases: the
// server cannot be reached for some seconds; the subject was changed several times meanwhile; the context
// ends before the answer; other processes cannot be told of the write (below).
//
// A check is one round trip, an issue within a limit is one, and nearly every other verb is two: one
// statement reads, one writes. A verb that changes one token by its text or ID is one, if this process has
// written that token last of its subject: the verb begins with the copy that the store has kept, and the
// write proves that the copy is not old. No transaction is open while a verb decides, except for the one that
// was overtaken by another of its subject and is tried again.
//
// A renewal by use is written within Options.FlushEvery, many in one statement, or at once where
// another process would otherwise see the token run out. A crash of this process loses the uses of that
// time and nothing else.
//
// Other processes see every write with their next read. They are told (Watch) of what takes something
// away: ends, suspensions, edits, replaced secrets and deletions. The notice is sent behind the commit
// and in the same round trip. Where it cannot be sent for some seconds, the call returns
// ErrOutcomeUnknown, and other processes are told as soon as that is possible. A store hears notices on
// a connection of its own, and proves every Options.ProbeEvery that it still does. While it does not,
// its watches end with an error.
//
// # Failover
//
// The promotion of an asynchronous standby loses what the standby had not received. A token that was
// issued just before is unknown afterwards, and one that was ended just before is good again. The store
// cannot tell. Two settings of the server prevent it: synchronous_standby_names names the standby, and
// synchronous_commit is on, its default, or remote_apply. Then a call returns nil once the standby has
// the write. With local, off or remote_write it does not wait for the standby's disk. Where this is not
// set, end the tokens of all subjects after a promotion.
//
// The DSN leads to the new primary by an address that moves, or names all servers and has
// target_session_attrs=read-write. The store goes on there by itself. It reads nothing from a standby,
// which may lack a good token. Meanwhile calls fail with ErrUnavailable. A caller of New
// calls Configure for that.
//
// # Poolers
//
// A pooler in the mode of transactions, pgbouncer for instance, swallows LISTEN: Open finds that out
// and says so. Give it Options.ListenDSN, which leads to the server itself. Where the pooler keeps no
// prepared statements apart, add default_query_exec_mode=exec to the DSN.
//
// # Damage
//
// A row whose body is damaged, or whose columns do not agree with the body, is storage.ErrCorrupt for each
// call that reads it: its token is neither good nor bad, and an end of all tokens of its subject leaves it
// alone. Three things are not found out. A row whose id or tag is damaged is found by no Get. Sweep judges
// by the columns. A count in the table subject that is too low, or a deleted row of it, lets a subject have
// more tokens than its limit, until an Issue finds that the count has come to the limit.
//
// # Words
//
// These are the words of this package alone:
//
//	header  the row of a subject, which each Update of the subject changes
//	rev     the random number in a header, by which an Update finds out that another one came between
//	fit     a record that is put unread, if at most some number of tokens of its subject live
//	fence   a write that makes another one, which was not answered, impossible unless it has happened
//	doubt   a change is in doubt from when it was not answered until that is settled
//	grave   of a change that takes something away (S28): while in doubt, it counts as done
//	untold  of a change of which other processes were not told
//	tag     the last two bytes of an ID, the same for all tokens of a subject
package postgres
