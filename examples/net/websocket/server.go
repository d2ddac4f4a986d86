package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// server has two Managers on one store. Their prefixes keep the tokens apart: neither
// Manager accepts a token of the other one.
type server struct {
	devices *lapse.Manager
	tickets *lapse.Manager
	online  online
	clock   lapse.Clock
	ttl     time.Duration
	log     *slog.Logger

	stopping context.Context // ends when the sockets are to be closed
	stop     context.CancelFunc
	sockets  sync.WaitGroup
}

const (
	devicePrefix = "device"
	ticketPrefix = "ticket"
	ticketTTL    = 15 * time.Second
	retention    = time.Hour // how long a page can show who was signed out, and why
)

func newServer(store storage.Store, cfg config) (*server, error) {
	if cfg.ttl <= 0 { // to lapse 0 would be its default
		return nil, fmt.Errorf("-ttl is %v; want more than 0", cfg.ttl)
	}
	s := &server{clock: cmp.Or[lapse.Clock](cfg.clock, systemClock{}), ttl: cfg.ttl, log: cfg.log}
	s.stopping, s.stop = context.WithCancel(context.Background())
	var err error
	s.devices, err = lapse.New(store, lapse.Config{
		Prefix: devicePrefix,
		Policy: lapse.Policy{
			TTL:        cfg.ttl,
			MaxTTL:     cfg.maxTTL,
			RenewEvery: time.Second, // however often a page says that it is used
			MaxTokens:  cfg.most,
			AtLimit:    lapse.LimitEndIdlest,
			Retention:  retention,
		},
		Clock:   s.clock,
		Observe: s.observe,
	})
	if err != nil {
		return nil, err
	}
	s.tickets, err = lapse.New(store, lapse.Config{
		Prefix: ticketPrefix,
		Policy: lapse.Policy{TTL: ticketTTL, MaxTTL: ticketTTL, Renewal: lapse.RenewNever, Retention: retention},
		Clock:  s.clock,
	})
	return s, err
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// observe is told of each event of a device's token. An Event holds no secret, so all of it
// may be logged.
func (s *server) observe(_ context.Context, e lapse.Event) {
	level := slog.LevelInfo
	if e.Kind == lapse.EventRenewed {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, e.Kind.String(), "device", e.Token.ID.String(), "name", e.Token.Name, "reason", e.Token.EndReason.String(), "err", e.Err)
	s.online.changed(e.Token.Subject)
}

// sweep deletes the records of the tokens that have been dead for longer than retention. It
// deletes tickets, too: a Manager sweeps every prefix.
func (s *server) sweep(ctx context.Context) {
	for {
		if _, err := s.devices.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("sweep", "err", err)
		}
		select {
		case <-s.clock.After(time.Minute):
		case <-ctx.Done():
			return
		}
	}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", page())
	mux.HandleFunc("POST /devices", s.signIn)
	mux.HandleFunc("GET /device", s.whoAmI)
	mux.HandleFunc("POST /tickets", s.trade)
	mux.HandleFunc("GET /socket", s.socket)
	return http.NewCrossOriginProtection().Handler(mux)
}

// signIn issues a token. An application would verify a password here; this one accepts
// every name.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Person, Device string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&asked); err != nil {
		answer(w, http.StatusBadRequest, failure{Error: "want JSON with person and device"})
		return
	}
	issued, err := s.devices.Issue(r.Context(), lapse.Grant{
		Subject: strings.TrimSpace(asked.Person),
		Name:    strings.TrimSpace(asked.Device),
	})
	if err != nil {
		s.fail(w, err)
		return
	}
	answer(w, http.StatusCreated, map[string]string{"token": issued.Bearer, "id": issued.ID.String()})
}

// whoAmI tells a page whose socket could not be opened whether to try again, because a
// browser does not show the 401 to the page. It calls Peek: the question is no use of the
// device.
func (s *server) whoAmI(w http.ResponseWriter, r *http.Request) {
	tok, err := s.devices.Peek(r.Context(), fromHeader(r))
	if err != nil {
		s.fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"id": tok.ID.String(), "person": tok.Subject, "device": tok.Name})
}

// failure is the body of an answer that says no.
type failure struct {
	Error  string `json:"error"`
	Reason string `json:"reason,omitempty"` // as in a close frame
}

// fail answers an error of lapse: 401 if the token is no good, 503 if the store could not
// tell. With 401 for both, a store that is down would sign people out.
func (s *server) fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, lapse.ErrUnauthenticated):
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, failure{"the token is no good: sign in", reason(err)})
	case errors.Is(err, lapse.ErrInvalidGrant):
		answer(w, http.StatusBadRequest, failure{Error: err.Error()})
	case errors.Is(err, lapse.ErrLimit):
		answer(w, http.StatusTooManyRequests, failure{Error: err.Error()})
	default:
		s.log.Error("could not tell", "err", err)
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusServiceUnavailable, failure{Error: "the server cannot tell just now: try again"})
	}
}

// reason returns what the holder of a token may know about its end. For a client that has
// not proved to hold the token it is "unknown".
func reason(err error) string {
	var r *lapse.Rejection
	switch {
	case !errors.As(err, &r) || r.At.IsZero():
		return "unknown"
	case r.Reason == 0:
		return "ran out"
	default:
		return r.Reason.String()
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
