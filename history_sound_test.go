package lapse_test

import "fmt"

// sound says what must hold of the ties between tokens whatever was called: the model
// might make the same mistake as what it is the model of.
func (h *history) sound() error {
	// What ran out is good again where the clock is set back: it is not counted on.
	h.model.latest = max(h.model.latest, h.model.now)
	lives := func(t *modelToken) bool {
		return t != nil && !t.swept && t.ended == never && t.expires > h.model.latest
	}
	successors := make(map[*modelToken]*modelToken)
	tips := make(map[*modelToken]*modelToken) // of the families of Pairs
	for _, t := range h.model.tokens {
		if !lives(t) {
			continue
		}
		if p := t.predecessor; p != nil {
			if other := successors[p]; other != nil {
				return fmt.Errorf("%s and %s are both alive and replace %s", other.id, t.id, p.id)
			}
			successors[p] = t
			if lives(p) && lives(p.predecessor) {
				return fmt.Errorf("%s has two predecessors that are alive", t.id)
			}
		}
		if t.prefix == "r" {
			if other := tips[t.family]; other != nil {
				return fmt.Errorf("%s and %s are refresh tokens of one family", other.id, t.id)
			}
			tips[t.family] = t
		}
		if t.successor != nil && !t.paired && t.expires != t.limit {
			return fmt.Errorf("%s is in its overlap, and a renewal would lengthen it", t.id)
		}
	}
	return nil
}

// robbed says whether anything of a family is left alive once it has been ended.
func (h *history) robbed(family *modelToken) error {
	for _, t := range h.model.tokens {
		if t.family == family && h.model.lives(t) {
			return fmt.Errorf("%s has survived the end of its family", t.id)
		}
	}
	return nil
}
