package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// machine is where and when a run was.
type machine struct {
	Date   string `json:"date"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory,omitempty"`
	System string `json:"system"`
	Go     string `json:"go"`
	Commit string `json:"commit,omitempty"`
	Sync   figure `json:"sync_ns"` // the median time to write and sync 4 KiB where the files are
	Load   string `json:"load,omitempty"`
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %s, %d cores, %s, %s, %s; 4 KiB are on disk in %s; load before the run %s",
		m.Date, m.CPU, m.Cores, m.Memory, m.System, m.Go, humane(float64(m.Sync), "ns"), m.Load)
}

// thisMachine describes the machine and the disk that dir is on.
func thisMachine(dir string) (machine, error) {
	m := machine{
		Date:   time.Now().UTC().Format(time.DateOnly),
		CPU:    field("/proc/cpuinfo", "model name"),
		Cores:  runtime.NumCPU(),
		Memory: memoryOf("/proc/meminfo"),
		System: strings.TrimSpace(runtime.GOOS + " " + firstLine("/proc/sys/kernel/osrelease") + " " + runtime.GOARCH),
		Go:     runtime.Version(),
		Commit: commit(),
	}
	if words := strings.Fields(firstLine("/proc/loadavg")); len(words) > 0 {
		m.Load = words[0]
	}
	sync, err := syncTime(filepath.Join(dir, "sync"))
	m.Sync = rounded(sync)
	return m, err
}

// memoryOf returns how much memory a system says it has.
func memoryOf(path string) string {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(field(path, "MemTotal"), " kB"), 64)
	if err != nil {
		return ""
	}
	return plain(kib/(1<<20)) + " GiB"
}

// field returns what stands behind the name in a file of lines "name: value".
func field(path, name string) string {
	text, _ := os.ReadFile(path) // empty where the system has no such file
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// commit returns the hash of the tree that is measured, with "dirty" if it is not
// clean, or nothing where git cannot tell.
func commit() string {
	hash, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(hash))
	if changed, err := exec.Command("git", "status", "--porcelain").Output(); err != nil || len(changed) > 0 {
		text += " dirty"
	}
	return text
}

// modules returns the peers that are in this program, with their versions.
func modules() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	var all []string
	for _, m := range info.Deps {
		switch m.Path {
		case "aidanwoods.dev/go-paseto", "github.com/alexedwards/scs/v2", "github.com/golang-jwt/jwt/v5",
			"github.com/gorilla/securecookie", "go.etcd.io/bbolt", "modernc.org/sqlite":
			all = append(all, m.Path+" "+m.Version)
		}
	}
	return all
}

// syncTime returns the median time to overwrite 4 KiB and have them on disk.
func syncTime(path string) (float64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, 4096)
	var times []float64
	for range 40 {
		begin := time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(begin)))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
