package model

import (
	"context"
	"errors"
	"fmt"
	"slices"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// step does a on both sides, and says where they part in what they return, tell and store.
func (w *world) step(m *model, a *deed) error {
	w.told, m.told = nil, nil
	known := len(m.records)
	if err := w.take(m, a); err != nil {
		return err
	}
	if err := w.settle(m); err != nil {
		return err
	}
	slices.Sort(w.told)
	slices.Sort(m.told)
	if !slices.Equal(w.told, m.told) {
		return same("told", m.told, w.told)
	}
	if err := w.compare(m); err != nil {
		return err
	}
	return w.branchNew(m, known)
}

// take is the part of step that compares what is returned.
func (w *world) take(m *model, a *deed) error {
	bearer := ""
	if a.text != (modelText{}) {
		if bearer = w.spell(m, a.text); w.bearer != nil {
			bearer = w.bearer(w, m, a, bearer)
		}
	}
	var id lapse.ID
	if a.record != nowhere && a.record < len(m.records) {
		id = m.records[a.record].id
	}
	v := coverVerbOf(a.verb)
	var late func() outcome
	var failed error
	w.between, w.model = nil, m
	if a.between != nil {
		w.between = func() {
			m.proof = a.proof
			late = m.late(w, a)
			failed = w.take(m, a.between)
		}
	}
	m.proof, w.ctx = a.proof, proving(a.proof)
	if w.skip != nil && w.skip(m, a) {
		w.ctx = proving(m.records[a.text.record].bound)
	}
	got, bearers, err := v.real(w, a, id, bearer)
	m.proof, w.ctx = a.proof, context.Background() // what happened between has set them
	got.failed(err)
	if w.after != nil {
		w.after(w, m, a, &got)
	}
	if failed != nil {
		return failed
	}
	var want outcome
	if late != nil {
		want = late()
	} else {
		want = v.model(m, w, a, got.token.ID)
	}
	want.rejected.Err = nil
	if err := w.give(m, a, want.given, bearers); err != nil {
		return err
	}
	want.given = nil
	return want.compare(&got)
}

// give takes the texts of an answer in hand. Those that are there must be the same, and
// new ones must be new.
func (w *world) give(m *model, a *deed, texts []modelText, bearers []string) error {
	if len(texts) != len(bearers) {
		return fmt.Errorf("%d texts given; want %d", len(bearers), len(texts))
	}
	for i, t := range texts {
		held := w.held(t)
		if held != "" && held != bearers[i] {
			return fmt.Errorf("another text than before of generation %d", t.generation)
		}
		for _, h := range w.texts {
			if h.modelText != t && h.bearer == bearers[i] {
				return fmt.Errorf("the text of generation %d is that of %d", t.generation, h.generation)
			}
		}
		if held == "" && !a.lost {
			w.texts = append(slices.Clip(w.texts), heldText{t, bearers[i]})
		}
	}
	return nil
}

// compare says how got differs from what was wanted, if it does.
func (want *outcome) compare(got *outcome) error {
	if got.err == want.err && got.rejected == want.rejected && got.token == want.token && got.session == want.session &&
		got.ok == want.ok && got.count == want.count && got.left == want.left && got.reduced == want.reduced && slices.Equal(got.evicted, want.evicted) {
		return nil
	}
	if got.err != want.err {
		return fmt.Errorf("error %v; want %v", got.err, want.err)
	}
	return errors.Join(
		same("rejection", want.rejected, got.rejected), same("token", want.token, got.token), same("session", want.session, got.session),
		same("ok, reduced", []bool{want.ok, want.reduced}, []bool{got.ok, got.reduced}),
		same("count, left", []int64{int64(want.count), want.left}, []int64{int64(got.count), got.left}), same("evicted", want.evicted, got.evicted),
	)
}

func same(what string, want, got any) error {
	if diff := gocmp.Diff(want, got); diff != "" {
		return fmt.Errorf("%s (-want +got):\n%s", what, diff)
	}
	return nil
}

// compare holds everything that is stored against the model.
func (w *world) compare(m *model) error {
	var err error
	if w.stored, err = w.contents(w.stored[:0]); err != nil {
		return err
	}
	var all, aliases []storage.Record
	for _, rec := range w.stored {
		if rec.Kind == storage.KindAlias {
			aliases = append(aliases, rec)
		} else {
			all = append(all, rec)
		}
	}
	if err := w.compareAliases(m, aliases); err != nil {
		return err
	}
	for _, n := range m.byID() {
		r := &m.records[n]
		if r.swept {
			continue
		}
		if len(all) == 0 || all[0].ID != r.id {
			return fmt.Errorf("record %d is not stored", n)
		}
		if err := w.compareRecord(m, n, &all[0]); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		all = all[1:]
	}
	if len(all) > 0 {
		return fmt.Errorf("%d records too many", len(all))
	}
	return nil
}

func (w *world) compareRecord(m *model, n int, rec *storage.Record) error {
	r := &m.records[n]
	kept, err := keptIn(rec)
	if err != nil {
		return err
	}
	salt := kept.Salt
	kept.Salt = ""
	wantKept := r.kept()
	if want := m.stored(r); want.Token != rec.Token || want.TTL != rec.TTL || want.PreviousUntil != rec.PreviousUntil || want.CapEdited != rec.CapEdited {
		want.Digest, want.Sealed = rec.Digest, rec.Sealed
		return same("stored", want, *rec)
	}
	if wantKept != kept {
		return same("kept", wantKept, kept)
	}
	if !kept.Salted {
		return nil
	}
	for _, s := range w.salts {
		if s.salt == salt && (s.record != n || s.generation != r.generation) {
			return fmt.Errorf("the salt of generation %d is that of generation %d of record %d", r.generation, s.generation, s.record)
		}
		if s.record == n && s.generation == r.generation {
			if s.salt != salt {
				return fmt.Errorf("the salt of generation %d has become another", r.generation)
			}
			return nil
		}
	}
	w.salts = append(slices.Clip(w.salts), heldSalt{n, r.generation, salt})
	return nil
}

// kept is what the record of r keeps sealed.
func (r *modelRecord) kept() kept {
	if r.kind == lapse.KindSession {
		k := kept{
			Salted: r.salted, Previous: r.before != nowhere, RefreshPrefix: r.refreshPrefix, AccessScope: r.accessScope,
			AccessExpires: instantOf(r.accessExpires), AccessTTL: ms(r.accessTTL), AccessBefore: r.accessBefore,
		}
		if r.accessBefore {
			k.AccessUntil = instantOf(r.accessUntil)
		}
		return k
	}
	requested := r.requestKey != 0 && r.generation == 0
	k := kept{
		Tagged: r.tagged, Unused: r.unused, Salted: r.salted || requested, Obtained: r.key != 0, Requested: requested,
		Floor: uint32(r.floor), Previous: r.before != nowhere,
	}
	if k.Previous {
		k.Before = uint32(r.before)
	}
	return k
}

// branchNew takes the texts of another future of each record whose secrets have tags from
// this step on.
func (w *world) branchNew(m *model, known int) error {
	if w.twin == nil {
		return nil
	}
	for n := range m.records {
		r, kind := &m.records[n], plainText
		begins := r.tagged && r.generation == 1 && m.lives(r)
		if r.kind == lapse.KindSession {
			kind, begins = accessText, n >= known
		}
		if !begins || w.held(modelText{record: n, kind: kind, generation: r.generation + 1, twin: true}) != "" {
			continue
		}
		if err := w.branch(m, n); err != nil {
			return err
		}
	}
	return nil
}

// late returns what the check a, which is to be a use, comes to after something else has
// happened since it was judged: its verdict stands. It is nil for any other verb, which
// is judged once more.
func (m *model) late(w *world, a *deed) func() outcome {
	if a.verb != "authenticate" || m.records[a.text.record].uses > 0 || m.standing(a.text) != isCurrent {
		return nil
	}
	p, before := w.policies[a.by], m.clone()
	if r := &m.records[a.text.record]; r.generation > 0 && r.unused {
		judged := before.authenticate(p, a.text, toPeek)
		return func() outcome {
			after := m.clone()
			if o := after.authenticate(p, a.text, toUse); o.err == nil && after.standing(a.text) == isCurrent {
				m.records, m.told = after.records, append(m.told, after.told...)
				return o
			}
			return judged
		}
	}
	o := before.authenticate(p, a.text, toUse)
	return func() outcome {
		r, then := &m.records[a.text.record], &before.records[a.text.record]
		if !r.swept && r.ended == unset {
			r.used, r.expires = max(r.used, then.used), max(r.expires, min(then.expires, r.limit))
		}
		m.told = append(m.told, before.told...)
		return o
	}
}
