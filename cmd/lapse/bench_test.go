package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// BenchmarkLs runs `lapse ls` of one subject against a program with 100,000 tokens, and `lapse --version`, by
// turns. The ratio is the median of those of each turn.
func BenchmarkLs(b *testing.B) {
	w := inMemory(b)
	for i := range 100_000 {
		w.issue(lapse.Grant{Subject: fmt.Sprint("user", i/10)})
	}
	path := built(b)
	took := func(lines int, args ...string) time.Duration {
		begin := time.Now()
		out, err := exec.Command(path, args...).Output()
		if err != nil || bytes.Count(out, []byte("\n")) != lines {
			b.Fatalf("%v\n%s", err, out)
		}
		return time.Since(begin)
	}
	var ratios []float64
	for b.Loop() {
		version := took(1, "--version")
		ls := took(11, append(w.args, "ls", "user77")...)
		ratios = append(ratios, float64(ls)/float64(version))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ls/version")
}

// BenchmarkWatch ends tokens while a real `lapse watch` prints them. It reports how many ends a second were
// printed, and how many gaps took the place of ends.
func BenchmarkWatch(b *testing.B) {
	w := inMemory(b)
	var ids []lapse.ID
	for range 20_000 {
		ids = append(ids, w.issue(lapse.Grant{Subject: fmt.Sprint("user", len(ids)/10)}).Token.ID)
	}
	lines, stop := w.watchingProcess(b)
	if !lines.Scan() {
		b.Fatal("no first line")
	}
	printed, gaps := 0, 0
	last := ids[len(ids)-1].String()
	begin := time.Now()
	go func() {
		for i, id := range ids {
			if early := time.Duration(i)*100*time.Microsecond - time.Since(begin); early > time.Millisecond {
				time.Sleep(early) // 10,000 a second
			}
			if _, err := w.users.Expire(b.Context(), id); err != nil {
				b.Error(err)
			}
		}
	}()
	for lines.Scan() {
		switch line := lines.Text(); {
		case line[:3] == "gap":
			gaps++
		default:
			printed++
		}
		if lines.Text()[:22] == last {
			break
		}
	}
	b.ReportMetric(float64(printed)/time.Since(begin).Seconds(), "ends/s")
	b.ReportMetric(float64(gaps), "gaps")
	b.ReportMetric(float64(len(ids)-printed), "missed")
	stop()
}

// watchingProcess runs `lapse watch` as a process of its own.
func (w *world) watchingProcess(b *testing.B) (lines *bufio.Scanner, stop func()) {
	watch := exec.Command(built(b), append(w.args, "watch")...)
	out, err := watch.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		b.Fatal(err)
	}
	return bufio.NewScanner(out), func() {
		watch.Process.Kill()
		watch.Wait()
	}
}
