package lapse

import "errors"

// checkLater has CheckSubject asked about t again.
func (r *holdRun) checkLater(t *heldToken) {
	if !t.checking {
		t.checking = true
		r.check = append(r.check, t)
	}
}

// ask asks CheckSubject about those whose turn it is, once for each subject and one
// after the other. Whatever it says but a refusal cuts nobody.
func (r *holdRun) ask() {
	for subjects := r.takeChecks(); subjects != nil; subjects = r.takeChecks() {
		for subject, tokens := range subjects {
			if r.ctx.Err() != nil { // nobody is held any more
				return
			}
			err := r.m.check(r.ctx, subject)
			if !errors.Is(err, ErrSubjectRefused) {
				continue
			}
			for _, t := range tokens {
				r.m.holds.cut(t, &Rejection{Err: err, ID: t.id, Subject: subject})
			}
		}
	}
}

// takeChecks returns those whose turn it is by subject, or nil if there are none.
func (r *holdRun) takeChecks() map[string][]*heldToken {
	s := &r.m.holds
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.check) == 0 || s.run != r {
		r.asking = false
		return nil
	}
	subjects := make(map[string][]*heldToken)
	for _, t := range r.check {
		t.checking = false
		subjects[t.subject] = append(subjects[t.subject], t)
	}
	r.check = nil
	return subjects
}
