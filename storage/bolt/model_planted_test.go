package bolt

import (
	"maps"
	"slices"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// holding returns what a file would hold with those records, as issued.
func holding(serials ...int) map[int]storage.Record {
	found := make(map[int]storage.Record)
	for _, serial := range serials {
		found[serial] = issued(serial)
	}
	return found
}

// with returns found with what operation o has done to a record.
func with(found map[int]storage.Record, serial int, o operation) map[int]storage.Record {
	found = maps.Clone(found)
	r := found[serial]
	switch {
	case o.ends():
		r.EndedAt, r.EndReason = o.at(), o.reason()
	case o.kind == doRotate:
		o.rotate(&r)
	case o.kind == doCap:
		r.ExpiresAt, r.MaxExpiresAt = o.limit(), o.limit()
	case o.kind == doTouch:
		r.LastUsedAt = o.at()
		fallthrough
	default:
		r.ExpiresAt = o.expiry()
	}
	found[serial] = r
	return found
}

// TestModelCatches shows the model what a store must not leave behind, and what it
// may. Operation 1 has issued the records 4, and 5, which runs out at once.
func TestModelCatches(t *testing.T) {
	both, first := holding(4, 5), holding(4)
	ended := with(both, 4, operation{number: 2, kind: doEnd})
	renewed := with(both, 4, operation{number: 2, kind: doRenew})
	touched := with(both, 4, operation{number: 2, kind: doTouch})
	wiped := with(with(both, 4, operation{number: 2, kind: doSubject}), 5, operation{number: 2, kind: doSubject})
	evicted := with(holding(4, 5, 8), 4, operation{number: 2, kind: doEvict})
	secret := with(both, 4, operation{number: 2, kind: doRotate})
	limited := with(both, 4, operation{number: 2, kind: doCap})
	beyond := with(touched, 4, operation{number: 2, kind: doCap})
	r := beyond[4]
	r.ExpiresAt = touched[4].ExpiresAt
	beyond[4] = r
	other := maps.Clone(both)
	r = other[4]
	r.Scope = "admin"
	other[4] = r
	type said = []string
	issues := said{"begun 1 issue 2", "done 1"}
	for _, row := range []struct {
		name  string
		said  said
		late  bool // touches are written later
		found map[int]storage.Record
		wrong bool
	}{
		{"nothing lost", issues, false, both, false},
		{"all lost", issues, false, nil, true},
		{"one lost", issues, false, first, true},
		{"another's", issues, false, holding(4, 5, 8), true},
		{"another content", issues, false, other, true},
		{"unanswered, there", said{"begun 1 issue 2"}, false, both, false},
		{"unanswered, not there", said{"begun 1 issue 2"}, false, nil, false},
		{"unanswered, half", said{"begun 1 issue 2"}, false, first, true},
		{"unknown, there", said{"begun 1 issue 2", "unknown 1"}, false, both, false},
		{"unknown, half", said{"begun 1 issue 2", "unknown 1"}, false, first, true},
		{"refused, there", said{"begun 1 issue 2", "refused 1"}, false, both, true},
		{"refused, not there", said{"begun 1 issue 2", "refused 1"}, false, nil, false},

		{"ended", said{"begun 2 end 0 4", "done 2"}, false, ended, false},
		{"ended, alive", said{"begun 2 end 0 4", "done 2"}, false, both, true},
		{"ended, at another instant", said{"begun 2 end 0 4", "done 2"}, false, with(both, 4, operation{number: 3, kind: doEnd}), true},
		{"ended, for another reason", said{"begun 2 end 0 4", "done 2"}, false, with(both, 4, operation{number: 2, kind: doEvict}), true},
		{"end unanswered, ended", said{"begun 2 end 0 4"}, false, ended, false},
		{"end unanswered, alive", said{"begun 2 end 0 4"}, false, both, false},
		{"end refused, ended", said{"begun 2 end 0 4", "refused 2"}, false, ended, true},
		{"nobody ended it", nil, false, ended, true},
		{"all ended", said{"begun 2 subject 0 4 5", "done 2"}, false, wiped, false},
		{"all ended, half", said{"begun 2 subject 0 4 5"}, false, with(both, 4, operation{number: 2, kind: doSubject}), true},
		{"evicted", said{"begun 2 evict 1 4"}, false, evicted, false},
		{"evicted, no successor", said{"begun 2 evict 1 4"}, false, with(both, 4, operation{number: 2, kind: doEvict}), true},
		{"evicted, two of them", said{"begun 2 evict 1 4"}, false, holding(4, 5, 8), true},

		{"deleted", said{"begun 2 delete 1 4", "done 2"}, false, holding(5, 8), false},
		{"deleted, and there", said{"begun 2 delete 1 4", "done 2"}, false, holding(4, 5, 8), true},
		{"deletion unanswered, there", said{"begun 2 delete 1 4"}, false, both, false},
		{"deletion unanswered, gone", said{"begun 2 delete 1 4"}, false, holding(5, 8), false},
		{"deletion unanswered, half", said{"begun 2 delete 1 4"}, false, holding(4, 5, 8), true},
		{"deletion refused, gone", said{"begun 2 delete 1 4", "refused 2"}, false, holding(5), true},
		{"deleted, then ended with all", said{"begun 2 delete 1 4", "done 2", "begun 3 subject 0 4 5", "done 3"}, false,
			with(holding(5, 8), 5, operation{number: 3, kind: doSubject}), false},
		{"deleted, then touched", said{"begun 2 delete 1 4", "done 2", "begun 3 touch 0 4", "done 3"}, false, holding(5, 8), false},

		{"rotated", said{"begun 2 rotate 0 4", "done 2"}, false, secret, false},
		{"rotated, and not", said{"begun 2 rotate 0 4", "done 2"}, false, both, true},
		{"rotation unanswered, done", said{"begun 2 rotate 0 4"}, false, secret, false},
		{"rotation unanswered, and not", said{"begun 2 rotate 0 4"}, false, both, false},
		{"rotation refused", said{"begun 2 rotate 0 4", "refused 2"}, false, secret, true},
		{"rotated twice, the first", said{"begun 2 rotate 0 4", "done 2", "begun 3 rotate 0 4", "done 3"}, false, secret, true},
		{"rotated twice, the first, second unanswered", said{"begun 2 rotate 0 4", "done 2", "begun 3 rotate 0 4"}, false, secret, false},
		{"rotated twice, the last", said{"begun 2 rotate 0 4", "begun 3 rotate 0 4", "done 3"}, false,
			with(secret, 4, operation{number: 3, kind: doRotate}), false},

		{"capped", said{"begun 2 cap 0 4", "done 2"}, false, limited, false},
		{"capped, and not", said{"begun 2 cap 0 4", "done 2"}, false, both, true},
		{"capped, then touched", said{"begun 2 cap 0 4", "done 2", "begun 3 touch 0 4", "done 3"}, true, limited, false},
		{"touched past the cap", said{"begun 2 touch 0 4", "done 2", "begun 2 cap 0 4", "done 2"}, true, beyond, true},

		{"renewed", said{"begun 2 renew 0 4", "done 2"}, false, renewed, false},
		{"renewed, and not", said{"begun 2 renew 0 4", "done 2"}, true, both, true},
		{"nobody renewed it", nil, false, renewed, true},
		{"renewal refused", said{"begun 2 renew 0 4", "refused 2"}, false, renewed, true},
		{"touched at once", said{"begun 2 touch 0 4", "done 2"}, false, touched, false},
		{"touched at once, and not", said{"begun 2 touch 0 4", "done 2"}, false, both, true},
		{"touched, half", said{"begun 2 touch 0 4", "done 2"}, false, renewed, true},
		{"touched, not flushed", said{"begun 2 touch 0 4", "done 2"}, true, both, false},
		{"touched, flushed", said{"begun 2 touch 0 4", "done 2", "begun 3 flush 0", "done 3"}, true, touched, false},
		{"touched, flushed, and not", said{"begun 2 touch 0 4", "done 2", "begun 3 flush 0", "done 3"}, true, both, true},
		{"touched during a flush", said{"begun 2 touch 0 4", "begun 3 flush 0", "done 2", "done 3"}, true, both, false},
		{"touched after the end", said{"begun 3 end 0 4", "done 3", "begun 2 touch 0 4", "done 2"}, true,
			with(touched, 4, operation{number: 3, kind: doEnd}), true},
		{"touched during the end", said{"begun 3 end 0 4", "begun 2 touch 0 4", "done 2", "done 3"}, false,
			with(touched, 4, operation{number: 3, kind: doEnd}), false},
		{"touched, then alive", said{"begun 3 end 0 4", "done 3", "begun 2 touch 0 4", "done 2"}, true, touched, true},

		{"swept", said{"begun 300 sweep 0"}, false, first, false},
		{"swept, a live one", said{"begun 300 sweep 0", "done 300"}, false, holding(5), true},
		{"swept, an ended one", said{"begun 2 end 0 4", "done 2", "begun 300 sweep 0"}, false, holding(5), false},
		{"swept, one renewed before", said{"begun 2 touch 0 5", "done 2", "begun 300 sweep 0"}, true, first, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newModel()
			m.atOnce = !row.late
			lines := row.said
			if len(lines) == 0 || lines[0][:7] != issues[0][:7] {
				lines = slices.Concat(issues, lines)
			}
			for _, line := range lines {
				if _, err := m.hear(line); err != nil {
					t.Fatal(err)
				}
			}
			if wrong := m.judge(row.found); (len(wrong) > 0) != row.wrong {
				t.Errorf("the model says %q; wrong is %v", wrong, row.wrong)
			}
		})
	}
}

// TestModelSettles: what was unknown is known once it was looked at, and stays so.
func TestModelSettles(t *testing.T) {
	for _, was := range []map[int]storage.Record{nil, holding(4, 5)} {
		for _, is := range []map[int]storage.Record{nil, holding(4, 5)} {
			m := newModel()
			if _, err := m.hear("begun 1 issue 2"); err != nil {
				t.Fatal(err)
			}
			if wrong := m.judge(was); wrong != nil {
				t.Error(wrong)
			}
			m.settle(was)
			if wrong := m.judge(is); (wrong == nil) != (len(was) == len(is)) {
				t.Errorf("%d records, then %d: %v", len(was), len(is), wrong)
			}
		}
	}
}

// TestModelRefusesNonsense: a line that is none is an error, not silence.
func TestModelRefusesNonsense(t *testing.T) {
	for _, line := range []string{"", "begun", "begun x", "begun 1 issue", "begun 1 end 0 x", "done 7", "done", "failed 7 no", "panic: no"} {
		if _, err := newModel().hear(line); err == nil {
			t.Errorf("%q was heard", line)
		}
	}
}
