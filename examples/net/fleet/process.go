package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse/storage/postgres"
	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

// database starts a PostgreSQL in dir and makes the tables of lapse.
func database(ctx context.Context, dir string) (*pgtest.Server, error) {
	db, err := pgtest.Start(ctx, filepath.Join(dir, "postgres"), pgtest.Options{Durable: true})
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.New(ctx, db.DSN())
	if err == nil {
		defer pool.Close()
		err = postgres.Migrate(ctx, pool, nil)
	}
	if err != nil {
		return nil, errors.Join(err, db.Stop("fast"))
	}
	return db, nil
}

// process is a server of the fleet in a process of its own.
type process struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	address string
}

// start starts a server: this program with a flag.
func start(ctx context.Context, dsn string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, "-server")}
	p.cmd.Env = append(os.Environ(), "FLEET_DSN="+dsn)
	p.cmd.Stderr = os.Stderr
	stdin, err1 := p.cmd.StdinPipe()
	stdout, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("a server did not start: %w", errors.Join(err, p.stop()))
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// stop has the server end, and waits for that.
func (p *process) stop() error {
	p.stdin.Close()
	return p.cmd.Wait()
}

// kill kills the server, as a crash does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait() // says that it was killed
}
