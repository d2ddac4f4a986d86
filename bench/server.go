package main

import (
	"os"

	"github.com/seed-55daa01a/lapse/storage/postgres/pgtest"
)

// postgres returns the address of the server of the run: the one that LAPSE_POSTGRES_DSN names, or one
// that is started below the directory of the run. Its commits wait for the disk.
func (w *world) postgres() (string, error) {
	if dsn := os.Getenv("LAPSE_POSTGRES_DSN"); dsn != "" {
		return dsn, nil
	}
	s, err := once(w, "a PostgreSQL server", func() (*pgtest.Server, error) {
		s, err := pgtest.Start(w.ctx, w.file("postgres"), pgtest.Options{Durable: true})
		if err == nil {
			w.atRelease(func() error { return s.Stop("immediate") })
		}
		return s, err
	})
	if err != nil {
		return "", err
	}
	return s.DSN(), nil
}

// hasPostgres reports whether there is a server to measure.
func hasPostgres() bool {
	return os.Getenv("LAPSE_POSTGRES_DSN") != "" || pgtest.Installed()
}
