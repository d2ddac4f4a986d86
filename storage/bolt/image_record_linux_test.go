package bolt

import (
	"fmt"
	"path/filepath"
	"strings"
)

// imageStep is one change of a file's bytes or length.
type imageStep struct {
	at         int64
	data       []byte
	cuts       bool // it sets the length to at and has no data
	begin, end int
	through    bool // it is durable once it has returned
	safe       int  // it is durable after this
}

// imageFile is a file, under whatever names.
type imageFile struct {
	steps []*imageStep
	syncs [][2]int // begin and end of each that succeeded
	main  bool     // it had the name of the store at some time
	size  int64    // as the recorded process saw it
}

// imageName is a change of the directory: file gets the name to, and loses from.
type imageName struct {
	from, to   string
	file       *imageFile
	begin, end int
	safe       int
}

// imageLine is a line that the recorded process wrote to its standard output.
type imageLine struct {
	begin int
	text  string
}

// imageTrace is what a process did to one directory.
type imageTrace struct {
	dir, main string // the name of the store in dir
	files     []*imageFile
	names     []*imageName
	dirSyncs  [][2]int
	said      []imageLine
	last      int
	start     *imageStart // nil: an empty directory
	plan      plan

	now  map[string]*imageFile
	fds  map[int64]*imageFD
	text string // half a line
}

type imageFD struct {
	file    *imageFile // nil: the directory itself
	through bool
	appends bool
	at      int64
}

// newTrace returns the trace of a directory that holds those files, durably.
func newTrace(path string, holds map[string][]byte) *imageTrace {
	t := &imageTrace{dir: filepath.Dir(path), main: filepath.Base(path), now: make(map[string]*imageFile), fds: make(map[int64]*imageFD)}
	for name, b := range holds {
		f := t.create(name, &imageCall{begin: -2, end: -1})
		f.steps = []*imageStep{{data: b, begin: -2, end: -1, through: true}}
		f.size = int64(len(b))
	}
	if len(holds) > 0 {
		t.dirSyncs = [][2]int{{-1, -1}}
	}
	return t
}

// inside returns the name in the directory that the arguments n, a descriptor, and n+1
// lead to.
func (t *imageTrace) inside(c *imageCall, n int) (name string, ok bool, err error) {
	path, err := c.path(n + 1)
	if err != nil {
		return "", false, err
	}
	if !filepath.IsAbs(path) {
		if fd := t.fds[c.number(n)]; fd == nil || fd.file != nil {
			return "", false, nil
		}
		path = filepath.Join(t.dir, path)
	}
	return t.base(path)
}

func (t *imageTrace) base(path string) (string, bool, error) {
	switch path = filepath.Clean(path); {
	case path == t.dir:
		return ".", true, nil
	case filepath.Dir(path) == t.dir:
		return filepath.Base(path), true, nil
	case strings.HasPrefix(path, t.dir+"/"):
		return "", false, fmt.Errorf("the recorder knows no directory within %s: %s", t.dir, path)
	}
	return "", false, nil
}

func (t *imageTrace) create(name string, c *imageCall) *imageFile {
	f := &imageFile{}
	t.files = append(t.files, f)
	t.rename("", name, f, c)
	return f
}

// rename notes that f has the name to from now on, and not from; either may be empty.
func (t *imageTrace) rename(from, to string, f *imageFile, c *imageCall) {
	t.names = append(t.names, &imageName{from: from, to: to, file: f, begin: c.begin, end: c.end})
	if from != "" {
		delete(t.now, from)
	}
	if to != "" {
		t.now[to] = f
		f.main = f.main || to == t.main
	}
}

// take adds one call. It fails on a call that changes the directory in a way that it
// does not know.
func (t *imageTrace) take(c *imageCall) error {
	t.last = max(t.last, c.begin)
	if c.end != imageNever {
		t.last = max(t.last, c.end)
	}
	if c.failed && c.end != imageNever {
		return nil
	}
	switch c.name {
	case "openat", "openat2":
		return t.open(c)
	case "close":
		delete(t.fds, c.number(0))
	case "dup", "dup2", "dup3":
		if fd := t.fds[c.number(0)]; fd != nil {
			t.fds[c.result] = fd
		}
	case "renameat", "renameat2", "linkat", "unlinkat", "mkdirat", "symlinkat", "rename", "link", "unlink", "open", "creat", "truncate":
		return t.changeName(c)
	case "sync", "syncfs":
	default:
		return t.change(c)
	}
	return nil
}

