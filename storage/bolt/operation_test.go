package bolt

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// operation is one call of a workload on its store. Every value that it writes
// follows from its number and is written by no other: whoever finds one in the
// file knows where it is from.
type operation struct {
	number  int
	kind    kind
	issues  int   // how many records it issues, maxIssues at most
	targets []int // the serials of the records that it ends or renews
	answer  answer
	told    bool // the workload has said the answer
}

// kind is what an operation does.
type kind string

const (
	doIssue   kind = "issue"   // puts new records, in one Update
	doEnd     kind = "end"     // ends a record
	doRenew   kind = "renew"   // raises an expiry by Update
	doTouch   kind = "touch"   // raises expiry and last use by Touch
	doEvict   kind = "evict"   // ends a record and puts another, in one Update
	doSubject kind = "subject" // ends all of a subject's, in one Update
	doDelete  kind = "delete"  // deletes a record and puts another, in one Update
	doRotate  kind = "rotate"  // replaces the secret of a record
	doCap     kind = "cap"     // lowers the expiry of a record that has no cap, and is its cap
	doSweep   kind = "sweep"   // deletes what died a while ago
	doFlush   kind = "flush"   // sees that no Touch is left to be written
)

// answer is what became of an operation, as far as the workload said.
type answer string

const (
	saidUnknown answer = "unknown" // also that of an operation which the workload did not survive
	saidDone    answer = "done"
	saidRefused answer = "refused" // no effect
)

const (
	maxIssues   = 4
	subjects    = 6
	saidBegun   = "begun" // an operation, in what a workload says
	saidOpening = "opening"
	saidOpened  = "opened"
	saidFailed  = "failed" // something that must not, and that is the end
)

// epoch is before every instant that an operation writes.
var epoch = record(0).IssuedAt

// at is the operation's own instant, a millisecond apart from the next one's.
func (o *operation) at() time.Time { return epoch.Add(time.Duration(o.number) * time.Millisecond) }

// expiry is later than that of every earlier operation, and of every record as it
// was issued.
func (o *operation) expiry() time.Time { return o.at().AddDate(2, 0, 0) }

// deadBefore is the instant that a sweep is for: earlier than what any later
// operation writes.
func (o *operation) deadBefore() time.Time { return o.at().Add(-100 * time.Millisecond) }

func (o *operation) reason() storage.EndReason {
	return map[kind]storage.EndReason{doEnd: storage.EndRevoked, doEvict: storage.EndEvicted, doSubject: storage.EndSubject}[o.kind]
}

func (o *operation) ends() bool { return o.reason() != 0 }

// limit is the cap that o sets: before every expiry.
func (o *operation) limit() time.Time { return o.at().AddDate(0, 6, 0) }

// rotate gives r the secret that o writes. That before works on for a while every other
// time.
func (o *operation) rotate(r *storage.Record) {
	r.Digest = storage.NewDigest(storage.SHA256, [32]byte(fmt.Appendf(nil, "%32d", o.number)))
	r.Generation, r.RotatedAt = uint32(o.number), o.at()
	if r.PreviousUntil = (time.Time{}); o.number%2 == 0 {
		r.PreviousUntil = o.at().Add(time.Second)
	}
}

// serial returns the serial of the i-th record that o issues.
func (o *operation) serial(i int) int { return o.number*maxIssues + i }

func serialOf(id storage.ID) int {
	var serial int
	for _, b := range id[:8] {
		serial = serial<<8 | int(b)
	}
	return serial - 1
}

func subjectOf(number int) string { return fmt.Sprintf("subject %d", number%subjects) }

// issued returns the record of a serial as it is issued. Some are large, and some
// run out soon enough to be swept.
func issued(serial int) storage.Record {
	o := operation{number: serial / maxIssues}
	r := record(serial)
	r.Subject, r.ExpiresAt, r.MaxExpiresAt = subjectOf(o.number), o.at().AddDate(1, 0, 0), time.Time{}
	switch {
	case serial%29 == 0:
		r.Data = strings.Repeat("x", storage.MaxData)
	case serial%7 == 0:
		r.Data = strings.Repeat("y", 1500)
	case serial%5 == 0:
		r.ExpiresAt = o.at().Add(50 * time.Millisecond)
	}
	return r
}

// String is the line in which a workload says that o has begun.
func (o *operation) String() string {
	text := fmt.Sprint(saidBegun, " ", o.number, " ", o.kind, " ", o.issues)
	for _, serial := range o.targets {
		text += fmt.Sprint(" ", serial)
	}
	return text
}

// parse reads what follows begun in such a line.
func parse(text string) (*operation, error) {
	o := &operation{answer: saidUnknown}
	r := strings.NewReader(text)
	if _, err := fmt.Fscan(r, &o.number, &o.kind, &o.issues); err != nil {
		return nil, err
	}
	for {
		var serial int
		switch _, err := fmt.Fscan(r, &serial); err {
		case nil:
			o.targets = append(o.targets, serial)
		case io.EOF:
			return o, nil
		default:
			return nil, err
		}
	}
}
