package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-55daa01a/lapse"
)

// scanCommand is `lapse scan`.
type scanCommand struct {
	Paths  []string `arg:"" optional:"" predictor:"file" help:"Files, and folders with all that is in them; - or none for the standard input."`
	Expire bool     `help:"End the tokens whose texts are found."`
	noted
}

// errFound is the error of a scan that has found texts and was not asked to end their tokens.
var errFound = errors.New("texts of tokens were found; if they are yours, end them: give --expire, and say which tokens by --file, --socket or --dsn")

func (c *scanCommand) Run(a *app) error {
	s := &scan{app: a, progress: a.progress("scanning"), outcomes: map[string]string{}}
	if !c.Expire { // the checksum needs no store
		err := s.all(a.ctx, c.Paths)
		if err == nil && s.found > 0 {
			return errFound
		}
		return err
	}
	return a.with(toWrite, func(ctx context.Context, t tokens) error {
		s.tokens = t
		return s.all(acting(ctx, c.Note), c.Paths)
	})
}

// scan looks for texts of tokens.
type scan struct {
	*app
	progress *progress
	tokens   tokens            // nil: no token is ended
	outcomes map[string]string // of each text that was found
	found    int
	read     int64 // bytes
	unread   error // of the last file that could not be read
	failed   error // of the last token that was not ended, since its record is damaged or its prefix not served, or not told of
}

// find is a text that was found, as --json prints it.
type find struct {
	File string `json:"file"`
	lapse.Found
	Outcome string `json:"outcome,omitempty"`
}

// all scans the files at paths. A file that cannot be read is told, and the others are scanned.
func (s *scan) all(ctx context.Context, paths []string) error {
	defer s.progress.clear()
	if len(paths) == 0 {
		paths = []string{"-"}
	}
	for _, path := range paths {
		var err error
		if path == "-" {
			err = s.stream(ctx, path, s.stdin)
		} else {
			err = s.walk(ctx, path)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(s.unread, s.failed)
}

// walk scans the file at path, or the regular files in the folder at path.
func (s *scan) walk(ctx context.Context, path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path += string(filepath.Separator) // WalkDir follows no link, unless the path ends so
	}
	return filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return s.pass(err)
		case d.IsDir(), at != path && !d.Type().IsRegular():
			return ctx.Err()
		}
		f, err := openFile(ctx, at)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return s.pass(err)
		}
		defer f.Close()
		return s.stream(ctx, at, f)
	})
}

// pass tells of a file that cannot be read, and lets the scan go on.
func (s *scan) pass(err error) error {
	err = fileError{err}
	s.progress.clear()
	s.warn(err)
	s.unread = fmt.Errorf("not all could be read: %w", err)
	return nil
}

// fileError is an error with the name of a file that a stranger may have named: no line feed in it forges a line.
type fileError struct{ error }

func (e fileError) Error() string { return cell(e.error.Error()) }
func (e fileError) Unwrap() error { return e.error }

// stream scans what r reads.
func (s *scan) stream(ctx context.Context, name string, r io.Reader) error {
	for found, err := range lapse.FindBearers(&scanned{ctx: ctx, Reader: r, s: s}) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return s.pass(err)
		}
		s.found++
		f := find{File: name, Found: found}
		if s.tokens != nil {
			if f.Outcome, err = s.end(ctx, f.Bearer); err != nil {
				return err
			}
		}
		switch err := s.print(f); {
		case err != nil && s.tokens == nil:
			return err
		case err != nil:
			s.failed = err // the other tokens end all the same
		}
	}
	return nil
}

// scanned counts what is read of a stream, and ends with ctx.
type scanned struct {
	ctx context.Context
	io.Reader
	s      *scan
	buffer []byte // where a read that ctx has ended may still write
}

func (r *scanned) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(r.buffer) < len(b) {
		r.buffer = make([]byte, len(b))
	}
	n, err := await(r.ctx, func() (int, error) { return r.Reader.Read(r.buffer[:len(b)]) })
	copy(b, r.buffer[:n])
	r.s.read += int64(n)
	r.s.progress.at(r.s.read, 0)
	return n, err
}

// print prints f.
func (s *scan) print(f find) error {
	s.progress.clear()
	if s.json {
		return s.app.print(f)
	}
	line := fmt.Sprintf("%s:%d:%d  %s  %s  %s", cell(f.File), f.Line, f.Column, f.Prefix, f.ID, f.Outcome)
	_, err := fmt.Fprintln(s.stdout, strings.TrimRight(line, " "))
	return err
}

// end ends the token whose text is bearer, and returns "ended", or why it could not be ended. A text that
// was found before is not asked about again.
func (s *scan) end(ctx context.Context, bearer string) (outcome string, err error) {
	if outcome, known := s.outcomes[bearer]; known {
		return outcome, nil
	}
	_, err = s.tokens.ExpireBearer(ctx, bearer)
	switch {
	case err == nil:
		outcome = "ended"
	case errors.Is(err, lapse.ErrUnauthenticated):
		outcome = "no good: " + lapse.Code(err)
	case errors.Is(err, lapse.ErrCorrupt):
		outcome, s.failed = "failed: "+lapse.Code(err), err
	case errors.Is(err, errors.ErrUnsupported):
		outcome, s.failed = "failed: its prefix is not served", err
	default:
		return "", err
	}
	s.outcomes[bearer] = outcome
	return outcome, nil
}
