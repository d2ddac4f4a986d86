package lapse

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
)

// Config says how a Manager works. The zero Config is usable.
type Config struct {
	Policy Policy

	// Prefix is the first part of every token's text: a lower-case letter, then lower-case
	// letters, digits and underscores, 16 bytes at most, and no underscore at the end. ""
	// means "lapse". A token authenticates only under its own prefix.
	Prefix string

	// Clock tells the time; nil means the system clock. While a mock is set back, time
	// stands still until the mock has caught up. With GuardOff time goes back with it.
	Clock Clock

	// ClockGuard says what happens when Clock proves to have been wrong: when it has been
	// behind by more than ClockTolerance (0: 5 minutes) for longer than ClockSettle (0: 10
	// minutes). The zero value is GuardDefault.
	ClockGuard     ClockGuard
	ClockTolerance time.Duration
	ClockSettle    time.Duration

	// Admit is asked about each token before it is used, with the context of the caller. An
	// error that wraps ErrRefused refuses the token. Any other error means that Admit could
	// not tell, and the verb returns it. nil lets every token pass.
	//
	// Authenticate, Peek, Hold, Renew, Rotate, Delegate and Confirm ask once the token is known
	// to be live, before the use counts, renews or is spent. Refresh of Pairs asks unless the
	// text is reused. Login and Identify ask once the credentials are known to be good, about a
	// Token without an ID. It has Prefix, Subject, and the present as AuthenticatedAt. At Login
	// it also has Name, Scope, Data, Client and Thumbprint of the Grant; at Identify it has nothing
	// else. Confirm asks about a Token whose AuthenticatedAt is the present, too. Issue, Obtain
	// and the verbs that end tokens do not ask.
	//
	// With a store that is a storage.Cacher, a token may be known by a copy. Where Admit does not
	// let that pass, the token is read from the store, and Admit is asked a second time, about the
	// token as it is stored. The second answer counts.
	Admit func(ctx context.Context, tok Token) error

	// Foreign reads the texts of another system, whose tokens Import has stored. It is asked about
	// each text that is not of the form of lapse, by every verb that takes a bearer. It returns the
	// key and the digest by which the other system knows the text, as Import was given them, or
	// false if the text is none of that system's: then the error is ErrMalformed. It reads nothing
	// else, is called by many goroutines at once, and keeps no text. nil: there are no such texts.
	// Pairs take Access.Foreign alone.
	Foreign func(text string) (key string, digest []byte, ok bool)

	// Recheck is how often Admit is asked again about each held connection (Hold), with the
	// token as it is stored then. The context of the call has the values of the context that
	// Hold was given. 0: never. A refusal cuts the connection. Any other error cuts none, nor
	// does a call that panics or takes longer than 10 seconds; Observe is told of these.
	//
	// 8 calls run at a time. A call that takes longer than 10 seconds is given up: its
	// context ends, and it does not count among the 8. While 32 calls run in all, Admit is
	// asked about no other connection. The context of a call also ends with the last hold.
	Recheck time.Duration

	// PollHolds is how often the tokens of held connections are read again where the store
	// is no storage.Watcher or its Watch has failed. It is also how soon a token is read
	// again that could not be read. 0: 5 seconds. Memory and bolt are Watchers.
	PollHolds time.Duration

	// Observe is told what happens, after its effect and outside all locks. EventKind lists
	// the kinds, and LogEvents returns an Observe that logs. Observe runs in the goroutine
	// that caused the event, with its context: a slow Observe slows that call and no other.
	// Events of held connections that no call caused are told in goroutines of their own:
	// each EventCut after the other, a million waiting at most, and others in 64 goroutines
	// at most. Further events are dropped, and Stats still counts them. A panic in one is
	// told as EventHookFailed. nil: no event is told.
	Observe func(ctx context.Context, e Event)

	// Keys are the keys that Obtain derives secrets from, and Issue those of a RequestID. Each is
	// made of 32 random bytes, by NewKey, and no two are the same. New secrets are made with the
	// first key, and texts whose secrets were made with another key are still given again. So a
	// new key goes to the front, and the old key stays after it until the old key is retired. From
	// then on Obtain replaces the secrets of the old key, and Issue by a RequestID gives their
	// tokens without a Bearer. Keep the keys apart from the records. Without keys Obtain is refused.
	Keys []Key
}

// clock returns Config.Clock, or the system clock if that is nil.
func (cfg *Config) clock() (Clock, error) {
	switch {
	case cfg.Clock == nil:
		return steady.NewSystem(), nil
	case isNil(cfg.Clock):
		return nil, fmt.Errorf("%w: Clock is a nil %T", ErrInvalidConfig, cfg.Clock)
	}
	return cfg.Clock, nil
}

// checkIntervals returns ErrInvalidConfig for a Recheck or PollHolds that no hold can keep.
func (cfg *Config) checkIntervals() error {
	if err := checkDuration(cfg.Recheck, false); err != nil {
		return fmt.Errorf("%w: Recheck: %w", ErrInvalidConfig, err)
	}
	if err := checkDuration(cfg.PollHolds, false); err != nil {
		return fmt.Errorf("%w: PollHolds: %w", ErrInvalidConfig, err)
	}
	if cfg.Recheck > 0 && cfg.Admit == nil {
		return fmt.Errorf("%w: Recheck: there is no Admit to ask", ErrInvalidConfig)
	}
	return nil
}

