package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed-55daa01a/lapse"
)

// session is what the file has: the texts, and the one server that they are sent to.
type session struct {
	Server  string `json:"server"`
	Access  string `json:"access"`
	Refresh string `json:"refresh"`
}

var errLogin = errors.New("there is no session, or it has ended: log in")

// named sends each request with the name of this computer, which the page shows.
type named struct{}

func (named) RoundTrip(r *http.Request) (*http.Response, error) {
	host, _ := os.Hostname()
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", lapse.ClipName("cli-login on "+host))
	return http.DefaultTransport.RoundTrip(r)
}

// web follows no redirect: a text goes to no other server.
var web = &http.Client{Transport: named{}, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
	return http.ErrUseLastResponse
}}

// config says where the endpoints of a server are.
func config(server, scope string) *oauth2.Config {
	return &oauth2.Config{ClientID: clientID, Scopes: []string{scope}, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: server + "/device", TokenURL: server + "/token", AuthStyle: oauth2.AuthStyleInParams,
	}}
}

// login shows a code, waits until a user has approved it, and keeps the texts.
func login(ctx context.Context, file, server, scope string) error {
	if _, err := os.Stat(file); err == nil {
		return errors.New("there is a session already: log out first")
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, web)
	client := config(server, scope)
	code, err := client.DeviceAuth(ctx)
	if err != nil {
		return explain(err)
	}
	fmt.Fprintf(os.Stderr, "Open %s in a browser, and enter %s\n", code.VerificationURI, code.UserCode)
	tok, err := client.DeviceAccessToken(ctx, code)
	if err != nil {
		return explain(err)
	}
	return save(file, session{server, tok.AccessToken, tok.RefreshToken})
}

// whoami asks the server whose session this is. It refreshes once if the access text is no good.
func whoami(ctx context.Context, file string, out io.Writer) error {
	s, err := load(file)
	if err != nil {
		return err
	}
	answer, err := s.send(ctx, http.MethodGet, "/whoami", nil)
	if errors.Is(err, errLogin) {
		if s, err = refresh(ctx, file, s); err != nil {
			return err
		}
		answer, err = s.send(ctx, http.MethodGet, "/whoami", nil)
	}
	if err != nil {
		return err
	}
	_, err = out.Write(answer)
	return err
}

// refresh gets new texts, and keeps them before they are used. If the command is killed in between, the
// next one sends the old text again, and gets the same answer within the grace.
func refresh(ctx context.Context, file string, s session) (session, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, web)
	tok, err := config(s.Server, "").TokenSource(ctx, &oauth2.Token{RefreshToken: s.Refresh}).Token()
	if err = explain(err); errors.Is(err, errLogin) {
		return s, errors.Join(err, os.Remove(file))
	}
	if err != nil {
		return s, err
	}
	s.Access, s.Refresh = tok.AccessToken, tok.RefreshToken
	return s, save(file, s)
}

// logout revokes the session, and drops the texts once the server has said that they are dead.
func logout(ctx context.Context, file string) error {
	s, err := load(file)
	if err != nil {
		return err
	}
	if _, err := s.send(ctx, http.MethodPost, "/revoke", url.Values{"token": {s.Refresh}, "client_id": {clientID}}); err != nil {
		return err
	}
	return os.Remove(file)
}

// send sends a form to the server of the session, or the access text without one. errLogin means that
// the access text is no good.
func (s session) send(ctx context.Context, method, path string, form url.Values) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.Server+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if form == nil {
		r.Header.Set("Authorization", "Bearer "+s.Access)
	} else {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := web.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	case http.StatusUnauthorized:
		return nil, errLogin
	}
	return nil, later(answer.StatusCode)
}

// later is the error for an answer that says nothing of the session. The texts are kept.
func later(status int) error {
	return fmt.Errorf("the server could not answer (status %d): try again later", status)
}

// explain returns an error with a fixed text for a refusal: what a server sends is not shown.
func explain(err error) error {
	var refused *oauth2.RetrieveError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("there was no answer in time: try again")
	case !errors.As(err, &refused):
		return err
	case refused.ErrorCode == "access_denied":
		return errors.New("the log-in was denied")
	case refused.ErrorCode == "expired_token":
		return errors.New("the code has run out: log in again")
	case refused.ErrorCode == "invalid_grant":
		return errLogin
	}
	return later(refused.Response.StatusCode)
}

func load(file string) (s session, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, errLogin
	}
	if err != nil {
		return s, err
	}
	if json.Unmarshal(text, &s) != nil {
		return s, fmt.Errorf("%s is no file of this command: delete it, and log in", file)
	}
	return s, nil
}

// save replaces the file as a whole. No other user may read it, at no instant.
func save(file string, s session) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	folder := filepath.Dir(file)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(folder, ".session-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name()) // which finds none after the rename
	_, err = draft.Write(text)
	if err := errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	return os.Rename(draft.Name(), file)
}
