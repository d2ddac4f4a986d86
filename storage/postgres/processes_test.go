package postgres

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage/near"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

var stops = flag.Int("stops", 6, "how often TestStoppedProcess stops a process")

// TestProcessesAgreeOnTheLease: a process with another lease, or other ends, is refused with an error that
// names both.
func TestProcessesAgreeOnTheLease(t *testing.T) {
	const schema = "processes agree"
	first := near.Options{Lease: 200 * time.Millisecond, EndsWait: true}
	w := workers(t, 1, schema, &first)[0]
	for _, row := range []struct {
		o    near.Options
		says []string // nil: it starts
	}{
		{first, nil},
		{near.Options{Lease: 300 * time.Millisecond, EndsWait: true}, []string{`"200ms, ends wait"`, `"300ms, ends wait"`}},
		{near.Options{Lease: 200 * time.Millisecond}, []string{`"200ms, ends wait"`, `"200ms"`}},
	} {
		_, said := launch(t, workerConfig{DSN: dsn(t), Options: Options{Schema: schema}, Near: &row.o})
		if (said.Outcome == "ok") != (row.says == nil) {
			t.Errorf("%+v: %s %s", row.o, said.Outcome, said.Error)
		}
		for _, says := range row.says {
			if !strings.Contains(said.Error, says) {
				t.Errorf("%+v: %q does not name %s", row.o, said.Error, says)
			}
		}
	}
	w.must(t, command{Verb: "issue", Subject: "ana"})
}

// TestStoppedProcess stops a process that has copies of some tokens, amid its checks, has another process end
// the tokens meanwhile, and has the first one go on. No check that is asked for after an end has returned is
// good. A check that was under way may be: it can have been decided before the stop.
func TestStoppedProcess(t *testing.T) {
	const tokens = 12
	all := workers(t, 2, "stopped process", &near.Options{Lease: 150 * time.Millisecond, EndsWait: true})
	ends, reads := all[0], all[1]
	late := 0
	for round := range *stops {
		var issued []answer
		for range tokens {
			issued = append(issued, ends.must(t, command{Verb: "issue", Subject: "ana"}))
		}
		for _, i := range issued {
			reads.must(t, command{Verb: "authenticate", Text: i.Text})
		}
		var early []<-chan answer
		for _, i := range issued {
			early = append(early, reads.send(command{Verb: "peek", Text: i.Text}))
		}
		for wait, began := rand.N(2*time.Millisecond), time.Now(); time.Since(began) < wait; {
		}
		reads.signal(t, syscall.SIGSTOP)
		var ending []<-chan answer
		for _, i := range issued {
			ending = append(ending, ends.send(command{Verb: "expire", ID: i.ID}))
		}
		for _, end := range ending {
			if a := <-end; a.Outcome != "ok" || !a.Changed {
				t.Fatalf("round %d: an end while a process is stopped: %s %s", round, a.Outcome, a.Error)
			}
		}
		var checks []<-chan answer
		for _, i := range issued {
			checks = append(checks, reads.send(command{Verb: "authenticate", Text: i.Text}))
		}
		reads.signal(t, syscall.SIGCONT)
		for _, check := range checks {
			if a := <-check; a.Outcome != "revoked" {
				t.Errorf("round %d: the process that was stopped says %s of an ended token", round, a.Outcome)
			}
		}
		for _, check := range early {
			if a := <-check; a.Outcome == "revoked" {
				late++
			} else if a.Outcome != "ok" {
				t.Errorf("round %d: a check at the time of the stop: %s %s", round, a.Outcome, a.Error)
			}
		}
	}
	t.Logf("%d rounds of %d tokens; %d checks were stopped before they were decided", *stops, tokens, late)
}

// TestPausedServer stops all processes of the server while two processes check and end tokens. Each call
// returns when its context ends, no token is called no good, and all goes on after that.
func TestPausedServer(t *testing.T) {
	dsn(t)
	server, err := pgtest.Start(t.Context(), filepath.Join(t.TempDir(), "server"), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop("immediate")
	if err := Migrate(t.Context(), poolOf(t, server.DSN()), nil); err != nil {
		t.Fatal(err)
	}
	c := workerConfig{DSN: server.DSN(), Options: Options{ProbeEvery: 20 * time.Millisecond}}
	plain := startedWorker(t, c)
	c.Near = &near.Options{Lease: 100 * time.Millisecond}
	copies := startedWorker(t, c)
	var issued []answer
	for range 4 {
		issued = append(issued, plain.must(t, command{Verb: "issue", Subject: "ana"}))
	}
	keep, end := issued[0], issued[1]
	copies.must(t, command{Verb: "authenticate", Text: keep.Text})
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	defer server.Resume()
	const limit = 300 * time.Millisecond
	begin := time.Now()
	var reads, writes []<-chan answer
	for _, w := range []*worker{plain, copies} {
		for range 3 {
			reads = append(reads, w.send(command{Verb: "authenticate", Text: keep.Text, Timeout: limit}))
			writes = append(writes, w.send(command{Verb: "expire", ID: end.ID, Timeout: limit}), w.send(command{Verb: "issue", Subject: "ana", Timeout: limit}))
		}
	}
	for _, read := range reads { // those of copies are good within the lease
		if a := <-read; a.Outcome != "unavailable" && a.Outcome != "ok" {
			t.Errorf("a check meanwhile: %s %s", a.Outcome, a.Error)
		}
	}
	for _, write := range writes {
		if a := <-write; a.Outcome != "unavailable" && a.Outcome != "outcome_unknown" {
			t.Errorf("a write meanwhile: %s %s", a.Outcome, a.Error)
		}
	}
	if took := time.Since(begin); took > limit+late {
		t.Errorf("calls with %v took %v", limit, took)
	}
	if a := copies.do(command{Verb: "authenticate", Text: keep.Text, Timeout: 50 * time.Millisecond}); a.Outcome != "unavailable" {
		t.Errorf("a check after the lease: %s %s", a.Outcome, a.Error)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*worker{plain, copies} {
		w.must(t, command{Verb: "authenticate", Text: keep.Text})
		w.must(t, command{Verb: "expire", ID: end.ID})
		if a := w.do(command{Verb: "authenticate", Text: end.Text}); a.Outcome != "revoked" {
			t.Errorf("an ended token afterwards: %s %s", a.Outcome, a.Error)
		}
	}
}
