package bolt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// imageText writes a string as strace -xx does.
func imageText(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return `"` + b.String() + `"`
}

// TestReadCalls reads what strace writes of threads that get in each other's way.
func TestReadCalls(t *testing.T) {
	for _, row := range []struct {
		name, log string
		want      string // each call as name(first argument)=result@begin-end
		wrong     bool
	}{
		{name: "nothing"},
		{name: "one", log: "12  fsync(7)                = 0\n", want: "fsync(7)=0@2-3"},
		{name: "an error", log: "12  fsync(7) = -1 EIO (Input/output error)\n", want: "fsync(7)=-1 failed@2-3"},
		{name: "signals", log: "12  --- SIGURG {si_signo=SIGURG} ---\n12  +++ exited with 0 +++\n"},
		{name: "two threads", log: "12  fsync(7 <unfinished ...>\n13  close(8) = 0\n12  <... fsync resumed>) = 0\n",
			want: "fsync(7)=0@2-7 close(8)=0@4-5"},
		{name: "never resumed", log: "12  fsync(7 <unfinished ...>\n12  ???( <detached ...>\n", want: "fsync(7)=0@2-never"},
		{name: "resumed, another call", log: "12  fsync(7 <unfinished ...>\n12  <... close resumed>) = 0\n", wrong: true},
		{name: "resumed, not begun", log: "12  <... close resumed>) = 0\n", wrong: true},
		{name: "no call", log: "12  what is this\n", wrong: true},
		{name: "the end is missing", log: "12  fsync(7", wrong: true},
	} {
		calls, err := readCalls(strings.NewReader(row.log))
		var got []string
		for _, c := range calls {
			text := fmt.Sprintf("%s(%s)=%d", c.name, c.args[0], c.result)
			if c.failed {
				text += " failed"
			}
			end := fmt.Sprint(c.end)
			if c.end == imageNever {
				end = "never"
			}
			got = append(got, fmt.Sprintf("%s@%d-%s", text, c.begin, end))
		}
		if all := strings.Join(got, " "); (err != nil) != row.wrong || !row.wrong && all != row.want {
			t.Errorf("%s: %s, %v; want %s", row.name, all, err, row.want)
		}
	}
}

