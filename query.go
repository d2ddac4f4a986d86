package lapse

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// Query says which tokens List, Count and Watch are about: those that meet every condition that is
// set. The zero Query is about every token. ErrInvalidQuery names a field that is out of its limits,
// or that the verb does not take: Count takes no After, Limit and Next, and Watch takes Subject,
// Prefix and Name alone.
type Query struct {
	Subject string // tokens of this subject; "": of any, also where the caller meant some subject and had none
	Prefix  string // tokens of this prefix, for sessions that of their access texts; "": of any
	Name    string // tokens with this Name; "": with any
	Live    bool   // tokens that are alive at Manager.Now when the page begins, and have uses left

	// Within selects the live tokens that are dead when Within has passed, unless they are renewed.
	// They are found by the expiry in their own record, also where a lowered MaxTTL, or a parent,
	// ends them sooner. At least a millisecond; 0: no condition; NoLimit: every live token.
	Within time.Duration

	// After says where the page begins: the text that *Next was set to, for the same conditions. With
	// "" the page begins at the first token.
	After string

	Limit int // how many tokens and errors the page has at most; 0: no limit

	// *Next is set to the After of the next page when the loop has come to its end, and to "" if no
	// record follows. Next may be nil.
	Next *string
}

// checkFields returns ErrInvalidQuery if a field of q is out of its limits. It does not look into After.
func (q *Query) checkFields() error {
	var g *GrantError
	switch {
	case q.Subject != "" && errors.As(checkStoredSubject(q.Subject), &g), errors.As(checkStoredText("Name", q.Name, storage.MaxName), &g):
		return invalidQuery(g.Field, g.Limit)
	case q.Within != 0 && q.Within < time.Millisecond:
		return invalidQuery("Within", fmt.Sprintf("%v is under a millisecond; say how far to look ahead, or 0 for no condition", q.Within))
	case q.Limit < 0:
		return invalidQuery("Limit", fmt.Sprintf("%d is negative; 0 is no limit", q.Limit))
	}
	if q.Prefix != "" {
		if err := bearer.CheckPrefix(q.Prefix); err != nil {
			return invalidQuery("Prefix", err.Error())
		}
	}
	return nil
}

// paged reports whether q has a field of pages.
func (q *Query) paged() bool { return q.After != "" || q.Limit != 0 || q.Next != nil }

// live reports whether q is about live tokens alone.
func (q *Query) live() bool { return q.Live || q.Within != 0 }

// matches reports whether rec is of a token with the Prefix and the Name of q.
func (q *Query) matches(rec *storage.Record) bool {
	return isToken(rec) && (q.Prefix == "" || q.Prefix == rec.Prefix) && (q.Name == "" || q.Name == rec.Name)
}

// invalidQuery returns an ErrInvalidQuery about a field.
func invalidQuery(field, limit string) error {
	return fmt.Errorf("%w: %s: %s", ErrInvalidQuery, field, limit)
}

// errAfter is the error for an After that is no Next of the query on this store.
var errAfter = invalidQuery("After", "no Next of these conditions on this store since it was opened; begin with \"\"")

// The orders that an After can be of.
const (
	orderOfPages = "pages" // of a storage.Pager
	orderOfIDs   = "IDs"
)

// setNext sets Next, if q has one, to the After that stands for place in order. place "" is the end.
func (q *Query) setNext(order, place string) {
	switch {
	case q.Next == nil:
	case place == "":
		*q.Next = ""
	default:
		*q.Next = place + q.tag(order, place)
	}
}

// place returns the place that After stands for in order, "" for the beginning. The error is
// errAfter for a text that setNext has not made for the same conditions.
func (q *Query) place(order string) (place string, err error) {
	if q.After == "" {
		return "", nil
	}
	place = q.After[:max(0, len(q.After)-base62.Group)]
	if place == "" || q.After != place+q.tag(order, place) {
		return "", errAfter
	}
	return place, nil
}

// tag returns 11 digits that bind place to order and to the conditions of q. They are no secret:
// a Pager proves its places itself, and an ID gives no more than Manager.Token of that ID.
func (q *Query) tag(order, place string) string {
	bound := fmt.Sprintf("lapse after %s %q %q %q %t %d %q", order, q.Subject, q.Prefix, q.Name, q.Live, q.Within, place)
	sum := sha256.Sum256([]byte(bound))
	return string(base62.Append(nil, sum[:8]))
}

// checkStoredSubject returns ErrInvalidGrant unless this version, or an earlier one, lets a token
// have subject. Until they are swept, the tokens of earlier versions can be listed and ended.
func checkStoredSubject(subject string) error {
	if subject == "" {
		return checkSubject(subject)
	}
	return checkStoredText("Subject", subject, storage.MaxSubject)
}

// checkStoredText is checkStoredSubject for a field, which may be empty.
func checkStoredText(field, value string, limit int) error {
	switch {
	case len(value) > limit || !utf8.ValidString(value):
		return checkText(field, value, limit)
	case strings.ContainsFunc(value, unicode.IsControl):
		return invalidGrant(field, "holds a control character")
	}
	return nil
}
