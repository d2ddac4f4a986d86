package pgtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

func TestStart(t *testing.T) {
	s, err := Start(t.Context(), t.TempDir(), Options{})
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop("immediate")
	pauses(t, s)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Launch(t.Context()); err != nil {
		b, _ := os.ReadFile(s.Dir + "/log")
		t.Log(string(b))
		t.Fatal(err)
	}
}

// pauses: a paused server answers nothing, and after Resume what it was asked meanwhile.
func pauses(t *testing.T, s *Server) {
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", s.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	defer s.Resume()
	encrypted := []byte{0, 0, 0, 8, 4, 210, 22, 47} // SSLRequest, which is answered by one byte
	if _, err := conn.Write(encrypted); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	answer := make([]byte, 1)
	if _, err := conn.Read(answer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server: %v; want no answer", err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(answer); err != nil {
		t.Errorf("after Resume: %v", err)
	}
}
