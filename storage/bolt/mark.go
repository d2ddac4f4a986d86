package bolt

import "github.com/seed-55daa01a/lapse/storage"

// Marks implements storage.Marker. The mark is written with each group, by a flush once it is a
// minute ahead of the mark on the disk, and by Close. A mark that is damaged, lost, or of an
// earlier epoch than a record, ends every token.
func (s *Store) Marks() *storage.Marks { return s.marks }

// believable returns the mark with which a store begins: the one that was found, or one of a new
// epoch where that was not whole, or a record is of a later epoch.
func (l *loaded) believable() storage.Mark {
	if l.believed && l.epoch <= l.mark.Epoch {
		return l.mark
	}
	return storage.Mark{Epoch: max(l.epoch, l.mark.Epoch) + 1}
}
