package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// examinerEnv tells an examiner its seed, the first file, the one after the last,
// and how to open them.
const examinerEnv = "LAPSE_TEST_DAMAGE"

// What an examiner says of a file, before its number.
const (
	saysFile    = "file"     // it begins; with its mutation
	saysRefused = "refused"  // it was not opened
	saysDenied  = "denied"   // some record of it was
	saysGone    = "vanished" // some record of it was not there
	saysSound   = "harmless"
	saysWrong   = "WRONG" // with the first thing that was
	saysAll     = "all"

	wrongAccept = "wrong accept" // in what follows saysWrong
)

// examine is the process that opens the damaged files of the specimen in dir, one
// after the other, and uses each.
func examine(dir string) {
	var seed uint64
	var from, to int
	var how string
	_, err := fmt.Sscan(os.Getenv(examinerEnv), &seed, &from, &to, &how)
	if err != nil {
		fmt.Println(saysWrong, err)
		return
	}
	s, err := readSpecimen(dir)
	if err != nil {
		fmt.Println(saysWrong, err)
		return
	}
	e := &examiner{open: openers[how], repairs: how == repairing, path: filepath.Join(dir, fmt.Sprintf("damaged-%d.db", os.Getpid()))}
	defer e.place(nil, nil)
	now, before, err := e.truth(s, how)
	if err != nil {
		fmt.Println(saysWrong, err)
		return
	}
	for n := from; n < to; n++ {
		name, file, log := s.mutate(seed, n)
		fmt.Println(saysFile, n, name)
		switch outcome := e.examine(file, log, now, before); {
		case len(e.wrong) == 0:
			fmt.Println(outcome, n)
		default:
			fmt.Printf("%s %d %q and %d more\n", saysWrong, n, e.wrong[0], len(e.wrong)-1)
		}
	}
	fmt.Println(saysAll)
}

// examiner uses one damaged file.
type examiner struct {
	open    func(path string) (storage.Store, error)
	path    string
	repairs bool                            // records may be older than they were, or gone
	allowed map[storage.ID][]storage.Record // besides being denied
	wrong   []string
	denied  int
	gone    int
}

// place has file and log, where they are not nil, at the examiner's path, and nothing else.
func (e *examiner) place(file, log []byte) error {
	left, err := filepath.Glob(e.path + "*")
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	if file != nil {
		err = errors.Join(err, os.WriteFile(e.path, file, 0o600))
	}
	if log != nil {
		err = errors.Join(err, os.WriteFile(logPath(e.path), log, 0o600))
	}
	return err
}

// truth returns what the sound file with its log holds, and, for one who repairs, what its earlier
// versions did.
func (e *examiner) truth(s *specimen, how string) (now, before []storage.Record, err error) {
	last := len(s.versions) - 1
	if now, err = e.holds(s.versions[last], s.logs[last]); err != nil || how != repairing {
		return now, nil, err
	}
	for n := range last {
		records, err := e.holds(s.versions[n], s.logs[n])
		if err != nil {
			return nil, nil, err
		}
		before = append(before, records...)
	}
	return now, before, nil
}

