package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

// TestMain is a server of the fleet where start runs this program as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "-server" {
		main()
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// TestStory plays the story with a few users.
func TestStory(t *testing.T) {
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "cuts.svg")
	err := play(t.Context(), &out, options{users: 8, load: 50 * time.Millisecond, chart: file})
	if errors.Is(err, pgtest.ErrNotInstalled) && os.Getenv("LAPSE_REQUIRE_ALL") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"8 users have logged in, each at one server, and hold 24 connections", "4 users have logged out at server 1: server 2 cut them",
		"server 3 cut them", "the 4 other users are connected", "server 3 was killed", "its 4 users are connected to server 2",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the transcript lacks %q:\n%s", want, &out)
		}
	}
	svg, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	paths := 0
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
			paths++
		}
	}
	if paths != 7 {
		t.Errorf("the chart has %d paths; want 5 lines of the grid and 2 curves", paths)
	}
}
