// Package tree writes the bbolt file of a store, and makes new files. The file holds records under
// their IDs, the mark, and a state, which describes the last write.
//
// These ideas keep a file whole in a crash at any moment, and let the next opening tell whether the
// file is whole:
//
//   - Write has a transaction with changes followed by one without. So both meta pages of bbolt lead
//     to all changes, and the loss of one meta page undoes none. The steps of a checkpoint use Update
//     alone. They are safe without the second transaction, because the log keeps their groups until
//     the Write at the end of the checkpoint: a step that is undone comes back from the log.
//   - A read transaction, the pin, holds the state before the last commit, so bbolt does not write
//     over the pages to which the older meta page leads.
//   - The state has the sum of all records and the number of the transaction that wrote it. By these
//     package recovery tells a page that is lost, and a file that another program has changed.
//   - Only the transaction without changes writes the list of free pages, which may be long. Without
//     the list bbolt looks for the free pages when it opens the file.
//   - Before each write the tree checks that its file is at its path still, was not cut short, and has
//     the meta pages that the tree wrote: a write into another file would be lost, and one over the
//     changes of another program would damage them.
//   - After an error, bbolt's memory and the file may differ. So before bbolt is used again, it opens
//     the file once more, and the tree reads the state from the file.
package tree
