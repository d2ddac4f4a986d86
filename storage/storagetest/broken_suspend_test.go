package storagetest

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func suspendFlaws() []flaw {
	return []flaw{
		{"touch_resumes", []string{"S33"}, func(t *toy) storage.Store { return resumed{t} }},
		{"late_touch_writes_what_it_read", []string{"S33"}, func(t *toy) storage.Store { return &lateSuspended{t, make(map[storage.ID]time.Time)} }},
	}
}

// resumed takes a use of a suspended record for the end of the suspension.
type resumed struct{ *toy }

func (s resumed) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	err := s.toy.Touch(ctx, id, use)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.records[id]; ok && err == nil {
		r.SuspendedAt = time.Time{}
		s.records[id] = r
	}
	return err
}

// lateSuspended writes on Close the suspension that each record had when it was touched first.
type lateSuspended struct {
	*toy
	seen map[storage.ID]time.Time
}

func (s *lateSuspended) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	err := s.toy.Touch(ctx, id, use)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[id]
	if _, touched := s.seen[id]; ok && !touched && err == nil {
		s.seen[id] = r.SuspendedAt
	}
	return err
}

// lateAcross is lateSuspended, except that it knows what its own process puts.
type lateAcross struct{ lateSuspended }

func (s *lateAcross) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	err := s.toy.Update(ctx, subject, fn)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.seen)
	}
	return err
}

func (s *lateSuspended) Close() error {
	s.mu.Lock()
	for id, at := range s.seen {
		if r, ok := s.records[id]; ok {
			r.SuspendedAt = at
			s.records[id] = r
		}
	}
	s.mu.Unlock()
	return s.toy.Close()
}
