// Package lapseotel tells OpenTelemetry what a lapse.Manager does: metrics of all verbs, and events
// in the spans of their callers.
//
// # Metrics
//
// OpenTelemetry has no names for this, so all names begin with "lapse.". Counters and connections are
// read from lapse.Manager.Stats when the reader of metrics asks, so that a check of a token pays
// nothing. The two histograms are filled by Telemetry.Observe. A check that only counts a use is no event.
//
//	lapse.verb.calls            {call}        verb, outcome   calls of each verb
//	lapse.holds                 {connection}                  connections that are held now
//	lapse.hold.releases         {connection}                  connections that their clients or handlers ended
//	lapse.hold.cuts             {connection}  outcome         connections that were cut, by the cause
//	lapse.sweep.records         {record}                      records that Sweep deleted
//	lapse.clock.disagreements   {disagreement}                how often the clock and that of the store began to disagree
//	lapse.verb.duration         s             verb, event, outcome   from the call of a verb to its effect
//	lapse.hold.cut.duration     s             outcome         from the death of a token to the cut of a connection
//
// Every attribute begins with "lapse.", too: lapse.verb, lapse.outcome, lapse.event, and lapse.prefix,
// which all have. Their values are the words of package lapse: those of Verb, of StatKey.Outcome and Code,
// and of EventKind. So their number is bounded. No ID and no subject of a token is a value of them. The
// prefix of a counter is that of the Manager that was added, and of a duration that of lapse.Event: Issue and
// Refresh of lapse.Pairs have that of the refresh texts there.
//
// lapse.verb.duration has the events of verbs that may write durably (lapse.Event.Took): one for each
// call that has one effect. A call that ends several tokens has one for each. Where a verb and an
// eviction of the same call are events, lapse.event tells them apart. The Clock of the Manager needs
// a method Elapsed, as the system's has. lapse.hold.cut.duration is in the time of that Clock, in whole
// milliseconds. A cut whose cause has no instant, as that by a replaced secret, has none.
//
// # Spans
//
// Where the context of a verb has a span that records, each event of the verb becomes an event of that
// span: "lapse." and the kind, with the attributes above. With Options.Subjects it also has
// lapse.subject. A cut has no caller, and so no span.
package lapseotel
