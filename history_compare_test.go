package lapse_test

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

func (h *history) observe(e lapse.Event) {
	if e.Kind == lapse.EventEnded {
		h.told = append(h.told, e.Token.ID.String())
	}
}

// compareEnds: each end is told of once, and nothing else is.
func (h *history) compareEnds() error {
	return same("ends told of", slices.Sorted(slices.Values(h.model.told)), slices.Sorted(slices.Values(h.told)))
}

// compareRecords holds what is stored itself against the model: it is not enough that a
// Manager makes the same of it.
func (h *history) compareRecords() error {
	var want []*modelToken
	for _, t := range h.model.tokens {
		if !t.swept {
			want = append(want, t)
		}
	}
	slices.SortFunc(want, func(a, b *modelToken) int { return strings.Compare(a.id, b.id) })
	for rec, err := range h.store.List(h.ctx, storage.Filter{}) {
		if err != nil {
			return err
		}
		if len(want) == 0 {
			return same("a record of nobody's", lapse.Token{}, rec.Token)
		}
		t := want[0]
		want = want[1:]
		sealed := t.key != 0 || t.paired || t.sealed || t.prefix == "r" && t.reason != lapse.EndRotated
		if rec.Token == t.stored() && rec.TTL.Milliseconds() == t.ttl && (rec.Sealed.Len() > 0) == sealed {
			continue // without the cost of finding out how they differ
		}
		want := storage.Record{Token: t.stored(), TTL: time.Duration(t.ttl) * time.Millisecond, Digest: rec.Digest, Sealed: rec.Sealed}
		return errors.Join(same("record", want, rec), same("something sealed in "+t.id, sealed, rec.Sealed.Len() > 0))
	}
	return same("records that are missing", 0, len(want))
}

// compare holds everything that is stored against the model.
func (h *history) compare() error {
	for n, p := range h.policies {
		for _, subject := range []string{"ana", "bob", "an"} {
			var want []lapse.Token
			for _, t := range h.model.tokens {
				if t.subject == subject && !t.swept {
					want = append(want, t.view(p))
				}
			}
			slices.SortFunc(want, func(a, b lapse.Token) int { return a.ID.Compare(b.ID) })
			got, err := collect(h.managers[n].Tokens(h.ctx, subject))
			if err == nil && slices.Equal(want, got) {
				continue // without the cost of finding out how they differ
			}
			if err := errors.Join(err, same("tokens of "+subject, want, got)); err != nil {
				return err
			}
		}
	}
	return nil
}
