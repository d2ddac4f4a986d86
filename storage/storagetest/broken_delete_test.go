package storagetest

import (
	"context"

	"github.com/seed-55daa01a/lapse/storage"
)

func deleteFlaws() []flaw {
	return []flaw{
		{"delete_is_not_told", []string{"S23"}, tellingLike(func(t *toy, rs []storage.Record) {
			for _, r := range rs {
				if _, there := t.records[r.ID]; there {
					tellAll(t, []storage.Record{r})
				}
			}
		})},
		{"delete_does_nothing", []string{"S23", "S30", "S31", "S40"}, deletingLike(func(d deletingTx, id storage.ID) error {
			_, err := d.Tx.Get(id)
			return err
		})},
		{"delete_takes_anyones", []string{"S31"}, deletingLike(func(d deletingTx, id storage.ID) error {
			t := d.Tx.(*toyTx)
			if _, there := t.records[id]; !there {
				return storage.ErrNotFound
			}
			delete(t.records, id)
			t.put = append(t.put, storage.Record{Token: storage.Token{ID: id, Subject: t.subject}})
			t.gone[id] = true
			return nil
		})},
		{"delete_of_nothing_is_fine", []string{"S31"}, deletingLike(func(d deletingTx, id storage.ID) error {
			d.Tx.Delete(id)
			return nil
		})},
		{"deleted_may_be_put", []string{"S31"}, deletingLike(func(d deletingTx, id storage.ID) error {
			err := d.Tx.Delete(id)
			delete(d.Tx.(*toyTx).gone, id)
			return err
		})},
		{"deletes_before_it_commits", []string{"S31"}, deletingLike(func(d deletingTx, id storage.ID) error {
			err := d.Tx.Delete(id)
			if t := d.Tx.(*toyTx); err == nil {
				delete(t.toy.records, id)
			}
			return err
		})},
		{"touch_creates_what_was_deleted", []string{"S31"}, func(t *toy) storage.Store { return newHaunted(t, false) }},
		{"late_touch_creates_what_was_deleted", []string{"S31"}, func(t *toy) storage.Store { return newHaunted(t, true) }},
		{"keeps_the_ghost_for_the_next", []string{"S31"}, func(t *toy) storage.Store { return newInheriting(t) }},
		{"deleted_is_back_after_reopening", []string{"S31", "S40"}, func(t *toy) storage.Store { return newUndeleting(t) }},
	}
}

// deleting is a store whose transactions delete in a way of their own.
type deleting struct {
	*toy
	how func(d deletingTx, id storage.ID) error
}

type deletingTx struct {
	storage.Tx
	how func(d deletingTx, id storage.ID) error
}

func deletingLike(how func(d deletingTx, id storage.ID) error) func(*toy) storage.Store {
	return func(t *toy) storage.Store { return deleting{t, how} }
}

func (d deleting) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return d.toy.Update(ctx, subject, func(tx storage.Tx) error { return fn(deletingTx{tx, d.how}) })
}

func (d deletingTx) Delete(id storage.ID) error { return d.how(d, id) }

// haunted remembers what Touch has raised and what was deleted, and creates it again by
// the next Touch, or where Close writes what is left.
type haunted struct {
	*toy
	late    bool
	touched map[storage.ID]storage.Record
	ghosts  map[storage.ID]storage.Record
}

func newHaunted(t *toy, late bool) *haunted {
	return &haunted{t, late, make(map[storage.ID]storage.Record), make(map[storage.ID]storage.Record)}
}

func (h *haunted) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return h.toy.Update(ctx, subject, func(tx storage.Tx) error {
		spy := &spyTx{Tx: tx}
		err := fn(spy)
		for _, id := range spy.deletes {
			if r, there := h.records[id]; there && err == nil { // which are those before the commit
				h.ghosts[id] = r
			}
		}
		return err
	})
}

func (h *haunted) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	err := h.toy.Touch(ctx, id, use)
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, ok := h.records[id]; ok {
		h.touched[id] = r
	} else if r, ok := h.ghosts[id]; ok && !h.late && !h.closed {
		use.Raise(&r)
		h.records[id] = r
	}
	return err
}

func (h *haunted) Close() error {
	h.mu.Lock()
	for id := range h.ghosts {
		if r, touched := h.touched[id]; touched && h.late {
			if _, there := h.records[id]; !there {
				h.records[id] = r
			}
		}
	}
	h.mu.Unlock()
	return h.toy.Close()
}

// inheriting raises what is put under the ID of a deleted record to what that was.
type inheriting struct {
	*toy
	ghosts map[storage.ID]storage.Use
}

func newInheriting(t *toy) *inheriting {
	i := &inheriting{t, make(map[storage.ID]storage.Use)}
	t.stored = func(r storage.Record) storage.Record {
		if use, ok := i.ghosts[r.ID]; ok {
			use.Raise(&r)
		}
		return r
	}
	return i
}

func (i *inheriting) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return i.toy.Update(ctx, subject, func(tx storage.Tx) error {
		spy := &spyTx{Tx: tx}
		err := fn(spy)
		for _, id := range spy.deletes {
			if r, there := i.records[id]; there && err == nil {
				i.ghosts[id] = storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}
			}
		}
		return err
	})
}

// undeleting writes no deletions.
type undeleting struct {
	*toy
	deleted map[storage.ID]storage.Record
}

func newUndeleting(t *toy) *undeleting { return &undeleting{t, make(map[storage.ID]storage.Record)} }

func (u *undeleting) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return u.toy.Update(ctx, subject, func(tx storage.Tx) error {
		spy := &spyTx{Tx: tx}
		err := fn(spy)
		for _, id := range spy.deletes {
			if r, there := u.records[id]; there && err == nil {
				u.deleted[id] = r
			}
		}
		return err
	})
}

func (u *undeleting) Close() error {
	u.mu.Lock()
	for id, r := range u.deleted {
		if _, there := u.records[id]; !there {
			u.records[id] = r
		}
	}
	u.mu.Unlock()
	return u.toy.Close()
}
