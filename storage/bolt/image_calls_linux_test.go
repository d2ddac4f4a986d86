package bolt

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// imageCall is one system call of a recorded process. Begin and end number what strace
// saw: a call that ended before another one began has the smaller numbers.
type imageCall struct {
	name       string
	args       []string
	result     int64
	failed     bool
	begin, end int
}

// imageNever is the end of a call that did not return.
const imageNever = int(^uint(0) >> 1)

// imageRecorded are the calls that a recording has: those that change a file or a
// directory, and those that say which file a descriptor is.
const imageRecorded = "openat,creat,open,close,dup,dup2,dup3,lseek,write,writev,pwrite64,pwritev,pwritev2," +
	"fsync,fdatasync,syncfs,sync,sync_file_range,ftruncate,truncate,fallocate,copy_file_range,sendfile,splice," +
	"rename,renameat,renameat2,link,linkat,symlinkat,unlink,unlinkat,mkdirat,openat2"

// needStrace returns the path of strace, or skips t where there is none.
func needStrace(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(path, "-o", os.DevNull, "true").Run()
	}
	if err != nil {
		unable(t, fmt.Errorf("this test records system calls; install strace: %w", err))
	}
	return path
}

// straced makes cmd run under strace with those arguments.
func straced(strace string, cmd *exec.Cmd, args ...string) *exec.Cmd {
	cmd.Args = slices.Concat([]string{strace, "-f", "-qq"}, args, cmd.Args)
	cmd.Path = strace
	return cmd
}

// readCalls reads the output of strace -f -xx, and returns the calls in the order in
// which they began.
func readCalls(from io.Reader) ([]*imageCall, error) {
	var calls []*imageCall
	open := make(map[string]*imageCall) // by thread
	text := make(map[string]string)
	lines := bufio.NewReaderSize(from, 1<<20)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if line == "" && err == io.EOF {
			return calls, nil
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		thread, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		rest = strings.TrimLeft(rest, " ")
		if rest == "" || strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, "+++") || strings.HasSuffix(rest, "<detached ...>") {
			continue // of a process that ends
		}
		if part, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
			name, args, _ := strings.Cut(part, "(")
			c := &imageCall{name: name, args: imageArgs(args), begin: 2 * n, end: imageNever}
			open[thread], text[thread] = c, part
			calls = append(calls, c)
			continue
		}
		c := &imageCall{begin: 2 * n}
		if part, ok := strings.CutPrefix(rest, "<... "); ok {
			name, result, _ := strings.Cut(part, " resumed>")
			if c = open[thread]; c == nil || c.name != name {
				return nil, fmt.Errorf("line %d resumes a call that was not begun: %.100s", n, rest)
			}
			rest = text[thread] + result
			delete(open, thread)
		} else {
			calls = append(calls, c)
		}
		if err := c.finish(rest); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		c.end = 2*n + 1
	}
}

// finish takes over what a whole line says of the call.
func (c *imageCall) finish(line string) error {
	at := strings.LastIndex(line, "= ")
	name, args, ok := strings.Cut(strings.TrimRight(line[:max(at, 0)], " "), "(")
	if args, ends := strings.CutSuffix(args, ")"); ok && ends {
		c.name, c.args = name, imageArgs(args)
	} else {
		return fmt.Errorf("no call: %.100s", line)
	}
	result, _, _ := strings.Cut(line[at+2:], " ")
	if result == "?" {
		c.failed = true
		return nil
	}
	n, err := strconv.ParseInt(result, 0, 64)
	c.result, c.failed = n, n < 0
	return err
}

// imageArgs splits arguments. Strings are all hexadecimal, so no comma is in one.
func imageArgs(text string) []string { return strings.Split(text, ", ") }

// number returns argument n as a number, and -1 if it is none.
func (c *imageCall) number(n int) int64 {
	if n >= len(c.args) {
		return -1
	}
	i, err := strconv.ParseInt(c.args[n], 0, 64)
	if err != nil {
		return -1
	}
	return i
}

// has reports whether argument n is a list of flags that has one of those.
func (c *imageCall) has(n int, flags ...string) bool {
	return n < len(c.args) && slices.ContainsFunc(strings.Split(c.args[n], "|"), func(f string) bool { return slices.Contains(flags, f) })
}

// bytes returns the strings in the arguments from n on, joined: there are several in a
// vector.
func (c *imageCall) bytes(n int) (all []byte, err error) {
	for _, arg := range c.args[min(n, len(c.args)):] {
		_, text, ok := strings.Cut(arg, `"`)
		if !ok {
			continue
		}
		text, ok = strings.CutSuffix(strings.TrimRight(text, "]}"), `"`)
		if all, err = appendHex(all, text); err != nil || !ok {
			return nil, fmt.Errorf("%s: a string that is cut short: %w", c.name, err)
		}
	}
	return all, nil
}

// appendHex appends what a string of strace -xx stands for.
func appendHex(b []byte, text string) ([]byte, error) {
	for ; text != ""; text = text[4:] {
		if len(text) < 4 || text[:2] != `\x` {
			return nil, fmt.Errorf("not hexadecimal: %.20q", text)
		}
		n, err := strconv.ParseUint(text[2:4], 16, 8)
		if err != nil {
			return nil, err
		}
		b = append(b, byte(n))
	}
	return b, nil
}

// path returns the string that is argument n.
func (c *imageCall) path(n int) (string, error) {
	b, err := (&imageCall{name: c.name, args: c.args[n : n+1]}).bytes(0)
	return string(b), err
}
