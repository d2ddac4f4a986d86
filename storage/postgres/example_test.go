package postgres_test

import (
	"context"
	"log"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/near"
	"github.com/seed-55daa01a/lapse/storage/postgres"
)

const dsn = "postgres://lapse@127.0.0.1:5432/app?sslmode=verify-full"

func ExampleOpen() {
	ctx := context.Background()
	store, err := postgres.Open(ctx, dsn, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	tokens, err := lapse.New(store, lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	_ = tokens
}

// Checks that ask no other machine, for five seconds after each proof of the store.
func ExampleOpen_near() {
	ctx := context.Background()
	store, err := postgres.Open(ctx, dsn, nil)
	if err != nil {
		log.Fatal(err)
	}
	copies, err := near.New(ctx, store, near.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer copies.Close() // closes the store, too
	tokens, err := lapse.New(copies, lapse.Config{})
	if err != nil {
		log.Fatal(err)
	}
	_ = tokens
}

func ExampleMigrate() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.Migrate(ctx, pool, nil); err != nil {
		log.Fatal(err)
	}
}

func ExampleNew() {
	ctx := context.Background()
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		log.Fatal(err)
	}
	postgres.Configure(cfg)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store, err := postgres.New(ctx, pool, &postgres.Options{Schema: "sessions"})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}
