package main

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// ttl is how long an access text lives in the tests.
const ttl = time.Minute

// scene is a server on the loopback, with an administrator beside it.
type scene struct {
	t     *testing.T
	url   string
	clock *clock.Mock
	admin *lapse.Manager
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, clock: clock.NewMock()}
	s.clock.Set(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	store := memory.New()
	handler, err := routes(store, ttl, s.clock)
	if err != nil {
		t.Fatal(err)
	}
	if s.admin, err = lapse.New(store, lapse.Config{Clock: s.clock}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	s.url = server.URL
	return s
}
