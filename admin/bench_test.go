package admin

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// benchServer serves a store in memory with n tokens, ten of each subject.
func benchServer(b *testing.B, n int) (m *lapse.Manager, path string) {
	m = must(lapse.New(memory.New(), lapse.Config{}))
	for i := range n {
		must(m.Issue(b.Context(), lapse.Grant{Subject: fmt.Sprint("user", i/10)}))
	}
	path = filepath.Join(b.TempDir(), "s")
	l := must(net.Listen("unix", path))
	s := &Server{Managers: []*lapse.Manager{m}}
	ended := make(chan bool)
	go func() {
		defer close(ended)
		s.Serve(b.Context(), l)
	}()
	b.Cleanup(func() { <-ended })
	return m, path
}

// BenchmarkLook connects, lists the ten tokens of one subject among 100,000, and hangs up.
func BenchmarkLook(b *testing.B) {
	_, path := benchServer(b, 100_000)
	for b.Loop() {
		c := must(Dial(b.Context(), path))
		if all, errs := collect(c.List(b.Context(), lapse.Query{Subject: "user77"})); len(all) != 10 || errs != nil {
			b.Fatal(len(all), errs)
		}
		c.Close()
	}
}

// BenchmarkWatch ends a token and lets a Client's Watch follow. gaps/op above 0 says that it did not keep
// up.
func BenchmarkWatch(b *testing.B) {
	m, path := benchServer(b, 0)
	tok := must(m.Issue(b.Context(), lapse.Grant{Subject: "ana"}))
	last := must(m.Issue(b.Context(), lapse.Grant{Subject: "last"}))
	c := must(Dial(b.Context(), path))
	defer c.Close()
	gaps, seen := -1, 0
	begun, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for change := range c.Watch(b.Context(), lapse.Query{}) {
			if seen++; change.Gap {
				if gaps++; gaps == 0 {
					close(begun)
				} else if must(m.Token(b.Context(), last.ID)).EndReason != 0 {
					return
				}
			}
			if change.Token.ID == last.ID {
				return
			}
		}
	}()
	<-begun
	for b.Loop() {
		must(m.Suspend(b.Context(), tok.ID))
		must(m.Resume(b.Context(), tok.ID))
	}
	must(m.Expire(b.Context(), last.ID))
	<-ended
	b.ReportMetric(float64(gaps)/float64(b.N), "gaps/op")
	b.ReportMetric(float64(seen)/b.Elapsed().Seconds(), "changes/s")
}
