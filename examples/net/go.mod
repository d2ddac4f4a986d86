module github.com/seed-55daa01a/lapse/examples/net

go 1.25.0

require (
	github.com/benbjohnson/clock v1.3.5
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	github.com/coder/websocket v1.8.15
	github.com/jackc/pgx/v5 v5.13.0
	github.com/modelcontextprotocol/go-sdk v1.8.0
	github.com/seed-55daa01a/lapse v0.1.0
	github.com/seed-55daa01a/lapse/storage/postgres v0.1.0
	github.com/seed-55daa01a/lapse/transport/lapsegrpc v0.1.0
	github.com/seed-55daa01a/lapse/transport/lapsehttp v0.1.0
	golang.org/x/crypto v0.55.0
	golang.org/x/oauth2 v0.36.0
	google.golang.org/grpc v1.84.0
	google.golang.org/protobuf v1.36.11
)

require (
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/google/jsonschema-go v0.4.3 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/segmentio/asm v1.1.3 // indirect
	github.com/segmentio/encoding v0.5.4 // indirect
	github.com/yosida95/uritemplate/v3 v3.0.2 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/net v0.57.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
	golang.org/x/time v0.15.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260706201446-f0a921348800 // indirect
)

replace (
	github.com/seed-55daa01a/lapse => ../..
	github.com/seed-55daa01a/lapse/storage/postgres => ../../storage/postgres
	github.com/seed-55daa01a/lapse/transport/lapsegrpc => ../../transport/lapsegrpc
	github.com/seed-55daa01a/lapse/transport/lapsehttp => ../../transport/lapsehttp
)