func (e *examiner) holds(file, log []byte) (all []storage.Record, err error) {
	if err := e.place(file, log); err != nil {
		return nil, err
	}
	s, err := Open(e.path, nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for r, err := range s.List(context.Background(), storage.Filter{}) {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func (e *examiner) bad(format string, args ...any) {
	e.wrong = append(e.wrong, fmt.Sprintf(format, args...))
}

// brief is a record without what makes it long.
func brief(r storage.Record) storage.Record {
	r.Data = fmt.Sprintf("%d bytes", len(r.Data))
	return r
}

// examine returns what came of the file and its log, with what was wrong in e.wrong.
func (e *examiner) examine(file, log []byte, now, before []storage.Record) (outcome string) {
	*e = examiner{open: e.open, path: e.path, repairs: e.repairs, allowed: make(map[storage.ID][]storage.Record)}
	for _, r := range slices.Concat(now, before) {
		e.allowed[r.ID] = append(e.allowed[r.ID], r)
	}
	if err := e.place(file, log); err != nil {
		e.bad("%v", err)
	}
	s, err := e.open(e.path)
	if err != nil {
		e.refusal(err, file, log)
		return saysRefused
	}
	e.look(s)
	switch {
	case e.denied > 0:
		outcome = saysDenied
	case e.gone > 0:
		outcome = saysGone
		if _, err := s.Get(context.Background(), specimenRecord(specimenRecords).ID); !e.repairs && (e.gone > 1 || err == nil) {
			e.bad("%s: %d records have vanished", wrongAccept, e.gone)
		}
	default:
		outcome = saysSound
	}
	e.use(s, now)
	e.typed("Close", s.Close())
	if s, err := e.open(e.path); err != nil {
		e.refusal(err, nil, nil)
	} else {
		e.look(s)
		e.typed("Close", s.Close())
	}
	return outcome
}

// refusal checks the error of Open, and that it left file and log as they were.
func (e *examiner) refusal(err error, file, log []byte) {
	if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, ErrNotStore) && !errors.Is(err, ErrNewerSchema) {
		e.bad("Open: %v", err)
	}
	if file == nil {
		return
	}
	if after, err := os.ReadFile(e.path); err != nil || !bytes.Equal(after, file) {
		e.bad("the file was refused and changed, %v", err)
	}
	if after, err := os.ReadFile(logPath(e.path)); (err == nil) != (log != nil) || !bytes.Equal(after, log) {
		e.bad("the log was refused and changed, %v", err)
	}
}

// typed checks the error of a call on an open store.
func (e *examiner) typed(what string, err error) {
	for _, class := range []error{nil, storage.ErrCorrupt, storage.ErrNotFound, storage.ErrUnavailable, storage.ErrOutcomeUnknown} {
		if errors.Is(err, class) {
			return
		}
	}
	e.bad("%s: %v", what, err)
}

// look reads everything: each record is one of those allowed, or denied, or gone.
func (e *examiner) look(s storage.Store) {
	ctx := context.Background()
	for id, allowed := range e.allowed {
		got, err := s.Get(ctx, id)
		switch {
		case err == nil && !slices.ContainsFunc(allowed, got.Equal):
			e.bad("%s: %+v", wrongAccept, brief(got))
		case errors.Is(err, storage.ErrCorrupt):
			e.denied++
		case errors.Is(err, storage.ErrNotFound):
			e.gone++
		default:
			e.typed("Get", err)
		}
	}
	for _, f := range []storage.Filter{{}, {Subject: record(1).Subject}, {ExpiresBefore: epoch.AddDate(10, 0, 0)}} {
		for got, err := range s.List(ctx, f) {
			if err != nil {
				e.typed("List", err)
				e.denied++ // a key is damaged, for one: the subject of its record is unknown
			} else if !slices.ContainsFunc(e.allowed[got.ID], got.Equal) {
				e.bad("%s by List: %+v", wrongAccept, brief(got))
			}
		}
	}
}

// use ends, issues, renews and sweeps some.
func (e *examiner) use(s storage.Store, truth []storage.Record) {
	ctx := context.Background()
	for n := 3; n < len(truth); n += len(truth) / 4 {
		r := truth[n]
		ended := r
		if r.EndedAt.IsZero() {
			ended.EndedAt, ended.EndReason = epoch.AddDate(0, 1, 0), storage.EndSubject
		}
		e.put(s, ended)
		e.put(s, specimenRecord(1000+n))
		rotated := truth[n-2]
		(&operation{number: n}).rotate(&rotated)
		e.put(s, rotated)
		e.delete(s, truth[n-3])
		use := storage.Use{At: epoch.AddDate(0, 0, 3), ExpiresAt: epoch.AddDate(0, 2, 0)}
		touched := truth[n-1]
		use.Raise(&touched)
		e.allowed[touched.ID] = append(e.allowed[touched.ID], touched)
		e.typed("Touch", s.Touch(ctx, touched.ID, use))
	}
	_, err := s.Sweep(ctx, epoch.Add(100*time.Millisecond), 50)
	e.typed("Sweep", err)
}

// delete deletes r, which no list may have then.
func (e *examiner) delete(s storage.Store, r storage.Record) {
	err := deleting(s, r)
	e.typed("Update", err)
	if err == nil {
		delete(e.allowed, r.ID)
	}
}

// put puts r, which then is what must be read.
func (e *examiner) put(s storage.Store, r storage.Record) {
	err := s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
	e.typed("Update", err)
	switch {
	case err == nil:
		e.allowed[r.ID] = []storage.Record{r}
	case errors.Is(err, storage.ErrOutcomeUnknown):
		e.allowed[r.ID] = append(e.allowed[r.ID], r)
	}
}
