package table

import "github.com/seed-55daa01a/lapse/storage"

// Select returns the IDs of all records that f may select, in order and each once. A record may not
// match any more, or may be gone, by the time the caller reads it.
func (t *Table) Select(f storage.Filter) []storage.ID {
	switch {
	case f.Subject != "":
		return t.Subject(nil, f.Subject)
	case !f.ExpiresBefore.IsZero():
		return t.Before(f.ExpiresBefore)
	}
	return t.All()
}
