package table

import (
	"slices"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// aliasRecord returns the n-th record of ana's, as an alias that expires at 5000.
func aliasRecord(n int) storage.Record {
	r := with(record(n, "ana"), 0, 5000, 0)
	r.Kind = storage.KindAlias
	return r
}

// TestLivingPassesOverAliases: a walk looks at one alias at most, the leader of the subject, whether
// aliases came before or after the tokens, and were put again or not.
func TestLivingPassesOverAliases(t *testing.T) {
	const many = 2000
	for name, first := range map[string]int{"aliases first": 1, "tokens first": many + 10} {
		table := New()
		put := func(r storage.Record) { table.Put(&r, storage.Use{}) }
		for n := range many {
			put(aliasRecord(first + n))
			if n < 3 {
				put(with(record(many+1+n, "ana"), 0, 5000, 0))
			}
		}
		for n := range many / 2 {
			later := aliasRecord(first + n)
			later.ExpiresAt = at(6000)
			put(later)
		}
		if _, n := looks(table, 1000); n > 3+2 {
			t.Errorf("%s: %d records were looked at; want 3 tokens, a leader and the first of the others", name, n)
		}
		checkTable(t, table)
		if !table.underLimit(new(storage.ID), "ana", 4, at(1000), nil) {
			t.Errorf("%s: aliases count against a limit", name)
		}
		for n := range many { // the leader among them: another takes its place
			alias := aliasRecord(first + n)
			table.Delete(alias.ID)
		}
		if ids := table.Living(nil, "ana", at(1000), nil); len(ids) != 3 {
			t.Errorf("%s: %d live without the aliases; want 3", name, len(ids))
		}
		checkTable(t, table)
	}
}

// TestAliasThatBecomesAToken: a record that is an alias no more is found by a walk.
func TestAliasThatBecomesAToken(t *testing.T) {
	table := New()
	for n := range 3 {
		alias := aliasRecord(1 + n)
		table.Put(&alias, storage.Use{})
	}
	token := with(record(2, "ana"), 0, 5000, 0)
	table.Put(&token, storage.Use{})
	if ids := table.Living(nil, "ana", at(1000), nil); !slices.Contains(ids, token.ID) {
		t.Errorf("living are %v; want %v among them", ids, token.ID)
	}
	checkTable(t, table)
}
