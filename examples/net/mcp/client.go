package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// bearer is a transport that sends a token with each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// connect opens a session with the server at url. progress is called for each report of a tool.
func connect(ctx context.Context, url, token string, progress func(string)) (*mcp.ClientSession, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1.0.0"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress(r.Params.Message) },
	})
	sender := &http.Client{
		Transport:     bearer(token),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for one server
	}
	transport := &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: sender}
	return client.Connect(ctx, transport, nil)
}

// call calls both tools, and writes what they say to out.
func call(ctx context.Context, out io.Writer, url, token string) error {
	session, err := connect(ctx, url, token, func(text string) { fmt.Fprintln(out, text) })
	if err != nil {
		return err
	}
	defer session.Close()
	for _, tool := range []string{"whoami", "clock"} { // clock ends with the token
		params := &mcp.CallToolParams{Name: tool}
		params.SetProgressToken(tool)
		result, err := session.CallTool(ctx, params)
		if err != nil {
			return err
		}
		for _, content := range result.Content {
			if text, ok := content.(*mcp.TextContent); ok {
				fmt.Fprintln(out, text.Text)
			}
		}
	}
	return nil
}
