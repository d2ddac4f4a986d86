package postgres

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/seed-55daa01a/lapse"
)

// life is what the model knows of one token. Secrets are counted by generations.
type life struct {
	phase      phase
	generation uint32

	// old has "N:G " for each call N that has taken the secret G away, and may not have been seen by every
	// process yet; "N:- " where there was no good secret. For a call of unknown outcome N is "?". A store
	// without copies has none.
	old string

	// pending has how many calls of unknown outcome there are of each verb of changes. Each of them may
	// take effect at any later instant, or never.
	pending [4]uint8
}

// changes are the verbs that change a token.
var changes = [4]string{"expire", "suspend", "resume", "rotate"}

type phase uint8

const (
	unissued phase = iota
	live
	suspended
	ended
)

// happening is a step of the model: a command, or the settling of the call settled, after which every
// process has seen what that call has taken away. n is the number of the call in its history.
type happening struct {
	n       int
	token   lapse.ID
	settled bool
	command
	generation uint32 // of the text that is presented
}

// model returns what a token does under calls in the order in which they take effect. With copies, a call
// that takes something away takes effect in the store first. It settles later, but before it returns. In
// between, a process may accept what another one refuses.
func model(copies bool) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{life{}} },
		Step: func(state, input, output any) (next []any) {
			l, ok := state.(life).after(input.(happening), output.(answer))
			if !ok {
				return nil
			}
			for _, l := range l.pend(copies, nil) {
				next = append(next, l)
			}
			return next
		},
		Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
			of := map[lapse.ID]int{}
			for _, op := range all {
				id := op.Input.(happening).token
				i, ok := of[id]
				if !ok {
					i, of[id] = len(parts), len(parts)
					parts = append(parts, nil)
				}
				parts[i] = append(parts[i], op)
			}
			return parts
		},
		DescribeOperation: func(input, output any) string {
			h, a := input.(happening), output.(answer)
			return fmt.Sprintf("%d %s settled=%t text=%d -> %s %t %d", h.n, h.Verb, h.settled, h.generation, a.Outcome, a.Changed, a.Generation)
		},
	}
	return m.ToModel()
}

// pend adds to all what l may be once some of its pending calls have taken effect, and l itself.
func (l life) pend(copies bool, all []life) []life {
	if !copies {
		l.old = ""
	}
	if slices.Contains(all, l) {
		return all
	}
	all = append(all, l)
	for i, verb := range changes {
		if l.pending[i] == 0 {
			continue
		}
		next, _, _ := l.effect("?", verb)
		if next != l {
			next.pending[i]--
			all = next.pend(copies, all)
		}
	}
	return all
}

// after returns what l is after h, and whether h can have had the answer a.
func (l life) after(h happening, a answer) (life, bool) {
	n := fmt.Sprint(h.n)
	switch {
	case h.settled:
		before, after, found := strings.Cut(" "+l.old, " "+n+":")
		_, after, _ = strings.Cut(after, " ")
		l.old = strings.TrimPrefix(before+" "+after, " ")
		return l, found
	case h.Verb == "authenticate":
		return l, a.Outcome == l.verdict(h.generation) || a.Outcome == "ok" && strings.Contains(l.old, fmt.Sprintf(":%d ", h.generation))
	case a.Outcome == "outcome_unknown":
		l.pending[slices.Index(changes[:], h.Verb)]++
		return l, true
	}
	next, outcome, changed := l.effect(n, h.Verb)
	right := a.Outcome == outcome && a.Changed == changed
	return next, right && (h.Verb != "rotate" || outcome != "ok" || a.Generation == next.generation)
}

// verdict is the answer to a text of that generation.
func (l life) verdict(generation uint32) string {
	switch {
	case generation != l.generation:
		return "replaced"
	case l.phase == live:
		return "ok"
	case l.phase == suspended:
		return "suspended"
	}
	return "revoked"
}

