package admin

import (
	"os"
	"testing"
)

// TestAllow: the program's own user may do everything, the others what their first entry says.
func TestAllow(t *testing.T) {
	self := os.Geteuid()
	a, b, c := self+1000, self+1001, self+1002
	for _, row := range []struct {
		name  string
		allow Allow
		uid   int
		want  Caller
		ok    bool
	}{
		{"own, no list", nil, self, Caller{self, true}, true},
		{"own, listed as reader", Allow{{UID: self}}, self, Caller{self, true}, true},
		{"another, no list", nil, a, Caller{}, false},
		{"reader", Allow{{UID: a}, {UID: b, Full: true}}, a, Caller{a, false}, true},
		{"full", Allow{{UID: a}, {UID: b, Full: true}}, b, Caller{b, true}, true},
		{"not listed", Allow{{UID: a}, {UID: b, Full: true}}, c, Caller{}, false},
		{"listed twice, reader first", Allow{{UID: a}, {UID: a, Full: true}}, a, Caller{a, false}, true},
		{"listed twice, full first", Allow{{UID: a, Full: true}, {UID: a}}, a, Caller{a, true}, true},
		{"an empty entry is the superuser", Allow{{}}, a, Caller{}, false},
		{"no user", Allow{{UID: a}}, -1, Caller{}, false},
	} {
		if got, ok := row.allow.caller(row.uid); got != row.want || ok != row.ok {
			t.Errorf("%s: %+v, %v", row.name, got, ok)
		}
	}
}
