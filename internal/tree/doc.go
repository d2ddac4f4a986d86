// Package tree writes the bbolt file of a store, and makes new files. The file holds records under
// their IDs, the mark, and a state, which describes the last write.
//
// These ideas keep a file whole in a crash at any moment, and let the next opening tell whether the
// file is whole:
//
//   - A transaction with changes is followed by one without, which is not synced at once. So both meta
//     pages of bbolt lead to all changes, and the loss of one meta page undoes none. Nor does bbolt
//     write over pages to which a meta page leads: a transaction writes over those that the one before
//     has freed.
//   - The state has the sum of all records and the number of the next transaction. By these package
//     recovery tells a page that is lost, and a file that another program has changed.
//   - The file has no list of free pages. bbolt looks for them when it opens the file. So a transaction
//     without changes writes nothing except a meta page.
//   - Before each write the tree checks that its file is at its path still, was not cut short, and has
//     the meta pages that the tree wrote: a write into another file would be lost, and one over the
//     changes of another program would damage them.
//   - After an error, bbolt's memory and the file may differ. So before bbolt is used again, it opens
//     the file once more, and the tree reads the state from the file.
package tree