// effect is what l becomes by the call n of verb, and the answer.
func (l life) effect(n, verb string) (next life, outcome string, changed bool) {
	next = l
	dead := l.phase == ended
	switch {
	case dead && (verb == "resume" || verb == "rotate"):
		return l, "revoked", false
	case verb == "issue":
		next.phase = live
		return next, "ok", false
	case verb == "resume" && l.phase == suspended:
		next.phase = live
		return next, "ok", true
	case verb == "rotate":
		next.generation++
	case verb == "expire":
		next.phase, changed = ended, !dead
	case verb == "suspend" && l.phase == live:
		next.phase, changed = suspended, true
	}
	if next != l {
		next.old = l.marked(n)
	}
	return next, "ok", changed
}

// marked is old with what a call n adds that takes the secret away.
func (l life) marked(n string) string {
	mark := n + ":- "
	if l.phase == live {
		mark = fmt.Sprintf("%s:%d ", n, l.generation)
	}
	if strings.Contains(" "+l.old, " "+mark) { // of another call of unknown outcome
		return l.old
	}
	return l.old + mark
}

// history is what callers have seen of their calls, by one monotonic clock.
type history struct {
	begin time.Time

	mu      sync.Mutex
	calls   int
	all     []porcupine.Operation
	unknown int
	nothing int    // calls that were answered with: unavailable
	says    string // the calls that check has found to be none of the model
}

// do has w do c, and notes it.
func (h *history) do(w *worker, c command, token lapse.ID, generation uint32) answer {
	call := time.Since(h.begin)
	a := w.do(c)
	returned := time.Since(h.begin)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	reads := c.Verb == "authenticate"
	op := porcupine.Operation{Call: int64(call), Return: int64(returned), Output: a}
	switch {
	case a.Outcome == "unavailable", reads && a.Outcome == "gone", c.Verb == "issue" && a.Outcome != "ok":
		h.nothing++ // a token that no caller has is no matter of the model
		return a
	case a.Outcome == "gone":
		op.Output = answer{Outcome: "outcome_unknown"}
		fallthrough
	case a.Outcome == "outcome_unknown":
		h.unknown++
	}
	if c.Verb == "issue" {
		token = a.ID
	}
	h.add(op, happening{n: h.calls, token: token, command: c, generation: generation})
	return a
}

// add adds a call to h, and that it settles before it returns, if it takes something away.
func (h *history) add(op porcupine.Operation, in happening) {
	op.Input = in
	h.all = append(h.all, op)
	a := op.Output.(answer)
	if a.Outcome == "ok" && (in.Verb == "rotate" || a.Changed && in.Verb != "resume") {
		in.settled = true
		op.Input = in
		h.all = append(h.all, op)
	}
}

// check returns whether the history is one of the model.
func (h *history) check(t *testing.T, copies bool) bool {
	t.Helper()
	all := h.all
	if !copies {
		all = nil
		for _, op := range h.all {
			if !op.Input.(happening).settled {
				all = append(all, op)
			}
		}
	}
	m := model(copies)
	for _, part := range m.Partition(all) {
		switch porcupine.CheckOperationsTimeout(m, part, time.Minute) {
		case porcupine.Unknown:
			t.Fatal("the history could not be checked within a minute")
		case porcupine.Illegal:
			h.says = describe(m, part)
			return false
		}
	}
	return true
}

