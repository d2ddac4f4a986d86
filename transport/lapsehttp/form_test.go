package lapsehttp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// errorOf checks that answer is an error of RFC 6749 section 5.2, and returns its code.
func errorOf(t *testing.T, what string, answer *httptest.ResponseRecorder, status int) string {
	t.Helper()
	var told struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	strict := json.NewDecoder(answer.Body)
	strict.DisallowUnknownFields()
	if err := strict.Decode(&told); err != nil || answer.Code != status {
		t.Errorf("%s: %d %q, %v; want %d", what, answer.Code, told.Error, err, status)
	}
	head := answer.Header()
	if head.Get("Content-Type") != "application/json" || head.Get("Cache-Control") != "no-store" || head.Get("Pragma") != "no-cache" {
		t.Errorf("%s: %v", what, head)
	}
	if (head.Get("Retry-After") != "") != (status == 503) || (head.Get("WWW-Authenticate") != "") != (status == 401) || (head.Get("Allow") != "") != (status == 405) {
		t.Errorf("%s: %v", what, head)
	}
	return told.Error
}

// TestForm: what is wrong with the form of a request is said by every endpoint, before its client or
// its text is looked at.
func TestForm(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	good := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "token": {"x"}, "client_id": {"public"}}.Encode()
	for name, row := range map[string]struct {
		method, query, media, body string
		status                     int
	}{
		"GET":                        {"GET", "", form, good, 405},
		"PUT":                        {"PUT", "", form, good, 405},
		"no media type":              {"POST", "", "", good, 400},
		"JSON":                       {"POST", "", "application/json", `{"token":"x"}`, 400},
		"multipart":                  {"POST", "", "multipart/form-data; boundary=x", good, 400},
		"a media type that is none":  {"POST", "", "application/x-www-form-urlencoded;;", good, 400},
		"64 KiB and a byte":          {"POST", "", form, good + "&a=" + strings.Repeat("a", 64<<10-len(good)-2), 413},
		"1 MB":                       {"POST", "", form, good + "&a=" + strings.Repeat("a", 1<<20), 413},
		"a semicolon":                {"POST", "", form, "token=x;refresh_token=y", 400},
		"half an escape":             {"POST", "", form, good + "&a=%2", 400},
		"token twice":                {"POST", "", form, good + "&token=x", 400},
		"refresh_token twice":        {"POST", "", form, good + "&refresh_token=x", 400},
		"grant_type twice":           {"POST", "", form, good + "&grant_type=refresh_token", 400},
		"client_id twice":            {"POST", "", form, good + "&client_id=public", 400},
		"an unknown one twice":       {"POST", "", form, good + "&a=1&a=2", 400},
		"token in the query":         {"POST", "token=x", form, good, 400},
		"refresh_token in the query": {"POST", "refresh_token=x", form, good, 400},
		"a secret in the query":      {"POST", "a=b&client_secret=x", form, good, 400},
		"encoded in the query":       {"POST", "client%5Fsecret=x", form, good, 400},
	} {
		for _, path := range []string{"/token", "/revoke", "/introspect", "/device"} {
			r := httptest.NewRequest(row.method, path+"?"+row.query, strings.NewReader(row.body))
			if row.media != "" {
				r.Header.Set("Content-Type", row.media)
			}
			if code := errorOf(t, name+" at "+path, newWorld(t, nil).do(r), row.status); code != "invalid_request" {
				t.Errorf("%s at %s: %s", name, path, code)
			}
		}
	}
}

