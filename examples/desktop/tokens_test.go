//go:build darwin || freebsd || linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestAtOnce: commands that come at once without a daemon wait for each other.
func TestAtOnce(t *testing.T) {
	h := newHome(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if got := h.runs(fmt.Sprintf("login --device d%d ana", i)); got.Code != 0 {
				t.Errorf("%d: %+v", i, got)
			}
		})
	}
	all.Wait()
	if got := strings.Count(h.must("devices --device d0"), "\n"); got != 1+8 {
		t.Errorf("%d lines, want 9", got)
	}
}

// TestFileInUse: a command that finds the file in use and no daemon tries again. It has done so when it
// connects a second time. Then the program that has the file closes it, or answers as a daemon.
func TestFileInUse(t *testing.T) {
	for name, then := range map[string]func(t *testing.T, l net.Listener, m *lapse.Manager, close func() error){
		"closed": func(t *testing.T, l net.Listener, _ *lapse.Manager, close func() error) {
			if err := errors.Join(l.Close(), close()); err != nil {
				t.Error(err)
			}
		},
		"answers": func(t *testing.T, l net.Listener, m *lapse.Manager, _ func() error) {
			ctx, stop := context.WithCancel(context.Background())
			served := make(chan error)
			go func() { served <- (&admin.Server{Managers: []*lapse.Manager{m}}).Serve(ctx, l) }()
			t.Cleanup(func() { stop(); <-served })
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			h.must("login --device laptop ana")
			d := h.desktop()
			store, manager, err := d.open(time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			path, err := admin.DefaultPath(d.file())
			if err != nil {
				t.Fatal(err)
			}
			l, err := admin.Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(2 * time.Minute))
			answer := make(chan said, 1)
			go func() { answer <- h.runs("whoami --device laptop") }()
			for range 2 {
				conn, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			then(t, l, manager, store.Close)
			if got := <-answer; got != (said{0, "ana\n", ""}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestFileStaysInUse: a command does not wait for ever, and says what to do.
func TestFileStaysInUse(t *testing.T) {
	d := newHome(t).desktop()
	store, _, err := d.open(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		err := d.with(context.Background(), d.whoami)
		if !errors.Is(err, storage.ErrLocked) || !errors.Is(err, admin.ErrNotRunning) || !strings.Contains(err.Error(), "end that program and try again") {
			t.Errorf("the error is %v", err)
		}
		if waited := time.Since(begin); waited < 5*time.Second || waited > 6*time.Second {
			t.Errorf("the command waits for %v", waited)
		}
	})
}