// describe lists the calls of a token up to the first return by which they are none of the model.
func describe(m porcupine.Model, all []porcupine.Operation) (text string) {
	slices.SortFunc(all, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	for n := range all {
		text += fmt.Sprintf("%12d to %12d: %s\n", all[n].Call, all[n].Return, m.DescribeOperation(all[n].Input, all[n].Output))
		until := slices.Clone(all[:n+1])
		for _, later := range all[n+1:] { // a call under way has no answer yet, and may have any effect
			if h := later.Input.(happening); later.Call <= all[n].Return && !h.settled && h.Verb != "authenticate" {
				later.Output = answer{Outcome: "outcome_unknown"}
				until = append(until, later)
			}
		}
		if porcupine.CheckOperationsTimeout(m, until, time.Minute) == porcupine.Illegal {
			return text
		}
	}
	return text
}

// step is one call of a history that is written by hand.
type step struct {
	call, returned int64 // returned is 0 where the outcome is unknown
	verb           string
	generation     uint32
	answer         answer
}

// byHand returns the history of steps, all about one token that was issued at the instant 0.
func byHand(steps ...step) *history {
	h := new(history)
	for n, s := range append([]step{{0, 1, "issue", 0, answer{Outcome: "ok"}}}, steps...) {
		op := porcupine.Operation{Call: s.call, Output: s.answer, Return: s.returned}
		if s.returned == 0 {
			op.Output, op.Return = answer{Outcome: "outcome_unknown"}, s.call+1
		}
		h.add(op, happening{n: n, command: command{Verb: s.verb}, generation: s.generation})
	}
	return h
}

// TestModelOfCalls: the model takes and refuses histories that were written by hand.
func TestModelOfCalls(t *testing.T) {
	says := func(call, returned int64, generation uint32, word string) step {
		return step{call, returned, "authenticate", generation, answer{Outcome: word}}
	}
	takes := func(call, returned int64, verb string) step {
		return step{call, returned, verb, 0, answer{Outcome: "ok", Changed: verb != "rotate", Generation: 1}}
	}
	for _, row := range []struct {
		name          string
		plain, copies bool
		steps         []step
	}{
		{"good before the end", true, true, []step{says(2, 3, 0, "ok"), takes(4, 5, "expire")}},
		{"good during the end", true, true, []step{takes(2, 5, "expire"), says(3, 4, 0, "ok")}},
		{"refused during the end", true, true, []step{takes(2, 5, "expire"), says(3, 4, 0, "revoked")}},
		{"good at the instant of the return", true, true, []step{takes(2, 5, "expire"), says(5, 6, 0, "ok")}},
		{"good after the end", false, false, []step{takes(2, 5, "expire"), says(6, 7, 0, "ok")}},
		{"refused, and then good, during the end", false, true, []step{takes(2, 9, "expire"), says(3, 4, 0, "revoked"), says(5, 6, 0, "ok")}},
		{"refused without an end", false, false, []step{says(2, 3, 0, "revoked")}},
		{"unknown", false, false, []step{says(2, 3, 0, "unknown")}},
		{"good, and then refused, of an unknown end", true, true, []step{takes(2, 0, "expire"), says(3, 4, 0, "ok"), says(5, 6, 0, "revoked")}},
		{"refused, and then good, of an unknown end", false, true, []step{takes(2, 0, "expire"), says(3, 4, 0, "revoked"), says(5, 6, 0, "ok")}},
		{"two ends", false, false, []step{takes(2, 3, "expire"), takes(4, 5, "expire")}},
		{"suspended and resumed", true, true, []step{takes(2, 3, "suspend"), says(4, 5, 0, "suspended"), takes(6, 7, "resume"), says(8, 9, 0, "ok")}},
		{"good while suspended", false, false, []step{takes(2, 3, "suspend"), says(4, 5, 0, "ok")}},
		{"resumed after the end", false, false, []step{takes(2, 3, "expire"), takes(4, 5, "resume")}},
		{"the new secret, and not the old one", true, true, []step{takes(2, 3, "rotate"), says(4, 5, 1, "ok"), says(6, 7, 0, "replaced")}},
		{"the old secret after the rotation", false, false, []step{takes(2, 3, "rotate"), says(4, 5, 0, "ok")}},
		{"both secrets during the rotation", false, true, []step{takes(2, 9, "rotate"), says(3, 4, 1, "ok"), says(5, 6, 0, "ok")}},
		{"a secret of no rotation", false, false, []step{says(2, 3, 1, "ok")}},
	} {
		h := byHand(row.steps...)
		if got := h.check(t, false); got != row.plain {
			t.Errorf("%s, without copies: %t, want %t", row.name, got, row.plain)
		}
		if got := h.check(t, true); got != row.copies {
			t.Errorf("%s, with copies: %t, want %t", row.name, got, row.copies)
		}
	}
}
