package bolt

import "github.com/seed-55daa01a/lapse/storage"

// Marks implements storage.Marker. The mark is written with each group, by a flush once it is a
// minute ahead of the mark on the disk, and by Close. A mark that is damaged, lost, or of an
// earlier epoch than a record, ends every token.
func (s *Store) Marks() *storage.Marks { return s.marks }

// believe returns the mark with which a store begins. m is the mark on the disk, ok says whether
// it was whole, and epoch is the latest one of a record. A mark that cannot be believed is
// replaced by one of a new epoch.
func believe(m storage.Mark, ok bool, epoch uint32) storage.Mark {
	if ok && epoch <= m.Epoch {
		return m
	}
	return storage.Mark{Epoch: max(epoch, m.Epoch) + 1}
}
