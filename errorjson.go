package lapse

import (
	"encoding/json"
	"log/slog"
	"time"
)

// reason is the JSON of an error: what Code says of it, and its text. What else there is to
// say is a Rejection's.
type reason struct {
	Code       string    `json:"code"`
	Error      string    `json:"error"`
	ID         ID        `json:"id,omitzero"`
	Subject    string    `json:"subject,omitempty"`
	Generation uint32    `json:"generation,omitempty"`
	At         time.Time `json:"at,omitzero"`
	Reason     EndReason `json:"reason,omitempty"`
}

// MarshalJSON writes code, which is what Code returns, error, which is the text of Error,
// and of id, subject, generation, at and reason those that are set. The error is always
// nil. JSON of a struct that embeds a Rejection is this alone.
func (r Rejection) MarshalJSON() ([]byte, error) {
	return json.Marshal(reason{Code(&r), r.Error(), r.ID, r.Subject, r.Generation, r.At, r.Reason})
}

// LogValue is the text of Error.
func (r Rejection) LogValue() slog.Value { return slog.StringValue(r.Error()) }

// MarshalJSON writes code and error as the JSON of a Rejection has them.
func (r *refusal) MarshalJSON() ([]byte, error) {
	return json.Marshal(reason{Code: Code(r), Error: r.Error()})
}

// LogValue is the text of the refusal.
func (r *refusal) LogValue() slog.Value { return slog.StringValue(r.Error()) }

// failure is an error in an Event that would else have no JSON.
type failure struct{ error }

// told returns err with a JSON that says its reason.
func told(err error) error {
	if _, ok := err.(json.Marshaler); ok || err == nil {
		return err
	}
	return failure{err}
}

func (f failure) Unwrap() error { return f.error }

// MarshalJSON writes code and error as the JSON of a Rejection has them.
func (f failure) MarshalJSON() ([]byte, error) {
	return json.Marshal(reason{Code: Code(f.error), Error: f.Error()})
}

// LogValue is the text of the error.
func (f failure) LogValue() slog.Value { return slog.StringValue(f.Error()) }
