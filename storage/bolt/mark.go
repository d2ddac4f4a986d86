package bolt

import "github.com/seed-55daa01a/lapse/storage"

// Marks implements storage.Marker. The mark is written with each group, by a flush once it is a
// minute ahead of the mark on the disk, and by Close. A mark that is damaged, lost, or of an
// earlier epoch than a record, ends every token.
func (s *Store) Marks() *storage.Marks { return s.marks }
