package lapse

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// shown is an Issued without its secret.
type shown struct {
	Token
	Evicted  []ID     `json:"evicted,omitempty"`
	Existing bool     `json:"existing,omitempty"`
	Reduced  []string `json:"reduced,omitempty"`
}

func (i *Issued) shown() shown { return shown{i.Token, i.Evicted, i.Existing, i.Reduced} }

// Format writes i without its Bearer, under any verb.
func (i Issued) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", i.shown()) }

// LogValue returns i without its Bearer.
func (i Issued) LogValue() slog.Value { return slog.AnyValue(i.shown()) }

// GobEncode returns an error, because a gob would store the secret.
func (i Issued) GobEncode() ([]byte, error) {
	return nil, errors.New("lapse: an Issued is shown once and not to be stored; encode its Token")
}

// shownPair is a TokenPair without its secrets.
type shownPair struct {
	Access    shown         `json:"access"`
	Refresh   shown         `json:"refresh"`
	ExpiresIn time.Duration `json:"expires_in"`
	Repeated  bool          `json:"repeated,omitempty"`
}

func (c *TokenPair) shown() shownPair {
	return shownPair{c.Access.shown(), c.Refresh.shown(), time.Duration(c.ExpiresIn), c.Repeated}
}

// Format writes c without its secrets, under any verb.
func (c TokenPair) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", c.shown()) }

// LogValue returns c without its secrets.
func (c TokenPair) LogValue() slog.Value { return slog.AnyValue(c.shown()) }

// printedConfig is the printed form of a Config.
type printedConfig struct {
	Policy  Policy
	Prefix  string
	Clock   string // its type
	Admit   bool   // whether there is one
	Observe bool
	Keys    int // how many

	Recheck, PollHolds time.Duration

	ClockGuard                  ClockGuard
	ClockTolerance, ClockSettle time.Duration
}

func (c *Config) printed() printedConfig {
	return printedConfig{c.Policy, c.Prefix, fmt.Sprintf("%T", c.Clock), c.Admit != nil, c.Observe != nil, len(c.Keys), c.Recheck, c.PollHolds, c.ClockGuard, c.ClockTolerance, c.ClockSettle}
}

// Format writes c with the number of its Keys, and says of each function whether it is set.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", c.printed()) }

// LogValue returns the form that Format writes.
func (c Config) LogValue() slog.Value { return slog.AnyValue(c.printed()) }
