package postgres

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/near"
)

// workerVariable is the environment variable that makes the test binary a worker: its value is the JSON of
// a workerConfig.
const workerVariable = "LAPSE_POSTGRES_WORKER"

// workerConfig is how a worker opens its store.
type workerConfig struct {
	DSN     string
	Options Options
	Near    *near.Options // nil: no copies at hand
}

// command is what a worker is told to do. Every command is done at once, beside those that are under way.
type command struct {
	N       int
	Verb    string
	ID      lapse.ID
	Text    string
	Subject string
	Timeout time.Duration // of the call
}

// answer is what a worker says of the command with the same N. Outcome is the word of lapse.Code, or "gone"
// where the worker has ended before it has answered.
type answer struct {
	N          int
	Outcome    string
	Error      string
	Changed    bool // Expire, Suspend and Resume: the call changed the token
	ID         lapse.ID
	Text       string
	Generation uint32
}

// runWorker does the commands of in until its end. It returns the exit code of the process.
func runWorker(config string, in io.Reader, out io.Writer) int {
	var mu sync.Mutex
	say := func(a answer, err error) {
		mu.Lock()
		defer mu.Unlock()
		if a.Outcome = lapse.Code(err); err != nil {
			a.Error = err.Error()
		}
		json.NewEncoder(out).Encode(a)
	}
	s, err := openWorker(config)
	if err != nil {
		say(answer{}, err)
		return 1
	}
	defer s.Close()
	m, err := lapse.New(s, lapse.Config{Policy: lapse.Policy{MaxTokens: lapse.NoTokenLimit}})
	say(answer{}, err)
	var all sync.WaitGroup
	defer all.Wait()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
			defer cancel()
			a, err := c.do(ctx, m)
			a.N = c.N
			say(a, err)
		})
	}
	return 0
}

// openWorker opens the store of a worker.
func openWorker(config string) (storage.Store, error) {
	var c workerConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return nil, err
	}
	s, err := Open(context.Background(), c.DSN, &c.Options)
	if err != nil || c.Near == nil {
		return s, err
	}
	copies, err := near.New(context.Background(), s, *c.Near)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return copies, nil
}

// do does c.
func (c *command) do(ctx context.Context, m *lapse.Manager) (a answer, err error) {
	switch c.Verb {
	case "issue":
		return issuedAnswer(m.Issue(ctx, lapse.Grant{Subject: c.Subject}))
	case "rotate":
		return issuedAnswer(m.RotateID(ctx, c.ID, 0))
	case "authenticate":
		_, err = m.Authenticate(ctx, c.Text)
	case "peek":
		_, err = m.Peek(ctx, c.Text)
	case "expire":
		a.Changed, err = m.Expire(ctx, c.ID)
	case "suspend":
		a.Changed, err = m.Suspend(ctx, c.ID)
	case "resume":
		a.Changed, err = m.Resume(ctx, c.ID)
	}
	return a, err
}

func issuedAnswer(i lapse.Issued, err error) (answer, error) {
	return answer{ID: i.ID, Text: i.Bearer, Generation: i.Generation}, err
}

// worker is a process of the test binary that does commands.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
	gone    bool
	ended   chan struct{} // is closed when the process has ended
}

// launch starts a worker, and returns what it says once its store is open, or has failed to open.
func launch(t *testing.T, c workerConfig) (*worker, answer) {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{cmd: exec.Command(os.Args[0]), waiting: map[int]chan answer{}, ended: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), workerVariable+"="+string(config))
	w.cmd.Stderr = os.Stderr
	w.in, err = w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready := w.expect(0)
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go w.hear(out)
	t.Cleanup(func() {
		w.cmd.Process.Kill()
		<-w.ended
		w.cmd.Wait()
	})
	return w, <-ready
}

// startedWorker is launch for a worker whose store must open.
func startedWorker(t *testing.T, c workerConfig) *worker {
	t.Helper()
	w, said := launch(t, c)
	if said.Outcome != "ok" {
		t.Fatalf("a worker does not start: %s", said.Error)
	}
	return w
}

// expect returns the channel on which the answer to the command n will come.
func (w *worker) expect(n int) <-chan answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan answer, 1)
	if w.gone {
		c <- answer{N: n, Outcome: "gone"}
	} else {
		w.waiting[n] = c
	}
	return c
}

// hear passes answers on until the process ends.
func (w *worker) hear(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var a answer
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue // a line that was cut by a kill
		}
		w.mu.Lock()
		w.waiting[a.N] <- a
		delete(w.waiting, a.N)
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	close(w.ended)
	for n, c := range w.waiting {
		c <- answer{N: n, Outcome: "gone"}
	}
}

// send gives the worker a command, and returns the channel of the answer.
func (w *worker) send(c command) <-chan answer {
	w.mu.Lock()
	w.last++
	c.N = w.last
	w.mu.Unlock()
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	line, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	answered := w.expect(c.N)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.in.Write(append(line, '\n')) // of a process that is gone, hear tells
	return answered
}

// do gives the worker a command, and returns the answer.
func (w *worker) do(c command) answer { return <-w.send(c) }

// signal sends a signal to the process.
func (w *worker) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		t.Errorf("signal %v: %v", s, err)
	}
}

// must is do for a command that must succeed.
func (w *worker) must(t *testing.T, c command) answer {
	t.Helper()
	a := w.do(c)
	if a.Outcome != "ok" {
		t.Fatalf("%s: %s: %s", c.Verb, a.Outcome, a.Error)
	}
	return a
}

// workers starts n workers with copies by o, or without copies where o is nil, on empty tables.
func workers(t *testing.T, n int, schema string, o *near.Options) (all []*worker) {
	t.Helper()
	c := workerConfig{DSN: dsn(t), Options: Options{Schema: schema, ProbeEvery: 20 * time.Millisecond}, Near: o}
	emptied(t, &c.Options)
	for range n {
		all = append(all, startedWorker(t, c))
	}
	return all
}