// TestFormIsTaken: the charset, an unknown parameter, a query of the address and an absent hint change
// nothing, 64 KiB are taken, and an empty parameter counts as absent.
func TestFormIsTaken(t *testing.T) {
	w := newWorld(t, nil)
	for name, row := range map[string]struct{ query, media, more string }{
		"a charset":    {"", "; charset=UTF-8", ""},
		"upper case":   {"", ";CHARSET=utf-8", ""},
		"unknown":      {"", "", "&resource=https%3A%2F%2Fx&a="},
		"a query":      {"tenant=7", "", ""},
		"empty scope":  {"", "", "&scope="},
		"64 KiB":       {"", "", "&a=" + strings.Repeat("a", 60<<10)},
		"empty secret": {"", "", "&client_secret="},
	} {
		text := w.issue("public", lapse.Grant{}).Refresh.Bearer
		body := "grant_type=refresh_token&client_id=public&refresh_token=" + text + row.more
		r := httptest.NewRequest("POST", "/token?"+row.query, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded"+row.media)
		if answer := w.do(r); answer.Code != 200 {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
	for path, code := range map[string]string{"/token": "invalid_request", "/revoke": "invalid_request", "/introspect": "invalid_request"} {
		if got := errorOf(t, path, w.post(path, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {""}, "token": {""}}), 400); got != code {
			t.Errorf("%s without a text: %s", path, got)
		}
	}
	if got := errorOf(t, "no grant type", w.post("/token", url.Values{"grant_type": {""}, "refresh_token": {"x"}}), 400); got != "invalid_request" {
		t.Errorf("no grant type: %s", got)
	}
}

// TestBodyThatBreaks: a body that cannot be read to its end is 400.
func TestBodyThatBreaks(t *testing.T) {
	for path, media := range map[string]string{"/token": "application/x-www-form-urlencoded", "/login": "application/json"} {
		r := httptest.NewRequest("POST", path, io.MultiReader(bytes.NewReader([]byte("token=")), iotest.ErrReader(errors.New("cut"))))
		r.Header.Set("Content-Type", media)
		if code := errorOf(t, path, newWorld(t, nil).do(r), 400); code != "invalid_request" {
			t.Errorf("%s: %s", path, code)
		}
	}
}

// TestClientCredentials: how a client says who it is, and how it cannot.
func TestClientCredentials(t *testing.T) {
	basic := func(user, password string) string {
		r := httptest.NewRequest("POST", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	escaped := url.QueryEscape(secrets["app"])
	for name, row := range map[string]struct {
		authorization []string
		form          url.Values
		status        int
		code          string
	}{
		"Basic":                   {[]string{basic("app", escaped)}, nil, 200, ""},
		"Basic, and its id again": {[]string{basic("app", escaped)}, url.Values{"client_id": {"app"}}, 200, ""},
		"the form":                {nil, url.Values{"client_id": {"app"}, "client_secret": {secrets["app"]}}, 200, ""},
		"Basic, not escaped":      {[]string{basic("app", secrets["app"])}, nil, 400, "invalid_request"},
		"wrong secret":            {[]string{basic("app", "x")}, nil, 401, "invalid_client"},
		"wrong secret, form":      {nil, url.Values{"client_id": {"app"}, "client_secret": {"x"}}, 401, "invalid_client"},
		"no secret":               {nil, url.Values{"client_id": {"app"}}, 401, "invalid_client"},
		"unknown":                 {nil, url.Values{"client_id": {"nobody"}, "client_secret": {"x"}}, 401, "invalid_client"},
		"both":                    {[]string{basic("app", escaped)}, url.Values{"client_id": {"app"}, "client_secret": {secrets["app"]}}, 400, "invalid_request"},
		"Basic, and another id":   {[]string{basic("app", escaped)}, url.Values{"client_id": {"other"}}, 400, "invalid_request"},
		"two headers":             {[]string{basic("app", escaped), basic("app", escaped)}, nil, 400, "invalid_request"},
		"Basic of no base64":      {[]string{"Basic !"}, nil, 400, "invalid_request"},
		"Basic of nothing":        {[]string{"basic"}, nil, 400, "invalid_request"},
		"Basic of 1 MB":           {[]string{basic("app", strings.Repeat("a", 1<<20))}, nil, 401, "invalid_client"},
		"another scheme":          {[]string{"Bearer x"}, url.Values{"client_id": {"app"}, "client_secret": {secrets["app"]}}, 400, "invalid_request"},
		"another scheme alone":    {[]string{"Bearer x"}, nil, 400, "invalid_grant"},
		"nothing":                 {nil, nil, 400, "invalid_grant"}, // the session is of app
		"of another":              {nil, url.Values{"client_id": {"other"}, "client_secret": {secrets["other"]}}, 400, "invalid_grant"},
		"not allowed":             {nil, url.Values{"client_id": {"refused"}}, 400, "unauthorized_client"},
		"could not tell":          {nil, url.Values{"client_id": {"down"}}, 503, "temporarily_unavailable"},
	} {
		w := newWorld(t, nil)
		values := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {w.issue("app", lapse.Grant{}).Refresh.Bearer}}
		for name, value := range row.form {
			values[name] = value
		}
		r := httptest.NewRequest("POST", "/token", strings.NewReader(values.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if row.authorization != nil {
			r.Header["Authorization"] = row.authorization
		}
		answer := w.do(r)
		if row.code == "" {
			w.pairOf(answer)
		} else if code := errorOf(t, name, answer, row.status); code != row.code {
			t.Errorf("%s: %s, want %s", name, code, row.code)
		}
	}
}

// TestResource: only a server that is authenticated introspects.
func TestResource(t *testing.T) {
	w := newWorld(t, nil)
	none := must(lapsehttp.NewEndpoints(w.pairs, lapsehttp.ServerOptions{Client: authenticate}))
	w.mux.HandleFunc("/none", none.Introspect)
	text := w.issue("app", lapse.Grant{}).Access.Bearer
	for _, row := range []struct {
		path, client string
		status       int
		code         string
	}{
		{"/none", "app", 401, "invalid_client"}, {"/introspect", "", 401, "invalid_client"}, {"/introspect", "nobody", 401, "invalid_client"},
		{"/introspect", "refused", 400, "unauthorized_client"}, {"/introspect", "down", 503, "temporarily_unavailable"}, {"/introspect", "other", 200, ""},
	} {
		answer := w.post(row.path, url.Values{"token": {text}, "client_id": {row.client}})
		if row.code == "" {
			if answer.Code != 200 {
				t.Errorf("%v: %d", row, answer.Code)
			}
		} else if code := errorOf(t, row.client, answer, row.status); code != row.code {
			t.Errorf("%v: %s", row, code)
		}
	}
}
