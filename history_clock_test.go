package lapse_test

import "time"

func (h *history) move(ms int64) {
	h.say("clock moves by %d", ms)
	h.clock.add(time.Duration(ms) * time.Millisecond)
	h.model.now = max(h.model.now, h.clock.Now().UnixMilli())
	h.look()
}

// look has somebody see what the clock says, so that time does not go back behind it.
func (h *history) look() { h.managers[0].ExpireSubject(h.ctx, "nobody") }

func (h *history) forward(int) error {
	h.move(pick[int64](h, 1, second, minute, 10*minute, 29*minute, 30*minute, hour, day))
	return nil
}

// edge moves the clock to where something changes for a token, or a millisecond beside.
func (h *history) edge(n int) error {
	t := h.some(4)
	if t == nil {
		return nil
	}
	kept := t.retained() + h.policies[n].retention
	graced := min(t.expires, t.ended) + h.modelPairs.grace
	to := pick(h, t.seen(h.policies[n]).expires, kept, graced) + pick[int64](h, 1, 0, -1)
	if to > h.model.now && to < h.model.now+2*day { // and not where there is no expiry
		h.move(to - h.model.now)
	}
	return nil
}

func (h *history) back(int) error {
	h.move(-pick[int64](h, 1, minute, 30*minute, day))
	return nil
}