func (t *imageTrace) open(c *imageCall) error {
	name, ok, err := t.inside(c, 0)
	if err != nil || !ok || c.end == imageNever {
		return err
	}
	fd := &imageFD{through: c.has(2, "O_DSYNC", "O_SYNC"), appends: c.has(2, "O_APPEND")}
	if name == "." {
		if c.has(2, "O_TMPFILE") {
			return fmt.Errorf("the recorder knows no O_TMPFILE")
		}
		t.fds[c.result] = fd
		return nil
	}
	if fd.file = t.now[name]; fd.file == nil {
		if !c.has(2, "O_CREAT") {
			return fmt.Errorf("%s was opened and not made", name)
		}
		fd.file = t.create(name, c)
	}
	if c.has(2, "O_TRUNC") {
		fd.file.add(&imageStep{cuts: true, begin: c.begin, end: c.end})
	}
	t.fds[c.result] = fd
	return nil
}

func (t *imageTrace) changeName(c *imageCall) error {
	two := func(from, to int) (a, b string, err error) {
		a, in, err := t.inside(c, from)
		b, alsoIn, err2 := t.inside(c, to)
		if err != nil || err2 != nil || in != alsoIn || in && t.now[a] == nil {
			return "", "", fmt.Errorf("the recorder does not understand %s(%s)", c.name, c.args)
		}
		return a, b, nil
	}
	switch c.name {
	case "renameat", "renameat2":
		from, to, err := two(0, 2)
		if err != nil || from == "" {
			return err
		}
		if c.has(4, "RENAME_EXCHANGE", "RENAME_WHITEOUT") {
			return fmt.Errorf("the recorder does not understand %s(%s)", c.name, c.args)
		}
		t.rename(from, to, t.now[from], c)
	case "linkat":
		from, to, err := two(0, 2)
		if err != nil || from == "" {
			return err
		}
		t.rename("", to, t.now[from], c)
	case "unlinkat":
		if name, ok, err := t.inside(c, 0); err != nil || !ok {
			return err
		} else if t.now[name] != nil {
			t.rename(name, "", t.now[name], c)
		}
	case "symlinkat":
		if _, ok, err := t.inside(c, 1); err != nil || ok {
			return fmt.Errorf("the recorder does not understand %s(%s): %w", c.name, c.args, err)
		}
	case "mkdirat":
		if _, ok, err := t.inside(c, 0); err != nil || ok {
			return fmt.Errorf("the recorder does not understand %s(%s): %w", c.name, c.args, err)
		}
	default: // with a path as first argument
		path, err := c.path(0)
		if _, ok, err2 := t.base(path); err != nil || err2 != nil || ok {
			return fmt.Errorf("the recorder does not understand %s(%s)", c.name, c.args)
		}
	}
	return nil
}

// change takes a call on a descriptor.
func (t *imageTrace) change(c *imageCall) error {
	fd := t.fds[c.number(0)]
	switch {
	case fd == nil && c.number(0) == 1 && c.name == "write":
		return t.hear(c)
	case fd == nil:
		return t.unrelated(c)
	case c.name == "fsync", c.name == "fdatasync":
		if c.end == imageNever {
			return nil
		}
		if fd.file == nil {
			t.dirSyncs = append(t.dirSyncs, [2]int{c.begin, c.end})
		} else {
			fd.file.syncs = append(fd.file.syncs, [2]int{c.begin, c.end})
		}
	case c.name == "sync_file_range":
	case c.name == "lseek":
		fd.at = c.result
	case fd.file == nil:
		return fmt.Errorf("%s of a directory", c.name)
	default:
		return fd.write(c)
	}
	return nil
}

// unrelated fails if c, on a descriptor of no file in the directory, writes to one.
func (t *imageTrace) unrelated(c *imageCall) error {
	if to := map[string]int{"copy_file_range": 2, "splice": 2}; to[c.name] > 0 && t.fds[c.number(to[c.name])] != nil {
		return fmt.Errorf("the recorder does not understand %s", c.name)
	}
	return nil
}

// hear takes what the process says.
func (t *imageTrace) hear(c *imageCall) error {
	b, err := c.bytes(1)
	t.text += string(b)
	for {
		line, rest, ok := strings.Cut(t.text, "\n")
		if !ok {
			return err
		}
		t.said, t.text = append(t.said, imageLine{c.begin, line}), rest
	}
}
