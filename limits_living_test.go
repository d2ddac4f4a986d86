package lapse_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seed-55daa01a/lapse"
)

// TestNoVerbTrustsLiving: Living may yield the dead, too, and each verb asks of every
// record itself whether it lives.
func TestNoVerbTrustsLiving(t *testing.T) {
	for name, row := range map[string]struct {
		die  func(c *costs) error // something that made room
		want func(c *costs) error
	}{
		"a dead token takes no room": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.budget.ID); return err },
			func(c *costs) error {
				i, err := c.m.Issue(c.ctx, lapse.Grant{Subject: "ana"})
				return errors.Join(err, evictedNone(i.Evicted))
			}},
		"a dead session takes no room": {
			func(c *costs) error { return loggedOut(c.pairs.ExpireBearer(c.ctx, c.session.Refresh.Bearer)) },
			func(c *costs) error {
				p, err := c.pairs.Issue(c.ctx, lapse.Grant{Subject: "ana"})
				return errors.Join(err, evictedNone(p.Refresh.Evicted))
			}},
		"a dead delegate does not count": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.child.ID); return err },
			func(c *costs) error { _, err := c.m.Delegate(c.ctx, c.parent.Bearer, lapse.Grant{}); return err }},
		"a dead delegate does not end again": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.child.ID); return err },
			func(c *costs) error {
				n, err := c.m.ExpireSubject(c.ctx, "ana", c.session.Access.ID)
				if err == nil && n != 3 {
					err = fmt.Errorf("ended %d; want 3", n)
				}
				return err
			}},
		"a dead token is not obtained": {
			func(c *costs) error { _, err := c.m.ExpireSubject(c.ctx, "ana"); return err },
			func(c *costs) error {
				i, err := c.m.Obtain(c.ctx, lapse.Grant{Subject: "ana"})
				if err == nil && i.Existing {
					err = errors.New("it is given again")
				}
				return err
			}},
	} {
		c := newCosts(t, 100, true)
		if err := errors.Join(row.die(c), row.want(c)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// evictedNone returns an error that says what was evicted.
func evictedNone(evicted []lapse.ID) error {
	if len(evicted) > 0 {
		return fmt.Errorf("evicted %v", evicted)
	}
	return nil
}
