package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed-55daa01a/lapse"
)

const (
	scope       = "clock:read"     // that the tools need
	sessionIdle = 10 * time.Minute // after which the SDK forgets a session, whose tokens may be long dead
)

// errCut reaches a client, or the stream ends first.
var errCut = errors.New("the call was cut: the next request is told why")

// routes serves MCP to clients whose tokens are good.
func routes(tokens *lapse.Manager, after func(time.Duration) <-chan time.Time) http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "clock", Version: "1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Description: "says whose token this is, and until when it is good"}, whoami)
	mcp.AddTool(server, &mcp.Tool{Name: "clock", Description: "reports the time each second, until the token ends"},
		func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			return nil, nil, reportTime(ctx, r, tokens.Now, after)
		})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{SessionTimeout: sessionIdle})
	return http.NewCrossOriginProtection().Handler(protect(tokens, scope, handler))
}

// whoami tells what the SDK knows of the token.
func whoami(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	info := r.Extra.TokenInfo
	text := fmt.Sprintf("%s may use %s until %s", info.UserID, strings.Join(info.Scopes, " "), info.Expiration.Format(time.TimeOnly))
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
}

// reportTime reports the time until the token of this request ends. The context of a tool does not end with
// the request: the SDK lets a tool run on for a client that comes back. So reportTime asks the Hold.
func reportTime(ctx context.Context, r *mcp.CallToolRequest, now func() time.Time, after func(time.Duration) <-chan time.Time) error {
	held := r.Extra.TokenInfo.Extra["hold"].(*lapse.Hold).Context()
	for n := 1.0; ; n++ {
		err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: r.Params.GetProgressToken(), Progress: n, Message: now().Format(time.TimeOnly),
		})
		if err != nil {
			return err
		}
		select {
		case <-after(time.Second):
		case <-held.Done():
			return errCut
		}
	}
}
