package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// writtenExperiments have children renew tokens at a steady rate, and count what reaches
// the disk from Open to the end of Close. Only Linux tells that.
func writtenExperiments(p plan, size int) []experiment {
	if _, err := os.Stat(ioPath); err != nil {
		return nil
	}
	id := "written/" + count(size)
	return []experiment{&measurement{
		group: group{ID: id, Kind: "written", Tokens: size, Callers: 1,
			Title: fmt.Sprintf("Bytes on disk by %s renewals a second of %s tokens, from Open to the end of Close: %v of them",
				grouped(p.renewals), grouped(size), p.renewing)},
		lines: []row{
			{id: id + "/bolt/group-commit", lapse: "bolt", peer: "group-commit", must: atMost(0.35), allocs: uncounted},
			{id: id + "/bolt-log/allowed", lapse: "bolt-log", peer: "allowed", must: atMost(1), allocs: uncounted},
		},
		measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
			return w.countWritten(ctx, size, rows)
		},
	}}
}

func (w *world) countWritten(ctx context.Context, size int, rows []row) ([]result, error) {
	own, err := w.renewedByLapse(ctx, size)
	if err != nil {
		return nil, err
	}
	w.say("lapse made %s renewals in %s", grouped(own.Done), humane(float64(own.Took), "ns"))
	var all []result
	for _, r := range rows {
		if r.peer == "allowed" {
			res := r.compare("B", []float64{float64(own.Log)}, []float64{float64(own.Limit)})
			if res.Note = "at its largest beside its file"; own.Log == 0 {
				res.Note = "no log was seen"
			}
			all = append(all, r.judge(res))
			continue
		}
		peer, err := w.renewedByBbolt(ctx, size)
		if err != nil {
			return nil, err
		}
		all = append(all, compareWritten(r, own, peer))
	}
	return all, nil
}

// compareWritten compares the bytes of both sides.
func compareWritten(r row, own, peer answer) result {
	res := r.compare("B", []float64{float64(own.Bytes)}, []float64{float64(peer.Bytes)})
	res.Note = fmt.Sprintf("%s renewals in %s, those of the peer in %s and %s transactions", grouped(own.Done),
		humane(float64(own.Took), "ns"), humane(float64(peer.Took), "ns"), grouped(peer.Commit))
	return r.judge(res)
}

// steady is a job that makes the renewals of the plan. Both sides renew the same places.
func (w *world) steady(kind, path string) job {
	n := int(w.plan.renewing.Seconds() * float64(w.plan.renewals))
	return job{Kind: kind, Path: path, Count: max(1, n), Rate: w.plan.renewals, Seed: 6}
}

func (w *world) renewedByLapse(ctx context.Context, size int) (answer, error) {
	s, err := w.shelf(size)
	if err != nil {
		return answer{}, err
	}
	path, err := w.copied(s.path)
	if err != nil {
		return answer{}, err
	}
	return w.steady("renew with lapse", path).run(ctx)
}

func (w *world) renewedByBbolt(ctx context.Context, size int) (answer, error) {
	values, err := w.recordSize()
	if err != nil {
		return answer{}, err
	}
	path := w.file("renewed.db")
	db, err := fillBare(path, size, values, fastOptions())
	if err != nil {
		return answer{}, err
	}
	if err := db.Close(); err != nil {
		return answer{}, err
	}
	j := w.steady("renew with bbolt", path)
	j.Values = values
	return j.run(ctx)
}

// paced calls op count times, rate times a second, each call at its time or as soon after
// as the ones before are done.
func paced(count, rate int, op func(i int) error) error {
	begin := time.Now()
	for i := range count {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if wait := time.Until(due); wait > time.Millisecond { // several at once: a timer costs more than a renewal
			time.Sleep(wait)
		}
		if err := op(i); err != nil {
			return err
		}
	}
	return nil
}
