package lapse_test

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-55daa01a/lapse"
)

// TestIdentify is what Login decides by, without a token.
func TestIdentify(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name    string
		ctx     context.Context
		answers []desk
		check   error
		asked   []string
		want    error
	}{
		{"the first knows", t.Context(), []desk{knows, refuses}, nil, []string{"a about ana", "check ana"}, nil},
		{"the second knows", t.Context(), []desk{passes, knows}, nil, []string{"a about ana", "b about ana", "check ana"}, nil},
		{"one refuses", t.Context(), []desk{refuses, knows}, nil, []string{"a about ana"}, lapse.ErrBadCredentials},
		{"nobody knows", t.Context(), []desk{passes, passes}, nil, []string{"a about ana", "b about ana"}, lapse.ErrBadCredentials},
		{"one could not tell", t.Context(), []desk{{err: errDisk}, knows}, nil, []string{"a about ana"}, errDisk},
		{"one names nobody", t.Context(), []desk{{}}, nil, []string{"a about ana"}, lapse.ErrInvalidGrant},
		{"Admit refuses", t.Context(), []desk{knows}, lapse.ErrRefused, []string{"a about ana", "check ana"}, lapse.ErrRefused},
		{"Admit could not tell", t.Context(), []desk{knows}, errDisk, []string{"a about ana", "check ana"}, errDisk},
		{"no Verifier", t.Context(), nil, nil, nil, lapse.ErrInvalidConfig},
		{"the context has ended", ended, []desk{knows}, nil, nil, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			f := newFixture(t, lapse.Config{Admit: func(_ context.Context, tok lapse.Token) error {
				asked = append(asked, "check "+tok.Subject)
				return tt.check
			}})
			var subject string
			var err error
			calls := f.calls(func() { subject, err = lapse.Identify(tt.ctx, f.Manager, ana, desks(&asked, tt.answers...)...) })
			wantIs(t, "Identify", err, tt.want)
			wantDiff(t, "asked", tt.asked, asked)
			wantDiff(t, "calls of the store", noCalls, calls)
			if (subject == "ana") != (err == nil) || err != nil && subject != "" {
				t.Errorf("Identify: %q, %v", subject, err)
			}

			told := f.events
			f.events, asked = nil, nil
			_, login := lapse.Login(tt.ctx, f.Manager, ana, lapse.Grant{}, desks(&asked, tt.answers...)...)
			wantIs(t, "Login says the same", login, tt.want)
			if errors.Is(err, lapse.ErrUnauthenticated) != errors.Is(login, lapse.ErrUnauthenticated) {
				t.Errorf("Identify: %v; Login: %v", err, login)
			}
			if err == nil {
				return // Login goes on
			}
			for _, events := range [][]lapse.Event{told, f.events} {
				for i := range events {
					wantIs(t, "the event", events[i].Err, tt.want)
					events[i].Err = nil
				}
			}
			wantDiff(t, "and tells the same", f.events, told)
		})
	}
	_, err := lapse.Identify(t.Context(), nil, ana, desks(nil, knows)...)
	wantIs(t, "no Manager", err, lapse.ErrInvalidConfig)
}
