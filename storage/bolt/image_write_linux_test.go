package bolt

import "fmt"

// write takes a call that changes the bytes or the length of the descriptor's file.
func (fd *imageFD) write(c *imageCall) error {
	s := &imageStep{begin: c.begin, end: c.end, through: fd.through}
	var err error
	switch c.name {
	case "ftruncate":
		s.cuts, s.at, s.through = true, c.number(1), false
	case "fallocate":
		return fd.allocate(c, s)
	case "pwrite64":
		s.at = c.number(3)
		s.data, err = c.bytes(1)
	case "write":
		if s.at = fd.at; fd.appends {
			s.at = fd.file.size
		}
		s.data, err = c.bytes(1)
	case "pwritev", "pwritev2":
		s.at = c.number(3)
		s.through = s.through || c.has(4, "RWF_DSYNC", "RWF_SYNC")
		s.data, err = c.bytes(1)
	default:
		return fmt.Errorf("the recorder does not understand %s of a file of the store", c.name)
	}
	if err != nil || s.at < 0 {
		return fmt.Errorf("%s of a file of the store at %d: %w", c.name, s.at, err)
	}
	if c.end != imageNever && !s.cuts {
		s.data = s.data[:min(c.result, int64(len(s.data)))]
	}
	if c.name == "write" {
		fd.at = s.at + int64(len(s.data))
	}
	fd.file.add(s)
	return nil
}

// allocate takes a fallocate.
func (fd *imageFD) allocate(c *imageCall, s *imageStep) error {
	s.at, s.through = c.number(2), false
	n := c.number(3)
	switch {
	case c.number(1) == 0:
		if s.at += n; s.at <= fd.file.size {
			return nil
		}
		s.cuts = true
	case c.has(1, "FALLOC_FL_KEEP_SIZE") && !c.has(1, "FALLOC_FL_PUNCH_HOLE", "FALLOC_FL_ZERO_RANGE"):
		return nil
	case c.has(1, "FALLOC_FL_PUNCH_HOLE"):
		n = min(n, max(fd.file.size-s.at, 0))
		s.data = make([]byte, n)
	case c.has(1, "FALLOC_FL_ZERO_RANGE") && !c.has(1, "FALLOC_FL_KEEP_SIZE"):
		s.data = make([]byte, n)
	default:
		return fmt.Errorf("the recorder does not understand fallocate(%s)", c.args)
	}
	fd.file.add(s)
	return nil
}

func (f *imageFile) add(s *imageStep) {
	if s.cuts {
		f.size = s.at
	} else {
		f.size = max(f.size, s.at+int64(len(s.data)))
	}
	f.steps = append(f.steps, s)
}
