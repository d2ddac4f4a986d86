//go:build darwin || freebsd || linux

package admin

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// startStates are what the callers of a race find at the path.
var startStates = map[string]func(t *testing.T, path string){
	"nothing": func(*testing.T, string) {},
	"stale":   leaveStale,
}

// TestListenRace: of many calls at once, exactly one listens, and the others learn that it does.
func TestListenRace(t *testing.T) {
	const callers, rounds = 16, 20
	for name, prepare := range startStates {
		t.Run(name, func(t *testing.T) {
			for range rounds {
				path := filepath.Join(publicDir(t, 0o700), "s")
				prepare(t, path)
				errs := make([]error, callers)
				var arrived, done sync.WaitGroup
				gate := make(chan struct{})
				for i := range callers {
					arrived.Add(1)
					done.Go(func() {
						arrived.Done()
						<-gate
						l, err := Listen(path)
						if errs[i] = err; err == nil {
							t.Cleanup(func() { l.Close() })
						}
					})
				}
				arrived.Wait()
				close(gate)
				done.Wait()
				winners := 0
				for _, err := range errs {
					if err == nil {
						winners++
					} else if !errors.Is(err, ErrRunning) {
						t.Error(err)
					}
				}
				if winners != 1 {
					t.Fatalf("%d listen", winners)
				}
				mustAnswer(t, path)
			}
		})
	}
}

// TestListenRaceOfProcesses: the same with real processes.
func TestListenRaceOfProcesses(t *testing.T) {
	const callers = 8
	for name, prepare := range startStates {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(publicDir(t, 0o755), "run", "s") // the directory is made by one of them, too
			if name == "stale" {
				path = filepath.Join(publicDir(t, 0o700), "s")
			}
			prepare(t, path)
			var all []*process
			for range callers {
				all = append(all, newProcess(t, "listen", path))
			}
			for _, p := range all {
				p.begin()
			}
			var said []string
			for _, p := range all {
				said = append(said, p.says())
			}
			slices.Sort(said)
			if want := append([]string{"listening"}, slices.Repeat([]string{"running"}, callers-1)...); !slices.Equal(said, want) {
				t.Errorf("%q", said)
			}
			mustAnswer(t, path)
		})
	}
}

// TestListenAgainstClose: a Listen that meets the Close of another listener succeeds and can be
// reached, or is told that the other one runs.
func TestListenAgainstClose(t *testing.T) {
	path := filepath.Join(publicDir(t, 0o700), "s")
	for range 300 {
		first, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		var done sync.WaitGroup
		done.Go(func() { first.Close() })
		second, err := Listen(path)
		done.Wait()
		switch {
		case err == nil:
			mustAnswer(t, path)
			second.Close()
		case !errors.Is(err, ErrRunning):
			t.Fatal(err)
		}
	}
}
