module github.com/seed-55daa01a/lapse/transport/lapsehttp

go 1.25.0

require (
	github.com/benbjohnson/clock v1.3.5
	github.com/seed-55daa01a/lapse v0.1.0
	golang.org/x/oauth2 v0.36.0
)

require github.com/google/go-cmp v0.7.0 // indirect
