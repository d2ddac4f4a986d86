package pgtest

import (
	"context"
	"errors"
	"fmt"
)

// Standby makes a standby of s in dir, as Start makes a server, and starts it. It streams from s, reads
// are allowed, and it is called "standby" in synchronous_standby_names of s. It is asynchronous until s
// names it there. It has the settings of s, and then those of o. A server has one standby at most.
func (s *Server) Standby(ctx context.Context, dir string, o Options) (*Server, error) {
	to, err := newServer(dir)
	if err != nil {
		return nil, err
	}
	from := fmt.Sprintf("host=127.0.0.1 port=%d user=lapse", s.Port)
	if err := to.run(ctx, "pg_basebackup", "-D", to.data(), "-d", from, "-R", "-C", "-S", "standby", "-c", "fast", "--no-sync"); err != nil {
		return nil, err
	}
	if to.Port, err = freePort(); err != nil {
		return nil, err
	}
	lines := []string{fmt.Sprint("port = ", to.Port), "cluster_name = 'standby'", "synchronous_standby_names = ''"}
	return to, errors.Join(to.Configure(append(lines, o.Settings...)...), to.Launch(ctx))
}

// Promote makes a primary of a standby, and returns once it takes writes.
func (s *Server) Promote(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "-D", s.data(), "-w", "-t", "60", "promote")
}

// Reload has the server read postgresql.conf again. It does so a little later.
func (s *Server) Reload(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "-D", s.data(), "reload")
}
