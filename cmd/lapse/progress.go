package main

import (
	"fmt"
	"io"
)

// progress draws how far long work is, in one line of the terminal. Off a terminal it draws nothing.
type progress struct {
	out   io.Writer
	what  string
	shown string
}

// progress returns the progress of what.
func (a *app) progress(what string) *progress {
	p := &progress{what: what}
	if onTerminal(a.stderr) {
		p.out = a.stderr
	}
	return p
}

// at draws that done of total is done. A total of 0 is not known.
func (p *progress) at(done, total int64) {
	if p.out == nil {
		return
	}
	text := size(done)
	if total > 0 {
		text = fmt.Sprintf("%d %%", min(100, 100*done/total))
	}
	if text != p.shown {
		p.shown = text
		fmt.Fprintf(p.out, "\r%s: %s\x1b[K", p.what, text)
	}
}

// clear removes the line.
func (p *progress) clear() {
	if p.shown != "" {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// pages is at for the Progress of bolt.Options.
func (p *progress) pages(done, total int) { p.at(int64(done), int64(total)) }

// writer returns a writer to w that draws how many bytes of total it has written.
func (p *progress) writer(w io.Writer, total int64) *measured { return &measured{w, p, 0, total} }

// measured is a writer whose progress is drawn.
type measured struct {
	io.Writer
	progress    *progress
	done, total int64
}

func (m *measured) Write(b []byte) (int, error) {
	n, err := m.Writer.Write(b)
	m.done += int64(n)
	m.progress.at(m.done, m.total)
	return n, err
}

// size returns n bytes as people write it, with three digits at most.
func size(n int64) string {
	f, unit := float64(n), "bytes"
	for _, larger := range []string{"KB", "MB", "GB", "TB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, larger
	}
	if unit == "bytes" || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, unit)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