const (
	defaultTTL       = 30 * time.Minute
	defaultMaxTTL    = 30 * 24 * time.Hour
	defaultMaxTokens = 100
	defaultDelegates = 100
	defaultRetention = 24 * time.Hour
)

// withDefaults returns p with every zero replaced by its default and every duration in
// whole milliseconds, or ErrInvalidConfig with the name of the field.
func (p Policy) withDefaults() (Policy, error) {
	if err := p.truncateDurations(); err != nil {
		return p, err
	}
	p.TTL = cmp.Or(p.TTL, defaultTTL)
	p.MaxTTL = cmp.Or(p.MaxTTL, max(defaultMaxTTL, p.TTL))
	p.MaxTokens = cmp.Or(p.MaxTokens, defaultMaxTokens)
	p.MaxDelegates = cmp.Or(p.MaxDelegates, defaultDelegates)
	p.Retention = cmp.Or(p.Retention, defaultRetention)
	p.Renewal = cmp.Or(p.Renewal, RenewOnUse)
	p.AtLimit = cmp.Or(p.AtLimit, LimitRefuse)
	return p, p.checkLimits()
}

// truncateDurations rounds every duration of p down to whole milliseconds. It returns
// ErrInvalidConfig for one that checkDuration refuses.
func (p *Policy) truncateDurations() error {
	for _, d := range []struct {
		name    string
		value   *time.Duration
		noLimit bool
	}{
		{"TTL", &p.TTL, false},
		{"MaxTTL", &p.MaxTTL, true},
		{"RenewEvery", &p.RenewEvery, false},
		{"Retention", &p.Retention, true},
	} {
		if err := checkDuration(*d.value, d.noLimit); err != nil {
			return fmt.Errorf("%w: Policy.%s: %w", ErrInvalidConfig, d.name, err)
		}
		if *d.value != NoLimit {
			*d.value = d.value.Truncate(time.Millisecond)
		}
	}
	return nil
}

// checkLimits returns ErrInvalidConfig if a field is out of its limits. withDefaults has replaced the
// zeros.
func (p *Policy) checkLimits() error {
	switch {
	case p.MaxTTL < p.TTL:
		return fmt.Errorf("%w: Policy.MaxTTL: %v is below the TTL of %v", ErrInvalidConfig, p.MaxTTL, p.TTL)
	case p.MaxTokens < 0:
		return fmt.Errorf("%w: Policy.MaxTokens: %d is negative; NoTokenLimit lifts the limit", ErrInvalidConfig, p.MaxTokens)
	case p.MaxDelegates < 0:
		return fmt.Errorf("%w: Policy.MaxDelegates: %d is negative; NoTokenLimit lifts the limit", ErrInvalidConfig, p.MaxDelegates)
	case p.Renewal > RenewNever:
		return fmt.Errorf("%w: Policy.Renewal: %d is none of RenewOnUse, RenewOnRequest, RenewNever", ErrInvalidConfig, p.Renewal)
	case p.AtLimit > LimitEndIdlest:
		return fmt.Errorf("%w: Policy.AtLimit: %d is none of LimitRefuse, LimitEndOldest, LimitEndIdlest", ErrInvalidConfig, p.AtLimit)
	}
	return nil
}

// checkDuration returns an error unless d is 0 or at least a millisecond. NoLimit is an error
// unless noLimit is true.
func checkDuration(d time.Duration, noLimit bool) error {
	switch {
	case d == NoLimit && !noLimit:
		return fmt.Errorf("NoLimit has no meaning here")
	case d < 0:
		return fmt.Errorf("%v is negative", d)
	case d > 0 && d < time.Millisecond:
		return fmt.Errorf("%v is under a millisecond", d)
	}
	return nil
}

// isNil reports whether v is nil, or holds a nil pointer, function, map, slice or channel.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return r.IsNil()
	}
	return false
}

// printedConfig is the printed form of a Config.
type printedConfig struct {
	Policy  Policy
	Prefix  string
	Clock   string // its type
	Admit   bool   // whether there is one
	Observe bool
	Foreign bool
	Keys    int // how many

	Recheck, PollHolds time.Duration

	ClockGuard                  ClockGuard
	ClockTolerance, ClockSettle time.Duration
}

func (c *Config) printed() printedConfig {
	return printedConfig{
		Policy: c.Policy, Prefix: c.Prefix, Clock: fmt.Sprintf("%T", c.Clock),
		Admit: c.Admit != nil, Observe: c.Observe != nil, Foreign: c.Foreign != nil, Keys: len(c.Keys),
		Recheck: c.Recheck, PollHolds: c.PollHolds,
		ClockGuard: c.ClockGuard, ClockTolerance: c.ClockTolerance, ClockSettle: c.ClockSettle,
	}
}

// Format writes c with the number of its Keys, and says of each function whether it is set.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", c.printed()) }

// LogValue returns the form that Format writes.
func (c Config) LogValue() slog.Value { return slog.AnyValue(c.printed()) }
