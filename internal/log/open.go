package log

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/seed-55daa01a/lapse/internal/localfile"
)

// Create makes a log at path and opens it. The file has the mode and the owner of like,
// unless like is nil. The log holds nothing, and its numbers begin with 1. The file and its
// name are durable when Create returns, where the system can sync directories.
//
// Create fails with fs.ErrExist if there is a file, and with the error of the system if the
// file cannot be made, written or given its mode and owner. After an error the file is
// removed.
func Create(path string, parent Parent, like os.FileInfo) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|writeFlag, 0o600)
	if err != nil {
		return nil, err
	}
	var l *Log
	info, err := f.Stat()
	if err == nil && like != nil {
		err = localfile.CopyModeAndOwner(f, like)
	}
	if err == nil {
		l, err = start(file{f}, parent, defaultSlot)
	}
	if err == nil {
		err = localfile.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	l.path, l.info = path, info
	return l, nil
}

// start writes an empty log with one slot.
func start(d disk, parent Parent, slot uint32) (*Log, error) {
	h := head{[len(magic)]byte([]byte(magic)), version, NewID(), parent, slot}
	b, err := h.block()
	if err == nil {
		err = d.Write(append(b, make([]byte, slot)...), 0)
	}
	l := newLog(h, d, 1)
	l.ready = true
	return l, err
}

// Open opens the log at path. With readOnly nothing is ever written, neither to the file
// nor to its directory. The next call has to be Replay.
//
// Open fails with fs.ErrNotExist if there is no file, with ErrUnfinished if a crash came
// while the log was made, with ErrNewer or ErrDamaged, or with the error of the system if
// the file cannot be opened or read.
func Open(path string, readOnly bool) (*Log, error) {
	flag := os.O_RDWR | writeFlag
	if readOnly {
		flag = os.O_RDONLY
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, fmt.Errorf("%s: %w", path, damaged("it is not a regular file"))
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	var l *Log
	if info, err = f.Stat(); err == nil {
		l, err = load(file{f}, info.Size())
	}
	if err != nil {
		f.Close() // err says more than its error
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l.path, l.info, l.readOnly = path, info, readOnly
	return l, nil
}

// load reads block 0 of a file of this size.
func load(d disk, size int64) (*Log, error) {
	// No file of an unfinished log is longer than what Create writes.
	b := make([]byte, min(size, block+defaultSlot))
	if err := readAt(d, b, 0); err != nil {
		return nil, err
	}
	if isZero(b) && int64(len(b)) == size {
		return nil, ErrUnfinished
	}
	var h head
	if err := h.parse(b); err != nil {
		return nil, err
	}
	if size < h.at(1) && isZero(b[sector:]) {
		return nil, ErrUnfinished
	}
	slots := int(max(0, size-block) / int64(h.Slot))
	end := h.at(slots) // behind it may be a slot that was being appended
	rest := make([]byte, max(0, min(size-end, sector)))
	if err := readAt(d, rest, end); err != nil {
		return nil, err
	}
	if slots == 0 || !isZero(rest) {
		return nil, damaged("it is cut short")
	}
	return newLog(h, d, slots), nil
}

// readAt fills b from the place at. The error is ErrDamaged if the file is too short, or the
// error of reading.
func readAt(d disk, b []byte, at int64) error {
	n, err := d.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return damaged("it is cut short")
	}
	return err
}
