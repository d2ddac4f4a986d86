package lapse

import (
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestRoomOfTheReplaced: a live token that the draft's tie names the draft a successor of
// does not count, though the successor is not stored yet.
func TestRoomOfTheReplaced(t *testing.T) {
	for _, replaces := range []bool{true, false} {
		m, _ := managerOver(t, memory.New(), Config{Policy: Policy{MaxTokens: 1}})
		old := issueTo(t, m, Grant{Subject: "ana"})
		d := draft{m: m, grant: Grant{Subject: "ana"}, tie: func(tx storage.Tx, d *draft) error {
			rec, err := getIn(tx, old.ID)
			if err != nil || !replaces {
				return err
			}
			rec.Successor = d.rec.ID
			return tx.Put(rec)
		}}
		if err := d.issue(t.Context(), "replace"); (err == nil) != replaces {
			t.Errorf("replaces: %v: %v", replaces, err)
		}
	}
}
