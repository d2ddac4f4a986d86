package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// openSSH is the command ssh of OpenSSH. It asks the program askpass for the password, which prints the
// variable TOKEN: so there is a token neither on a command line nor in a file.
type openSSH struct {
	*scene
	path, askpass, knownHosts string
}

// newOpenSSH skips the test where there is no ssh, and fails it there under LAPSE_REQUIRE_ALL=1.
func newOpenSSH(t *testing.T) *openSSH {
	t.Helper()
	path, err := exec.LookPath("ssh")
	if err == nil && runtime.GOOS == "windows" {
		err = errors.New("the askpass of this test is a shell script")
	}
	if err != nil && os.Getenv("LAPSE_REQUIRE_ALL") == "1" {
		t.Fatalf("no OpenSSH client to log in with (%v); install ssh, on Debian openssh-client", err)
	}
	if err != nil {
		t.Skipf("no OpenSSH client to log in with: %v", err)
	}
	o := &openSSH{scene: newScene(t), path: path, askpass: filepath.Join(t.TempDir(), "askpass")}
	if err := os.WriteFile(o.askpass, []byte("#!/bin/sh\nprintf '%s\\n' \"$TOKEN\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o.trust(o.key)
	return o
}

// trust has ssh know the server by key.
func (o *openSSH) trust(key ssh.Signer) {
	o.t.Helper()
	o.knownHosts = filepath.Join(o.t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{o.addr}, key.PublicKey())
	if err := os.WriteFile(o.knownHosts, []byte(line+"\n"), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// command returns the command that logs in with token.
func (o *openSSH) command(token, command string) *exec.Cmd {
	host, port, err := net.SplitHostPort(o.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	cmd := exec.CommandContext(o.t.Context(), o.path, "-F", "none", "-p", port,
		"-o", "UserKnownHostsFile="+o.knownHosts, "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes",
		"-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1", "ana@"+host, command)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+o.askpass, "SSH_ASKPASS_REQUIRE=force", "TOKEN="+token)
	return cmd
}

func (o *openSSH) run(token, command string) (out, text string, status int) {
	o.t.Helper()
	cmd := o.command(token, command)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		o.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

func TestOpenSSHLogsIn(t *testing.T) {
	o := newOpenSSH(t)
	good, gone := o.issue(), o.issue()
	if _, err := o.tokens.Expire(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	if out, text, status := o.run(good.Bearer, "whoami"); out != "ana, terminal\n" || status != 0 {
		t.Errorf("whoami: %q, %q, status %d", out, text, status)
	}
	for name, token := range map[string]string{"wrong": "secret", "ended": gone.Bearer} {
		out, text, status := o.run(token, "whoami")
		if out != "" || !strings.Contains(text, strings.TrimSpace(ended)) || !strings.Contains(text, "Permission denied") || status != 255 {
			t.Errorf("%s: %q, %q, status %d", name, out, text, status)
		}
		if strings.Contains(text, gone.ID.String()) {
			t.Errorf("%s: %q names the token", name, text)
		}
	}
}

// TestOpenSSHIsCut: the command ssh ends when the token does, and says why.
func TestOpenSSHIsCut(t *testing.T) {
	o := newOpenSSH(t)
	cmd := o.command(o.issue().Bearer, "clock")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); line != "09:00:00\n" {
		t.Errorf("the clock shows %q, %v", line, err)
	}
	if n, err := o.tokens.ExpireSubject(t.Context(), "ana"); n != 1 || err != nil {
		t.Errorf("ended %d tokens, %v", n, err)
	}
	io.Copy(io.Discard, lines)
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != statusEnded || !strings.Contains(stderr.String(), strings.TrimSpace(ended)) {
		t.Errorf("ssh ended with status %d:\n%s", status, &stderr)
	}
}

// TestOpenSSHKnowsTheServer: under another key than the known one, ssh sends no token.
func TestOpenSSHKnowsTheServer(t *testing.T) {
	o := newOpenSSH(t)
	other, err := hostKey(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	o.trust(other)
	_, text, status := o.run(o.issue().Bearer, "whoami")
	if status != 255 || !strings.Contains(text, "Host key verification failed") {
		t.Errorf("status %d:\n%s", status, text)
	}
	if o.held() != 0 {
		t.Errorf("%d tokens arrived", o.held())
	}
}