// smallTrace is the trace of a log of strace, in which DIR is the directory and a and b are
// 512 times that byte.
func smallTrace(t *testing.T, log string) *imageTrace {
	t.Helper()
	for _, name := range []string{"/d", "/d/x", "/d/y", "say\n"} {
		log = strings.ReplaceAll(log, "'"+strings.TrimSpace(name)+"'", imageText(name))
	}
	for _, c := range "abc" {
		log = strings.ReplaceAll(log, "'"+strings.Repeat(string(c), 2)+"'", imageText(strings.Repeat(string(c), 1024)))
		log = strings.ReplaceAll(log, "'"+string(c)+"'", imageText(strings.Repeat(string(c), 512)))
	}
	calls, err := readCalls(strings.NewReader(log))
	trace := newTrace("/d/x", nil)
	for _, c := range calls {
		if err == nil {
			err = trace.take(c)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	trace.promise(imageSound)
	return trace
}

// brief512 is the files with one letter for each 512 bytes.
func brief512(files map[string][]byte) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := name + ":"
		for at := 0; at < len(files[name]); at += 512 {
			if b := files[name][at]; b == 0 {
				text += "0"
			} else {
				text += string(b)
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// TestImagesOfSmallTraces: all that a crash may leave, and nothing else, is drawn.
func TestImagesOfSmallTraces(t *testing.T) {
	const made = "1 openat(AT_FDCWD, '/d', O_RDONLY) = 9\n1 openat(AT_FDCWD, '/d/x', O_RDWR|O_CREAT, 0600) = 7\n1 fsync(9) = 0\n"
	for _, row := range []struct {
		name, log, way, names string
		want                  []string // besides, none
	}{
		{"no sync", made + "1 pwrite64(7, 'aa', 1024, 0) = 1024\n", "sectors", "first names",
			[]string{"x:", "x:00", "x:a0", "x:0a", "x:aa"}},
		{"a sync", made + "1 pwrite64(7, 'aa', 1024, 0) = 1024\n1 fdatasync(7) = 0\n", "sectors", "first names", []string{"x:aa"}},
		{"a sync that was called before the write returned",
			made + "1 pwrite64(7, 'a', 512, 0 <unfinished ...>\n2 fdatasync(7 <unfinished ...>\n1 <... pwrite64 resumed>) = 512\n2 <... fdatasync resumed>) = 0\n",
			"sectors", "first names", []string{"x:", "x:0", "x:a"}},
		{"a sync that has not returned", made + "1 pwrite64(7, 'a', 512, 0) = 512\n1 fdatasync(7 <unfinished ...>\n", "none", "first names", []string{"x:"}},
		{"a sync that failed", made + "1 pwrite64(7, 'a', 512, 0) = 512\n1 fdatasync(7) = -1 EIO (no)\n", "none", "first names", []string{"x:"}},
		{"written over", made + "1 pwrite64(7, 'aa', 1024, 0) = 1024\n1 fsync(7) = 0\n1 pwrite64(7, 'b', 512, 0) = 512\n1 pwrite64(7, 'cc', 1024, 0) = 1024\n",
			"sectors", "first names", []string{"x:aa", "x:ba", "x:ca", "x:ac", "x:bc", "x:cc"}},
		{"the same by pages", made + "1 pwrite64(7, 'aa', 1024, 0) = 1024\n1 fsync(7) = 0\n1 pwrite64(7, 'b', 512, 0) = 512\n1 pwrite64(7, 'cc', 1024, 0) = 1024\n",
			"pages", "first names", []string{"x:aa", "x:ba", "x:cc"}},
		{"written through, after what was not", made +
			"1 pwrite64(7, 'aa', 1024, 0) = 1024\n1 openat(AT_FDCWD, '/d/x', O_RDWR|O_DSYNC) = 8\n1 pwrite64(8, 'b', 512, 0) = 512\n",
			"sectors", "first names", []string{"x:b0", "x:ba"}},
		{"cut", made + "1 pwrite64(7, 'aa', 1024, 0) = 1024\n1 fsync(7) = 0\n1 ftruncate(7, 512) = 0\n", "sectors", "first names",
			[]string{"x:aa", "x:a"}},
		{"a failed write", made + "1 pwrite64(7, 'aa', 1024, 0) = -1 EIO (no)\n", "all", "first names", []string{"x:"}},
		{"half a write", made + "1 pwrite64(7, 'aa', 1024, 0) = 512\n", "all", "first names", []string{"x:a"}},
		{"a long write", made + "1 pwrite64(7, " + imageText(strings.Repeat("a", 8192)) + ", 8192, 0) = 8192\n", "writes", "first names",
			[]string{"x:", "x:" + strings.Repeat("0", 8), "x:" + strings.Repeat("0", 16), "x:" + strings.Repeat("a", 8), "x:" + strings.Repeat("a", 16)}},
		{"a name", "1 openat(AT_FDCWD, '/d/x', O_RDWR|O_CREAT, 0600) = 7\n1 fsync(7) = 0\n", "all", "first names", []string{"", "x:"}},
		{"two names, in order", made + "1 linkat(AT_FDCWD, '/d/x', AT_FDCWD, '/d/y', 0) = 0\n1 unlinkat(AT_FDCWD, '/d/x', 0) = 0\n",
			"all", "first names", []string{"x:", "x: y:", "y:"}},
		{"two names, in any order", made + "1 linkat(AT_FDCWD, '/d/x', AT_FDCWD, '/d/y', 0) = 0\n1 unlinkat(AT_FDCWD, '/d/x', 0) = 0\n",
			"all", "any names", []string{"", "x:", "x: y:", "y:"}},
		{"renamed", made + "1 renameat(AT_FDCWD, '/d/x', AT_FDCWD, '/d/y') = 0\n", "all", "any names", []string{"x:", "y:"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			trace, seen := smallTrace(t, row.log), make(map[string]bool)
			for n := range 500 {
				seen[brief512(trace.image(crash{trace.last + 1, row.way, row.names, chance(1, n)}))] = true
			}
			if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, slices.Sorted(slices.Values(row.want))) {
				t.Errorf("%q; want %q", got, row.want)
			}
		})
	}
}

// TestRecorderRefuses what it does not understand: a change that it overlooked would make
// every image a lie.
func TestRecorderRefuses(t *testing.T) {
	for _, log := range []string{
		"1 openat(AT_FDCWD, '/d/x', O_RDWR) = 7\n",
		"1 openat(AT_FDCWD, '/d/x', O_RDWR|O_CREAT, 0600) = 7\n1 sendfile(7, 8, NULL, 9) = 9\n",
		"1 openat(AT_FDCWD, '/d/x', O_RDWR|O_CREAT, 0600) = 7\n1 copy_file_range(8, NULL, 7, NULL, 9, 0) = 9\n",
		"1 openat(AT_FDCWD, '/d/x', O_RDWR|O_CREAT, 0600) = 7\n1 fallocate(7, FALLOC_FL_COLLAPSE_RANGE, 0, 512) = 0\n",
		"1 mkdirat(AT_FDCWD, '/d/x', 0700) = 0\n",
		"1 rename('/d/x', '/d/y') = 0\n",
		"1 truncate('/d/x', 0) = 0\n",
		"1 linkat(AT_FDCWD, 'say', AT_FDCWD, '/d/y', AT_SYMLINK_FOLLOW) = 0\n",
	} {
		for _, name := range []string{"/d/x", "/d/y"} {
			log = strings.ReplaceAll(log, "'"+name+"'", imageText(name))
		}
		log = strings.ReplaceAll(log, "'say'", imageText("/elsewhere"))
		calls, err := readCalls(strings.NewReader(log))
		trace := newTrace("/d/x", nil)
		for _, c := range calls {
			if err == nil {
				err = trace.take(c)
			}
		}
		if err == nil {
			t.Errorf("taken: %s", log)
		}
	}
}
