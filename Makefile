# Thin targets over the go command; .ci/run is the one that must pass.

FUZZTIME ?= 1m

.PHONY: check test race fuzz bench cover

check:
	.ci/run

test:
	go test ./...

race:
	go test -race ./...

# make fuzz PKG=./storage/bolt FUZZ=FuzzName
fuzz:
	go test -run '^$$' -fuzz '^$(FUZZ)$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $(PKG)

bench:
	go test -run '^$$' -bench . -count 10 ./...

cover:
	go test -coverpkg ./... -coverprofile cover.out ./...
	go tool cover -func cover.out
