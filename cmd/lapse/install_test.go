package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// TestInstall: go install finds the command and what it requires once the tags are set. The test packs the
// modules as a proxy of modules would serve them, and installs from there.
func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the command")
	}
	const root = "github.com/seed-55daa01a/lapse"
	proxy, bin, cache := t.TempDir(), t.TempDir(), t.TempDir() // the user's cache would keep this v0.1.0 for ever
	for path, dir := range map[string]string{root: "../..", root + "/storage/postgres": "../../storage/postgres", root + "/cmd/lapse": "."} {
		pack(t, proxy, module.Version{Path: path, Version: "v0.1.0"}, dir)
	}
	install := exec.Command("go", "install", root+"/cmd/lapse@latest")
	install.Dir = bin // in no module
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOWORK=off", "GOFLAGS=-modcacherw -trimpath", "GONOSUMDB="+root, "GOMODCACHE="+cache,
		"GOPROXY="+fileURL(proxy)+","+fileURL(goEnv(t, "GOMODCACHE"), "cache", "download")+","+goEnv(t, "GOPROXY"))
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(bin, "lapse"), "--version").Output()
	if err != nil || string(out) != "lapse v0.1.0\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// pack writes the module m of the folder dir as a proxy keeps it.
func pack(t *testing.T, proxy string, m module.Version, dir string) {
	t.Helper()
	at := filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mod), "\nreplace ") {
		t.Errorf("%s has a replace line, with which go install refuses it", m.Path)
	}
	info, _ := json.Marshal(map[string]any{"Version": m.Version, "Time": time.Time{}})
	for name, text := range map[string][]byte{"list": []byte(m.Version + "\n"), m.Version + ".info": info, m.Version + ".mod": mod} {
		if err := os.WriteFile(filepath.Join(at, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(at, m.Version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := zip.CreateFromDir(f, m, dir); err != nil {
		t.Fatal(err)
	}
}

// fileURL returns the URL of a folder.
func fileURL(folder ...string) string { return "file://" + filepath.ToSlash(filepath.Join(folder...)) }

func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
